//! The records of schemas, and the fold of them. All are JSON, as schemas are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::schema::SchemaRules;
use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::upcast::FoldedUpcaster;

/// A record of a schema.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SchemaRecord {
    /// A version was registered.
    Registered { kind: String, version: u32, schema: Shared },
    /// Nobody is to begin with a version any more, for this reason; or it is as good as any, without one.
    Deprecated { kind: String, version: u32, reason: Option<String> },
    /// A version that no event uses was removed.
    Removed { kind: String, version: u32 },
    /// This makes the data of a version of that of the one before; nothing does any more, without it.
    Upcaster { kind: String, version: u32, upcaster: Option<FoldedUpcaster> },
    /// The rules of a type, or of the tenant, are these now.
    Rules { kind: Option<String>, rules: SchemaRules },
}

/// A version of a schema that the fold and the registry have together: its text may be long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared(Arc<FoldedSchema>);

impl Shared {
    pub fn new(schema: FoldedSchema) -> Self {
        Self(Arc::new(schema))
    }

    /// Whether it is the very same, without looking at what it says.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Shared {
    type Target = FoldedSchema;

    fn deref(&self) -> &FoldedSchema {
        &self.0
    }
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FoldedSchema::deserialize(deserializer).map(Self::new)
    }
}

/// A version of a schema as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldedSchema {
    /// Its number among all schemas of the tenant. The same text has the same number, whatever type it is for.
    pub id: u32,
    /// As it was registered.
    pub text: String,
    /// What the text calls other schemas, and which those are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, String>,
    /// The types with versions that it refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Bytes of its text with all that it refers to inside of it.
    pub weight: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    pub made: Timestamp,
}

impl FoldedSchema {
    /// What it takes in memory and in each snapshot, about.
    pub fn bytes(&self) -> usize {
        let examples: usize = self.examples.iter().map(|example| example.to_string().len()).sum();
        let texts = [&self.owner, &self.description, &self.deprecated];
        let names: usize = self.references.iter().map(|(name, kind)| name.len() + kind.len()).sum();
        self.text.len()
            + self.weight as usize
            + examples
            + names
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + 256
    }
}

/// A type as the log has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedType {
    #[serde(default)]
    pub versions: BTreeMap<u32, Shared>,
    /// What makes the data of a version of that of the one before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upcasters: BTreeMap<u32, FoldedUpcaster>,
    #[serde(default)]
    pub rules: SchemaRules,
    /// The largest version that was ever registered: a number is never used twice.
    #[serde(default)]
    pub last: u32,
}

/// The fold of all records of schemas.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedSchemas {
    pub types: BTreeMap<String, FoldedType>,
    /// The rules of the tenant.
    pub rules: SchemaRules,
    /// The largest number of a schema that was ever given.
    pub last_id: u32,
}

impl SchemaRecord {
    /// The types that records are about, each once.
    pub fn kinds(records: &[Self]) -> BTreeSet<&str> {
        records.iter().filter_map(Self::kind).collect()
    }

    /// The type that it is about; nothing if it is about the tenant.
    fn kind(&self) -> Option<&str> {
        match self {
            Self::Registered { kind, .. }
            | Self::Deprecated { kind, .. }
            | Self::Removed { kind, .. }
            | Self::Upcaster { kind, .. } => Some(kind),
            Self::Rules { kind, .. } => kind.as_deref(),
        }
    }

    pub fn record(&self) -> Record {
        Record::new(RecordKind::Schema, serde_json::to_vec(self).expect("it is plain data"))
    }
}

impl FoldedSchemas {
    /// The part of it that these records touch.
    pub fn touched_by(&self, records: &[SchemaRecord]) -> Self {
        let of = |kind: &str| Some((kind.to_owned(), self.types.get(kind)?.clone()));
        Self {
            types: SchemaRecord::kinds(records).into_iter().filter_map(of).collect(),
            rules: self.rules,
            last_id: self.last_id,
        }
    }

    /// Takes that part back as it is after the records.
    pub fn put_back(&mut self, records: &[SchemaRecord], mut touched: Self) {
        (self.rules, self.last_id) = (touched.rules, touched.last_id);
        for kind in SchemaRecord::kinds(records) {
            match touched.types.remove_entry(kind) {
                Some((kind, of)) => _ = self.types.insert(kind, of),
                None => _ = self.types.remove(kind),
            }
        }
    }

    /// Takes a record in. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        self.take(serde_json::from_slice(body).ok()?);
        Some(())
    }

    pub fn take(&mut self, record: SchemaRecord) {
        match record {
            SchemaRecord::Registered { kind, version, schema } => {
                self.last_id = self.last_id.max(schema.id);
                let of = self.types.entry(kind).or_default();
                of.last = of.last.max(version);
                of.versions.insert(version, schema);
            }
            SchemaRecord::Deprecated { kind, version, reason } => {
                if let Some(schema) = self.types.get_mut(&kind).and_then(|of| of.versions.get_mut(&version)) {
                    Arc::make_mut(&mut schema.0).deprecated = reason;
                }
            }
            SchemaRecord::Removed { kind, version } => {
                if let Some(of) = self.types.get_mut(&kind) {
                    of.versions.remove(&version);
                    of.upcasters.remove(&version);
                }
            }
            SchemaRecord::Upcaster { kind, version, upcaster } => {
                if let Some(of) = self.types.get_mut(&kind) {
                    match upcaster {
                        Some(upcaster) => _ = of.upcasters.insert(version, upcaster),
                        None => _ = of.upcasters.remove(&version),
                    }
                }
            }
            SchemaRecord::Rules { kind: None, rules } => self.rules = rules,
            SchemaRecord::Rules { kind: Some(kind), rules } => {
                let of = self.types.entry(kind.clone()).or_default();
                of.rules = rules;
                if of.last == 0 && rules == SchemaRules::default() {
                    self.types.remove(&kind);
                }
            }
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
