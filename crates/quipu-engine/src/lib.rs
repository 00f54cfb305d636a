//! Rules meet the store: one loop, the folds, the reads and the followers.
//! SKELETON: signatures are final, bodies are being written.
#![allow(missing_docs, unused_variables)]
use bytes::Bytes;
use quipu_domain::*;
pub use quipu_store::Fault;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Options {
    pub event_bytes_max: usize,
    pub dedup_window_ms: i64,
    pub dedup_window_events: u64,
    pub segment_bytes: u64,
    pub mailbox_bytes_max: usize,
    pub threads: usize,
}
impl Default for Options {
    fn default() -> Self { unimplemented!() }
}
pub trait Clock: Send + Sync { fn now(&self) -> Timestamp; }
pub trait Random: Send + Sync { fn fill(&self, bytes: &mut [u8]); }

/// All tenants of one data folder, and the threads that drive them.
pub struct Engine;
impl Engine {
    pub fn open(storage: Arc<dyn quipu_store::Storage>, clock: Arc<dyn Clock>, random: Arc<dyn Random>, options: Options) -> Result<Self, Fault> { unimplemented!() }
    /// The tenant of that name, opened or made on first use. Names: 1-64 of a-z 0-9 - _.
    pub fn tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> { unimplemented!() }
    /// Finishes what is waiting, writes the marks and snapshots, stops the threads. Further appends: Fault::Closed.
    pub fn close(&self) -> Result<(), Fault> { unimplemented!() }
}

/// An event that is checked, encoded and hashed: ready for the mailbox.
pub struct Prepared { _p: () }

pub struct Append {
    pub events: Vec<Prepared>,
    pub conditions: Vec<Condition>,
    pub checkpoint: Option<Checkpoint>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place { pub position: u64, pub stream_version: Option<u64> }
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published { Recorded(Place), Duplicate(Place), Refused(Refusal) }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended { pub commit: u64, pub events: Vec<Place>, /// an exact repeat of an earlier append, answered with its places
    pub is_duplicate: bool }
#[derive(Clone, Debug)]
pub enum NotAppended { Refused(Refusal), Fault(Fault) }

/// One recorded event: a slice of the log.
#[derive(Clone)]
pub struct Recorded { pub stamp: Stamp, body: Bytes }
impl Recorded {
    pub fn event(&self) -> Event<'_> { unimplemented!() }
    /// One line of JSON (CloudEvent + position, streamversion, recordedtime), no newline.
    pub fn write_json(&self, out: &mut Vec<u8>) { unimplemented!() }
}
pub struct Page {
    pub events: Vec<Recorded>,
    /// Continue from this position (inclusive, in the direction of reading); None: the end was reached. A page may be short, even
    /// empty, and still have a next: work per page is bounded.
    pub next: Option<u64>,
}
#[derive(Clone, Debug)]
pub struct StreamInfo { pub subject: String, pub version: u64, pub position: u64, pub first_position: u64 }
#[derive(Clone, Debug)]
pub struct Stats { pub events: u64, pub commits: u64, pub streams: u64, pub segments: u64, pub log_bytes: u64, pub index_bytes: u64, pub snapshot_bytes: u64, pub oldest: Option<Timestamp>, pub newest: Option<Timestamp> }

pub struct Tenant;
impl Tenant {
    /// One tenant without threads (for the simulator): whoever holds it drives it with decide, flush, maintain and idle, in any order.
    pub fn open(storage: Arc<dyn quipu_store::Storage>, folder: &str, clock: Arc<dyn Clock>, random: Arc<dyn Random>, options: Options) -> Result<Arc<Self>, Fault> { unimplemented!() }
    /// Decides everything that waits and writes it (not synced); the number of inputs decided.
    pub fn decide(&self) -> usize { unimplemented!() }
    /// Syncs what is written and sends the replies (callbacks run inside this call); the number of replies.
    pub fn flush(&self) -> usize { unimplemented!() }
    /// Background work that waits: index runs and snapshots of sealed segments. True if there was some.
    pub fn maintain(&self) -> Result<bool, Fault> { unimplemented!() }
    /// Writes the idle mark if the tail has none.
    pub fn idle(&self) { unimplemented!() }
    /// Clean stop of this tenant.
    pub fn close(&self) -> Result<(), Fault> { unimplemented!() }

    /// Runs on the caller's thread: size check, encoding, hashing.
    pub fn prepare(&self, event: &Event<'_>, stream_version: Option<u64>) -> Result<Prepared, InvalidEvent> { unimplemented!() }
    /// Each event for itself; never blocks; the reply comes on an engine thread once everything it rests on is on disk.
    pub fn publish(&self, events: Vec<Prepared>, reply: impl FnOnce(Result<Vec<Published>, Fault>) + Send + 'static) { unimplemented!() }
    /// All or nothing; likewise.
    pub fn append(&self, append: Append, reply: impl FnOnce(Result<Appended, NotAppended>) + Send + 'static) { unimplemented!() }
    /// The same, waiting, and driving the loop on this thread when nobody else does. For blocking callers.
    pub fn publish_wait(&self, events: Vec<Prepared>) -> Result<Vec<Published>, Fault> { unimplemented!() }
    pub fn append_wait(&self, append: Append) -> Result<Appended, NotAppended> { unimplemented!() }

    /// Newest position on disk; 0 for an empty log.
    pub fn position(&self) -> u64 { unimplemented!() }
    /// None while appends are possible; else why not (poisoned, disk full, closed).
    pub fn refuses_appends(&self) -> Option<Fault> { unimplemented!() }
    /// Reads may touch the disk: call them off the async threads. `from`: first position to look at (inclusive), None = the end
    /// that the direction starts from.
    pub fn read(&self, filter: &Filter, direction: Direction, from: Option<u64>, limit: usize) -> Result<Page, Fault> { unimplemented!() }
    /// Page.next here is a stream version.
    pub fn read_stream(&self, subject: &str, direction: Direction, from_version: Option<u64>, limit: usize) -> Result<Page, Fault> { unimplemented!() }
    pub fn stream(&self, subject: &str) -> StreamState { unimplemented!() }
    /// Streams in the order in which they began, from a position on (inclusive), optionally only names with a prefix; and where to go on.
    pub fn streams(&self, prefix: &str, from: u64, limit: usize) -> Result<(Vec<StreamInfo>, Option<u64>), Fault> { unimplemented!() }
    pub fn event_at(&self, position: u64) -> Result<Option<Recorded>, Fault> { unimplemented!() }
    /// Newest event of that pair.
    pub fn event_by_id(&self, source: &str, id: &str) -> Result<Option<Recorded>, Fault> { unimplemented!() }
    pub fn trace(&self, position: u64) -> Result<Option<Trace>, Fault> { unimplemented!() }
    /// The number recorded for an outside source.
    pub fn checkpoint(&self, source: &str) -> Option<u64> { unimplemented!() }
    pub fn stats(&self) -> Result<Stats, Fault> { unimplemented!() }
    /// Calls `woken(newest durable position)` after every batch of commits, on an engine thread; must be quick. Until the guard is dropped.
    pub fn on_commit(self: &Arc<Self>, woken: impl Fn(u64) + Send + Sync + 'static) -> CommitGuard { unimplemented!() }
    /// A follower that starts after `position`.
    pub fn follow(self: &Arc<Self>, filter: Filter, after: u64) -> Follower { unimplemented!() }
}
pub struct CommitGuard;
/// A filter and a position. It reads from the log at its own pace and holds nothing of it in memory.
pub struct Follower;
impl Follower {
    /// The position up to which everything that matches was returned.
    pub fn position(&self) -> u64 { unimplemented!() }
    /// Next matching events, at most `limit`, never waiting; empty when caught up or when a bounded stretch held no match
    /// (then position() advanced: call again while position() < tenant.position()).
    pub fn next(&mut self, limit: usize) -> Result<Vec<Recorded>, Fault> { unimplemented!() }
}
