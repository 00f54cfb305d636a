//! A client that writes bytes and reads answers: it can send what no decent client would.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf as _, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::host::within;

/// What it speaks over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub struct Client {
    stream: Box<dyn Wire>,
    /// What was read and not used yet.
    buffer: BytesMut,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(within(TcpStream::connect(address)).await.unwrap())
    }

    /// Over a connection that is there.
    pub fn over(stream: impl Wire + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: BytesMut::new() }
    }

    /// Connects from another address of this machine.
    pub async fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        Self::over(within(socket.connect(address)).await.unwrap())
    }

    /// Writes bytes; a connection that the server has closed is no failure here.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        within(self.stream.write_all(bytes)).await.is_ok() && within(self.stream.flush()).await.is_ok()
    }

    pub async fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            head.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut bytes = format!("{head}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.write(&bytes).await;
        self.answer(method).await
    }

    pub async fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], b"").await
    }

    pub async fn post(&mut self, target: &str, media_type: &str, body: &str) -> Answer {
        self.send("POST", target, media_type, body).await
    }

    pub async fn send(&mut self, method: &str, target: &str, media_type: &str, body: &str) -> Answer {
        self.request(method, target, &[("content-type", media_type)], body.as_bytes()).await
    }

    pub async fn publish(&mut self, event: &str) -> Answer {
        self.post("/v1/events", "application/cloudevents+json", event).await
    }

    /// Waits for the first bytes of an answer, or the end. May be given up.
    pub async fn wait(&mut self) {
        if self.buffer.is_empty() {
            self.fill().await;
        }
    }

    /// Reads one answer, whole.
    pub async fn answer(&mut self, method: &str) -> Answer {
        let (status, headers) = self.head().await;
        let body = if method == "HEAD" || status == 101 { Vec::new() } else { self.body(&headers).await };
        Answer { status, headers, body }
    }

    /// Reads the body behind a head.
    pub async fn body(&mut self, headers: &HashMap<String, String>) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.fill().await, "the answer ended early");
            }
            body = self.buffer.split_to(length).to_vec();
        } else if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            while let Some(chunk) = self.chunk().await {
                body.extend(chunk);
            }
        }
        body
    }

    /// Reads status and headers.
    pub async fn head(&mut self) -> (u16, HashMap<String, String>) {
        let end = self.find(b"\r\n\r\n").await;
        let head = String::from_utf8(self.buffer.split_to(end + 4).to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pairs = lines.filter_map(|line| line.split_once(':'));
        (status, pairs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect())
    }

    /// Reads one chunk; nothing at the end of the body.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = self.find(b"\r\n").await;
        let size = std::str::from_utf8(&self.buffer[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        while self.buffer.len() < end + 2 + size + 2 {
            assert!(self.fill().await, "the answer ended early");
        }
        let chunk = self.buffer[end + 2..end + 2 + size].to_vec();
        self.buffer.advance(end + 2 + size + 2);
        (size > 0).then_some(chunk)
    }

    /// Whether the server has closed the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    async fn find(&mut self, wanted: &[u8]) -> usize {
        loop {
            if let Some(at) = self.buffer.windows(wanted.len()).position(|window| window == wanted) {
                return at;
            }
            assert!(self.fill().await, "the connection ended in {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Reads until the server closes the connection.
    pub async fn until_closed(&mut self) {
        while self.fill().await {}
    }

    async fn fill(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match within(self.stream.read(&mut piece)).await {
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(_) => false,
        }
    }
}
