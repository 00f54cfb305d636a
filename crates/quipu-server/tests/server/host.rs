//! A server on a free port, with a real engine on a temporary folder and a clock that stands still until it is moved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quipu_domain::Timestamp;
use quipu_engine::{Clock, Engine, Options, Random, Tenant, World};
use quipu_server::Server;
use quipu_store::{DiskStorage, Storage};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// How long anything in these tests may take before it is stuck.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Host {
    pub address: SocketAddr,
    pub tenant: Arc<Tenant>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
    moved_ms: Arc<AtomicI64>,
    pub engine: Arc<Engine>,
    folder: Option<tempfile::TempDir>,
}

/// Milliseconds that it was moved on.
struct Still(Arc<AtomicI64>);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-01-31T09:30:00Z").unwrap().plus_ms(self.0.load(Ordering::SeqCst))
    }
}

pub struct Dice;

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

impl Host {
    pub async fn start() -> Self {
        Self::start_with(Server::default()).await
    }

    pub async fn start_with(server: Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(DiskStorage::new(folder.path()));
        Self { folder: Some(folder), ..Self::start_on(storage, server).await }
    }

    /// That serves another tenant too.
    pub async fn start_beside(other: &str, server: Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let moved_ms = Arc::new(AtomicI64::new(0));
        let storage = Arc::new(DiskStorage::new(folder.path()));
        let clock = Arc::new(Still(Arc::clone(&moved_ms)));
        let world = World { storage, clock, random: Arc::new(Dice) };
        let engine = Arc::new(Engine::open(world, Options::default()).unwrap());
        engine.tenant(other).unwrap();
        Self { moved_ms, folder: Some(folder), ..Self::start_over(engine, server).await }
    }

    /// Where its data is.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().expect("it has a folder of its own").path()
    }

    /// Over another disk.
    pub async fn start_on(storage: Arc<dyn Storage>, server: Server) -> Self {
        let moved_ms = Arc::new(AtomicI64::new(0));
        let clock = Arc::new(Still(Arc::clone(&moved_ms)));
        Self { moved_ms, ..Self::start_at(storage, clock, server).await }
    }

    /// With another time.
    pub async fn start_at(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>, server: Server) -> Self {
        let options = Options { event_bytes_max: server.event_bytes_max, ..Options::default() };
        Self::start_as(storage, clock, server, options).await
    }

    /// With other limits of the engine.
    pub async fn start_as(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>, server: Server, options: Options) -> Self {
        let world = World { storage, clock, random: Arc::new(Dice) };
        Self::start_over(Arc::new(Engine::open(world, options).unwrap()), server).await
    }

    /// With other limits of the engine, in a folder of its own.
    pub async fn start_limited(server: Server, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(DiskStorage::new(folder.path()));
        let clock = Arc::new(Still(Arc::default()));
        Self { folder: Some(folder), ..Self::start_as(storage, clock, server, options).await }
    }

    /// Over an engine that may have other tenants already.
    pub async fn start_over(engine: Arc<Engine>, server: Server) -> Self {
        let tenant = engine.tenant("test").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = oneshot::channel();
        let serving = tokio::spawn(server.serve(listener, Arc::clone(&engine), "test", async {
            let _ = receiver.await;
        }));
        Self { address, tenant, shutdown: Some(sender), serving, moved_ms: Arc::default(), engine, folder: None }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Moves the clock on.
    pub fn advance(&self, ms: i64) {
        self.moved_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Tells the server to stop, and goes on.
    pub fn begin_shutdown(&mut self) {
        let _ = self.shutdown.take().expect("not stopped before").send(());
    }

    /// Waits until the server has failed, and says why.
    pub async fn failed(&mut self) -> String {
        within(&mut self.serving).await.unwrap().unwrap_err().to_string()
    }

    /// Waits until the server has stopped.
    pub async fn stopped(&mut self) {
        within(&mut self.serving).await.unwrap().unwrap();
    }
}

/// The outcome of what must not take long.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("this is stuck")
}

/// One event.
pub fn event(id: &str, kind: &str, subject: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"{kind}","subject":"{subject}","data":{{"n":1}}}}"#
    )
}
