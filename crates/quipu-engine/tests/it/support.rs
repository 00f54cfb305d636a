//! A tenant in a temporary folder, with a clock that tests move.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quipu_domain::{Event, Timestamp};
use quipu_engine::{Append, Clock, Engine, Fault, Options, Prepared, Published, Random, Tenant, World};
use quipu_store::{Chunk, Commit, DiskStorage, Fetched, Locator, Log, LogSize, RecordKind, Tail};

/// Microseconds that a test moves.
#[derive(Default)]
pub struct Hands(pub AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Different every time, the same in every run.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9) >> 8) as u8;
        }
    }
}

pub fn small() -> Options {
    Options { segment_bytes: 4 << 10, run_events: 20, dedup_window_events: 1_000_000, threads: 4, ..Options::default() }
}

pub fn open(folder: &Path, options: Options) -> Result<Arc<Tenant>, Fault> {
    open_at(folder, options, Arc::new(Hands::default()))
}

pub fn open_at(folder: &Path, options: Options, clock: Arc<Hands>) -> Result<Arc<Tenant>, Fault> {
    let storage = Arc::new(DiskStorage::new(folder));
    Tenant::open(&World { storage, clock, random: Arc::new(Counter::default()) }, "t", options)
}

pub fn engine(folder: &Path, options: Options) -> Engine {
    let storage = Arc::new(DiskStorage::new(folder));
    let (clock, random) = (Arc::new(Hands::default()), Arc::new(Counter::default()));
    Engine::open(World { storage, clock, random }, options).unwrap()
}

/// The time of the machine.
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(since.as_micros() as i64)
    }
}

pub fn engine_with_time(folder: &Path, options: Options) -> Engine {
    let storage = Arc::new(DiskStorage::new(folder));
    Engine::open(World { storage, clock: Arc::new(Wall), random: Arc::new(Counter::default()) }, options).unwrap()
}

/// Waits for what threads of the engine do.
pub fn wait_for<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = found() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("expected {what} within a minute");
}

/// Waits until they have done it.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

pub fn event(id: &str, stream: &str) -> Event<'static> {
    event_of("order.placed", id, stream, "{\"n\":1}")
}

pub fn event_of(kind: &str, id: &str, stream: &str, data: &str) -> Event<'static> {
    Event::builder(id, "/test", kind).subject(stream).json(data).build().unwrap().into_owned()
}

pub fn prepare(tenant: &Tenant, event: &Event<'_>) -> Prepared {
    tenant.prepare(event, None).unwrap()
}

pub fn publish(tenant: &Arc<Tenant>, event: &Event<'_>) -> Published {
    tenant.publish_wait(vec![prepare(tenant, event)]).unwrap().remove(0)
}

pub fn publish_all(tenant: &Arc<Tenant>, events: &[Event<'_>]) {
    let prepared = events.iter().map(|event| prepare(tenant, event)).collect();
    tenant.publish_wait(prepared).unwrap();
}

pub fn append_of(tenant: &Tenant, events: &[Event<'_>]) -> Append {
    Append { events: events.iter().map(|event| prepare(tenant, event)).collect(), ..Append::default() }
}

/// A log in files whose events cannot be read while somebody says so.
pub struct BlindLog {
    log: quipu_store::FileLog,
    pub is_blind: AtomicBool,
    /// Whether commits cannot be read in order either.
    pub is_scan_blind: AtomicBool,
    /// How often it was read.
    pub reads: AtomicU64,
    /// Done once, in the middle of the next write.
    pub meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl BlindLog {
    pub fn open(folder: &Path) -> Arc<Self> {
        let options = quipu_store::FileLogOptions { segment_bytes: 1 << 20 };
        let storage = Arc::new(DiskStorage::new(folder));
        let (log, _) = quipu_store::FileLog::open(storage, "log", options, Timestamp(0), || 7).unwrap();
        Arc::new(Self {
            log,
            is_blind: AtomicBool::new(false),
            is_scan_blind: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            meanwhile: Mutex::default(),
        })
    }

    pub fn tenant(self: Arc<Self>, folder: &Path, clock: Arc<Hands>) -> Arc<Tenant> {
        let storage = Arc::new(DiskStorage::new(folder));
        let world = World { storage, clock, random: Arc::new(Counter::default()) };
        Tenant::open_on(self, &world, "t", small()).unwrap()
    }
}

impl Log for BlindLog {
    fn submit(&self, expected: u64, commits: &[Commit], locators: &mut Vec<Locator>) -> Result<(), Fault> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(act) = meanwhile {
            act();
        }
        self.log.submit(expected, commits, locators)
    }

    fn complete(&self) -> Result<u64, Fault> {
        self.log.complete()
    }

    fn rest(&self) -> Result<(), Fault> {
        self.log.rest()
    }

    fn close(&self) -> Result<(), Fault> {
        self.log.close()
    }

    fn tail_at_opening(&self) -> Tail {
        self.log.tail_at_opening()
    }

    fn fetch(&self, locator: Locator, kind: RecordKind) -> Result<Fetched, Fault> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.is_blind.load(Ordering::Relaxed) {
            return Err(Fault::io("read", "the log", std::io::Error::other("a test")));
        }
        self.log.fetch(locator, kind)
    }

    fn commit_of(&self, record: Locator) -> Result<Locator, Fault> {
        self.log.commit_of(record)
    }

    fn scan(&self, from: Locator, bytes_max: usize) -> Result<Chunk, Fault> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.is_scan_blind.load(Ordering::Relaxed) {
            return Err(Fault::io("read", "the log", std::io::Error::other("a test")));
        }
        self.log.scan(from, bytes_max)
    }

    fn seek(&self, number: u64) -> Locator {
        self.log.seek(number)
    }

    fn size(&self) -> LogSize {
        self.log.size()
    }

    fn name(&self) -> String {
        self.log.name()
    }
}
