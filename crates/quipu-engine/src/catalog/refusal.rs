//! Why something that is asked of the catalog is not done.

use std::fmt;

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogRefusal {
    /// Nothing is declared of this type.
    NotFound {
        /// The type.
        kind: String,
    },
    /// The name of a type is none, or says a version.
    InvalidType {
        /// What was given.
        name: String,
    },
    /// A name is empty or has control characters.
    InvalidName {
        /// The member it is in.
        member: &'static str,
    },
    /// A text is too long.
    TooLong {
        /// The member it is in.
        member: &'static str,
        /// Most bytes of it.
        limit: usize,
    },
    /// A declaration has too many names.
    TooManyNames {
        /// The member they are in.
        member: &'static str,
        /// Most of them.
        limit: usize,
    },
    /// A tenant has as many declarations as it may have.
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// Most of them.
        limit: usize,
    },
    /// An import would be a larger commit than there may be.
    ImportTooLarge {
        /// Most bytes of it.
        limit: usize,
    },
}

impl fmt::Display for CatalogRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { kind } => write!(f, "expected a declared type, found that nothing is declared of {kind}"),
            Self::InvalidType { name } => {
                write!(f, "expected the name of a type without a version, such as order.placed, found {name}")
            }
            Self::InvalidName { member } => {
                write!(f, "expected texts in {member} that are not empty and have no control characters")
            }
            Self::TooLong { member, limit } => {
                write!(f, "expected at most {limit} bytes of each text in {member}, found more")
            }
            Self::TooManyNames { member, limit } => write!(f, "expected at most {limit} names in {member}, found more"),
            Self::ImportTooLarge { limit } => {
                write!(
                    f,
                    "expected schemas and declarations of at most {limit} bytes, found more: import them in several documents"
                )
            }
            Self::TooMany { what, limit } => {
                write!(f, "expected at most {limit} {what} of declarations in a tenant; withdraw some first")
            }
        }
    }
}

impl std::error::Error for CatalogRefusal {}
