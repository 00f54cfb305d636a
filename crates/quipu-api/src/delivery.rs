//! Deliveries as consumers fetch and answer them, over HTTP and WebSocket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Problem;

/// Most deliveries of one pull.
pub const PULL_MAX: u32 = 1_000;
/// How long a pull may wait for a delivery, milliseconds. Proxies close what is silent for 30 to 60 seconds.
pub const PULL_WAIT_MS_MAX: u64 = 30_000;
/// Most answers of one request or frame: as many as can be in flight.
pub const ANSWERS_MAX: usize = 10_000;
/// Longest delay that a nack may ask for, milliseconds: 7 days, as in a retry policy.
pub const DELAY_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Longest time that an extension may ask for, milliseconds: an hour, as in an ack deadline.
pub const EXTEND_MS_MAX: u64 = 60 * 60 * 1_000;
/// Most subscriptions that one WebSocket consumes.
pub const CONSUMED_MAX: usize = 16;
/// Most credits that a consumed subscription has at once: as many deliveries as can be in flight.
pub const CREDITS_MAX: u32 = 10_000;

/// Body of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Most deliveries to hand out, 1 to 1,000; 100 if not given.
    #[serde(default = "max_default")]
    #[schemars(range(min = 1, max = PULL_MAX))]
    pub max: u32,
    /// How long to wait for the first one, milliseconds, 0 to 30,000; 0 if not given.
    #[serde(rename = "waitms", default)]
    #[schemars(range(max = PULL_WAIT_MS_MAX))]
    pub wait_ms: u64,
}

/// What a pull handed out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PullAnswer {
    /// The deliveries, in the order in which those of one key are to be answered. None if there was none in time.
    pub deliveries: Vec<Delivery>,
}

/// An event on its way to a consumer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// The CloudEvent as it was recorded, with `position` and `recordedtime`; or its edited copy. Absent if the
    /// subscription transforms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::openapi::RecordedEvent>")]
    pub event: Option<Box<RawValue>>,
    /// What the subscription's transformation made of it: JSON, or a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub transformed: Option<Box<RawValue>>,
    /// What the answer needs.
    pub delivery: DeliveryHandle,
    /// Beside `transformed`: the event that it was made of, as `event` has it, but without its data and what says of
    /// which kind that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::openapi::RecordedEvent>")]
    pub attributes: Option<Box<RawValue>>,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryHandle {
    /// The event.
    pub position: u64,
    /// The dead letter that it was redriven from, if it was.
    #[serde(rename = "deadletter", default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// The replay that it belongs to, if it does: the number of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
    /// Names the attempt; the answer carries it.
    pub token: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When the answer is due.
    pub deadline: String,
    /// The same for every attempt: a handler that has recorded it has processed this event. Each replay has keys of its own.
    #[serde(rename = "idempotencykey")]
    pub idempotency_key: String,
    /// Names the key that it waits for others by: deliveries with the same one are processed one after the other. Absent
    /// if it waits for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it comes out of a dead letter, and so out of order (but for that of a parked key).
    pub redriven: bool,
}

/// Body of answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswersRequest {
    /// 1 to 10,000 answers, taken in this order; those of one key in the order in which it was handed out.
    #[schemars(length(min = 1, max = ANSWERS_MAX))]
    pub answers: Vec<AnswerBody>,
}

/// What became of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// The event.
    pub position: u64,
    /// As in the delivery.
    #[serde(rename = "deadletter", default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// As in the delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
    /// As in the delivery.
    pub token: String,
    /// What became of it.
    pub outcome: AnswerOutcome,
    /// With `nack`: when to try again, milliseconds from now, at most 7 days; as the retry policy says if not given.
    #[serde(rename = "delayms", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = DELAY_MS_MAX))]
    pub delay_ms: Option<u64>,
    /// With `extend`: how long the consumer needs from now on, milliseconds, 1 to 3,600,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = EXTEND_MS_MAX))]
    pub ms: Option<u64>,
    /// With `nack` and `giveup`: what went wrong; the first 512 bytes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a delivery, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerOutcome {
    /// It was processed.
    Ack,
    /// It was not, and is to be tried again.
    Nack,
    /// It needs more time.
    Extend,
    /// Trying again is of no use: it becomes a dead letter.
    GiveUp,
    /// It goes back without having been tried, with what came behind it in its key: no attempt is counted.
    Release,
}

/// What became of answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnswersAnswer {
    /// How many were taken.
    pub done: u64,
    /// How many were not.
    pub refused: u64,
    /// One result an answer, in order.
    pub results: Vec<AnswerResult>,
}

/// What became of one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum AnswerResult {
    /// It was taken.
    Done,
    /// It was not.
    Refused {
        /// Why.
        error: Problem,
    },
}

fn max_default() -> u32 {
    100
}

impl Default for PullRequest {
    fn default() -> Self {
        Self { max: max_default(), wait_ms: 0 }
    }
}

impl PullRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, or `invalid-request` with the place.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let request: Self = crate::problem::read_json(bytes, "an object with max and waitms")?;
        within("/max", request.max.into(), 1, PULL_MAX.into())?;
        within("/waitms", request.wait_ms, 0, PULL_WAIT_MS_MAX)?;
        Ok(request)
    }
}

impl AnswersRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, or `invalid-request` with the place.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let request: Self = crate::problem::read_json(bytes, "an object with answers")?;
        check_answers(&request.answers, "")?;
        Ok(request)
    }
}

/// Checks answers that stand behind this pointer.
///
/// # Errors
/// `invalid-request` with the place of the first that is wrong.
pub fn check_answers(answers: &[AnswerBody], pointer: &str) -> Result<(), Problem> {
    let pointer = format!("{pointer}/answers");
    if answers.is_empty() || answers.len() > ANSWERS_MAX {
        let detail = format!("expected 1 to {ANSWERS_MAX} answers, found {}", answers.len());
        return Err(Problem::pointer(pointer, detail));
    }
    answers.iter().enumerate().try_for_each(|(index, answer)| answer.check(&format!("{pointer}/{index}")))
}

impl AnswerBody {
    /// A member that does not belong to the outcome is refused: whoever sends it means something else.
    fn check(&self, pointer: &str) -> Result<(), Problem> {
        let outcome = self.outcome;
        let only = |name: &str, is_there: bool, outcomes: &[AnswerOutcome], words: &str| {
            if is_there && !outcomes.contains(&outcome) {
                return Err(Problem::pointer(
                    format!("{pointer}/{name}"),
                    format!("expected {name} with {words} only, found it with another outcome"),
                ));
            }
            Ok(())
        };
        only("delayms", self.delay_ms.is_some(), &[AnswerOutcome::Nack], "nack")?;
        only("ms", self.ms.is_some(), &[AnswerOutcome::Extend], "extend")?;
        only("error", self.error.is_some(), &[AnswerOutcome::Nack, AnswerOutcome::GiveUp], "nack and giveup")?;
        within(&format!("{pointer}/delayms"), self.delay_ms.unwrap_or(0), 0, DELAY_MS_MAX)?;
        match (outcome, self.ms) {
            (AnswerOutcome::Extend, None) => {
                Err(Problem::pointer(format!("{pointer}/ms"), "expected ms with extend, found none"))
            }
            (_, ms) => within(&format!("{pointer}/ms"), ms.unwrap_or(1), 1, EXTEND_MS_MAX),
        }
    }
}

fn within(pointer: &str, value: u64, least: u64, most: u64) -> Result<(), Problem> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Problem::pointer(pointer, format!("expected a number from {least} to {most}, found {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_has_defaults_and_limits() {
        assert_eq!(PullRequest::from_json(b"{}").unwrap(), PullRequest::default());
        let request = PullRequest::from_json(br#"{"max":1000,"waitms":30000}"#).unwrap();
        assert_eq!((request.max, request.wait_ms), (PULL_MAX, PULL_WAIT_MS_MAX));
        for (text, pointer) in [
            (r#"{"max":0}"#, "/max"),
            (r#"{"max":1001}"#, "/max"),
            (r#"{"waitms":30001}"#, "/waitms"),
            (r#"{"max":-1}"#, ""),
            (r#"{"most":1}"#, ""),
            (r#"[]"#, ""),
        ] {
            let problem = PullRequest::from_json(text.as_bytes()).expect_err(text);
            assert_eq!((problem.code.as_str(), &problem.members["pointer"]), ("invalid-request", &pointer.into()));
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_named_by_its_place() {
        let of = |members: &str| {
            let text = format!(r#"{{"answers":[{{"position":1,"token":"a",{members}}}]}}"#);
            AnswersRequest::from_json(text.as_bytes())
        };
        for good in [
            r#""outcome":"ack""#,
            r#""outcome":"nack""#,
            r#""outcome":"nack","delayms":0,"error":"busy""#,
            r#""outcome":"extend","ms":3600000"#,
            r#""outcome":"giveup","error":"no such order","deadletter":3"#,
            r#""outcome":"release""#,
        ] {
            assert!(of(good).is_ok(), "{good}");
        }
        for (bad, pointer) in [
            (r#""outcome":"ack","delayms":1"#, "/answers/0/delayms"),
            (r#""outcome":"ack","error":"x""#, "/answers/0/error"),
            (r#""outcome":"release","delayms":1"#, "/answers/0/delayms"),
            (r#""outcome":"nack","ms":1"#, "/answers/0/ms"),
            (r#""outcome":"nack","delayms":604800001"#, "/answers/0/delayms"),
            (r#""outcome":"extend""#, "/answers/0/ms"),
            (r#""outcome":"extend","ms":0"#, "/answers/0/ms"),
            (r#""outcome":"extend","ms":3600001"#, "/answers/0/ms"),
            (r#""outcome":"maybe""#, ""),
        ] {
            assert_eq!(of(bad).expect_err(bad).members["pointer"], pointer, "{bad}");
        }
        assert_eq!(AnswersRequest::from_json(br#"{"answers":[]}"#).unwrap_err().members["pointer"], "/answers");
    }
}
