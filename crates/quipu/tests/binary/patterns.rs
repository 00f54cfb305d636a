//! Testing patterns, which needs no server.

use std::path::Path;

use serde_json::json;

use crate::process::User;

const PATTERN: &str = r#"{"type":[{"prefix":"order."}],"data":{"total":[{"numeric":[">",100]}]}}"#;
const SMALL: &str = "{\"type\":\"order.placed\",\n \"data\":{\"total\":20}}\n";

#[test]
fn a_pattern_and_an_event_come_as_files_from_standard_input_or_as_json() {
    let user = User::new();
    let large = SMALL.replace("20", "250");
    let (pattern, event) = (user.write("pattern.json", PATTERN), user.write("event.json", &large));
    for (pattern, event) in [(pattern.as_str(), event.as_str()), (PATTERN, "-"), (PATTERN, large.as_str())] {
        let ran = user.run_with(&["pattern", "test", "--pattern", pattern, "--event", event], &large).ok();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("matches\n", ""));
    }
    let ran = user.run(&["pattern", "test", "--pattern", &pattern, "--event", &event, "-o", "json"]).ok();
    assert_eq!(ran.json(), json!({"match": true}));
}

#[test]
fn a_pattern_that_does_not_match_ends_with_1_and_names_the_leaf() {
    let user = User::new();
    let test = ["pattern", "test", "--pattern", PATTERN, "--event", SMALL];
    let ran = user.run(&test).ended(1);
    assert_eq!(ran.stdout, "does not match\ndata.total: wanted {\"numeric\":[\">\",100]}, found 20\n");
    let ran = user.run(&[&test[..], &["-o", "json"]].concat()).ended(1);
    let failure =
        json!({"path": "data.total", "reason": "value", "expected": [{"numeric": [">", 100]}], "found": [20]});
    assert_eq!(ran.json(), json!({"match": false, "failures": [failure]}));
    let colour = r#"{"type":["order.placed"],"a\u001b[31m":["b"]}"#;
    let ran = user.run(&["pattern", "test", "--pattern", colour, "--event", SMALL]).ended(1);
    assert_eq!(ran.stdout, "does not match\na\\u{1b}[31m: wanted \"b\", found nothing\n");
}

#[test]
fn what_is_no_pattern_or_no_event_is_refused_with_the_place() {
    let user = User::new();
    let test = |pattern: &str, event: &str| user.run(&["pattern", "test", "--pattern", pattern, "--event", event]);
    let ran = test(r#"{"a":[{"prefix":1}]}"#, "{}").ended(1);
    assert_eq!(ran.stderr, "quipu: expected a string at $.a[0].prefix, found the number 1 [invalid-pattern]\n");
    let list = user.write("list.json", "[]");
    let ran = test(PATTERN, &list).ended(1);
    assert_eq!(ran.stderr, "quipu: expected a JSON object, found an array [invalid-event]\n");
    assert!(test(PATTERN, "{").ended(1).stderr.ends_with("[malformed-json]\n"));
    test("none.json", "{}").ended(3);
    user.run(&["pattern", "test", "--pattern", PATTERN]).ended(2);
    user.run(&["pattern", "test"]).ended(2);
    user.run(&["pattern", "test", "--cases", "a", "--pattern", PATTERN, "--event", SMALL]).ended(2);
}

#[test]
fn cases_that_differ_are_named_one_a_line_and_counted() {
    let user = User::new();
    let lines = [
        r#"{"pattern":{"a":[300]},"event":{"a":3.0e2},"match":true,"from":"here"}"#,
        r#"{"pattern":{"a":[1]},"event":{"a":2},"match":true}"#,
        "",
        r#"{"pattern":{"a":[1]},"event":{"a":1},"match":false}"#,
        r#"{"pattern":{"a":1},"event":{"a":1},"match":false}"#,
        r#"{"pattern":{"a":[1]},"event":[],"match":false}"#,
        r#"{"pattern":{"a":[1]},"event":{"a":1}}"#,
    ];
    let file = user.write("cases.jsonl", &lines.join("\n"));
    let ran = user.run(&["pattern", "test", "--cases", &file]).ended(1);
    let said: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        said[..4],
        [
            "line 2: expected a match, found none: a: wanted 1, found 2",
            "line 4: expected no match, found a match",
            "line 5: expected no match, found expected a list of values or an object at $.a, found the number 1 [invalid-pattern]",
            "line 6: expected no match, found expected a JSON object, found an array [invalid-event]",
        ]
    );
    assert!(said[4].starts_with("line 7: expected an object with pattern, event and match, found missing field"));
    assert_eq!(said[5..], ["6 cases, 5 differ"]);

    let ran = user.run(&["pattern", "test", "--cases", &file, "-o", "ndjson"]).ended(1);
    let said = ran.lines();
    let failure = json!({"path": "a", "reason": "value", "expected": [1], "found": [2]});
    assert_eq!(said[0], json!({"line": 2, "expected": true, "match": false, "failures": [failure]}));
    assert_eq!(said[1], json!({"line": 4, "expected": false, "match": true}));
    assert_eq!((&said[2]["line"], &said[2]["error"]["code"]), (&json!(5), &json!("invalid-pattern")));
    assert_eq!(said[5], json!({"cases": 6, "differ": 5}));

    let ran = user.run(&["pattern", "test", "--cases", &file, "-o", "json"]).ended(1);
    assert_eq!(ran.json()["differences"].as_array().unwrap()[..], said[..5]);
    let ran = user.run_with(&["pattern", "test", "--cases", "-", "-o", "json"], lines[0]).ok();
    assert_eq!(ran.json(), json!({"cases": 1, "differ": 0, "differences": []}));
}

#[test]
fn every_case_that_is_known_of_the_language_is_as_it_says() {
    let user = User::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = folder.join("../quipu-domain/tests/patterns/matches.jsonl");
    let ran = user.run(&["pattern", "test", "--cases", own.to_str().unwrap()]).ok();
    assert!(ran.stdout.ends_with(" cases, 0 differ\n"), "{}", ran.stdout);
    let recorded = folder.join("../../../shared/data/event-patterns/cases.jsonl");
    if !recorded.exists() {
        return eprintln!("skipped: {} is not there", recorded.display());
    }
    let ran = user.run(&["pattern", "test", "--cases", recorded.to_str().unwrap()]).ok();
    assert_eq!(ran.stdout, "695 cases, 0 differ\n");
}
