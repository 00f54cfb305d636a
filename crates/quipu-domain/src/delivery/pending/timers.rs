//! What becomes due when: deadlines and retries, by a clock that may be set back. Whatever waits then waits for no longer
//! from now on than it was to wait in all, not until the clock is there again.

use std::collections::BTreeMap;

use super::{Deliveries, DeliveryId, Phase};
use crate::Timestamp;

/// Times at which something is due, each with the time since which it waits.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Timestamp, DeliveryId), Timestamp>,
    /// None waits since a later time: by a clock that shows it or more nothing is wrong.
    latest: Timestamp,
}

impl Timers {
    pub fn insert(&mut self, id: DeliveryId, since: Timestamp, due: Timestamp) {
        self.latest = self.latest.max(since);
        self.due.insert((due, id), since);
    }

    pub fn remove(&mut self, id: DeliveryId, due: Timestamp) {
        self.due.remove(&(due, id));
    }

    /// The first time at which something is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the first that is due by now.
    pub fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, DeliveryId)> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove_entry().0)
    }

    /// What waits since a time that has not come waits since now. Which those are, and by how many microseconds earlier
    /// each is due.
    fn turn_back(&mut self, now: Timestamp) -> Vec<(DeliveryId, i64)> {
        if self.latest <= now {
            return Vec::new();
        }
        self.latest = now;
        let (mut moved, mut due) = (Vec::new(), BTreeMap::new());
        for ((time, id), since) in std::mem::take(&mut self.due) {
            let back_us = since.0.saturating_sub(now.0).max(0);
            due.insert((earlier(time, back_us), id), earlier(since, back_us));
            moved.extend((back_us > 0).then_some((id, back_us)));
        }
        self.due = due;
        moved
    }
}

fn earlier(time: Timestamp, by_us: i64) -> Timestamp {
    Timestamp(time.0.saturating_sub(by_us))
}

impl Deliveries {
    /// Takes note of the time before anything is judged by it.
    pub(super) fn time_is(&mut self, now: Timestamp) {
        for (id, back_us) in self.timers.turn_back(now) {
            match self.unfinished.get_mut(&id).map(|delivery| &mut delivery.phase) {
                Some(Phase::InFlight { since, deadline, .. }) => {
                    (*since, *deadline) = (earlier(*since, back_us), earlier(*deadline, back_us));
                }
                Some(Phase::Waiting { since, until }) => {
                    (*since, *until) = (earlier(*since, back_us), earlier(*until, back_us));
                    self.dirty.insert(id);
                }
                _ => {}
            }
        }
    }
}
