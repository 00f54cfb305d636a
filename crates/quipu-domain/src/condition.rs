//! What must still be true for an append, and how it is refused if it is not. Whether a query has a match is found
//! by whoever holds the indexes; the rule here says what that means.

use std::fmt;

use crate::Query;
use crate::schema::Violation;

/// What must still be true for an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The stream is as expected.
    Stream {
        /// The `subject` that names the stream.
        stream: String,
        /// What is expected of it.
        expected: StreamExpectation,
    },
    /// No event after a position matches a query: a dynamic consistency boundary, as dcb.events specifies it.
    NoneAfter {
        /// The last position that the decision has seen; 0 for none.
        position: u64,
        /// The events that would change the decision.
        query: Query,
    },
}

/// What is expected of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamExpectation {
    /// Its newest event has this version; 0 means that it has no event.
    Version(u64),
    /// It has an event.
    Exists,
    /// It has no event.
    DoesNotExist,
    /// Anything.
    Any,
}

/// What a stream is: its version and the position of its newest event. A stream that has no event is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// The version of the newest event.
    pub version: u64,
    /// The position of the newest event.
    pub position: u64,
}

impl StreamExpectation {
    /// Whether a stream of this version is as expected.
    pub fn holds(self, version: u64) -> bool {
        match self {
            Self::Version(expected) => version == expected,
            Self::Exists => version > 0,
            Self::DoesNotExist => version == 0,
            Self::Any => true,
        }
    }
}

/// How far an outside source has been copied: written in the same commit as the events that came from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Who numbers: a table, a topic and partition, a file.
    pub source: String,
    /// The number reached. The next one must be larger.
    pub number: u64,
}

/// A condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionFailure {
    /// The stream is at another version.
    Stream {
        /// Which of the append's conditions, from 0.
        index: usize,
        /// The stream.
        stream: String,
        /// What was expected.
        expected: StreamExpectation,
        /// The version it has; 0 if it has no event.
        actual: u64,
    },
    /// An event after the position matches the query.
    NoneAfter {
        /// Which of the append's conditions, from 0.
        index: usize,
        /// The position that was given.
        position: u64,
        /// An event that matches.
        found: u64,
    },
    /// The position is one that the log has not reached: whoever gave it has seen another log, such as one that was
    /// restored from an older copy, and cannot know what came after.
    AfterEnd {
        /// Which of the append's conditions, from 0.
        index: usize,
        /// The position that was given.
        position: u64,
        /// The newest there is.
        newest: u64,
    },
}

/// Understood, but not allowed. It carries what the caller needs to do better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// One or more conditions did not hold; all that failed are here.
    ConditionsFailed(Vec<ConditionFailure>),
    /// The event says which version of its stream it is, and would become another.
    WrongVersion {
        /// The stream.
        stream: String,
        /// The version that the event claims.
        expected: u64,
        /// The version it would get.
        actual: u64,
    },
    /// An event with this `source` and `id` is recorded and says something else.
    IdConflict {
        /// Which event of the append, from 0.
        index: usize,
        /// The position of the recorded one.
        position: u64,
    },
    /// An event with this `source` and `id` waits for its time and says something else.
    WaitsAlready {
        /// Which event of the append, from 0; those of timers come after the others.
        index: usize,
        /// The timer that it waits for.
        timer: u64,
    },
    /// An append has an event with a `deliverat` that is still to come.
    Delayed {
        /// Which event of the append, from 0.
        index: usize,
    },
    /// A timer with this key waits.
    TimerExists {
        /// The key.
        key: String,
        /// The timer.
        timer: u64,
    },
    /// It would be one timer too many.
    TooManyTimers {
        /// How many may wait.
        limit: usize,
    },
    /// Some of an append's events are recorded already and some are not, or they are not one commit.
    PartlyRepeated {
        /// Which event of the append is recorded, from 0.
        index: usize,
        /// Its position.
        position: u64,
    },
    /// The same `source` and `id` stands twice in one append.
    RepeatedWithin {
        /// The event that comes second, from 0.
        index: usize,
    },
    /// An append that is larger than one commit may be.
    TooLarge {
        /// What there is too much of: events, bytes or conditions.
        what: &'static str,
        /// How many there may be.
        limit: usize,
        /// How many there are.
        actual: usize,
    },
    /// The data breaks the schema of its type.
    BreaksSchema {
        /// Which event of the append, from 0.
        index: usize,
        /// The type with its version.
        schema: String,
        /// Where, and how.
        violations: Vec<Violation>,
    },
    /// There is no schema for its type, or for this version of it, and events without one are not taken.
    NoSchema {
        /// Which event of the append, from 0.
        index: usize,
        /// The type, without a version.
        kind: String,
        /// The version.
        version: u32,
        /// The versions that have one.
        known: Vec<u32>,
    },
    /// A checkpoint must advance.
    CheckpointBehind {
        /// Who numbers.
        source: String,
        /// The number that is recorded.
        recorded: u64,
        /// The number that was given.
        given: u64,
    },
    /// The checkpoint is of a source that would be one too many.
    TooManyCheckpoints {
        /// How many sources there may be.
        limit: usize,
    },
}

impl fmt::Display for StreamExpectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::Exists => f.write_str("a stream that exists"),
            Self::DoesNotExist => f.write_str("a stream that does not exist"),
            Self::Any => f.write_str("any stream"),
        }
    }
}

impl fmt::Display for ConditionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { stream, expected, actual: 0, .. } => {
                write!(f, "stream {stream}: expected {expected}, found no event")
            }
            Self::Stream { stream, expected, actual, .. } => {
                write!(f, "stream {stream}: expected {expected}, found version {actual}")
            }
            Self::NoneAfter { position, found, .. } => {
                write!(f, "expected no matching event after position {position}, found one at position {found}")
            }
            Self::AfterEnd { position, newest, .. } => {
                write!(f, "expected a position up to {newest}, the newest there is, found {position}: read again")
            }
        }
    }
}

impl Refusal {
    /// The same of another event of an append.
    #[must_use]
    pub fn at(mut self, place: usize) -> Self {
        if let Self::BreaksSchema { index, .. } | Self::NoSchema { index, .. } = &mut self {
            *index = place;
        }
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConditionsFailed(failures) => {
                for (i, failure) in failures.iter().enumerate() {
                    write!(f, "{}{failure}", if i > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
            Self::WrongVersion { stream, expected, actual } => {
                write!(f, "stream {stream}: expected the event to become version {expected}, it would be {actual}")
            }
            Self::IdConflict { index, position } => {
                write!(f, "event {index}: its source and id are recorded at position {position} with other content")
            }
            Self::WaitsAlready { index, timer } => {
                write!(
                    f,
                    "event {index}: its source and id are those of an event with other content that waits for timer {timer}"
                )
            }
            Self::Delayed { index } => write!(
                f,
                "event {index}: expected a deliverat that is past, since an append is recorded at once; set a timer for it \
                 (timers, at), or publish the event"
            ),
            Self::TimerExists { key, timer } => {
                write!(f, "expected a key that no timer has, found {key} of timer {timer}: cancel it, or replace it")
            }
            Self::TooManyTimers { limit } => {
                write!(
                    f,
                    "expected at most {limit} timers that wait, found another: cancel some, or wait until some have fired"
                )
            }
            Self::PartlyRepeated { index, position } => write!(
                f,
                "event {index} is recorded at position {position}, but not all events of this append are, in one commit"
            ),
            Self::RepeatedWithin { index } => {
                write!(f, "event {index} has the source and id of an earlier event of this append")
            }
            Self::TooLarge { what, limit, actual } => {
                write!(f, "expected at most {limit} {what} in one append, found {actual}: split it")
            }
            Self::BreaksSchema { index, schema, violations } => {
                write!(f, "event {index}: expected data as the schema of {schema} says")?;
                violations.first().map_or(Ok(()), |first| write!(f, "; {first}"))
            }
            Self::NoSchema { index, kind, version, known } => {
                write!(f, "event {index}: expected a type that has a schema, found version {version} of {kind}")?;
                match known.is_empty() {
                    true => f.write_str(", which has none; register one"),
                    false => write!(f, ", of which there are {known:?}; register it"),
                }
            }
            Self::CheckpointBehind { source, recorded, given } => {
                write!(f, "checkpoint of {source}: expected a number above {recorded}, found {given}")
            }
            Self::TooManyCheckpoints { limit } => {
                write!(f, "expected checkpoints of at most {limit} sources, found another; use the name of one of them")
            }
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_hold_for_the_right_versions() {
        for (expected, holds) in [
            (StreamExpectation::Version(0), [true, false, false]),
            (StreamExpectation::Version(2), [false, false, true]),
            (StreamExpectation::Exists, [false, true, true]),
            (StreamExpectation::DoesNotExist, [true, false, false]),
            (StreamExpectation::Any, [true, true, true]),
        ] {
            assert_eq!([0, 1, 2].map(|version| expected.holds(version)), holds, "{expected}");
        }
    }
}
