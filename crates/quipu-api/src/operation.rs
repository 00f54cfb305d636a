//! Operations on many dead letters or instances, and replays, as they are previewed, tracked and listed. The catalogue knows another kind of
//! operation: what a user can do at all.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::deadletter::{DeadLetterBody, DiscardRequest};
use crate::intervention::InterventionWork;
use crate::parameter::{number, once};
use crate::replay::{ReplayBody, ReplayWork};
use crate::request::{limit, pairs, unknown};
use crate::{Code, Problem};

/// Most dead letters of one operation.
pub const OPERATION_IDS_MAX: usize = 1_000_000;

/// Body of a preview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// What to do to each dead letter.
    pub work: WorkBody,
    /// Which dead letters; those that are decided about are left out.
    pub select: SelectBody,
    /// At most so many a second; as fast as possible if not given.
    #[serde(rename = "ratepersecond", default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
}

/// What an operation does: to each dead letter or instance, or with a range of the log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkBody {
    /// Delivers the event once more.
    Redrive(RedriveWork),
    /// Decides that it need not be delivered.
    Discard(DiscardRequest),
    /// Delivers events of the log once more; previewed by `POST /v1/replays`.
    Replay(ReplayWork),
    /// Intervenes in instances; previewed by `POST /v1/saga-operations`.
    Saga(InterventionWork),
}

/// Where a redrive goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveWork {
    /// Another subscription to deliver to; its own if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Which dead letters: these, or all open ones that match every given member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectBody {
    /// Exactly these, at most 1,000,000. Not with the other members.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded_ids")]
    #[schemars(with = "Option<Vec<u64>>")]
    pub ids: Option<Vec<u64>>,
    /// Whose deliveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Events of exactly this type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Failures of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// An operation and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationAnswer {
    /// Its number.
    pub id: u64,
    /// Where it is in its life.
    pub state: OperationWord,
    /// What it does.
    pub work: WorkBody,
    /// At most so many a second; absent if as fast as possible.
    #[serde(rename = "ratepersecond", default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Dead letters, instances, or events of a replay, in all, exactly.
    pub total: u64,
    /// Those that were looked at, refused ones included; of a replay those whose delivery is over.
    pub done: u64,
    /// Those that could not be done: somebody was faster, or what they need is gone. Of a replay those that became dead letters or
    /// were forgotten.
    pub refused: u64,
    /// When it was previewed or, once confirmed, begun.
    pub time: String,
    /// When it ended; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Seconds until it ends at its rate, or as a replay went lately; null without either, and when it has ended.
    #[serde(rename = "remainingseconds")]
    pub remaining_seconds: Option<u64>,
    /// Why it could not go on the last time; absent if it could. It is tried again, after 0.1 to 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How far it is, if it is a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayBody>,
}

/// Where an operation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationWord {
    /// It was counted and waits for somebody to confirm it.
    Previewed,
    /// It is at work.
    Running,
    /// Every dead letter or instance was looked at.
    Finished,
    /// Somebody ended it before that; what was done stays done.
    Cancelled,
}

/// Answer to a preview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewAnswer {
    /// The operation. Nothing is done yet.
    #[serde(flatten)]
    pub operation: OperationAnswer,
    /// Until when it can be confirmed.
    #[serde(rename = "confirmbefore")]
    pub confirm_before: String,
    /// The first of the dead letters, at most five.
    pub sample: Vec<DeadLetterBody>,
}

/// The operations that are known, the newest first: at most 100, the oldest that ended are forgotten first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationsAnswer {
    /// The operations.
    pub operations: Vec<OperationAnswer>,
}

/// A page of what became of the dead letters or instances of an operation, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemsAnswer {
    /// The dead letters or instances.
    pub items: Vec<ItemBody>,
    /// The `from` of the next page; null once the end was reached.
    pub next: Option<u64>,
}

/// What became of one dead letter or instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemBody {
    /// Its number.
    pub id: u64,
    /// What became of it.
    pub outcome: ItemWord,
    /// Why it was refused; kept of the first 1,000 of an operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of one dead letter or instance of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemWord {
    /// It was not its turn yet.
    Waiting,
    /// It was done.
    Done,
    /// It could not be done.
    Refused,
}

/// Which items of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemsRequest {
    /// The first one, counted from 0.
    pub from: u64,
    /// Most items on the page, if a number was given.
    pub limit: Option<usize>,
}

impl PreviewRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, `invalid-request` with the place, or `invalid-operation` for more numbers than one takes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let request: Self = crate::problem::read_json(bytes, "an object with work, select and ratepersecond")?;
        if let WorkBody::Discard(discard) = &request.work {
            discard.check("/work/discard/reason")?;
        }
        let elsewhere = match &request.work {
            WorkBody::Redrive(_) | WorkBody::Discard(_) => None,
            WorkBody::Replay(_) => Some("found replay; a replay is previewed by POST /v1/replays"),
            WorkBody::Saga(_) => Some("found saga; an act on instances is previewed by POST /v1/saga-operations"),
        };
        if let Some(found) = elsewhere {
            return Err(Problem::pointer("/work", format!("expected redrive or discard, {found}")));
        }
        let SelectBody { ids, subscription, kind, fingerprint } = &request.select;
        let Some(ids) = ids else { return Ok(request) };
        if [subscription, kind, fingerprint].into_iter().any(Option::is_some) {
            let detail = "expected ids, or any of subscription, type and fingerprint, found both";
            return Err(Problem::pointer("/select", detail));
        }
        if ids.len() > OPERATION_IDS_MAX {
            let detail = format!("expected at most {OPERATION_IDS_MAX} items; select fewer");
            let problem = Problem::new(Code::InvalidOperation, detail);
            return Err(problem.with("pointer", "/select/ids").with("limit", OPERATION_IDS_MAX));
        }
        Ok(request)
    }
}

impl ItemsRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut from, mut most) = (None, None);
        for (name, value) in pairs(query) {
            match name.as_ref() {
                "from" => once(&name, &mut from, number(&name, &value)?)?,
                "limit" => once(&name, &mut most, limit(&name, &value)?)?,
                _ => return Err(unknown(&name, "from or limit")),
            };
        }
        Ok(Self { from: from.unwrap_or(0), limit: most })
    }
}

/// Not derived: serde takes an object without a member, or with two, for malformed JSON.
impl<'de> Deserialize<'de> for WorkBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members {
            redrive: Option<RedriveWork>,
            discard: Option<DiscardRequest>,
            replay: Option<ReplayWork>,
            saga: Option<InterventionWork>,
        }
        match Members::deserialize(deserializer)? {
            Members { redrive: Some(redrive), discard: None, replay: None, saga: None } => Ok(Self::Redrive(redrive)),
            Members { redrive: None, discard: Some(discard), replay: None, saga: None } => Ok(Self::Discard(discard)),
            Members { redrive: None, discard: None, replay: Some(replay), saga: None } => Ok(Self::Replay(replay)),
            Members { redrive: None, discard: None, replay: None, saga: Some(saga) } => Ok(Self::Saga(saga)),
            _ => Err(serde::de::Error::custom("expected work to be either redrive or discard")),
        }
    }
}

/// One number more than may be, at most: the rest of a list that is too long takes no memory.
fn bounded_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u64>>, D::Error> {
    struct Ids;
    impl<'de> Visitor<'de> for Ids {
        type Value = Vec<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of numbers of dead letters")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut ids = Vec::new();
            while ids.len() <= OPERATION_IDS_MAX {
                let Some(id) = list.next_element()? else { return Ok(ids) };
                ids.push(id);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(ids)
        }
    }
    deserializer.deserialize_seq(Ids).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Problem {
        PreviewRequest::from_json(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn a_preview_says_what_is_done_to_which() {
        let read = |text: &str| PreviewRequest::from_json(text.as_bytes()).unwrap();
        let all = read(r#"{"work":{"redrive":{}},"select":{}}"#);
        assert_eq!((all.work, all.select), (WorkBody::Redrive(RedriveWork::default()), SelectBody::default()));
        let some = read(r#"{"work":{"discard":{"reason":"x"}},"select":{"ids":[3,1]},"ratepersecond":2.5}"#);
        assert_eq!((some.select.ids, some.rate_per_second), (Some(vec![3, 1]), Some(2.5)));
    }

    #[test]
    fn a_preview_that_says_too_little_or_too_much_is_refused() {
        for text in [
            "[]",
            "{}",
            r#"{"work":{"redrive":{}}}"#,
            r#"{"work":{},"select":{}}"#,
            r#"{"work":{"redrive":{},"discard":{"reason":"x"}},"select":{}}"#,
            r#"{"work":{"delete":{}},"select":{}}"#,
            r#"{"work":{"redrive":{"event":{}}},"select":{}}"#,
            r#"{"work":{"redrive":{}},"select":{"state":"all"}}"#,
            r#"{"work":{"redrive":{}},"select":{"ids":[-1]}}"#,
            r#"{"work":{"redrive":{}},"select":{"ids":"1"}}"#,
            r#"{"work":{"redrive":{}},"select":{},"ratepersecond":"1"}"#,
        ] {
            assert_eq!(refused(text).code, "invalid-request", "{text}");
        }
        let both = refused(r#"{"work":{"redrive":{}},"select":{"ids":[1],"type":"t"}}"#);
        assert_eq!(both.members["pointer"], "/select");
        let blank = refused(r#"{"work":{"discard":{"reason":" "}},"select":{}}"#);
        assert_eq!(blank.members["pointer"], "/work/discard/reason");
    }

    #[test]
    fn more_numbers_than_one_operation_takes_are_refused() {
        let list = |count: usize| vec!["7"; count].join(",");
        let body = |count| format!(r#"{{"work":{{"redrive":{{}}}},"select":{{"ids":[{}]}}}}"#, list(count));
        assert!(PreviewRequest::from_json(body(OPERATION_IDS_MAX).as_bytes()).is_ok());
        let problem = refused(&body(OPERATION_IDS_MAX + 9));
        assert_eq!(
            (problem.code.as_str(), &problem.members["limit"]),
            ("invalid-operation", &OPERATION_IDS_MAX.into())
        );
    }

    #[test]
    fn items_are_asked_for_by_number() {
        let read = ItemsRequest::from_query;
        assert_eq!(read("").unwrap(), ItemsRequest::default());
        assert_eq!(read("from=10&limit=5").unwrap(), ItemsRequest { from: 10, limit: Some(5) });
        for query in ["from=-1", "from=x", "limit=0", "limit=10001", "from=1&from=2", "cursor=1"] {
            assert_eq!(read(query).unwrap_err().code, "invalid-parameter", "{query}");
        }
    }
}
