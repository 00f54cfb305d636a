//! A document as YAML, for people and for tools that keep such documents so.

use serde_json::Value;

/// The text of a document. The same document gives the same text, and it is read back as it was.
pub fn yaml(document: &Value) -> String {
    // Texts on one line: a block would have to keep spaces at its edges that readers do not agree about.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(document, options).expect("a JSON value has a text in YAML")
}
