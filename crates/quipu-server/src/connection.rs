//! Connections: accepting them up to a limit, one task each, and letting them go at the end.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::UPGRADE;
use axum::response::Response;
use futures_util::future::{Either, FutureExt as _, Map};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use quipu_api::{Code, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::admission::Peer;
use crate::head::{self, Timer};
use crate::origin::Gatekeeper;
use crate::problem;
use crate::security_headers;
use crate::socket::{Socket, Wire};
use crate::{Host, Phase, reached};

/// Most bytes that are read ahead on a connection, and so the largest head of a request. In binary mode attributes are
/// headers: the usual ones take well under 8 KiB, 64 of the largest would not fit and are sent in structured mode.
const READ_AHEAD_BYTES: usize = 256 << 10;
/// How long to wait after `accept` failed, usually for want of file descriptors: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
            let refused =
                tokio::time::timeout(REFUSAL_TIME, refuse(stream, host.server.connections_max, host.crowd.most()));
            tokio::spawn(async move {
                let _ = refused.await;
                drop(permit);
            });
        }
        return;
    };
    let wire = Wire::new(Arc::clone(&host.memory));
    let mut http = http.clone();
    http.timer(Timer::new(Arc::clone(&wire), host.server.header_timeout));
    let router = TowerToHyperService::new(router.clone());
    let service = Service { router, peer, wire: Arc::clone(&wire), gatekeeper: host.gatekeeper.clone() };
    let connection = http.serve_connection(TokioIo::new(Socket::new(stream, wire)), service).with_upgrades();
    let mut phases = host.phases.clone();
    tokio::spawn(async move {
        // In a block of its own: whoever waits for the permit may open the same folder next, which the connection holds.
        let finished = async move {
            let mut connection = pin!(connection);
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
        .await;
        if let Err(error) = finished {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(permit);
    });
}

type Routing = TowerToHyperService<Router>;
/// What the router answers, or whoever stands before it.
type Answering =
    Either<Ready<Result<Response, Infallible>>, <Routing as hyper::service::Service<Request<Incoming>>>::Future>;

/// The router, told apart by connection, behind whoever decides which requests come to it.
struct Service {
    router: Routing,
    peer: Peer,
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
        self.answering(request).map(security_headers::add)
    }
}

/// Answers a connection over the limit. The request is read and thrown away for a moment: a connection that is closed
/// with unread bytes is reset, and the client would never see the answer.
async fn refuse(mut stream: TcpStream, limit: usize, of_one: usize) -> io::Result<()> {
    let detail = format!("expected at most {limit} connections, and {of_one} of them from one address, found more");
    let problem = Problem::new(Code::TooManyConnections, detail).with("limit", limit);
    let answer = head::answer(&problem, "retry-after: 1\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut thrown_away = [0; 1024];
    while stream.read(&mut thrown_away).await? > 0 {}
    Ok(())
}
