//! A break in words: which field, what of it, and who refuses it.

use serde_json::Value;

use super::Direction;
use super::refute::{Shown, general};

/// Letters of a value that are shown.
const SHOWN_MAX: usize = 80;

/// What breaks, in one sentence.
pub(super) fn what(shown: &Shown, direction: Direction) -> String {
    let fault = &shown.fault;
    let field = general(&shown.payload, &fault.pointer);
    let field = if field.is_empty() { "the data".to_owned() } else { dotted(&field) };
    let (reader, writer, no_longer) = match direction {
        Direction::Backward => ("the new version", "the old one", "is no longer accepted"),
        Direction::Forward => ("the old version", "the new one", "is not known to the old version"),
    };
    let value = shown.payload.pointer(&fault.pointer).map(short).unwrap_or_default();
    let said = match fault.keyword.as_str() {
        "required" => format!("{reader} requires it and {writer} may leave it out"),
        "enum" | "const" => format!("the value {value} {no_longer}"),
        "additionalProperties" | "unevaluatedProperties" | "falseSchema" => {
            format!("{reader} allows no such field and {writer} may write it")
        }
        "type" => format!("{reader} does not accept {} like {value}, which {writer} may write", kind(shown)),
        "anyOf" | "oneOf" => format!("{reader} refuses the value {value} by {}", fault.keyword),
        keyword => format!("{reader} refuses the value {value}, which {writer} may write, by {keyword}"),
    };
    format!("{field}: {said}")
}

fn kind(shown: &Shown) -> &'static str {
    match shown.payload.pointer(&shown.fault.pointer) {
        Some(Value::Null) => "a null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
        None => "a value",
    }
}

/// A pointer as people write a field: `items.*.sku`.
fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    text.chars().take(SHOWN_MAX).chain(['…']).collect()
}
