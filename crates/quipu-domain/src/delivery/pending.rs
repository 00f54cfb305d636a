//! The unfinished deliveries of one subscription. Events are offered in the order of the log; whoever consumes is handed
//! what may go now, and says what became of it. Events of one key go one run after the other: while one of them is on its
//! way or waits for its retry, later ones wait, and other keys go on.
//!
//! Here is the state, and what keeps its parts in step; each operation on it is a file of its own.

mod answer;
mod available;
mod backlog;
mod delivery;
mod failure;
mod hand_out;
mod offer;
mod replay;
mod rules;
mod timers;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::attempt::bytes;
use super::lines::{Key, Lines};

pub use answer::NotInFlight;
pub use backlog::Backlog;
pub use delivery::{Delivery, DeliveryId, Phase};
pub use failure::Outcome;
pub use hand_out::HandedOut;
pub use rules::{Moment, Rules};

use available::Available;
use timers::Timers;

/// How many deliveries wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// May be handed out now, or as soon as their key is free.
    pub ready: usize,
    /// Are with a consumer.
    pub in_flight: usize,
    /// Wait for their next attempt.
    pub waiting: usize,
    /// Are parked.
    pub parked: usize,
    /// Keys with unfinished deliveries.
    pub keys: usize,
}

/// All unfinished deliveries of a subscription, and how far the log was looked at.
#[derive(Debug, Default)]
pub struct Deliveries {
    pub(super) scan: u64,
    pub(super) unfinished: BTreeMap<DeliveryId, Delivery>,
    pub(super) lines: Lines,
    /// Those that may be handed out now: the first of their line, or without one.
    available: Available,
    /// Deadlines and retries.
    timers: Timers,
    in_flight: usize,
    parked: usize,
    /// What the attempts of all unfinished deliveries take.
    history_bytes: usize,
    /// Keys whose next events have to be read from the log.
    reads: BTreeSet<Key>,
    /// What changed since it was last saved.
    pub(super) dirty: HashSet<DeliveryId>,
    pub(super) dirty_keys: HashSet<Key>,
    pub(super) saved_ids: HashSet<DeliveryId>,
    pub(super) saved_keys: HashSet<Key>,
    pub(super) saved_scan: u64,
}

impl Deliveries {
    /// Nothing unfinished; the next event that counts comes after `scan`.
    pub fn after(scan: u64) -> Self {
        Self { scan, saved_scan: scan, ..Self::default() }
    }

    /// Every event up to here was looked at.
    pub fn scan(&self) -> u64 {
        self.scan
    }

    /// One unfinished delivery.
    pub fn get(&self, id: DeliveryId) -> Option<&Delivery> {
        self.unfinished.get(&id)
    }

    /// Every unfinished delivery, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (DeliveryId, &Delivery)> {
        self.unfinished.iter().map(|(id, delivery)| (*id, delivery))
    }

    /// How many are with a consumer.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight
    }

    /// How many deliveries wait for what.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { keys: self.lines.len(), ..Summary::default() };
        for delivery in self.unfinished.values() {
            *match delivery.phase {
                Phase::Ready => &mut summary.ready,
                Phase::InFlight { .. } => &mut summary.in_flight,
                Phase::Waiting { .. } => &mut summary.waiting,
                Phase::Parked { .. } => &mut summary.parked,
            } += 1;
        }
        summary
    }

    fn set_phase(&mut self, id: DeliveryId, phase: Phase) {
        if let Some(delivery) = self.unfinished.get_mut(&id) {
            delivery.phase = phase;
            self.dirty.insert(id);
        }
    }

    /// Finishes a delivery, and lets the next of its key go.
    fn remove(&mut self, id: DeliveryId) {
        let Some(delivery) = self.unfinished.remove(&id) else { return };
        self.history_bytes -= bytes(&delivery.history);
        match delivery.phase {
            Phase::InFlight { deadline, .. } => {
                self.in_flight -= 1;
                self.timers.remove(id, deadline);
            }
            Phase::Waiting { until, .. } => self.timers.remove(id, until),
            Phase::Ready => self.available.remove(&id),
            Phase::Parked { .. } => self.parked -= 1,
        }
        self.dirty.insert(id);
        if let Some(key) = delivery.key {
            self.lines.line(key).order.retain(|other| *other != id);
            self.move_up(key);
        }
    }

    /// Puts back a delivery or what waits of a key, as it was saved.
    pub(super) fn restore(&mut self, id: DeliveryId, delivery: Delivery) {
        match (delivery.key, delivery.phase) {
            (Some(key), _) => self.lines.line(key).order.push_back(id),
            (None, Phase::Ready) => self.available.insert(id),
            (None, _) => {}
        }
        match delivery.phase {
            Phase::Waiting { since, until } => self.timers.insert(id, since, until),
            Phase::Parked { .. } => self.parked += 1,
            Phase::Ready | Phase::InFlight { .. } => {}
        }
        self.history_bytes += bytes(&delivery.history);
        self.unfinished.insert(id, delivery);
    }

    pub(super) fn restore_waiting(&mut self, key: Key, from: u64) {
        self.lines.wait_from(key, from);
    }

    /// After everything was put back: what may go.
    pub(super) fn restored(&mut self) {
        let keys: Vec<Key> = self.lines.iter().map(|(key, _)| key).collect();
        for key in keys {
            // Those that were handed out behind the first of a line never had their turn: their attempts were none.
            let behind: Vec<DeliveryId> = self.lines.line(key).order.iter().skip(1).copied().collect();
            for id in behind {
                if let Some(delivery) = self.unfinished.get_mut(&id).filter(|delivery| delivery.attempts > 0) {
                    (delivery.attempts, delivery.first_attempt) = (0, None);
                    self.dirty.insert(id);
                }
            }
            self.move_up(key);
        }
    }
}

#[cfg(test)]
mod tests;
