//! Timers: events that are published later, as they are set, listed and cancelled.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use quipu_domain::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cursor::Cursor;
use crate::{Code, Place, Problem, Scheduled};

/// Body of `POST /v1/timers`, and a timer of an append: an event, and when it is published: either `at` or `afterms`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTimerRequest {
    /// A name for it, 1 to 512 bytes: whoever has it can cancel the timer without its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When the clock is to show this time (RFC 3339), at most ten years ahead; at once, if it is past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// After so many milliseconds; no later, if the clock is set back meanwhile.
    #[serde(rename = "afterms", default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// Whether it takes the place of a timer with the same key; if not, that is a refusal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// The event, without `deliverat`.
    #[schemars(with = "crate::openapi::CloudEvent")]
    pub event: Box<RawValue>,
}

/// When a timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When the clock shows this time.
    At(Timestamp),
    /// After so many milliseconds.
    AfterMs(u64),
}

/// Which timer an append cancels: either `timer` or `key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {
    /// The one with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<u64>,
    /// The one with this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Answer to a timer that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TimerAnswer {
    /// It waits.
    Waits(Scheduled),
    /// It has fired, or its event was recorded otherwise: here.
    Recorded(RecordedBefore),
}

/// Where an event is that was recorded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedBefore {
    /// Its place.
    #[serde(flatten)]
    pub place: Place,
    /// Always `true`.
    pub duplicate: bool,
}

/// A timer that waits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimerBody {
    /// Its number.
    pub timer: u64,
    /// The name by which it can be cancelled, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it fires.
    pub due: String,
    /// When it was set.
    pub set: String,
    /// The `type` of its event.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event; absent for who may not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::openapi::CloudEvent>")]
    pub event: Option<Box<RawValue>>,
}

/// A page of timers that wait, those first that fire first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimersPage {
    /// The timers.
    pub timers: Vec<TimerBody>,
    /// How many wait in all.
    pub total: u64,
    /// Where the next page begins; null once the end was reached.
    pub cursor: Option<String>,
}

/// Answer to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelledTimerAnswer {
    /// The number of the timer, which does not fire any more.
    pub timer: u64,
}

impl SetTimerRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        crate::problem::read_json(bytes, "an object with event, and at or afterms")
    }

    /// When it fires.
    ///
    /// # Errors
    /// `invalid-timer`, with the place in this object.
    pub fn when(&self) -> Result<When, Problem> {
        match (&self.at, self.after_ms) {
            (Some(at), None) => match Timestamp::parse(at) {
                Some(at) => Ok(When::At(at)),
                None => {
                    let found = crate::problem::clip(at);
                    let detail = format!("expected an RFC 3339 date-time such as 2026-01-31T09:30:00Z, found {found}");
                    Err(invalid("/at", detail))
                }
            },
            (None, Some(after_ms)) => Ok(When::AfterMs(after_ms)),
            (Some(_), Some(_)) => Err(invalid("/afterms", "expected at or afterms, found both")),
            (None, None) => Err(invalid("/at", "expected at or afterms, found neither")),
        }
    }
}

impl When {
    /// The member that says it.
    pub fn pointer(self) -> &'static str {
        match self {
            Self::At(_) => "/at",
            Self::AfterMs(_) => "/afterms",
        }
    }
}

impl CancelBody {
    /// That exactly one timer is meant.
    ///
    /// # Errors
    /// `invalid-request`.
    pub(crate) fn check(&self, index: usize) -> Result<(), Problem> {
        match self.timer.is_some() != self.key.is_some() {
            true => Ok(()),
            false => Err(Problem::pointer(format!("/cancel/{index}"), "expected either timer or key")),
        }
    }
}

/// `invalid-timer`, about one place in the timer.
pub fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidTimer, detail).with("pointer", pointer)
}

const CURSOR_VERSION: u8 = 1;

/// The cursor of the page behind a timer: a version, when that fires, and its number, in base64url. Timers come and go between two
/// pages, and these keep their order.
pub fn cursor_behind(due: Timestamp, timer: u64) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(&due.0.to_le_bytes());
    bytes.extend_from_slice(&timer.to_le_bytes());
    BASE64URL.encode(bytes)
}

/// The timer behind which a page begins.
///
/// # Errors
/// `invalid-cursor`.
pub fn behind(cursor: &str) -> Result<(Timestamp, u64), Problem> {
    let bytes = BASE64URL.decode(cursor).ok().and_then(|bytes| <[u8; 17]>::try_from(bytes).ok());
    let Some([CURSOR_VERSION, rest @ ..]) = bytes else { return Err(Cursor::unread()) };
    let number = |at: usize| <[u8; 8]>::try_from(&rest[at..at + 8]).expect("it has 16 bytes");
    Ok((Timestamp(i64::from_le_bytes(number(0))), u64::from_le_bytes(number(8))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_timer_says_in_one_way_when() {
        let when = |members: &str| {
            let request = SetTimerRequest::from_json(format!("{{{members}\"event\":{{}}}}").as_bytes());
            request.unwrap().when().map_err(|problem| (problem.code, problem.members["pointer"].clone()))
        };
        let refused = |pointer: &str| Err(("invalid-timer".to_owned(), pointer.into()));
        assert_eq!(when(r#""at":"1970-01-01T00:00:01Z","#), Ok(When::At(Timestamp(1_000_000))));
        assert_eq!(when(r#""afterms":0,"#), Ok(When::AfterMs(0)));
        assert_eq!(when(""), refused("/at"));
        assert_eq!(when(r#""at":"tomorrow","#), refused("/at"));
        assert_eq!(when(r#""at":"1970-01-01T00:00:01Z","afterms":5,"#), refused("/afterms"));
        for body in [r#"{"at":"1970-01-01T00:00:01Z"}"#, r#"{"afterms":-1,"event":{}}"#, r#"{"event":{},"in":5}"#] {
            assert_eq!(SetTimerRequest::from_json(body.as_bytes()).unwrap_err().code, "invalid-request", "{body}");
        }
    }

    #[test]
    fn an_answer_says_whether_the_timer_waits_or_where_its_event_is() {
        for text in [
            r#"{"timer":7,"due":"2026-01-31T09:30:00.000Z","duplicate":false}"#,
            r#"{"position":3,"streamversion":1,"duplicate":true}"#,
            r#"{"position":3,"duplicate":true}"#,
        ] {
            let answer: TimerAnswer = serde_json::from_str(text).unwrap();
            assert_eq!(matches!(answer, TimerAnswer::Waits(_)), text.contains("timer"), "{text}");
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn a_cursor_leads_on_behind_a_timer(due: i64, timer: u64) {
            prop_assert_eq!(behind(&cursor_behind(Timestamp(due), timer)), Ok((Timestamp(due), timer)));
        }

        #[test]
        fn any_text_is_refused_or_read_but_never_panics(text in ".{0,30}") {
            let _ = behind(&text);
        }
    }
}
