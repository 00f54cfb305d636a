//! The life of operations: preview, confirm, work in small portions, cancel, and what is written down of it.

use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::delivery::{RateLimit, TokenBucket};
use quipu_store::{Fault, Record};

use super::records::{FoldedOperation, ItemRefusal, OperationRecord, OperationState, Work};
use super::{
    FoldedOperations, Item, OPERATION_ITEMS_MAX, OPERATIONS_MAX, OperationInfo, OperationRefusal, Operations,
    PREVIEW_MS,
};
use crate::subscriptions::{DeadLetterFilter, DeadLetterLine, DeadLetterState, NotDone};
use crate::tenant::Tenant;

/// Items of one operation that are done at once, so that others have their turn.
const PORTION: usize = 1_000;
/// Dead letters that a preview shows.
const SAMPLE: usize = 5;

/// Which dead letters an operation is about. Those that somebody has decided about are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<u64>),
    /// All that match.
    Matching(DeadLetterFilter),
}

/// An operation in memory.
pub(crate) struct Operation {
    folded: FoldedOperation,
    is_confirmed: bool,
    bucket: TokenBucket,
    /// Refused since progress was last written down.
    unsaved: Vec<ItemRefusal>,
    saved: u64,
    /// Its end is being written down; until that is done, what it did to its last items may not be seen yet.
    ending: Option<Timestamp>,
}

impl Operation {
    fn new(folded: FoldedOperation, is_confirmed: bool) -> Self {
        let saved = folded.done;
        Self { folded, is_confirmed, bucket: TokenBucket::default(), unsaved: Vec::new(), saved, ending: None }
    }

    fn state(&self) -> OperationState {
        match self.folded.ended {
            Some((true, _)) => OperationState::Cancelled,
            Some((false, _)) => OperationState::Finished,
            None if self.is_confirmed => OperationState::Running,
            None => OperationState::Previewed,
        }
    }

    fn info(&self, id: u64) -> OperationInfo {
        let folded = &self.folded;
        let total = folded.items.len() as u64;
        let left = total.saturating_sub(folded.done) as f64;
        let is_over = folded.ended.is_some();
        let remaining = folded.rate.filter(|_| !is_over).map(|rate| (left / rate.per_second * 1e3).ceil() as u64);
        OperationInfo {
            id,
            work: folded.work.clone(),
            rate: folded.rate,
            state: self.state(),
            total,
            done: folded.done,
            refused: folded.refused,
            time: folded.time,
            ended: folded.ended.map(|(_, time)| time),
            remaining_ms: remaining,
        }
    }
}

impl Operations {
    /// As the log left them.
    pub fn new(folded: &FoldedOperations) -> Self {
        let all = folded.operations.iter().map(|(id, one)| (*id, Operation::new(one.clone(), true))).collect();
        Self { all, last: folded.last }
    }

    fn get(&self, id: u64) -> Result<&Operation, OperationRefusal> {
        self.all.get(&id).ok_or(OperationRefusal::NotFound { id })
    }

    /// Forgets previews that nobody confirmed in time, and the oldest that ended.
    fn tidy(&mut self, now: Timestamp) {
        self.all.retain(|_, one| one.state() != OperationState::Previewed || one.folded.time.plus_ms(PREVIEW_MS) > now);
        while self.all.len() >= OPERATIONS_MAX {
            let Some(id) = self.all.iter().find(|(_, one)| one.folded.ended.is_some()).map(|(id, _)| *id) else {
                return;
            };
            self.all.remove(&id);
        }
    }

    /// What changed since the last time, as records.
    pub fn take_records(&mut self, now: Timestamp) -> Vec<Record> {
        let mut records = Vec::new();
        for (id, one) in self.all.iter_mut().filter(|(_, one)| one.state() == OperationState::Running) {
            let (id, done) = (*id, one.folded.done);
            if done > one.saved {
                one.saved = done;
                let refused = std::mem::take(&mut one.unsaved);
                records.push(OperationRecord::Advanced { id, done, refused }.record());
            }
            if done == one.folded.items.len() as u64 && one.ending.is_none() {
                one.ending = Some(now);
                records.push(OperationRecord::Ended { id, is_cancelled: false, time: now }.record());
            }
        }
        records
    }

    /// The records that were taken are in the log.
    pub fn records_written(&mut self) {
        for one in self.all.values_mut() {
            if let Some(time) = one.ending.take() {
                one.folded.ended = Some((false, time));
            }
        }
    }
}

impl Tenant {
    /// Counts what an operation would be about, exactly, and shows the first of it. Nothing is done before it is
    /// confirmed; what comes to match later is not touched.
    ///
    /// # Errors
    /// [`OperationRefusal`].
    pub fn preview_operation(
        &self,
        work: Work,
        selection: &Selection,
        rate: Option<RateLimit>,
    ) -> Result<(OperationInfo, Vec<Arc<DeadLetterLine>>), OperationRefusal> {
        if let Some(problem) = rate.and_then(|rate| rate.problem()) {
            return Err(OperationRefusal::InvalidRate { problem });
        }
        self.check_work(&work)?;
        let selected = self.select(selection);
        if selected.is_empty() {
            return Err(OperationRefusal::Nothing);
        }
        if selected.len() > OPERATION_ITEMS_MAX {
            return Err(OperationRefusal::TooManyItems { limit: OPERATION_ITEMS_MAX });
        }
        let now = self.world.clock.now();
        let items = selected.iter().map(|line| line.id).collect();
        let sample = selected.into_iter().take(SAMPLE).collect();
        let folded =
            FoldedOperation { work, rate, items, time: now, done: 0, refused: 0, refusals: Vec::new(), ended: None };
        let mut operations = self.operations.lock();
        operations.tidy(now);
        if operations.all.len() >= OPERATIONS_MAX {
            return Err(OperationRefusal::TooMany { limit: OPERATIONS_MAX });
        }
        operations.last += 1;
        let (id, operation) = (operations.last, Operation::new(folded, false));
        let info = operation.info(id);
        operations.all.insert(id, operation);
        Ok((info, sample))
    }

    fn select(&self, selection: &Selection) -> Vec<Arc<DeadLetterLine>> {
        match selection {
            Selection::Matching(filter) => {
                let filter = DeadLetterFilter { with_decided: false, ..filter.clone() };
                self.dead_letters(&filter, 0, OPERATION_ITEMS_MAX + 1)
            }
            Selection::Ids(ids) => {
                let ids: std::collections::BTreeSet<u64> = ids.iter().copied().collect();
                let lines = ids.into_iter().filter_map(|id| self.dead_letter_line(id).ok());
                lines.filter(|line| line.state == DeadLetterState::Open).collect()
            }
        }
    }

    /// Begins an operation that was previewed, durably.
    ///
    /// # Errors
    /// [`OperationRefusal`]: there is none, or it was begun before; [`Fault`].
    pub fn confirm_operation(self: &Arc<Self>, id: u64) -> Result<OperationInfo, NotDone> {
        let now = self.world.clock.now();
        let mut operations = self.operations.lock();
        operations.tidy(now);
        let one = operations.get(id)?;
        if one.state() != OperationState::Previewed {
            return Err(OperationRefusal::WrongState { id, state: one.state() }.into());
        }
        let FoldedOperation { work, rate, items, .. } = one.folded.clone();
        let begun = OperationRecord::Begun { id, work, rate, items, time: now };
        self.write_records_wait(vec![begun.record()])?;
        let one = operations.all.get_mut(&id).expect("it was there a moment ago");
        (one.is_confirmed, one.folded.time) = (true, now);
        Ok(one.info(id))
    }

    /// Ends an operation; what it has done stays done. One that was only previewed is forgotten.
    ///
    /// # Errors
    /// [`OperationRefusal`]: there is none, or it has ended; [`Fault`].
    pub fn cancel_operation(self: &Arc<Self>, id: u64) -> Result<OperationInfo, NotDone> {
        // What it has done is written down first.
        self.checkpoint_deliveries()?;
        let now = self.world.clock.now();
        let mut operations = self.operations.lock();
        let one = operations.get(id)?;
        // Its end may be on the way to the log.
        let state = if one.ending.is_some() { OperationState::Finished } else { one.state() };
        if !matches!(state, OperationState::Previewed | OperationState::Running) {
            return Err(OperationRefusal::WrongState { id, state }.into());
        }
        if state == OperationState::Running {
            let ended = OperationRecord::Ended { id, is_cancelled: true, time: now };
            self.write_records_wait(vec![ended.record()])?;
        }
        let one = operations.all.get_mut(&id).expect("it was there a moment ago");
        one.folded.ended = Some((true, now));
        let info = one.info(id);
        if state == OperationState::Previewed {
            operations.all.remove(&id);
        }
        Ok(info)
    }

    /// Every operation that is known, the newest first.
    pub fn operations(&self) -> Vec<OperationInfo> {
        let mut operations = self.operations.lock();
        operations.tidy(self.world.clock.now());
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
        let folded = &operations.get(id)?.folded;
        let item = |(at, id): (usize, &u64)| {
            let refusal = folded.refusals.iter().find(|refusal| refusal.id == *id);
            let outcome = ((at as u64) < folded.done).then(|| refusal.map_or(Ok(()), |it| Err(it.reason.clone())));
            Item { id: *id, outcome }
        };
        Ok(folded.items.iter().enumerate().skip(from).take(limit).map(item).collect())
    }

    /// Does the next portion of every operation that runs, as fast as its rate allows.
    pub(crate) fn run_operations(self: &Arc<Self>, now: Timestamp) -> Result<(), Fault> {
        let mut operations = self.operations.lock();
        for one in operations.all.values_mut().filter(|one| one.state() == OperationState::Running) {
            let allowed = one.folded.rate.map_or(PORTION, |rate| one.bucket.available(rate, now).min(PORTION));
            let done = one.folded.done as usize;
            let items = one.folded.items[done..].iter().take(allowed).copied().collect::<Vec<_>>();
            if one.folded.rate.is_some() {
                one.bucket.take(items.len());
            }
            for id in items {
                let refused = match self.work_on(&one.folded.work, id) {
                    Ok(()) => None,
                    // The item stays to be done: the world may be better the next time.
                    Err(NotDone::Failed(fault)) => return Err(fault),
                    Err(refusal) => Some(ItemRefusal { id, reason: refusal.to_string() }),
                };
                one.folded.advance(one.folded.done + 1, refused.iter().cloned().collect());
                one.unsaved.extend(refused);
            }
        }
        Ok(())
    }

    /// Whether an operation has work to do.
    pub(crate) fn has_running_operation(&self) -> bool {
        self.operations.lock().all.values().any(|one| one.state() == OperationState::Running)
    }
}
