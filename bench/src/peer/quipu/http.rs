//! One HTTP connection that is kept, with one request on its way at a time.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// The connection.
pub struct Http {
    address: String,
    sender: Mutex<SendRequest<Full<Bytes>>>,
}

impl Http {
    /// Connects; the connection is served by a task of its own.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { address: address.to_owned(), sender: Mutex::new(sender) })
    }

    /// Reads what is there, which has to be there.
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        let (status, answer) = self.send(Request::get(path), Bytes::new()).await?;
        ensure!(status == 200, "expected 200 of {path}, found {status}");
        Ok(answer)
    }

    /// Posts a body; the status of the answer and its body.
    pub async fn post(&self, path: &str, media_type: &str, body: String) -> Result<(u16, Bytes)> {
        self.send(Request::post(path).header("content-type", media_type), Bytes::from(body)).await
    }

    async fn send(&self, request: hyper::http::request::Builder, body: Bytes) -> Result<(u16, Bytes)> {
        let request = request.header("host", &self.address).body(Full::new(body))?;
        let mut sender = self.sender.lock().await;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
