//! What a comparison found.

use std::fmt;

use serde_json::Value;

/// Who reads what whom wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The new version reads what the old one wrote.
    Backward,
    /// The old version reads what the new one writes.
    Forward,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Backward => "backward",
            Direction::Forward => "forward",
        })
    }
}

/// Whether versions are compatible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Proven.
    #[default]
    Yes,
    /// Refuted by a payload.
    No,
    /// Neither.
    Unknown,
}

/// One thing that breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Break {
    /// Who cannot read.
    pub direction: Direction,
    /// The old version that is compared with.
    pub version: u32,
    /// The field in the data, as a JSON pointer with `*` for the items of lists; of a missing field, where it is
    /// missed.
    pub pointer: String,
    /// In words: `status: the value "paid" is no longer accepted`.
    pub what: String,
    /// The keyword that refuses, in the reader's schema.
    pub schema_pointer: String,
}

/// A payload that the writer's schema accepts and the reader's refuses: both were asked.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterExample {
    /// Who cannot read it.
    pub direction: Direction,
    /// The old version that is compared with.
    pub version: u32,
    /// The payload, as small as it was found.
    pub payload: Value,
    /// The field that is refused, as in the [`Break`] that it shows.
    pub pointer: String,
    /// The keyword of the reader's schema that refuses it.
    pub keyword: String,
}

/// The result of a comparison. Breaks and counter-examples are in the same order, one for each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Compatible or not.
    pub answer: Answer,
    /// What breaks, if something was found to.
    pub breaks: Vec<Break>,
    /// The payloads that show it.
    pub counter_examples: Vec<CounterExample>,
    /// Why something is unknown. May be there beside breaks that are known.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// This, and what another comparison of the same schema found.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.answer = match (self.answer, other.answer) {
            (Answer::No, _) | (_, Answer::No) => Answer::No,
            (Answer::Unknown, _) | (_, Answer::Unknown) => Answer::Unknown,
            (Answer::Yes, Answer::Yes) => Answer::Yes,
        };
        self.breaks.extend(other.breaks);
        self.counter_examples.extend(other.counter_examples);
        self.reasons.extend(other.reasons);
        self
    }

    /// Notes that something could not be decided. A break that is known outweighs it.
    pub(super) fn doubt(&mut self, reason: String) {
        if self.answer == Answer::Yes {
            self.answer = Answer::Unknown;
        }
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}
