//! Where a schema holds further schemas, keyword by keyword, in the two drafts that are compared.

use serde_json::Value;

/// The drafts that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draft {
    Seven,
    TwentyTwelve,
}

/// What the schema under a keyword is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The same value, and what is declared there counts: `allOf`, `anyOf`, `then`.
    Same,
    /// The same value, but denied: `not`.
    Denied,
    /// A part of the value: a field, an item, a name.
    Part,
    /// Nothing, until it is referred to.
    Definition,
}

/// How the schemas of a keyword are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    One,
    Many,
    Named,
}

/// The place and the form of what is under a keyword, if schemas are.
pub(crate) fn schemas_under(keyword: &str, value: &Value, draft: Draft) -> Option<(Place, Form)> {
    let newer = draft == Draft::TwentyTwelve;
    Some(match keyword {
        "allOf" | "anyOf" | "oneOf" => (Place::Same, Form::Many),
        "if" | "then" | "else" => (Place::Same, Form::One),
        "not" => (Place::Denied, Form::One),
        "dependentSchemas" if newer => (Place::Same, Form::Named),
        // Fields on which a field depends are lists of names; only the others are schemas.
        "dependencies" if !newer => (Place::Same, Form::Named),
        "properties" | "patternProperties" => (Place::Part, Form::Named),
        "additionalProperties" | "propertyNames" | "contains" => (Place::Part, Form::One),
        "items" if value.is_array() && !newer => (Place::Part, Form::Many),
        "items" => (Place::Part, Form::One),
        "additionalItems" if !newer => (Place::Part, Form::One),
        "prefixItems" if newer => (Place::Part, Form::Many),
        "unevaluatedItems" | "unevaluatedProperties" if newer => (Place::Part, Form::One),
        "$defs" | "definitions" => (Place::Definition, Form::Named),
        _ => return None,
    })
}

/// The schemas of a form, in order.
pub(crate) fn schemas_in(form: Form, value: &Value) -> Vec<&Value> {
    match (form, value) {
        (Form::Many, Value::Array(list)) => list.iter().collect(),
        (Form::Named, Value::Object(map)) => map.values().filter(|each| is_schema(each)).collect(),
        (Form::One, each) if is_schema(each) => vec![each],
        _ => Vec::new(),
    }
}

/// Whether a value can be a schema.
pub(crate) fn is_schema(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Bool(_))
}

/// Keywords that say nothing about what is valid, or that are followed before anything is asked.
pub(crate) fn is_silent(keyword: &str) -> bool {
    const SILENT: [&str; 15] = [
        "title",
        "description",
        "default",
        "examples",
        "$comment",
        "$schema",
        "$id",
        "$defs",
        "definitions",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$ref",
        "allOf",
        "$vocabulary",
    ];
    SILENT.contains(&keyword)
}
