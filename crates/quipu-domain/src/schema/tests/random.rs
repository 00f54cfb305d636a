//! Schemas of any form: reading one never panics, and the form it is compiled from means what the text meant.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::schema::{Document, Draft, Limits, diff};

/// An empty reference is not among them: inside of `contains` the engine takes it for anything, where `#`, which means
/// the same and is what it gets from us, is right.
fn schemas() -> impl Strategy<Value = Value> {
    let reference = prop_oneof![
        Just("#"),
        Just("#/$defs/a"),
        Just("#/$defs/b"),
        Just("#/definitions/a"),
        Just("#here"),
        Just("#/properties/p"),
        Just("https://x/y#/$defs/a"),
        Just("http://remote/"),
    ];
    let leaf = prop_oneof![
        4 => prop_oneof![Just("string"), Just("integer"), Just("object"), Just("array")].prop_map(|one| json!({"type": one})),
        2 => reference.clone().prop_map(|text| json!({"$ref": text})),
        1 => Just(json!({"$dynamicRef": "#here"})),
        1 => (0..5_i64).prop_map(|limit| json!({"minimum": limit, "maxLength": limit})),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!({"$anchor": "here", "type": "string"})),
        1 => Just(json!({"$dynamicAnchor": "here", "type": "integer"})),
        1 => Just(json!({"$id": "#here", "maxItems": 1})),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let keyword = prop_oneof![
            Just("properties"),
            Just("allOf"),
            Just("anyOf"),
            Just("oneOf"),
            Just("items"),
            Just("not"),
            Just("$defs"),
            Just("definitions"),
            Just("additionalProperties"),
            Just("patternProperties"),
            Just("if"),
            Just("then"),
            Just("contains"),
            Just("$ref"),
            Just("$id"),
            Just("required"),
            Just("unevaluatedProperties"),
        ];
        let member = (keyword, inner.clone(), inner, reference.clone()).prop_map(|(keyword, one, other, text)| {
            let value = match keyword {
                "properties" | "patternProperties" => json!({"p": one, "q": other}),
                "$defs" | "definitions" => json!({"a": one, "b": other}),
                "allOf" | "anyOf" | "oneOf" => json!([one, other]),
                "$ref" => json!(text),
                "$id" => json!("https://x/y"),
                "required" => json!(["p"]),
                _ => one,
            };
            (keyword.to_owned(), value)
        });
        prop::collection::vec(member, 1..4)
            .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(null)), (0..6_i64).prop_map(Value::from), "[pq]{0,5}".prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[pqr]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_schema_that_is_accepted_means_what_its_text_means(
        mut schema in schemas(),
        values in prop::collection::vec(values(), 12),
        is_old in any::<bool>(),
    ) {
        let draft = if is_old { Draft::Draft7 } else { Draft::Draft202012 };
        if let Value::Object(members) = &mut schema {
            members.insert("$schema".to_owned(), json!(draft.uri()));
        }
        let Ok(document) = Document::parse(schema.to_string(), &Limits::default()) else { return Ok(()) };
        prop_assert_eq!(diff(document.bundled(), document.bundled()), []);
        let again = Document::parse(document.bundled().to_string(), &Limits::default()).unwrap();
        prop_assert_eq!(again.bundled(), document.bundled());
        let validator = document.validator();
        let plain = jsonschema::options().offline().build(&schema);
        for value in &values {
            let fits = validator.is_valid(value);
            prop_assert_eq!(validator.violations(value, 5).is_empty(), fits);
            if let Ok(plain) = &plain {
                prop_assert_eq!(plain.is_valid(value), fits, "{} {} {}", schema, document.bundled(), value);
            }
        }
    }
}
