//! What of a subscription's state survives: all of it as [`Saved`], and what changed since it was last written down as
//! [`Progress`]. A delivery in flight is saved as one that waits its turn, its attempt counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::lines::Key;
use super::pending::{Deliveries, Delivery, DeliveryId, Phase};
use crate::Timestamp;

/// An unfinished delivery as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDelivery {
    /// The key whose events wait for it.
    pub key: Option<Key>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the first one began.
    pub first_attempt: Option<Timestamp>,
    /// The failed ones that are kept.
    pub history: Vec<Attempt>,
    /// After this time it is not delivered any more.
    pub expires: Option<Timestamp>,
    /// Since when it waits for its next attempt, and when that is due; none if it is its turn, or its key is parked.
    pub waits: Option<(Timestamp, Timestamp)>,
    /// The dead letter that its key is parked by.
    pub parked_by: Option<u64>,
    /// The dead letter that parked its key, if somebody had it tried again since.
    pub unparked_from: Option<u64>,
}

/// The state of a subscription's deliveries as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Every event up to here was looked at.
    pub scan: u64,
    /// Unfinished deliveries.
    pub deliveries: BTreeMap<DeliveryId, SavedDelivery>,
    /// Where the first event of a key waits that has no delivery yet.
    pub waiting: BTreeMap<Key, u64>,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Every event up to here was looked at.
    pub scan: u64,
    /// New or changed deliveries, and those that are finished.
    pub deliveries: Vec<(DeliveryId, Option<SavedDelivery>)>,
    /// Where the first event of a key waits now, if any does.
    pub waiting: Vec<(Key, Option<u64>)>,
}

impl Saved {
    /// Nothing unfinished; the next event that counts comes after `scan`.
    pub fn after(scan: u64) -> Self {
        Self { scan, ..Self::default() }
    }

    /// Brings it up to date.
    pub fn apply(&mut self, progress: Progress) {
        self.scan = progress.scan;
        for (id, delivery) in progress.deliveries {
            match delivery {
                Some(delivery) => _ = self.deliveries.insert(id, delivery),
                None => _ = self.deliveries.remove(&id),
            }
        }
        for (key, from) in progress.waiting {
            match from {
                Some(from) => _ = self.waiting.insert(key, from),
                None => _ = self.waiting.remove(&key),
            }
        }
    }
}

fn saved(delivery: &Delivery) -> SavedDelivery {
    let (waits, parked_by) = match delivery.phase {
        Phase::Ready | Phase::InFlight { .. } => (None, None),
        Phase::Waiting { since, until } => (Some((since, until)), None),
        Phase::Parked { dead_letter } => (None, Some(dead_letter)),
    };
    SavedDelivery {
        key: delivery.key,
        attempts: delivery.attempts,
        first_attempt: delivery.first_attempt,
        history: delivery.history.clone(),
        expires: delivery.expires,
        waits,
        parked_by,
        unparked_from: delivery.unparked_from,
    }
}

impl Deliveries {
    /// The state that was saved.
    pub fn restore_from(saved: &Saved) -> Self {
        let mut deliveries = Self::after(saved.scan);
        for (id, saved) in &saved.deliveries {
            let phase = match (saved.waits, saved.parked_by) {
                (Some((since, until)), _) => Phase::Waiting { since, until },
                (None, Some(dead_letter)) => Phase::Parked { dead_letter },
                (None, None) => Phase::Ready,
            };
            let delivery = Delivery {
                key: saved.key,
                attempts: saved.attempts,
                first_attempt: saved.first_attempt,
                history: saved.history.clone(),
                expires: saved.expires,
                unparked_from: saved.unparked_from,
                phase,
            };
            deliveries.restore(*id, delivery);
        }
        saved.waiting.iter().for_each(|(key, from)| deliveries.restore_waiting(*key, *from));
        deliveries.restored();
        deliveries.saved_ids = saved.deliveries.keys().copied().collect();
        deliveries.saved_keys = saved.waiting.keys().copied().collect();
        deliveries
    }

    /// All of the state.
    pub fn saved(&self) -> Saved {
        let waiting = self.lines.iter().filter_map(|(key, line)| Some((key, line.waits_from()?)));
        Saved {
            scan: self.scan,
            deliveries: self.unfinished.iter().map(|(id, delivery)| (*id, saved(delivery))).collect(),
            waiting: waiting.collect(),
        }
    }

    /// How far the scan is ahead of what was saved, in events.
    pub fn unsaved_scan(&self) -> u64 {
        self.scan - self.saved_scan
    }

    /// Whether there is more to save than the scan position.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.dirty_keys.is_empty()
    }

    /// What changed since this was last called. It must be saved before anything that is taken later.
    pub fn take_progress(&mut self) -> Progress {
        let mut progress = Progress { scan: self.scan, ..Progress::default() };
        self.saved_scan = self.scan;
        for id in self.dirty.drain() {
            let now = self.unfinished.get(&id).map(saved);
            let was_saved = match now {
                Some(_) => !self.saved_ids.insert(id),
                None => self.saved_ids.remove(&id),
            };
            // What came and went in between leaves no trace.
            if now.is_some() || was_saved {
                progress.deliveries.push((id, now));
            }
        }
        for key in self.dirty_keys.drain() {
            let now = self.lines.get(key).and_then(|line| line.waits_from());
            let was_saved = match now {
                Some(_) => !self.saved_keys.insert(key),
                None => self.saved_keys.remove(&key),
            };
            if now.is_some() || was_saved {
                progress.waiting.push((key, now));
            }
        }
        progress.deliveries.sort_unstable_by_key(|(id, _)| *id);
        progress.waiting.sort_unstable_by_key(|(key, _)| *key);
        progress
    }
}
