//! A learned schema accepts what it was learned from, whatever that was and however little was remembered of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::schema::{Document, Inference, InferenceLimits, Limits};

fn learned(values: &[Value]) -> Inference {
    let mut inference = Inference::new(InferenceLimits::default());
    values.iter().for_each(|value| inference.observe(value));
    inference
}

fn schema(values: &[Value]) -> Value {
    learned(values).schema("t")
}

#[test]
fn types_presence_and_counts_are_learned() {
    let schema = schema(&[
        json!({"id": 1, "price": 1, "state": "open", "lines": [{"sku": "a"}, {"sku": "b", "n": 1}], "note": null}),
        json!({"id": 2, "price": 1.5, "state": "closed", "lines": [], "note": "x"}),
        json!({"id": 3, "price": 2, "state": "open", "lines": [{"sku": "c"}], "gift": true}),
    ]);
    assert_eq!(
        schema,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "t",
            "type": "object",
            "required": ["id", "lines", "price", "state"],
            "x-observed": {"count": 3, "of": 3},
            "properties": {
                "id": {"type": "integer", "examples": [1, 2], "x-observed": {"count": 3, "of": 3}},
                "price": {"type": "number", "examples": [1, 1.5], "x-observed": {"count": 3, "of": 3}},
                "state": {"type": "string", "examples": ["open", "closed"], "x-observed": {"count": 3, "of": 3}},
                "gift": {"type": "boolean", "x-observed": {"count": 1, "of": 3}},
                "note": {"type": ["null", "string"], "examples": ["x"], "x-observed": {"count": 2, "of": 3}},
                "lines": {"type": "array", "x-observed": {"count": 3, "of": 3}, "items": {
                    "type": "object", "required": ["sku"], "x-observed": {"count": 3, "of": 3}, "properties": {
                        "sku": {"type": "string", "examples": ["a", "b"], "x-observed": {"count": 3, "of": 3}},
                        "n": {"type": "integer", "examples": [1], "x-observed": {"count": 1, "of": 3}},
                    }}},
            },
        })
    );
}

#[test]
fn a_format_is_proposed_only_where_all_of_enough_texts_have_it() {
    let uuid = "6e8bc430-9c3a-11d9-9669-0800200c9a66";
    for (texts, format) in [
        (vec!["2026-01-01T00:00:00Z"; 5], Some("date-time")),
        (vec!["2026-01-01T00:00:00Z"; 4], None),
        (vec!["2026-01-01"; 5], Some("date")),
        (vec![uuid; 5], Some("uuid")),
        (vec![uuid, uuid, uuid, uuid, uuid, ""], None),
        (vec!["a@example.com"; 5], Some("email")),
        (vec!["10.0.0.1"; 5], Some("ipv4")),
        (vec!["::1"; 5], Some("ipv6")),
        (vec!["https://example.com/a?b=c"; 5], Some("uri")),
        (vec!["https://api.github.com/users/x{/y}"; 5], None),
        (vec!["https://example.com/", "https://example.com/{a}", "https://a.b/", "https://c.d/", "https://e.f/"], None),
        (vec!["order:5"; 9], None),
        (vec!["1.2"; 9], None),
    ] {
        let values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
        assert_eq!(schema(&values).get("format").and_then(Value::as_str), format, "{texts:?}");
    }
}

#[test]
fn an_object_whose_keys_are_data_is_a_map() {
    let values: Vec<Value> = (0..400).map(|n| json!({format!("user-{n}"): {"score": n}})).collect();
    let schema = schema(&values);
    assert_eq!(schema.get("properties"), None);
    assert_eq!(schema["additionalProperties"]["required"], json!(["score"]));
    assert_eq!(schema["additionalProperties"]["x-observed"], json!({"count": 400, "of": 400}));
}

#[test]
fn memory_and_the_schema_stay_bounded() {
    let mut inference = Inference::new(InferenceLimits::default());
    for n in 0..300 {
        let branch =
            |m: usize| json!({format!("{n}-{m}"): {"a": {"b": n, "c": "x".repeat(1_000)}}, "y".repeat(1_000): n});
        let wide: serde_json::Map<_, _> = (0..120).map(|m| (format!("f{m}"), branch(m))).collect();
        inference.observe(&Value::Object(wide));
    }
    let schema = inference.schema("t");
    let document = Document::parse(schema.to_string(), &Limits::default()).unwrap();
    assert!(document.text().len() < 200_000, "{}", document.text().len());
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({"a": [deep]});
    }
    let schema = self::schema(std::slice::from_ref(&deep));
    assert!(Document::parse(schema.to_string(), &Limits::default()).unwrap().validator().is_valid(&deep));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(1e300)),
        "[a-z]{0,3}|[0-9]{4}-[0-9]{2}-[0-9]{2}|[a-c]@[a-c]|[0-9]{1,3}\\.0\\.0\\.1|https://[a-z]\\.[a-z]/[{}/ü ]{0,2}|::[0-9a-g]|\\PC{0,4}"
            .prop_map(Value::from),
        Just(json!("2026-01-01T00:00:00Z")),
        Just(json!("https://a.b/")),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-e]|\\PC", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_observed_value_fits(
        one in prop::collection::vec(values(), 0..8),
        other in prop::collection::vec(values(), 0..8),
        fields in 0_usize..12,
        object_fields in 1_usize..6,
        depth in 0_usize..6,
    ) {
        let limits = InferenceLimits { fields, object_fields, depth, examples: 2 };
        for limits in [limits, InferenceLimits::default()] {
            let (mut left, mut right) = (Inference::new(limits), Inference::new(limits));
            one.iter().for_each(|value| left.observe(value));
            other.iter().for_each(|value| right.observe(value));
            left.merge(&right);
            // What comes after a merge is learned as before it.
            one.iter().for_each(|value| left.observe(value));
            let schema = left.schema("t");
            let document = Document::parse(schema.to_string(), &Limits::default()).unwrap();
            let validator = document.validator();
            for value in one.iter().chain(&other) {
                prop_assert_eq!(validator.violations(value, 3), []);
                prop_assert!(validator.is_valid(value));
            }
        }
    }

    #[test]
    fn halves_that_are_merged_have_learned_the_whole(values in prop::collection::vec(values(), 0..12), cut in 0_usize..12) {
        let (one, other) = values.split_at(cut.min(values.len()));
        let mut merged = learned(one);
        merged.merge(&learned(other));
        prop_assert_eq!(merged.schema("t"), learned(&values).schema("t"));
    }
}
