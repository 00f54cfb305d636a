//! Schemas that mean harm: bounded in steps, so never slow by much, and never a panic or an overflow.

use serde_json::{Map, Value, json};

use super::{Answer, Level, assert_true, compared};

/// A way to put a schema into another, and what it is called.
type Named = (&'static str, fn(Value) -> Value);

/// On a stack of 2 MiB, as a thread of the server has.
fn on_small_stack(name: &'static str, old: Value, new: Value) -> Answer {
    let work = move || {
        let verdict = compared(Level::Full, &old, &new);
        println!("{name}: {:?}, {} breaks, {:?}", verdict.answer, verdict.breaks.len(), verdict.reasons);
        assert_true(&verdict, &old, &new);
        verdict.answer
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap()
}

fn deep(levels: usize, leaf: Value, wrap: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(leaf, |schema, _| wrap(schema))
}

fn wide(fields: usize, bound: impl Fn(usize) -> usize) -> Value {
    let properties: Map<String, Value> =
        (0..fields).map(|n| (format!("f{n}"), json!({"type": "string", "maxLength": bound(n)}))).collect();
    json!({"type": "object", "properties": properties, "required": ["f0"]})
}

#[test]
fn deep_schemas_do_not_overflow_the_stack() {
    let s = || json!({"type": "string"});
    let narrow = || json!({"type": "string", "maxLength": 3});
    let wraps: [Named; 5] = [
        ("properties", |schema| json!({"type": "object", "properties": {"a": schema}})),
        ("items", |schema| json!({"type": "array", "items": schema})),
        ("allOf", |schema| json!({"allOf": [schema]})),
        ("anyOf", |schema| json!({"anyOf": [schema, {"type": "null"}]})),
        ("not", |schema| json!({"not": schema})),
    ];
    for (name, wrap) in wraps {
        // The registry admits a document of 64 levels, two of which are one of `properties`; more must not matter.
        for levels in [30, 62, 120] {
            let answer = on_small_stack(name, deep(levels, s(), wrap), deep(levels, narrow(), wrap));
            assert_ne!(answer, Answer::Yes, "{name} {levels}");
        }
    }
}

#[test]
fn wide_schemas_are_compared_field_by_field() {
    assert_eq!(on_small_stack("wide, same", wide(1000, |_| 9), wide(1000, |_| 9)), Answer::Yes);
    assert_eq!(on_small_stack("wide, one", wide(1000, |_| 9), wide(1000, |n| 9 - usize::from(n == 500))), Answer::No);
    assert_eq!(on_small_stack("wide, half", wide(1000, |_| 9), wide(1000, |n| 9 - n % 2)), Answer::No);
    let verdict = compared(Level::Backward, &wide(1000, |_| 9), &wide(1000, |_| 10));
    assert_eq!(verdict.answer, Answer::Yes, "{:?}", verdict.reasons);
    let values = |from: usize| json!({"enum": (from..from + 20_000).map(|n| format!("v{n}")).collect::<Vec<_>>()});
    assert_eq!(on_small_stack("enum", values(0), values(1)), Answer::No);
    let objects = |from: usize| json!({"enum": (from..from + 2000).map(|n| json!({"k": n})).collect::<Vec<_>>()});
    assert_eq!(on_small_stack("enum of objects", objects(0), objects(1)), Answer::No);
}

#[test]
fn combinators_do_not_multiply() {
    let ifs = |shift: usize| {
        let rules: Vec<Value> = (0..12)
            .map(|n| json!({"if": {"properties": {"k": {"const": n}}, "required": ["k"]}, "then": {"required": [format!("r{}", n + shift)]}}))
            .collect();
        json!({"type": "object", "properties": {"k": {"type": "integer"}}, "allOf": rules})
    };
    on_small_stack("ifs", ifs(0), ifs(1));
    let products = |shift: usize| {
        let all: Vec<Value> = (0..12)
            .map(|n| {
                let any: Vec<Value> = (0..4).map(|m| json!({"properties": {format!("p{n}"): {"const": m + shift}}, "required": [format!("p{n}")]})).collect();
                json!({"anyOf": any})
            })
            .collect();
        json!({"type": "object", "allOf": all})
    };
    on_small_stack("products", products(0), products(1));
    let tagged = |shift: usize| {
        let branches: Vec<Value> = (0..60)
            .map(|n| json!({"type": "object", "properties": {"k": {"const": n}, "v": {"type": "string", "maxLength": 50 + shift}}, "required": ["k"]}))
            .collect();
        json!({"oneOf": branches})
    };
    on_small_stack("tagged", tagged(0), tagged(1));
}

#[test]
fn references_do_not_multiply() {
    let doubling = |levels: usize, last: Value, link: fn(Value) -> Value| {
        let mut definitions: Map<String, Value> =
            (0..levels).map(|n| (format!("d{n}"), link(json!({"$ref": format!("#/$defs/d{}", n + 1)})))).collect();
        definitions.insert(format!("d{levels}"), last);
        json!({"$defs": definitions, "$ref": "#/$defs/d0"})
    };
    let (s, narrow) = (json!({"type": "string"}), json!({"type": "string", "maxLength": 3}));
    let links: [Named; 4] = [
        ("fields", |next| json!({"type": "object", "properties": {"a": next, "b": next}})),
        ("allOf", |next| json!({"allOf": [next, next]})),
        ("anyOf", |next| json!({"anyOf": [{"allOf": [next]}, next]})),
        ("chain", |next| next),
    ];
    for (name, link) in links {
        for levels in [24, 1000] {
            on_small_stack(name, doubling(levels, s.clone(), link), doubling(levels, narrow.clone(), link));
        }
    }
    let cycle = json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}, {"type": "string"}]}, "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "integer"}]}}, "$ref": "#/$defs/a"});
    let mut other = cycle.clone();
    other["$defs"]["a"]["allOf"][1]["maxLength"] = json!(3);
    on_small_stack("cycle", cycle, other);
}

#[test]
fn odd_numbers_and_patterns_do_not_panic() {
    let table = [
        (json!({"minLength": 9_000_000_000_u64}), json!({"minLength": 9_000_000_001_u64})),
        (
            json!({"type": "array", "minItems": 1_000_000}),
            json!({"type": "array", "minItems": 1_000_001, "items": {"type": "null"}}),
        ),
        (json!({"type": "number", "multipleOf": 1e-300}), json!({"type": "number", "multipleOf": 1e300})),
        (json!({"type": "number", "minimum": 1e308}), json!({"type": "integer", "minimum": 1e308, "multipleOf": 7})),
        (json!({"type": "string", "pattern": "^(.{1,100}){1,100}$"}), json!({"type": "string"})),
        (
            json!({"type": "string", "pattern": "(".repeat(60) + "a" + &")".repeat(60)}),
            json!({"type": "string", "pattern": "b"}),
        ),
        (json!({"type": "string", "pattern": "^[z-a]$"}), json!({"type": "string", "pattern": "[^"})),
        (json!({"type": "strin"}), json!({"type": 5})),
        (json!({"$ref": "#/nowhere"}), json!({"$ref": "https://example.com/x.json"})),
        (json!([1]), json!("x")),
        (
            json!({"properties": 5, "required": {}, "enum": 3, "allOf": {}, "items": 1}),
            json!({"properties": {"a": 5}, "anyOf": [7]}),
        ),
        (json!({"minProperties": 1_000_000_000_000_u64}), json!({"maxItems": -1})),
    ];
    for (old, new) in table {
        assert_ne!(on_small_stack("odd", old.clone(), new.clone()), Answer::Yes, "{old} {new}");
    }
}
