//! The catalog as it is shown, and declarations as they are made.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Problem;
use crate::problem::read_json;

/// What somebody says of an event type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclarationBody {
    /// The sources of events that are meant to publish it; at most 64.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub publishers: BTreeSet<String>,
    /// Who is meant to read it; at most 64.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub consumers: BTreeSet<String>,
    /// Who answers for it, at most 256 bytes. Without it the schema says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What people should know of it, at most 4,096 bytes. Without it the schema says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The address of the channel that it goes over in other systems, at most 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// A page of the catalog.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CatalogPage {
    /// Event types, by their names.
    pub types: Vec<CatalogLine>,
    /// Where the next page begins; null once the end was reached.
    pub cursor: Option<String>,
    /// Events up to this position were counted.
    pub position: u64,
    /// Events of types beyond the 10,000 that are told apart.
    #[serde(rename = "otherevents")]
    pub other_events: u64,
}

/// An event type.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CatalogLine {
    /// Its name, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where what is declared and what was observed differ: `unconsumed` was seen and nobody reads it, `unpublished` is asked for
    /// and was never seen, `undeclared` was seen and neither a declaration nor a schema speaks of it, `unseen` is declared or has
    /// a schema and was never seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Whether something is declared of it.
    pub declared: bool,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What people should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The address of the channel that it goes over in other systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Its versions, registered or seen, oldest first.
    pub versions: Vec<CatalogVersionLine>,
    /// Data of the newest version that has examples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
    /// Who publishes it.
    pub publishers: Vec<PublisherLine>,
    /// Whether further sources published it: 32 are told apart beside those that are declared.
    #[serde(rename = "moresources", default, skip_serializing_if = "std::ops::Not::not")]
    pub more_sources: bool,
    /// Who reads it: those that are declared, and of the others as many as make 64.
    pub consumers: Vec<ConsumerLine>,
    /// How many more read it.
    #[serde(rename = "moreconsumers", default, skip_serializing_if = "is_none")]
    pub more_consumers: u64,
    /// How many events there are.
    pub events: u64,
    /// How many of them were recorded in the last 60 minutes.
    #[serde(rename = "lasthour")]
    pub last_hour: u64,
    /// How many of them were recorded in the last 24 hours.
    #[serde(rename = "lastday")]
    pub last_day: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<SeenAt>,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SeenAt>,
    /// Events that were recorded although they break their schema.
    pub marked: u64,
    /// Events that were refused for their schema since the server has the tenant open.
    pub refused: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A version of a type.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CatalogVersionLine {
    /// Its number.
    pub version: u32,
    /// Whether it has a schema.
    pub registered: bool,
    /// Why nobody should begin with it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before, if anything does: `jq` or `function`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upcaster: Option<String>,
    /// How many events it has.
    pub events: u64,
}

/// A source of events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PublisherLine {
    /// Its name: the `source` of its events.
    pub name: String,
    /// Whether it was declared.
    pub declared: bool,
    /// How many events it published.
    pub events: u64,
}

/// Somebody who reads events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerLine {
    /// Its name.
    pub name: String,
    /// Whether it was declared.
    pub declared: bool,
    /// Which events the subscription of that name, or the projection of a name such as `projections/orders`, takes: `all` of the type, `some` of them, or `anytype`, those of any type that
    /// have what it asks for. Absent if there is no such subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<String>,
}

/// An event that was seen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SeenAt {
    /// Its position.
    pub position: u64,
    /// When it was recorded.
    #[serde(rename = "recordedtime")]
    pub recorded_time: String,
}

/// A type of which nothing is declared any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WithdrawnAnswer {
    /// The type.
    pub withdrawn: String,
}

/// What became of an AsyncAPI document.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ImportAnswer {
    /// Whether this is only what would become of it.
    #[serde(rename = "dryrun")]
    pub dry_run: bool,
    /// What became of each schema and declaration, by the names of the types.
    pub items: Vec<ImportedItem>,
    /// What of the document is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedItem>,
}

/// What became of a schema or a declaration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ImportedItem {
    /// The type, without a version.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the schema; absent for what is declared of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// `new` if it was, or would be, registered or declared; `known` if it was there; `refused`.
    pub outcome: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A part of a document that is left out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SkippedItem {
    /// Where it is, a JSON Pointer into the document.
    pub pointer: String,
    /// Why.
    pub reason: String,
}

impl DeclarationBody {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with publishers, consumers, owner, description and channel")
    }
}
