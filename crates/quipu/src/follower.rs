//! A follower in process: a filter and a position. It reads from the log at its own pace, so a slow one costs no
//! memory and holds up nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_domain::schema::SchemaVersion;
use quipu_engine::{Recorded, Tenant};
use quipu_store::Fault;

use crate::Error;
use crate::signal::{Signal, Waited};

/// Where a follower begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first event that was ever recorded.
    Beginning,
    /// With the next event that is recorded.
    #[default]
    End,
    /// With the event at this position, or the first after it that matches.
    At(u64),
}

impl Start {
    /// The position after which to begin.
    pub(crate) fn after(self, tenant: &Tenant) -> u64 {
        match self {
            Self::Beginning => 0,
            Self::End => tenant.position(),
            Self::At(position) => position.saturating_sub(1),
        }
    }
}

/// Events that match a filter, as they are recorded. Made by [`Quipu::follow`](crate::Quipu::follow).
pub struct Follower {
    pub(crate) follower: quipu_engine::Follower,
    pub(crate) signal: Arc<Signal>,
    pub(crate) version: SchemaVersion,
}

impl Follower {
    /// The same, with the events in a version of their schema.
    #[must_use]
    pub fn in_version(self, version: SchemaVersion) -> Self {
        Self { version, ..self }
    }

    /// The next matching events in order, at most `limit`; waits up to `timeout` for the first. Empty after that.
    ///
    /// # Errors
    /// The disk failed, or the store was closed.
    pub fn next(&mut self, limit: usize, timeout: Duration) -> Result<Vec<Recorded>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let before = self.follower.position();
            let events = self.follower.next_in(limit, self.version)?;
            if !events.is_empty() {
                return Ok(events);
            }
            let position = self.follower.position();
            if position > before {
                // A stretch without a match: there may be more behind it.
                continue;
            }
            match self.signal.wait(position, deadline) {
                Waited::Passed => {}
                Waited::TimedOut => return Ok(Vec::new()),
                Waited::Closed => return Err(Fault::Closed.into()),
            }
        }
    }

    /// The position up to which everything that matches was returned. A follower that starts after it goes on without
    /// gap or repeat.
    pub fn position(&self) -> u64 {
        self.follower.position()
    }
}
