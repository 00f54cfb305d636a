//! The lines in which events of one key wait for each other: the unfinished deliveries of the key in order, and what
//! comes after them. What does not fit is not kept: only where in the log it begins.

use std::collections::{HashMap, VecDeque};

use super::pending::DeliveryId;

/// A key as whoever routes hashes it. 128 bits, since two keys must never be taken for one.
pub type Key = u128;

/// Unfinished deliveries of one key. A run of them may go to one consumer at once, to be acknowledged in order.
/// Few in tests, so that lines are often full.
pub(crate) const RUN_MAX: usize = if cfg!(test) { 3 } else { 64 };
/// Positions that all lines of a subscription remember behind their unfinished deliveries: 8 bytes each.
pub(crate) const WAITING_MAX: usize = if cfg!(test) { 5 } else { 50_000 };

#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Unfinished deliveries, the oldest first: it alone decides whether the key moves.
    pub order: VecDeque<DeliveryId>,
    /// Events of the key that come next.
    waiting: VecDeque<u64>,
    /// There are more of them from this position on, up to the scan position: read the log.
    more_from: Option<u64>,
    /// How many more, if that is known.
    more: Option<usize>,
}

/// All lines of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: HashMap<Key, Line>,
    waiting: usize,
}

impl Line {
    /// Where the first event of the key is that has no delivery yet.
    pub fn waits_from(&self) -> Option<u64> {
        self.waiting.front().copied().or(self.more_from)
    }

    /// How many wait, if that is known.
    pub fn behind(&self) -> Option<usize> {
        let more = if self.more_from.is_some() { self.more? } else { 0 };
        Some(self.waiting.len() + more)
    }

    /// Forgets the positions, of which that is the first, with so many before them.
    fn forget(&mut self, first: u64, before: usize) {
        self.more = self.behind().map(|behind| behind + before);
        self.more_from = Some(first);
        self.waiting = VecDeque::new();
    }

    /// The positions that are remembered behind the unfinished deliveries.
    pub fn remembered(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().copied()
    }

    /// From where on there are more that are not remembered.
    pub fn more_from(&self) -> Option<u64> {
        self.more_from
    }
}

impl Lines {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn get(&self, key: Key) -> Option<&Line> {
        self.lines.get(&key)
    }

    /// The line of a key, made if there is none.
    pub fn line(&mut self, key: Key) -> &mut Line {
        self.lines.entry(key).or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &Line)> {
        self.lines.iter().map(|(key, line)| (*key, line))
    }

    /// Remembers that an event of the key waits. Events come in order.
    pub fn wait(&mut self, key: Key, position: u64) {
        let line = self.lines.entry(key).or_default();
        if line.more_from.is_some() {
            line.more = line.more.map(|more| more + 1);
        } else if self.waiting < WAITING_MAX {
            line.waiting.push_back(position);
            self.waiting += 1;
        } else {
            (line.more_from, line.more) = (Some(position), Some(1));
        }
    }

    /// Remembers that events of the key wait from this position on, wherever they are and however many.
    pub fn wait_from(&mut self, key: Key, position: u64) {
        self.lines.entry(key).or_default().more_from = Some(position);
    }

    /// Remembers that one more event of the key waits, but not where, if it is not the first.
    pub fn wait_unremembered(&mut self, key: Key, position: u64) {
        self.forget_positions(key);
        let line = self.lines.entry(key).or_default();
        match line.more_from {
            Some(_) => line.more = line.more.map(|more| more + 1),
            None => (line.more_from, line.more) = (Some(position), Some(1)),
        }
    }

    /// Remembers of what waits behind a key only where in the log it begins.
    pub fn forget_positions(&mut self, key: Key) {
        if let Some(line) = self.lines.get_mut(&key)
            && let Some(first) = line.waiting.front().copied()
        {
            self.waiting -= line.waiting.len();
            line.forget(first, 0);
        }
    }

    /// Remembers that events of the key wait before those that wait already.
    pub fn wait_again(&mut self, key: Key, positions: Vec<u64>) {
        let Some(first) = positions.first().copied() else { return };
        let line = self.lines.entry(key).or_default();
        if self.waiting + positions.len() <= WAITING_MAX {
            self.waiting += positions.len();
            positions.into_iter().rev().for_each(|position| line.waiting.push_front(position));
        } else {
            self.waiting -= line.waiting.len();
            line.forget(first, positions.len());
        }
    }

    /// As [`Lines::forget_positions`], of all keys.
    pub fn forget_all_positions(&mut self) {
        for line in self.lines.values_mut() {
            // Whether they match is to be found out again.
            (line.more_from, line.more) = (line.waits_from(), None);
            line.waiting = VecDeque::new();
        }
        self.waiting = 0;
    }

    /// Takes the next event of the key that waits and is remembered.
    pub fn next_waiting(&mut self, key: Key) -> Option<u64> {
        let position = self.lines.get_mut(&key)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some(position)
    }

    /// The log was read for more of the key: these are the next, and perhaps still more from `more_from` on. So many of
    /// them become deliveries `at_once` and are always taken.
    pub fn found(&mut self, key: Key, positions: &[u64], more_from: Option<u64>, at_once: usize) {
        if let Some(line) = self.lines.get_mut(&key) {
            let room = at_once.max(WAITING_MAX.saturating_sub(self.waiting));
            let (taken, left) = positions.split_at(room.min(positions.len()));
            line.waiting.extend(taken);
            line.more_from = left.first().copied().or(more_from);
            line.more = line.more.map(|more| more.saturating_sub(taken.len()));
            self.waiting += taken.len();
        }
    }

    /// Events that wait behind the unfinished ones of their key; none if the log would have to be read to know.
    pub fn waiting_behind(&self) -> Option<usize> {
        self.lines.values().try_fold(0, |sum, line| Some(sum + line.behind()?))
    }

    /// Where to read on for a key whose remembered events are used up.
    pub fn reads_from(&self, key: Key) -> Option<u64> {
        self.lines.get(&key).filter(|line| line.waiting.is_empty()).and_then(|line| line.more_from)
    }

    /// Forgets a key that nothing belongs to.
    pub fn forget_if_empty(&mut self, key: Key) {
        if self.lines.get(&key).is_some_and(|line| line.order.is_empty() && line.waits_from().is_none()) {
            self.lines.remove(&key);
        }
    }
}
