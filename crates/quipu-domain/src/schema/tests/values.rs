//! What is said about values that do not fit, and about marks.

use serde_json::{Value, json};

use crate::schema::{Document, Draft, Limits};

fn document(schema: &Value) -> Document {
    Document::parse(schema.to_string(), &Limits::default()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

fn told(schema: &Value, value: &Value) -> Vec<String> {
    document(schema).validator().violations(value, 10).iter().map(ToString::to_string).collect()
}

#[test]
fn each_keyword_says_what_was_expected_and_what_was_found() {
    let long = "x".repeat(1_000);
    for (schema, value, expected) in [
        (json!({"type": "integer"}), json!("5"), r#"the root: expected an integer, found "5""#),
        (
            json!({"type": ["string", "null"]}),
            json!([1]),
            "the root: expected null or a string, found a list of 1 items",
        ),
        (json!({"required": ["a"]}), json!({}), "/a: expected a value, the field is required, found nothing"),
        (json!({"additionalProperties": false}), json!({"a/b": 1}), "/a~1b: expected no field of this name, found 1"),
        (json!({"properties": {"a": {"enum": ["x", 2]}}}), json!({"a": 3}), r#"/a: expected one of ["x",2], found 3"#),
        (json!({"const": 5}), json!({"s": 1}), "the root: expected 5, found an object of 1 fields"),
        (json!({"maxLength": 3}), json!(long), "the root: expected at most 3 characters, found 1000"),
        (json!({"items": {"minimum": 5}}), json!([7, 3]), "/1: expected at least 5, found 3"),
        (json!({"format": "date"}), json!("soon"), r#"the root: expected a text in the format date, found "soon""#),
        (json!({"pattern": "^a"}), json!("b"), r#"the root: expected a text that matches ^a, found "b""#),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!(5),
            "the root: expected a string or null, found 5",
        ),
        (
            json!({"oneOf": [{}, true]}),
            json!(5),
            "the root: expected a value that fits exactly one of the alternatives, found one that fits several",
        ),
        (json!({"properties": {"a": false}}), json!({"a": 1}), "/a: expected nothing, found 1"),
        (json!({"uniqueItems": true}), json!([1, 1]), "the root: expected items that differ, found two that are equal"),
        (
            json!({"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": {"type": "null"}}}),
            json!({"a": 1}),
            "/a: expected null, found 1",
        ),
    ] {
        assert_eq!(told(&schema, &value), [expected], "{schema}");
    }
    let clipped = told(&json!({"type": "null"}), &json!(long));
    assert!(clipped[0].len() < 120, "{clipped:?}");
    assert!(told(&json!({"type": "array", "items": {"type": "null"}}), &json!(vec![1; 500])).len() == 10);
}

#[test]
fn formats_are_asserted_in_every_draft_and_unknown_ones_say_nothing() {
    for draft in [Draft::Draft4, Draft::Draft6, Draft::Draft7, Draft::Draft201909, Draft::Draft202012] {
        let schema =
            json!({"$schema": draft.uri(), "properties": {"a": {"format": "email"}, "b": {"format": "my-own"}}});
        let document = document(&schema);
        assert_eq!(document.draft(), draft);
        let validator = document.validator();
        assert!(validator.is_valid(&json!({"a": "a@example.com", "b": "anything"})));
        assert!(!validator.is_valid(&json!({"a": "nobody"})));
    }
    assert_eq!(document(&json!({})).draft(), Draft::Draft202012);
}

#[test]
fn what_is_sensitive_is_found_through_references_and_never_shown() {
    let document = document(&json!({
        "$defs": {
            "person": {"properties": {
                "name": {"x-sensitive": true, "type": "string"},
                "friends": {"items": {"$ref": "#/$defs/person"}},
            }},
            "map": {
                "additionalProperties": {"x-sensitive": true, "type": "integer"},
                "properties": {"open": {"type": "integer"}},
            },
        },
        "properties": {
            "owner": {"$ref": "#/$defs/person"},
            "buyer": {"anyOf": [{"$ref": "#/$defs/person"}]},
            "codes": {"$ref": "#/$defs/map"},
            "card": {"x-sensitive": true, "properties": {"number": {"type": "string"}}},
        },
    }));
    let fields = ["/buyer/name", "/card", "/codes/*", "/owner/name"];
    for field in fields {
        assert!(document.sensitive().contains(&field.to_owned()), "{field} {:?}", document.sensitive());
    }
    let secret = json!({
        "owner": {"name": 4711, "friends": [{"friends": [{"name": 4711}]}]}, "buyer": {"name": 4711},
        "codes": {"x": "4711", "open": "5"}, "card": {"number": 4711},
    });
    let violations = document.validator().violations(&secret, 10);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    // The schema is recursive, so only the first is told; each alone is told as well.
    assert!(!told.is_empty() && !told.join("\n").contains("4711"), "{told:#?}");
    for pointer in ["/owner/name", "/owner/friends/0/friends/0/name", "/buyer/name", "/codes/x", "/card/number"] {
        assert!(document.is_sensitive(pointer), "{pointer}");
    }
    for pointer in ["", "/owner", "/owner/friends/0", "/codes/open", "/other"] {
        assert!(!document.is_sensitive(pointer), "{pointer}");
    }
}

#[test]
fn the_same_json_is_the_same_schema() {
    let parse = |text: &str| Document::parse(text, &Limits::default()).unwrap();
    let one = parse(r#"{"type": "object",  "title": "A", "deprecated": true, "description": "d"}"#);
    assert_eq!(
        one,
        parse("{\"title\":\"\\u0041\",\n\"description\": \"d\", \"deprecated\": true, \"type\":\"object\"}")
    );
    assert_ne!(one, parse(r#"{"type": "object"}"#));
    assert_eq!((one.title(), one.description(), one.is_deprecated()), (Some("A"), Some("d"), true));
}

#[test]
fn examples_have_to_fit() {
    let document = document(&json!({"type": "object", "examples": [{}, 5]}));
    assert_eq!(document.check_examples(&[json!({"a": 1}), json!([])]).unwrap_err().0, 1);
    assert_eq!(document.check_examples(&[json!({"a": 1})]).unwrap_err().0, 2);
}

/// Where a value was held against alternatives all over again to see what is left, each level would double the time.
#[test]
fn a_recursive_schema_that_looks_at_what_is_left_stays_linear() {
    for all in ["allOf", "anyOf", "oneOf"] {
        for left in ["unevaluatedProperties", "unevaluatedItems"] {
            let me = json!({"$ref": "#/$defs/n"});
            let inner = json!({"properties": {"c": me}, "prefixItems": [me]});
            let schema =
                json!({"$defs": {"n": {"type": ["object", "array"], all: [inner], left: false}}, "$ref": "#/$defs/n"});
            let Ok(document) = Document::parse(schema.to_string(), &Limits::default()) else { continue };
            let mut value = json!({"bad": 1});
            for _ in 0..60 {
                value = if left == "unevaluatedItems" { json!([value]) } else { json!({"c": value}) };
            }
            document.validator().violations(&value, 10);
        }
    }
}
