//! Why something that is asked of a key is not done.

use std::fmt;

use quipu_domain::access::InvalidGrant;

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// There is no key of this id.
    NotFound {
        /// The id.
        id: String,
    },
    /// The name is none.
    InvalidName {
        /// Most bytes of one.
        limit: usize,
    },
    /// It would be good for nothing.
    NoGrants,
    /// A grant makes no sense.
    Invalid(InvalidGrant),
    /// It would live for too long, or not at all.
    InvalidLife {
        /// Which member says so.
        what: &'static str,
        /// How long, milliseconds.
        ms: u64,
        /// How long it may, milliseconds.
        limit: u64,
    },
    /// A tenant has as many as it may have.
    TooMany {
        /// How many that is.
        limit: usize,
    },
}

impl fmt::Display for KeyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { id } => write!(f, "expected a key, found none with the id {id}"),
            Self::InvalidName { limit } => {
                write!(f, "expected a name of 1 to {limit} bytes without control characters")
            }
            Self::NoGrants => f.write_str("expected at least one grant, found none: the key would be good for nothing"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::InvalidLife { what, ms, limit } => {
                write!(f, "expected {what} from 1 to {limit} milliseconds, found {ms}")
            }
            Self::TooMany { limit } => write!(f, "expected at most {limit} keys; revoke one first"),
        }
    }
}

impl std::error::Error for KeyRefusal {}
