//! A replay at work: each time it reads on in its range, and delivers as much as its pace and the deliveries that are not finished
//! yet leave room for.

use std::sync::Arc;

use quipu_domain::delivery::Key;
use quipu_domain::{Pattern, Timestamp};
use quipu_store::Fault;

use super::{REPLAY_WINDOW, Replay, Wanted};
use crate::operations::Work;
use crate::operations::run::Operation;
use crate::subscriptions::{Compiled, Done, Pace, ReplayCounts, Standing};
use crate::tenant::Tenant;

/// Events that one replay looks at in one go, so that others have their turn: some 5 ms.
const LOOKS: usize = 5_000;
/// Events read at once: more when few of them are wanted.
const CHUNK: usize = 1_000;
/// How long a replay rests that could not read on, microseconds.
const REST_US: i64 = 1_000_000;
/// How long one has nothing to do before it looks again of itself, milliseconds.
const IDLE_MS: i64 = 1_000;

/// A replay in memory.
#[derive(Default)]
pub(crate) struct ReplayRun {
    /// As they were when it was last looked at.
    pub counts: ReplayCounts,
    /// Why it cannot go on, ever.
    pub ended: Option<String>,
    /// What keeps it from reading on, and until when it rests.
    problem: Option<(String, Timestamp)>,
    pattern: Option<Arc<Pattern>>,
    /// Where its own time began: now, and when the event was recorded that came first.
    anchor: Option<(Timestamp, Timestamp)>,
    /// When the event was recorded that comes next, if it waits for its time.
    next_time: Option<Timestamp>,
    /// When it is due: nothing is read before.
    due: Option<Timestamp>,
    /// Nothing was to be done the last time.
    is_idle: bool,
    /// When it was last looked at.
    looked_at: Option<Timestamp>,
    pace: Pace,
}

/// What the next stretch of the range has.
struct Found {
    looked_to: u64,
    events: Vec<(u64, Option<Key>)>,
}

impl ReplayRun {
    /// As the log left it.
    pub fn of(counts: ReplayCounts) -> Self {
        Self { counts, ..Self::default() }
    }

    /// Whether there is nothing left to do.
    pub fn is_over(&self, replay: &Replay) -> bool {
        self.ended.is_some() || self.counts.looked_to >= replay.until && self.counts.waiting() == 0
    }

    pub fn per_second(&self) -> Option<f64> {
        self.pace.per_second()
    }

    pub fn problem(&self) -> Option<String> {
        self.problem.as_ref().map(|(problem, _)| problem.clone())
    }

    /// How long it still takes: by its speed, or as fast as it went lately.
    pub fn remaining_ms(&self, replay: &Replay) -> Option<u64> {
        let left = replay.events.saturating_sub(self.counts.finished());
        match (replay.speed, self.next_time) {
            (Some(speed), Some(next)) => Some((replay.until_time.0.saturating_sub(next.0) as f64 / 1e3 / speed) as u64),
            _ => self.per_second().map(|pace| (left as f64 / pace * 1e3).ceil() as u64),
        }
    }

    /// When there may be something to do again: an answer and a change say so themselves.
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        let latest = now.plus_ms(IDLE_MS);
        self.is_idle.then(|| self.due.filter(|due| *due > now).map_or(latest, |due| due.min(latest)))
    }

    /// A clock that was set back says nothing of when the next event is due.
    fn time_is(&mut self, now: Timestamp) {
        if self.looked_at.replace(now).is_some_and(|before| before > now) {
            (self.anchor, self.due) = (None, None);
        }
    }

    fn measure(&mut self, counts: ReplayCounts, now: Timestamp) {
        self.counts = counts;
        self.pace.measure(now, Done { passed: 0, finished: counts.finished(), is_holding: true });
    }

    /// When an event is due that was recorded at a time.
    fn due_of(&mut self, speed: f64, recorded: Timestamp, now: Timestamp) -> Timestamp {
        let (began, first) = *self.anchor.get_or_insert((now, recorded));
        let after_us = recorded.0.saturating_sub(first.0).max(0) as f64 / speed;
        Timestamp(began.0.saturating_add(after_us.min(i64::MAX as f64) as i64))
    }

    fn compile(&mut self, replay: &Replay) {
        if let (None, Some(text)) = (&self.pattern, &replay.pattern) {
            match Pattern::parse(text) {
                Ok(pattern) => self.pattern = Some(Arc::new(pattern)),
                // Another version took it.
                Err(invalid) => self.ended = Some(format!("its pattern is not accepted any more: {invalid}")),
            }
        }
    }
}

impl Tenant {
    /// Delivers the next events of a replay. What cannot be read now is tried again later, and keeps nobody else.
    pub(in crate::operations) fn run_replay(&self, id: u64, one: &mut Operation, now: Timestamp) {
        let Work::Replay(replay) = &one.folded.work else { return };
        let Some(run) = one.replay.as_mut().filter(|run| run.ended.is_none()) else { return };
        run.time_is(now);
        let (compiled, counts) = match self.replaying(id, &replay.to) {
            Standing::Open(compiled, counts) => (compiled, counts),
            Standing::Held(_) => return,
            Standing::Gone => {
                run.ended = Some("its subscription is not there any more, or not one that it may go to".to_owned());
                return;
            }
        };
        run.measure(counts, now);
        run.compile(replay);
        let is_resting = run.problem.as_ref().is_some_and(|(_, until)| (0..=REST_US).contains(&(until.0 - now.0)));
        if compiled.definition.paused {
            // Its own time stands still, too.
            (run.anchor, run.due) = (None, None);
        }
        let is_early = run.due.is_some_and(|due| due > now);
        let is_held = compiled.definition.paused || run.ended.is_some() || is_resting || is_early;
        let mut room = REPLAY_WINDOW.saturating_sub(counts.waiting()) as usize;
        if let Some(rate) = one.folded.rate {
            room = room.min(one.bucket.available(rate, now));
        }
        run.is_idle = is_held || room == 0 || counts.looked_to >= replay.until;
        if run.is_idle {
            return;
        }
        match self.next_of(replay, run, &compiled, room, now) {
            Ok(found) => {
                run.problem = None;
                let count = found.events.len();
                let events = found.events.into_iter().map(|(position, key)| (position, self.key_in(id, replay, key)));
                // It may have been changed or moved meanwhile: then the next time.
                if let Some(counts) =
                    self.replay_events(id, &replay.to, &compiled, (counts.looked_to, found.looked_to), events)
                {
                    run.measure(counts, now);
                    one.bucket.take(if one.folded.rate.is_some() { count } else { 0 });
                }
            }
            Err(fault) => run.problem = Some((fault.to_string(), Timestamp(now.0.saturating_add(REST_US)))),
        }
    }

    /// The line that an event waits in: one of this replay alone.
    fn key_in(&self, id: u64, replay: &Replay, key: Option<Key>) -> Option<Key> {
        let key = if replay.is_strict { Some(0) } else { key };
        // Turned over, so that no subject of an event is in it.
        key.map(|key| !self.hasher.stream(&format!("replay {id} {key:032x}")))
    }

    fn next_of(
        &self,
        replay: &Replay,
        run: &mut ReplayRun,
        compiled: &Compiled,
        room: usize,
        now: Timestamp,
    ) -> Result<Found, Fault> {
        let pattern = run.pattern.clone();
        let wanted = Wanted { pattern: pattern.as_deref(), compiled };
        let registry = self.schemas.current();
        let mut found = Found { looked_to: run.counts.looked_to, events: Vec::new() };
        let (mut looked, mut chunk) = (0, room);
        while found.looked_to < replay.until && looked < LOOKS && found.events.len() < room {
            chunk = (chunk * 4).clamp(1, CHUNK);
            let page = self.page_of(replay, found.looked_to + 1, chunk)?;
            for recorded in &page.events {
                let position = recorded.stamp.position;
                looked += wanted.looks(recorded);
                if let Some(key) = self.wants(&wanted, &registry, recorded)? {
                    let time = recorded.stamp.recorded_time;
                    run.next_time = Some(time);
                    run.due = replay.speed.map(|speed| run.due_of(speed, time, now)).filter(|due| *due > now);
                    if run.due.is_some() {
                        return Ok(found);
                    }
                    found.events.push((position, key));
                }
                found.looked_to = position;
                // One event may take as many looks as many: a payload is read for it.
                if found.events.len() == room || looked >= LOOKS {
                    return Ok(found);
                }
            }
            // What is left of a page that has no more is not there.
            found.looked_to = page.next.map_or(replay.until, |next| next - 1);
        }
        Ok(found)
    }
}
