//! Whether a schema's text is small enough to be looked at: counted before anything that might cost more.

use serde_json::Value;

use super::invalid::InvalidSchema;
use super::limits::Limits;
use super::pointer::{element, member};

/// Reads a text that is small enough.
pub(super) fn read(text: &[u8], limits: &Limits) -> Result<Value, InvalidSchema> {
    if text.len() > limits.bytes {
        return Err(InvalidSchema::TooLarge { bytes: text.len(), max: limits.bytes });
    }
    // serde_json gives up by itself at 128 levels, so that nothing overflows the stack before it is counted.
    let value: Value =
        serde_json::from_slice(text).map_err(|fault| InvalidSchema::NotJson { reason: fault.to_string() })?;
    let mut count = Count { limits, nodes: 0 };
    count.value(&value, "", 1)?;
    Ok(value)
}

struct Count<'a> {
    limits: &'a Limits,
    nodes: usize,
}

impl Count<'_> {
    fn value(&mut self, value: &Value, pointer: &str, depth: usize) -> Result<(), InvalidSchema> {
        self.nodes += 1;
        most("", "values in a schema", self.nodes, self.limits.nodes)?;
        most(pointer, "levels", depth, self.limits.depth)?;
        match value {
            Value::Array(list) => {
                for (index, inner) in list.iter().enumerate() {
                    self.value(inner, &element(pointer, index), depth + 1)?;
                }
            }
            Value::Object(map) => {
                for (name, inner) in map {
                    let at = member(pointer, name);
                    match (name.as_str(), inner) {
                        ("enum", Value::Array(list)) => {
                            most(&at, "values of an enum", list.len(), self.limits.enum_values)?;
                        }
                        ("properties", Value::Object(fields)) => {
                            most(&at, "fields of an object", fields.len(), self.limits.properties)?;
                        }
                        _ => {}
                    }
                    self.value(inner, &at, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Refuses more than `max` of something.
pub(super) fn most(pointer: &str, what: &'static str, found: usize, max: usize) -> Result<(), InvalidSchema> {
    if found <= max {
        return Ok(());
    }
    Err(InvalidSchema::TooMany { pointer: pointer.to_owned(), what, found: found as u64, max: max as u64 })
}
