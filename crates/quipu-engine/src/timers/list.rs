//! Timers that wait, for whoever looks.

use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::Bytes;
use quipu_domain::{Event, Timestamp};
use quipu_store::{Fault, Locator, RecordKind, body};

use super::TimerName;
use super::records::TimerRecord;
use crate::tenant::Tenant;

/// Bytes of the records on one page, roughly: each may hold an event of the largest size.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// A timer that waits, as its record says.
#[derive(Clone, Debug)]
pub struct TimerInfo {
    /// Its number.
    pub timer: u64,
    /// When it fires.
    pub due: Timestamp,
    /// When it was set.
    pub set: Timestamp,
    record: Bytes,
}

/// Some timers, those first that fire first.
#[derive(Clone, Debug)]
pub struct TimerPage {
    /// The timers.
    pub timers: Vec<TimerInfo>,
    /// How many wait in all.
    pub total: u64,
    /// The last that was looked at, if there may be more behind it.
    pub next: Option<(Timestamp, u64)>,
}

impl TimerInfo {
    fn read(&self) -> (Option<&str>, &[u8]) {
        match TimerRecord::read(&self.record) {
            Some(TimerRecord::Set { key, event, .. }) => (key, event),
            _ => unreachable!("it was read when it was made"),
        }
    }

    /// The name by which it can be cancelled.
    pub fn key(&self) -> Option<&str> {
        self.read().0
    }

    /// The event that it publishes.
    pub fn event(&self) -> Event<'_> {
        body::decode(self.read().1).expect("it was read when it was made")
    }
}

impl Tenant {
    /// A timer that waits.
    ///
    /// # Errors
    /// Its record cannot be read, or what has happened cannot be made durable.
    pub fn timer(self: &Arc<Self>, timer: &TimerName) -> Result<Option<TimerInfo>, Fault> {
        let found = {
            let fold = self.decider.lock();
            let number = match timer {
                TimerName::Number(number) => Some(*number),
                TimerName::Key(key) => fold.timers.of_key(key),
            };
            number.and_then(|number| fold.timers.get(number).map(|pending| (number, pending.due, pending.locator)))
        };
        self.until_durable()?;
        found.map(|(number, due, locator)| self.timer_at(number, due, locator)).transpose()
    }

    /// The timers behind one, at most so many; fewer, if their events are large.
    ///
    /// # Errors
    /// As [`Tenant::timer`].
    pub fn timers(self: &Arc<Self>, after: Option<(Timestamp, u64)>, limit: usize) -> Result<TimerPage, Fault> {
        // A copy that shares everything: what changes meanwhile does not wait for the search.
        let timers = self.decider.lock().timers.clone();
        let mut first: BinaryHeap<(Timestamp, u64, Locator)> = BinaryHeap::with_capacity(limit + 2);
        for (number, pending) in
            timers.iter().filter(|(number, one)| after.is_none_or(|after| (one.due, *number) > after))
        {
            first.push((pending.due, number, pending.locator));
            if first.len() > limit + 1 {
                first.pop();
            }
        }
        self.until_durable()?;
        let mut first = first.into_sorted_vec();
        let is_more = first.len() > limit;
        first.truncate(limit);
        let (mut page, mut bytes) = (Vec::with_capacity(first.len()), 0);
        for (due, number, locator) in &first {
            let timer = self.timer_at(*number, *due, *locator)?;
            bytes += timer.record.len();
            page.push(timer);
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        let next = page.last().filter(|_| is_more || page.len() < first.len()).map(|last| (last.due, last.timer));
        Ok(TimerPage { timers: page, total: timers.len() as u64, next })
    }

    fn timer_at(&self, timer: u64, due: Timestamp, locator: Locator) -> Result<TimerInfo, Fault> {
        let fetched = self.log.fetch(locator, RecordKind::Timer)?;
        let damaged = || Fault::Damaged {
            path: self.log.name(),
            offset: 0,
            detail: format!("the record of timer {timer} has a checksum that fits and cannot be decoded"),
        };
        match TimerRecord::read(&fetched.body).ok_or_else(damaged)? {
            TimerRecord::Set { event, .. } => body::decode(event).map(drop).ok_or_else(damaged)?,
            _ => return Err(damaged()),
        }
        Ok(TimerInfo { timer, due, set: fetched.recorded_time, record: fetched.body })
    }

    /// Waits until everything that was decided is durable: whoever was shown something may rely on it.
    pub(crate) fn until_durable(self: &Arc<Self>) -> Result<(), Fault> {
        let decided = self.decider.lock().tail.number;
        if decided <= self.commit() {
            return Ok(());
        }
        self.write_records_wait(Vec::new())
    }
}
