//! What an operation does to its items.

use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_store::Fault;

use super::run::Operation;
use super::{OperationRefusal, Work};
use crate::subscriptions::{DecidedBy, NotDone};
use crate::tenant::Tenant;

/// Items of one operation that are done at once, so that others have their turn.
const PORTION: usize = 1_000;
/// The same of instances: each may publish several events. If they were paused, the log behind them is read once for so many.
pub(super) const PORTION_INSTANCES: usize = 1_000;

impl Tenant {
    /// Whether the work can be done at all.
    pub(super) fn check_work(&self, work: &Work) -> Result<(), OperationRefusal> {
        match work {
            Work::Redrive { to: Some(name) } if self.definition(name).is_err() => {
                Err(OperationRefusal::SubscriptionNotFound { name: name.clone() })
            }
            Work::Redrive { .. } | Work::Discard { .. } | Work::Replay(_) | Work::Saga { .. } => Ok(()),
        }
    }

    /// Does it to the next items of an operation, as fast as its rate allows, and takes note of what became of them. What the operation
    /// did before a crash, and had not noted, is done. Instances are acted on by the stage of sagas, which may have to read far back:
    /// it is given the next ones, and looked at later.
    pub(super) fn work_on(self: &Arc<Self>, operation: u64, one: &mut Operation, now: Timestamp) -> Result<(), Fault> {
        if let Work::Saga { act, reason } = &one.folded.work {
            let (act, reason) = (act.clone(), reason.clone());
            one.note_handed_over()?;
            if one.handed_over.is_empty() {
                let items = one.next_items(PORTION_INSTANCES, now);
                one.handed_over = self.act_on_instances(&items, &act, &reason, operation);
            }
            return one.note_handed_over();
        }
        for item in one.next_items(PORTION, now) {
            let outcome = self.work_on_letter(operation, &one.folded.work, item);
            one.note(outcome)?;
        }
        Ok(())
    }

    /// What changes is durable with the next commit of progress.
    fn work_on_letter(self: &Arc<Self>, operation: u64, work: &Work, id: u64) -> Result<(), NotDone> {
        let by = DecidedBy::Operation(operation);
        // Asked first: what it needed then may be gone by now.
        if self.dead_letter_line(id).is_ok_and(|line| line.decided_by == by) {
            return Ok(());
        }
        match work {
            Work::Redrive { to } => self.begin_redrive(id, to.as_deref(), by),
            Work::Discard { reason } => self.begin_discard(id, reason, by),
            Work::Replay(_) | Work::Saga { .. } => unreachable!("it is not about dead letters"),
        }
    }
}
