//! Virtual time: it stands still until somebody moves it, forward or back.

use std::sync::atomic::{AtomicI64, Ordering};

use quipu_domain::Timestamp;

/// A clock that only the simulation moves.
#[derive(Debug)]
pub struct VirtualClock(AtomicI64);

impl VirtualClock {
    /// A clock that shows that time.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock, back if `ms` is negative.
    pub fn jump_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::Relaxed);
    }
}

impl quipu_engine::Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}
