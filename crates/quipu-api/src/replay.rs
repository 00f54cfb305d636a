//! Replays as they are previewed and tracked: operations that deliver a range of the log to a subscription once more.

use quipu_domain::StartAt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Problem;
use crate::operation::OperationAnswer;

/// Body of the preview of a replay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The subscription that the events are delivered to; with `shadow` the name of the one that is made.
    pub to: String,
    /// Make a subscription for it that gets nothing else, when it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowBody>,
    /// The first event; that of the log if not given.
    #[serde(default = "beginning")]
    pub from: StartAt,
    /// The last event: at this position, or the last one that was recorded before this time; the newest if not given.
    #[serde(default)]
    pub until: StartAt,
    /// Which events, beside what the subscription wants: an EventBridge event pattern, asked of events as they were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub pattern: Option<Box<RawValue>>,
    /// Whether every event waits for the one before it, whatever the order of the subscription is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// At most so many events a second. Not with `speed`.
    #[serde(rename = "ratepersecond", default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// How many times as fast as the events were recorded, 0.001 to 1,000,000: 1 is real time. As fast as it goes without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Whether an endpoint may be called, if the subscription has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub webhooks: bool,
}

/// A subscription that is made for a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowBody {
    /// The subscription that it is like, but for its endpoint; one that takes all events if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// What a replay delivers, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayWork {
    /// The subscription.
    pub to: String,
    /// Whether that was or will be made for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub until: u64,
    /// Which events, beside what the subscription wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<serde_json::Value>,
    /// Whether every event waits for the one before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// How many times as fast as the events were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Whether an endpoint may be called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub webhooks: bool,
}

/// How far a replay is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayBody {
    /// Every event up to here was looked at.
    pub position: u64,
    /// Events that became deliveries.
    pub handed: u64,
    /// Deliveries that are unfinished.
    pub waiting: u64,
    /// Deliveries that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that became dead letters.
    #[serde(rename = "deadlettered")]
    pub dead_lettered: u64,
    /// Deliveries that were forgotten because somebody moved the subscription.
    pub forgotten: u64,
    /// Events that are finished in a second, over the last seconds; null if none were.
    #[serde(rename = "persecond")]
    pub per_second: Option<f64>,
    /// What keeps it from reading on; it is tried again each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it came to, when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ReplayVerdictBody>,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayVerdictBody {
    /// In a word.
    pub outcome: ReplayOutcomeWord,
    /// Why it ended before its time, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Deliveries that were taken back unfinished when it was cancelled.
    pub withdrawn: u64,
    /// The log before the commit of the first position: its number, a colon and the chain hash.
    #[serde(rename = "fromhead")]
    pub from_head: String,
    /// The log after the commit of the last position.
    #[serde(rename = "untilhead")]
    pub until_head: String,
}

/// What a replay came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayOutcomeWord {
    /// Every event was delivered and acknowledged.
    Acknowledged,
    /// Every event was delivered; some became dead letters.
    DeadLettered,
    /// It ended before its time, or deliveries of it were forgotten.
    Incomplete,
}

/// Answer to the preview of a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayPreviewAnswer {
    /// The operation. Nothing is done yet.
    #[serde(flatten)]
    pub operation: OperationAnswer,
    /// Until when it can be confirmed.
    #[serde(rename = "confirmbefore")]
    pub confirm_before: String,
    /// How many events of each type it delivers, by the name of the type: at most 1,000 types.
    pub types: Vec<TypeCountBody>,
    /// How many events of further types.
    #[serde(rename = "othertypes")]
    pub other_types: u64,
    /// How many of the events are not as their schema wants them now, whether or not publishing is held to it.
    pub failing: u64,
    /// The first of those, at most 20; none for who may not redrive to the subscription.
    pub failures: Vec<ReplayFailureBody>,
    /// Whether an endpoint would be called.
    #[serde(rename = "callsendpoint")]
    pub calls_endpoint: bool,
}

/// The events of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeCountBody {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many.
    pub events: u64,
}

/// An event that is not as its schema wants it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayFailureBody {
    /// Where it is.
    pub position: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong with it.
    pub detail: String,
}

fn beginning() -> StartAt {
    StartAt::Beginning
}

impl ReplayRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json` or `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        crate::problem::read_json(bytes, "an object with to, from, until and pattern")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_over_the_whole_log_as_fast_as_it_can_unless_it_says_otherwise() {
        let read = |text: &str| ReplayRequest::from_json(text.as_bytes()).unwrap();
        let plain = read(r#"{"to":"billing"}"#);
        assert_eq!((plain.from, plain.until), (StartAt::Beginning, StartAt::Now));
        assert!(plain.rate_per_second.is_none() && plain.speed.is_none() && !plain.webhooks && !plain.strict);
        let shadow = read(r#"{"to":"b","shadow":{"of":"billing"},"from":{"position":3},"pattern":{"type":["a"]}}"#);
        assert_eq!((shadow.shadow.unwrap().of.as_deref(), shadow.from), (Some("billing"), StartAt::Position(3)));
        assert_eq!(shadow.pattern.unwrap().get(), r#"{"type":["a"]}"#);
    }

    #[test]
    fn a_replay_that_makes_no_sense_is_refused() {
        for text in [
            "[]",
            "{}",
            r#"{"to":1}"#,
            r#"{"to":"b","from":{"position":-1}}"#,
            r#"{"to":"b","shadow":true}"#,
            r#"{"to":"b","x":1}"#,
        ] {
            assert_eq!(ReplayRequest::from_json(text.as_bytes()).unwrap_err().code, "invalid-request", "{text}");
        }
    }
}
