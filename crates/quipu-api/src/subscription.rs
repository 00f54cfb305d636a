//! Subscriptions as they are made, changed, moved, shown and explained. What a definition may say is a rule of
//! `quipu-domain`; here it is read so that a mistake is named by its place in the body.

use std::borrow::Cow;
use std::fmt;

use quipu_domain::{StartAt, Subscription};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Code, Problem};

/// Body of a creation: the name beside the members of the definition.
#[derive(Clone, Debug, Serialize)]
pub struct CreateSubscription {
    /// 1 to 128 letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub name: String,
    /// The definition.
    #[serde(flatten)]
    pub definition: Subscription,
}

/// A subscription and where it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionAnswer {
    /// Its name.
    pub name: String,
    /// Its definition, defaults written out: as it can be sent to change it.
    pub definition: Subscription,
    /// Why it is paused, where nobody asked for it: the endpoint answered that it is gone. Ends with the pause.
    #[serde(rename = "pausedreason", default, skip_serializing_if = "Option::is_none")]
    pub paused_reason: Option<String>,
    /// Every event up to here was looked at.
    pub position: u64,
    /// Its unfinished deliveries, by what they wait for.
    pub deliveries: DeliverySums,
    /// What happened since it was made.
    pub counts: DeliveryCounts,
    /// Dead letters that nobody decided about.
    #[serde(rename = "deadletters")]
    pub dead_letters: u64,
    /// The secret that was made for it, to verify webhooks with: told once, by the answer that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// How many deliveries wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliverySums {
    /// May be handed out, now or as soon as their key is free.
    pub ready: u64,
    /// Are with a consumer.
    #[serde(rename = "inflight")]
    pub in_flight: u64,
    /// Wait for their next attempt.
    pub waiting: u64,
    /// Wait for somebody to decide about a dead letter.
    pub parked: u64,
    /// Keys with unfinished deliveries.
    pub keys: u64,
}

/// What happened to deliveries since the subscription was made. A crash forgets what was counted in its last 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryCounts {
    /// Handed out, each attempt counted.
    #[serde(rename = "handedout")]
    pub handed_out: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Ended as dead letters.
    #[serde(rename = "deadlettered")]
    pub dead_lettered: u64,
    /// Expired before they were delivered.
    pub expired: u64,
}

/// Every subscription, by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionsAnswer {
    /// The subscriptions.
    pub subscriptions: Vec<SubscriptionAnswer>,
}

/// Answer to a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedAnswer {
    /// The name of what was deleted.
    pub deleted: String,
}

/// Body of a seek.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekRequest {
    /// Where to go on.
    pub to: StartAt,
    /// Only say what it would mean.
    #[serde(default)]
    pub preview: bool,
}

/// What a seek did, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeekAnswer {
    /// Whether this says only what would happen.
    pub preview: bool,
    /// Events that match and come again: the subscription was past them, or somebody was handed them and has not finished.
    /// Past it are also those before its start, behind an earlier seek, and those that an earlier pattern did not want. Null
    /// if they were not counted, as in the preview of one whose stored definition is not accepted any more: which events match
    /// is not known before it is changed.
    pub again: Option<u64>,
    /// Events that nobody was handed and that will not come; null if they were not counted.
    pub skipped: Option<u64>,
    /// Deliveries that will not come although they are unfinished and somebody was handed them, or are redriven: in flight,
    /// waiting for an attempt, or parked. Null if they were not counted.
    pub forgotten: Option<u64>,
    /// Every event up to here counts as looked at now.
    pub position: u64,
}

/// Why a subscription is not moving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainAnswer {
    /// Its name.
    pub name: String,
    /// The answer in one sentence.
    pub sentence: String,
    /// The same in data.
    #[serde(flatten)]
    pub standstill: StandstillBody,
    /// How far it is behind.
    pub lag: LagBody,
}

/// The first reason that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum StandstillBody {
    /// It is paused.
    Paused {
        /// Why, where nobody asked for it: the endpoint answered that it is gone.
        #[serde(rename = "pausedreason", default, skip_serializing_if = "Option::is_none")]
        paused_reason: Option<String>,
    },
    /// It is paused because its stored definition is not accepted any more: change it.
    DefinitionRefused {
        /// Which member, and why.
        why: String,
    },
    /// As many of its dead letters are open as may be: nothing is delivered before somebody decides about some.
    TooManyDeadLetters {
        /// How many are open.
        open: u64,
        /// How many may be.
        limit: u64,
    },
    /// Deliveries were given up whose dead letters are not written: nothing is delivered before the log takes them.
    DeadLettersUnwritten {
        /// How many there are.
        count: u64,
    },
    /// Its endpoint is not called now: it failed, its rate limit holds, or this server cannot push.
    EndpointHeld {
        /// Whether the endpoint is tried.
        circuit: crate::secret::CircuitWord,
        /// When it is tried next, if that is known.
        until: Option<String>,
    },
    /// The rate limit lets nothing go before this time.
    RateLimited {
        /// When the next may go.
        until: String,
    },
    /// It is behind, and moves: events were done with in the last 5 seconds, or consumers ask.
    CatchingUp {
        /// Events that are unfinished or that nobody has looked at; null if that is not known.
        events: Option<u64>,
        /// Events that it is done with in a second, finished or found not to match; null if that is not known.
        #[serde(rename = "persecond")]
        per_second: Option<f64>,
        /// When it is done with all at this pace, seconds from now; null if that is not known.
        #[serde(rename = "etaseconds")]
        eta_seconds: Option<u64>,
    },
    /// There is something to do, and no consumer waits for it or asked in the last 5 seconds.
    NobodyAsks {
        /// Deliveries that are ready.
        ready: u64,
        /// Events that nobody has looked at, and that may match.
        unseen: u64,
    },
    /// As many deliveries are with consumers as may be, or all there are, and none was answered lately.
    WaitingForAcks {
        /// How many.
        count: u64,
        /// The oldest of them, at most ten.
        deliveries: Vec<DueDelivery>,
    },
    /// What waits is due later.
    WaitingForRetry {
        /// The event that is next.
        position: u64,
        /// When it is tried.
        until: String,
        /// How many wait.
        count: u64,
    },
    /// Every event that waits belongs to a key that waits for a decision.
    KeyParked {
        /// The event that parks it.
        position: u64,
        /// Its dead letter.
        #[serde(rename = "deadletter")]
        dead_letter: u64,
    },
    /// All that matches is finished, and the events that came after it do not match.
    NoMatchSince {
        /// The last event that matches; if there was none, the position from which on events were looked at: after the
        /// subscription was made, sought or given another pattern, or the server started.
        position: u64,
        /// The newest position that was looked at.
        #[serde(rename = "lookedat")]
        looked_at: u64,
    },
    /// Everything is finished.
    Idle {
        /// The newest position that was looked at.
        position: u64,
    },
}

/// A delivery whose answer is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DueDelivery {
    /// The event.
    pub position: u64,
    /// When the answer is due.
    pub due: String,
}

/// How far a subscription is behind. What is not known is null, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LagBody {
    /// Matching events that are not finished; null while there are events that nobody has looked at.
    pub events: Option<u64>,
    /// Events that nobody has looked at, whether they match or not.
    pub unseen: u64,
    /// Age of the oldest event that is unfinished or was not looked at, seconds; null if it is not known.
    pub seconds: Option<f64>,
}

/// A member of definitions in the log that clients neither give nor are shown there.
const READ_ONLY: &str = "pausedreason";

/// The members of an object as their texts, each name once.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Members {
    fn read(bytes: &[u8]) -> Result<Self, Problem> {
        let read = crate::problem::read_json(bytes, "an object with the members of a subscription");
        let members: Self = read.map_err(|mut problem: Problem| {
            problem.detail = without_found(&problem.detail);
            problem
        })?;
        for (index, (name, _)) in members.0.iter().enumerate() {
            if members.0[..index].iter().any(|(other, _)| other == name) {
                return Err(invalid(&format!("/{name}"), format!("expected {name:?} once, found it twice")));
            }
        }
        Ok(members)
    }

    fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(at).1)
    }

    /// The definition that the members are. Each has a default, so a wrong one is found by reading it alone.
    fn definition(&self) -> Result<Subscription, Problem> {
        for member in &self.0 {
            let (name, pointer) = (member.0.as_str(), format!("/{}", member.0.replace('~', "~0").replace('/', "~1")));
            if name == READ_ONLY {
                let expected = "expected no pausedreason: it is the server's word, beside the definition";
                return Err(invalid(&pointer, expected));
            }
            serde_json::from_str::<Subscription>(&object(std::slice::from_ref(member))).map_err(|error| {
                // What a definition in the log has is not to be recommended.
                let text = without_place(&error).replace(&format!(", `{READ_ONLY}`"), "");
                let text = if name == "push" { without_found(&text) } else { text };
                invalid(&pointer, format!("expected a subscription: {text}"))
            })?;
        }
        serde_json::from_str(&object(&self.0)).map_err(|error| invalid("", error.to_string()))
    }
}

fn object(members: &[(String, Box<RawValue>)]) -> String {
    let name = |name: &str| serde_json::to_string(name).expect("a text is JSON");
    let members: Vec<_> = members.iter().map(|(n, value)| format!("{}:{}", name(n), value.get())).collect();
    format!("{{{}}}", members.join(","))
}

/// The place would be that in a text that nobody sent.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A message of serde without what was found, which may hold a secret: what is quoted first, up to what was expected.
fn without_found(text: &str) -> String {
    match (text.find(['"', '`']), text.rfind(", expected ")) {
        (Some(found), Some(expected)) if found < expected => {
            format!("{}{}", text[..found].trim_end(), &text[expected..])
        }
        _ => text.to_owned(),
    }
}

fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    let pointer: String = pointer.chars().take(200).collect();
    Problem::new(Code::InvalidSubscription, detail).with("pointer", pointer)
}

impl CreateSubscription {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, `invalid-request`, or `invalid-subscription` with the place.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let mut members = Members::read(bytes)?;
        let name = members.take("name").ok_or_else(|| invalid("/name", "expected a name, found none"))?;
        let name = serde_json::from_str(name.get());
        let name = name.map_err(|error| invalid("/name", format!("expected a name: {}", without_place(&error))))?;
        Ok(Self { name, definition: members.definition()? })
    }
}

/// Reads the definition of an existing subscription.
///
/// # Errors
/// `malformed-json`, `invalid-request`, or `invalid-subscription` with the place.
pub fn read_definition(bytes: &[u8]) -> Result<Subscription, Problem> {
    Members::read(bytes)?.definition()
}

impl SeekRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json` or `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        crate::problem::read_json(bytes, "an object with to and preview")
    }
}

impl JsonSchema for CreateSubscription {
    fn schema_name() -> Cow<'static, str> {
        "CreateSubscription".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Subscription::json_schema(generator);
        let name = serde_json::json!({ "type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" });
        if let Some(properties) = schema.get_mut("properties") {
            properties["name"] = name;
        }
        schema.insert("required".into(), serde_json::json!(["name"]));
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_is_written_and_read_again() {
        let text = r#"{"name":"billing","pattern":{"type":[{"prefix":"order."}]},"start":{"position":3}}"#;
        let read = CreateSubscription::from_json(text.as_bytes()).unwrap();
        assert_eq!((read.name.as_str(), &read.definition.start), ("billing", &StartAt::Position(3)));
        assert_eq!(read.definition.pattern.as_ref().unwrap().get(), r#"{"type":[{"prefix":"order."}]}"#);
        let written = serde_json::to_vec(&read).unwrap();
        let again = CreateSubscription::from_json(&written).unwrap();
        assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    }

    #[test]
    fn a_wrong_member_is_named_by_its_place() {
        for (text, code, pointer) in [
            (r#"{}"#, "invalid-subscription", "/name"),
            (r#"{"name":7}"#, "invalid-subscription", "/name"),
            (r#"{"name":"a","name":"b"}"#, "invalid-subscription", "/name"),
            (r#"{"name":"a","maxInFlight":1}"#, "invalid-subscription", "/maxInFlight"),
            (r#"{"name":"a","a/b":1}"#, "invalid-subscription", "/a~1b"),
            (r#"{"name":"a","maxinflight":-1}"#, "invalid-subscription", "/maxinflight"),
            (r#"{"name":"a","ordering":"sometimes"}"#, "invalid-subscription", "/ordering"),
            (r#"{"name":"a","retry":{"maxattempts":"3"}}"#, "invalid-subscription", "/retry"),
            (r#"{"name":"a","paused":true,"paused":false}"#, "invalid-subscription", "/paused"),
            (r#"{"name":"a","paused":true,"pausedreason":"x"}"#, "invalid-subscription", "/pausedreason"),
            (r#"[]"#, "invalid-request", ""),
            (r#"7"#, "invalid-request", ""),
        ] {
            let problem = CreateSubscription::from_json(text.as_bytes()).expect_err(text);
            assert_eq!((problem.code.as_str(), problem.members["pointer"].as_str()), (code, Some(pointer)), "{text}");
        }
        assert_eq!(CreateSubscription::from_json(b"{").unwrap_err().code, "malformed-json");
        assert_eq!(read_definition(br#"{"name":"a"}"#).unwrap_err().members["pointer"], "/name");
    }

    #[test]
    fn what_was_found_where_a_secret_may_stand_is_not_repeated() {
        for (text, detail) in [
            (r#""hunter2, expected \"x""#, "invalid type: string, expected an object at line"),
            (r#"{"push":"hunter2"}"#, "invalid type: string, expected struct Push"),
            (r#"{"push":{"hunter2":1}}"#, "unknown field, expected one of `url`"),
            (r#"{"push":{"url":"x","mode":"hunter2"}}"#, "unknown variant, expected `binary` or `structured`"),
            (r#"{"push":{"url":"x","timeoutms":"hunter2"}}"#, "invalid type: string, expected u64"),
            (r#"{"push":{"secret":"whsec_hunter2"}}"#, "missing field `url`"),
            (r#"{"hunter":1}"#, "unknown field `hunter`, expected one of"),
        ] {
            let problem = read_definition(text.as_bytes()).unwrap_err();
            assert!(problem.detail.contains(detail) && !problem.detail.contains("hunter2"), "{}", problem.detail);
            assert!(!problem.detail.contains("pausedreason"), "{}", problem.detail);
        }
    }

    #[test]
    fn a_seek_says_where_to() {
        for (text, to) in [
            (r#"{"to":"beginning"}"#, StartAt::Beginning),
            (r#"{"to":"now","preview":true}"#, StartAt::Now),
            (r#"{"to":{"position":7}}"#, StartAt::Position(7)),
            (r#"{"to":{"time":"2026-01-31T09:30:00Z"}}"#, StartAt::Time("2026-01-31T09:30:00Z".into())),
        ] {
            assert_eq!(SeekRequest::from_json(text.as_bytes()).unwrap().to, to);
        }
        assert!(SeekRequest::from_json(b"{}").is_err());
        assert!(SeekRequest::from_json(br#"{"to":"soon"}"#).is_err());
    }
}
