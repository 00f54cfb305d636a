//! Timers: events that are published later. The whole event is in the record of its timer, and has no position until its time comes;
//! then it is recorded like any other, in one commit with the end of its timer. The loop decides whether a timer is still there, so
//! whoever finds what is due may be late, repeat itself or be started anew and can do no harm.

mod fire;
mod list;
mod records;
mod refusal;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use quipu_domain::limits::{TIMER_AHEAD_MS_MAX, TIMER_KEY_BYTES_MAX};
use quipu_domain::timer::Wheel;
use quipu_domain::{Event, Timestamp};
use quipu_store::{Fault, Record};

use crate::append::{Append, Appended, NotAppended, Prepared};
use crate::tenant::Tenant;
pub use list::{TimerInfo, TimerPage};
pub(crate) use records::{FoldedTimers, TimerRecord};
pub(crate) use refusal::AHEAD_DAYS;
pub use refusal::InvalidTimer;

/// The attribute that says when an event is to be published.
pub const DELIVER_AT: &str = "deliverat";

/// When a timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FireAt {
    /// When the clock shows this time; at once, if it is past.
    Time(Timestamp),
    /// After so many milliseconds: no later, if the clock is set back meanwhile.
    AfterMs(u64),
}

/// Which timer is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerName {
    /// The one with this number.
    Number(u64),
    /// The one with this key.
    Key(String),
}

/// A timer that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its number.
    pub timer: u64,
    /// When it fires.
    pub due: Timestamp,
    /// Whether it was there before: the same event was sent twice.
    pub is_duplicate: bool,
}

/// What an event waits for.
pub(crate) struct Waits {
    pub due: Timestamp,
    pub since: Option<Timestamp>,
    pub key: Option<String>,
    /// Whether it takes the place of a timer with the same key.
    pub replaces: bool,
    /// The record of the timer.
    pub record: Record,
}

/// What memory knows of timers beside the fold. The wheel is locked after the decider.
pub(crate) struct Timers {
    pub wheel: Mutex<Winding>,
    /// When the wheel comes to the next, microseconds.
    next: AtomicI64,
    /// How many lots of those that are due are on their way to the loop.
    firing: AtomicUsize,
    /// How many of the timers refer to data that is kept beside the log. Nothing is locked under it.
    payloads: Mutex<HashMap<[u8; 32], u32>>,
}

/// The wheel, and the latest time that the clock has shown when it mattered.
pub(crate) struct Winding {
    pub wheel: Wheel,
    latest: Timestamp,
}

impl Timers {
    /// Winds up those of a log that was opened.
    pub fn new(folded: &mut FoldedTimers, now: Timestamp) -> Self {
        let mut winding = Winding { wheel: Wheel::new(now), latest: now };
        folded.wind_all(&mut winding.wheel, now);
        let next = AtomicI64::new(winding.wheel.next().map_or(i64::MAX, |next| next.0));
        let timers = Self { wheel: Mutex::new(winding), next, firing: AtomicUsize::new(0), payloads: Mutex::default() };
        folded.payloads().for_each(|hash| timers.refer(hash));
        timers
    }

    /// A timer was set; `since` it waits, if it is to wait for so long. The clock has shown that time, also if nobody has looked since.
    pub fn set(&self, folded: &mut FoldedTimers, timer: u64, due: Timestamp, since: Option<Timestamp>) {
        let mut winding = self.wheel.lock();
        winding.latest = winding.latest.max(since.unwrap_or(winding.latest));
        folded.wind(timer, &mut winding.wheel, due);
        self.turned(&winding);
    }

    /// A timer that waited does not any more.
    pub fn unset(&self, timer: u64, pending: &records::Pending) {
        let mut winding = self.wheel.lock();
        pending.unwind(timer, &mut winding.wheel);
        self.turned(&winding);
    }

    /// A timer refers to data beside the log.
    pub fn refer(&self, hash: [u8; 32]) {
        *self.payloads.lock().entry(hash).or_default() += 1;
    }

    /// One that did does not wait any more. Whether no other does.
    pub fn let_go(&self, hash: [u8; 32]) -> bool {
        let mut payloads = self.payloads.lock();
        let Some(count) = payloads.get_mut(&hash) else { return true };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            payloads.remove(&hash);
        }
        is_last
    }

    /// Whether a timer refers to data beside the log.
    pub fn refers_to(&self, hash: &[u8; 32]) -> bool {
        self.payloads.lock().contains_key(hash)
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Timestamp> {
        let next = self.next.load(Ordering::Acquire);
        (next < i64::MAX).then_some(Timestamp(next))
    }
}

impl Waits {
    /// Of an event that waits; its record is to be made anew if the event becomes another.
    pub fn of(event: &Prepared, due: Timestamp, since: Option<Timestamp>, key: Option<String>, replaces: bool) -> Self {
        let record = TimerRecord::Set {
            due,
            since,
            key: key.as_deref(),
            pair: event.pair,
            payload: event.event().payload().map(|payload| payload.hash),
            event: &event.record.body,
        };
        let record = record.record();
        Self { due, since, key, replaces, record }
    }
}

impl Tenant {
    /// As [`Tenant::prepare`], for an event that is published later. An event with `deliverat` needs none of this: `prepare` sees to it.
    ///
    /// # Errors
    /// [`InvalidTimer`].
    pub fn prepare_timer(
        &self,
        event: &Event<'_>,
        fires: FireAt,
        key: Option<String>,
        replaces: bool,
    ) -> Result<Prepared, InvalidTimer> {
        let now = self.world.clock.now();
        let (due, since) = match fires {
            FireAt::Time(due) => (due, None),
            FireAt::AfterMs(ms) => (now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX)), Some(now)),
        };
        if due > now.plus_ms(TIMER_AHEAD_MS_MAX) {
            return Err(InvalidTimer::TooFar { due });
        }
        if event.attribute(DELIVER_AT).is_some() {
            return Err(InvalidTimer::Delayed);
        }
        let expires = event.attribute("expirytime").and_then(Timestamp::parse);
        if let Some(expires) = expires.filter(|expires| *expires <= due) {
            return Err(InvalidTimer::Expired { due, expires });
        }
        if let Some(key) = key.as_ref().filter(|key| key.is_empty() || key.len() > TIMER_KEY_BYTES_MAX) {
            return Err(InvalidTimer::Key { bytes: key.len() });
        }
        let event = self.prepare_now(event, None)?;
        let waits = Waits::of(&event, due, since, key, replaces);
        Ok(Prepared { waits: Some(Box::new(waits)), ..event })
    }

    /// Cancels a timer. Its number, or nothing if there is none: it has fired, was cancelled, or never was.
    ///
    /// # Errors
    /// The world failed.
    pub fn cancel_timer(self: &std::sync::Arc<Self>, timer: TimerName) -> Result<Option<u64>, Fault> {
        match self.append_wait(Append { cancels: vec![timer], ..Append::default() }) {
            Ok(Appended { cancelled, .. }) => Ok(cancelled.first().copied().flatten()),
            Err(NotAppended::Fault(fault)) => Err(fault),
            Err(NotAppended::Refused(refusal)) => unreachable!("a cancellation has no conditions: {refusal}"),
        }
    }
}
