//! Previewing an operation, and confirming it. A preview is in memory only, and does nothing; its number is that of no
//! other preview, before a restart or after it, so that nobody confirms what somebody else looked at.

use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::delivery::RateLimit;
use quipu_store::Fault;

use super::items::Items;
use super::records::{FoldedOperation, OperationRecord, OperationState, Work};
use super::replay::Replay;
use super::run::Operation;
use super::{
    OPERATION_ITEMS_MAX, OPERATIONS_ITEMS_MAX, OPERATIONS_MAX, OperationInfo, OperationRefusal, Operations, PREVIEW_MS,
};
use crate::sagas::{InstanceFilter, InstanceInfo, Intervention};
use crate::subscriptions::{DeadLetterFilter, DeadLetterLine, DeadLetterState, NotDone};
use crate::tenant::Tenant;

/// Dead letters or instances that a preview shows.
const SAMPLE: usize = 5;
/// Numbers that are reserved at once: a commit each time, and so many are left out by a restart.
const NUMBERS: u64 = 100;

/// Which dead letters an operation is about. Those that somebody has decided about are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<u64>),
    /// All that match.
    Matching(DeadLetterFilter),
}

impl Operations {
    /// Forgets previews that nobody confirmed in time.
    pub(super) fn forget_old_previews(&mut self, now: Timestamp) {
        self.all.retain(|_, one| one.state() != OperationState::Previewed || one.folded.time.plus_ms(PREVIEW_MS) > now);
    }

    /// Which of those that ended have to go to make room for another operation: the oldest. Who waits or is at work stays.
    fn in_the_way(&self, items: usize) -> Result<Vec<u64>, OperationRefusal> {
        let mut count = self.all.len();
        let mut held = self.all.values().map(|one| one.folded.items.len()).sum::<usize>();
        let mut ended = self.all.iter().filter(|(_, one)| one.folded.ended.is_some());
        let mut in_the_way = Vec::new();
        loop {
            let refusal = if count >= OPERATIONS_MAX {
                OperationRefusal::TooMany { limit: OPERATIONS_MAX }
            } else if held + items > OPERATIONS_ITEMS_MAX {
                OperationRefusal::NoRoom { limit: OPERATIONS_ITEMS_MAX, held }
            } else {
                return Ok(in_the_way);
            };
            let (id, one) = ended.next().ok_or(refusal)?;
            (count, held) = (count - 1, held - one.folded.items.len());
            in_the_way.push(*id);
        }
    }
}

impl Tenant {
    /// Counts what an operation would be about, exactly, and shows the first of it. Nothing is done before it is
    /// confirmed; what comes to match later is not touched.
    ///
    /// # Errors
    /// [`OperationRefusal`]; [`Fault`].
    pub fn preview_operation(
        self: &Arc<Self>,
        work: Work,
        selection: &Selection,
        rate: Option<RateLimit>,
    ) -> Result<(OperationInfo, Vec<Arc<DeadLetterLine>>), NotDone> {
        if let Some(problem) = rate.and_then(|rate| rate.problem()) {
            return Err(OperationRefusal::InvalidRate { problem }.into());
        }
        self.check_work(&work)?;
        let selected = self.select(selection);
        if selected.is_empty() {
            return Err(OperationRefusal::Nothing.into());
        }
        if selected.len() > OPERATION_ITEMS_MAX {
            return Err(OperationRefusal::TooManyItems { limit: OPERATION_ITEMS_MAX }.into());
        }
        let info = self.hold_preview(work, rate, selected.iter().map(|line| line.id).collect())?;
        Ok((info, selected.into_iter().take(SAMPLE).collect()))
    }

    /// As [`Tenant::preview_operation`], of an act on all instances that a filter takes. Those that it does not fit as they stand
    /// are left out; so are those of rules and expectations and those within other sagas, unless the filter has a name or a key.
    ///
    /// # Errors
    /// [`OperationRefusal`], [`crate::SagaRefusal::InvalidReason`]; [`Fault`].
    pub fn preview_intervention(
        self: &Arc<Self>,
        act: Intervention,
        reason: &str,
        filter: &InstanceFilter,
        rate: Option<RateLimit>,
    ) -> Result<(OperationInfo, Vec<InstanceInfo>), NotDone> {
        if let Some(problem) = rate.and_then(|rate| rate.problem()) {
            return Err(OperationRefusal::InvalidRate { problem }.into());
        }
        act.check_reason(reason)?;
        let selected = self.instances_for(filter, &act, OPERATION_ITEMS_MAX + 1)?;
        if selected.is_empty() {
            return Err(OperationRefusal::NoInstance { act: act.as_str() }.into());
        }
        if selected.len() > OPERATION_ITEMS_MAX {
            return Err(OperationRefusal::TooManyItems { limit: OPERATION_ITEMS_MAX }.into());
        }
        let sample = self.instances_of(&selected[..selected.len().min(SAMPLE)]);
        let work = Work::Saga { act, reason: reason.to_owned() };
        let info = self.hold_preview(work, rate, selected.into_iter().collect())?;
        Ok((info, sample))
    }

    /// Keeps what was counted until it is confirmed.
    pub(super) fn hold_preview(
        self: &Arc<Self>,
        work: Work,
        rate: Option<RateLimit>,
        items: Items,
    ) -> Result<OperationInfo, NotDone> {
        let now = self.world.clock.now();
        let mut operations = self.operations.lock();
        operations.forget_old_previews(now);
        let in_the_way = operations.in_the_way(items.len())?;
        let id = self.number(&mut operations)?;
        // Nothing stops it from here on.
        in_the_way.iter().for_each(|id| _ = operations.all.remove(id));
        let operation = Operation::new(FoldedOperation::new(work, rate, items, now), None, false);
        let info = operation.info(id);
        operations.all.insert(id, operation);
        Ok(info)
    }

    /// A number that no operation or preview had before.
    fn number(self: &Arc<Self>, operations: &mut Operations) -> Result<u64, Fault> {
        if operations.last == operations.reserved {
            let to = operations.reserved + NUMBERS;
            self.write_records_wait(vec![OperationRecord::Reserved { to }.record()])?;
            operations.reserved = to;
        }
        operations.last += 1;
        Ok(operations.last)
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
        let replay = self.operations.lock().previewed_replay(id);
        let mut made = false;
        if let Some(replay) = &replay {
            self.operations.lock().has_room_for_replay()?;
            made = self.make_shadow(replay)?;
        }
        let begun = self.begin_operation(id, now, replay.as_ref());
        // If it was begun by somebody else meanwhile it goes to what was made here.
        let is_begun = matches!(begun, Ok(_) | Err(NotDone::RefusedOperation(OperationRefusal::WrongState { .. })));
        if let (false, true, Some(replay)) = (is_begun, made, &replay) {
            // If it stays, the next one finds it as it is.
            let _ = self.delete_subscription(&replay.to);
        }
        begun
    }

    fn begin_operation(
        self: &Arc<Self>,
        id: u64,
        now: Timestamp,
        replay: Option<&Replay>,
    ) -> Result<OperationInfo, NotDone> {
        // Nobody changes a definition between the look at it and the beginning.
        let _changing = self.hold_progress();
        let mut operations = self.operations.lock();
        operations.forget_old_previews(now);
        let one = operations.get(id)?;
        if one.state() != OperationState::Previewed {
            return Err(OperationRefusal::WrongState { id, state: one.state() }.into());
        }
        let FoldedOperation { work, rate, items, .. } = one.folded.clone();
        if let Some(replay) = replay {
            operations.has_room_for_replay()?;
            self.enter_replay(id, replay)?;
        }
        let begun = OperationRecord::Begun { id, work, rate, items, time: now };
        if let Err(fault) = self.write_records_wait(vec![begun.record()]) {
            replay.into_iter().for_each(|replay| self.end_replay(id, &replay.to));
            return Err(fault.into());
        }
        let one = operations.get_mut(id)?;
        (one.is_confirmed, one.folded.time) = (true, now);
        // The fold has read the items from the record: one copy of them is enough.
        if let Some(folded) = self.decider.lock().operations.operations.get(&id) {
            one.folded.items = folded.items.clone();
        }
        Ok(one.info(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations_of(items: &[usize], is_confirmed: bool) -> Operations {
        let mut operations = Operations::default();
        for (id, count) in (1..).zip(items) {
            let work = Work::Discard { reason: "a test".into() };
            let folded = FoldedOperation::new(work, None, (1..=*count as u64).collect(), Timestamp(0));
            operations.all.insert(id, Operation::new(folded, None, is_confirmed));
        }
        operations
    }

    #[test]
    fn all_operations_together_have_so_many_items_and_a_million_fit_once_others_ended() {
        let mut operations = operations_of(&[OPERATION_ITEMS_MAX; 4], true);
        let refused = operations.in_the_way(1).unwrap_err();
        let (limit, held) = (OPERATIONS_ITEMS_MAX, OPERATIONS_ITEMS_MAX);
        assert_eq!(refused, OperationRefusal::NoRoom { limit, held });
        for id in [2, 3] {
            operations.all.get_mut(&id).unwrap().folded.ended = Some((true, Timestamp(1)));
        }
        assert_eq!(operations.in_the_way(OPERATION_ITEMS_MAX).unwrap(), [2], "the oldest that ended");
    }

    #[test]
    fn previews_give_their_room_back_when_they_are_too_old() {
        let mut operations = operations_of(&[OPERATION_ITEMS_MAX; 4], false);
        assert!(operations.in_the_way(1).is_err());
        operations.forget_old_previews(Timestamp(0).plus_ms(PREVIEW_MS - 1));
        assert_eq!(operations.all.len(), 4);
        operations.forget_old_previews(Timestamp(0).plus_ms(PREVIEW_MS));
        assert!(operations.all.is_empty());
        assert!(operations.in_the_way(OPERATION_ITEMS_MAX).unwrap().is_empty());
    }
}
