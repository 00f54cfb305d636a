//! WebSockets: a plain one, and one that publishes with many events in flight, written and answered by tasks of their own as
//! the other systems' client libraries do it.

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};

/// Events that are written together at most.
const TOGETHER: usize = 256;

/// What is read at once. The library clears its buffer before each read; with the 128 KiB that it proposes, 64 connections
/// push each other out of the processor's cache.
const READ_BYTES: usize = 16 << 10;

/// A connection.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "cloudevents.json".parse()?);
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        let (socket, _) = client_async_with_config(request, MaybeTlsStream::Plain(stream), Some(config)).await?;
        Ok(Self(socket))
    }

    /// Sends a frame.
    pub async fn send(&mut self, text: String) -> Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// Publishes an event, and waits until the server says that it is recorded.
    pub async fn publish(&mut self, text: String) -> Result<()> {
        self.send(text).await?;
        check(&self.next().await?)
    }

    /// The next frame of text.
    pub async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            if let Message::Text(text) = self.0.next().await.context("the server has closed")?? {
                return Ok(text);
            }
        }
    }
}

/// A connection that publishes. Answers come in the order of the events.
pub struct Publisher(UnboundedSender<(String, oneshot::Sender<()>)>);

#[derive(Deserialize)]
struct Acknowledged<'a> {
    #[serde(borrow)]
    ack: Status<'a>,
}

#[derive(Deserialize)]
struct Status<'a> {
    status: &'a str,
}

fn check(answer: &str) -> Result<()> {
    let acknowledged: Acknowledged<'_> = serde_json::from_str(answer).with_context(|| answer.to_owned())?;
    ensure!(acknowledged.ack.status == "recorded", "{answer}");
    Ok(())
}

impl Publisher {
    /// Connects, and starts the tasks that write and read; they end with the connection.
    pub async fn connect(address: &str) -> Result<Self> {
        let (mut sink, mut stream) = Socket::connect(address).await?.0.split();
        let (events, mut queue) = unbounded_channel::<(String, oneshot::Sender<()>)>();
        let (sent, mut unanswered) = unbounded_channel();
        tokio::spawn(async move {
            let mut together = Vec::with_capacity(TOGETHER);
            while queue.recv_many(&mut together, TOGETHER).await > 0 {
                for (text, waits) in together.drain(..) {
                    sent.send(waits)?;
                    sink.feed(Message::text(text)).await?;
                }
                sink.flush().await?;
            }
            Ok::<(), anyhow::Error>(())
        });
        tokio::spawn(async move {
            while let Some(frame) = stream.next().await {
                let Message::Text(text) = frame? else { continue };
                check(&text)?;
                let waits: oneshot::Sender<()> = unanswered.recv().await.context("an event that waits")?;
                let _ = waits.send(());
            }
            Ok::<(), anyhow::Error>(())
        });
        Ok(Self(events))
    }

    /// Publishes an event; done when the server says that it is recorded.
    pub async fn publish(&self, text: String) -> Result<()> {
        let (answered, answer) = oneshot::channel();
        self.0.send((text, answered)).ok().context("the connection has ended")?;
        answer.await.context("expected the event to be recorded, found the connection ended")
    }
}
