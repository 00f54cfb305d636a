//! How the schemas of a type are held to: what a new version may change, and what becomes of data that breaks one.

use serde::{Deserialize, Serialize};

use super::compatibility::Level;

/// What becomes of an event whose data breaks the schema of its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// Nobody looks.
    #[default]
    Off,
    /// It is recorded, marked and counted.
    Warn,
    /// It is refused.
    Enforce,
}

/// What becomes of an event of a type, or of a version of one, that has no schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UnknownTypes {
    /// It is recorded.
    #[default]
    Allow,
    /// It is recorded, marked and counted.
    Warn,
    /// It is refused.
    Refuse,
}

/// The rules of a tenant, or of one of its types: what is not said of a type is as the tenant has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SchemaRules {
    /// What a new version may change; `backward` if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<Level>,
    /// What becomes of data that breaks its schema; `off` if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// What becomes of events without a schema; `allow` if nobody says. Of a type: of its versions that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownTypes>,
}

impl SchemaRules {
    /// These, and those of somebody else where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            compatibility: self.compatibility.or(others.compatibility),
            enforcement: self.enforcement.or(others.enforcement),
            unknown: self.unknown.or(others.unknown),
        }
    }
}
