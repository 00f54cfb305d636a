//! Where a schema has schemas in it, and what part of a value each of them is applied to.
//!
//! The keywords of all drafts are taken together: one that a draft does not know is walked as if it did. That refuses
//! at worst a schema that has a broken schema where its draft would not look.

use serde_json::{Map, Value};

use super::draft::Draft;
use super::pointer::{element, member};

/// What part of a value a schema inside of a schema is applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value itself.
    Same,
    /// One field.
    Field(String),
    /// The fields whose names match a pattern.
    Matching(String),
    /// The fields that `properties` and `patternProperties` do not name.
    OtherFields,
    /// The fields that nothing else looked at.
    LeftFields,
    /// The names of the fields.
    Names,
    /// One item.
    Item(usize),
    /// Items; those after the listed ones where there is a list.
    Items,
    /// Items of which some have to fit.
    Contained,
    /// The items that nothing else looked at.
    LeftItems,
    /// Nothing: it waits to be referred to.
    Shelf,
}

const ONE: [(&str, Step); 12] = [
    ("not", Step::Same),
    ("if", Step::Same),
    ("then", Step::Same),
    ("else", Step::Same),
    ("additionalProperties", Step::OtherFields),
    ("unevaluatedProperties", Step::LeftFields),
    ("propertyNames", Step::Names),
    ("contains", Step::Contained),
    ("additionalItems", Step::Items),
    ("unevaluatedItems", Step::LeftItems),
    ("items", Step::Items),
    // What the content of a text is to be is an annotation in all drafts; it is walked for its references.
    ("contentSchema", Step::Shelf),
];

/// Calls `each` with every schema that stands in a schema.
pub(super) fn each<'a>(
    draft: Draft,
    pointer: &str,
    schema: &'a Map<String, Value>,
    mut each: impl FnMut(Step, String, &'a Value),
) {
    let is_alone = draft.ignores_beside_reference() && schema.get("$ref").is_some_and(Value::is_string);
    let mut schema_at = |step: Step, pointer: String, value: &'a Value| {
        // Beside a reference that is all that counts, schemas can only wait to be referred to.
        let step = if is_alone { Step::Shelf } else { step };
        if value.is_object() || value.is_boolean() {
            each(step, pointer, value);
        }
    };
    for (keyword, step) in ONE {
        if let Some(value) = schema.get(keyword) {
            schema_at(step, member(pointer, keyword), value);
        }
    }
    for keyword in ["allOf", "anyOf", "oneOf", "prefixItems", "items"] {
        if let Some(Value::Array(list)) = schema.get(keyword) {
            for (index, value) in list.iter().enumerate() {
                let step = if keyword.ends_with("Of") { Step::Same } else { Step::Item(index) };
                schema_at(step, element(&member(pointer, keyword), index), value);
            }
        }
    }
    for keyword in ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"] {
        if let Some(Value::Object(map)) = schema.get(keyword) {
            for (name, value) in map {
                let step = match keyword {
                    "properties" => Step::Field(name.clone()),
                    "patternProperties" => Step::Matching(name.clone()),
                    "dependentSchemas" | "dependencies" => Step::Same,
                    _ => Step::Shelf,
                };
                schema_at(step, member(&member(pointer, keyword), name), value);
            }
        }
    }
}
