//! What an operation does to one item.

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
            Work::Redrive { .. } | Work::Discard { .. } | Work::Replay(_) => Ok(()),
        }
    }

    /// Does it to one item. What it changes is durable with the next commit of progress. What the operation decided before
    /// a crash, and had not noted, is done.
    pub(super) fn work_on(self: &Arc<Self>, operation: u64, work: &Work, id: u64) -> Result<(), NotDone> {
        let by = DecidedBy::Operation(operation);
        // Asked first: what it needed then may be gone by now.
        if self.dead_letter_line(id).is_ok_and(|line| line.decided_by == by) {
            return Ok(());
        }
        match work {
            Work::Redrive { to } => self.begin_redrive(id, to.as_deref(), by),
            Work::Discard { reason } => self.begin_discard(id, reason, by),
            Work::Replay(_) => unreachable!("a replay has no items"),
        }
    }
}
