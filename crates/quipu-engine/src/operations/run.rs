//! Operations at work: a small portion at a time, what is written down of it, and how far they are.
//!
//! What an operation has done is written in the commit of the decisions, or in a later one. After a crash it goes on where
//! that says: what it decided itself and had not noted yet is found so and counts as done, not as refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::delivery::TokenBucket;
use quipu_store::{Fault, Record};

use super::items::ItemRefusal;
use super::records::{FoldedOperation, OperationRecord, OperationState};
use super::replay::{FoldedReplay, ReplayRun};
use super::{
    FoldedOperations, Item, ItemOutcome, OperationInfo, OperationRefusal, Operations, ReplayInfo, ReplayVerdict, Work,
};
use crate::sagas::HandedOver;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// How soon one that has more to do is at work again, milliseconds.
const TURN_MS: i64 = 10;
/// How long one rests that failed, milliseconds: twice as long each time that it fails again before anything was done, up to a limit.
const REST_MS: i64 = 100;
const REST_MS_MAX: i64 = 30_000;

/// An operation in memory.
pub(crate) struct Operation {
    pub(super) folded: FoldedOperation,
    pub(super) is_confirmed: bool,
    /// Somebody is ending it: nothing more is done.
    pub(super) is_held: bool,
    pub(super) bucket: TokenBucket,
    /// What it needs beside that if it is a replay.
    pub(super) replay: Option<ReplayRun>,
    /// What a replay came to.
    pub(super) verdict: Option<ReplayVerdict>,
    /// Refused since progress was last written down.
    unsaved: Vec<ItemRefusal>,
    saved: u64,
    /// Its end is being written down; until that is done, what it did to its last items may not be seen yet.
    pub(super) ending: Option<Timestamp>,
    /// What the stage of sagas was given and has not done yet.
    pub(super) handed_over: HandedOver,
    failed: Option<Failed>,
}

/// That it failed since something was done.
struct Failed {
    times: u32,
    /// It rests until then.
    until: Timestamp,
    problem: String,
}

impl Operation {
    pub(super) fn new(folded: FoldedOperation, replay: Option<FoldedReplay>, is_confirmed: bool) -> Self {
        let (saved, unsaved) = (folded.done, Vec::new());
        let replay = match &folded.work {
            Work::Replay(work) => Some(replay.unwrap_or_else(|| FoldedReplay::begun(work))),
            Work::Redrive { .. } | Work::Discard { .. } | Work::Saga { .. } => None,
        };
        let verdict = replay.as_ref().and_then(|replay| replay.verdict.clone());
        let replay = replay.map(|replay| ReplayRun::of(replay.counts));
        let bucket = TokenBucket::default();
        Self {
            folded,
            is_confirmed,
            is_held: false,
            bucket,
            replay,
            verdict,
            unsaved,
            saved,
            ending: None,
            handed_over: HandedOver::default(),
            failed: None,
        }
    }

    /// Whether everything was done.
    fn is_over(&self) -> bool {
        match (&self.folded.work, &self.replay) {
            (Work::Replay(replay), Some(run)) => run.is_over(replay),
            _ => self.folded.done == self.folded.items.len() as u64,
        }
    }

    /// What it came to, if it is a replay.
    pub(super) fn conclude(&self, withdrawn: u64, is_cancelled: bool) -> Option<ReplayVerdict> {
        match (&self.folded.work, &self.replay) {
            (Work::Replay(replay), Some(run)) => Some(ReplayVerdict::of(replay, run, withdrawn, is_cancelled)),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> OperationState {
        match self.folded.ended {
            Some((true, _)) => OperationState::Cancelled,
            Some((false, _)) => OperationState::Finished,
            None if self.is_confirmed => OperationState::Running,
            None => OperationState::Previewed,
        }
    }

    /// Those that are next, as many as its rate allows.
    pub(super) fn next_items(&mut self, portion: usize, now: Timestamp) -> Vec<u64> {
        let allowed = self.folded.rate.map_or(portion, |rate| self.bucket.available(rate, now).min(portion));
        let done = self.folded.done as usize;
        let items: Vec<u64> = self.folded.items[done..].iter().take(allowed).copied().collect();
        if self.folded.rate.is_some() {
            self.bucket.take(items.len());
        }
        items
    }

    /// Takes note of what became of the next item. If the world failed it stays to be done: that may be better the next time.
    pub(super) fn note(&mut self, outcome: Result<(), NotDone>) -> Result<(), Fault> {
        match outcome {
            Ok(()) => self.looked_at(None),
            Err(NotDone::Failed(fault)) => return Err(fault),
            Err(refusal) => self.looked_at(Some(refusal.to_string())),
        }
        self.failed = None;
        Ok(())
    }

    /// Takes note of what the stage of sagas has done so far.
    pub(super) fn note_handed_over(&mut self) -> Result<(), Fault> {
        while let Some(outcome) = self.handed_over.next_done() {
            self.note(outcome)?;
        }
        Ok(())
    }

    /// Does nothing more for a while, since it failed.
    fn rest(&mut self, now: Timestamp, fault: &Fault) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times);
        let ms = REST_MS.saturating_mul(1 << times.min(16)).min(REST_MS_MAX);
        let (times, until) = (times.saturating_add(1), now.plus_ms(ms));
        self.failed = Some(Failed { times, until, problem: fault.to_string() });
    }

    /// Until when it rests. A clock that is set back makes nobody rest for longer.
    fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.failed.as_ref()?.until;
        (now < until && until <= now.plus_ms(REST_MS_MAX)).then_some(until)
    }

    fn looked_at(&mut self, refused: Option<String>) {
        let at = self.folded.done;
        let refused = refused.map(|reason| {
            let reason = Some(reason).filter(|_| self.folded.refused.keeps_reasons());
            ItemRefusal { at, reason }
        });
        self.unsaved.extend(refused.clone());
        self.folded.advance(at + 1, refused);
    }

    fn item(&self, at: usize, id: u64) -> Item {
        let at = at as u64;
        let refused = &self.folded.refused;
        let outcome = if at >= self.folded.done {
            ItemOutcome::Waiting
        } else if refused.contains(at) {
            ItemOutcome::Refused { reason: refused.reason(at).map(str::to_owned) }
        } else {
            ItemOutcome::Done
        };
        Item { id, outcome }
    }

    pub(super) fn info(&self, id: u64) -> OperationInfo {
        let folded = &self.folded;
        let total = folded.items.len() as u64;
        let left = total.saturating_sub(folded.done) as f64;
        let is_over = folded.ended.is_some();
        let at_rate = |left: f64| folded.rate.map(|rate| (left / rate.per_second * 1e3).ceil() as u64);
        if let (Work::Replay(replay), Some(run)) = (&folded.work, &self.replay) {
            let counts = run.counts;
            let left = replay.events.saturating_sub(counts.finished()) as f64;
            return OperationInfo {
                id,
                work: folded.work.clone(),
                rate: folded.rate,
                state: self.state(),
                total: replay.events,
                done: counts.finished(),
                refused: counts.dead_lettered + counts.forgotten,
                time: folded.time,
                ended: folded.ended.map(|(_, time)| time),
                // As fast as it may, or as its consumers are, whichever takes longer.
                remaining_ms: at_rate(left).max(run.remaining_ms(replay)).filter(|_| !is_over),
                problem: None,
                replay: Some(ReplayInfo {
                    counts,
                    per_second: run.per_second().filter(|_| !is_over),
                    problem: run.problem().filter(|_| !is_over),
                    verdict: self.verdict.clone(),
                }),
            };
        }
        OperationInfo {
            id,
            work: folded.work.clone(),
            rate: folded.rate,
            state: self.state(),
            total,
            done: folded.done,
            refused: folded.refused.count(),
            time: folded.time,
            ended: folded.ended.map(|(_, time)| time),
            remaining_ms: at_rate(left).filter(|_| !is_over),
            problem: self.failed.as_ref().map(|failed| failed.problem.clone()).filter(|_| !is_over),
            replay: None,
        }
    }
}

impl Operations {
    /// As the log left them.
    pub fn new(folded: &FoldedOperations) -> Self {
        let operation = |(id, one): (&u64, &FoldedOperation)| {
            (*id, Operation::new(one.clone(), folded.replays.get(id).cloned(), true))
        };
        let all = folded.operations.iter().map(operation).collect();
        Self { all, last: folded.last, reserved: folded.last }
    }

    pub(super) fn get(&self, id: u64) -> Result<&Operation, OperationRefusal> {
        self.all.get(&id).ok_or(OperationRefusal::NotFound { id })
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Result<&mut Operation, OperationRefusal> {
        self.all.get_mut(&id).ok_or(OperationRefusal::NotFound { id })
    }

    pub(super) fn running(&mut self) -> impl Iterator<Item = (u64, &mut Operation)> {
        let all = self.all.iter_mut().map(|(id, one)| (*id, one));
        all.filter(|(_, one)| one.state() == OperationState::Running)
    }

    /// How far each is that runs, and whether that is all of it.
    pub fn looked_at(&mut self) -> BTreeMap<u64, (u64, bool)> {
        self.running().map(|(id, one)| (id, (one.folded.done, one.is_over()))).collect()
    }

    /// What changed since the last time as records, up to where they were when they were looked at: what they have done
    /// since then may not be among the decisions that are written.
    pub fn take_records(&mut self, looked_at: &BTreeMap<u64, (u64, bool)>, now: Timestamp) -> Vec<Record> {
        let mut records = Vec::new();
        for (id, one) in self.running() {
            let Some((done, is_over)) = looked_at.get(&id).copied() else { continue };
            if done > one.saved {
                one.saved = done;
                let later = one.unsaved.partition_point(|refusal| refusal.at < done);
                let refused = one.unsaved.drain(..later).collect();
                records.push(OperationRecord::Advanced { id, done, refused }.record());
            }
            if is_over && one.ending.is_none() {
                one.ending = Some(now);
                one.verdict = one.conclude(0, false);
                let verdict = one.verdict.clone();
                records.extend(verdict.map(|verdict| OperationRecord::Concluded { id, verdict }.record()));
                records.push(OperationRecord::Ended { id, is_cancelled: false, time: now }.record());
            }
        }
        records
    }

    /// The records that were taken are in the log. The replays that have ended by that, and where they went.
    pub fn records_written(&mut self) -> Vec<(u64, String)> {
        let mut ended = Vec::new();
        for (id, one) in &mut self.all {
            if let Some(time) = one.ending.take() {
                one.folded.ended = Some((false, time));
                if let Work::Replay(replay) = &one.folded.work {
                    ended.push((*id, replay.to.clone()));
                }
            }
        }
        ended
    }
}

impl Tenant {
    /// Every operation that is known, the newest first.
    pub fn operations(&self) -> Vec<OperationInfo> {
        let operations = self.operations.lock();
        operations.all.iter().rev().map(|(id, one)| one.info(*id)).collect()
    }

    /// One operation.
    ///
    /// # Errors
    /// [`OperationRefusal::NotFound`].
    pub fn operation(&self, id: u64) -> Result<OperationInfo, OperationRefusal> {
        Ok(self.operations.lock().get(id)?.info(id))
    }

    /// What became of the items of an operation, from the `from`th on (0 is the first), at most `limit`.
    ///
    /// # Errors
    /// [`OperationRefusal::NotFound`].
    pub fn operation_items(&self, id: u64, from: usize, limit: usize) -> Result<Vec<Item>, OperationRefusal> {
        let operations = self.operations.lock();
        let one = operations.get(id)?;
        let items = one.folded.items.iter().enumerate().skip(from).take(limit);
        Ok(items.map(|(at, id)| one.item(at, *id)).collect())
    }

    /// Does the next portion of every operation that runs, as fast as its rate allows. One that fails rests, and keeps no other.
    pub(crate) fn run_operations(self: &Arc<Self>, now: Timestamp) -> Result<(), Fault> {
        let mut operations = self.operations.lock();
        operations.forget_old_previews(now);
        let is_at_work = |one: &Operation| !one.is_held && one.ending.is_none() && one.rests_until(now).is_none();
        let mut outcome = Ok(());
        for (operation, one) in operations.running().filter(|(_, one)| is_at_work(one)) {
            if one.replay.is_some() {
                self.run_replay(operation, one, now);
            } else if let Err(fault) = self.work_on(operation, one, now) {
                one.rest(now, &fault);
                outcome = Err(fault);
            }
        }
        outcome
    }

    /// When an operation has work to do next.
    pub(crate) fn next_operation(&self, now: Timestamp) -> Option<Timestamp> {
        let rests = |one: &Operation| one.replay.as_ref().map_or(one.rests_until(now), |run| run.rests_until(now));
        let soon = now.plus_ms(TURN_MS);
        let operations = self.operations.lock();
        let running = operations.all.values().filter(|one| one.state() == OperationState::Running);
        running.map(|one| rests(one).unwrap_or(soon)).min()
    }
}
