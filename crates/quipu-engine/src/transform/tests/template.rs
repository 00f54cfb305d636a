//! Templates.

use quipu_domain::{Template, Transform};

use super::super::Format;
use super::{EVENT, apply, compiled, refusal};

/// The paths that most templates here use.
const PATHS: [(&str, &str); 9] = [
    ("id", "$.detail.order.id"),
    ("note", "$.detail.order.note"),
    ("total", "$.detail.order.total"),
    ("paid", "$.detail.order.paid"),
    ("coupon", "$.detail.order.coupon"),
    ("tags", "$.detail.order.tags"),
    ("line", "$.detail.order.lines[1]"),
    ("skus", "$.detail.order.lines[*].sku"),
    ("none", "$.detail.none"),
];

fn transform(paths: &[(&str, &str)], template: &str) -> Transform {
    let paths = paths.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    Transform::Template(Template { paths, template: template.to_owned() })
}

fn filled(template: &str) -> String {
    apply(&transform(&PATHS, template), EVENT).unwrap()
}

#[test]
fn a_template_of_json_makes_json() {
    for (template, outcome) in [
        // The examples of AWS.
        (r#""instance <id> is in <paid>""#, r#""instance o-9 is in true""#),
        (r#""instance \"<id>\" is in <paid>""#, r#""instance \"o-9\" is in true""#),
        ("{\n  \"instance\" : <id>,\n  \"state\": <paid>\n}", r#"{"instance":"o-9","state":true}"#),
        (
            r#"{ "instance": <id>, "state": "<id>", "status": "instance \"<id>\" is in <paid>" }"#,
            r#"{"instance":"o-9","state":"o-9","status":"instance \"o-9\" is in true"}"#,
        ),
        (r#"{"state": [ 9, <id>, true ], "Transformed" : "Yes"}"#, r#"{"state":[9,"o-9",true],"Transformed":"Yes"}"#),
        (r#""<aws.events.rule-name> triggered""#, r#""billing triggered""#),
        (r#""{[/special <id>""#, r#""{[/special o-9""#),
        // Values of every type, alone and in a string.
        ("<id>", r#""o-9""#),
        ("<line>", r#"{"sku":"y/z","n":1e2}"#),
        (r#"[<total>,<paid>,<coupon>,<tags>,<skus>,<none>]"#, r#"[19.90,true,null,["a","b"],["x","y/z"],""]"#),
        (r#""<total> <paid> <coupon> <tags> <line> [<none>]""#, r#""19.90 true null [a,b] {sku:y/z,n:1e2} []""#),
        // What the event brings stays inside its string.
        (r#"{"n":"<note>","m":<note>}"#, r#"{"n":"say \"hi\"\n<b>","m":"say \"hi\"\n<b>"}"#),
        // A plain <.
        (r#"{"a":"\<id> <id> \\<id> < id> <>","b":1}"#, r#"{"a":"<id> o-9 \\o-9 < id> <>","b":1}"#),
        (r#"{"when":<aws.events.event.ingestion-time>}"#, r#"{"when":"2026-01-02T03:04:05.678Z"}"#),
        ("[ ]", "[]"),
        (r#"{"a b": " c "}"#, r#"{"a b":" c "}"#),
    ] {
        let outcome_is = filled(template);
        assert_eq!(outcome_is, outcome, "{template}");
        serde_json::from_str::<serde_json::Value>(&outcome_is).unwrap();
        assert_eq!(compiled(&transform(&PATHS, template)).unwrap().format(), Format::Json, "{template}");
    }
}

#[test]
fn any_other_template_makes_plain_text() {
    for (template, outcome) in [
        ("<id> is in state <paid>", "o-9 is in state true"),
        ("<id>: \"<note>\"", "o-9: \"say \"hi\"\n<b>\""),
        ("tags <tags>, none <none>.", "tags [\"a\",\"b\"], none ."),
        ("\"Order <id>\"\n\"by <aws.events.rule-name>\"", "\"Order o-9\"\n\"by billing\""),
        ("[ALERT] \\<id> \\\\ \\n <id>", "[ALERT] <id> \\\\ \\n o-9"),
        ("a < b > c, <b", "a < b > c, <b"),
        ("\"unfinished <id>", "\"unfinished o-9"),
        ("1 2", "1 2"),
        ("é<id>ü\\", "éo-9ü\\"),
    ] {
        assert_eq!(filled(template), outcome, "{template}");
        let format = compiled(&transform(&PATHS, template)).unwrap().format();
        assert_eq!((format, format.content_type()), (Format::Text, "text/plain; charset=utf-8"), "{template}");
    }
}

#[test]
fn the_event_can_be_put_into_the_outcome() {
    let event = r#"{"specversion":"1.0","id":"7","a\n":1,"data":{"x":"y\"z"},"data_base64":"","recordedtime":"t"}"#;
    let filled = |template: &str| apply(&transform(&[], template), event).unwrap();
    assert_eq!(filled("[<aws.events.event.json>]"), format!("[{event}]"));
    assert_eq!(filled("<aws.events.event>"), r#"{"specversion":"1.0","id":"7","a\n":1,"recordedtime":"t"}"#);
    let inside = filled("{\"text\":\"<aws.events.event.json>\"}");
    let inside: serde_json::Value = serde_json::from_str(&inside).unwrap();
    assert_eq!(inside["text"], "{specversion:1.0,id:7,a\n:1,data:{x:y\"z},data_base64:,recordedtime:t}");
}

#[test]
fn an_event_without_the_time_of_its_recording_has_none() {
    let time = transform(&[], "{\"t\":<aws.events.event.ingestion-time>}");
    assert_eq!(apply(&time, "{}").as_deref(), Ok("{\"t\":\"\"}"));
}

#[test]
fn an_outcome_that_is_too_large_is_a_fault() {
    let event = format!("{{\"data\":\"{}\"}}", "x".repeat(100_000));
    let many = transform(&[], &"<aws.events.event.json>".repeat(50));
    let reason = apply(&many, &event).unwrap_err();
    assert_eq!(reason, "expected an outcome of at most 4194304 bytes, found more");
}

#[test]
fn what_is_no_template_is_refused_with_its_place() {
    let long = "x".repeat(8_193);
    for (template, line, column, reason) in [
        ("", 1, 1, "expected text, found none"),
        (long.as_str(), 1, 8_193, "expected at most 8192 characters, found 8193"),
        ("Hello <nobody>", 1, 7, "expected a name of `paths`, found <nobody>; a plain < is written \\<"),
        ("{\"a\":\n <AWS.x>}", 2, 2, "expected a name of `paths`, found <AWS.x>"),
        ("<aws.events.rule-arn>", 1, 1, "a subscription has no ARN: expected <aws.events.rule-name>"),
        ("{\"<id>\": 1}", 1, 3, "expected a value, found a placeholder in the name of a member"),
        ("{<id>: 1}", 1, 2, "expected a value, found a placeholder in the name of a member"),
        ("{\"a\": 1,\n  \"b\": <id> <id>}", 2, 13, "expected a template that is a JSON object: expected `,` or `}`"),
        ("{\"a\": 1", 1, 7, "expected a template that is a JSON object: EOF"),
        ("{\"é\": <id>, }", 1, 13, "expected a template that is a JSON object: key must be a string"),
        ("{\"a\": 1 2}", 1, 9, "expected a template that is a JSON object"),
    ] {
        let (pointer, line_is, column_is, why) = refusal(&transform(&PATHS, template));
        assert_eq!(pointer, "/transform/template/template", "{template}");
        assert_eq!((line_is, column_is), (line, column), "{template}: {why}");
        assert!(why.starts_with(reason), "{template}: {why}");
    }
}

#[test]
fn paths_and_their_names_are_checked() {
    for (name, path, pointer, reason) in [
        ("a", "data", "/transform/template/paths/a", "expected a path that starts with $"),
        ("a.b", "$.x", "/transform/template/paths/a.b", "the name: expected letters, digits, - and _"),
        ("a/~b", "$.x", "/transform/template/paths/a~1~0b", "the name: expected letters"),
        ("", "$.x", "/transform/template/paths/", "the name: expected text"),
        ("aws.events.event", "$.x", "/transform/template/paths/aws.events.event", "the name: expected letters"),
    ] {
        let (found, _, _, why) = refusal(&transform(&[(name, path)], "x"));
        assert_eq!(found, pointer, "{name}");
        assert!(why.starts_with(reason), "{name}: {why}");
    }
    let names: Vec<String> = (0..101).map(|i| format!("n{i}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "$.id")).collect();
    compiled(&transform(&many[..100], "<n99>")).unwrap();
    let (pointer, _, _, why) = refusal(&transform(&many, "x"));
    assert_eq!(
        (pointer.as_str(), why.as_str()),
        ("/transform/template/paths", "expected at most 100 paths, found 101")
    );
}
