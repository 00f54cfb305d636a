//! Schemas as they are registered, checked and listed.

use std::collections::BTreeMap;

use quipu_domain::schema::{Change, SchemaRules, Violation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Problem;
use crate::problem::read_json;

/// A schema that is to be registered or checked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterSchema {
    /// JSON Schema: draft 4, 6, 7, 2019-09 or 2020-12, the last without `$schema`. It may refer to other schemas of the tenant by
    /// `quipu:order.address.v1`.
    #[schemars(with = "Value")]
    pub schema: Box<RawValue>,
    /// The version, which must be larger than those that are there; the next one if it is not said.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
    /// What the schema calls other schemas, if not by their names, and the types with versions that those are.
    #[serde(default)]
    pub references: BTreeMap<String, String>,
    /// Who answers for it, at most 256 bytes.
    #[serde(default)]
    pub owner: Option<String>,
    /// What people should know of it, at most 4,096 bytes.
    #[serde(default)]
    pub description: Option<String>,
    /// Data that it accepts; at most 100.
    #[serde(default)]
    pub examples: Vec<Value>,
    /// What makes its data of that of the version before, where it does not read that as it is.
    #[serde(default)]
    pub upcaster: Option<JqUpcaster>,
}

/// An upcaster that this server runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JqUpcaster {
    /// A jq expression of at most 4,096 characters: `.` is the data of the version before, its first output that of this one.
    pub jq: String,
}

/// What an upcaster is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpcaster {
    /// As of [`JqUpcaster`]; without one the version has none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jq: Option<String>,
}

/// An upcaster as it is kept: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpcasterAnswer {
    /// A jq expression.
    Jq(String),
    /// The name of a function of the process that embeds the tenant: no server can run it.
    Function(String),
}

/// Why nobody should begin with a version any more.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeprecateSchema {
    /// The reason, at most 4,096 bytes; without one the version is as good as any again.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A version of a schema.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchemaAnswer {
    /// The type, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version. Events of it have the type with `.vN` at the end; those of version 1 may go without.
    pub version: u32,
    /// Its number among all schemas of the tenant; the same text has the same.
    pub id: u32,
    /// JSON Schema, as it was registered.
    #[schemars(with = "Value")]
    pub schema: Box<RawValue>,
    /// What the schema calls other schemas, and which those are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What people should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Data that it accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
    /// Why nobody should begin with it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upcaster: Option<UpcasterAnswer>,
    /// When it was registered.
    pub made: String,
}

/// A version of a schema without its text and its examples.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchemaLine {
    /// The version.
    pub version: u32,
    /// Its number among all schemas of the tenant; the same text has the same.
    pub id: u32,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What people should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Why nobody should begin with it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upcaster: Option<UpcasterAnswer>,
    /// When it was registered.
    pub made: String,
}

/// A type with its schemas.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchemaTypeAnswer {
    /// Its name, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its own rules; what they do not say the tenant's do.
    pub rules: SchemaRules,
    /// Its versions, oldest first.
    pub versions: Vec<SchemaLine>,
    /// Events that were refused since the server has the tenant open.
    pub refused: u64,
    /// Events that were recorded with the attribute `schemaviolation` since then.
    pub marked: u64,
}

/// A page of the types that have schemas or rules of their own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchemasPage {
    /// The rules of the tenant.
    pub rules: SchemaRules,
    /// The types, by their names.
    pub types: Vec<SchemaTypeAnswer>,
    /// Where the next page begins; null once the end was reached. A page with a cursor may be short.
    pub cursor: Option<String>,
}

/// What came of a registration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RegisteredAnswer {
    /// What is registered.
    pub schema: SchemaAnswer,
    /// Whether it was so before.
    pub known: bool,
    /// How it goes with the versions before it.
    pub compatibility: CompatibilityAnswer,
}

/// How a schema goes with versions before it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CompatibilityAnswer {
    /// Whether it may be registered.
    pub compatible: bool,
    /// What it is held to: `none`, `backward`, `forward` or `full`, each of the last three also with `-transitive`.
    pub level: String,
    /// What the rules say: `yes`, `no`, or `unknown`; then stored events decide.
    pub verdict: String,
    /// What breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<BreakAnswer>,
    /// Data that one of the two versions accepts and the other refuses.
    #[serde(rename = "counterexamples", default, skip_serializing_if = "Vec::is_empty")]
    pub counter_examples: Vec<CounterExampleAnswer>,
    /// Why the rules do not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What stored events say, where they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredAnswer>,
    /// What its upcaster makes of examples and stored events. With one, `backward` is what this says and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upcaster: Option<UpcastAnswer>,
}

/// What an upcaster makes of what there is of earlier versions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpcastAnswer {
    /// Stored events of earlier versions.
    pub events: u64,
    /// How many of those it does not turn into data that fits.
    pub failed: u64,
    /// The first of those. Why is not said: that may tell of the data, which is for who may read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<NotUpcastAnswer>,
    /// Examples of earlier versions.
    pub examples: u64,
    /// How many of those it does not turn.
    #[serde(rename = "examplesfailed")]
    pub examples_failed: u64,
    /// The first of them.
    #[serde(rename = "failedexamples", default, skip_serializing_if = "Vec::is_empty")]
    pub failed_examples: Vec<NotUpcastExample>,
}

/// A stored event that is not turned into data of a version.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotUpcastAnswer {
    /// Where it is: `/v1/positions/7`.
    pub link: String,
    /// Its position.
    pub position: u64,
    /// The version that it was to become.
    pub version: u32,
    /// `not-json` if its data is none, `not-attached` if the function is not there, `failed` if the upcaster does, `breaks` if
    /// what it makes breaks the schema.
    pub reason: String,
    /// What exactly, for who may read the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// An example that is not turned.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotUpcastExample {
    /// The version that it is of.
    pub of: u32,
    /// Which one, from 0.
    pub index: usize,
    /// The version that it was to become.
    pub version: u32,
    /// As of a stored event.
    pub reason: String,
    /// What exactly.
    pub detail: String,
}

/// What came of setting an upcaster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpcasterSetAnswer {
    /// The version.
    pub schema: SchemaAnswer,
    /// How the version goes with those before it.
    pub compatibility: CompatibilityAnswer,
}

/// What reading stored events of a type as a version of it came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedAnswer {
    /// The type, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version.
    pub version: u32,
    /// How many events of it and of earlier ones were looked at.
    pub events: u64,
    /// How many of those are of earlier ones.
    pub earlier: u64,
    /// How many cannot be read as the version, or do not fit its schema.
    pub failed: u64,
    /// The first of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<NotUpcastAnswer>,
    /// Everything up to this position was looked at.
    pub to: u64,
    /// The newest position: if it is larger, ask again with `after` as `to` was.
    pub position: u64,
}

/// A field that breaks a direction.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BreakAnswer {
    /// `backward` if the new version does not read what the old one writes, `forward` if the old one does not read what the new
    /// one writes.
    pub direction: String,
    /// The version that it breaks with.
    pub version: u32,
    /// The field, as a JSON Pointer into the data; `*` stands for every item.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

/// Data that shows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CounterExampleAnswer {
    /// As of a break.
    pub direction: String,
    /// The version before.
    pub version: u32,
    /// What the writer's schema accepts and the reader's refuses.
    pub data: Value,
    /// Where the reader's schema refuses it.
    pub pointer: String,
}

/// What stored events of a type say of a schema.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StoredAnswer {
    /// How many there are, of all versions.
    pub events: u64,
    /// How many of them the schema refuses.
    pub breaking: u64,
    /// The first of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<StoredViolation>,
}

/// A stored event that a schema refuses.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StoredViolation {
    /// Where it is: `/v1/positions/7`.
    pub link: String,
    /// Its position.
    pub position: u64,
    /// Where it breaks the schema first.
    #[schemars(with = "Value")]
    pub violation: Violation,
}

/// What a version changed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchemaDiffAnswer {
    /// The type, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version before.
    pub from: u32,
    /// The version after.
    pub to: u32,
    /// The changes, by field.
    #[schemars(with = "Vec<Value>")]
    pub changes: Vec<Change>,
}

/// A version that was removed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RemovedSchemaAnswer {
    /// The type with its version.
    pub removed: String,
}

/// A schema that fits the events that were published.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InferredAnswer {
    /// The type, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many events it was learned from.
    pub events: u64,
    /// JSON Schema 2020-12. `x-observed` says how often each field was there.
    pub schema: Value,
}

impl RegisterSchema {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with schema, version, references, owner, description, examples and upcaster")
    }
}

impl SetUpcaster {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with jq")
    }
}

impl DeprecateSchema {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with reason")
    }
}

/// Reads the rules of a type or a tenant.
///
/// # Errors
/// They are none; the problem says where.
pub fn rules_from_json(bytes: &[u8]) -> Result<SchemaRules, Problem> {
    read_json(bytes, "an object with compatibility, enforcement and unknown")
}
