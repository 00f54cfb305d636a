//! Somebody's HTTP server that receives webhooks: it keeps what it got, and answers as a test wants, well or badly.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::host::within;

/// What a receiver does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Answers with these bytes and waits for the next request.
    Bytes(Vec<u8>),
    /// Answers with these bytes and closes the connection.
    Last(Vec<u8>),
    /// Answers with these bytes, one every ten milliseconds.
    Drip(Vec<u8>),
    /// Answers with these bytes, and then with the letter x for as long as it is read.
    Endless(Vec<u8>),
    /// Never answers.
    Silence,
}

/// A request as it came.
#[derive(Debug)]
pub struct Received {
    pub line: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// Which connection it came on, from 1.
    pub connection: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    connections: Arc<AtomicUsize>,
}

/// An answer with a body.
pub fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

impl Receiver {
    /// On a free port of 127.0.0.1; the first reply is to the first request, the last to all that follow.
    pub async fn start(replies: Vec<Reply>) -> Self {
        Self::start_at("127.0.0.1:0", None, replies).await
    }

    /// That answers every request with a status and nothing else.
    pub async fn answering(status: u16) -> Self {
        Self::start(vec![Reply::Bytes(answer(status, "", ""))]).await
    }

    pub async fn start_at(address: &str, tls: Option<TlsAcceptor>, replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, requests) = (Arc::clone(&connections), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = count.fetch_add(1, Ordering::SeqCst) + 1;
                let script = Script { replies: replies.clone(), requests: Arc::clone(&requests), connection };
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    match tls {
                        None => script.serve(stream, sender).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                script.serve(stream, sender).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received, connections }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?token=hunter2", self.address)
    }

    pub async fn next(&mut self) -> Received {
        within(self.received.recv()).await.unwrap()
    }

    /// Requests that nobody has looked at.
    pub fn waiting(&self) -> usize {
        self.received.len()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// What one connection does.
struct Script {
    replies: Vec<Reply>,
    requests: Arc<AtomicUsize>,
    connection: usize,
}

impl Script {
    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, sender: mpsc::UnboundedSender<Received>) {
        let mut buffer = Vec::new();
        while let Some(received) = read(&mut stream, &mut buffer, self.connection).await {
            let at = self.requests.fetch_add(1, Ordering::SeqCst).min(self.replies.len() - 1);
            let _ = sender.send(received);
            let is_open = match &self.replies[at] {
                Reply::Bytes(bytes) => stream.write_all(bytes).await.is_ok(),
                Reply::Last(bytes) => {
                    let _ = stream.write_all(bytes).await;
                    false
                }
                Reply::Drip(bytes) => {
                    for byte in bytes {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        if stream.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                    }
                    true
                }
                Reply::Endless(bytes) => {
                    let mut piece = bytes.clone();
                    while stream.write_all(&piece).await.is_ok() {
                        piece = vec![b'x'; 16 << 10];
                    }
                    false
                }
                Reply::Silence => std::future::pending().await,
            };
            if !is_open {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

/// Reads one request, if the connection does not end before.
async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, connection: usize) -> Option<Received> {
    let mut seen = 0usize;
    let end = loop {
        let from = seen.saturating_sub(3);
        if let Some(at) = buffer[from..].windows(4).position(|window| window == b"\r\n\r\n") {
            break from + at;
        }
        seen = buffer.len();
        fill(stream, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> = pairs.map(|(name, value)| (name.into(), value.into())).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        fill(stream, buffer).await?;
    }
    Some(Received { line, headers, body: buffer.drain(..length).collect(), connection })
}

async fn fill(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 << 10];
    let count = stream.read(&mut piece).await.ok()?;
    buffer.extend_from_slice(&piece[..count]);
    (count > 0).then_some(())
}
