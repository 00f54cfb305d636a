//! What an operation of the library ends in when it does not succeed: a refusal, an invalid event, or a fault.

use std::fmt;

use quipu_domain::{InvalidEvent, Refusal};
use quipu_engine::{
    CatalogRefusal, InvalidTimer, KeyRefusal, NotAppended, NotDone, OperationRefusal, ProjectionRefusal, SagaRefusal,
    ScheduleRefusal, SchemaRefusal, SubscriptionRefusal, TenantRefusal,
};
use quipu_store::Fault;

/// Why an operation did not succeed.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let quipu = quipu::Quipu::open(folder.path())?;
/// use quipu::{Append, Error, Event, Refusal};
/// let event = Event::builder("1", "/shop", "order.placed").subject("order/1").build()?;
/// match quipu.append(Append::of(vec![event]).expect_version("order/1", 5)) {
///     Err(Error::Refused(Refusal::ConditionsFailed(failures))) => assert_eq!(failures.len(), 1),
///     other => panic!("expected the condition to fail, found {other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub enum Error {
    /// Understood, but not allowed. Nothing was written.
    Refused(Refusal),
    /// One of the events given is not one that can be recorded: it is over the size limit. Nothing was written.
    Invalid {
        /// Which of the events given, from 0.
        index: usize,
        /// What was expected and what was found.
        reason: InvalidEvent,
    },
    /// One of the timers given cannot be set. Nothing was written.
    InvalidTimer {
        /// Which of the timers given, from 0.
        index: usize,
        /// What was expected and what was found.
        reason: InvalidTimer,
    },
    /// What was asked of a subscription, a delivery or a dead letter is not allowed. Nothing was changed.
    Subscription(SubscriptionRefusal),
    /// What was asked of an operation is not allowed. Nothing was changed.
    Operation(OperationRefusal),
    /// What was asked of a key is not allowed. Nothing was changed.
    Key(KeyRefusal),
    /// What was asked of a tenant is not allowed. Nothing was changed.
    Tenant(TenantRefusal),
    /// What was asked of a schema is not allowed. Nothing was changed.
    Schema(SchemaRefusal),
    /// What was asked of the catalog is not allowed. Nothing was changed.
    Catalog(CatalogRefusal),
    /// Something was asked of a projection and understood, and is not allowed.
    Projection(ProjectionRefusal),
    /// What was asked of a saga, a rule, an expectation or an instance is not allowed. Nothing was changed.
    Saga(SagaRefusal),
    /// What was asked of a schedule is not allowed. Nothing was changed.
    Schedule(ScheduleRefusal),
    /// The states of aggregates cannot be made from the log: what was expected and what was found.
    NotRebuilt(String),
    /// The world failed. After [`Fault::Poisoned`] or [`Fault::Closed`] the outcome of an append is unknown: repeat it
    /// with the same ids once the store is open again.
    Fault(Fault),
    /// A server refused, or cannot be understood or reached.
    Server {
        /// Which.
        url: String,
        /// What was expected and what was found.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Subscription(refusal) => write!(f, "{refusal}"),
            Self::Operation(refusal) => write!(f, "{refusal}"),
            Self::Key(refusal) => write!(f, "{refusal}"),
            Self::Tenant(refusal) => write!(f, "{refusal}"),
            Self::Schema(refusal) => write!(f, "{refusal}"),
            Self::Catalog(refusal) => write!(f, "{refusal}"),
            Self::Projection(refusal) => write!(f, "{refusal}"),
            Self::Saga(refusal) => write!(f, "{refusal}"),
            Self::Schedule(refusal) => write!(f, "{refusal}"),
            Self::Invalid { index, reason } => write!(f, "event {index}: {reason}"),
            Self::InvalidTimer { index, reason } => write!(f, "timer {index}: {reason}"),
            Self::NotRebuilt(problem) => write!(f, "the states cannot be made from the log: {problem}"),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Server { url, reason } => write!(f, "{url}: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Subscription(refusal) => Some(refusal),
            Self::Operation(refusal) => Some(refusal),
            Self::Key(refusal) => Some(refusal),
            Self::Tenant(refusal) => Some(refusal),
            Self::Schema(refusal) => Some(refusal),
            Self::Catalog(refusal) => Some(refusal),
            Self::Projection(refusal) => Some(refusal),
            Self::Saga(refusal) => Some(refusal),
            Self::Schedule(refusal) => Some(refusal),
            Self::Invalid { reason, .. } => Some(reason),
            Self::InvalidTimer { reason, .. } => Some(reason),
            Self::Fault(fault) => Some(fault),
            Self::NotRebuilt(_) | Self::Server { .. } => None,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<SubscriptionRefusal> for Error {
    fn from(refusal: SubscriptionRefusal) -> Self {
        Self::Subscription(refusal)
    }
}

impl From<NotDone> for Error {
    fn from(reason: NotDone) -> Self {
        match reason {
            NotDone::Refused(refusal) => Self::Subscription(refusal),
            NotDone::RefusedOperation(refusal) => Self::Operation(refusal),
            NotDone::RefusedKey(refusal) => Self::Key(refusal),
            NotDone::RefusedTenant(refusal) => Self::Tenant(refusal),
            NotDone::RefusedSchema(refusal) => Self::Schema(refusal),
            NotDone::RefusedCatalog(refusal) => Self::Catalog(refusal),
            NotDone::RefusedProjection(refusal) => Self::Projection(refusal),
            NotDone::RefusedSaga(refusal) => Self::Saga(refusal),
            NotDone::RefusedSchedule(refusal) => Self::Schedule(refusal),
            NotDone::Failed(fault) => Self::Fault(fault),
        }
    }
}

impl From<NotAppended> for Error {
    fn from(reason: NotAppended) -> Self {
        match reason {
            NotAppended::Refused(refusal) => Self::Refused(refusal),
            NotAppended::Fault(fault) => Self::Fault(fault),
        }
    }
}
