//! AsyncAPI documents, JSON or YAML, that are imported.

use quipu_api::asyncapi;
use serde_json::Value;

/// A document: what is read is written in YAML and read back, and no schema of it needs anything from elsewhere.
pub fn asyncapi(bytes: &[u8]) -> bool {
    let Ok(document) = asyncapi::read(bytes) else { return false };
    let text = asyncapi::yaml(&document);
    // What was within the limits need not be so with other spaces.
    if text.len() <= asyncapi::BYTES_MAX {
        assert_eq!(asyncapi::read(text.as_bytes()).as_ref(), Ok(&document), "{text}");
    }
    let Ok(imported) = asyncapi::import(&document) else { return false };
    for schema in imported.types.values().flat_map(|of| of.schemas.values()) {
        refers_to_itself_only(&schema.schema, &schema.schema);
    }
    imported.types.values().any(|of| !of.schemas.is_empty())
}

/// Nothing outside of a schema is referred to by it.
fn refers_to_itself_only(schema: &Value, whole: &Value) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| refers_to_itself_only(item, whole)),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "$ref" => assert!(text.starts_with('#'), "{text} in {whole}"),
                    member => refers_to_itself_only(member, whole),
                }
            }
        }
        _ => {}
    }
}
