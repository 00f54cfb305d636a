//! The audit trail as it is read: who did what, from where, with which outcome.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActAnswer {
    /// Its position in the trail.
    pub position: u64,
    /// When it ended, or began if its end is not known.
    pub time: String,
    /// What tells it from others.
    pub act: String,
    /// The name of the operation.
    pub operation: String,
    /// Who.
    pub actor: ActorBody,
    /// The IP address of whoever called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// To what: `keys/5f0c2a91d4e7b836`.
    pub subject: String,
    /// The correlation id of the request, or of its trace.
    #[serde(rename = "correlationid", default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// How it ended: `done`, `refused`, `failed`, `repeated` (the same was refused so often more) or `begun` (it goes on, or
    /// the process ended before it did).
    pub outcome: String,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it was more precisely.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// How often more the same was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl ActAnswer {
    /// Who it was, in words.
    pub fn who(&self) -> String {
        match &self.actor.name {
            Some(name) => format!("{name} ({})", self.actor.id),
            None => self.actor.id.clone(),
        }
    }

    /// How it ended, in words.
    pub fn ended(&self) -> String {
        match self.count {
            Some(count) => format!("{} {count} times", self.outcome),
            None => self.outcome.clone(),
        }
    }
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActorBody {
    /// The credential: `key:…`; `anybody` without one on a server that takes such, `stranger` on one that does not, `local` on
    /// the machine of a data folder, `others` for those of whom there were too many to write down each.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A page of acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActsPage {
    /// The acts.
    pub acts: Vec<ActAnswer>,
    /// For the next page; null at the end.
    pub cursor: Option<String>,
}

/// A report: what was asked for, and everything that there is of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportAnswer {
    /// The tenant.
    pub tenant: String,
    /// When it was made.
    pub made: String,
    /// What was asked for, as parameters.
    pub question: String,
    /// Where the trail ended then: the number of its last commit, a colon and the hash chain. Kept elsewhere it lets `quipu audit
    /// verify` find that the trail was cut or made anew.
    pub head: String,
    /// Whether this is everything: a report has 10,000 acts at the most.
    pub complete: bool,
    /// The acts, in the order in which they ended.
    pub acts: Vec<ActAnswer>,
}
