//! Acts on many instances of sagas, as they are previewed. Confirmed and tracked they are operations like others.

use quipu_domain::REASON_BYTES_MAX;
use quipu_domain::saga::{InstanceState, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::OperationAnswer;
use crate::problem::read_json;
use crate::request::InstancesRequest;
use crate::saga::InstanceAnswer;
use crate::{Code, Problem};

/// Body of the preview of an act on many instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterventionRequest {
    /// What to do to each.
    pub work: InterventionWork,
    /// Which instances; those that the act does not fit as they stand are left out. Without a saga, a rule, an expectation or a key, those
    /// of sagas that no other saga began.
    pub select: SelectInstances,
    /// At most so many a second; as fast as possible if not given.
    #[serde(rename = "ratepersecond", default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
}

/// What is done to each instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterventionWork {
    /// The act.
    pub act: ActWord,
    /// Only for `retry`: the step to go on again from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Why, up to 512 bytes; `skip` and `resolve` need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An act on an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActWord {
    /// Undoes what was done, and ends.
    Cancel,
    /// Stops it for a while.
    Pause,
    /// Lets it go on.
    Resume,
    /// Tries again what a person is asked about, or goes on again from a step.
    Retry,
    /// Goes on without what a person is asked about.
    Skip,
    /// Takes what a person is asked about as done by hand.
    Resolve,
}

impl ActWord {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Resolve => "resolve",
        }
    }
}

/// Which instances: all that match every given member. If it has no saga, rule, expectation or key, instances of rules and expectations
/// are not meant, nor those that another saga began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectInstances {
    /// Of this saga, those within other sagas too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga: Option<String>,
    /// Of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Of this expectation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expectation: Option<String>,
    /// That stand so: any of these; however they stand if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<InstanceState>,
    /// With this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// With this somewhere in the key, at most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// That began longer ago: `30s`, `5m`, `4h`, `1d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub older: Option<Span>,
    /// That ask a person, or have not changed for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stuck: Option<Span>,
}

/// Answer to the preview of an act on many instances.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InterventionPreview {
    /// The operation. Nothing is done yet.
    #[serde(flatten)]
    pub operation: OperationAnswer,
    /// Until when it can be confirmed.
    #[serde(rename = "confirmbefore")]
    pub confirm_before: String,
    /// The first of the instances, at most five.
    pub sample: Vec<InstanceAnswer>,
}

impl InterventionRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json`, or `invalid-request` with the place.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let request: Self = read_json(bytes, "an object with work, select and ratepersecond")?;
        let InterventionWork { act, from, reason } = &request.work;
        let reason = reason.as_deref().unwrap_or_default();
        let needs_reason = matches!(act, ActWord::Skip | ActWord::Resolve);
        if reason.len() > REASON_BYTES_MAX || (needs_reason && reason.trim().is_empty()) {
            let detail = format!("expected a reason of 1 to {REASON_BYTES_MAX} bytes");
            return Err(Problem::pointer("/work/reason", detail).with("limit", REASON_BYTES_MAX));
        }
        if from.is_some() && *act != ActWord::Retry {
            let detail = format!("expected from only to retry, found it to {}", act.as_str());
            return Err(Problem::pointer("/work/from", detail));
        }
        request
            .select
            .check()
            .map_err(|detail| Problem::new(Code::InvalidRequest, detail).with("pointer", "/select"))?;
        Ok(request)
    }
}

impl SelectInstances {
    fn check(&self) -> Result<(), String> {
        let named = [&self.saga, &self.rule, &self.expectation];
        if named.iter().filter(|name| name.is_some()).count() > 1 {
            return Err("expected one of saga, rule and expectation, found more".to_owned());
        }
        let limit = InstancesRequest::SEARCH_BYTES_MAX;
        match self.search.as_ref().map_or(0, String::len) {
            found if found > limit => Err(format!("expected a search of at most {limit} bytes, found {found}")),
            _ => Ok(()),
        }
    }
}

/// As a list of instances is asked for.
impl From<SelectInstances> for InstancesRequest {
    fn from(select: SelectInstances) -> Self {
        let SelectInstances { saga, rule, expectation, states, key, search, older, stuck } = select;
        let states = states.into_iter().map(|state| state.as_str().to_owned()).collect();
        Self { saga, rule, expectation, states, key, search, older, stuck, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_says_what_is_done_to_which_instances() {
        let text = r#"{"work":{"act":"retry","from":"pay"},"select":{"saga":"s","states":["needsperson"],"stuck":"1h"},"ratepersecond":5.0}"#;
        let request = InterventionRequest::from_json(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        let asked = InstancesRequest::from(request.select);
        assert_eq!(asked.to_query(), "saga=s&state=needsperson&stuck=1h");
        let all = InterventionRequest::from_json(br#"{"work":{"act":"pause"},"select":{}}"#).unwrap();
        assert_eq!(all.select, SelectInstances::default());
    }

    #[test]
    fn a_preview_that_says_too_little_or_too_much_is_refused() {
        let search = format!(r#"{{"work":{{"act":"pause"}},"select":{{"search":"{}"}}}}"#, "a".repeat(513));
        for (text, pointer) in [
            (r#"{"work":{"act":"pause"}}"#, None),
            (r#"{"select":{}}"#, None),
            (r#"{"work":{"act":"undo"},"select":{}}"#, None),
            (r#"{"work":{"act":"pause"},"select":{"state":"running"}}"#, None),
            (r#"{"work":{"act":"pause"},"select":{"older":"5"}}"#, None),
            (r#"{"work":{"act":"pause","from":"pay"},"select":{}}"#, Some("/work/from")),
            (r#"{"work":{"act":"skip"},"select":{}}"#, Some("/work/reason")),
            (r#"{"work":{"act":"pause"},"select":{"saga":"a","rule":"b"}}"#, Some("/select")),
            (search.as_str(), Some("/select")),
        ] {
            let problem = InterventionRequest::from_json(text.as_bytes()).expect_err(text);
            assert_eq!(problem.code, "invalid-request", "{text}");
            if let Some(pointer) = pointer {
                assert_eq!(problem.members["pointer"], pointer, "{text}");
            }
        }
    }
}
