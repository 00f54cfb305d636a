//! Connections: accepting them up to a limit, one task each, TLS before anything else, and letting them go at the end.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{STRICT_TRANSPORT_SECURITY, UPGRADE};
use axum::response::Response;
use futures_util::future::{Either, FutureExt as _, Map};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use quipu_api::{Code, Problem};
use quipu_domain::access::Fingerprint;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::admission::Peer;
use crate::head::{self, Timer};
use crate::origin::Gatekeeper;
use crate::patient::Patient;
use crate::problem;
use crate::security_headers;
use crate::socket::{Socket, Wire};
use crate::tls;
use crate::transport::Transport;
use crate::{Host, Phase, reached};

/// Most bytes that are read ahead on a connection, and so the largest head of a request. In binary mode attributes are
/// headers: the usual ones take well under 8 KiB, 64 of the largest would not fit and are sent in structured mode.
const READ_AHEAD_BYTES: usize = 256 << 10;
/// How long to wait after `accept` failed, usually for want of file descriptors: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// For how long browsers are to come by TLS alone: a year. Not for the names below ours, which may be somebody else's.
const TLS_ALONE: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Connections over the limit that are told so at the same time.
pub(crate) const REFUSALS_MAX: usize = 256;
/// How long telling one may take.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    host: Arc<Host>,
    phase: watch::Sender<Phase>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let mut http = http1::Builder::new();
    http.header_read_timeout(host.server.idle_timeout).max_buf_size(READ_AHEAD_BYTES);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => open(stream, Peer(peer), &http, &router, &host),
            // A connection that was gone before it was accepted is nobody's problem.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    phase.send_replace(Phase::Draining);
    let all = u32::try_from(host.server.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(host.server.drain_timeout, host.connections.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were still busy at the end of the drain timeout and are closed");
    }
    phase.send_replace(Phase::Ending);
    Ok(())
}

fn open(stream: TcpStream, peer: Peer, http: &http1::Builder, router: &Router, host: &Arc<Host>) {
    // Answers are written whole; waiting for more to send (Nagle) would only delay them.
    let _ = stream.set_nodelay(true);
    let permit = host.crowd.enter(peer.0.ip()).zip(Arc::clone(&host.connections).try_acquire_owned().ok());
    let Some(permit) = permit else {
        // When these are too many as well, the rest is closed without a word.
        if let Ok(permit) = Arc::clone(&host.refusals).try_acquire_owned() {
            let refused = turn_away(stream, Arc::clone(host));
            tokio::spawn(async move {
                let _ = tokio::time::timeout(REFUSAL_TIME, refused).await;
                drop(permit);
            });
        }
        return;
    };
    let (http, router, host) = (http.clone(), router.clone(), Arc::clone(host));
    tokio::spawn(async move {
        // In a block of its own: whoever waits for the permit may open the same folder next, which the connection holds.
        let served = async move {
            match transport(stream, &host).await {
                Ok(transport) => serve(transport, peer, http, router, host).await.map_err(io::Error::other),
                Err(error) => Err(error),
            }
        };
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(permit);
    });
}

/// What HTTP goes over: with TLS, after the handshake. As long as that lasts the connection is like one with a slow head.
async fn transport(stream: TcpStream, host: &Host) -> io::Result<Transport> {
    let pause_max = host.server.body_timeout;
    let Some(tls) = &host.server.tls else { return Ok(Transport::Plain(Patient::new(stream, pause_max))) };
    let mut phases = host.phases.clone();
    let shaken = async {
        if speaks_plain_http(&stream).await? {
            let detail = "expected TLS, found HTTP without it; call the server by https://";
            let problem = Problem::new(Code::TlsRequired, detail);
            let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream, &problem, "")).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP without TLS"));
        }
        tls.accept(Patient::new(stream, pause_max)).await
    };
    tokio::select! {
        shaken = tokio::time::timeout(host.server.header_timeout, shaken) => shaken?,
        () = reached(&mut phases, Phase::Draining) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Whether the client begins as only HTTP does: its methods are letters, and a handshake begins with 22.
async fn speaks_plain_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first[0].is_ascii_uppercase())
}

async fn serve(
    transport: Transport,
    peer: Peer,
    mut http: http1::Builder,
    router: Router,
    host: Arc<Host>,
) -> hyper::Result<()> {
    let wire = Wire::new(Arc::clone(&host.memory));
    http.timer(Timer::new(Arc::clone(&wire), host.server.header_timeout));
    let router = TowerToHyperService::new(router);
    let (certificate, gatekeeper) = (transport.client_certificate(), host.gatekeeper.clone());
    let service = Service { router, peer, certificate, wire: Arc::clone(&wire), gatekeeper };
    let socket = Socket::new(transport, wire);
    let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
    let mut connection = pin!(connection);
    let mut phases = host.phases.clone();
    tokio::select! {
        finished = connection.as_mut() => finished,
        () = reached(&mut phases, Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                finished = connection => finished,
                () = reached(&mut phases, Phase::Ending) => Ok(()),
            }
        }
    }
}

type Routing = TowerToHyperService<Router>;
/// What the router answers, or whoever stands before it.
type Answering =
    Either<Ready<Result<Response, Infallible>>, <Routing as hyper::service::Service<Request<Incoming>>>::Future>;

/// The router, told apart by connection, behind whoever decides which requests come to it.
struct Service {
    router: Routing,
    peer: Peer,
    /// What the client has shown.
    certificate: Option<Fingerprint>,
    wire: Arc<Wire>,
    gatekeeper: Gatekeeper,
}

impl Service {
    fn answering(&self, mut request: Request<Incoming>) -> Answering {
        self.wire.hand_to_body(request.body().size_hint().exact());
        if let Err(problem) = self.gatekeeper.admit(&request) {
            return Either::Left(ready(Ok(problem::respond(&problem))));
        }
        request.extensions_mut().insert(self.peer);
        if let Some(certificate) = self.certificate {
            request.extensions_mut().insert(certificate);
        }
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(Arc::clone(&self.wire));
        }
        Either::Right(hyper::service::Service::call(&self.router, request))
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Map<Answering, fn(Result<Response, Infallible>) -> Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let finish = if self.gatekeeper.demands_tls(&request) { demand_tls } else { security_headers::add };
        self.answering(request).map(finish)
    }
}

fn demand_tls(answer: Result<Response, Infallible>) -> Result<Response, Infallible> {
    security_headers::add(answer).map(|mut response| {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, TLS_ALONE);
        response
    })
}

/// Answers a connection over the limit.
async fn turn_away(stream: TcpStream, host: Arc<Host>) -> io::Result<()> {
    let stream = transport(stream, &host).await?;
    let limit = host.server.connections_max;
    let of_one = host.crowd.most();
    let detail = format!("expected at most {limit} connections, and {of_one} of them from one address, found more");
    let problem = Problem::new(Code::TooManyConnections, detail).with("limit", limit);
    refuse(stream, &problem, "retry-after: 1\r\n").await
}

/// Answers a connection of which nothing is read. More headers, each with its line break.
async fn refuse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    problem: &Problem,
    more_headers: &str,
) -> io::Result<()> {
    stream.write_all(head::answer(problem, more_headers).as_bytes()).await?;
    tls::end(stream).await
}
