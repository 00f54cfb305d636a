//! Why something that is asked of a subscription or a dead letter is not done.

use crate::sagas::SagaRefusal;
use crate::schedules::ScheduleRefusal;
use std::fmt;

use quipu_domain::delivery::NotInFlight;
use quipu_domain::{InvalidPattern, InvalidSubscription};
use quipu_store::Fault;

use crate::catalog::CatalogRefusal;
use crate::keys::KeyRefusal;
use crate::operations::OperationRefusal;
use crate::projections::ProjectionRefusal;
use crate::schemas::SchemaRefusal;
use crate::tenants::TenantRefusal;
use crate::transform::InvalidTransform;

/// Understood, and not allowed.
#[derive(Clone, Debug)]
pub enum SubscriptionRefusal {
    /// There is no subscription of this name.
    NotFound {
        /// The name.
        name: String,
    },
    /// There is one of this name, and it is another.
    Exists {
        /// The name.
        name: String,
    },
    /// The name is none.
    InvalidName {
        /// What was given.
        name: String,
    },
    /// A member makes no sense.
    Invalid(InvalidSubscription),
    /// The pattern is none.
    InvalidPattern(InvalidPattern),
    /// The transformation is none.
    InvalidTransform(InvalidTransform),
    /// A tenant has as many as it may have.
    TooMany {
        /// How many that is.
        limit: usize,
    },
    /// The answer to a delivery comes too late, or is not for one of this subscription.
    NotInFlight {
        /// The event.
        position: u64,
        /// Why.
        why: NotInFlight,
    },
    /// There is no such dead letter.
    DeadLetterNotFound {
        /// Its number.
        id: u64,
    },
    /// The dead letter was decided about before.
    DeadLetterDecided {
        /// Its number.
        id: u64,
    },
}

/// A refusal or a fault.
#[derive(Clone, Debug)]
pub enum NotDone {
    /// Understood, and not allowed.
    Refused(SubscriptionRefusal),
    /// An operation was understood, and is not allowed.
    RefusedOperation(OperationRefusal),
    /// A key was understood, and is not allowed.
    RefusedKey(KeyRefusal),
    /// An act on a tenant was understood, and is not allowed.
    RefusedTenant(TenantRefusal),
    /// A schema was understood, and is not allowed.
    RefusedSchema(SchemaRefusal),
    /// Something was asked of the catalog and understood, and is not allowed.
    RefusedCatalog(CatalogRefusal),
    /// Something was asked of sagas and understood, and is not allowed.
    RefusedSaga(SagaRefusal),
    /// Something was asked of a schedule and understood, and is not allowed.
    RefusedSchedule(ScheduleRefusal),
    /// Something was asked of a projection and understood, and is not allowed.
    RefusedProjection(ProjectionRefusal),
    /// The world failed.
    Failed(Fault),
}

impl From<SubscriptionRefusal> for NotDone {
    fn from(refusal: SubscriptionRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<OperationRefusal> for NotDone {
    fn from(refusal: OperationRefusal) -> Self {
        Self::RefusedOperation(refusal)
    }
}

impl From<KeyRefusal> for NotDone {
    fn from(refusal: KeyRefusal) -> Self {
        Self::RefusedKey(refusal)
    }
}

impl From<SchemaRefusal> for NotDone {
    fn from(refusal: SchemaRefusal) -> Self {
        Self::RefusedSchema(refusal)
    }
}

impl From<CatalogRefusal> for NotDone {
    fn from(refusal: CatalogRefusal) -> Self {
        Self::RefusedCatalog(refusal)
    }
}

impl From<ProjectionRefusal> for NotDone {
    fn from(refusal: ProjectionRefusal) -> Self {
        Self::RefusedProjection(refusal)
    }
}

impl From<SagaRefusal> for NotDone {
    fn from(refusal: SagaRefusal) -> Self {
        Self::RefusedSaga(refusal)
    }
}

impl From<ScheduleRefusal> for NotDone {
    fn from(refusal: ScheduleRefusal) -> Self {
        Self::RefusedSchedule(refusal)
    }
}

impl From<TenantRefusal> for NotDone {
    fn from(refusal: TenantRefusal) -> Self {
        Self::RefusedTenant(refusal)
    }
}

impl From<Fault> for NotDone {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl SubscriptionRefusal {
    /// In words that name the member of the definition.
    pub(crate) fn at_its_place(&self) -> String {
        match self {
            Self::InvalidPattern(invalid) => format!("/pattern: {invalid}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for SubscriptionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => write!(f, "expected a subscription, found none with the name {name}"),
            Self::Exists { name } => {
                write!(f, "a subscription {name} exists and is another; change it, or choose another name")
            }
            Self::InvalidName { name } => write!(
                f,
                "expected a name of 1 to 128 letters, digits, -, _ and ., beginning with a letter or digit, found {name:?}"
            ),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::InvalidPattern(invalid) => invalid.fmt(f),
            Self::InvalidTransform(invalid) => invalid.fmt(f),
            Self::TooMany { limit } => write!(f, "expected at most {limit} subscriptions; delete one first"),
            Self::NotInFlight { position, why: NotInFlight::Late } => write!(
                f,
                "expected a delivery of position {position} that is in flight, found that its deadline is over, that it \
                 was answered before, or that it belongs to another consumer"
            ),
            Self::NotInFlight { position, why: NotInFlight::OutOfOrder { first } } => {
                write!(f, "expected an answer for position {first} first: {position} comes after it in its key")
            }
            Self::DeadLetterNotFound { id } => write!(f, "expected a dead letter, found none with the number {id}"),
            Self::DeadLetterDecided { id } => write!(f, "dead letter {id} was redriven or discarded before"),
        }
    }
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::RefusedOperation(refusal) => refusal.fmt(f),
            Self::RefusedKey(refusal) => refusal.fmt(f),
            Self::RefusedSaga(refusal) => refusal.fmt(f),
            Self::RefusedSchedule(refusal) => refusal.fmt(f),
            Self::RefusedTenant(refusal) => refusal.fmt(f),
            Self::RefusedSchema(refusal) => refusal.fmt(f),
            Self::RefusedProjection(refusal) => refusal.fmt(f),
            Self::RefusedCatalog(refusal) => refusal.fmt(f),
            Self::Failed(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for SubscriptionRefusal {}

impl std::error::Error for NotDone {}
