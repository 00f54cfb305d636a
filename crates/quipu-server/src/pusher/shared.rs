//! What all that push have in common: the tenant, the way out, and the secrets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu_engine::{Fault, NotDone, OperationRefusal, SubscriptionRefusal, Tenant};

use crate::outward::Outward;
use crate::secrets::Secrets;
use crate::webhook::Webhooks;

pub(super) struct Shared {
    pub tenant: Arc<Tenant>,
    pub secrets: Arc<Secrets>,
    pub outward: Arc<Outward>,
    is_stopping: AtomicBool,
}

impl Shared {
    pub fn new(tenant: Arc<Tenant>, secrets: Arc<Secrets>, outward: Arc<Outward>) -> Self {
        Self { tenant, secrets, outward, is_stopping: AtomicBool::new(false) }
    }

    pub fn webhooks(&self) -> &Webhooks {
        self.outward.webhooks()
    }

    /// From now on nothing is sent any more.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}

/// Why the engine did not do what it was asked for.
#[derive(Debug)]
pub(super) enum NotAnswered {
    Refused(SubscriptionRefusal),
    Operation(OperationRefusal),
    Failed(Fault),
    /// The task that asked it ended: a bug, or the server is going down.
    NoAnswer,
}

impl From<NotDone> for NotAnswered {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(refusal) => Self::Refused(refusal),
            NotDone::RefusedOperation(refusal) => Self::Operation(refusal),
            NotDone::RefusedKey(_)
            | NotDone::RefusedTenant(_)
            | NotDone::RefusedSchema(_)
            | NotDone::RefusedCatalog(_)
            | NotDone::RefusedProjection(_)
            | NotDone::RefusedSaga(_)
            | NotDone::RefusedSchedule(_) => {
                unreachable!("none is asked for here")
            }
            NotDone::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl fmt::Display for NotAnswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Operation(refusal) => refusal.fmt(f),
            Self::Failed(fault) => fault.fmt(f),
            Self::NoAnswer => f.write_str("the engine did not answer"),
        }
    }
}

/// Asks the engine off the threads that serve sockets: it may read the log.
pub(super) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, NotDone> + Send + 'static,
) -> Result<T, NotAnswered> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answered) => answered.map_err(NotAnswered::from),
        Err(_) => Err(NotAnswered::NoAnswer),
    }
}
