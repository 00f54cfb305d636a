//! What an operation does to its items.

use std::sync::Arc;

use super::{OperationRefusal, Work};
use crate::subscriptions::{DecidedBy, NotDone};
use crate::tenant::Tenant;

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

    /// Does it to some items, in their order, and says what became of each. What the operation did before a crash, and had not
    /// noted, is done.
    pub(super) fn work_on(self: &Arc<Self>, operation: u64, work: &Work, ids: &[u64]) -> Vec<Result<(), NotDone>> {
        match work {
            Work::Saga { act, reason } => self.act_on_instances(ids, act, reason, operation),
            work => ids.iter().map(|id| self.work_on_letter(operation, work, *id)).collect(),
        }
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
