//! Why a value does not fit a schema, in words for whoever sent it.
//!
//! A value is repeated only where it is short and not sensitive: what is refused ends in answers and in logs.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::draft::Draft;
use super::invalid::InvalidSchema;
use super::pointer::member;

/// One reason why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Violation {
    /// The place in the data as a JSON pointer. A field that is missing is named as if it were there.
    pub pointer: String,
    /// The keyword that does not hold.
    pub keyword: String,
    /// The place in the schema as a JSON pointer, references followed.
    #[serde(rename = "schemapointer")]
    pub schema_pointer: String,
    /// What may stand there.
    pub expected: String,
    /// What stands there: a short value, or what kind of value it is.
    pub found: String,
}

impl Violation {
    /// That the data as a whole is not what any schema is about.
    pub fn of_all(expected: &str, found: &str) -> Self {
        Self {
            pointer: String::new(),
            keyword: "type".to_owned(),
            schema_pointer: String::new(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the root" } else { self.pointer.as_str() };
        write!(f, "{place}: expected {}, found {}", self.expected, self.found)
    }
}

/// Most characters of a value, of a list of what is allowed, and of a pattern that are repeated.
const SHOWN_CHARS_MAX: usize = 64;
/// Longest pointer that is repeated: names of fields come from the sender as well.
const POINTER_CHARS_MAX: usize = 512;
/// What is said instead of a value that is marked as sensitive.
const HIDDEN: &str = "a value that is not shown";

/// The violations that one error stands for: one for each field where it is about several.
pub(super) fn violations(
    error: &ValidationError<'_>,
    value: &Value,
    is_sensitive: impl Fn(&str) -> bool,
) -> Vec<Violation> {
    let at = error.instance_path().as_str();
    let one = |pointer: &str, expected: String, found: String| {
        let found = if found != "nothing" && is_sensitive(pointer) { HIDDEN.to_owned() } else { found };
        Violation {
            pointer: clipped(pointer, POINTER_CHARS_MAX),
            keyword: error.kind().keyword().to_owned(),
            schema_pointer: error.schema_path().as_str().to_owned(),
            expected,
            found,
        }
    };
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![one(&member(at, name), "a value, the field is required".to_owned(), "nothing".to_owned())]
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let each = |name: &String| {
                let value = error.instance().get(name).map_or_else(|| "one".to_owned(), shown);
                one(&member(at, name), "no field of this name".to_owned(), value)
            };
            unexpected.iter().map(each).collect()
        }
        // Where no field at all is allowed the engine names the object and shows a field's value.
        Kind::FalseSchema if value.pointer(at).is_some_and(|whole| whole != error.instance().as_ref()) => {
            let whole = value.pointer(at).and_then(Value::as_object);
            let each = |(name, value): (&String, &Value)| {
                one(&member(at, name), "no field of this name".to_owned(), shown(value))
            };
            whole.into_iter().flatten().map(each).collect()
        }
        _ => {
            let (expected, found) = words(error);
            vec![one(at, expected, found)]
        }
    }
}

/// What an error expected and what it found.
fn words(error: &ValidationError<'_>) -> (String, String) {
    let found = shown(error.instance());
    let expected = match error.kind() {
        Kind::Type { kind: TypeKind::Single(kind) } => with_article(kind.as_str()),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| with_article(kind.as_str())).collect();
            kinds.join(" or ")
        }
        Kind::Constant { expected_value } => shown(expected_value),
        Kind::Enum { options } => format!("one of {}", clipped(&options.to_string(), SHOWN_CHARS_MAX)),
        Kind::Format { format } => format!("a text in the format {}", clipped(format, SHOWN_CHARS_MAX)),
        Kind::Pattern { pattern } => format!("a text that matches {}", clipped(pattern, SHOWN_CHARS_MAX)),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::MaxLength { limit } => return (format!("at most {limit} characters"), length(error.instance())),
        Kind::MinLength { limit } => return (format!("at least {limit} characters"), length(error.instance())),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::AdditionalItems { limit } => format!("at most {limit} items"),
        Kind::UnevaluatedItems { .. } => "no items beyond those described".to_owned(),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxProperties { limit } => format!("at most {limit} fields"),
        Kind::MinProperties { limit } => format!("at least {limit} fields"),
        Kind::UniqueItems => return ("items that differ".to_owned(), "two that are equal".to_owned()),
        Kind::Contains => "an item of the kind that is asked for, as often as it is".to_owned(),
        Kind::FalseSchema => return ("nothing".to_owned(), found),
        Kind::Not { .. } => "a value that does not fit what is excluded".to_owned(),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => branches(error, context),
        Kind::OneOfMultipleValid { .. } => {
            return (
                "a value that fits exactly one of the alternatives".to_owned(),
                "one that fits several".to_owned(),
            );
        }
        Kind::PropertyNames { error } => {
            let (expected, found) = words(error);
            return (format!("names of fields that are {expected}"), found);
        }
        Kind::ContentEncoding { content_encoding } => format!("a text in {content_encoding}"),
        Kind::ContentMediaType { content_media_type } => format!("a text that holds {content_media_type}"),
        Kind::Referencing(fault) => return ("a reference that can be followed".to_owned(), fault.to_string()),
        _ => format!("what {} asks for", error.kind().keyword()),
    };
    (expected, found)
}

/// What the alternatives expect, where they are few and each says something about the value itself.
fn branches(error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) -> String {
    let first = |errors: &Vec<ValidationError<'static>>| {
        let first = errors.first().filter(|first| first.instance_path().as_str() == error.instance_path().as_str())?;
        matches!(first.kind(), Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. } | Kind::Format { .. })
            .then(|| words(first).0)
    };
    let named: Option<Vec<String>> = context.iter().map(first).collect();
    match named {
        Some(mut named) if (1..=4).contains(&named.len()) => {
            named.dedup();
            named.join(" or ")
        }
        _ => format!("a value that fits one of {} alternatives", context.len()),
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

/// How long a text is.
fn length(value: &Value) -> String {
    value.as_str().map_or_else(|| shown(value), |text| text.chars().count().to_string())
}

/// A short value, or what kind of value it is. Never the content of an object or a list: it may hold what is sensitive.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {} items", list.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
        Value::String(text) => Value::from(clipped(text, SHOWN_CHARS_MAX)).to_string(),
        other => clipped(&other.to_string(), SHOWN_CHARS_MAX),
    }
}

fn clipped(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Refuses a schema that breaks a rule of its draft.
pub(super) fn check_against_draft(schema: &Value, draft: Draft, pointer: &str) -> Result<(), InvalidSchema> {
    let checked = match draft {
        Draft::Draft4 => jsonschema::draft4::meta::validate(schema),
        Draft::Draft6 => jsonschema::draft6::meta::validate(schema),
        Draft::Draft7 => jsonschema::draft7::meta::validate(schema),
        Draft::Draft201909 => jsonschema::draft201909::meta::validate(schema),
        Draft::Draft202012 => jsonschema::draft202012::meta::validate(schema),
    };
    checked.map_err(|error| malformed(&error, pointer))
}

/// An error about a schema.
pub(super) fn malformed(error: &ValidationError<'_>, pointer: &str) -> InvalidSchema {
    let (expected, found) = words(error);
    InvalidSchema::Malformed { pointer: format!("{pointer}{}", error.instance_path().as_str()), expected, found }
}
