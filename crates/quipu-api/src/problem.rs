//! A refusal or a fault as a client sees it: an RFC 9457 problem document with a code of ours, whether a repeat can
//! help, and members that carry what the caller needs to do better.

use std::fmt;

use quipu_domain::{ConditionFailure, InvalidEvent, Refusal, StreamExpectation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Code;

/// An RFC 9457 problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Path of the page that explains the code, `/errors/<code>`.
    // Boxed without spare capacity: a problem stays under 128 bytes and can be returned as it is.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// Short summary, the same for every occurrence of the code.
    pub title: String,
    /// The HTTP status; inside of a batch the one that this event alone would have had.
    pub status: u16,
    /// What was expected and what was found, this time.
    pub detail: String,
    /// Stable code.
    pub code: String,
    /// Whether the same request can succeed later without being changed.
    pub retryable: bool,
    /// Members that the code adds.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// One condition of an append that did not hold, as it stands in `failures` of `condition-failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ConditionFailed {
    /// A stream is not as expected.
    Stream {
        /// Which of the append's conditions, from 0.
        index: usize,
        /// The stream.
        stream: String,
        /// What was expected of it.
        expected: Expected,
        /// The version it has; 0 if it has no event.
        actual: u64,
    },
    /// An event after the position matches the query.
    NoneAfter {
        /// Which of the append's conditions, from 0.
        index: usize,
        /// The position that was given.
        position: u64,
        /// The position of an event that matches.
        found: u64,
    },
    /// The log has not reached the position: it is of another log, such as one that was restored from an older copy.
    AfterEnd {
        /// Which of the append's conditions, from 0.
        index: usize,
        /// The position that was given.
        position: u64,
        /// The newest position there is.
        newest: u64,
    },
}

/// What was expected of a stream: a version, or a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expected {
    /// This version; 0 means no event.
    Version(u64),
    /// `exists`, `absent` or `any`.
    Word(ExpectedWord),
}

/// What was expected of a stream, other than a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedWord {
    /// It has an event.
    Exists,
    /// It has no event.
    Absent,
    /// Anything.
    Any,
}

impl Problem {
    /// A problem of that code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: code.type_path().into(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code: code.slug().to_owned(),
            retryable: code.is_retryable(),
            members: Map::new(),
        }
    }

    /// Adds a member of the code.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// `invalid-parameter`, about one parameter.
    pub fn parameter(name: &str, expected: &str, found: &str) -> Self {
        Self::new(Code::InvalidParameter, format!("expected {name} to be {expected}, found {}", clip(found)))
            .with("parameter", name)
    }

    /// `invalid-request`, about one place in the body (a JSON pointer, RFC 6901).
    pub fn pointer(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail).with("pointer", pointer.into())
    }

    /// The code, if this version knows it.
    pub fn code(&self) -> Option<Code> {
        Code::from_slug(&self.code)
    }

    /// The conditions that failed, of `condition-failed`.
    pub fn failures(&self) -> Vec<ConditionFailed> {
        let failures = self.members.get("failures").cloned();
        failures.and_then(|failures| serde_json::from_value(failures).ok()).unwrap_or_default()
    }
}

/// Reads a body that is one JSON object.
///
/// # Errors
/// `malformed-json`, or `invalid-request`: it is JSON and not what was expected.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(bytes: &[u8], expected: &str) -> Result<T, Problem> {
    // serde reads an array as the fields of a struct in their order; nobody means that.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::pointer("", format!("expected {expected}, found an array")));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::pointer("", format!("expected {expected}: {error}")),
        _ => Problem::new(Code::MalformedJson, format!("expected JSON, found {error}"))
            .with("line", error.line())
            .with("column", error.column()),
    })
}

impl Problem {
    /// The same without secrets of webhooks, wherever they were quoted.
    #[must_use]
    pub fn hushed(mut self) -> Self {
        self.detail = hushed(&self.detail);
        for member in self.members.values_mut() {
            if let serde_json::Value::String(text) = member {
                *text = hushed(text);
            }
        }
        self
    }
}

/// A text without what follows `whsec_`: base64 of either alphabet, or what a JSON pointer makes of it.
fn hushed(text: &str) -> String {
    let mut parts = text.split("whsec_");
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        said.push_str("whsec_…");
        said.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "+/=-_~".contains(c)));
    }
    said
}

/// The head of a text that a stranger sent, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.title, self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<&InvalidEvent> for Problem {
    fn from(invalid: &InvalidEvent) -> Self {
        let code = match invalid {
            InvalidEvent::MalformedJson { .. } => Code::MalformedJson,
            InvalidEvent::ReservedAttribute { .. } => Code::ReservedName,
            InvalidEvent::TooLarge { .. } => Code::EventTooLarge,
            InvalidEvent::NotAnObject { .. }
            | InvalidEvent::MissingAttribute { .. }
            | InvalidEvent::DuplicateAttribute { .. }
            | InvalidEvent::InvalidAttribute { .. }
            | InvalidEvent::TooMany { .. } => Code::InvalidEvent,
        };
        let problem = Self::new(code, invalid.to_string());
        let about = |problem: Self, attribute: &str, expected: &str, found: &str| {
            problem.with("attribute", attribute).with("expected", expected).with("found", found)
        };
        match invalid {
            InvalidEvent::MalformedJson { line, column, .. } => problem.with("line", *line).with("column", *column),
            InvalidEvent::NotAnObject { found } => problem.with("expected", "a JSON object").with("found", *found),
            InvalidEvent::MissingAttribute { name } => about(problem, name, "a value", "none"),
            InvalidEvent::DuplicateAttribute { name } => about(problem, name, "one value", "two"),
            InvalidEvent::InvalidAttribute { name, expected, found } => about(problem, name, expected, found),
            InvalidEvent::ReservedAttribute { name, expected } => {
                problem.with("attribute", name.as_str()).with("expected", *expected)
            }
            InvalidEvent::TooMany { what, limit, actual } => {
                about(problem, what, &format!("at most {limit}"), &actual.to_string())
            }
            InvalidEvent::TooLarge { limit, actual } => problem.with("limit", *limit).with("actual", *actual),
        }
    }
}

impl From<InvalidEvent> for Problem {
    fn from(invalid: InvalidEvent) -> Self {
        Self::from(&invalid)
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::ConditionsFailed(failures) => {
                let failures: Vec<_> = failures.iter().map(ConditionFailed::from).collect();
                Self::new(Code::ConditionFailed, detail).with("failures", json!(failures))
            }
            Refusal::WrongVersion { stream, expected, actual } => Self::new(Code::WrongVersion, detail)
                .with("stream", stream.as_str())
                .with("expected", *expected)
                .with("actual", *actual),
            Refusal::IdConflict { index, position } => {
                Self::new(Code::IdConflict, detail).with("index", *index).with("position", *position)
            }
            Refusal::WaitsAlready { index, timer } => {
                Self::new(Code::IdConflict, detail).with("index", *index).with("timer", *timer)
            }
            Refusal::Delayed { index } => Self::new(Code::InvalidEvent, detail).with("index", *index),
            Refusal::TimerExists { key, timer } => {
                Self::new(Code::TimerExists, detail).with("key", key.as_str()).with("timer", *timer)
            }
            Refusal::TooManyTimers { limit } => Self::new(Code::TooManyTimers, detail).with("limit", *limit),
            Refusal::PartlyRepeated { index, position } => {
                Self::new(Code::PartlyRepeated, detail).with("index", *index).with("position", *position)
            }
            Refusal::RepeatedWithin { index } => Self::new(Code::RepeatedWithin, detail).with("index", *index),
            Refusal::TooLarge { .. } => Self::new(Code::BodyTooLarge, detail),
            Refusal::BreaksSchema { index, schema, violations } => Self::new(Code::SchemaViolated, detail)
                .with("index", *index)
                .with("schema", schema.as_str())
                .with("violations", json!(violations)),
            Refusal::NoSchema { index, kind, version, known } => Self::new(Code::NoSchema, detail)
                .with("index", *index)
                .with("schema", format!("{kind}.v{version}"))
                .with("known", json!(known)),
            Refusal::CheckpointBehind { source, recorded, given } => Self::new(Code::CheckpointBehind, detail)
                .with("source", source.as_str())
                .with("recorded", *recorded)
                .with("given", *given),
            Refusal::TooManyCheckpoints { limit } => Self::new(Code::TooManyCheckpoints, detail).with("limit", *limit),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}

impl From<&ConditionFailure> for ConditionFailed {
    fn from(failure: &ConditionFailure) -> Self {
        match failure {
            ConditionFailure::Stream { index, stream, expected, actual } => {
                Self::Stream { index: *index, stream: stream.clone(), expected: (*expected).into(), actual: *actual }
            }
            ConditionFailure::NoneAfter { index, position, found } => {
                Self::NoneAfter { index: *index, position: *position, found: *found }
            }
            ConditionFailure::AfterEnd { index, position, newest } => {
                Self::AfterEnd { index: *index, position: *position, newest: *newest }
            }
        }
    }
}

impl From<StreamExpectation> for Expected {
    fn from(expected: StreamExpectation) -> Self {
        match expected {
            StreamExpectation::Version(version) => Self::Version(version),
            StreamExpectation::Exists => Self::Word(ExpectedWord::Exists),
            StreamExpectation::DoesNotExist => Self::Word(ExpectedWord::Absent),
            StreamExpectation::Any => Self::Word(ExpectedWord::Any),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_carries_what_the_caller_needs() {
        let stream = "order/1".to_owned();
        let failed = Refusal::ConditionsFailed(vec![
            ConditionFailure::Stream { index: 0, stream, expected: StreamExpectation::Version(3), actual: 4 },
            ConditionFailure::NoneAfter { index: 1, position: 7, found: 9 },
        ]);
        let problem = Problem::from(&failed);
        assert_eq!((problem.code.as_str(), problem.status), ("condition-failed", 409));
        assert_eq!(
            problem.members["failures"],
            json!([{"kind":"stream","index":0,"stream":"order/1","expected":3,"actual":4},
                   {"kind":"noneafter","index":1,"position":7,"found":9}])
        );
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        assert_eq!(problem.failures().len(), 2);
    }

    #[test]
    fn an_invalid_event_names_the_attribute() {
        let invalid = InvalidEvent::MissingAttribute { name: "source" };
        let problem = Problem::from(invalid);
        assert_eq!(problem.code(), Some(Code::InvalidEvent));
        assert_eq!(problem.members["attribute"], "source");
    }
}
