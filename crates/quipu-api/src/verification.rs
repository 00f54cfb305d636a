//! Verifications of projections, and the baselines that they are held against.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Problem;
use crate::problem::read_json;
use crate::projection::TableDigestBody;

/// A line of the answer to a verification: how far it is, and at last what came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerificationLine {
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressBody>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictBody>,
    /// Why nothing came of it: a problem document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressBody {
    /// The log was read up to this position.
    pub position: u64,
    /// Up to where it is read.
    pub end: u64,
    /// Positions a second.
    pub rate: u64,
    /// Seconds that are left, at that rate.
    #[serde(rename = "etaseconds")]
    pub eta_seconds: u64,
    /// Whether the rows that differ are followed by now, which reads the log once more.
    pub tracing: bool,
}

/// What verifications of a projection came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerdictsAnswer {
    /// The newest 100, the newest first.
    pub verdicts: Vec<VerdictBody>,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictBody {
    /// Its number.
    pub number: u64,
    /// The projection.
    pub projection: String,
    /// In a word.
    pub outcome: VerdictOutcome,
    /// When it was asked for, RFC 3339.
    pub asked: String,
    /// When it was found, RFC 3339.
    pub found: String,
    /// Who asked, as the audit trail names it.
    pub by: String,
    /// The live release.
    pub release: u64,
    /// BLAKE3 of its declaration, hexadecimal.
    pub declaration: String,
    /// The baseline that it was held against; nothing for the live read model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The head of the log from which on it was read: the number of a commit, a colon and the chain hash behind it.
    pub from: String,
    /// The head up to which it was read, and was what was written.
    pub to: String,
    /// The last position before that.
    pub position: u64,
    /// What is wrong, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The tables, as they were and as they were rebuilt.
    pub tables: Vec<VerdictTableBody>,
    /// The first 20 rows that differ.
    pub rows: Vec<VerdictRowBody>,
}

/// What a verification came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictOutcome {
    /// The log gives what is there.
    Equal,
    /// It gives something else.
    Differs,
    /// The log is not what was written.
    Tampered,
    /// An event of it cannot be taken in.
    Stopped,
}

/// A table, as it was and as it was rebuilt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictTableBody {
    /// Its name.
    pub table: String,
    /// Whether both are the same.
    pub equal: bool,
    /// As it was; nothing if it was not there.
    pub kept: Option<TableDigestBody>,
    /// As it was rebuilt.
    pub rebuilt: Option<TableDigestBody>,
    /// How many rows differ; nothing against a baseline, of which only digests are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differing: Option<u64>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictRowBody {
    /// Its table.
    pub table: String,
    /// What tells it from others.
    pub key: Map<String, Value>,
    /// What was there in the columns that differ; nothing without such a row.
    pub kept: Option<Map<String, Value>>,
    /// What was rebuilt there.
    pub rebuilt: Option<Map<String, Value>>,
    /// The last event that changed it while it was rebuilt; nothing if none did.
    pub since: Option<SinceBody>,
}

/// An event that changed a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SinceBody {
    /// Its position.
    pub position: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A name for what a read model is now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineRequest {
    /// Letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub name: String,
}

/// The baselines of a projection.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BaselinesAnswer {
    /// By their names.
    pub baselines: Vec<BaselineBody>,
}

/// What a read model was at a place in the log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BaselineBody {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// Who asked for it.
    pub by: String,
    /// The release that it was made of.
    pub release: u64,
    /// BLAKE3 of its declaration, hexadecimal.
    pub declaration: String,
    /// The head of the log: the number of a commit, a colon and the chain hash behind it.
    pub head: String,
    /// The last position before that.
    pub position: u64,
    /// The tables.
    pub tables: Vec<TableDigestBody>,
}

impl BaselineRequest {
    /// Reads one.
    ///
    /// # Errors
    /// `malformed-json` and `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with name")
    }
}
