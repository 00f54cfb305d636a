//! What a schema says, in parts that hold independently of each other, and the steps into the data.

use serde_json::{Map, Value};

use super::keyword::is_silent;

/// A step into the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a field.
    Field(String),
    /// Into some field that has no schema of its own.
    AnyField,
    /// Into an item.
    Item(usize),
}

/// Keywords that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Type,
    Values,
    Number,
    Text,
    Fields,
    Required,
    FieldCount,
    FieldNames,
    Dependent,
    Items,
    ItemCount,
    Unique,
    Contains,
    AnyOf,
    OneOf,
    Not,
    If,
    /// What was evaluated elsewhere decides: all keywords together.
    Unevaluated,
}

const PARTS: [Part; 18] = [
    Part::Type,
    Part::Values,
    Part::Number,
    Part::Text,
    Part::Fields,
    Part::Required,
    Part::FieldCount,
    Part::FieldNames,
    Part::Dependent,
    Part::Items,
    Part::ItemCount,
    Part::Unique,
    Part::Contains,
    Part::AnyOf,
    Part::OneOf,
    Part::Not,
    Part::If,
    Part::Unevaluated,
];

impl Part {
    /// The parts of which a schema has something.
    pub(super) fn of(map: &Map<String, Value>) -> Vec<Part> {
        let mut parts = Vec::new();
        for part in PARTS {
            if part.keywords().iter().any(|keyword| map.contains_key(*keyword)) {
                parts.push(part);
            }
        }
        parts
    }

    pub(super) fn keywords(self) -> &'static [&'static str] {
        match self {
            Part::Type => &["type"],
            Part::Values => &["enum", "const"],
            Part::Number => &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
            Part::Text => &["minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"],
            Part::Fields => &["properties", "patternProperties", "additionalProperties"],
            Part::Required => &["required"],
            Part::FieldCount => &["minProperties", "maxProperties"],
            Part::FieldNames => &["propertyNames"],
            Part::Dependent => &["dependentRequired", "dependentSchemas", "dependencies"],
            Part::Items => &["items", "prefixItems", "additionalItems"],
            Part::ItemCount => &["minItems", "maxItems"],
            Part::Unique => &["uniqueItems"],
            Part::Contains => &["contains", "minContains", "maxContains"],
            Part::AnyOf => &["anyOf"],
            Part::OneOf => &["oneOf"],
            Part::Not => &["not"],
            Part::If => &["if", "then", "else"],
            Part::Unevaluated => &["unevaluatedProperties", "unevaluatedItems"],
        }
    }

    /// Whether a keyword of the writer can matter. Of a number, none about fields does, which keeps questions small.
    pub(super) fn is_near(self, keyword: &str) -> bool {
        let about_parts = |part: Part| {
            let about = [Part::Fields, Part::Required, Part::FieldCount, Part::FieldNames, Part::Dependent];
            let items = [Part::Items, Part::ItemCount, Part::Unique, Part::Contains];
            about.contains(&part) || items.contains(&part)
        };
        if is_silent(keyword) {
            return false;
        }
        match self {
            Part::Number | Part::Text | Part::Values | Part::Type => {
                !PARTS.iter().any(|part| about_parts(*part) && part.keywords().contains(&keyword))
            }
            _ => true,
        }
    }
}
