//! The append: several events to several streams, all or nothing, under conditions. The request is read in two
//! steps, so that a mistake is named by its place in the body (a JSON pointer).

use quipu_domain::limits::{APPEND_EVENTS_MAX, APPEND_TIMERS_MAX, CONDITIONS_MAX, SUBJECT_BYTES_MAX};
use quipu_domain::{Checkpoint, Condition, Query, QueryItem, StreamExpectation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::timer::CancelBody;
use crate::{Place, Problem, SetTimerRequest, TimerAnswer};

/// Body of an append.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendRequest {
    /// The events, CloudEvents in JSON; at most 10,000, and at least one unless there is a checkpoint, a timer or a cancellation.
    #[schemars(with = "Vec<crate::openapi::CloudEvent>", length(max = APPEND_EVENTS_MAX))]
    pub events: Vec<Box<RawValue>>,
    /// What must still be true; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CONDITIONS_MAX))]
    pub conditions: Vec<ConditionBody>,
    /// How far an outside source has been copied, written in the same commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointBody>,
    /// Timers that are set in the same commit; at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = APPEND_TIMERS_MAX))]
    pub timers: Vec<SetTimerRequest>,
    /// Timers that are cancelled in the same commit, before those above are set; at most 1,000. One that does not wait is no refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = APPEND_TIMERS_MAX))]
    pub cancel: Vec<CancelBody>,
    /// The delivery that led to these events, at least one, whose ids are its idempotency key, `/` and a word: it is acknowledged once
    /// they are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<AcknowledgeBody>,
}

/// A delivery that is with a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeBody {
    /// The subscription that it was fetched from.
    pub subscription: String,
    /// As in the delivery.
    pub position: u64,
    /// As in the delivery.
    #[serde(rename = "deadletter", default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// As in the delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
    /// As in the delivery.
    pub token: String,
}

/// What must still be true: either `stream` with one of `version`, `exists`, `any`, or `after` with `query`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionBody {
    /// The stream that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The version that the stream is at; 0 if it has no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Whether the stream has an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// `true`: the stream may be as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<bool>,
    /// The last position that the decision has seen; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// No event after that position may match this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryBody>,
}

/// Events that match any of the items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryBody {
    /// At most 64 items; none means every event.
    pub items: Vec<QueryItemBody>,
}

/// Events of any of the types that carry all of the tags; an empty list restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryItemBody {
    /// Types; one without `.vN` means all its versions.
    #[serde(default)]
    pub types: Vec<String>,
    /// Tags, `key:value`.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// How far an outside source has been copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointBody {
    /// Who numbers: a table, a topic and partition, a file.
    pub source: String,
    /// The number reached; larger than the one that is recorded.
    pub number: u64,
}

/// Answer to an append: the events are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppendAnswer {
    /// The number of the commit.
    pub commit: u64,
    /// Whether this append had been made before and is answered with its first result.
    pub duplicate: bool,
    /// Where the events are, in the order of the request.
    pub events: Vec<Place>,
    /// With `timers`: what became of each, in their order; null for one of a repeated append that was cancelled since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timers: Vec<Option<TimerAnswer>>,
    /// With `cancel`: the number of each timer that waited, in their order, and null for those that did not. In a
    /// repeat all are null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<Option<u64>>,
    /// With `acknowledge`: whether the delivery was. If not, it had been before, or its time was over by then and it comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<bool>,
}

impl AppendRequest {
    /// Checks what can be said without reading the events: how many there are.
    ///
    /// # Errors
    /// `invalid-request`.
    pub fn check_counts(&self) -> Result<(), Problem> {
        let count = self.events.len();
        if count == 0 && self.checkpoint.is_none() && self.timers.is_empty() && self.cancel.is_empty() {
            let detail = "expected at least one event, a checkpoint, a timer or a cancellation, found none of these";
            return Err(Problem::pointer("/events", detail));
        }
        if count > APPEND_EVENTS_MAX {
            let detail = format!("expected at most {APPEND_EVENTS_MAX} events in one append, found {count}");
            return Err(Problem::pointer("/events", detail));
        }
        if self.conditions.len() > CONDITIONS_MAX {
            let found = self.conditions.len();
            let detail = format!("expected at most {CONDITIONS_MAX} conditions, found {found}");
            return Err(Problem::pointer("/conditions", detail));
        }
        for (pointer, what, found) in
            [("/timers", "timers", self.timers.len()), ("/cancel", "timers to cancel", self.cancel.len())]
        {
            if found > APPEND_TIMERS_MAX {
                let detail = format!("expected at most {APPEND_TIMERS_MAX} {what} in one append, found {found}");
                return Err(Problem::pointer(pointer, detail));
            }
        }
        self.cancel.iter().enumerate().try_for_each(|(index, body)| body.check(index))
    }

    /// The conditions, checked.
    ///
    /// # Errors
    /// `invalid-request` with the place of the first that is wrong.
    pub fn conditions(&self) -> Result<Vec<Condition>, Problem> {
        self.conditions.iter().enumerate().map(|(index, body)| body.check(index)).collect()
    }

    /// The checkpoint, checked.
    ///
    /// # Errors
    /// `invalid-request`.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, Problem> {
        let Some(body) = &self.checkpoint else { return Ok(None) };
        check_name("/checkpoint/source", &body.source)?;
        Ok(Some(Checkpoint { source: body.source.clone(), number: body.number }))
    }
}

impl ConditionBody {
    fn check(&self, index: usize) -> Result<Condition, Problem> {
        let shape = || {
            Problem::pointer(
                format!("/conditions/{index}"),
                "expected stream with exactly one of version, exists or any, or else after with query",
            )
        };
        match self {
            Self { stream: Some(stream), version, exists, any, after: None, query: None } => {
                check_name(&format!("/conditions/{index}/stream"), stream)?;
                let expected = match (version, exists, any) {
                    (Some(version), None, None) => StreamExpectation::Version(*version),
                    (None, Some(true), None) => StreamExpectation::Exists,
                    (None, Some(false), None) => StreamExpectation::DoesNotExist,
                    (None, None, Some(true)) => StreamExpectation::Any,
                    _ => return Err(shape()),
                };
                Ok(Condition::Stream { stream: stream.clone(), expected })
            }
            Self {
                stream: None,
                version: None,
                exists: None,
                any: None,
                after: Some(position),
                query: Some(query),
            } => {
                let query = Query::from(query);
                query.check().map_err(|detail| Problem::pointer(format!("/conditions/{index}/query"), detail))?;
                Ok(Condition::NoneAfter { position: *position, query })
            }
            _ => Err(shape()),
        }
    }
}

fn check_name(pointer: &str, name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > SUBJECT_BYTES_MAX {
        let detail = format!("expected a name of 1 to {SUBJECT_BYTES_MAX} bytes, found {} bytes", name.len());
        return Err(Problem::pointer(pointer, detail));
    }
    Ok(())
}

impl From<&QueryBody> for Query {
    fn from(body: &QueryBody) -> Self {
        let item = |item: &QueryItemBody| QueryItem { types: item.types.clone(), tags: item.tags.clone() };
        Self { items: body.items.iter().map(item).collect() }
    }
}

impl From<&Condition> for ConditionBody {
    fn from(condition: &Condition) -> Self {
        match condition {
            Condition::Stream { stream, expected } => {
                let body = Self { stream: Some(stream.clone()), ..Self::default() };
                match expected {
                    StreamExpectation::Version(version) => Self { version: Some(*version), ..body },
                    StreamExpectation::Exists => Self { exists: Some(true), ..body },
                    StreamExpectation::DoesNotExist => Self { exists: Some(false), ..body },
                    StreamExpectation::Any => Self { any: Some(true), ..body },
                }
            }
            Condition::NoneAfter { position, query } => {
                let item = |item: &QueryItem| QueryItemBody { types: item.types.clone(), tags: item.tags.clone() };
                let query = QueryBody { items: query.items.iter().map(item).collect() };
                Self { after: Some(*position), query: Some(query), ..Self::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(json: &str) -> Result<Vec<Condition>, Problem> {
        let text = format!(r#"{{"events":[],"conditions":[{json}]}}"#);
        serde_json::from_str::<AppendRequest>(&text).expect(json).conditions()
    }

    #[test]
    fn every_condition_is_read_and_written_again() {
        for json in [
            r#"{"stream":"order/1","version":3}"#,
            r#"{"stream":"order/1","exists":true}"#,
            r#"{"stream":"order/1","exists":false}"#,
            r#"{"stream":"order/1","any":true}"#,
            r#"{"after":17,"query":{"items":[{"types":["a.b"],"tags":["k:v"]}]}}"#,
        ] {
            let condition = &conditions(json).expect(json)[0];
            assert_eq!(serde_json::to_string(&ConditionBody::from(condition)).unwrap(), json);
        }
    }

    #[test]
    fn a_condition_that_is_no_condition_is_named_by_its_place() {
        for (json, pointer) in [
            (r#"{}"#, "/conditions/0"),
            (r#"{"stream":"a"}"#, "/conditions/0"),
            (r#"{"stream":"a","version":1,"exists":true}"#, "/conditions/0"),
            (r#"{"stream":"a","any":false}"#, "/conditions/0"),
            (r#"{"stream":"","version":1}"#, "/conditions/0/stream"),
            (r#"{"stream":"a","version":1,"after":1}"#, "/conditions/0"),
            (r#"{"after":1}"#, "/conditions/0"),
            (r#"{"after":1,"query":{"items":[{}]}}"#, "/conditions/0/query"),
            (r#"{"after":1,"query":{"items":[{"types":["order.*"]}]}}"#, "/conditions/0/query"),
            (r#"{"after":1,"query":{"items":[{"tags":["x"]}]}}"#, "/conditions/0/query"),
        ] {
            assert_eq!(conditions(json).expect_err(json).members["pointer"], pointer, "{json}");
        }
    }
}
