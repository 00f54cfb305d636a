//! Declaring schedules, and what people do to them. Those that are declared anew keep their place where that makes sense.

use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::schedule::{InvalidSchedule, Schedule, Timetable};

use super::{FoldedSchedule, Ready, SCHEDULES_MAX, ScheduleRecord, ScheduleRefusal};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
use crate::transform::Jq;

/// What became of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedSchedule {
    /// How often its name was declared.
    pub version: u32,
    /// Whether it was declared with this; not if it is what is declared already, or was only checked.
    pub is_new: bool,
    /// Its ticks to come, as if it were not paused.
    pub ticks: Vec<Timestamp>,
}

/// The same text: what is said in other words is declared anew, which does no harm.
fn is_same(a: &Schedule, b: &Schedule) -> bool {
    let text = |one: &Schedule| serde_json::to_string(one).expect("a schedule is JSON");
    text(a) == text(b)
}

fn ticks(timetable: &Timetable, after: Timestamp, count: usize) -> Vec<Timestamp> {
    let next = |at: &Timestamp| timetable.next_after(*at);
    std::iter::successors(next(&after), next).take(count).collect()
}

impl FoldedSchedule {
    /// Its first ticks after the last that is done with and after a time.
    pub(super) fn ticks_after(&self, time: Timestamp, count: usize) -> Result<Vec<Timestamp>, InvalidSchedule> {
        let timetable = self.declaration.timetable(self.anchor)?;
        Ok(ticks(&timetable, self.last.max(time), count))
    }
}

impl Tenant {
    /// Applies a declaration, or only checks it; tells so many of its ticks to come. What is declared already changes nothing.
    ///
    /// One whose times are as before keeps its place: no tick is lost or comes twice. Otherwise it begins with the first tick after
    /// now, and so does one that was paused.
    ///
    /// # Errors
    /// [`ScheduleRefusal::Invalid`], [`ScheduleRefusal::InvalidJq`] and [`ScheduleRefusal::TooMany`].
    pub fn apply_schedule(
        self: &Arc<Self>,
        schedule: Schedule,
        ticks: usize,
        is_dry: bool,
    ) -> Result<AppliedSchedule, NotDone> {
        let _one_at_a_time = self.schedules.defining.lock();
        let now = self.world.clock.now();
        self.check_schedule(&schedule, now)?;
        let (before, is_full) = {
            let schedules = &self.decider.lock().schedules;
            (schedules.all.get(&schedule.name).cloned(), schedules.all.len() >= SCHEDULES_MAX)
        };
        if before.is_none() && is_full {
            return Err(ScheduleRefusal::TooMany { limit: SCHEDULES_MAX }.into());
        }
        if let Some(before) = before.as_ref().filter(|before| is_same(&before.declaration, &schedule)) {
            self.until_durable()?;
            let ticks = before.ticks_after(now, ticks).map_err(ScheduleRefusal::Invalid)?;
            return Ok(AppliedSchedule { version: before.version, is_new: false, ticks });
        }
        let version = before.as_ref().map_or(1, |before| before.version + 1);
        let (anchor, last, keeps_place) = match &before {
            Some(before) => {
                let was = &before.declaration;
                let keeps_place = schedule.has_ticks_of(was) && !was.paused;
                let anchor = if schedule.counts_from(was) { before.anchor } else { now };
                // What is longer ago than it looked back is done with, however far it looks back from now on. Where the place is
                // not kept it is now, also if that is before the last tick: a clock that was wrong is not waited for.
                let last = if keeps_place { before.last.max(now.plus_ms(-was.catchup_ms())) } else { now };
                (anchor, last, keeps_place)
            }
            None => (now, now, false),
        };
        let timetable = schedule.timetable(anchor).map_err(ScheduleRefusal::Invalid)?;
        let ticks = self::ticks(&timetable, last.max(now), ticks);
        if is_dry {
            return Ok(AppliedSchedule { version, is_new: false, ticks });
        }
        let name = schedule.name.clone();
        let record = ScheduleRecord::Declared { schedule: Box::new(schedule), at: now, anchor, last, keeps_place };
        self.record_schedule(&name, &record)?;
        Ok(AppliedSchedule { version, is_new: true, ticks })
    }

    /// Pauses a schedule: ticks that come meanwhile are neither published nor counted. Whether it was not paused before.
    ///
    /// # Errors
    /// [`ScheduleRefusal::NotFound`].
    pub fn pause_schedule(self: &Arc<Self>, name: &str) -> Result<bool, NotDone> {
        self.change_schedule(name, |folded| {
            let schedule = name.to_owned();
            (!folded.declaration.paused).then_some(ScheduleRecord::Paused { schedule })
        })
    }

    /// Lets a schedule go on with its first tick after now. Whether it was paused.
    ///
    /// # Errors
    /// [`ScheduleRefusal::NotFound`].
    pub fn resume_schedule(self: &Arc<Self>, name: &str) -> Result<bool, NotDone> {
        let at = self.world.clock.now();
        self.change_schedule(name, |folded| {
            let schedule = name.to_owned();
            folded.declaration.paused.then_some(ScheduleRecord::Resumed { schedule, at })
        })
    }

    /// Removes a schedule. What it has published stays.
    ///
    /// # Errors
    /// [`ScheduleRefusal::NotFound`].
    pub fn remove_schedule(self: &Arc<Self>, name: &str) -> Result<(), NotDone> {
        self.change_schedule(name, |_| Some(ScheduleRecord::Removed { schedule: name.to_owned() })).map(drop)
    }

    fn check_schedule(&self, schedule: &Schedule, now: Timestamp) -> Result<(), NotDone> {
        schedule.check(now).map_err(ScheduleRefusal::Invalid)?;
        if let Some(jq) = &schedule.event.jq {
            Jq::compile(jq).map_err(|(at, reason)| ScheduleRefusal::InvalidJq { at, reason })?;
        }
        // The largest size of an event is a matter of this tenant.
        let event = schedule.event(now, u64::MAX, None);
        let prepared = event.and_then(|event| self.prepare_now(&event, None));
        prepared.map(drop).map_err(|invalid| ScheduleRefusal::Invalid(InvalidSchedule::Event(invalid)).into())
    }

    fn change_schedule(
        self: &Arc<Self>,
        name: &str,
        change: impl FnOnce(&FoldedSchedule) -> Option<ScheduleRecord>,
    ) -> Result<bool, NotDone> {
        let _one_at_a_time = self.schedules.defining.lock();
        let change = self.decider.lock().schedules.all.get(name).map(change);
        match change {
            None => Err(ScheduleRefusal::NotFound { name: name.to_owned() }.into()),
            Some(None) => {
                self.until_durable()?;
                Ok(false)
            }
            Some(Some(record)) => {
                self.record_schedule(name, &record)?;
                Ok(true)
            }
        }
    }

    /// Writes a record, and enters what is of the schedule then.
    fn record_schedule(self: &Arc<Self>, name: &str, record: &ScheduleRecord) -> Result<(), NotDone> {
        let written = self.write_records_wait(vec![record.record()]);
        {
            let fold = self.decider.lock();
            let mut book = self.schedules.book.lock();
            let folded = fold.schedules.all.get(name);
            let is_entered =
                |ready: &Arc<Ready>| folded.is_some_and(|folded| Arc::ptr_eq(&folded.declaration, &ready.declaration));
            // If it was not written, memory and disk part: the loop takes nothing more, and nothing ticks.
            if !book.entries.get(name).is_some_and(|(ready, _)| is_entered(ready)) {
                book.enter(name, folded);
            }
            self.schedules.turned(&book);
        }
        self.wake_timers();
        Ok(written?)
    }
}
