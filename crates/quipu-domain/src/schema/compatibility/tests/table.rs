//! Pairs of schemas with what is expected of them in both directions. The first part are the cases that Confluent's
//! registry lists for JSON Schema; where it calls a new optional field under an open model incompatible, this does not.

use serde_json::{Value, json};

use super::{Answer, Level, assert_true, compared};
use crate::schema::compatibility::{Budget, compare};

/// What is expected of one direction.
enum Expected {
    Yes,
    /// It breaks at these fields.
    At(&'static [&'static str]),
    Unknown,
}

use Expected::{At, Unknown, Yes};

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

fn closed(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn field(schema: Value) -> Value {
    object(json!({"a": schema}), &[])
}

fn check(name: &str, old: &Value, new: &Value, level: Level, expected: &Expected) {
    let verdict = compared(level, old, new);
    assert_true(&verdict, old, new);
    let found: std::collections::BTreeSet<&str> = verdict.breaks.iter().map(|each| each.pointer.as_str()).collect();
    let (answer, places) = match expected {
        Yes => (Answer::Yes, Vec::new()),
        At(places) => (Answer::No, places.to_vec()),
        Unknown => (Answer::Unknown, Vec::new()),
    };
    assert_eq!(verdict.answer, answer, "{name}, {level}: {verdict:#?}");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), places, "{name}, {level}: {verdict:#?}");
}

fn check_all(table: Vec<(&str, Value, Value, Expected, Expected)>) {
    for (name, old, new, backward, forward) in table {
        check(name, &old, &new, Level::Backward, &backward);
        check(name, &old, &new, Level::Forward, &forward);
    }
}

#[test]
fn fields_come_and_go() {
    let s = || json!({"type": "string"});
    let i = || json!({"type": "integer"});
    check_all(vec![
        ("optional added, open", object(json!({"a": s()}), &[]), object(json!({"a": s(), "b": i()}), &[]), Yes, Yes),
        (
            "optional added, closed",
            closed(json!({"a": s()}), &[]),
            closed(json!({"a": s(), "b": i()}), &[]),
            Yes,
            At(&["/b"]),
        ),
        ("optional removed, open", object(json!({"a": s(), "b": i()}), &[]), object(json!({"a": s()}), &[]), Yes, Yes),
        (
            "optional removed, closed",
            closed(json!({"a": s(), "b": i()}), &[]),
            closed(json!({"a": s()}), &[]),
            At(&["/b"]),
            Yes,
        ),
        (
            "required added",
            object(json!({"a": s()}), &[]),
            object(json!({"a": s(), "b": i()}), &["b"]),
            At(&["/b"]),
            Yes,
        ),
        (
            "required removed",
            object(json!({"a": s(), "b": i()}), &["b"]),
            object(json!({"a": s()}), &[]),
            Yes,
            At(&["/b"]),
        ),
        ("optional becomes required", field(s()), object(json!({"a": s()}), &["a"]), At(&["/a"]), Yes),
        (
            "field renamed",
            object(json!({"a": s()}), &["a"]),
            object(json!({"b": s()}), &["b"]),
            At(&["/b"]),
            At(&["/a"]),
        ),
        ("model closed", field(s()), closed(json!({"a": s()}), &[]), Yes, Yes),
        ("model of a free object closed", json!({"type": "object"}), closed(json!({}), &[]), At(&["/extra"]), Yes),
        (
            "additional of a type",
            closed(json!({"a": s()}), &[]),
            json!({"type": "object", "properties": {"a": s()}, "additionalProperties": i()}),
            Yes,
            At(&["/extra"]),
        ),
        (
            "map of wider values",
            json!({"type": "object", "additionalProperties": i()}),
            json!({"type": "object", "additionalProperties": {"type": "number"}}),
            Yes,
            At(&["/extra"]),
        ),
        (
            "two breaks",
            object(json!({"a": s(), "b": s()}), &[]),
            object(json!({"a": i(), "b": i()}), &[]),
            At(&["/a", "/b"]),
            At(&["/a", "/b"]),
        ),
    ]);
}

#[test]
fn values_become_wider_or_narrower() {
    let f = field;
    check_all(vec![
        ("integer to number", f(json!({"type": "integer"})), f(json!({"type": "number"})), Yes, At(&["/a"])),
        ("string to integer", f(json!({"type": "string"})), f(json!({"type": "integer"})), At(&["/a"]), At(&["/a"])),
        ("made nullable", f(json!({"type": "string"})), f(json!({"type": ["string", "null"]})), Yes, At(&["/a"])),
        ("enum extended", f(json!({"enum": ["x", "y"]})), f(json!({"enum": ["x", "y", "z"]})), Yes, At(&["/a"])),
        ("enum dropped", f(json!({"enum": ["x", "y"]})), f(json!({"type": "string"})), Yes, At(&["/a"])),
        ("const changed", f(json!({"const": 1})), f(json!({"const": 2})), At(&["/a"]), At(&["/a"])),
        ("const as another number", f(json!({"const": 1})), f(json!({"enum": [1.0, 2.0]})), Yes, At(&["/a"])),
        (
            "maxLength grown",
            f(json!({"type": "string", "maxLength": 5})),
            f(json!({"type": "string", "maxLength": 9})),
            Yes,
            At(&["/a"]),
        ),
        (
            "minLength added",
            f(json!({"type": "string"})),
            f(json!({"type": "string", "minLength": 1})),
            At(&["/a"]),
            Yes,
        ),
        (
            "minimum lowered",
            f(json!({"type": "integer", "minimum": 5})),
            f(json!({"type": "integer", "minimum": 0})),
            Yes,
            At(&["/a"]),
        ),
        (
            "exclusive bound",
            f(json!({"type": "integer", "minimum": 1})),
            f(json!({"type": "integer", "exclusiveMinimum": 0})),
            Yes,
            Yes,
        ),
        (
            "multipleOf coarser",
            f(json!({"type": "integer", "multipleOf": 4})),
            f(json!({"type": "integer", "multipleOf": 2})),
            Yes,
            At(&["/a"]),
        ),
        (
            "pattern added",
            f(json!({"type": "string"})),
            f(json!({"type": "string", "pattern": "^a"})),
            At(&["/a"]),
            Yes,
        ),
        (
            "format added",
            f(json!({"type": "string"})),
            f(json!({"type": "string", "format": "date"})),
            At(&["/a"]),
            Yes,
        ),
        (
            "pattern rewritten",
            f(json!({"type": "string", "pattern": "^[ab]+$"})),
            f(json!({"type": "string", "pattern": "^(a|b)+$"})),
            Unknown,
            Unknown,
        ),
        (
            "title and default",
            f(json!({"type": "string"})),
            f(json!({"type": "string", "title": "A", "default": "x"})),
            Yes,
            Yes,
        ),
    ]);
}

#[test]
fn breaks_inside_are_named_by_their_path() {
    let order =
        |sku: Value| object(json!({"items": {"type": "array", "items": object(json!({"sku": sku}), &["sku"])}}), &[]);
    let list = |extra: Value| json!({"type": "array", "items": extra});
    let node = |value: &str| {
        json!({"$defs": {"n": {"type": "object", "properties": {
            "next": {"$ref": "#/$defs/n"}, "v": {"type": value}
        }}}, "$ref": "#/$defs/n"})
    };
    let itself = |value: &str| json!({"type": "object", "properties": {"next": {"$ref": "#"}, "v": {"type": value}}});
    check_all(vec![
        (
            "nested",
            field(field(json!({"type": "string"}))),
            field(field(json!({"type": "string", "maxLength": 2}))),
            At(&["/a/a"]),
            Yes,
        ),
        (
            "in items",
            order(json!({"type": "string"})),
            order(json!({"type": "string", "maxLength": 5})),
            At(&["/items/*/sku"]),
            Yes,
        ),
        ("items wider", list(json!({"type": "integer"})), list(json!({"type": "number"})), Yes, At(&["/*"])),
        ("minItems", json!({"type": "array"}), json!({"type": "array", "minItems": 1}), At(&[""]), Yes),
        (
            "uniqueItems",
            list(json!({"type": "integer"})),
            json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true}),
            At(&[""]),
            Yes,
        ),
        (
            "prefix longer",
            json!({"type": "array", "prefixItems": [{"type": "string"}], "maxItems": 1}),
            json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "maxItems": 2}),
            Yes,
            At(&[""]),
        ),
        ("recursive definitions wider", node("integer"), node("number"), Yes, At(&["/v"])),
        ("recursive on itself wider", itself("integer"), itself("number"), Yes, At(&["/v"])),
        (
            "reference to another",
            json!({"$defs": {"a": {"type": "string"}, "b": {"type": "null"}}, "properties": {"f": {"$ref": "#/$defs/a"}}, "type": "object"}),
            json!({"$defs": {"a": {"type": "string"}, "b": {"type": "null"}}, "properties": {"f": {"$ref": "#/$defs/b"}}, "type": "object"}),
            At(&["/f"]),
            At(&["/f"]),
        ),
        (
            "name that needs escapes",
            object(json!({"a/b": {"type": "string"}}), &[]),
            object(json!({"a/b": {"type": "null"}}), &[]),
            At(&["/a~1b"]),
            At(&["/a~1b"]),
        ),
    ]);
}

#[test]
fn alternatives_are_taken_one_by_one() {
    let tagged = |kinds: &[(&str, &str)]| {
        let branches: Vec<Value> =
            kinds.iter().map(|(tag, kind)| object(json!({"k": {"const": tag}, "v": {"type": kind}}), &["k"])).collect();
        json!({"oneOf": branches})
    };
    let any = |schemas: Value| field(json!({"anyOf": schemas}));
    let s = json!({"type": "string"});
    let base = |extra: Value| json!({"allOf": [object(json!({"id": s.clone()}), &["id"]), {"properties": extra}]});
    let one_of = |extra: Value| json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "anyOf": extra});
    let when = |then: Value| {
        json!({"type": "object", "properties": {"k": {"type": "string"}, "z": {"type": "string"}},
        "if": {"properties": {"k": {"const": "x"}}, "required": ["k"]}, "then": then})
    };
    check_all(vec![
        (
            "oneOf extended",
            field(json!({"oneOf": [{"type": "string"}]})),
            field(json!({"oneOf": [{"type": "string"}, {"type": "null"}]})),
            Yes,
            At(&["/a"]),
        ),
        (
            "oneOf reduced",
            field(json!({"oneOf": [{"type": "string"}, {"type": "null"}]})),
            field(json!({"oneOf": [{"type": "null"}]})),
            At(&["/a"]),
            Yes,
        ),
        (
            "anyOf to list of types",
            any(json!([{"type": "string"}, {"type": "null"}])),
            field(json!({"type": ["null", "string"]})),
            Yes,
            Yes,
        ),
        ("single type to anyOf", field(s.clone()), any(json!([s, {"type": "integer"}])), Yes, At(&["/a"])),
        (
            "tagged, branch added",
            tagged(&[("a", "string"), ("b", "integer")]),
            tagged(&[("a", "string"), ("b", "number"), ("c", "null")]),
            Yes,
            At(&[""]),
        ),
        (
            "tagged, branch removed",
            tagged(&[("a", "string"), ("b", "integer")]),
            tagged(&[("a", "string")]),
            At(&[""]),
            Yes,
        ),
        ("allOf, optional added", base(json!({})), base(json!({"c": {"type": "integer"}})), Yes, Yes),
        (
            "allOf, field narrowed",
            base(json!({"c": {"type": "number"}})),
            base(json!({"c": {"type": "integer"}})),
            At(&["/c"]),
            Yes,
        ),
        (
            "demands of one or another",
            one_of(json!([{"required": ["a"]}])),
            one_of(json!([{"required": ["a"]}, {"required": ["b"]}])),
            Yes,
            At(&[""]),
        ),
        ("then added", when(json!(true)), when(json!({"required": ["z"]})), At(&["/z"]), Yes),
        (
            "not added",
            field(json!({"type": "string"})),
            field(json!({"type": "string", "not": {"const": "x"}})),
            At(&["/a"]),
            Yes,
        ),
        (
            "dependentRequired added",
            object(json!({"a": {}, "b": {}}), &[]),
            json!({"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}}),
            At(&["/b"]),
            Yes,
        ),
        (
            "patternProperties narrowed",
            json!({"type": "object", "patternProperties": {"^x-": {"type": "string"}}}),
            json!({"type": "object", "patternProperties": {"^x-": {"type": "null"}}}),
            At(&["/x-"]),
            At(&["/x-"]),
        ),
        (
            "propertyNames added",
            object(json!({"a": {}}), &[]),
            json!({"type": "object", "properties": {"a": {}}, "propertyNames": {"maxLength": 3}}),
            Yes,
            Yes,
        ),
        (
            "unevaluatedProperties",
            json!({"properties": {"a": {}}, "type": "object", "unevaluatedProperties": false}),
            json!({"properties": {"a": {}, "b": {}}, "type": "object", "unevaluatedProperties": false}),
            Yes,
            At(&["/b"]),
        ),
        ("true and false", json!(true), json!(false), At(&[""]), Yes),
    ]);
}

#[test]
fn draft_7_is_read_as_draft_7() {
    let seven = |mut schema: Value| {
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        schema
    };
    let definitions = json!({"s": {"type": "string"}});
    check_all(vec![
        (
            "beside a reference nothing is read",
            seven(json!({"definitions": definitions, "properties": {"a": {"$ref": "#/definitions/s"}}})),
            seven(
                json!({"definitions": definitions, "properties": {"a": {"$ref": "#/definitions/s", "maxLength": 1}}}),
            ),
            Yes,
            Yes,
        ),
        (
            "dependencies",
            seven(object(json!({"a": {}, "b": {}}), &[])),
            seven(json!({"type": "object", "properties": {"a": {}, "b": {}}, "dependencies": {"a": ["b"]}})),
            At(&["/b"]),
            Yes,
        ),
        (
            "a list of items",
            seven(json!({"type": "array", "items": [{"type": "string"}]})),
            seven(json!({"type": "array", "items": [{"type": ["string", "null"]}], "additionalItems": true})),
            Yes,
            At(&["/*"]),
        ),
    ]);
}

#[test]
fn what_cannot_be_compared_is_unknown_unless_it_is_equal() {
    let seven = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"});
    let six = json!({"$schema": "http://json-schema.org/draft-06/schema#", "type": "string"});
    let dynamic = json!({"$dynamicAnchor": "n", "properties": {"c": {"$dynamicRef": "#n"}}});
    let plain = json!({"type": "string"});
    for (old, new) in [(&seven, &plain), (&six, &plain), (&plain, &six), (&dynamic, &plain)] {
        let verdict = compared(Level::Full, old, new);
        assert_eq!(verdict.answer, Answer::Unknown, "{old} {new}");
        assert!(!verdict.reasons.is_empty());
    }
    for same in [&seven, &six, &dynamic] {
        assert_eq!(compared(Level::FullTransitive, same, same).answer, Answer::Yes);
    }
}

#[test]
fn a_level_says_which_versions_and_directions_count() {
    let (wide, narrow) = (field(json!({"type": "number"})), field(json!({"type": "integer"})));
    let old = [(1, &narrow), (2, &wide), (3, &narrow)];
    let answer = |level, new| compare(level, &old, new, Budget::default()).answer;
    assert_eq!(answer(Level::None, &json!(false)), Answer::Yes);
    assert_eq!(answer(Level::Backward, &narrow), Answer::Yes);
    assert_eq!(answer(Level::BackwardTransitive, &narrow), Answer::No);
    assert_eq!(answer(Level::ForwardTransitive, &narrow), Answer::Yes);
    assert_eq!(answer(Level::Forward, &wide), Answer::No);
    assert_eq!(answer(Level::Full, &wide), Answer::No);
    let broken = compare(Level::BackwardTransitive, &old, &narrow, Budget::default());
    assert_eq!(broken.breaks.iter().map(|each| each.version).collect::<Vec<_>>(), [2]);
    assert_eq!(compare(Level::Full, &[], &narrow, Budget::default()).answer, Answer::Yes);
    for name in ["NONE", "BACKWARD_TRANSITIVE", "forward-transitive", "full"] {
        let level = Level::parse(name).unwrap();
        assert_eq!(level.to_string(), name.to_lowercase().replace('_', "-"));
    }
    assert_eq!(Level::parse("sideways"), None);
}

#[test]
fn a_break_says_in_words_what_breaks() {
    let old = object(json!({"status": {"enum": ["open", "paid"]}}), &[]);
    let new = object(json!({"status": {"enum": ["open"]}, "by": {"type": "string"}}), &["by"]);
    let verdict = compared(Level::Backward, &old, &new);
    let mut words: Vec<&str> = verdict.breaks.iter().map(|each| each.what.as_str()).collect();
    words.sort_unstable();
    assert_eq!(
        words,
        [
            "by: the new version requires it and the old one may leave it out",
            "status: the value \"paid\" is no longer accepted",
        ]
    );
}
