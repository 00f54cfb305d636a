//! Ending an operation before its time. What it has done is in the log before its end is, so that a restart shows the
//! same as was answered.

use std::sync::Arc;

use quipu_domain::Timestamp;

use super::items::ItemRefusal;
use super::records::{FoldedOperation, OperationRecord, OperationState};
use super::work::PORTION_INSTANCES;
use super::{OperationInfo, OperationRefusal, Operations, Work};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

impl Operations {
    /// Holds an operation that is at work: it does nothing more until it is let go. One that is only a preview is
    /// forgotten at once, and given back.
    fn hold(&mut self, id: u64, now: Timestamp) -> Result<Option<OperationInfo>, OperationRefusal> {
        match self.get(id)?.state() {
            OperationState::Previewed => {
                let one = self.get_mut(id)?;
                one.folded.ended = Some((true, now));
                let info = one.info(id);
                self.all.remove(&id);
                Ok(Some(info))
            }
            OperationState::Running => {
                self.get_mut(id)?.is_held = true;
                Ok(None)
            }
            state => Err(OperationRefusal::WrongState { id, state }),
        }
    }
}

impl Tenant {
    /// Takes back what others were given to do for it, and notes what they did.
    fn take_back(self: &Arc<Self>, id: u64) -> Result<(), NotDone> {
        let handed_over = std::mem::take(&mut self.operations.lock().get_mut(id)?.handed_over);
        if handed_over.is_empty() {
            return Ok(());
        }
        let done = self.withdraw_acts(id, handed_over);
        let mut operations = self.operations.lock();
        let one = operations.get_mut(id)?;
        done.into_iter().try_for_each(|outcome| one.note(outcome))?;
        Ok(())
    }

    /// How far an operation that ends came, where it did something behind an item of which nothing is known, as after a fault. Such
    /// items were refused, since it has ended.
    fn looked_at_last(&self, id: u64, folded: &FoldedOperation) -> (u64, Vec<ItemRefusal>) {
        let done = folded.done as usize;
        if !matches!(folded.work, Work::Saga { .. }) {
            return (folded.done, Vec::new());
        }
        let mut were_done = Vec::new();
        for next in folded.items[done..].chunks(PORTION_INSTANCES) {
            let portion = self.were_acted_on(next, id);
            // It is done in order: where nothing was done, nothing was behind it. After a crash there may be several.
            let is_last = !portion.contains(&true);
            were_done.extend(portion);
            if is_last {
                break;
            }
        }
        were_done.truncate(were_done.iter().rposition(|is_done| *is_done).map_or(0, |last| last + 1));
        let why = OperationRefusal::WrongState { id, state: OperationState::Cancelled }.to_string();
        let refused = |at| ItemRefusal { at, reason: Some(why.clone()).filter(|_| folded.refused.keeps_reasons()) };
        let positions = (folded.done..).zip(&were_done);
        let refused = positions.filter(|(_, is_done)| !**is_done).map(|(at, _)| refused(at)).collect();
        (folded.done + were_done.len() as u64, refused)
    }

    /// Ends an operation; what it has done stays done. One that was only previewed is forgotten.
    ///
    /// # Errors
    /// [`OperationRefusal`]: there is none, or it has ended; [`quipu_store::Fault`]: it goes on.
    pub fn cancel_operation(self: &Arc<Self>, id: u64) -> Result<OperationInfo, NotDone> {
        let _one = self.cancelling.lock();
        if let Some(forgotten) = self.operations.lock().hold(id, self.world.clock.now())? {
            return Ok(forgotten);
        }
        // Deliveries and other operations go on while the stage of sagas is waited for.
        self.take_back(id)?;
        // Nobody else writes progress from here on: what is taken for written is.
        let mut progress = self.hold_progress();
        let written = self.write_progress(&mut progress);
        let mut operations = self.operations.lock();
        operations.get_mut(id)?.is_held = false;
        written?;
        let state = operations.get(id)?.state();
        if state != OperationState::Running {
            // It had done everything when it was held.
            return Err(OperationRefusal::WrongState { id, state }.into());
        }
        let time = self.world.clock.now();
        let ended = OperationRecord::Ended { id, is_cancelled: true, time }.record();
        let one = operations.get_mut(id)?;
        let Work::Replay(replay) = &one.folded.work else {
            let (done, refused) = self.looked_at_last(id, &one.folded);
            let advanced = OperationRecord::Advanced { id, done, refused: refused.clone() }.record();
            let is_behind = done > one.folded.done;
            self.write_records_wait(is_behind.then_some(advanced).into_iter().chain([ended]).collect())?;
            one.folded.advance(done, refused);
            one.folded.ended = Some((true, time));
            return Ok(one.info(id));
        };
        // What is taken back is not delivered any more, whatever becomes of the records: they are written before anything else is.
        let taken_back = self.withdraw_replay(id, &replay.to)?;
        let (withdrawn, mut records) = match (taken_back, &mut one.replay) {
            (Some((counts, withdrawn, records)), Some(run)) => {
                run.counts = counts;
                (withdrawn, records)
            }
            _ => (0, Vec::new()),
        };
        one.verdict = one.conclude(withdrawn, true);
        one.folded.ended = Some((true, time));
        records.extend(one.verdict.clone().map(|verdict| OperationRecord::Concluded { id, verdict }.record()));
        records.push(ended);
        let info = one.info(id);
        drop(operations);
        self.write_with_progress(&mut progress, records)?;
        Ok(info)
    }
}
