//! A server in this process, on a real folder and a free port.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use quipu_domain::Timestamp;
use quipu_engine::{Clock, Engine, Options, Random, Tenant, World};
use quipu_server::Server;
use quipu_store::DiskStorage;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64)
    }
}

/// Nothing here has to be a secret.
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8;
        }
    }
}

/// A server on a free port with a fresh store; set up as `quipu serve` does it.
pub struct Host {
    pub address: SocketAddr,
    pub tenant: Arc<Tenant>,
    _runtime: Runtime,
    _engine: Arc<Engine>,
}

impl Host {
    pub fn start(folder: &Path) -> Self {
        let storage = Arc::new(DiskStorage::new(folder));
        let random = Arc::new(Counter(AtomicU64::new(1)));
        let engine = Engine::open(World { storage, clock: Arc::new(SystemClock), random }, Options::default());
        let engine = Arc::new(engine.expect("the folder is writable"));
        let tenant = engine.tenant("default").expect("opened");
        let runtime = Runtime::new().expect("threads can be started");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = Server { has_noop_route: true, ..Server::default() };
        runtime.spawn(server.serve(listener, Arc::clone(&engine), "default", std::future::pending()));
        Self { address, tenant, _runtime: runtime, _engine: engine }
    }
}
