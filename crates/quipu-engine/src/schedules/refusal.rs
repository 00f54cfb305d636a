//! Why something that is asked of schedules is not done.

use std::fmt;

use quipu_domain::schedule::InvalidSchedule;

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleRefusal {
    /// There is none of this name.
    NotFound {
        /// The name.
        name: String,
    },
    /// The declaration makes no sense.
    Invalid(InvalidSchedule),
    /// Its expression is none.
    InvalidJq {
        /// At which byte of it.
        at: usize,
        /// What was expected there.
        reason: String,
    },
    /// A tenant has as many as it may have.
    TooMany {
        /// Most of them.
        limit: usize,
    },
}

impl fmt::Display for ScheduleRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => {
                write!(f, "expected the name of a schedule, found {name}, which there is not")
            }
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::InvalidJq { at, reason } => write!(f, "/event/jq: at byte {at}: {reason}"),
            Self::TooMany { limit } => {
                write!(f, "expected at most {limit} schedules, found another: remove some")
            }
        }
    }
}

impl std::error::Error for ScheduleRefusal {}
