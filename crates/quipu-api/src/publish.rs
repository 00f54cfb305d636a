//! What a publish is answered with: each event stands for itself, so each has a result of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Answer to a publish of one event or a batch; results in the order of the events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishAnswer {
    /// Events that are new and on disk now.
    pub recorded: u64,
    /// Events that had been recorded before, with the same content.
    pub duplicates: u64,
    /// Events that are recorded later, when their time comes.
    #[serde(default)]
    pub scheduled: u64,
    /// Events that were not recorded.
    pub refused: u64,
    /// One for each event.
    pub results: Vec<PublishResult>,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum PublishResult {
    /// It is on disk now.
    Recorded(Place),
    /// It had been recorded before, here.
    Duplicate(Place),
    /// It is on disk, and will be recorded when its time comes.
    Scheduled(Scheduled),
    /// It was not recorded.
    Refused {
        /// Why.
        error: Problem,
    },
}

/// What an event waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scheduled {
    /// The number of its timer.
    pub timer: u64,
    /// When it is recorded (RFC 3339).
    pub due: String,
    /// Whether it waited before: the same event was sent twice.
    pub duplicate: bool,
}

/// Where an event is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Its number in the log, from 1.
    pub position: u64,
    /// Its number in its stream, from 1; absent for an event without a subject.
    #[serde(rename = "streamversion", default, skip_serializing_if = "Option::is_none")]
    pub stream_version: Option<u64>,
}

/// What became of one line of a bulk load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LineResult {
    /// The line, from 1; blank ones count.
    pub line: u64,
    /// What became of its event.
    #[serde(flatten)]
    pub result: PublishResult,
}

/// The last line of the answer to a bulk load, and with `Prefer: return=minimal` all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishSummary {
    /// Events that are new and on disk now.
    pub recorded: u64,
    /// Events that had been recorded before, with the same content.
    pub duplicates: u64,
    /// Events that are recorded later, when their time comes.
    #[serde(default)]
    pub scheduled: u64,
    /// Events that were not recorded.
    pub refused: u64,
    /// With `Prefer: return=minimal`: the first 100 lines that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<LineResult>,
    /// Why the load ended before the end of the body, if it did. Lines without a result were not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_bulk_answer_reads_back() {
        let text = r#"{"line":3,"status":"recorded","position":7,"streamversion":2}"#;
        let line: LineResult = serde_json::from_str(text).unwrap();
        assert_eq!(line.result, PublishResult::Recorded(Place { position: 7, stream_version: Some(2) }));
        assert_eq!(serde_json::to_string(&line).unwrap(), text);
    }
}
