//! What a workload may ask of a system. How a system does it is in the file of its name; in which settings it runs and what
//! these mean is in `setting.rs`; what a workload asks, and when, is not known here.

mod nats;
mod postgres;
mod quipu;
mod rabbitmq;
mod redis;
mod umadb;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::BoxFuture;

use crate::payload::Event;
use crate::process::{LOOK, Running};
use crate::setting::{Acknowledged, QUIPU, Setting};

/// What will be there, or why not.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// Where things are, for whoever starts a server.
#[derive(Clone, Debug)]
pub struct Place {
    /// The unpacked peers.
    pub peers: PathBuf,
    /// The binary `quipu`.
    pub quipu: PathBuf,
    /// An empty folder for this one server.
    pub folder: PathBuf,
}

impl Place {
    /// A program, of the unpacked peers or else of the system.
    pub fn program(&self, path: &str) -> Result<PathBuf> {
        let candidates = [self.peers.join("root").join(path), Path::new("/").join(path)];
        let found = candidates.iter().find(|path| path.exists());
        found
            .cloned()
            .with_context(|| format!("expected {path}, found neither of {candidates:?}: run bench/install-peers"))
    }

    /// The folders of the libraries that were unpacked, for the linker.
    pub fn libraries(&self) -> String {
        let root = self.peers.join("root/usr/lib");
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        format!("{}:{}", root.join(triple).display(), root.display())
    }
}

/// What became of an append on a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there, and is the stream's tail now: its version or position, whichever the system's conditions are about.
    Appended(u64),
    /// Somebody else was faster: this is the stream's tail.
    Conflict(u64),
}

/// Is told of each event that was delivered: its number, and when.
pub type Seen = Box<dyn FnMut(u64, Instant) + Send>;

/// A server that runs. Dropping it stops it.
pub trait Server: Send + Sync {
    /// What runs, and where its data is.
    fn running(&self) -> &Running;

    /// A client of its own connection, that has one request on its way at a time.
    fn client(&self) -> Answer<'_, Arc<dyn Client>>;

    /// A client of one connection with many appends on their way; nothing if a connection has one at a time.
    fn pipe(&self) -> Answer<'_, Option<Arc<dyn Client>>> {
        Box::pin(async { self.client().await.map(Some) })
    }

    /// What a consumer needs before anything is appended.
    fn prepare_consumer(&self) -> Answer<'_, ()>;

    /// Takes and acknowledges so many events, from the first on; done when the acknowledgements have reached the server.
    fn consume(&self, count: u64) -> Answer<'_, ()>;

    /// A consumer that is told of each new event as it comes, and acknowledges it if the system has acknowledgements.
    /// The outer future is done when it listens, the inner one after so many events.
    fn follow(&self, count: u64, seen: Seen) -> Answer<'_, Answer<'static, ()>>;

    /// Reads so many events from the first on, as fast as it can; the bytes of their JSON. Nothing if the system cannot.
    fn replay(&self, count: u64) -> Answer<'_, Option<u64>>;
}

/// A connection that appends.
pub trait Client: Send + Sync {
    /// Appends one event; done when the server has acknowledged it.
    fn append(&self, event: Event) -> Answer<'_, ()>;

    /// Appends several, in the way that the system has for it.
    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()>;

    /// Appends an event if this is still the tail of its stream, 0 of one that is empty. The event's own version does not count.
    fn append_at(&self, event: Event, tail: u64) -> Answer<'_, Outcome>;
}

/// Starts a server and waits until it answers.
pub async fn start(setting: &Setting, place: Place) -> Result<Arc<dyn Server>> {
    let is_synced = setting.acknowledged == Acknowledged::Synced;
    Ok(match setting.name {
        QUIPU => Arc::new(quipu::Quipu::start(place, quipu::Appends::WebSocket).await?),
        "quipu-http" => Arc::new(quipu::Quipu::start(place, quipu::Appends::Http).await?),
        "jetstream" | "jetstream-synced" => Arc::new(nats::JetStream::start(place, is_synced).await?),
        "rabbitmq" | "rabbitmq-quorum" => Arc::new(rabbitmq::RabbitMq::start(place, is_synced).await?),
        "redis" | "redis-synced" => Arc::new(redis::Redis::start(place, is_synced).await?),
        "postgresql" => Arc::new(postgres::Postgres::start(place).await?),
        "umadb" => Arc::new(umadb::Uma::start(place).await?),
        other => bail!("expected a setting with a server, found {other}"),
    })
}

/// One attempt to reach a server that starts takes no longer.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Tries until it succeeds, for as long as the server runs and half a minute at most.
async fn until_ready<T, F>(process: &mut crate::process::Process, folder: &Path, attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    loop {
        let attempted = tokio::time::timeout(ATTEMPT, attempt()).await;
        match attempted.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {ATTEMPT:?}"))) {
            Ok(ready) => return Ok(ready),
            Err(error) if begun.elapsed().as_secs() > 30 => return Err(error.context("the server does not answer")),
            Err(_) => {
                process.check(folder)?;
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}
