//! What a producer writes: the rule itself, as a table, and that its schema is never narrower.

use serde_json::{Value, json};

use super::endless;
use crate::schema::compatibility::algebra::all_of;
use crate::schema::compatibility::tree::Tree;
use crate::schema::compatibility::validator::Validator;
use crate::schema::compatibility::writer::{declares_all, shape};

#[test]
fn a_producer_writes_only_declared_fields() {
    let branches = json!({"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]});
    let nested = json!({"properties": {"o": {"properties": {"x": {}}}, "l": {"items": {"properties": {"y": {}}}}}});
    let list = json!({
        "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}, "v": {}}}}, "$ref": "#/$defs/n"
    });
    let table: Vec<(Value, Value, bool)> = vec![
        (json!({"properties": {"a": {}}}), json!({"a": 1}), true),
        (json!({"properties": {"a": {}}}), json!({"b": 1}), false),
        (json!({"properties": {"a": {}}, "required": ["b"]}), json!({"b": 1}), true),
        (json!({"properties": {"a": {}}, "additionalProperties": true}), json!({"b": 1}), true),
        (json!({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}), json!({"b": null}), true),
        (json!({"type": "object"}), json!({"anything": {"at": "all"}}), true),
        (json!({"patternProperties": {"^x-": {}}}), json!({"x-a": 1}), true),
        (json!({"patternProperties": {"^x-": {}}}), json!({"y-a": 1}), false),
        (branches.clone(), json!({"a": 1, "b": 2}), true),
        (branches, json!({"c": 1}), false),
        (nested.clone(), json!({"o": {"x": 1}, "l": [{"y": 1}, {}]}), true),
        (nested.clone(), json!({"o": {"z": 1}}), false),
        (nested, json!({"l": [{"z": 1}]}), false),
        (json!({"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}), json!({"a": 1, "b": 1}), true),
        (json!({"properties": {"a": {}}, "dependentRequired": {"a": ["b"]}}), json!({"a": 1, "b": 1}), true),
        (list.clone(), json!({"next": {"next": {"v": 1}}}), true),
        (list, json!({"next": {"next": {"w": 1}}}), false),
    ];
    for (schema, payload, written) in table {
        let tree = Tree::new(&schema, &endless()).unwrap();
        let at = tree.located(&[&schema], &[&schema]);
        assert_eq!(declares_all(&tree, &at, &payload), written, "{payload} of {schema}");
        let mut budget = 100;
        let shape = all_of(tree.draft, vec![shape(&tree, &at, &mut budget)]);
        let shape = Validator::new(&shape, &endless()).unwrap();
        assert!(!written || shape.accepts(&payload), "the shape of {schema} refuses {payload}");
    }
}
