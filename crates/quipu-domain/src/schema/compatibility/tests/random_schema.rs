//! Random small schemas, and random edits of them as people make them.

use serde_json::{Map, Value, json};

use crate::schema::generate::Random;

const NAMES: [&str; 5] = ["a", "b", "c", "x-d", "e"];

fn pick<'v, T>(random: &mut Random, values: &'v [T]) -> &'v T {
    &values[random.below(values.len())]
}

fn one_in(random: &mut Random, chances: usize) -> bool {
    random.below(chances) == 0
}

/// A schema of some depth, for draft 7 or 2020-12.
pub(super) fn schema(random: &mut Random, depth: usize, seven: bool) -> Value {
    let mut map = Map::new();
    match random.below(if depth == 0 { 6 } else { 13 }) {
        0 | 1 => {
            map.insert("type".into(), json!("string"));
            for (keyword, bound) in [("maxLength", 8), ("minLength", 3)] {
                if one_in(random, 3) {
                    map.insert(keyword.into(), json!(random.below(bound)));
                }
            }
            if one_in(random, 6) {
                map.insert("pattern".into(), json!(pick(random, &["^a", "^ab", "b$", "^[a-c]*$", "^[a-z]+$"])));
            }
            if one_in(random, 8) {
                map.insert("format".into(), json!(pick(random, &["date", "email", "uuid", "ipv4"])));
            }
        }
        2 => {
            map.insert("type".into(), json!(pick(random, &["integer", "number"])));
            for (keyword, low) in [("minimum", -4), ("maximum", 0), ("exclusiveMinimum", -4)] {
                if one_in(random, 3) {
                    map.insert(keyword.into(), json!(low + random.below(8) as i64));
                }
            }
            if one_in(random, 8) {
                map.insert("multipleOf".into(), json!(pick(random, &[2.0, 3.0, 0.5, 4.0])));
            }
        }
        3 => {
            let all =
                [json!("a"), json!("b"), json!("c"), json!(1), json!(2.5), json!(null), json!(true), json!({"a": 1})];
            let start = random.below(5);
            map.insert("enum".into(), json!(all[start..=start + random.below(3)]));
        }
        4 => {
            let all = ["null", "boolean", "string", "integer", "number", "array", "object"];
            let (one, other) = (*pick(random, &all), *pick(random, &all));
            map.insert("type".into(), if one == other { json!(one) } else { json!([one, other]) });
        }
        5 => match random.below(4) {
            0 => return json!(true),
            1 => drop(map.insert("$ref".into(), json!(if seven { "#/definitions/d" } else { "#/$defs/d" }))),
            _ => drop(map.insert("const".into(), pick(random, &[json!("a"), json!(1), json!(null)]).clone())),
        },
        6..=9 => object(random, depth, seven, &mut map),
        10 => {
            map.insert("type".into(), json!("array"));
            map.insert("items".into(), schema(random, depth - 1, seven));
            for (keyword, chances) in [("maxItems", 4), ("minItems", 3)] {
                if one_in(random, chances) {
                    map.insert(keyword.into(), json!(random.below(chances)));
                }
            }
            if one_in(random, 8) {
                map.insert("uniqueItems".into(), json!(true));
            }
            if one_in(random, 10) {
                map.insert("contains".into(), schema(random, 0, seven));
            }
        }
        11 => {
            let keyword = *pick(random, &["anyOf", "oneOf", "allOf"]);
            let branches: Vec<Value> = (0..=random.below(3)).map(|_| schema(random, depth - 1, seven)).collect();
            map.insert(keyword.into(), branches.into());
        }
        _ if one_in(random, 2) => drop(map.insert("not".into(), schema(random, depth - 1, seven))),
        _ => {
            for keyword in ["if", "then", "else"] {
                map.insert(keyword.into(), schema(random, depth - 1, seven));
            }
        }
    }
    map.into()
}

fn object(random: &mut Random, depth: usize, seven: bool, map: &mut Map<String, Value>) {
    map.insert("type".into(), json!("object"));
    let mut properties = Map::new();
    for name in NAMES {
        if one_in(random, 2) {
            properties.insert(name.into(), schema(random, depth - 1, seven));
        }
    }
    map.insert("properties".into(), properties.into());
    let required: Vec<&str> = NAMES.into_iter().filter(|_| one_in(random, 4)).collect();
    if !required.is_empty() {
        map.insert("required".into(), json!(required));
    }
    match random.below(6) {
        0 | 1 => drop(map.insert("additionalProperties".into(), json!(false))),
        2 => drop(map.insert("additionalProperties".into(), schema(random, 0, seven))),
        _ => {}
    }
    if one_in(random, 10) {
        map.insert("patternProperties".into(), json!({"^x-": schema(random, 0, seven)}));
    }
    if one_in(random, 12) {
        map.insert("maxProperties".into(), json!(1 + random.below(3)));
    }
    if one_in(random, 12) {
        map.insert("propertyNames".into(), json!({"maxLength": 1 + random.below(3)}));
    }
    if one_in(random, 12) {
        let keyword = if seven { "dependencies" } else { "dependentRequired" };
        map.insert(keyword.into(), json!({"a": ["b"]}));
    }
}

/// A document: a schema with a definition, which may refer to itself.
pub(super) fn document(random: &mut Random, seven: bool) -> Value {
    let mut root = schema(random, 3, seven);
    if !root.is_object() {
        root = json!({});
    }
    if seven && root.get("$ref").is_some() {
        root = json!({"type": "object", "properties": {"d": root}});
    }
    let definition = if one_in(random, 3) {
        let itself = if seven { "#/definitions/d" } else { "#/$defs/d" };
        json!({"type": "object", "properties": {"next": {"$ref": itself}, "v": schema(random, 0, seven)}})
    } else {
        json!({"type": "object", "properties": {"v": {"type": "integer"}}})
    };
    root[if seven { "definitions" } else { "$defs" }] = json!({"d": definition});
    if seven {
        root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    }
    root
}

/// A schema, edited here and there.
pub(super) fn edited(random: &mut Random, schema_: &Value, depth: usize, seven: bool) -> Value {
    let Value::Object(map) = schema_ else { return schema_.clone() };
    let mut map = map.clone();
    for keyword in map.keys().cloned().collect::<Vec<_>>() {
        let value = map[&keyword].clone();
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                let mut kept = Map::new();
                for (name, value) in properties {
                    match random.below(12) {
                        0 => {}
                        1 => drop(kept.insert(name, schema(random, depth.min(1), seven))),
                        2..=4 => drop(kept.insert(name, edited(random, &value, depth, seven))),
                        _ => drop(kept.insert(name, value)),
                    }
                }
                if one_in(random, 5) {
                    kept.insert((*pick(random, &NAMES)).to_owned(), schema(random, depth.min(1), seven));
                }
                map.insert(keyword, kept.into());
            }
            ("$defs" | "definitions", Value::Object(named)) => {
                let named = named.into_iter().map(|(name, value)| (name, edited(random, &value, depth, seven)));
                let named: Map<_, _> = named.collect();
                map.insert(keyword, named.into());
            }
            ("items" | "not" | "if" | "then" | "else" | "additionalProperties" | "contains", value)
                if one_in(random, 4) =>
            {
                map.insert(keyword, edited(random, &value, depth, seven));
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(mut branches)) if one_in(random, 2) => {
                match random.below(3) {
                    0 if branches.len() > 1 => drop(branches.remove(0)),
                    1 => branches.push(schema(random, depth.min(1), seven)),
                    _ => branches[0] = edited(random, &branches[0].clone(), depth, seven),
                }
                map.insert(keyword, branches.into());
            }
            ("enum", Value::Array(mut values)) if one_in(random, 2) => {
                if values.len() > 1 && one_in(random, 2) {
                    values.pop();
                } else {
                    values.push(json!("new"));
                }
                map.insert(keyword, values.into());
            }
            ("required", Value::Array(mut names)) if one_in(random, 3) => {
                names.pop();
                map.insert(keyword, names.into());
            }
            ("type", Value::String(kind)) if kind == "integer" && one_in(random, 4) => {
                drop(map.insert(keyword, json!("number")))
            }
            ("type", Value::String(kind)) if one_in(random, 8) => drop(map.insert(keyword, json!([kind, "null"]))),
            ("maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties", value) if one_in(random, 3) => {
                let bound = value.as_u64().unwrap_or(0) + 2;
                map.insert(keyword, json!(bound - 1 - random.below(3).min(bound as usize - 1) as u64 + 1));
            }
            ("minimum" | "maximum", value) if one_in(random, 3) => {
                map.insert(keyword, json!(value.as_i64().unwrap_or(0) + 1 - random.below(3) as i64));
            }
            ("pattern" | "format" | "uniqueItems" | "multipleOf", _) if one_in(random, 3) => drop(map.remove(&keyword)),
            _ => {}
        }
    }
    if map.contains_key("properties") && one_in(random, 10) {
        map.insert("required".into(), json!([pick(random, &NAMES)]));
    }
    map.into()
}
