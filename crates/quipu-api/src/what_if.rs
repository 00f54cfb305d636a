//! What a changed saga would have made of history.

use quipu_domain::StartAt;
use quipu_domain::saga::InstanceState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Problem;
use crate::problem::read_json;

/// Body of the question.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatIfRequest {
    /// The changed saga, as `PUT /v1/sagas/{saga}` takes it. Instances of the saga of its name are what it is held against.
    #[schemars(with = "quipu_domain::saga::Saga")]
    pub declaration: Box<RawValue>,
    /// The first event; that of the log if not given.
    #[serde(default = "beginning")]
    pub from: StartAt,
    /// The last event: at this position, or the last one that was recorded before this time; the newest if not given. Time passes as
    /// long.
    #[serde(default)]
    pub until: StartAt,
}

fn beginning() -> StartAt {
    StartAt::Beginning
}

impl WhatIfRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `malformed-json` and `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with declaration, from and until")
    }
}

/// What it would have made of the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhatIfAnswer {
    /// The first position that was read.
    pub from: u64,
    /// The last.
    pub until: u64,
    /// Until when time passed, RFC 3339.
    #[serde(rename = "untiltime")]
    pub until_time: String,
    /// Instances that would have done the same and ended in the same way.
    pub same: u64,
    /// Those that would have ended in another way, or done something else.
    pub otherwise: u64,
    /// Those that there would have been, and were not.
    #[serde(rename = "onlynew")]
    pub only_new: u64,
    /// Those that there would not have been.
    #[serde(rename = "onlyold")]
    pub only_old: u64,
    /// Those of which nobody knows: it depends on the answer to what nobody was ever asked, or the instance that there was may be
    /// forgotten.
    pub unknown: u64,
    /// Those that differ, and in which somebody intervened.
    pub intervened: u64,
    /// Those that had not ended, and would not have; and those that went on behind the range and are not the same.
    pub open: u64,
    /// Starts of instances that began before the range: nothing is said about them.
    pub before: u64,
    /// Instances beyond 200,000, or beyond what one question may take of memory and of jq: nothing is said about them.
    #[serde(rename = "leftout")]
    pub left_out: u64,
    /// Those that differ or are not known, at most 100 of a verdict.
    pub differences: Vec<WhatIfBody>,
}

/// An instance that differs, or of which nobody knows whether it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhatIfBody {
    /// How.
    pub verdict: WhatIfWord,
    /// Its key.
    pub key: String,
    /// The number of the instance that there was; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// How that stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<InstanceState>,
    /// How it would stand; absent if that is not known, or there would be none.
    #[serde(rename = "wouldbe", default, skip_serializing_if = "Option::is_none")]
    pub would_be: Option<InstanceState>,
    /// The step at which they part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why, in words.
    pub why: String,
}

/// How an instance compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhatIfWord {
    /// It would have ended in another way, or done something else.
    Otherwise,
    /// There would have been one.
    OnlyNew,
    /// There would have been none.
    OnlyOld,
    /// Nobody knows.
    Unknown,
    /// It differs, and somebody intervened.
    Intervened,
}

impl WhatIfWord {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Otherwise => "otherwise",
            Self::OnlyNew => "onlynew",
            Self::OnlyOld => "onlyold",
            Self::Unknown => "unknown",
            Self::Intervened => "intervened",
        }
    }
}

impl WhatIfAnswer {
    /// Whether nothing differs, as far as it is known of every instance.
    pub fn is_same(&self) -> bool {
        self.otherwise + self.only_new + self.only_old + self.unknown + self.intervened + self.left_out == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_declaration_and_a_range() {
        let read = |text: &str| WhatIfRequest::from_json(text.as_bytes());
        let asked = read(r#"{"declaration":{"saga":"s"},"from":{"position":3}}"#).unwrap();
        assert_eq!((asked.from, asked.until), (StartAt::Position(3), StartAt::Now));
        assert_eq!(read(r#"{"declaration":{}}"#).unwrap().from, StartAt::Beginning);
        for wrong in ["{}", r#"{"declaration":{},"over":1}"#, r#"{"declaration":{},"from":"later"}"#] {
            assert_eq!(read(wrong).unwrap_err().code, "invalid-request", "{wrong}");
        }
    }
}
