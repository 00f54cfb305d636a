//! What is shown of schedules. Nothing is shown that is not durable.

use std::ops::Bound;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::schedule::Schedule;
use quipu_store::Fault;

use super::{FoldedSchedule, TickError};
use crate::tenant::Tenant;

/// How a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleState {
    /// It ticks.
    Active,
    /// The last tick that was to be published could not be, or none can.
    Failing,
    /// Nothing is published until it is resumed.
    Paused,
    /// It has no tick to come.
    Ended,
}

impl ScheduleState {
    /// The word of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct ScheduleInfo {
    /// What was declared last, and whether it is paused.
    pub declaration: Arc<Schedule>,
    /// How often it was declared.
    pub version: u32,
    /// When it was declared last.
    pub declared: Timestamp,
    /// How it stands.
    pub state: ScheduleState,
    /// Its ticks to come, as many as were asked for; none while it is paused.
    pub ticks: Vec<Timestamp>,
    /// The newest tick that was published, and the position of its event.
    pub newest: Option<(Timestamp, u64)>,
    /// Ticks that were published, of all versions.
    pub published: u64,
    /// Ticks that were missed, and dropped.
    pub dropped: u64,
    /// Ticks whose events were refused.
    pub refused: u64,
    /// Why the last tick that was to be published was not.
    pub error: Option<TickError>,
    /// Why nothing is published, if that is not a matter of its event: ticks of the tenant cannot be written, or its times are not
    /// known any more.
    pub stuck: Option<String>,
}

/// Some schedules, by their names.
#[derive(Clone, Debug)]
pub struct SchedulePage {
    /// The schedules.
    pub schedules: Vec<ScheduleInfo>,
    /// How many there are in all.
    pub total: u64,
    /// The last of them, if there are more behind it.
    pub next: Option<String>,
}

impl FoldedSchedule {
    fn info(&self, now: Timestamp, ticks: usize, stuck: Option<&String>) -> ScheduleInfo {
        let (to_come, invalid) = match self.ticks_after(now, ticks.max(1)) {
            Ok(ticks) => (ticks, None),
            Err(invalid) => (Vec::new(), Some(invalid.to_string())),
        };
        let state = match &self.error {
            _ if self.declaration.paused => ScheduleState::Paused,
            Some(_) if !to_come.is_empty() => ScheduleState::Failing,
            _ if invalid.is_some() => ScheduleState::Failing,
            _ if to_come.is_empty() => ScheduleState::Ended,
            _ => ScheduleState::Active,
        };
        ScheduleInfo {
            declaration: Arc::clone(&self.declaration),
            version: self.version,
            declared: self.declared,
            state,
            ticks: if self.declaration.paused { Vec::new() } else { to_come },
            newest: self.newest,
            published: self.published,
            dropped: self.dropped,
            refused: self.refused,
            error: self.error.clone(),
            stuck: invalid.or_else(|| stuck.cloned()),
        }
    }
}

impl Tenant {
    /// A schedule, with so many ticks to come, one at least.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn schedule(self: &Arc<Self>, name: &str, ticks: usize) -> Result<Option<ScheduleInfo>, Fault> {
        let found = self.decider.lock().schedules.all.get(name).cloned();
        self.until_durable()?;
        let stuck = self.schedules.stuck.lock().clone();
        Ok(found.map(|folded| folded.info(self.world.clock.now(), ticks, stuck.as_ref())))
    }

    /// The schedules behind a name, at most so many, each with its next tick.
    ///
    /// # Errors
    /// As [`Tenant::schedule`].
    pub fn schedules(self: &Arc<Self>, after: Option<&str>, limit: usize) -> Result<SchedulePage, Fault> {
        let (mut found, total) = {
            let all = &self.decider.lock().schedules.all;
            let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
            let some = all.range::<str, _>((behind, Bound::Unbounded)).take(limit.saturating_add(1));
            (some.map(|(_, folded)| folded.clone()).collect::<Vec<_>>(), all.len() as u64)
        };
        self.until_durable()?;
        let is_more = found.len() > limit;
        found.truncate(limit);
        let (now, stuck) = (self.world.clock.now(), self.schedules.stuck.lock().clone());
        let schedules: Vec<_> = found.iter().map(|folded| folded.info(now, 1, stuck.as_ref())).collect();
        let next = schedules.last().filter(|_| is_more).map(|last| last.declaration.name.clone());
        Ok(SchedulePage { schedules, total, next })
    }

    /// The sources of what schedules publish, each with a type.
    pub(crate) fn scheduled_types(&self) -> Vec<(String, String)> {
        let fold = self.decider.lock();
        let of = |folded: &FoldedSchedule| (folded.declaration.source(), folded.declaration.event.kind.clone());
        fold.schedules.all.values().map(of).collect()
    }
}
