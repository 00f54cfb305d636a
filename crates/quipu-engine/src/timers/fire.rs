//! Whose time has come: the wheel is asked, the events are read, and the loop is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::Timestamp;
use quipu_domain::timer::Due;
use quipu_store::{Fault, Locator, Record, RecordKind, body};

use super::records::TimerRecord;
use crate::append::Prepared;
use crate::mailbox::Input;
use crate::schemas::has_mark;
use crate::tenant::Tenant;

/// Most timers that fire in one commit, and about how many bytes: appends wait for it.
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
        for (chunk, places) in due.chunks(READ_MAX).zip(places.chunks(READ_MAX)) {
            if bytes >= FIRE_BYTES {
                let mut fold = self.decider.lock();
                let mut winding = self.timers.wheel.lock();
                for late in chunk {
                    fold.timers.wind(late.owner.0, &mut winding.wheel, late.at);
                }
                self.timers.turned(&winding);
                continue;
            }
            let there = chunk.iter().zip(places).filter_map(|(due, place)| Some(((*place)?, due.owner.0)));
            let mut places: Vec<(Locator, u64)> = there.collect();
            places.sort_unstable();
            let begin = fires.len();
            for (timer, read) in self.read_timers(&places) {
                match read {
                    Some(event) => {
                        bytes += event.bytes();
                        fires.push((timer, event));
                    }
                    None => failed.push(timer),
                }
            }
            let order: std::collections::HashMap<u64, usize> =
                chunk.iter().enumerate().map(|(at, due)| (due.owner.0, at)).collect();
            fires[begin..].sort_unstable_by_key(|(timer, _)| order[timer]);
        }
        (fires, failed)
    }

    /// Reads the events of timers at these places, which ascend. One that is damaged does not keep the others.
    fn read_timers(&self, places: &[(Locator, u64)]) -> Vec<(u64, Option<Prepared>)> {
        let locators: Vec<Locator> = places.iter().map(|(locator, _)| *locator).collect();
        let bodies: Vec<Option<bytes::Bytes>> = match self.log.fetch_all(&locators, RecordKind::Timer) {
            Ok(all) => all.into_iter().map(|fetched| Some(fetched.body)).collect(),
            Err(_) => {
                let each = locators.iter().map(|locator| self.log.fetch(*locator, RecordKind::Timer).ok());
                each.map(|fetched| fetched.map(|fetched| fetched.body)).collect()
            }
        };
        let prepared = |body: bytes::Bytes| {
            let Some(TimerRecord::Set { event, .. }) = TimerRecord::read(&body) else { return None };
            let record = Record::new(RecordKind::Event, event);
            let event = body::decode(event)?;
            let prepared = Prepared::of(&event, record, None, &self.hasher);
            Some(Prepared { is_marked: has_mark(&event), ..prepared })
        };
        places.iter().zip(bodies).map(|((_, timer), body)| (*timer, body.and_then(prepared))).collect()
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
