//! Whose time has come: the wheel is asked, the events are read, and the loop is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use quipu_domain::Timestamp;
use quipu_domain::timer::Due;
use quipu_store::{Fault, Locator, Record, RecordKind, body};

use super::records::TimerRecord;
use crate::append::Prepared;
use crate::mailbox::Input;
use crate::schemas::has_mark;
use crate::tenant::Tenant;

/// Most timers that fire in one commit, and about how many bytes: appends wait for it, and a commit is one frame. The last of them
/// may be as large as an event may be, and no larger.
const FIRES_MAX: usize = 1_000;
const FIRE_BYTES: usize = 2 << 20;
/// Lots that are on their way to the loop: while some are recorded, the next is read.
const FIRING_MAX: usize = 4;
/// Records that are read at once.
const READ_MAX: usize = 128;
/// How soon what could not fire is tried again, milliseconds.
const AGAIN_MS: i64 = 1_000;
/// How far the clock must be set back before timers that wait for so long are set anew, which takes 0.1 s for a million of them.
const SET_BACK_US: i64 = 20_000;

impl Tenant {
    /// Lets the timers fire whose time has come, some at a time; says when the next is due, unless that is seen to when these are
    /// recorded. Whoever drives a tenant without threads calls it, decides and flushes until that is later than now.
    pub fn fire_timers(self: &Arc<Self>) -> Option<Timestamp> {
        self.timers.next()?;
        let now = self.world.clock.now();
        self.turn_back(now);
        let next = self.timers.next()?;
        if next > now {
            return Some(next);
        }
        // Nobody else adds to it.
        if self.timers.firing.load(Ordering::Acquire) == FIRING_MAX {
            return None;
        }
        let mut due = Vec::new();
        {
            let mut winding = self.timers.wheel.lock();
            winding.wheel.advance(now, FIRES_MAX, &mut due);
            self.timers.turned(&winding);
        }
        let (fires, failed) = self.read_due(&due);
        let timers: Vec<u64> = fires.iter().map(|(timer, _)| *timer).collect();
        self.wind_again(&failed, now.plus_ms(AGAIN_MS));
        if fires.is_empty() {
            return self.timers.next();
        }
        self.timers.firing.fetch_add(1, Ordering::AcqRel);
        let tenant = Arc::clone(self);
        let reply = move |result: Result<(), Fault>| {
            if result.is_err() {
                tenant.wind_again(&timers, tenant.world.clock.now().plus_ms(AGAIN_MS));
            }
            tenant.timers.firing.fetch_sub(1, Ordering::AcqRel);
            tenant.wake_timers();
        };
        let bytes = fires.iter().map(|(_, event)| event.bytes()).sum();
        if self.enqueue(bytes, Input::Fire(fires, Box::new(reply))) {
            self.drive_elsewhere();
        }
        // The next are read while these are recorded.
        self.wake_timers();
        None
    }

    /// The events of timers that are due, in order, and the timers whose events cannot be read. What would be too much waits in the wheel
    /// for the next time.
    fn read_due(&self, due: &[Due]) -> (Vec<(u64, Prepared)>, Vec<u64>) {
        let places: Vec<Option<Locator>> = {
            let fold = self.decider.lock();
            // Those that are not there were cancelled.
            due.iter().map(|due| Some(fold.timers.get(due.owner.0)?.locator)).collect()
        };
        let (mut fires, mut failed, mut bytes) = (Vec::with_capacity(due.len()), Vec::new(), 0);
        for (at, (chunk, places)) in due.chunks(READ_MAX).zip(places.chunks(READ_MAX)).enumerate() {
            let mut together = self.read_together(places, FIRE_BYTES.saturating_sub(bytes));
            for (in_chunk, (one, place)) in chunk.iter().zip(places).enumerate() {
                let Some(place) = *place else { continue };
                // Before each event, which may be as large as a whole lot should be.
                if bytes >= FIRE_BYTES {
                    self.wind_late(&due[at * READ_MAX + in_chunk..]);
                    return (fires, failed);
                }
                let alone = || self.log.fetch(place, RecordKind::Timer).ok().map(|fetched| fetched.body);
                match together.remove(&place).or_else(alone).and_then(|body| self.event_of_timer(&body)) {
                    Some(event) => {
                        bytes += event.bytes();
                        fires.push((one.owner.0, event));
                    }
                    None => failed.push(one.owner.0),
                }
            }
        }
        (fires, failed)
    }

    /// Reads about so many bytes of records, those first that are first in the log, at once: what is near each other is one read. Those
    /// that are missing are read alone, so that one that is damaged does not keep the others.
    fn read_together(&self, places: &[Option<Locator>], bytes_max: usize) -> HashMap<Locator, Bytes> {
        let mut places: Vec<Locator> = places.iter().flatten().copied().collect();
        places.sort_unstable();
        let read = self.log.fetch_all(&places, RecordKind::Timer, bytes_max).unwrap_or_default();
        places.into_iter().zip(read).map(|(place, fetched)| (place, fetched.body)).collect()
    }

    fn event_of_timer(&self, record: &[u8]) -> Option<Prepared> {
        let Some(TimerRecord::Set { event, .. }) = TimerRecord::read(record) else { return None };
        let record = Record::new(RecordKind::Event, event);
        let event = body::decode(event)?;
        let prepared = Prepared::of(&event, record, None, &self.hasher);
        Some(Prepared { is_marked: has_mark(&event), ..prepared })
    }

    /// Puts timers back that are due and come with the next lot.
    fn wind_late(&self, due: &[Due]) {
        let mut fold = self.decider.lock();
        let mut winding = self.timers.wheel.lock();
        due.iter().for_each(|late| fold.timers.wind(late.owner.0, &mut winding.wheel, late.at));
        self.timers.turned(&winding);
    }

    /// Sets timers for later that could not fire.
    fn wind_again(&self, timers: &[u64], at: Timestamp) {
        if timers.is_empty() {
            return;
        }
        let mut fold = self.decider.lock();
        let mut winding = self.timers.wheel.lock();
        timers.iter().for_each(|timer| fold.timers.wind(*timer, &mut winding.wheel, at));
        self.timers.turned(&winding);
    }

    /// If the clock was set back, what waits for so long waits no longer than that from now on.
    fn turn_back(&self, now: Timestamp) {
        {
            let mut winding = self.timers.wheel.lock();
            if winding.latest.0 <= now.0.saturating_add(SET_BACK_US) {
                // Also while nothing is due: what is set meanwhile is set by this clock.
                winding.latest = winding.latest.max(now);
                return;
            }
        }
        let mut fold = self.decider.lock();
        let mut winding = self.timers.wheel.lock();
        fold.timers.wind_all(&mut winding.wheel, now);
        winding.latest = now;
        self.timers.turned(&winding);
    }
}

impl super::Timers {
    /// Notes when the wheel comes to the next.
    pub fn turned(&self, winding: &super::Winding) {
        let next = winding.wheel.next().map_or(i64::MAX, |next| next.0);
        self.next.store(next, Ordering::Release);
    }
}
