//! Values near the borders of schemas: the bounds, one less and one more, the listed values, and one of each type.

use serde_json::{Number, Value, json};

use super::Random;
use super::text::{FORMATS, of_pattern};
use crate::schema::compatibility::work::{Work, size};

/// Values for one place.
const VALUES_MAX: usize = 96;
/// What comparing all of them with each other takes, in units of [`Work`].
const COST: usize = 2_000;
/// A string or a list that is one longer than allowed is built only up to this length.
const LENGTH_MAX: u64 = 5001;

/// Values on which schemas for one place may disagree.
pub(crate) fn border(random: &mut Random, schemas: &[&Value], work: &Work) -> Vec<Value> {
    let mut values = Vec::new();
    if !work.take(COST + schemas.len()) {
        return values;
    }
    for schema in schemas {
        of_schema(random, schema, 2, &mut values, work);
    }
    let plain = json!([null, true, false, 0, 1, -1, 2, 0.5, 1.5, 1e9, "", "a", "ab", "A b-1", "\u{1f980}", [], {}]);
    values.extend(plain.as_array().cloned().unwrap_or_default());
    values.extend(FORMATS.iter().map(|(_, sample)| Value::from(*sample)));
    let mut distinct: Vec<Value> = Vec::new();
    for value in values {
        if distinct.len() < VALUES_MAX && !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn of_schema(random: &mut Random, schema: &Value, depth: usize, values: &mut Vec<Value>, work: &Work) {
    let Value::Object(map) = schema else { return };
    for (keyword, stated) in map {
        if values.len() > 4 * VALUES_MAX || !work.take(2) {
            return;
        }
        match keyword.as_str() {
            // A long list: where it begins and ends is where lists are edited.
            "enum" => {
                let list = stated.as_array().map(Vec::as_slice).unwrap_or_default();
                let ends = list.iter().rev().take(24).chain(list.iter().take(8));
                if work.take(ends.clone().map(size).sum()) {
                    values.extend(ends.cloned());
                }
            }
            "const" if work.take(size(stated)) => values.push(stated.clone()),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => numbers(stated, values),
            "multipleOf" => {
                let step = stated.as_f64().unwrap_or(1.0);
                values.extend([step, 2.0 * step, step / 2.0, 3.0 * step].into_iter().filter_map(number));
            }
            "minLength" | "maxLength" => {
                let length = stated.as_u64().filter(|length| *length < LENGTH_MAX).unwrap_or(0);
                let lengths = [length.saturating_sub(1), length, length + 1];
                values.extend(lengths.map(|length| Value::from("a".repeat(length as usize))));
            }
            "minItems" | "maxItems" => {
                let length = stated.as_u64().filter(|length| *length < 200).unwrap_or(0);
                let lengths = [length.saturating_sub(1), length, length + 1];
                values.extend(lengths.map(|length| (0..length).map(Value::from).collect()));
            }
            "uniqueItems" => values.extend([json!([0, 0]), json!(["a", "a"]), json!([null, null])]),
            "pattern" => {
                let pattern = stated.as_str().unwrap_or_default();
                let made = (0..3).filter_map(|_| of_pattern(random, pattern, work)).map(Value::String);
                values.extend(made);
            }
            "anyOf" | "oneOf" | "allOf" if depth > 0 => {
                for branch in stated.as_array().into_iter().flatten() {
                    of_schema(random, branch, depth - 1, values, work);
                }
            }
            "not" | "if" | "then" | "else" | "contains" if depth > 0 => {
                of_schema(random, stated, depth - 1, values, work)
            }
            _ => {}
        }
    }
}

fn numbers(stated: &Value, values: &mut Vec<Value>) {
    values.push(stated.clone());
    if let Some(bound) = stated.as_f64() {
        values.extend([bound - 1.0, bound + 1.0, bound - 0.5, bound + 0.5].into_iter().filter_map(number));
    }
}

fn number(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}
