//! Whose tick has come: the rules are asked, the events are made, and the loop is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::Timestamp;
use quipu_domain::schedule::Schedule;
use quipu_store::Fault;

use super::Ready;
use crate::append::Prepared;
use crate::mailbox::Input;
use crate::tenant::Tenant;
use crate::transform::{JQ_STEPS_MAX, Jq};

/// About how many bytes of events one commit has: appends wait for it.
const ROUND_BYTES: usize = 2 << 20;
/// How soon what could not be written is tried again, milliseconds.
const AGAIN_MS: i64 = 1_000;

/// Ticks of a schedule that have come.
pub(crate) struct Come {
    /// They were made for this, and are taken only if it is still declared.
    pub declaration: Arc<Schedule>,
    /// They are those after this one, and are taken only if it is still the last.
    pub after: Timestamp,
    /// Those to be published, in their order.
    pub ticks: Vec<Tick>,
    /// How many came before them and are not.
    pub dropped: u64,
    /// The last that is done with then.
    pub last: Timestamp,
}

impl Come {
    /// Bytes that it takes in a commit.
    pub fn bytes(&self) -> usize {
        self.ticks.iter().filter_map(|tick| tick.event.as_ref().ok()).map(Prepared::bytes).sum::<usize>() + 256
    }
}

/// A tick that is to be published.
pub(crate) struct Tick {
    pub at: Timestamp,
    /// Its event, or why there is none.
    pub event: Result<Prepared, String>,
}

/// What follows for a schedule once a round is durable.
struct Outcome {
    declaration: Arc<Schedule>,
    last: Timestamp,
    next: Option<Timestamp>,
}

/// What one round may still use up.
struct Left {
    bytes: usize,
    /// Of jq, so that a round keeps a thread no longer than twice the longest expression.
    steps: u64,
}

impl Left {
    fn is_used_up(&self) -> bool {
        self.bytes == 0 || self.steps == 0
    }
}

impl Ready {
    /// What its expression makes for a tick, as JSON; nothing if it has none.
    fn data(&self, tick: Timestamp, missed: u64, left: &mut Left) -> Result<Option<String>, String> {
        let Some(text) = &self.declaration.event.jq else { return Ok(None) };
        let compile = || Jq::compile(text).map_err(|(at, reason)| format!("/event/jq: at byte {at}: {reason}"));
        let jq = self.jq.get_or_init(compile).as_ref().map_err(Clone::clone)?;
        let mut steps = JQ_STEPS_MAX;
        let facts = self.declaration.facts(tick, missed).to_string();
        let made = jq.apply_within(&facts, &mut steps);
        left.steps = left.steps.saturating_sub(JQ_STEPS_MAX - steps);
        let made = made.map_err(|reason| format!("/event/jq: {reason}"))?;
        String::from_utf8(made).map(Some).map_err(|error| format!("/event/jq: {error}"))
    }
}

impl Tenant {
    /// Has ticks seen to that have come, and says when the next is.
    pub(crate) fn schedules_due(self: &Arc<Self>) -> Option<Timestamp> {
        let next = self.schedules.next()?;
        if next > self.world.clock.now() {
            return Some(next);
        }
        if !self.schedules.is_ticking.load(Ordering::Acquire) {
            self.drive_schedules();
        }
        None
    }

    /// Sees to ticks that have come, some at a time. Whether the loop was given something; the next come when that is durable. Whoever
    /// drives a tenant without threads calls it, decides and flushes until it gives false.
    pub fn tick_schedules(self: &Arc<Self>) -> bool {
        if self.schedules.is_ticking.swap(true, Ordering::AcqRel) {
            return false;
        }
        loop {
            let now = self.world.clock.now();
            let due = self.take_due_schedules(now);
            if due.is_empty() {
                self.schedules.is_ticking.store(false, Ordering::Release);
                return false;
            }
            let (come, outcomes) = match self.round_of_ticks(due, now) {
                Ok(round) => round,
                Err((outcomes, fault)) => {
                    self.settle_ticks(outcomes, Err(fault));
                    self.schedules.is_ticking.store(false, Ordering::Release);
                    self.wake_timers();
                    return false;
                }
            };
            if come.is_empty() {
                self.settle_ticks(outcomes, Ok(()));
                continue;
            }
            let tenant = Arc::clone(self);
            let reply = move |result: Result<(), Fault>| {
                tenant.settle_ticks(outcomes, result);
                tenant.schedules.is_ticking.store(false, Ordering::Release);
                tenant.wake_timers();
            };
            let bytes = come.iter().map(Come::bytes).sum();
            let is_taken = self.enqueue(bytes, Input::Tick(come, Box::new(reply)));
            if is_taken {
                self.drive_elsewhere();
            }
            return is_taken;
        }
    }

    /// Schedules that have come, each with the last tick that is done with and how many were dropped since one was published. They
    /// are looked at again when somebody says when.
    fn take_due_schedules(&self, now: Timestamp) -> Vec<(Arc<Ready>, Timestamp, u64)> {
        let fold = self.decider.lock();
        let mut book = self.schedules.book.lock();
        let names: Vec<String> =
            book.due.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        let mut due = Vec::with_capacity(names.len());
        for name in &names {
            book.set(name, None);
            let ready = book.entries.get(name).map(|(ready, _)| ready);
            // Whoever has changed it just now enters it when that is durable.
            if let (Some(ready), Some(folded)) = (ready, fold.schedules.all.get(name))
                && Arc::ptr_eq(&ready.declaration, &folded.declaration)
            {
                due.push((Arc::clone(ready), folded.last, folded.missed));
            }
        }
        self.schedules.turned(&book);
        due
    }

    /// The events of ticks that have come, and what follows for each schedule. What would be too much comes with the next round.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn round_of_ticks(
        &self,
        due: Vec<(Arc<Ready>, Timestamp, u64)>,
        now: Timestamp,
    ) -> Result<(Vec<Come>, Vec<Outcome>), (Vec<Outcome>, Fault)> {
        let mut left = Left { bytes: ROUND_BYTES, steps: JQ_STEPS_MAX };
        let (mut rounds, mut outcomes) = (Vec::new(), Vec::with_capacity(due.len()));
        for (ready, after, missed) in due {
            let declaration = Arc::clone(&ready.declaration);
            if left.is_used_up() {
                outcomes.push(Outcome { declaration, last: after, next: Some(now) });
                continue;
            }
            let due = declaration.due(&ready.timetable, after, now);
            let (mut last, mut next) = (due.last, due.next);
            let mut ticks = Vec::with_capacity(due.publish.len());
            let mut missed = missed.saturating_add(due.dropped);
            for at in &due.publish {
                if left.is_used_up() {
                    (last, next) = (ticks.last().map_or(after, |tick: &Tick| tick.at), Some(now));
                    break;
                }
                let event = self.event_of_tick(&ready, *at, std::mem::take(&mut missed), &mut left);
                ticks.push(Tick { at: *at, event });
            }
            if !ticks.is_empty() || due.dropped > 0 {
                let declaration = Arc::clone(&declaration);
                rounds.push(Come { declaration, after, ticks, dropped: due.dropped, last });
            }
            outcomes.push(Outcome { declaration, last, next });
        }
        match self.ready_for_the_loop(&mut rounds) {
            Ok(()) => Ok((rounds, outcomes)),
            Err(fault) => Err((outcomes, fault)),
        }
    }

    fn event_of_tick(&self, ready: &Ready, at: Timestamp, missed: u64, left: &mut Left) -> Result<Prepared, String> {
        let data = ready.data(at, missed, left)?;
        let event = ready.declaration.event(at, missed, data.as_deref()).map_err(|invalid| invalid.to_string())?;
        let prepared = self.prepare_now(&event, None).map_err(|invalid| invalid.to_string())?;
        left.bytes = left.bytes.saturating_sub(prepared.bytes_held());
        Ok(prepared)
    }

    /// Looks for repeats and keeps payloads before the mailbox, as for events that somebody publishes.
    fn ready_for_the_loop(&self, rounds: &mut [Come]) -> Result<(), Fault> {
        for tick in rounds.iter_mut().flat_map(|come| &mut come.ticks) {
            if let Ok(event) = &mut tick.event {
                let one = std::slice::from_mut(event);
                self.look_up(one)?;
                self.take_payloads(one)?;
            }
        }
        Ok(())
    }

    /// Says when schedules are looked at next, once a round is durable, or failed.
    fn settle_ticks(&self, outcomes: Vec<Outcome>, result: Result<(), Fault>) {
        let again = self.world.clock.now().plus_ms(AGAIN_MS);
        let fold = self.decider.lock();
        let mut book = self.schedules.book.lock();
        for Outcome { declaration, last, next } in outcomes {
            let folded = fold.schedules.all.get(&declaration.name);
            let entered = book.entries.get(&declaration.name).map(|(ready, _)| &ready.declaration);
            let is_it = |other: &Arc<Schedule>| Arc::ptr_eq(other, &declaration);
            // Whoever has changed it says when it is looked at.
            if let Some(folded) = folded.filter(|folded| is_it(&folded.declaration))
                && entered.is_some_and(is_it)
            {
                // The loop may have taken a part of them, if it could not look for repeats.
                let is_done = result.is_ok() && folded.last >= last;
                book.set(&declaration.name, if is_done { next } else { Some(again) });
            }
        }
        self.schedules.turned(&book);
        *self.schedules.stuck.lock() = result.err().map(|fault| fault.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::Append;
    use crate::options::Options;
    use crate::still;
    use crate::timers::FireAt;

    fn hourly(members: &str) -> Schedule {
        let text = format!(r#"{{"schedule":"s","cron":"@hourly","event":{{"type":"a.b"}}{members}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    /// Ticks are made, then somebody acts, then they come to the loop.
    fn positions_after(act: impl FnOnce(&Arc<Tenant>)) -> (Arc<Tenant>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, clock) = still::tenant_with_clock(folder.path(), Options::default());
        tenant.apply_schedule(hourly(""), 0, false).unwrap();
        clock.wait_ms(3_600_000);
        let now = tenant.world.clock.now();
        let due = tenant.take_due_schedules(now);
        let Ok((come, outcomes)) = tenant.round_of_ticks(due, now) else { panic!("the disk has no faults") };
        assert_eq!((come.len(), come[0].ticks.len()), (1, 1));
        act(&tenant);
        let before = tenant.position();
        let also = Arc::clone(&tenant);
        let reply = move |result| also.settle_ticks(outcomes, result);
        assert!(tenant.enqueue(0, Input::Tick(come, Box::new(reply))));
        tenant.decide();
        tenant.flush();
        let published = tenant.position() - before;
        // Nothing is forgotten: what is declared ticks again in an hour.
        clock.wait_ms(3_600_000);
        assert!(tenant.schedule("s", 1).unwrap().is_none_or(|info| info.declaration.paused) || tenant.tick_schedules());
        (tenant, published)
    }

    #[test]
    fn ticks_of_a_schedule_that_was_changed_meanwhile_are_passed_over() {
        assert_eq!(positions_after(|_| {}).1, 1);
        assert_eq!(positions_after(|tenant| tenant.remove_schedule("s").unwrap()).1, 0);
        assert_eq!(positions_after(|tenant| assert!(tenant.pause_schedule("s").unwrap())).1, 0);
        let paused_and_resumed = |tenant: &Arc<Tenant>| {
            tenant.pause_schedule("s").unwrap();
            tenant.resume_schedule("s").unwrap();
        };
        assert_eq!(positions_after(paused_and_resumed).1, 0);
        let changed = |tenant: &Arc<Tenant>| {
            tenant.apply_schedule(hourly(r#","missed":"all""#), 0, false).unwrap();
        };
        assert_eq!(positions_after(changed).1, 0, "they come again, as the new declaration says");
        let ticked = |tenant: &Arc<Tenant>| {
            // Somebody else has seen to the same ticks.
            tenant.schedules.book.lock().set("s", Some(tenant.world.clock.now()));
            assert!(tenant.tick_schedules());
            tenant.decide();
            tenant.flush();
        };
        let (tenant, published) = positions_after(ticked);
        assert_eq!((published, tenant.schedule("s", 1).unwrap().unwrap().published), (0, 1));
    }

    #[test]
    fn ticks_that_cannot_be_told_from_repeats_say_why_they_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, clock) = still::tenant_with_clock(folder.path(), Options::default());
        tenant.apply_schedule(hourly(""), 0, false).unwrap();
        clock.wait_ms(3_600_000);
        let now = tenant.world.clock.now();
        // Something with its source and id waits already, and what it is cannot be read.
        let tick = tenant.schedule("s", 1).unwrap().unwrap().ticks[0].plus_ms(-3_600_000);
        let declaration = hourly("");
        let event = declaration.event(tick, 0, None).unwrap();
        let timer = tenant.prepare_timer(&event, FireAt::Time(now.plus_ms(60_000)), None, false).unwrap();
        tenant.append_wait(Append { timers: vec![timer], ..Append::default() }).unwrap();
        let due = tenant.take_due_schedules(now);
        let Ok((come, outcomes)) = tenant.round_of_ticks(due, now) else { panic!("the disk has no faults yet") };
        let damage = |path: &std::path::Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
        let segments: Vec<_> = std::fs::read_dir(folder.path().join("t/log")).unwrap().collect();
        let segments = segments.into_iter().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let segments: Vec<_> = segments.collect();
        let before: Vec<Vec<u8>> = segments.iter().map(|path| std::fs::read(path).unwrap()).collect();
        segments.iter().for_each(|path| damage(path, b""));
        let also = Arc::clone(&tenant);
        let reply = move |result| also.settle_ticks(outcomes, result);
        assert!(tenant.enqueue(0, Input::Tick(come, Box::new(reply))));
        tenant.decide();
        tenant.flush();
        let info = tenant.schedule("s", 1).unwrap().unwrap();
        assert!(info.stuck.is_some() && info.published + info.refused == 0, "{info:?}");
        segments.iter().zip(&before).for_each(|(path, bytes)| damage(path, bytes));
        clock.wait_ms(AGAIN_MS);
        assert!(tenant.tick_schedules());
        tenant.decide();
        tenant.flush();
        let info = tenant.schedule("s", 1).unwrap().unwrap();
        assert_eq!((info.stuck, info.refused), (None, 1), "another event has its source and id");
    }

    #[test]
    fn a_round_ends_when_it_has_used_up_its_steps() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, clock) = still::tenant_with_clock(folder.path(), Options::default());
        for number in 0..4 {
            // About a third of what a round has.
            let event = r#"{"type":"a.b","jq":"reduce range(150000) as $n (0; . + $n)"}"#;
            let text = format!(r#"{{"schedule":"s{number}","cron":"@hourly","event":{event}}}"#);
            tenant.apply_schedule(serde_json::from_str(&text).unwrap(), 0, false).unwrap();
        }
        clock.wait_ms(3_600_000);
        let mut rounds = 0;
        while tenant.tick_schedules() {
            tenant.decide();
            tenant.flush();
            rounds += 1;
        }
        assert!(tenant.position() == 4 && rounds > 1, "{rounds} rounds, {} ticks", tenant.position());
    }
}
