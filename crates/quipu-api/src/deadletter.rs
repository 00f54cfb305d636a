//! Dead letters as they are listed, shown and decided about.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Problem;

/// Longest reason of a discard, bytes: it stays in the log.
pub const REASON_BYTES_MAX: usize = 1_024;

/// A page of dead letters, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLettersPage {
    /// The dead letters.
    #[serde(rename = "deadletters")]
    pub dead_letters: Vec<DeadLetterBody>,
    /// Where the next page begins; null once the end was reached.
    pub cursor: Option<String>,
}

/// A delivery that was given up, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterBody {
    /// Its number.
    pub id: u64,
    /// Whose delivery it was.
    pub subscription: String,
    /// The event.
    pub position: u64,
    /// The event's `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why there was no further attempt.
    pub reason: DeadLetterReason,
    /// Attempts that were made.
    pub attempts: u32,
    /// When it was given up.
    pub time: String,
    /// The last error, its numbers replaced by `#`: the same for failures of the same kind.
    pub fingerprint: String,
    /// Whether later events of its key wait for a decision about it.
    #[serde(rename = "parkskey")]
    pub parks_key: bool,
    /// The dead letter that this delivery was redriven from: it failed again.
    #[serde(rename = "redrivenfrom", default, skip_serializing_if = "Option::is_none")]
    pub redriven_from: Option<u64>,
    /// The dead letter that this is an edited copy of.
    #[serde(rename = "copyof", default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<u64>,
    /// What became of it.
    pub state: DeadLetterWord,
    /// When that was decided; absent while it is open.
    #[serde(rename = "decidedtime", default, skip_serializing_if = "Option::is_none")]
    pub decided_time: Option<String>,
    /// The subscription that it was redriven to.
    #[serde(rename = "redrivento", default, skip_serializing_if = "Option::is_none")]
    pub redriven_to: Option<String>,
    /// Why it was discarded.
    #[serde(rename = "discardreason", default, skip_serializing_if = "Option::is_none")]
    pub discard_reason: Option<String>,
}

/// Why there was no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterReason {
    /// As many attempts failed as the retry policy allows.
    AttemptsExhausted,
    /// The delivery was older than the retry policy allows.
    TooOld,
    /// The consumer gave it up.
    GivenUpByConsumer,
    /// The endpoint is gone for good.
    EndpointGone,
    /// The transformation failed.
    TransformationFailed,
    /// An upcaster failed.
    UpcasterFailed,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeadLetterWord {
    /// Nothing yet.
    Open,
    /// It was delivered again.
    Redriven,
    /// Somebody decided that it need not be delivered.
    Discarded,
    /// It was kept as long as its subscription says.
    Expired,
}

/// Open dead letters, grouped; the largest group first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterGroupsAnswer {
    /// The groups.
    pub groups: Vec<DeadLetterGroupBody>,
    /// Whether there are more groups than were asked for.
    pub cut: bool,
}

/// Dead letters of one subscription and type that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterGroupBody {
    /// Whose deliveries.
    pub subscription: String,
    /// The events' `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The last error, its numbers replaced by `#`.
    pub fingerprint: String,
    /// How many.
    pub count: u64,
    /// The oldest of them.
    pub oldest: DeadLetterAt,
    /// The newest of them.
    pub newest: DeadLetterAt,
}

/// A dead letter's number and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterAt {
    /// Its number.
    pub id: u64,
    /// When it was given up.
    pub time: String,
}

/// A dead letter with all that is known of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterAnswer {
    /// It in short.
    #[serde(flatten)]
    pub dead_letter: DeadLetterBody,
    /// The event, or the edited copy of it; null if it cannot be read.
    #[schemars(with = "Option<crate::openapi::RecordedEvent>")]
    pub event: Option<Box<RawValue>>,
    /// The attempts, oldest first: the first one and the newest 19, if there were more.
    pub history: Vec<AttemptBody>,
    /// The replay that the delivery belonged to, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
}

/// One try that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptBody {
    /// Which one, from 1.
    pub number: u32,
    /// When it began.
    pub time: String,
    /// How long it took, milliseconds.
    #[serde(rename = "durationms")]
    pub duration_ms: u64,
    /// What went wrong.
    pub error: String,
    /// The HTTP status, if an endpoint answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the endpoint's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Body of a redrive.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// Another subscription to deliver it to; its own if not given. Not with `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// An edited copy of the event, delivered in its place to its own subscription. `position`, `streamversion` and
    /// `recordedtime` may be in it and say nothing: they are those of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::openapi::CloudEvent>")]
    pub event: Option<Box<RawValue>>,
}

/// Body of a discard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardRequest {
    /// Why it need not be delivered, 1 to 1,024 bytes.
    #[schemars(length(min = 1, max = REASON_BYTES_MAX))]
    pub reason: String,
}

/// Answer to a decision about a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedAnswer {
    /// The dead letter as it is now.
    #[serde(rename = "deadletter")]
    pub dead_letter: DeadLetterBody,
    /// The number of the edited copy, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<u64>,
}

impl RedriveRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, or `invalid-request` with the place.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let request: Self = crate::problem::read_json(bytes, "an object with to or event")?;
        if request.to.is_some() && request.event.is_some() {
            let detail = "expected to or event, found both: an edited copy goes to its own subscription only";
            return Err(Problem::pointer("/to", detail));
        }
        Ok(request)
    }
}

impl DiscardRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, or `invalid-request` with the place.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let request: Self = crate::problem::read_json(bytes, "an object with reason")?;
        request.check("/reason")?;
        Ok(request)
    }

    /// Whether the reason, which stands at that place, says something and not too much.
    pub(crate) fn check(&self, pointer: &str) -> Result<(), Problem> {
        let bytes = self.reason.trim().len();
        if bytes == 0 || self.reason.len() > REASON_BYTES_MAX {
            let detail = format!("expected a reason of 1 to {REASON_BYTES_MAX} bytes, found {bytes}");
            return Err(Problem::pointer(pointer, detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_copy_goes_nowhere_else() {
        assert!(RedriveRequest::from_json(b"{}").is_ok());
        assert!(RedriveRequest::from_json(br#"{"to":"other"}"#).is_ok());
        assert!(RedriveRequest::from_json(br#"{"event":{"id":"1"}}"#).is_ok());
        let both = RedriveRequest::from_json(br#"{"to":"other","event":{}}"#).unwrap_err();
        assert_eq!(both.members["pointer"], "/to");
    }

    #[test]
    fn a_discard_says_why() {
        assert!(DiscardRequest::from_json(br#"{"reason":"a test order"}"#).is_ok());
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(REASON_BYTES_MAX + 1));
        for text in [r#"{"reason":""}"#, r#"{"reason":"  "}"#, &long] {
            assert_eq!(DiscardRequest::from_json(text.as_bytes()).unwrap_err().members["pointer"], "/reason");
        }
        assert_eq!(DiscardRequest::from_json(b"{}").unwrap_err().code, "invalid-request");
    }
}
