//! What a client asks of a tenant, and what it was answered: the entries of a simulation's history.

use quipu_domain::{Checkpoint, Condition, Event, Refusal, Stamp};
use quipu_engine::{Appended, Published};

/// An event that a client wants recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The event.
    pub event: Event<'static>,
    /// The version that the client says it is in its stream.
    pub stream_version: Option<u64>,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Each event for itself.
    Publish(Vec<Draft>),
    /// All or nothing.
    Append(Proposal),
}

/// An append that was not prepared yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposal {
    /// What is to be recorded.
    pub events: Vec<Draft>,
    /// What must still be true.
    pub conditions: Vec<Condition>,
    /// How far an outside source was copied.
    pub checkpoint: Option<Checkpoint>,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To a publish: one outcome an event.
    Published(Vec<Published>),
    /// To an append.
    Appended(Appended),
    /// To an append.
    Refused(Refusal),
    /// The store failed; whether the operation took effect is not known.
    Unknown(String),
}

impl Operation {
    /// The events in it.
    pub fn drafts(&self) -> &[Draft] {
        match self {
            Self::Publish(events) => events,
            Self::Append(append) => &append.events,
        }
    }
}

impl Answer {
    /// The position that each event of the operation was said to have, in order; nothing for one that was refused.
    pub fn positions(&self) -> Vec<Option<u64>> {
        match self {
            Self::Published(outcomes) => outcomes
                .iter()
                .map(|outcome| match outcome {
                    Published::Recorded(place) | Published::Duplicate(place) => Some(place.position),
                    Published::Scheduled(_) | Published::Refused(_) => None,
                })
                .collect(),
            Self::Appended(appended) => appended.events.iter().map(|place| Some(place.position)).collect(),
            Self::Refused(_) | Self::Unknown(_) => Vec::new(),
        }
    }
}

/// An event as it was read from a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// What the server added.
    pub stamp: Stamp,
    /// The event.
    pub event: Event<'static>,
}

/// One operation of a history, and its answer if there was one.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was asked.
    pub operation: Operation,
    /// When it was asked, by a clock that moves on with every question and every round of answers.
    pub asked: u64,
    /// When it was answered, by the same clock.
    pub answered: Option<u64>,
    /// What was answered before the end of the process that was asked.
    pub answer: Option<Answer>,
    /// Whether the log that was found in the end holds what it did: known once the next process has opened it.
    pub is_kept: bool,
}

impl Entry {
    /// An operation that was asked for and is not answered yet.
    pub fn asked(operation: Operation, asked: u64) -> Self {
        Self { operation, asked, answered: None, answer: None, is_kept: false }
    }

    /// The same with its answer.
    pub fn answered(self, answer: Answer, answered: u64) -> Self {
        Self { answer: Some(answer), answered: Some(answered), ..self }
    }
}
