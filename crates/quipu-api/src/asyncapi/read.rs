//! A document from a stranger as a JSON value: JSON, or YAML within limits.

use serde_json::Value;

use super::import::InvalidAsyncApi;
use crate::problem::clip;
use crate::yaml;

/// Longest document, bytes.
pub const BYTES_MAX: usize = 4 << 20;
/// Deepest nesting.
const DEPTH_MAX: usize = 100;
/// Most values, those that aliases repeat included: the schemas of GitHub's 161 webhooks, as they are inferred, have some more than
/// 200,000.
const NODES_MAX: usize = 400_000;
/// Most anchors and aliases: people use a few.
const ALIASES_MAX: usize = 1_000;

/// Reads a document.
///
/// # Errors
/// It is too large, too deep, or neither JSON nor YAML.
pub fn read(bytes: &[u8]) -> Result<Value, InvalidAsyncApi> {
    let invalid = |detail: String| InvalidAsyncApi { pointer: String::new(), detail };
    if bytes.len() > BYTES_MAX {
        return Err(invalid(format!("expected a document of at most {BYTES_MAX} bytes, found {}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("expected UTF-8, found other bytes".to_owned()))?;
    if text.trim_start().starts_with('{') {
        // Its text is bounded and no alias repeats any of it, so that counting may wait until it is read.
        let value = serde_json::from_str(text).map_err(|error| invalid(format!("expected JSON, found {error}")))?;
        let mut nodes = 0;
        return match is_within(&value, 1, &mut nodes) {
            true => Ok(value),
            false => Err(invalid(format!(
                "expected at most {NODES_MAX} values on at most {DEPTH_MAX} levels, found more: import it in several documents"
            ))),
        };
    }
    let limits = yaml::Limits { depth: DEPTH_MAX, nodes: NODES_MAX, aliases: ALIASES_MAX };
    yaml::read(text, &limits).map_err(|said| invalid(format!("expected JSON or YAML, found {}", clip(&said))))
}

/// Whether a value, which is on this level, and those before it are no more than may be.
fn is_within(value: &Value, level: usize, nodes: &mut usize) -> bool {
    *nodes += 1;
    if level > DEPTH_MAX || *nodes > NODES_MAX {
        return false;
    }
    let mut within = |value| is_within(value, level + 1, nodes);
    match value {
        Value::Array(items) => items.iter().all(&mut within),
        Value::Object(members) => members.values().all(&mut within),
        _ => true,
    }
}
