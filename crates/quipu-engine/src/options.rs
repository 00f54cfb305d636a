//! What an engine is handed: limits and windows, the time, and randomness. It reads no clock and rolls no dice itself.

use std::sync::Arc;

use quipu_domain::{Quotas, Timestamp, limits};
use quipu_store::Storage;

/// Limits and windows, with the reason for each default.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest stored event, bytes. 1 MiB: larger payloads belong beside the log.
    pub event_bytes_max: usize,
    /// Largest stored event whose data is in the log, bytes: of a larger one it is kept beside it. 1 MiB, as no event was
    /// larger before there were payloads. Above `event_bytes_max` nothing is kept beside it.
    pub claim_check_bytes: usize,
    /// Largest data that is kept beside the log, bytes. 16 MiB: it is held in memory while it is taken and read.
    pub payload_bytes_max: usize,
    /// How long a repeated `source` and `id` is recognised, milliseconds. 24 h: longer than any sane retry.
    pub dedup_window_ms: i64,
    /// How many of the newest events are in the window however old they are.
    pub dedup_window_events: u64,
    /// A segment file is closed at this many bytes. 256 MiB: few files, and quick to read after a crash.
    pub segment_bytes: u64,
    /// An index run is written at this many events. 500,000 take about 60 MB of memory before.
    pub run_events: usize,
    /// Bytes that may wait to be appended. More is refused as overload: waiting longer would not help anybody.
    pub mailbox_bytes_max: usize,
    /// Open dead letters of a subscription: with as many it is held back until somebody decides about some. Of those that
    /// were decided about the newest so many are kept. 100,000 take about 50 MB of memory.
    pub dead_letters_max: u64,
    /// Subscriptions of a tenant. 10,000, as each takes a few KiB when idle.
    pub subscriptions_max: usize,
    /// Tenants of a folder. 10,000: each that is open takes some hundred KiB of memory and a few files.
    pub tenants_max: usize,
    /// Quotas of every tenant that has none of its own. None: whoever has a machine for himself needs none.
    pub quotas: Quotas,
    /// Threads that decide and sync. They mostly wait for the disk, so twice the cores.
    pub threads: usize,
}

impl Options {
    /// Whether data is kept beside the log at all: not where every event that is taken stays in it.
    pub fn has_payloads(&self) -> bool {
        self.claim_check_bytes <= self.event_bytes_max
    }

    /// Largest data or event that somebody may send.
    pub fn sent_bytes_max(&self) -> usize {
        self.event_bytes_max.max(if self.has_payloads() { self.payload_bytes_max } else { 0 })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event_bytes_max: limits::EVENT_BYTES_DEFAULT,
            claim_check_bytes: limits::CLAIM_CHECK_BYTES_DEFAULT,
            payload_bytes_max: limits::PAYLOAD_BYTES_DEFAULT,
            dedup_window_ms: 24 * 60 * 60 * 1_000,
            dedup_window_events: 1_000_000,
            segment_bytes: 256 << 20,
            run_events: 500_000,
            mailbox_bytes_max: 64 << 20,
            dead_letters_max: 100_000,
            subscriptions_max: 10_000,
            tenants_max: 10_000,
            quotas: Quotas::default(),
            threads: std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2).max(4),
        }
    }
}

/// What an engine is handed of the world.
#[derive(Clone)]
pub struct World {
    /// Where its files are.
    pub storage: Arc<dyn Storage>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now. May jump; recorded times never go back all the same.
    fn now(&self) -> Timestamp;
}

/// Makes randomness.
pub trait Random: Send + Sync {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);
}
