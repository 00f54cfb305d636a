//! Where deliveries come from: events are offered in the order of the log, and join the line of their key or wait behind
//! it in the log, from where they are read when their turn comes.

use super::super::lines::{Key, Line, RUN_MAX};
use super::{Deliveries, Delivery, DeliveryId, Phase, Rules};
use crate::Timestamp;
use crate::subscription::IN_FLIGHT_MAX;

/// Keys that may have unfinished events at once besides parked ones: about 100 bytes each. With more the scan waits.
const KEYS_MAX: usize = 10_000;
/// Keys that may be parked at once: about 300 bytes each. With more the scan waits for somebody to decide.
const PARKED_MAX: usize = if cfg!(test) { 50 } else { 10_000 };
/// Unfinished deliveries beside those that may be in flight: waiting for a retry, or behind one that moves. Few in
/// tests, so that there is often no room.
const WAITING_MAX: usize = if cfg!(test) { 20 } else { 1_000 };
/// Unfinished deliveries, parked ones apart, with which a key that goes on has only its next event taken up: as many as
/// have room if the most may be in flight.
const UNFINISHED_MAX: usize = if cfg!(test) { 40 } else { IN_FLIGHT_MAX as usize + WAITING_MAX };

impl Deliveries {
    /// Whether another event may be offered. What cannot be offered waits in the log.
    pub fn has_room(&self, rules: &Rules) -> bool {
        self.room(rules) > 0
    }

    /// How many events may be offered before that has to be asked again. There may be room for more then: what waits behind
    /// others of its key takes none.
    pub fn room(&self, rules: &Rules) -> usize {
        // Who waits in the line of a replay stops nobody else.
        let is_routed = |line: &Line| line.order.front().is_none_or(|first| first.replay == 0);
        let is_stopped = rules.is_strict
            && self
                .lines
                .iter()
                .any(|(_, line)| is_routed(line) && (line.order.len() >= RUN_MAX || line.waits_from().is_some()));
        // A parked key has one delivery.
        let (unfinished, keys) = (self.unfinished.len() - self.parked, self.lines.len() - self.parked);
        if is_stopped || self.parked >= PARKED_MAX {
            return 0;
        }
        (rules.max_in_flight + WAITING_MAX).saturating_sub(unfinished).min(KEYS_MAX.saturating_sub(keys))
    }

    /// Takes note of the next event that matches.
    pub fn offer(&mut self, position: u64, key: Option<Key>, expires: Option<Timestamp>) {
        assert!(position > self.scan, "events are offered in order");
        self.scan = position;
        let Some(key) = key else {
            return self.insert(DeliveryId::routed(position), None, expires);
        };
        let line = self.lines.get(key);
        let first = line.and_then(|line| line.order.front()).map(|first| self.unfinished[first].phase);
        let joins = line.is_none_or(|line| line.waits_from().is_none() && line.order.len() < RUN_MAX);
        match first {
            // Nobody knows when it goes on: its positions would take the room of others.
            Some(Phase::Parked { .. }) => self.lines.wait_unremembered(key, position),
            Some(Phase::Waiting { .. }) => self.lines.wait(key, position),
            _ if joins => return self.insert(DeliveryId::routed(position), Some(key), expires),
            _ => self.lines.wait(key, position),
        }
        self.dirty_keys.insert(key);
    }

    /// Takes note that no event up to here matches.
    pub fn looked_to(&mut self, position: u64) {
        self.scan = self.scan.max(position);
    }

    /// A key whose next events have to be read from the log, the position to begin at, and the last one to look at.
    pub fn reads(&self) -> Option<(Key, u64, u64)> {
        let (key, from) = self.all_reads().next()?;
        Some((key, from, self.scan))
    }

    /// Every key whose next events have to be read from the log, and the position to begin at.
    pub fn all_reads(&self) -> impl Iterator<Item = (Key, u64)> {
        self.reads.iter().filter_map(|key| Some((*key, self.lines.reads_from(*key)?)))
    }

    /// Whether the log has to be read for some key.
    pub fn has_reads(&self) -> bool {
        self.all_reads().next().is_some()
    }

    /// What an event must match is another now: those that wait behind others of their key are looked for in the log when
    /// they come up, as after a restart.
    pub fn match_anew(&mut self) {
        self.lines.forget_all_positions();
    }

    /// Whether events wait behind others of their key that are not deliveries yet.
    pub fn has_waiting(&self) -> bool {
        self.lines.iter().any(|(_, line)| line.waits_from().is_some())
    }

    /// Events that wait behind the unfinished ones of their key; none if the log would have to be read to know.
    pub fn waiting_behind(&self) -> Option<usize> {
        self.lines.waiting_behind()
    }

    /// Of those the ones that wait behind a parked one, and do not go on with the others.
    pub fn waiting_behind_parked(&self) -> Option<usize> {
        let is_parked = |id: &DeliveryId| matches!(self.unfinished[id].phase, Phase::Parked { .. });
        let mut parked = self.lines.iter().filter(|(_, line)| line.order.front().is_some_and(is_parked));
        parked.try_fold(0, |sum, (_, line)| Some(sum + line.behind()?))
    }

    /// The log was read for a key: these are its events up to position `to`.
    pub fn found(&mut self, key: Key, positions: &[u64], to: u64) {
        self.reads.remove(&key);
        // Events that were offered meanwhile are not among them.
        let more_from = (to < self.scan).then_some(to + 1);
        self.lines.found(key, positions, more_from, self.taken_up_at_once());
        self.dirty_keys.insert(key);
        self.move_up(key);
    }

    pub(super) fn insert(&mut self, id: DeliveryId, key: Option<Key>, expires: Option<Timestamp>) {
        self.unfinished.insert(id, Delivery::new(key, expires));
        self.dirty.insert(id);
        let is_first = key.is_none_or(|key| {
            let order = &mut self.lines.line(key).order;
            order.push_back(id);
            order.len() == 1
        });
        if is_first {
            self.available.insert(id);
        }
    }

    /// Lets those behind the first of a line wait in the log again, since it does not move: deliveries that nobody may
    /// have would take the room of other keys. Those of a replay stay: the log does not say that they are.
    pub(super) fn step_back(&mut self, key: Key) {
        let Some(line) = self.lines.get(key) else { return };
        let is_untried = |id: &&DeliveryId| id.replay == 0 && self.unfinished[*id].is_untried();
        let count = line.order.iter().skip(1).rev().take_while(is_untried).count();
        let is_parked = line.order.front().is_some_and(|id| matches!(self.unfinished[id].phase, Phase::Parked { .. }));
        if count > 0 {
            let order = &mut self.lines.line(key).order;
            let moved = order.split_off(order.len() - count);
            for id in &moved {
                self.unfinished.remove(id);
                self.dirty.insert(*id);
            }
            self.lines.wait_again(key, moved.into_iter().map(|id| id.position).collect());
            self.dirty_keys.insert(key);
        }
        if is_parked {
            self.lines.forget_positions(key);
        }
    }

    /// How many events of a key that goes on are taken up at once.
    fn taken_up_at_once(&self) -> usize {
        UNFINISHED_MAX.saturating_sub(self.unfinished.len() - self.parked).clamp(1, RUN_MAX)
    }

    /// Lets the first of a line go, and fills the line from what waits behind it.
    pub(super) fn move_up(&mut self, key: Key) {
        if self.lines.get(key).is_some_and(|line| line.order.is_empty()) {
            let room = self.taken_up_at_once();
            while self.lines.get(key).is_some_and(|line| line.order.len() < room)
                && let Some(position) = self.lines.next_waiting(key)
            {
                // Whether it has expired is found out again when it is read.
                self.insert(DeliveryId::routed(position), Some(key), None);
                self.dirty_keys.insert(key);
            }
            if self.lines.reads_from(key).is_some() && self.lines.get(key).is_some_and(|line| line.order.is_empty()) {
                self.reads.insert(key);
            }
        }
        if let Some(first) = self.lines.get(key).and_then(|line| line.order.front().copied())
            && self.unfinished[&first].phase == Phase::Ready
        {
            self.available.insert(first);
        }
        self.lines.forget_if_empty(key);
    }
}
