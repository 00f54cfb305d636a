//! Values into JSON text. Literals go out as they came in; what was calculated in the shortest form that reads back the
//! same, and as jq does, NaN as `null` and the infinities as the largest numbers.

use super::super::{OUTPUT_BYTES_MAX, too_large};
use super::meter;
use super::number::Number;
use super::value::Value;

/// How much of a value an error shows.
const EXCERPT_CHARS_MAX: usize = 80;

/// The outcome of an expression.
pub(super) fn to_json(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    match write(&mut out, value, OUTPUT_BYTES_MAX) {
        true => Ok(out.into_bytes()),
        false => Err(too_large()),
    }
}

/// JSON as a value of its own, for `tojson` and strings with values in them.
pub(super) fn to_text(value: &Value) -> Value {
    let mut out = String::new();
    if meter::copied(value.size().bytes) {
        write(&mut out, value, OUTPUT_BYTES_MAX);
    }
    Value::text(out)
}

/// The beginning of a value.
pub(super) fn to_excerpt(value: &Value) -> String {
    let mut out = String::new();
    let is_whole = write(&mut out, value, EXCERPT_CHARS_MAX);
    match out.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &out[..at]),
        None if is_whole => out,
        None => out + "…",
    }
}

/// What an expression failed with: text as it is, anything else as JSON.
pub(super) fn to_message(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        other => to_excerpt(other),
    }
}

/// Appends JSON. False if it became too long, and is not whole.
fn write(out: &mut String, value: &Value, bytes_max: usize) -> bool {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::Text(text) => write_text(out, text, bytes_max),
        Value::Array(array) => {
            out.push('[');
            for (at, item) in array.items().iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                if !write(out, item, bytes_max) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (at, (name, value)) in object.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(out, name, bytes_max);
                out.push(':');
                if !write(out, value, bytes_max) {
                    return false;
                }
            }
            out.push('}');
        }
    }
    out.len() <= bytes_max
}

fn write_text(out: &mut String, text: &str, bytes_max: usize) {
    // An error shows the beginning of a text, which may be megabytes.
    let end = (0..=text.len().min(bytes_max.saturating_add(4))).rev().find(|at| text.is_char_boundary(*at));
    let json = serde_json::to_string(&text[..end.unwrap_or(0)]);
    out.push_str(&json.expect("text is JSON"));
}

fn write_number(out: &mut String, number: &Number) {
    match number {
        Number::Int(int) => out.push_str(&int.to_string()),
        Number::Literal(text, _) => out.push_str(text),
        Number::Float(float) if float.is_nan() => out.push_str("null"),
        Number::Float(float) => {
            let finite = float.clamp(-f64::MAX, f64::MAX);
            out.push_str(&serde_json::to_string(&finite).expect("a finite number is JSON"));
        }
    }
}
