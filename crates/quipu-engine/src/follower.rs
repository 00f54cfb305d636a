//! What happens after a commit: a filter, a position, and a step that somebody else takes. Tails, consumers,
//! projections and replays are followers that differ only in the step and in where the position is kept.
//!
//! A follower reads from the log at its own pace and holds nothing of it, so a slow one costs nobody anything.

use std::sync::Arc;

use quipu_domain::schema::SchemaVersion;
use quipu_domain::{Direction, Filter};
use quipu_store::Fault;

use crate::read::Recorded;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Bytes of events in another version than the stored one that are read at once, and one more.
const TURNED_BYTES: usize = 1 << 20;

/// A filter and a position in a log.
pub struct Follower {
    tenant: Arc<Tenant>,
    filter: Filter,
    position: u64,
}

impl Tenant {
    /// A follower that begins with the first event after `position`.
    pub fn follow(self: &Arc<Self>, filter: Filter, position: u64) -> Follower {
        Follower { tenant: Arc::clone(self), filter, position }
    }
}

impl Follower {
    /// Every matching event up to this position was returned.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether there is something behind the position that was not looked at.
    pub fn is_behind(&self) -> bool {
        self.position < self.tenant.position()
    }

    /// The next matching events, at most `limit`, without waiting. Empty if there is none yet, or none in the
    /// stretch that one call looks at: then [`Follower::is_behind`] says to call again.
    pub fn next(&mut self, limit: usize) -> Result<Vec<Recorded>, Fault> {
        let durable = self.tenant.position();
        if self.position >= durable {
            return Ok(Vec::new());
        }
        let page = self.tenant.read_to(&self.filter, Direction::Forward, Some(self.position + 1), limit, durable)?;
        self.position = page.next.map_or(durable, |next| next - 1);
        Ok(page.events)
    }

    /// As [`Follower::next`], with the events in a version of their schema. Ends before one that cannot be read in it.
    ///
    /// # Errors
    /// The next one cannot be read in that version, or the log cannot be read.
    pub fn next_in(&mut self, limit: usize, version: SchemaVersion) -> Result<Vec<Recorded>, NotDone> {
        let events = self.next(limit)?;
        if version.is_stored() {
            return Ok(events);
        }
        let (mut turned, mut bytes) = (Vec::with_capacity(events.len()), 0);
        for recorded in events {
            let position = recorded.stamp.position;
            // Of data that is kept beside the log one at a time is in memory, and what becomes of data may be larger than it was.
            let is_large = recorded.has_payload();
            if (is_large || bytes > TURNED_BYTES) && !turned.is_empty() {
                self.position = position - 1;
                break;
            }
            match self.tenant.upcast(recorded, version) {
                Ok(recorded) => {
                    bytes += recorded.bytes();
                    turned.push(recorded);
                }
                Err(error) => {
                    self.position = position - 1;
                    return if turned.is_empty() { Err(error) } else { Ok(turned) };
                }
            }
            if is_large {
                self.position = position;
                break;
            }
        }
        Ok(turned)
    }
}
