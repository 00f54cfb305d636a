//! What all that push have in common: the tenant, the sender, the secrets, and how much may be in hand at once.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use quipu_engine::{Fault, NotDone, OperationRefusal, SubscriptionRefusal, Tenant};

use super::gate::Gates;
use crate::places::Places;
use crate::secrets::Secrets;
use crate::webhook::{Block, Options, Webhooks};

/// Deliveries in hand at once, over all subscriptions: each is an event in memory and a connection. Shared by endpoint: one
/// alone has at most 57 of them.
const IN_HAND_MAX: usize = 512;

pub(super) struct Shared {
    pub tenant: Arc<Tenant>,
    pub secrets: Secrets,
    pub gates: Gates,
    pub in_hand: Places,
    allowed: Vec<Block>,
    webhooks: OnceLock<Webhooks>,
    is_stopping: AtomicBool,
}

impl Shared {
    pub fn new(tenant: Arc<Tenant>, secrets: Secrets, allowed: Vec<Block>) -> Self {
        Self {
            tenant,
            secrets,
            gates: Gates::default(),
            in_hand: Places::new(IN_HAND_MAX),
            allowed,
            webhooks: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The sender, made when it is needed first: it reads the certificates of the machine, which most servers never use.
    pub fn webhooks(&self) -> &Webhooks {
        self.webhooks.get_or_init(|| {
            let options = Options { allowed: self.allowed.clone(), ..Options::default() };
            Webhooks::new(options).expect("only certificates that were given can be wrong")
        })
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
