//! Schedules on the handle: declare events that are published again and again, see them, and stop them for a while. What a declaration
//! may have is on the [page of schedules](https://github.com/quipu/quipu/blob/main/docs/schedules.md).

pub use quipu_domain::schedule::{InvalidSchedule, Missed, Schedule, ScheduledEvent};
pub use quipu_engine::{
    AppliedSchedule, SCHEDULES_MAX, ScheduleInfo, SchedulePage, ScheduleRefusal, ScheduleState, TickError,
};

use crate::{Error, Quipu};

impl Quipu {
    /// Declares a schedule, and tells so many of its ticks to come. What is declared already changes nothing; one with the same times goes
    /// on where the one before was, any other begins with its first tick after now.
    ///
    /// ```
    /// # let quipu = quipu::Quipu::in_memory()?;
    /// use quipu::schedules::{Schedule, ScheduleState};
    ///
    /// let nightly: Schedule = serde_json::from_str(r#"{
    ///     "schedule": "nightly",
    ///     "cron": "30 2 * * *",
    ///     "zone": "Europe/Berlin",
    ///     "event": { "type": "report.due", "data": { "kind": "sales" } }
    /// }"#)?;
    /// let applied = quipu.apply_schedule(nightly, 3)?;
    /// assert_eq!((applied.version, applied.is_new, applied.ticks.len()), (1, true, 3));
    /// assert_eq!(quipu.schedules(None, 100)?.schedules[0].ticks, applied.ticks[..1]);
    ///
    /// assert!(quipu.pause_schedule("nightly")?);
    /// assert_eq!(quipu.schedule("nightly", 1)?.map(|one| one.state), Some(ScheduleState::Paused));
    /// quipu.remove_schedule("nightly")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ScheduleRefusal::Invalid`], [`ScheduleRefusal::InvalidJq`] and [`ScheduleRefusal::TooMany`].
    pub fn apply_schedule(&self, schedule: Schedule, ticks: usize) -> Result<AppliedSchedule, Error> {
        Ok(self.tenant.apply_schedule(schedule, ticks, false)?)
    }

    /// Looks at a declaration without applying it: which version it would be, and so many of its ticks to come.
    ///
    /// # Errors
    /// As [`Quipu::apply_schedule`].
    pub fn check_schedule(&self, schedule: Schedule, ticks: usize) -> Result<AppliedSchedule, Error> {
        Ok(self.tenant.apply_schedule(schedule, ticks, true)?)
    }

    /// Removes a schedule. What it has published stays.
    ///
    /// # Errors
    /// [`ScheduleRefusal::NotFound`].
    pub fn remove_schedule(&self, name: &str) -> Result<(), Error> {
        Ok(self.tenant.remove_schedule(name)?)
    }

    /// Publishes nothing until the schedule is resumed: ticks that come meanwhile are left out. Whether it was not paused before.
    ///
    /// # Errors
    /// [`ScheduleRefusal::NotFound`].
    pub fn pause_schedule(&self, name: &str) -> Result<bool, Error> {
        Ok(self.tenant.pause_schedule(name)?)
    }

    /// Lets a schedule go on with its first tick after now. Whether it was paused.
    ///
    /// # Errors
    /// [`ScheduleRefusal::NotFound`].
    pub fn resume_schedule(&self, name: &str) -> Result<bool, Error> {
        Ok(self.tenant.resume_schedule(name)?)
    }

    /// A schedule with so many of its ticks to come, one at least.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn schedule(&self, name: &str, ticks: usize) -> Result<Option<ScheduleInfo>, Error> {
        Ok(self.tenant.schedule(name, ticks)?)
    }

    /// Schedules by their names, each with its next tick: at most so many, behind the `next` of a page before.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn schedules(&self, after: Option<&str>, limit: usize) -> Result<SchedulePage, Error> {
        Ok(self.tenant.schedules(after, limit)?)
    }
}
