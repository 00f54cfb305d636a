//! What a person reads of two versions.

use serde_json::{Value, json};

use crate::schema::diff;

fn told(old: &Value, new: &Value) -> Vec<String> {
    diff(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn each_change_is_told_with_its_field() {
    let old = json!({"type": "object", "required": ["a", "b", "x"], "properties": {
        "a": {"type": "string", "maxLength": 5, "enum": ["p", "q"]},
        "b": {"type": "integer"},
        "c": {"type": "array", "items": {"type": "object", "properties": {"d": {"format": "uri"}}}},
        "e": {},
        "x": {"description": "old"},
    }});
    let new = json!({"additionalProperties": false, "type": "object", "required": ["a", "c", "n"], "properties": {
        "a": {"enum": ["q", "r"], "type": "string", "maxLength": 7},
        "b": {"type": ["null", "integer"]},
        "c": {"type": "array", "items": {"type": "object", "properties": {"d": {"x-sensitive": true}}}},
        "m": {}, "n": {},
        "x": {"description": "new"},
    }});
    assert_eq!(
        told(&old, &new),
        [
            "the root: additionalProperties is false now",
            r#"/a: may be "r" now"#,
            r#"/a: may not be "p" any more"#,
            "/a: maxLength was 5, is 7",
            "/b: optional now",
            "/b: was of type integer, is of type integer or null",
            "/c: required now",
            r#"/c/*/d: format was "uri", is not said any more"#,
            "/c/*/d: x-sensitive is true now",
            "/e: removed",
            "/m: added, optional",
            "/n: added, required",
            "/x: optional now",
            r#"/x: description was "old", is "new""#,
        ]
    );
    assert_eq!(diff(&old, &old), []);
    let first = serde_json::to_value(&diff(&old, &new)[1]).unwrap();
    assert_eq!(first, json!({"path": "/a", "change": "enumvalueadded", "value": "r"}));
}

#[test]
fn what_a_reference_leads_to_is_compared() {
    let version = |zip: Value| {
        json!({"$defs": {"address": {"properties": {"zip": zip, "next": {"$ref": "#/$defs/address"}}}},
        "properties": {"home": {"$ref": "#/$defs/address"}}})
    };
    let inline = json!({"properties": {"home": {"properties": {"zip": {"type": "string"}}}}});
    let (old, new) = (version(json!({"type": "string"})), version(json!({"type": "integer"})));
    assert_eq!(told(&old, &new), ["/home/zip: was of type string, is of type integer"]);
    assert_eq!(told(&inline, &old), ["/home/next: added, optional"]);
    assert_eq!(told(&json!(true), &json!({"type": "null"})), ["the root: was of type any, is of type null"]);
    assert_eq!(told(&json!(true), &json!(false)), ["the root: schema was true, is false"]);
}
