//! Why something that is asked of projections is not done.

use std::fmt;

use quipu_domain::projection::InvalidProjection;

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum ProjectionRefusal {
    /// There is none of this name.
    NotFound {
        /// The name.
        name: String,
    },
    /// The declaration is none.
    Invalid(InvalidProjection),
    /// A tenant has as many projections as it may have.
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// Most of them.
        limit: usize,
    },
    /// There is no release that could be switched to.
    NoRelease {
        /// The name.
        name: String,
        /// What was looked for.
        wanted: WantedRelease,
    },
    /// The reason for passing over an event is empty or too long.
    InvalidReason {
        /// Most bytes of it.
        limit: usize,
    },
    /// The position of an event that is not there.
    NoEvent {
        /// The position.
        position: u64,
    },
    /// There is no baseline of this name.
    NoBaseline {
        /// The name.
        name: String,
    },
    /// There is one of this name, and it is not replaced.
    BaselineExists {
        /// The name.
        name: String,
    },
    /// A baseline cannot have this name.
    InvalidBaseline {
        /// The name.
        name: String,
    },
}

/// A release, by what it is to the one that is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedRelease {
    /// The one that comes after it.
    Next,
    /// The one that was before it.
    Previous,
}

impl fmt::Display for ProjectionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => write!(f, "expected a projection, found none with the name {name}"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::TooMany { what, limit } => write!(f, "expected at most {limit} {what}; remove some first"),
            Self::NoRelease { name, wanted: WantedRelease::Next } => write!(
                f,
                "expected a release of {name} that is built beside the one that is live, found none; apply a changed declaration first"
            ),
            Self::NoRelease { name, wanted: WantedRelease::Previous } => {
                write!(f, "expected a release of {name} from before the one that is live, found none")
            }
            Self::InvalidReason { limit } => write!(f, "expected a reason of 1 to {limit} bytes"),
            Self::NoEvent { position } => write!(f, "expected the position of an event, found none at {position}"),
            Self::NoBaseline { name } => {
                write!(f, "expected a baseline of the projection, found none with the name {name}")
            }
            Self::BaselineExists { name } => {
                write!(
                    f,
                    "expected a name that no baseline of the projection has, found {name}; choose another, or remove that one"
                )
            }
            Self::InvalidBaseline { name } => write!(
                f,
                "expected a name of letters, digits, -, _ and . that begins with a letter or digit, found {name:?}"
            ),
        }
    }
}

impl std::error::Error for ProjectionRefusal {}
