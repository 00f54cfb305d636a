//! Why something that is asked of a tenant is not done.

use std::fmt;

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantRefusal {
    /// There is no tenant of this name.
    NotFound {
        /// The name.
        name: String,
    },
    /// There is one of this name.
    Exists {
        /// The name.
        name: String,
    },
    /// The name is none, or is kept for the server.
    InvalidName {
        /// What was given.
        name: String,
    },
    /// The reason is none.
    InvalidReason {
        /// Most bytes of one.
        limit: usize,
    },
    /// It is not in the state for this.
    WrongState {
        /// The name.
        name: String,
        /// What it is.
        state: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// Requests that were under way when it was suspended have not ended.
    Busy {
        /// The name.
        name: String,
    },
    /// There are as many as there may be.
    TooMany {
        /// How many that is.
        limit: usize,
    },
}

impl TenantRefusal {
    pub(crate) fn not_found(name: &str) -> Self {
        Self::NotFound { name: clipped(name) }
    }

    pub(crate) fn invalid_name(name: &str) -> Self {
        Self::InvalidName { name: clipped(name) }
    }
}

/// What is no name may be long.
fn clipped(name: &str) -> String {
    name.chars().take(64).collect()
}

impl fmt::Display for TenantRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => write!(f, "expected a tenant, found none with the name {name}"),
            Self::Exists { name } => write!(f, "expected a name that no tenant has, found {name}"),
            Self::InvalidName { name } => {
                write!(f, "expected a name of 1 to 64 of a-z, 0-9, - and _ other than system, found {name}")
            }
            Self::InvalidReason { limit } => {
                write!(f, "expected a reason of 1 to {limit} bytes without control characters")
            }
            Self::WrongState { name, state, expected } => {
                write!(f, "expected the tenant {name} to be {expected}, found that it is {state}")
            }
            Self::Busy { name } => {
                write!(f, "expected that nobody uses the tenant {name} any more, found requests under way; repeat it")
            }
            Self::TooMany { limit } => write!(f, "expected at most {limit} tenants; delete one first"),
        }
    }
}

impl std::error::Error for TenantRefusal {}
