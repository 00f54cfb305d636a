//! Why a projection is none.

use std::fmt;

use super::{PARAMETERS_MAX, STATEMENT_BYTES_MAX};
use crate::pattern::InvalidPattern;

/// What is wrong with the declaration of a projection.
#[derive(Clone, Debug, PartialEq)]
pub enum InvalidProjection {
    /// Its name is none.
    Name {
        /// What was given.
        found: String,
    },
    /// The script of its tables is empty or too long.
    Tables {
        /// Most bytes of it.
        limit: usize,
    },
    /// It reacts to nothing, or to too much.
    Reactions {
        /// How many types it names.
        found: usize,
        /// Most of them.
        limit: usize,
    },
    /// A reaction has no statement, or there are too many altogether.
    Statements {
        /// Most of all reactions together.
        limit: usize,
    },
    /// What stands for types is none.
    Type {
        /// What was given.
        found: String,
    },
    /// A pattern is none.
    Pattern {
        /// The type it stands at.
        kind: String,
        /// Why.
        invalid: InvalidPattern,
    },
}

/// What is wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidStatement {
    /// There is none.
    Empty,
    /// Too many bytes.
    TooLong {
        /// How many.
        found: usize,
    },
    /// More than one.
    Several,
    /// Something does not end.
    Unclosed {
        /// What.
        what: &'static str,
    },
    /// A placeholder that is not named.
    Placeholder {
        /// Its sign.
        found: char,
    },
    /// A name stands for nothing.
    Parameter {
        /// The name.
        name: String,
    },
    /// Too many parameters.
    TooManyParameters,
}

impl fmt::Display for InvalidProjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { found } => write!(
                f,
                "/projection: expected a name of 1 to 128 letters, digits, -, _ and ., beginning with a letter or digit, found {found:?}"
            ),
            Self::Tables { limit } => {
                write!(f, "/tables: expected the SQL that makes the tables, at most {limit} bytes")
            }
            Self::Reactions { found, limit } => write!(f, "/on: expected 1 to {limit} types, found {found}"),
            Self::Statements { limit } => {
                write!(f, "/on: expected at least one statement for each type, and at most {limit} altogether")
            }
            Self::Type { found } => write!(
                f,
                "/on: expected a type such as order.placed, or a beginning of types such as order.*, found {found:?}"
            ),
            Self::Pattern { kind, invalid } => write!(f, "/on/{kind}: {invalid}"),
        }
    }
}

impl fmt::Display for InvalidStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("expected an SQL statement, found none"),
            Self::TooLong { found } => {
                write!(f, "expected a statement of at most {STATEMENT_BYTES_MAX} bytes, found {found}")
            }
            Self::Several => f.write_str("expected one statement, found several; write them as a list"),
            Self::Unclosed { what } => write!(f, "expected an end of {what}, found none"),
            Self::Placeholder { found } => write!(
                f,
                "expected named parameters such as :subject or :data.total, found {found}; write text in quotes"
            ),
            Self::Parameter { name } => write!(
                f,
                "expected the name of an attribute, such as :subject or :correlationid, or a path into the data, such as \
                 :data.total, found :{name}"
            ),
            Self::TooManyParameters => write!(f, "expected at most {PARAMETERS_MAX} different parameters, found more"),
        }
    }
}

impl std::error::Error for InvalidProjection {}
impl std::error::Error for InvalidStatement {}
