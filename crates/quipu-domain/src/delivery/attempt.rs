//! One try to deliver an event, as a dead letter tells it, and why a delivery was given up.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Longest error text and longest head of an answer's body that is kept of an attempt, bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Most attempts that are kept of one delivery: the first ones and the newest.
const HISTORY_MAX: usize = 20;

/// What went wrong, as the consumer or the endpoint said it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error in words.
    pub error: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub body: Option<String>,
}

/// One try that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which one, from 1.
    pub number: u32,
    /// When it began.
    pub time: Timestamp,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// What went wrong.
    pub failure: Failure,
}

/// Why there will be no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// As many attempts failed as the retry policy allows.
    AttemptsExhausted,
    /// The delivery is older than the retry policy allows.
    TooOld,
    /// The consumer gave it up.
    GivenUpByConsumer,
    /// The endpoint is gone for good (HTTP 410).
    EndpointGone,
    /// The transformation failed, which trying again would not change.
    TransformationFailed,
    /// An upcaster failed, which trying again would not change.
    UpcasterFailed,
}

/// A delivery that ends in a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Why.
    pub reason: Reason,
    /// The attempts that were made.
    pub attempts: u32,
    /// Those that are kept, oldest first.
    pub history: Vec<Attempt>,
    /// The dead letter that this delivery was redriven from, if it was.
    pub redriven_from: Option<u64>,
}

impl Failure {
    /// A failure of these words.
    pub fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), ..Self::default() }
    }

    /// The same, its texts cut to what is kept.
    pub fn cut(mut self) -> Self {
        cut(&mut self.error);
        if let Some(body) = &mut self.body {
            cut(body);
        }
        self
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

/// Adds an attempt; beyond the limit the oldest go that are not the first. With `is_crowded`, when the attempts of all
/// deliveries take much room, only the first and the newest are kept.
pub(crate) fn remember(history: &mut Vec<Attempt>, attempt: Attempt, is_crowded: bool) {
    let limit = if is_crowded { 2 } else { HISTORY_MAX };
    while history.len() >= limit {
        history.remove(1.min(history.len() - 1));
    }
    history.push(attempt);
}

/// What attempts take in memory and in the log, bytes.
pub(crate) fn bytes(history: &[Attempt]) -> usize {
    let texts = |failure: &Failure| failure.error.len() + failure.body.as_ref().map_or(0, String::len);
    history.iter().map(|attempt| size_of::<Attempt>() + texts(&attempt.failure)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_and_the_newest_are_kept() {
        let mut history = Vec::new();
        for number in 1..=100 {
            let failure = Failure::new("é".repeat(1_000)).cut();
            assert!(failure.error.len() <= TEXT_BYTES_MAX);
            remember(&mut history, Attempt { number, time: Timestamp(0), duration_ms: 1, failure }, false);
        }
        let numbers: Vec<u32> = history.iter().map(|attempt| attempt.number).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[1], numbers[19]), (20, 1, 82, 100));
        let failure = Failure::new("no");
        remember(&mut history, Attempt { number: 101, time: Timestamp(0), duration_ms: 1, failure }, true);
        assert_eq!(history.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 101]);
    }
}
