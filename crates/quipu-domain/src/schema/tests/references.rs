//! References inside of a schema and between registered ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::schema::{Document, Draft, InvalidSchema, Limits};

type Registered = BTreeMap<&'static str, Arc<Document>>;

fn parse(registered: &Registered, schema: &Value) -> Result<Document, InvalidSchema> {
    Document::parse_with(schema.to_string(), &Limits::default(), &|name| registered.get(name).cloned())
}

fn registered(schemas: &[(&'static str, Value)]) -> Registered {
    let mut all = Registered::new();
    for (name, schema) in schemas {
        let document = parse(&all, schema).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        all.insert(name, Arc::new(document));
    }
    all
}

fn fits(document: &Document, value: &Value) -> bool {
    // The bundle alone says the same: it needs nobody to look anything up.
    let alone = Document::parse(document.bundled().to_string(), &Limits::default()).unwrap();
    let fits = document.validator().is_valid(value);
    assert_eq!(alone.validator().is_valid(value), fits);
    fits
}

#[test]
fn a_registered_schema_is_found_by_its_name_and_kept_as_a_copy() {
    let known = registered(&[
        ("quipu:zip.v1", json!({"$id": "https://x/zip", "type": "string", "pattern": "^[0-9]{5}$"})),
        (
            "quipu:order.address.v1",
            json!({
                "$defs": {"zip": {"$ref": "quipu:zip.v1"}, "a/b %": {"$anchor": "short", "maxLength": 3}},
                "properties": {"zip": {"$ref": "#/$defs/zip"}, "next": {"$ref": "#"}},
            }),
        ),
        ("address.json", json!({"type": "integer"})),
    ]);
    let document = parse(
        &known,
        &json!({"$defs": {"quipu:order.address.v1": {"type": "null"}}, "properties": {
            "home": {"$ref": "quipu:order.address.v1"},
            "code": {"$ref": "quipu:order.address.v1#/$defs/zip"},
            "short": {"$ref": "quipu:order.address.v1#short"},
            "named": {"$ref": "address.json"},
            "own": {"$ref": "#/$defs/quipu:order.address.v1"},
        }}),
    )
    .unwrap();
    for (value, expected) in [
        (
            json!({"home": {"zip": "12345", "next": {"zip": "12345"}}, "code": "00000", "short": "abc", "named": 5, "own": null}),
            true,
        ),
        (json!({"home": {"zip": "1234"}}), false),
        (json!({"home": {"next": {"zip": "1234"}}}), false),
        (json!({"code": "1"}), false),
        (json!({"short": "abcd"}), false),
        (json!({"named": "5"}), false),
        (json!({"own": 5}), false),
    ] {
        assert_eq!(fits(&document, &value), expected, "{value}");
    }
    assert_eq!(document.references().keys().collect::<Vec<_>>(), ["address.json", "quipu:order.address.v1"]);
    assert!(!document.bundled().to_string().contains("https://x/zip"));
    assert_eq!(document.bundled()["$defs"].as_object().unwrap().len(), 4);
}

#[test]
fn one_name_may_mean_two_documents_and_two_names_one() {
    let one = registered(&[("addr.json", json!({"type": "string"}))]);
    let two = registered(&[("addr.json", json!({"type": "integer"})), ("same.json", json!({"type": "integer"}))]);
    let inner = Arc::new(parse(&one, &json!({"items": {"$ref": "addr.json"}})).unwrap());
    let mut all = two.clone();
    all.insert("inner.json", inner);
    let schema =
        json!({"properties": {"a": {"$ref": "addr.json"}, "b": {"$ref": "inner.json"}, "c": {"$ref": "same.json"}}});
    let document = parse(&all, &schema).unwrap();
    assert!(fits(&document, &json!({"a": 5, "b": ["x"], "c": 5})));
    assert!(!fits(&document, &json!({"a": "x"})));
    assert!(!fits(&document, &json!({"b": [5]})));
    assert!(!fits(&document, &json!({"c": "x"})));
    let copies: Vec<_> = document.bundled()["$defs"].as_object().unwrap().keys().collect();
    assert_eq!(copies, ["addr.json", "addr.json-2", "inner.json"]);
}

#[test]
fn ids_and_anchors_name_places_of_the_schema_itself() {
    let schemas = [
        json!({"$id": "https://x/root.json", "$defs": {"s": {"type": "string"}}, "items": {"$ref": "https://x/root.json#/$defs/s"}}),
        json!({"$id": "https://x/root.json", "$defs": {"s": {"$id": "s.json", "type": "string"}}, "items": {"$ref": "s.json"}}),
        json!({"$defs": {"s": {"$id": "https://x/s", "$defs": {"t": {"type": "string"}}, "$ref": "#/$defs/t"}}, "items": {"$ref": "https://x/s"}}),
        json!({"$defs": {"s": {"$anchor": "here", "type": "string"}}, "items": {"$ref": "#here"}}),
        json!({"$schema": Draft::Draft7.uri(), "definitions": {"s": {"$id": "#here", "type": "string"}}, "items": {"$ref": "#here"}}),
        json!({"$schema": Draft::Draft4.uri(), "definitions": {"s": {"id": "#here", "type": "string"}}, "items": {"$ref": "#here"}}),
        json!({"$schema": "https://json-schema.org/draft-07/schema", "items": {"$ref": "#/definitions/s", "type": "null"}, "definitions": {"s": {"type": "string"}}}),
        json!({"components": {"s": {"items": {"$ref": "#/other"}, "type": "string"}}, "other": {"type": "null"}, "items": {"$ref": "#/components/s"}}),
        json!({"$defs": {"s": {"$dynamicAnchor": "here", "type": "string"}}, "items": {"$dynamicRef": "#here"}}),
        json!({"$schema": Draft::Draft201909.uri(), "$recursiveAnchor": true, "type": ["array", "string"], "items": {"type": "string", "$recursiveRef": "#"}}),
    ];
    for schema in schemas {
        let document = parse(&Registered::new(), &schema).unwrap_or_else(|refusal| panic!("{schema} {refusal}"));
        assert!(fits(&document, &json!(["x"])), "{schema} {}", document.bundled());
        assert!(!fits(&document, &json!([5])), "{schema} {}", document.bundled());
    }
}

#[test]
fn a_reference_beside_a_dynamic_one_still_counts() {
    let schema = json!({"$defs": {"a": {"$dynamicAnchor": "a", "minLength": 2}, "b": {"type": "string"}},
        "items": {"$ref": "#/$defs/b", "$dynamicRef": "#a"}});
    let document = parse(&Registered::new(), &schema).unwrap();
    assert!(fits(&document, &json!(["xx"])) && !fits(&document, &json!(["x"])) && !fits(&document, &json!([5])));
}

#[test]
fn what_is_referred_to_has_the_same_draft_and_no_dynamic_anchor_twice() {
    let known = registered(&[
        ("quipu:d7", json!({"$schema": Draft::Draft7.uri()})),
        ("quipu:dynamic", json!({"$dynamicAnchor": "node"})),
        ("quipu:through", json!({"items": {"$ref": "quipu:dynamic"}})),
    ]);
    let refused = parse(&known, &json!({"items": {"$ref": "quipu:d7"}})).unwrap_err();
    assert!(matches!(refused, InvalidSchema::OtherDraft { .. }), "{refused}");
    let refused = parse(&known, &json!({"$dynamicAnchor": "node", "items": {"$ref": "quipu:through"}})).unwrap_err();
    assert!(matches!(refused, InvalidSchema::AmbiguousAnchor { .. }), "{refused}");
    let refused = parse(&known, &json!({"items": {"$ref": "quipu:through#/$defs/none"}})).unwrap_err();
    assert!(matches!(refused, InvalidSchema::DanglingReference { .. }), "{refused}");
}

#[test]
fn long_chains_of_documents_and_many_of_them_are_refused() {
    let mut known = Registered::new();
    let names: Vec<&'static str> = (0..40).map(|n| &*Box::leak(format!("quipu:t{n}").into_boxed_str())).collect();
    let mut refused = None;
    for (n, name) in names.iter().enumerate() {
        let schema = if n == 0 { json!({}) } else { json!({"items": {"$ref": names[n - 1]}}) };
        match parse(&known, &schema) {
            Ok(document) => drop(known.insert(name, Arc::new(document))),
            Err(refusal) => {
                refused = Some((n, refusal.to_string()));
                break;
            }
        }
    }
    let (n, refusal) = refused.unwrap();
    assert_eq!(n, 16);
    assert!(refusal.contains("at most 16 documents in a chain of references, found 17"), "{refusal}");
    let many: Registered = (0..65_u32)
        .map(|n| {
            (
                &*Box::leak(format!("quipu:m{n}").into_boxed_str()),
                Arc::new(parse(&known, &json!({"maximum": n})).unwrap()),
            )
        })
        .collect();
    let all: Vec<Value> = many.keys().map(|name| json!({"$ref": name})).collect();
    let refusal = parse(&many, &json!({"allOf": all})).unwrap_err().to_string();
    assert!(refusal.contains("at most 64 documents that are referred to"), "{refusal}");
}

#[test]
fn what_a_registered_schema_costs_counts() {
    let mut known = registered(&[("quipu:t0", json!({"type": "string"}))]);
    let names = ["quipu:t0", "quipu:t1", "quipu:t2", "quipu:t3", "quipu:t4"];
    for pair in names.windows(2) {
        let schema = json!({"allOf": vec![json!({"$ref": pair[0]}); 10]});
        match parse(&known, &schema) {
            Ok(document) => drop(known.insert(pair[1], Arc::new(document))),
            Err(refusal) => {
                assert_eq!(pair[1], "quipu:t4");
                assert!(matches!(refusal, InvalidSchema::TooMany { max: 10_000, .. }), "{refusal}");
                return;
            }
        }
    }
    panic!("expected a refusal");
}
