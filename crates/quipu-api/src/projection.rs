//! Projections as they are declared, watched, asked and compared.

use std::collections::BTreeMap;

use quipu_domain::projection::{Projection, Reactions, ReadModelStore};
use quipu_domain::schema::SchemaVersion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::problem::read_json;
use crate::{Code, Problem, yaml};

/// Longest that a question waits for a read model, milliseconds.
pub const WAIT_MS_MAX: u64 = 30_000;
/// How long it waits if that is not said, milliseconds.
pub const WAIT_MS_DEFAULT: u64 = 5_000;
/// Most rows of an answer.
pub const ROWS_MAX: usize = 1_000;
/// Longest declaration, bytes.
pub const DECLARATION_BYTES_MAX: usize = 1 << 20;
/// Rows of an answer if it is not said how many.
pub const ROWS_DEFAULT: usize = 100;

/// All projections of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProjectionsAnswer {
    /// By their names, without what was declared.
    pub projections: Vec<ProjectionAnswer>,
}

/// How a projection is doing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProjectionAnswer {
    /// Its name.
    pub name: String,
    /// The release that answers questions.
    pub live: u64,
    /// The newest position of the log.
    pub end: u64,
    /// Its releases: the live one, the one that was live before, and the one that is built to come after it.
    pub releases: Vec<ReleaseBody>,
    /// Events that it passes over.
    pub skipped: Vec<SkippedBody>,
}

/// A release of a projection.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseBody {
    /// Its number.
    pub release: u64,
    /// When it was declared, RFC 3339.
    #[serde(rename = "declaredtime")]
    pub declared_time: String,
    /// What it does.
    pub state: ReleaseState,
    /// Every event up to this position is in its read model.
    pub position: u64,
    /// How many positions it is behind the log.
    pub behind: u64,
    /// Positions a second, of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Seconds until it is as far as the log, at that rate.
    #[serde(rename = "etaseconds", default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// The bytes of its database.
    pub bytes: u64,
    /// The event that it cannot take in, if it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedBody>,
    /// What its database says, if that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was declared; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Projection>,
}

/// What a release does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// It is as far as the log, or about to be.
    Following,
    /// It is behind, since it is new or was away.
    Building,
    /// An event cannot be taken in: it waits for somebody.
    Stopped,
    /// Its database fails: it is tried again and again.
    Failing,
}

/// An event that a projection cannot take in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedBody {
    /// Its position.
    pub position: u64,
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The statement that failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Why.
    pub error: String,
}

/// An event that a projection passes over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkippedBody {
    /// Its position.
    #[schemars(range(min = 1))]
    pub position: u64,
    /// Why, 1 to 512 bytes.
    pub reason: String,
}

/// What became of a declaration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AppliedAnswer {
    /// The number of its release; nothing if nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// Whether that is the one that answers questions.
    pub live: bool,
    /// `new`, `known` if it was there, or `valid` if only that was asked.
    pub outcome: String,
}

/// Rows of a read model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RowsAnswer {
    /// The columns, in the order of the table or of the question.
    pub columns: Vec<String>,
    /// The rows, each an object by columns. What is neither text nor number is base64.
    pub rows: Vec<Map<String, Value>>,
    /// Where the next page begins; nothing at the end.
    pub cursor: Option<String>,
    /// Whether there are more rows, where no cursor says how to go on.
    pub more: bool,
    /// Every event up to this position is in them, and none behind it.
    pub position: u64,
}

/// SQL that is asked of a read model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One `SELECT` over the tables, with named parameters such as `:customer`.
    pub sql: String,
    /// What stands for the parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Most rows, 1 to 1,000; 100 if it is not said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<usize>,
    /// Wait until every event up to this position is in.
    #[serde(rename = "at_least", default)]
    pub at_least: Option<u64>,
    /// How long to wait for that, milliseconds, 0 to 30,000; 5,000 if it is not said.
    #[serde(rename = "waitms", default)]
    #[schemars(range(max = 30000))]
    pub wait_ms: Option<u64>,
}

/// Which release answers from now on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SwitchedAnswer {
    /// Its number.
    pub live: u64,
}

/// A release that is given up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DroppedAnswer {
    /// Its number.
    pub dropped: u64,
}

/// A projection that is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RemovedAnswer {
    /// Its name.
    pub removed: String,
}

/// What the tables of a read model are, in short: two with the same digests have the same rows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DigestAnswer {
    /// Behind which position.
    pub position: u64,
    /// The tables.
    pub tables: Vec<TableDigestBody>,
}

/// What a table is, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableDigestBody {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 of its rows in the order of its key, hexadecimal.
    pub digest: String,
}

/// What differs between the live release and the one that is to come after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonAnswer {
    /// Whether nothing does.
    pub equal: bool,
    /// The live release.
    pub live: u64,
    /// The one that is to come after it.
    pub next: u64,
    /// Both are behind this position.
    pub position: u64,
    /// Each table that one of them has.
    pub tables: Vec<TableComparisonBody>,
}

/// A table of two releases.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TableComparisonBody {
    /// Its name.
    pub table: String,
    /// Whether both have the same rows.
    pub equal: bool,
    /// What the live release has of it.
    pub live: Option<TableDigestBody>,
    /// What the next release has of it.
    pub next: Option<TableDigestBody>,
    /// Columns that only the live one has.
    #[serde(rename = "columnsgone")]
    pub columns_gone: Vec<String>,
    /// Columns that only the next one has.
    #[serde(rename = "columnsnew")]
    pub columns_new: Vec<String>,
    /// How many rows differ in the columns that both have, or are only in one of them.
    pub differing: u64,
    /// The first 20 of them.
    pub differences: Vec<DifferenceBody>,
}

/// A row that differs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DifferenceBody {
    /// What tells it from others.
    pub key: Map<String, Value>,
    /// What the live release has in the columns that differ; nothing without such a row.
    pub live: Option<Map<String, Value>>,
    /// What the next release has there.
    pub next: Option<Map<String, Value>>,
}

impl SqlRequest {
    /// Reads one.
    ///
    /// # Errors
    /// `malformed-json` and `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let read: Self = read_json(bytes, "an object with sql")?;
        if read.limit.is_some_and(|limit| limit == 0 || limit > ROWS_MAX) {
            return Err(Problem::pointer("/limit", format!("expected 1 to {ROWS_MAX} rows")));
        }
        if read.wait_ms.is_some_and(|wait| wait > WAIT_MS_MAX) {
            return Err(Problem::pointer("/waitms", format!("expected 0 to {WAIT_MS_MAX} ms")));
        }
        Ok(read)
    }
}

impl SkippedBody {
    /// Reads one.
    ///
    /// # Errors
    /// `malformed-json` and `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with position and reason")
    }
}

/// A declaration as it is sent to a server: with the password of its database, which is written nowhere else.
#[derive(Serialize)]
pub struct SentProjection<'a> {
    projection: &'a str,
    store: SentStore<'a>,
    schemaversion: SchemaVersion,
    tables: &'a str,
    on: &'a Reactions,
}

#[derive(Serialize)]
#[serde(untagged)]
enum SentStore<'a> {
    Alone(&'a ReadModelStore),
    WithPassword { postgres: &'a str, password: &'a str },
}

impl<'a> From<&'a Projection> for SentProjection<'a> {
    fn from(Projection { name, store, schema_version, tables, on }: &'a Projection) -> Self {
        let url = match store {
            ReadModelStore::Postgres(url) => Some(url),
            ReadModelStore::Sqlite => None,
        };
        let given = url.and_then(|url| Some((url.as_str(), url.password.as_ref()?.expose())));
        let store = match given {
            Some((postgres, password)) => SentStore::WithPassword { postgres, password },
            None => SentStore::Alone(store),
        };
        Self { projection: name, store, schemaversion: *schema_version, tables, on }
    }
}

/// Reads a declaration, JSON or YAML.
///
/// # Errors
/// `malformed-json` and `invalid-projection`.
pub fn read_projection(bytes: &[u8]) -> Result<Projection, Problem> {
    const EXPECTED: &str = "a projection: an object with projection, tables and on";
    let invalid = |detail: String| Problem::new(Code::InvalidProjection, detail).with("pointer", "");
    yaml::declaration(bytes, EXPECTED, invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_the_same_in_json_and_in_yaml() {
        let yaml = "projection: orders\nstore: sqlite\ntables: |\n  create table orders (id text)\non:\n  z.placed: insert into orders values (:subject)\n  \
                    a.paid:\n    when: {data: {total: [{numeric: ['>', 5]}]}}\n    do: [delete from orders]\n";
        let read = read_projection(yaml.as_bytes()).unwrap();
        let kinds: Vec<_> = read.on.0.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["z.placed", "a.paid"], "in the order in which they are written");
        let json = serde_json::to_vec(&read).unwrap();
        assert_eq!(read_projection(&json).unwrap(), read);
    }

    #[test]
    fn a_password_is_sent_and_written_nowhere_else() {
        let yaml = "projection: p\nstore: {postgres: postgres://u@h/d, password: hunter2}\ntables: t\non: {a: delete from t}\n";
        let read = read_projection(yaml.as_bytes()).unwrap();
        let sent = serde_json::to_vec(&SentProjection::from(&read)).unwrap();
        assert_eq!(read_projection(&sent).unwrap(), read);
        assert!(String::from_utf8(sent).unwrap().contains("hunter2"));
        assert!(!serde_json::to_string(&read).unwrap().contains("hunter2"));
        for wrong in
            ["postgres://u:hunter2@h/d", "{postgres: postgres://u@h/d, password: [hunter2]}", "mysql://hunter2"]
        {
            let yaml = format!("projection: p\nstore: {wrong}\ntables: t\non: {{a: delete from t}}\n");
            let problem = read_projection(yaml.as_bytes()).unwrap_err();
            assert!(problem.code == "invalid-projection" && !format!("{problem:?}").contains("hunter"), "{problem:?}");
        }
    }

    #[test]
    fn what_is_no_declaration_says_why() {
        for (text, code, said) in [
            ("{", "malformed-json", "JSON"),
            ("[]", "invalid-projection", "an array"),
            ("7", "invalid-projection", "projection"),
            ("projection: p\ntables: t\non: {a: select ?}", "invalid-projection", "named parameters"),
            ("{\"projection\":\"p\",\"tables\":\"t\",\"on\":{},\"of\":1}", "invalid-projection", "unknown field"),
        ] {
            let problem = read_projection(text.as_bytes()).unwrap_err();
            assert!(problem.code == code && problem.detail.contains(said), "{text}: {problem:?}");
        }
    }
}
