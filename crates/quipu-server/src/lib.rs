//! The sockets of Quipu: HTTP, server-sent events and WebSocket over the tenants of an engine, and webhooks, which go out.
//!
//! Every request comes through `admission`, which says in which tenant it is and whether its sender may do what it asks for.
//! A request is parsed and checked here, handed to the engine in one message, and answered when the engine says that
//! it is on disk. Nothing is decided here, and nothing is kept for a client beyond one page of events.
//!
//! Routes are made from the catalogue of `quipu-api`; one file holds the operations of one group.

mod admission;
mod ahead;
mod answer;
mod append;
mod attempts;
mod audit;
mod audited;
mod authorization;
mod binary;
mod body;
mod caller;
mod catalog;
mod connection;
mod consume;
mod consuming;
mod crowd;
#[cfg(feature = "postgres")]
mod database;
mod deadletter;
mod delivery;
mod document;
mod frames;
mod gate;
mod gather;
mod handshake;
mod hash;
mod head;
mod health;
mod home;
/// Checks tokens; for the benchmark and the fuzz targets.
#[doc(hidden)]
pub mod identity;
mod intervention;
mod key;
mod media;
mod memory;
mod ndjson;
mod operation;
mod origin;
mod outward;
mod patience;
mod patient;
mod pattern;
mod places;
mod problem;
mod projection;
mod publish;
pub mod pusher;
mod quota;
mod read;
mod refusal;
mod registry;
mod replay;
mod report;
mod router;
mod saga;
mod schedule;
mod schema;
mod secret;
pub mod secrets;
mod security_headers;
mod socket;
mod state;
mod stream;
mod subscription;
mod tail;
mod tenant;
mod ticket;
mod timer;
mod tls;
mod trace;
mod transport;
mod verification;
pub mod webhook;
mod websocket;
mod what_if;

/// Counts what HTTP has read ahead; for the fuzz targets.
#[doc(hidden)]
pub use ahead::Ahead;
/// Reads `Authorization`; for the fuzz targets.
#[doc(hidden)]
pub use authorization::{basic, bearer};
/// Reads an event in binary mode; for the fuzz targets.
#[doc(hidden)]
pub use binary::read as read_binary;
/// Follows frames of a WebSocket; for the fuzz targets.
#[doc(hidden)]
#[cfg(feature = "postgres")]
pub use database::{DatabaseHost, InvalidDatabaseHost};
pub use frames::count as count_frames;
pub use identity::{InvalidProviders, Providers, is_token};
pub use key::key_answer;
/// Reads `Accept`, `Content-Type` and `Prefer`; for the fuzz targets.
#[doc(hidden)]
pub use media::{accepted, mode as content_mode, prefers_minimal};
/// Splits a bulk load into lines; for the fuzz targets.
#[doc(hidden)]
pub use ndjson::lines as split_lines;
/// Reads `Host` and `Origin`; for the fuzz targets.
#[doc(hidden)]
pub use origin::Gatekeeper;
pub use origin::PublicHost;

pub use state::stats_answer;
pub use tls::{Identity, InvalidTls, Tls};

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use quipu_domain::Access;
use quipu_domain::limits::EVENT_BYTES_DEFAULT;
use quipu_engine::{Engine, TENANT_SYSTEM, Tenant, TenantState};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, RwLock, Semaphore, watch};

use crate::admission::Caller;
use crate::attempts::Attempts;
use crate::audited::Asked;
use crate::home::{Home, Homes};
use crate::memory::Memory;
use crate::quota::{Entered, HeldBack};
use crate::ticket::Tickets;

/// Bytes of bulk loads that may be on their way through the engine at once, over all connections, in KiB. Far below
/// what the engine's mailbox takes, so that bulk loads wait for each other instead of crowding out single events.
const BULK_KIB_MAX: usize = 16 * 1024;

/// How to serve: limits, each with its reason. [`Server::serve`] does it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Largest body of one event, a batch or an append, bytes. Such a body is held in memory while it is read.
    pub body_bytes_max: usize,
    /// Largest event, as the engine was told; lines and frames that are far over it are not even read.
    pub event_bytes_max: usize,
    /// Most open connections. Each costs a file descriptor and some 10 KiB, with TLS more.
    pub connections_max: usize,
    /// Most bytes of requests in memory, over all connections: bodies, bulk loads, heads and frames that are read and
    /// not yet recorded. Up to 8 KiB of each connection are not counted, nor the pieces of a body that are on their way
    /// to its reader. What does not fit is refused as overloaded.
    pub request_memory_bytes_max: usize,
    /// How long a request waits for others to give such memory back.
    pub request_memory_wait: Duration,
    /// How long a connection may take to send the head of a request, from its first byte; the first one from the
    /// beginning of the connection.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// How long the body of a request may pause, or a message of a WebSocket. On the whole it must come at 32 KiB/s; of
    /// a bulk load each line. Nor may a client take nothing for longer of what it is sent.
    pub body_timeout: Duration,
    /// How often an idle tail sends a sign of life. Proxies close what is silent for 30 to 60 seconds.
    pub heartbeat: Duration,
    /// How long requests that are under way may take to finish after a shutdown began.
    pub drain_timeout: Duration,
    /// Blocks of addresses that webhooks may call beside the public ones. None by default: a URL comes from whoever makes a
    /// subscription, and the server may reach what that person must not.
    pub webhook_allowed: Vec<webhook::Block>,
    /// Hosts of PostgreSQL databases that projections may be kept in. None by default: whoever declares one sends SQL of his own there,
    /// and what is there answers.
    #[cfg(feature = "postgres")]
    pub database_hosts: Vec<DatabaseHost>,
    /// Names by which proxies before the server are called: requests that carry them in `Host` or `Origin` are no
    /// stranger's.
    pub public_hosts: Vec<PublicHost>,
    /// The listener speaks TLS with it, and nothing else. A handshake may take as long as a head.
    pub tls: Option<Tls>,
    /// Whether requests without a credential are taken, and may do everything in one tenant.
    pub anybody: Anybody,
    /// Identity providers whose tokens are taken beside keys.
    pub providers: Providers,
    /// Adds `POST /noop`, which reads a body and answers `{}`: what a benchmark compares with.
    #[doc(hidden)]
    pub has_noop_route: bool,
}

/// Who is let in without a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anybody {
    /// Whoever is on this machine: if the listener is a loopback address and no proxy has a public host.
    #[default]
    OfThisMachine,
    /// Nobody.
    None,
    /// Whoever reaches the listener.
    All,
}

impl Anybody {
    /// Whether somebody without a credential is let in by a listener at this address, which proxies call by these names.
    pub fn is_let_in(self, listener: IpAddr, public_hosts: &[PublicHost]) -> bool {
        match self {
            Self::OfThisMachine => listener.to_canonical().is_loopback() && public_hosts.is_empty(),
            Self::None => false,
            Self::All => true,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            event_bytes_max: EVENT_BYTES_DEFAULT,
            connections_max: 20_000,
            request_memory_bytes_max: 256 << 20,
            request_memory_wait: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(10),
            webhook_allowed: Vec::new(),
            #[cfg(feature = "postgres")]
            database_hosts: Vec::new(),
            public_hosts: Vec::new(),
            tls: None,
            anybody: Anybody::OfThisMachine,
            providers: Providers::default(),
            has_noop_route: false,
        }
    }
}

impl Server {
    /// Serves the tenants of an engine on a listener until `shutdown` is ready, and pushes for those of their subscriptions
    /// that say so; then stops accepting, ends tails and WebSockets, and lets the other requests, and webhooks that are on
    /// their way, finish within the drain timeout. Who has no credential is in the tenant of that name, if such are let in. The
    /// engine is left open: closing it is the business of whoever opened it.
    ///
    /// # Errors
    /// The listener does not work at all, that tenant cannot be opened, or the secrets of webhooks cannot be read. A
    /// connection that fails is not an error.
    pub async fn serve(
        self,
        listener: TcpListener,
        engine: Arc<Engine>,
        anybodys: &str,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (phase, phases) = watch::channel(Phase::Serving);
        let homes = Homes::new(
            phases.clone(),
            self.webhook_allowed.clone(),
            #[cfg(feature = "postgres")]
            self.database_hosts.clone(),
            self.drain_timeout,
        )?;
        engine.tenant(anybodys).map_err(io::Error::other)?;
        engine.adopt_tenants().map_err(io::Error::other)?;
        let stand_in = engine.tenant(TENANT_SYSTEM).map_err(io::Error::other)?;
        homes.serve(homes.open(TENANT_SYSTEM, Arc::clone(&stand_in))?).await;
        for info in engine.tenants().map_err(io::Error::other)? {
            let name = info.name.as_str();
            // What is wrong with one tenant is no reason to serve none.
            let opened = match engine.existing_tenant(name) {
                Ok(tenant) => homes.open(name, tenant),
                Err(fault) => Err(io::Error::other(fault)),
            };
            match opened {
                Err(error) if name == anybodys => return Err(error),
                Err(error) => tracing::error!(tenant = name, %error, "a tenant is not served"),
                Ok(home) if info.state == TenantState::Active => homes.serve(home).await,
                Ok(home) => homes.keep_out(home),
            }
        }
        let identity = identity::Identity::new(&self.providers).map_err(io::Error::other)?;
        identity.warm_up(stand_in.now());
        let lets_in = self.anybody.is_let_in(listener.local_addr()?.ip(), &self.public_hosts);
        let host = Arc::new(Host {
            gatekeeper: origin::Gatekeeper::of(listener.local_addr()?.ip(), &self.public_hosts, self.tls.is_some()),
            memory: Arc::new(Memory::new(self.request_memory_bytes_max, self.request_memory_wait)),
            bulk: Arc::new(Semaphore::new(BULK_KIB_MAX)),
            connections: Arc::new(Semaphore::new(self.connections_max.min(Semaphore::MAX_PERMITS))),
            crowd: crowd::Crowd::of(self.connections_max),
            is_unwell: AtomicBool::new(false),
            refusals: Arc::new(Semaphore::new(connection::REFUSALS_MAX)),
            openapi: document::openapi(),
            attempts: Attempts::new(),
            acts: Arc::default(),
            identity,
            tickets: Tickets::new(),
            lets_anybody_in: lets_in,
            anybodys: anybodys.to_owned(),
            held_back: HeldBack::new(),
            acting: Mutex::default(),
            engine,
            everything: Access::everything(),
            homes,
            stand_in,
            phases,
            server: self,
        });
        let router = router::router(&host);
        let served = connection::accept(listener, router, Arc::clone(&host), phase, shutdown).await;
        // An act may serve a tenant; none begins after this.
        let _no_more = host.acts.write().await;
        host.homes.end().await;
        served
    }

    /// Largest JSON text of an event whose data is in the log: its stored form is smaller than its JSON (names, escapes,
    /// base64), at most by half for anything but a text of escapes.
    fn event_json_bytes_max(&self) -> usize {
        self.event_bytes_max.saturating_mul(2).saturating_add(64 << 10)
    }
}

/// What all requests share.
struct Host {
    /// Whose requests are taken.
    gatekeeper: origin::Gatekeeper,
    homes: Homes,
    engine: Arc<Engine>,
    /// Acts on tenants come one after the other.
    acting: Mutex<()>,
    held_back: HeldBack,
    /// Whether somebody without a credential is let in, the tenant of such, and what they may do there.
    lets_anybody_in: bool,
    anybodys: String,
    everything: Access,
    /// Asked for a key where the tenant of one does not exist.
    stand_in: Arc<Tenant>,
    attempts: Attempts,
    /// Held by each act that is under way, so that the server ends after it.
    acts: Arc<RwLock<()>>,
    /// Whose tokens are believed.
    identity: identity::Identity,
    /// What streams are opened with from browsers.
    tickets: Tickets,
    server: Server,
    phases: watch::Receiver<Phase>,
    /// A permit for each open connection.
    connections: Arc<Semaphore>,
    /// What requests may take in memory.
    memory: Arc<Memory>,
    /// A permit for each KiB of a bulk load that is on its way through the engine.
    bulk: Arc<Semaphore>,
    /// Whether somebody was told that no appends are taken.
    is_unwell: AtomicBool,
    /// How many connections each address has.
    crowd: Arc<crowd::Crowd>,
    /// A permit for each connection over the limit that is being told so.
    refusals: Arc<Semaphore>,
    openapi: Bytes,
}

/// One request, or one WebSocket: in which tenant it is, and who it is from.
struct App {
    host: Arc<Host>,
    home: Arc<Home>,
    tenant: Arc<Tenant>,
    caller: Caller,
    /// What it is, for the audit trail.
    asked: Asked,
    /// Its place in the tenant, which counts as long as it is under way; nothing for operators, who are in none.
    entered: Option<Entered>,
}

/// Where the server is between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    /// Requests are taken.
    Serving,
    /// Requests that are under way may finish.
    Draining,
    /// Time is up: connections are dropped.
    Ending,
}

impl App {
    /// Waits until the server drains, or nobody is let into the tenant any more: what goes on for long ends then.
    async fn ending(&self) {
        let mut phases = self.host.phases.clone();
        tokio::select! {
            () = reached(&mut phases, Phase::Draining) => {}
            () = self.home.closed(), if self.entered.is_some() => {}
        }
    }
}

/// Waits until the server is in that phase or a later one.
async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    // An error means that the server is gone, which is later than any phase.
    let _ = phases.wait_for(|now| *now >= phase).await;
}
