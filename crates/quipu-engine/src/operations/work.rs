//! What an operation does to one item.

use std::sync::Arc;

use super::{OperationRefusal, Work};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

impl Tenant {
    /// Whether the work can be done at all.
    pub(super) fn check_work(&self, work: &Work) -> Result<(), OperationRefusal> {
        match work {
            Work::Redrive { to: Some(name) } if self.definition(name).is_err() => {
                Err(OperationRefusal::SubscriptionNotFound { name: name.clone() })
            }
            Work::Redrive { .. } | Work::Discard { .. } => Ok(()),
        }
    }

    /// Does it to one item. What it changes is durable with the next commit of progress.
    pub(super) fn work_on(self: &Arc<Self>, work: &Work, id: u64) -> Result<(), NotDone> {
        match work {
            Work::Redrive { to } => self.begin_redrive(id, to.as_deref()),
            Work::Discard { reason } => self.begin_discard(id, reason),
        }
    }
}
