//! In which version of its schema a reader wants an event.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which version of its type an event is read in. What is stored never changes: upcasters turn it when it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum SchemaVersion {
    /// As it was recorded.
    #[default]
    Stored,
    /// The newest version of its type.
    Newest,
    /// This one. An event of a later version stays as it is: nothing turns data back.
    At(u32),
}

/// As it is written in JSON: a word or a number.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Written {
    Word(Word),
    Number(#[cfg_attr(feature = "schema", schemars(range(min = 1)))] u32),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Word {
    Stored,
    Newest,
}

impl SchemaVersion {
    /// Reads `stored`, `newest` or a number from 1.
    ///
    /// ```
    /// use quipu_domain::schema::SchemaVersion;
    /// assert_eq!(SchemaVersion::parse("2"), Some(SchemaVersion::At(2)));
    /// assert_eq!(SchemaVersion::parse("0"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "stored" => Some(Self::Stored),
            "newest" => Some(Self::Newest),
            number => number.parse().ok().filter(|number| *number > 0).map(Self::At),
        }
    }

    /// Whether events are given as they were recorded.
    pub fn is_stored(&self) -> bool {
        *self == Self::Stored
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("stored"),
            Self::Newest => f.write_str("newest"),
            Self::At(number) => number.fmt(f),
        }
    }
}

impl TryFrom<Written> for SchemaVersion {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Word(Word::Stored) => Ok(Self::Stored),
            Written::Word(Word::Newest) => Ok(Self::Newest),
            Written::Number(0) => Err("expected a version from 1, found 0"),
            Written::Number(number) => Ok(Self::At(number)),
        }
    }
}

impl From<SchemaVersion> for Written {
    fn from(version: SchemaVersion) -> Self {
        match version {
            SchemaVersion::Stored => Self::Word(Word::Stored),
            SchemaVersion::Newest => Self::Word(Word::Newest),
            SchemaVersion::At(number) => Self::Number(number),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SchemaVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SchemaVersion".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}
