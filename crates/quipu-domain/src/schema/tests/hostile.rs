//! Schemas that somebody sends to hurt. Each is refused before it costs anything: that these tests end is the test.

use serde_json::{Value, json};

use crate::schema::{Document, InvalidSchema, Limits};

fn refusal(schema: &Value) -> InvalidSchema {
    Document::parse(schema.to_string(), &Limits::default())
        .expect_err(&schema.to_string()[..80.min(schema.to_string().len())])
}

fn accepted(schema: &Value) -> Document {
    Document::parse(schema.to_string(), &Limits::default()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn every_limit_refuses_and_says_where() {
    let fields = |count: usize| -> Value {
        (0..count).map(|n| (format!("f{n}"), json!({}))).collect::<serde_json::Map<_, _>>().into()
    };
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({"items": deep, "not": {}});
    }
    let mut deeper = json!({});
    for _ in 0..100 {
        deeper = json!({"items": deeper});
    }
    let cases = [
        (json!({"description": "x".repeat(300 * 1024)}), "at most 262144 bytes"),
        (deeper, "at most 64 levels"),
        (json!({"properties": fields(1_001)}), "at most 1000 fields of an object, found 1001 at /properties"),
        (json!({"properties": {"a": {"properties": fields(999)}, "b": {"enum": vec![1; 1_001]}}}), "values of an enum"),
        (json!({"allOf": vec![json!({"type": ["string", "null"]}); 6_000]}), "at most 20000 values in a schema"),
        (json!({"allOf": vec![json!({"if": {}, "then": {}}); 8]}), "at most 6 conditions (if) on one value, found 8"),
        (
            json!({"allOf": (0..129).map(|n| json!({"pattern": format!("^{n}$")})).collect::<Vec<_>>()}),
            "at most 128 different patterns",
        ),
        (json!({"pattern": "^(.{1,100}){1,100}$"}), "regular expression"),
        (json!({"patternProperties": {"(?=a)b": {}}}), "at /patternProperties/(?=a)b"),
        (json!({"pattern": r"^(a*)*\1b$"}), "without look-around and back-references"),
        (json!({"pattern": "("}), "found \"(\" at /pattern"),
    ];
    for (schema, expected) in cases {
        let refused = refusal(&schema).to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    accepted(&deep["items"]["items"]["items"]["items"]["items"]["items"]["items"]["items"]["items"]["items"]);
    accepted(&json!({"properties": fields(1_000)}));
}

#[test]
fn a_text_that_is_no_schema_is_refused() {
    let parse = |text: &str| Document::parse(text, &Limits::default()).unwrap_err().to_string();
    assert_eq!(
        parse("{"),
        "expected a JSON Schema, found EOF while parsing an object at line 1 column 1 at the root"
            .replace(" at the root", "")
    );
    let bomb = "[".repeat(100_000);
    assert!(parse(&bomb).contains("recursion limit"));
    for (schema, expected) in [
        (r#"{"type": "strin"}"#, "/type"),
        (r#"{"properties": {"a": {"minLength": -1}}}"#, "expected at least 0, found -1 at /properties/a/minLength"),
        (r#"{"properties": {"a": 5}}"#, "at /properties/a"),
        (r#"[1]"#, "at the root"),
        (r#"{"$schema": "https://example.com/mine"}"#, "found \"https://example.com/mine\" at /$schema"),
        (r#"{"$schema": "http://json-schema.org/draft-03/schema#"}"#, "one of the drafts"),
        (r#"{"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}"#, "/properties/a/$schema"),
        (
            r#"{"properties": {"a": {"x-sensitive": "yes"}}}"#,
            "expected true or false, found \"yes\" at /properties/a/x-sensitive",
        ),
    ] {
        let refused = parse(schema);
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn a_reference_that_would_be_fetched_is_refused() {
    for reference in [
        "http://example.com/s.json",
        "https://json-schema.org/draft/2020-12/schema",
        "file:///etc/passwd",
        "other.json",
        "quipu:nobody.registered.v1",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "%",
    ] {
        for keyword in ["$ref", "$dynamicRef"] {
            let refused = refusal(&json!({"items": {keyword: reference}}));
            assert!(
                matches!(refused, InvalidSchema::UnknownReference { .. } | InvalidSchema::Malformed { .. }),
                "{refused}"
            );
        }
        // Neither does an `$id` make it a place that exists.
        let refused = refusal(&json!({"$id": "https://example.com/x/", "items": {"$ref": reference}}));
        assert_eq!(refused.pointer(), Some("/items/$ref"), "{refused}");
    }
}

#[test]
fn a_reference_to_nothing_is_refused() {
    for reference in ["#/$defs/none", "#nobody", "#/$defs", "#/title", "#%zz", "#/$defs/a/5"] {
        let refused = refusal(&json!({"title": "t", "$defs": {"a": {"b": [1]}, "x": 1}, "items": {"$ref": reference}}));
        let is_named = matches!(refused, InvalidSchema::DanglingReference { .. } | InvalidSchema::Malformed { .. });
        assert!(is_named, "{reference}: {refused}");
    }
}

#[test]
fn a_schema_that_applies_itself_to_the_same_value_is_refused() {
    let branches = ["allOf", "anyOf", "oneOf"].map(|all| json!({all: [{"$ref": "#"}]}));
    let others = [
        json!({"$ref": "#"}),
        json!({"not": {"$ref": "#"}}),
        json!({"if": {"$ref": "#"}}),
        json!({"dependentSchemas": {"a": {"$ref": "#"}}}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
        json!({"$dynamicAnchor": "x", "$dynamicRef": "#x"}),
    ];
    for schema in branches.into_iter().chain(others) {
        assert!(matches!(refusal(&schema), InvalidSchema::Cycle { .. }), "{schema}");
    }
}

/// Each level refers to the next one twice.
fn bomb(levels: usize, level: impl Fn(&str) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for number in 0..levels {
        defs.insert(format!("d{number}"), level(&format!("#/$defs/d{}", number + 1)));
    }
    defs.insert(format!("d{levels}"), json!({"type": "string"}));
    json!({"$defs": defs, "$ref": "#/$defs/d0"})
}

#[test]
fn references_that_fan_out_at_each_level_are_refused() {
    let levels: [fn(&str) -> Value; 5] = [
        |next| json!({"anyOf": [{"allOf": [{"$ref": next}]}, {"$ref": next}]}),
        |next| json!({"allOf": [{"properties": {"a": {"$ref": next}}}, {"properties": {"a": {"$ref": next}}}]}),
        |next| json!({"properties": {"a": {"$ref": next}}, "patternProperties": {"^a": {"$ref": next}}}),
        |next| json!({"contains": {"$ref": next}, "items": {"$ref": next}}),
        |next| json!({"if": {"items": {"$ref": next}}, "else": {"items": {"$ref": next}}}),
    ];
    for level in levels {
        let refused = refusal(&bomb(24, level));
        assert!(matches!(refused, InvalidSchema::TooMany { max: 10_000, .. }), "{refused}");
    }
    // Fields beside one another are different values.
    let fine = accepted(&bomb(24, |next| json!({"properties": {"a": {"$ref": next}, "b": {"$ref": next}}})));
    assert!(fine.cost() < 100, "{}", fine.cost());
}

#[test]
fn a_recursion_that_branches_is_refused() {
    let node = |schema: Value| json!({"$defs": {"n": schema}, "$ref": "#/$defs/n"});
    let me = json!({"$ref": "#/$defs/n"});
    for schema in [
        json!({"anyOf": [{"properties": {"a": me}}, {"properties": {"a": me}, "required": ["b"]}]}),
        json!({"allOf": [{"properties": {"a": me}}, {"additionalProperties": me}]}),
        json!({"properties": {"a": me}, "patternProperties": {"a": me}}),
        json!({"items": me, "contains": me}),
        json!({"properties": {"a": {"oneOf": [me, {"allOf": [me]}]}}}),
        json!({"properties": {"a": me}, "unevaluatedProperties": me, "patternProperties": {"^b": me}}),
    ] {
        let refused = refusal(&node(schema.clone()));
        assert!(matches!(refused, InvalidSchema::BranchingRecursion { .. }), "{schema} {refused}");
    }
    for schema in [
        json!({"properties": {"next": me}}),
        json!({"properties": {"left": me, "right": me, "children": {"items": me}}}),
        json!({"anyOf": [{"type": "integer"}, {"properties": {"and": {"items": me}}}, {"properties": {"not": me}}]}),
        json!({"anyOf": [{"type": ["string", "null"]}, {"type": "object", "additionalProperties": me}, {"items": me}]}),
    ] {
        assert!(accepted(&node(schema)).is_recursive());
    }
}

#[test]
fn a_long_way_through_references_is_refused() {
    let chain = |length| bomb(length, |next| json!({"$ref": next}));
    let refused = refusal(&chain(200)).to_string();
    assert!(refused.contains("at most 128 subschemas inside of one another"), "{refused}");
    accepted(&chain(120)).validator().is_valid(&json!("x"));
    let refused = refusal(&chain(2_000)).to_string();
    assert!(refused.contains("inside of one another"), "{refused}");
}

/// 9,002 subschemas for each of 30,000 numbers took a second, and data may be 250 times as large.
#[test]
fn data_that_would_take_too_long_does_not_fit_and_is_not_looked_at() {
    let all: Vec<Value> = (0..9_000).map(|_| json!({"type": "number"})).collect();
    let document = accepted(&json!({"items": {"allOf": all}}));
    let validator = document.validator();
    let most = usize::try_from(100_000_000 / document.cost()).unwrap();
    let numbers = |count: usize| json!(vec![0; count]);
    assert_eq!(validator.violations(&numbers(1_000), 9), []);
    let found = validator.violations(&numbers(most), 9);
    assert_eq!(found.len(), 1);
    let told = found[0].to_string();
    assert!(told.contains("expected data that takes at most 100000000 steps to hold against its schema"), "{told}");
    assert!(told.contains("found data that takes up to 1000"), "{told}");
}

/// A recursive schema at its limit against data as deep as any event's, on a thread of 2 MiB as servers have.
#[test]
fn the_deepest_data_against_the_longest_recursion_stays_on_a_small_stack() {
    for all in ["allOf", "anyOf", "oneOf"] {
        let mut schema = json!({"properties": {"a": {"$ref": "#/$defs/n"}, "bad": {"type": "string"}}});
        for _ in 0..7 {
            schema = json!({all: [schema]});
        }
        let document = accepted(&json!({"$defs": {"n": schema}, "$ref": "#/$defs/n"}));
        let check = move || {
            let mut data = json!({"bad": 5});
            for _ in 0..110 {
                data = json!({"a": data});
            }
            let validator = document.validator();
            assert!(!validator.is_valid(&data));
            assert_eq!(validator.violations(&data, 10).len(), 1);
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
    }
}

/// What a text takes is its bytes times the places of a pattern: `^[ab]*a[ab]{4000}$` took 1.8 s for 60 KB.
#[test]
fn texts_and_lists_that_would_take_too_long_are_not_looked_at() {
    let text = |bytes: usize| json!("ab".repeat(bytes / 2));
    let list = |count: usize, of: &dyn Fn(usize) -> Value| -> Value { (0..count).map(of).collect() };
    let names = |count: usize| -> Value {
        (0..count).map(|n| (format!("f{n}"), json!(0))).collect::<serde_json::Map<_, _>>().into()
    };
    let refers = |count: usize| list(count, &|_| json!({"$ref": "#/$defs/e"}));
    let dear = [
        (json!({"not": {"pattern": "^[ab]*a[ab]{4000}$"}}), text(60_000)),
        (
            json!({"additionalProperties": false, "patternProperties": {"[ab]{4000}": {}}}),
            json!({"b".repeat(60_000): 1}),
        ),
        (json!({"propertyNames": {"pattern": "a[ab]{4000}"}}), json!({"b".repeat(60_000): 1})),
        (
            json!({"allOf": list(128, &|n| json!({"not": {"pattern": format!("a[ab]{{{}}}c$", 300 + n)}}))}),
            text(60_000),
        ),
        (json!({"allOf": list(4_900, &|_| json!({"minLength": 3}))}), text(1_000_000)),
        (
            json!({"$defs": {"e": {"enum": list(1_000, &|n| json!(n + 1))}}, "items": {"anyOf": refers(4_900)}}),
            list(30, &|_| json!(0)),
        ),
        (
            json!({"$defs": {"e": {"required": list(1_000, &|n| json!(format!("f{n}")))}}, "items": {"allOf": refers(4_900)}}),
            list(30, &|_| names(9)),
        ),
        (
            json!({"$defs": {"e": {"properties": names(1_000).as_object().unwrap().keys().map(|k| (k.clone(), json!(true))).collect::<serde_json::Map<_, _>>()}}, "items": {"allOf": refers(3_300)}}),
            list(30, &|_| json!({})),
        ),
    ];
    for (schema, value) in dear {
        let validator = accepted(&schema).validator();
        let found = validator.violations(&value, 9);
        let told = found.first().map(ToString::to_string).unwrap_or_default();
        assert!(told.contains("steps to hold against its schema"), "{told:?} {}", &schema.to_string()[..60]);
        assert!(!validator.is_valid(&value));
    }
}

/// A bound that only multiplies would refuse them: what is dear is elsewhere, or ends early.
#[test]
fn large_data_is_not_refused_for_what_is_dear_elsewhere() {
    let rows: Value = (0..60_000).map(|n| json!({"n": n})).collect();
    let fields: serde_json::Map<String, Value> = (0..900).map(|n| (format!("f{n}"), json!({"enum": [n]}))).collect();
    let fine = [
        (json!({"pattern": r"^[\p{L}\p{N}]{1,10}$"}), json!("été")),
        (
            json!({"properties": {"name": {"pattern": "^[a-z]{1,255}$"}}}),
            json!({"name": "ada", "text": "x".repeat(900_000)}),
        ),
        (json!({"properties": {"id": {"pattern": "[ab]{2000}"}}}), json!({"text": "x".repeat(900_000), "rows": rows})),
        (json!({"properties": {"one": {"properties": fields}}}), json!({"one": {"f1": 1}, "rows": rows})),
        (
            json!({"properties": {"at": {"format": "date-time"}}}),
            json!({"at": "2026-01-31T12:00:00Z", "text": "x".repeat(900_000)}),
        ),
    ];
    for (schema, value) in fine {
        let validator = accepted(&schema).validator();
        assert_eq!(validator.violations(&value, 9), [], "{}", &schema.to_string()[..60]);
        assert!(validator.is_valid(&value));
    }
}
