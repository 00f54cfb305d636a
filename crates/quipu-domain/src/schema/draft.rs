//! The versions of JSON Schema that are understood, and how a schema says which one it is written in.

use serde_json::Value;

/// A version of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draft {
    /// `http://json-schema.org/draft-04/schema#`
    Draft4,
    /// `http://json-schema.org/draft-06/schema#`
    Draft6,
    /// `http://json-schema.org/draft-07/schema#`
    Draft7,
    /// `https://json-schema.org/draft/2019-09/schema`
    Draft201909,
    /// `https://json-schema.org/draft/2020-12/schema`; what a schema without `$schema` is written in.
    Draft202012,
}

/// Each with its name in `$schema`.
const DRAFTS: [(Draft, &str); 5] = [
    (Draft::Draft4, "http://json-schema.org/draft-04/schema#"),
    (Draft::Draft6, "http://json-schema.org/draft-06/schema#"),
    (Draft::Draft7, "http://json-schema.org/draft-07/schema#"),
    (Draft::Draft201909, "https://json-schema.org/draft/2019-09/schema"),
    (Draft::Draft202012, "https://json-schema.org/draft/2020-12/schema"),
];

impl Draft {
    /// The draft that a schema names, or the newest; what it names where that is none.
    pub(super) fn of(schema: &Value) -> Result<Draft, &str> {
        let Some(Value::String(named)) = schema.get("$schema") else {
            return Ok(Draft::Draft202012);
        };
        // People write both schemes, and leave the empty fragment out.
        let bare = |uri: &'_ str| {
            let uri = uri.strip_suffix('#').unwrap_or(uri);
            let uri = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://")).unwrap_or(uri);
            uri.to_owned()
        };
        let found = DRAFTS.iter().find(|(_, uri)| bare(uri) == bare(named));
        found.map(|(draft, _)| *draft).ok_or(named.as_str())
    }

    /// Its name in `$schema`.
    pub fn uri(self) -> &'static str {
        DRAFTS.iter().find(|(draft, _)| *draft == self).map_or("", |(_, uri)| *uri)
    }

    /// The same for the crate that validates.
    pub(super) fn engine(self) -> jsonschema::Draft {
        match self {
            Draft::Draft4 => jsonschema::Draft::Draft4,
            Draft::Draft6 => jsonschema::Draft::Draft6,
            Draft::Draft7 => jsonschema::Draft::Draft7,
            Draft::Draft201909 => jsonschema::Draft::Draft201909,
            Draft::Draft202012 => jsonschema::Draft::Draft202012,
        }
    }

    /// Up to draft 7 whatever stands beside a `$ref` is ignored.
    pub(super) fn ignores_beside_reference(self) -> bool {
        self <= Draft::Draft7
    }

    /// Where definitions are kept.
    pub(super) fn shelf(self) -> &'static str {
        if self <= Draft::Draft7 { "definitions" } else { "$defs" }
    }

    /// The keywords that refer to another schema. One of another draft is a remark.
    pub(super) fn references(self) -> &'static [&'static str] {
        match self {
            Draft::Draft4 | Draft::Draft6 | Draft::Draft7 => &["$ref"],
            Draft::Draft201909 => &["$ref", "$recursiveRef"],
            Draft::Draft202012 => &["$ref", "$dynamicRef"],
        }
    }

    /// The keywords whose text names the schema they stand in.
    pub(super) fn anchors(self) -> &'static [&'static str] {
        match self {
            Draft::Draft4 | Draft::Draft6 | Draft::Draft7 => &[],
            Draft::Draft201909 => &["$anchor"],
            Draft::Draft202012 => &["$anchor", "$dynamicAnchor"],
        }
    }
}
