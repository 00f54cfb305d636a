//! A subscription as its owner describes it: which events, in which order, how fast, how often, and what becomes of those
//! that fail. The JSON form is public and is what the log keeps.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::delivery::{RateLimit, RetryPolicy, Rules};
use crate::event::{DataForm, check_name};
use crate::schema::SchemaVersion;

/// Longest name.
const NAME_BYTES_MAX: usize = 128;
/// A consumer that needs longer extends: an hour would leave a dead one unnoticed for as long.
pub(crate) const ACK_DEADLINE_MS_MAX: u64 = 60 * 60 * 1_000;
/// Deliveries in flight are kept in memory, about 200 bytes each.
pub(crate) const IN_FLIGHT_MAX: u32 = 10_000;
/// Longest retention of dead letters, and longest time of tries: whoever needs longer means no limit.
const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;
/// Longest path to a key.
const KEY_BYTES_MAX: usize = 256;
/// Longest reason of a pause.
pub const REASON_BYTES_MAX: usize = 512;

/// A durable, named follower that delivers to somebody.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subscription {
    /// Which events: an EventBridge event pattern. All without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub pattern: Option<Box<RawValue>>,
    /// Where it begins; only when it is made.
    #[serde(default)]
    pub start: StartAt,
    /// Which events wait for each other.
    #[serde(default)]
    pub ordering: Ordering,
    /// With ordering per key: where the key stands. `subject`, another attribute, or a path into the data such as
    /// `data.customer.id`. Events without it wait for nobody.
    #[serde(default = "subject")]
    pub key: String,
    /// Deliveries that may be with consumers at once; 1 to 10,000.
    #[serde(rename = "maxinflight", default = "max_in_flight")]
    pub max_in_flight: u32,
    /// How long a consumer has to answer, milliseconds; 1 to 3,600,000.
    #[serde(rename = "ackdeadlinems", default = "ack_deadline_ms")]
    pub ack_deadline_ms: u64,
    /// When failed deliveries are tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// How many deliveries a second; as many as are taken without it.
    #[serde(rename = "ratelimit", default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What becomes of deliveries that are given up.
    #[serde(rename = "deadletter", default)]
    pub dead_letter: DeadLetterPolicy,
    /// In which version of its schema an event is delivered: `stored`, `newest` or a number. The pattern is asked of the event
    /// in that version; the key is taken from the event as it was recorded. In another version than the stored one data is
    /// always what was sent.
    #[serde(rename = "schemaversion", default, skip_serializing_if = "SchemaVersion::is_stored")]
    pub schema_version: SchemaVersion,
    /// How data that is kept beside the log is delivered: as the reference to it, or as what was sent. A transformation always
    /// sees what was sent, and so do the pattern and the key.
    #[serde(default, skip_serializing_if = "DataForm::is_reference")]
    pub data: DataForm,
    /// What is delivered instead of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
    /// The endpoint that events are sent to. Without one, consumers fetch them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// Whether what the endpoint answers is appended: its subscriber decides commands. An answer is a JSON array of CloudEvents, of
    /// which `type` and `data` matter; they go to the command's stream if it still has the version that the header
    /// `quipu-stream-version` of the webhook said. Otherwise the command is delivered again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers: bool,
    /// Whether the outcome of every delivery is recorded as an event `quipu.delivery.*`.
    #[serde(rename = "reportsoutcomes", default)]
    pub reports_outcomes: bool,
    /// Whether it gets nothing by itself: only what replays deliver to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Whether deliveries are held back.
    #[serde(default)]
    pub paused: bool,
    /// Why they are, where nobody asked for it: the endpoint answered that it is gone. Ends with the pause. Kept with the
    /// definition in the log; no member of what clients send or are shown as one.
    #[serde(rename = "pausedreason", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub paused_reason: Option<String>,
}

/// Where a subscription begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StartAt {
    /// With the first event of the log.
    Beginning,
    /// With the next event.
    #[default]
    Now,
    /// With the event at this position.
    Position(u64),
    /// With the first event recorded at this time or later, RFC 3339; no time to come.
    Time(String),
}

/// Which events wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Ordering {
    /// Those of one key.
    #[default]
    #[serde(rename = "per-key")]
    PerKey,
    /// None.
    #[serde(rename = "none")]
    None,
    /// All.
    #[serde(rename = "strict")]
    Strict,
}

/// What becomes of deliveries that are given up. They are always kept as dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLetterPolicy {
    /// What the key of one does.
    #[serde(rename = "key")]
    pub on_key: OnGivenUp,
    /// How long dead letters are kept, milliseconds. 14 days by default.
    #[serde(rename = "retentionms")]
    pub retention_ms: u64,
}

/// What later events of the key do when one was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnGivenUp {
    /// Go on without it.
    #[default]
    Continue,
    /// Wait until somebody redrives or discards it.
    Park,
}

/// What is delivered instead of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Transform {
    /// The part of the event that a path names, such as `$.data.order`.
    Path(String),
    /// A template, filled from paths: an EventBridge input transformer.
    Template(Template),
    /// The first output of a jq expression over the event.
    Jq(String),
}

/// An EventBridge input transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Template {
    /// Name → path into the event.
    #[serde(default)]
    pub paths: std::collections::BTreeMap<String, String>,
    /// The text in which `<name>` stands for what the path found.
    pub template: String,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Push {
    /// Where events are sent: `https://` or `http://`.
    pub url: String,
    /// How the event is written, as the CloudEvents HTTP binding says.
    #[serde(default)]
    pub mode: PushMode,
    /// How long the endpoint has to answer, milliseconds; 1 to 60,000.
    #[serde(rename = "timeoutms", default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How many webhooks a second the endpoint takes. Subscriptions that push to the same scheme, host and port share one
    /// limit, the slowest of theirs.
    #[serde(rename = "ratelimit", default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What webhooks are signed with: `whsec_` and the base64 of 24 to 64 random bytes. Only ever given, never shown or
    /// recorded; made by the server without it.
    #[serde(default, skip_serializing)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("writeOnly" = true)))]
    pub secret: Option<WriteOnly>,
}

/// A text that is given and never shown: neither by `Debug` nor in JSON.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct WriteOnly(String);

impl WriteOnly {
    /// The text, for whoever it was meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for WriteOnly {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for WriteOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteOnly(…)")
    }
}

/// How a pushed event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PushMode {
    /// Attributes in `ce-` headers, data in the body.
    #[default]
    Binary,
    /// The whole event in the body.
    Structured,
}

fn subject() -> String {
    "subject".into()
}

fn max_in_flight() -> u32 {
    1_000
}

fn ack_deadline_ms() -> u64 {
    30_000
}

fn timeout_ms() -> u64 {
    15_000
}

impl Default for DeadLetterPolicy {
    fn default() -> Self {
        Self { on_key: OnGivenUp::Continue, retention_ms: 14 * 24 * 60 * 60 * 1_000 }
    }
}

impl Default for Subscription {
    fn default() -> Self {
        serde_json::from_str("{}").expect("every member has a default")
    }
}

/// Something in a subscription that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSubscription {
    /// Which member, as a JSON pointer; empty for the whole.
    pub pointer: Cow<'static, str>,
    /// What was expected and what was found.
    pub detail: String,
}

impl std::fmt::Display for InvalidSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.detail)
    }
}

impl std::error::Error for InvalidSubscription {}

/// Whether a name may be a subscription's: 1 to 128 of letters, digits, `-`, `_` and `.`, a letter or digit first.
pub fn is_subscription_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// Whether events may be ordered by it: what no event can bear would order nothing, and nobody would notice.
fn is_key(key: &str) -> bool {
    match key.split_once('.') {
        Some(("data", path)) => key.len() <= KEY_BYTES_MAX && !path.split('.').any(str::is_empty),
        Some(_) => false,
        None => check_name(key).is_ok(),
    }
}

impl Subscription {
    /// Checks every member but the pattern, the transformation and the endpoint's address, which have rules of their own.
    ///
    /// # Errors
    /// The first member that makes no sense.
    pub fn check(&self) -> Result<(), InvalidSubscription> {
        let within = |pointer: &'static str, value: u64, range: std::ops::RangeInclusive<u64>| {
            let detail = || format!("expected {} to {}, found {value}", range.start(), range.end());
            if range.contains(&value) {
                Ok(())
            } else {
                Err(InvalidSubscription { pointer: pointer.into(), detail: detail() })
            }
        };
        within("/maxinflight", self.max_in_flight.into(), 1..=IN_FLIGHT_MAX.into())?;
        within("/ackdeadlinems", self.ack_deadline_ms, 1..=ACK_DEADLINE_MS_MAX)?;
        within("/deadletter/retentionms", self.dead_letter.retention_ms, 1_000..=TEN_YEARS_MS)?;
        if let Some(push) = &self.push {
            within("/push/timeoutms", push.timeout_ms, 1..=60_000)?;
        }
        within("/retry/maxagems", self.retry.max_age_ms.unwrap_or(0), 0..=TEN_YEARS_MS)?;
        let reason_bytes = self.paused_reason.as_ref().map_or(0, String::len);
        if reason_bytes > REASON_BYTES_MAX {
            let detail = format!("expected at most {REASON_BYTES_MAX} bytes, found {reason_bytes}");
            return Err(InvalidSubscription { pointer: "/pausedreason".into(), detail });
        }
        if self.answers && self.push.is_none() {
            let detail = "expected an endpoint in push, whose answers are appended, found none".into();
            return Err(InvalidSubscription { pointer: "/answers".into(), detail });
        }
        let push_limit = self.push.as_ref().and_then(|push| push.rate_limit);
        if let Some(problem) = push_limit.and_then(|limit| limit.problem()) {
            return Err(InvalidSubscription { pointer: "/push/ratelimit".into(), detail: problem.to_owned() });
        }
        let invalid = |pointer: &'static str, detail: &str| {
            Err(InvalidSubscription { pointer: pointer.into(), detail: detail.to_owned() })
        };
        if !is_key(&self.key) {
            return invalid("/key", "expected subject, another attribute, or a path such as data.customer.id");
        }
        if let StartAt::Time(time) = &self.start
            && crate::Timestamp::parse(time).is_none()
        {
            return invalid("/start/time", "expected a time such as 2026-01-01T00:00:00Z");
        }
        match (self.retry.problem(), self.rate_limit.and_then(|limit| limit.problem())) {
            (Some(problem), _) => invalid("/retry", problem),
            (None, Some(problem)) => invalid("/ratelimit", problem),
            (None, None) => Ok(()),
        }
    }

    /// What deliveries are judged by.
    pub fn rules(&self) -> Rules {
        Rules {
            max_in_flight: self.max_in_flight as usize,
            ack_deadline_ms: self.ack_deadline_ms,
            retry: self.retry.clone(),
            is_strict: self.ordering == Ordering::Strict,
            parks_keys: self.dead_letter.on_key == OnGivenUp::Park,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_default_and_is_read_back() {
        let subscription = Subscription::default();
        subscription.check().unwrap();
        let text = serde_json::to_string(&subscription).unwrap();
        let again: Subscription = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (text, pointer) in [
            (r#"{"maxinflight":0}"#, "/maxinflight"),
            (r#"{"maxinflight":10001}"#, "/maxinflight"),
            (r#"{"ackdeadlinems":0}"#, "/ackdeadlinems"),
            (r#"{"key":""}"#, "/key"),
            (r#"{"key":"data..id"}"#, "/key"),
            (r#"{"key":"data"}"#, "/key"),
            (r#"{"key":"data."}"#, "/key"),
            (r#"{"key":"customer.id"}"#, "/key"),
            (r#"{"key":"customerId"}"#, "/key"),
            (r#"{"key":"customer id"}"#, "/key"),
            (r#"{"key":"$.data.id"}"#, "/key"),
            (r#"{"key":"specversion"}"#, "/key"),
            (r#"{"key":"recordedtime"}"#, "/key"),
            (r#"{"start":{"time":"yesterday"}}"#, "/start/time"),
            (r#"{"retry":{"maxattempts":0}}"#, "/retry"),
            (r#"{"retry":{"backoff":{"delaysms":[]}}}"#, "/retry"),
            (r#"{"retry":{"maxagems":315360000001}}"#, "/retry/maxagems"),
            (r#"{"retry":{"maxagems":9223372036854775808}}"#, "/retry/maxagems"),
            (r#"{"ratelimit":{"persecond":0,"burst":1}}"#, "/ratelimit"),
            (r#"{"deadletter":{"retentionms":1}}"#, "/deadletter/retentionms"),
            (r#"{"push":{"url":"https://a.example","timeoutms":0}}"#, "/push/timeoutms"),
            (r#"{"answers":true}"#, "/answers"),
            (r#"{"push":{"url":"https://a.example","ratelimit":{"persecond":0,"burst":1}}}"#, "/push/ratelimit"),
        ] {
            let subscription: Subscription = serde_json::from_str(text).unwrap();
            assert_eq!(subscription.check().unwrap_err().pointer, pointer, "{text}");
        }
        assert!(serde_json::from_str::<Subscription>(r#"{"maxInFlight":1}"#).is_err());
    }

    #[test]
    fn a_secret_is_read_and_never_written_or_shown() {
        let text = r#"{"push":{"url":"https://a.example","secret":"whsec_hunter2"}}"#;
        let subscription: Subscription = serde_json::from_str(text).unwrap();
        assert_eq!(subscription.push.as_ref().unwrap().secret.as_ref().unwrap().expose(), "whsec_hunter2");
        let written = format!("{subscription:?} {}", serde_json::to_string(&subscription).unwrap());
        assert!(written.contains("https://a.example") && !written.contains("hunter2"), "{written}");
    }

    #[test]
    fn a_key_is_an_attribute_or_a_path_into_the_data() {
        let (longest, path) = ("x".repeat(64), format!("data.{}", "x".repeat(251)));
        let of = |key: &str| Subscription { key: key.into(), ..Subscription::default() }.check();
        for key in ["subject", "type", "time", "dataschema", "user2", &longest, "data.Customer Id.ä-1", &path] {
            assert_eq!(of(key), Ok(()), "{key}");
        }
        for key in [format!("{longest}x"), format!("{path}x")] {
            assert_eq!(of(&key).unwrap_err().pointer, "/key", "{key}");
        }
    }

    #[test]
    fn a_reason_of_a_pause_is_short() {
        let reason = |bytes: usize| Some("x".repeat(bytes));
        let of = |bytes| Subscription { paused: true, paused_reason: reason(bytes), ..Subscription::default() };
        assert!(of(512).check().is_ok());
        assert_eq!(of(513).check().unwrap_err().pointer, "/pausedreason");
    }

    #[test]
    fn names_are_plain() {
        for name in ["a", "billing.v2", "9-x_y", &"x".repeat(128)] {
            assert!(is_subscription_name(name), "{name}");
        }
        for name in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(!is_subscription_name(name), "{name}");
        }
    }
}
