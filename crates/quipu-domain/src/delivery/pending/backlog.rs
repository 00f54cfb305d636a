//! What has come up and is not finished, seen as what a move of the subscription would take away: events that nobody was
//! handed, and deliveries that somebody was.

use std::collections::{BTreeSet, HashMap};

use super::super::lines::Key;
use super::{Deliveries, DeliveryId};

/// What of the events that were looked at is not finished.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// Every event up to here was looked at.
    pub scan: u64,
    /// Events that nobody was handed: an attempt that was taken back was none.
    pub untried: BTreeSet<u64>,
    /// Nobody was handed the events of these keys either, from the position on, up to `scan`.
    pub waits_from: HashMap<Key, u64>,
    /// Deliveries that somebody was handed, redriven and replayed ones.
    pub tried: BTreeSet<DeliveryId>,
}

impl Backlog {
    /// Whether an event that was looked at and matches waits behind its key without being remembered.
    pub fn waits_unremembered(&self, position: u64, key: Option<Key>) -> bool {
        key.and_then(|key| self.waits_from.get(&key)).is_some_and(|from| *from <= position)
    }
}

impl Deliveries {
    /// What is not finished.
    pub fn backlog(&self) -> Backlog {
        let is_untried = |id: &DeliveryId| *id == DeliveryId::routed(id.position) && self.unfinished[id].is_untried();
        let (untried, tried): (BTreeSet<_>, BTreeSet<_>) = self.unfinished.keys().copied().partition(is_untried);
        let mut untried: BTreeSet<u64> = untried.into_iter().map(|id| id.position).collect();
        let mut waits_from = HashMap::new();
        for (key, line) in self.lines.iter() {
            untried.extend(line.remembered());
            waits_from.extend(line.more_from().map(|from| (key, from)));
        }
        Backlog { scan: self.scan, untried, waits_from, tried }
    }
}
