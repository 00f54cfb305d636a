//! The catalog as an AsyncAPI document, and the other way round. Version 3.0.0 is written; 3.0 and 3.1 are read.
//!
//! A channel is an address, a message is a version of an event type, `send` is what a source publishes and `receive` what somebody
//! reads. What AsyncAPI has no word for is said in members that begin with `x-quipu-`, so that an export that is imported elsewhere
//! gives the same export.

mod export;
mod import;
mod read;
#[cfg(test)]
mod tests;
mod write;

use serde_json::Value;

pub use export::{ExportedSchema, ExportedType, export};
pub use import::{Imported, ImportedSchema, ImportedType, InvalidAsyncApi, Skipped, import};
pub use read::{BYTES_MAX, read};
pub use write::yaml;

/// The name of a source or of a reader, on an operation.
const X_NAME: &str = "x-quipu-name";
/// What is said of a type as a whole, on each of its messages: `owner` and `description`.
const X_TYPE: &str = "x-quipu-type";
/// Who answers for a version, on its message.
const X_OWNER: &str = "x-quipu-owner";
/// Why nobody should begin with a version any more, on its message.
const X_DEPRECATED: &str = "x-quipu-deprecated";
/// What makes the data of a version of that of the one before, on its message: an object with `jq` or `function`.
const X_UPCASTER: &str = "x-quipu-upcaster";
/// Where schemas are.
const SCHEMAS: &str = "#/components/schemas/";

/// Puts `to` in the place of the beginning `from` of each reference that has it. What only looks like a reference is changed and
/// changed back with them.
fn rebase(value: &mut Value, change: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, change)),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "$ref" => {
                        if let Some(changed) = change(text) {
                            *text = changed;
                        }
                    }
                    member => rebase(member, change),
                }
            }
        }
        _ => {}
    }
}
