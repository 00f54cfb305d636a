//! How an instance stands, as it is recorded and told: one word, whichever way it ended.

use serde::{Deserialize, Serialize};

use super::{Outcome, Status};

/// How an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It goes on.
    Running,
    /// It undoes what it did.
    Compensating,
    /// Somebody has to decide.
    NeedsPerson,
    /// Somebody stopped it for a while.
    Paused,
    /// Every step was finished.
    Completed,
    /// It failed, and everything that it did was undone.
    Compensated,
    /// It was cancelled, and everything that it did was undone.
    Cancelled,
    /// It failed, and somebody settled by hand what could not be undone.
    Resolved,
    /// It failed, and something that could not be undone stands.
    Failed,
}

impl InstanceState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Running,
        Self::Compensating,
        Self::NeedsPerson,
        Self::Paused,
        Self::Completed,
        Self::Compensated,
        Self::Cancelled,
        Self::Resolved,
        Self::Failed,
    ];

    /// Whether it is over.
    pub fn is_ended(self) -> bool {
        self >= Self::Completed
    }

    /// The word of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::NeedsPerson => "needsperson",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::Resolved => "resolved",
            Self::Failed => "failed",
        }
    }
}

impl From<Status> for InstanceState {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Compensating => Self::Compensating,
            Status::NeedsPerson => Self::NeedsPerson,
            Status::Paused => Self::Paused,
            Status::Ended(Outcome::Completed) => Self::Completed,
            Status::Ended(Outcome::Compensated) => Self::Compensated,
            Status::Ended(Outcome::Cancelled) => Self::Cancelled,
            Status::Ended(Outcome::Resolved) => Self::Resolved,
            Status::Ended(Outcome::Failed) => Self::Failed,
        }
    }
}
