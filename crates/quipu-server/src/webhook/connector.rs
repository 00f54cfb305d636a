//! Connections to endpoints. A host is resolved here, each address is checked, and only those that may be called are
//! connected to: between check and connect nothing is looked up again, so no change of a name can slip through.
//!
//! A connection that is kept was checked when it was made and still leads to the same address.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::endpoint::literal;
use super::{Addresses, Resolver};

/// How long an address may be silent before the next one is tried beside it (RFC 8305, section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Connections over TLS or plain, made in time.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Checked>,
    timeout: Duration,
}

impl Connector {
    /// The time is for all of a connection: the look-up of its name, TCP and TLS. A call that was given up may leave one
    /// behind that nobody else would stop.
    pub(crate) fn new(checked: Checked, tls: ClientConfig, timeout: Duration) -> Self {
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Self { https: builder.wrap_connector(checked), timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let timeout = self.timeout;
        Box::pin(async move {
            let late = || format!("no connection within {} ms", timeout.as_millis());
            tokio::time::timeout(timeout, connecting).await.map_err(|_| late())?
        })
    }
}

/// TCP connections to addresses that may be called.
#[derive(Clone)]
pub(crate) struct Checked {
    pub addresses: Arc<Addresses>,
    pub resolver: Resolver,
}

impl Service<Uri> for Checked {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response, BoxError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let host = uri.host().ok_or("expected a host, found none")?;
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            this.reach(host, port).await.map(TokioIo::new)
        })
    }
}

impl Checked {
    /// Connects to a host, a name or an address.
    pub async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, BoxError> {
        let found = match literal(host) {
            Some(address) => vec![address],
            None => self.resolver.addresses(host).await?,
        };
        let stream = connect(self.allowed(host, found)?, port).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Those that may be called; the first refusal if there are none.
    fn allowed(&self, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, BoxError> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.addresses.check(address) {
                Ok(()) => allowed.push(address),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        allowed.truncate(ADDRESSES_MAX);
        match refused {
            Some(refusal) if allowed.is_empty() => Err(refusal.into()),
            _ if allowed.is_empty() => Err(format!("expected an address of {host}, found none").into()),
            _ => Ok(allowed),
        }
    }
}

/// The first of them that answers; the next is tried when one fails or is silent.
async fn connect(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match waiting.next() {
            Some(address) => attempts.push(TcpStream::connect(SocketAddr::new(address, port))),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if waiting.len() > 0 => {}
        }
    }
}
