//! Why a command has led to nothing.

use std::fmt;

use quipu_domain::ConditionFailure;

use crate::Error;

/// Why a command was not handled. Nothing was appended, unless [`NotHandled::Failed`] says that it is not known.
#[derive(Clone, Debug)]
pub enum NotHandled<R> {
    /// The aggregate's own rule.
    Refused(R),
    /// Others kept being faster: each time that it was decided, something had changed by the time it was appended.
    Conflict {
        /// How often it was decided.
        tries: u32,
        /// What had changed the last time.
        failures: Vec<ConditionFailure>,
    },
    /// An event cannot be read as one of the aggregate's: it is of a type or a version that this code does not know.
    Unreadable {
        /// Where it is.
        position: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// What was decided cannot be written as JSON, or not be read back.
    Unwritable {
        /// Which of the events decided, from 0.
        index: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// The query that it was to be decided on is none: what was expected and what was found.
    InvalidQuery(String),
    /// The append was refused for another reason, or the world failed.
    Failed(Error),
}

impl<R> NotHandled<R> {
    /// The aggregate's own refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&R> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl<R> From<Error> for NotHandled<R> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<R: fmt::Debug> fmt::Display for NotHandled<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the aggregate refuses: {refusal:?}"),
            Self::Conflict { tries, failures } => {
                write!(f, "expected nobody else to be faster in one of {tries} tries, found others each time; last: ")?;
                let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
                write!(f, "{}. Give the command again, or allow more tries", failures.join("; "))
            }
            Self::Unreadable { position, reason } => write!(
                f,
                "cannot read the event at position {position}: {reason}. Add a variant for it, or an upcaster to a version that has one"
            ),
            Self::Unwritable { index, reason } => write!(f, "cannot write event {index} of the decision: {reason}"),
            Self::InvalidQuery(reason) => write!(f, "cannot decide on this query: {reason}"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl<R: fmt::Debug> std::error::Error for NotHandled<R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}
