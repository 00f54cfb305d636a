//! Schemas on the command line: from a file into the registry, in CI, and what they hold events to.

use serde_json::{Value, json};

use crate::catalog::node;
use crate::process::Shop;

const ONE: &str = r#"{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}"#;
/// The total is a text now, and there must be a currency.
const BROKEN: &str = "{\n  \"type\": \"object\",\n  \"properties\": {\n    \"total\": {\"type\": \"string\"},\n    \"currency\": {\"type\": \"string\"}\n  },\n  \"required\": [\"total\", \"currency\"]\n}\n";
const TWO: &str =
    r#"{"type":"object","properties":{"total":{"type":"number"},"note":{"type":"string"}},"required":["total"]}"#;

#[test]
fn a_schema_is_registered_once_listed_shown_compared_deprecated_and_removed() {
    let shop = Shop::open();
    let one = shop.user.write("one.json", ONE);
    let example = shop.user.write("example.json", r#"{"total":1.50}"#);
    let register =
        ["schema", "register", "order.placed", &one, "--owner", "shop", "--description", "d", "--example", &example];
    assert_eq!(shop.run(&register).ok().stdout, "order.placed.v1 was registered; its number is 1\n");
    assert_eq!(shop.run(&register).ok().stdout, "order.placed.v1 was there with this schema; its number is 1\n");
    let two = shop.run_with(&["schema", "register", "order.placed", "-", "-o", "json"], TWO).ok().json();
    assert_eq!((&two["schema"]["version"], &two["known"]), (&json!(2), &json!(false)));

    let listed = shop.run(&["schema", "list"]).ok().stdout;
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("order.placed  1, 2 ")), "{listed}");
    let lines = shop.run(&["schema", "list", "-o", "ndjson"]).ok().lines();
    assert_eq!((lines.len(), &lines[0]["type"]), (1, &json!("order.placed")));
    shop.run_with(&["schema", "register", "order.address", "-"], "{}").ok();
    let page = shop.run(&["schema", "list", "--limit", "1", "-o", "json"]).ok().json();
    assert_eq!((page["types"].as_array().unwrap().len(), &page["types"][0]["type"]), (1, &json!("order.address")));
    let cursor = page["cursor"].as_str().unwrap();
    let rest = shop.run(&["schema", "list", "--cursor", cursor, "-o", "json"]).ok().json();
    assert_eq!((&rest["types"][0]["type"], &rest["cursor"]), (&json!("order.placed"), &json!(null)));
    assert_eq!(shop.run(&["schema", "list", "-o", "ndjson"]).ok().lines().len(), 2, "all of them");
    assert!(rest["types"][0]["versions"][0].get("schema").is_none(), "{rest}");
    let versions = shop.run(&["schema", "show", "order.placed", "-o", "json"]).ok().json();
    assert_eq!((&versions["versions"][0]["owner"], &versions["versions"][1]["version"]), (&json!("shop"), &json!(2)));
    assert!(shop.run(&["schema", "show", "order.placed"]).ok().stdout.starts_with("VERSION  NUMBER  MADE"));
    let shown = shop.run(&["schema", "show", "order.placed", "1", "--bundled", "-o", "json"]).ok().json();
    assert_eq!(shown["schema"]["required"], json!(["total"]));
    shop.run(&["schema", "show", "order.placed", "--bundled"]).ended(2);
    shop.run(&["schema", "show", "order.placed", "9"]).ended(3);
    shop.run(&["schema", "show", "order.lost"]).ended(3);

    assert_eq!(shop.run(&["schema", "diff", "order.placed"]).ok().stdout, "/note: added, optional\n");
    let same = shop.run(&["schema", "diff", "order.placed", "--from", "1", "--to", "1"]).ok();
    assert_eq!((same.stdout.as_str(), same.stderr.as_str()), ("", "order.placed: versions 1 and 1 say the same\n"));

    let deprecate = ["schema", "deprecate", "order.placed", "1"];
    shop.run(&deprecate).ended(2);
    let ran = shop.run(&[&deprecate[..], &["--reason", "2 has a note"]].concat()).ok();
    assert_eq!(ran.stdout, "order.placed.v1 is deprecated: 2 has a note\n");
    let ran = shop.run(&[&deprecate[..], &["--undo"]].concat()).ok();
    assert_eq!(ran.stdout, "order.placed.v1 is not deprecated\n");

    let remove = ["schema", "remove", "order.placed", "2"];
    assert_eq!(shop.run(&remove).ok().stdout, "order.placed.v2 was removed\n");
    shop.run(&remove).ended(3);
}

#[test]
fn a_schema_that_refers_to_another_by_its_own_name_is_registered_and_bundled() {
    let shop = Shop::open();
    let address = r#"{"type":"object","properties":{"city":{"type":"string"}}}"#;
    shop.run_with(&["schema", "register", "order.address", "-"], address).ok();
    let order = r#"{"type":"object","properties":{"to":{"$ref":"address"}}}"#;
    let register = ["schema", "register", "order.sent", "-", "--reference", "address=order.address.v1"];
    shop.run_with(&register, order).ok();
    let shown = shop.run(&["schema", "show", "order.sent", "1", "--bundled", "-o", "json"]).ok();
    assert!(shown.stdout.contains("city"), "{shown:#?}");
    let ran = shop.run(&["schema", "remove", "order.address", "1"]).ended(1);
    assert!(ran.stderr.ends_with("[schema-in-use]\n"), "{ran:#?}");
    shop.run_with(&["schema", "register", "order.sent", "-", "--reference", "address"], order).ended(2);
}

#[test]
fn a_check_ends_with_0_or_7_and_says_what_breaks_whom() {
    let shop = Shop::open();
    let broken = shop.user.write("broken.json", BROKEN);
    let check = ["schema", "check", "order.placed", &broken];
    shop.run(&check).ok();
    shop.publish("order.placed", r#"{"total":20}"#).ok();
    shop.run_with(&["schema", "register", "order.placed", "-"], ONE).ok();
    let ran = shop.run_with(&["schema", "check", "order.placed", "-"], TWO).ok();
    assert!(ran.stdout.starts_with("compatible (backward)\n"), "{ran:#?}");

    let ran = shop.run(&check).ended(7);
    for part in [
        "not compatible (backward)\n",
        "backward, version 1, /total: ",
        "\n  counter-example: {",
        "\n1 of 1 stored event breaks it\n",
        "\n  /v1/positions/1  /",
    ] {
        assert!(ran.stdout.contains(part), "{part} in {ran:#?}");
    }
    let answer = shop.run(&[&check[..], &["-o", "json"]].concat()).ended(7).json();
    assert_eq!((&answer["compatible"], &answer["stored"]["breaking"]), (&json!(false), &json!(1)));
    let ran = shop.run(&["schema", "register", "order.placed", &broken]).ended(1);
    assert!(ran.stderr.ends_with("[incompatible-schema]\n"), "{ran:#?}");

    shop.run(&["schema", "check", "order.placed", "none.json"]).ended(3);
    let refused = shop.run_with(&["schema", "check", "order.placed", "-"], r#"{"type":"strin"}"#).ended(1);
    assert!(refused.stderr.ends_with("[invalid-schema]\n"), "{refused:#?}");
    let ran = shop.run_with(&["schema", "check", "order.placed", "-"], "{").ended(1);
    assert!(ran.stderr.starts_with("quipu: -: expected JSON, found "), "{ran:#?}");
    let nowhere = ["--url", "http://127.0.0.1:1", "schema", "check", "order.placed", &broken];
    shop.user.run(&nowhere).ended(4);
}

/// Holds a log to the schema of SARIF 2.1.0, and to what that cannot say (the section of the standard in brackets).
fn holds_what_sarif_requires(log: &Value) {
    node(&["sarif.mjs"], &log.to_string()).ok();
    for run in log["runs"].as_array().unwrap() {
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for result in run["results"].as_array().expect("3.14.23") {
            let at = result["ruleIndex"].as_u64().expect("3.27.6");
            assert_eq!(result["ruleId"], rules[usize::try_from(at).unwrap()]["id"], "3.27.5");
            for location in result["locations"].as_array().unwrap() {
                let Some(physical) = location.get("physicalLocation") else { continue };
                let number = |name: &str| physical["region"][name].as_u64().expect("3.30");
                let start = (number("startLine"), number("startColumn"));
                assert!(start < (number("endLine"), number("endColumn")), "3.30.7");
            }
        }
    }
}

#[test]
fn a_log_that_is_no_sarif_is_seen() {
    for log in [r#"{"version":"2.1.0"}"#, r#"{"version":"2.1.0","runs":[{"tool":{"driver":{}}}]}"#] {
        node(&["sarif.mjs"], log).ended(1);
    }
}

#[test]
fn sarif_has_a_result_a_break_with_the_line_of_the_file() {
    let shop = Shop::open();
    shop.run_with(&["schema", "register", "order.placed", "-"], ONE).ok();
    shop.user.write("order placed.json", BROKEN);
    let check = ["schema", "check", "order.placed", "./order placed.json", "--sarif"];
    let log = shop.run(&check).ended(7).json();
    holds_what_sarif_requires(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let total = results.iter().find(|result| result["properties"]["pointer"] == "/total").unwrap();
    assert_eq!(total["ruleId"], "schema-backward");
    assert!(total["properties"]["counterexample"].is_object(), "{total}");
    let expected = json!({
        "artifactLocation": {"uri": "order%20placed.json"},
        "region": {"startLine": 4, "startColumn": 14, "endLine": 4, "endColumn": 32},
    });
    assert_eq!(total["locations"][0]["physicalLocation"], expected);

    shop.run(&["schema", "rules", "order.placed", "--compatibility", "forward"]).ok();
    let forward = shop.run(&check).ended(7).json();
    holds_what_sarif_requires(&forward);
    assert_eq!(forward["runs"][0]["results"][0]["ruleId"], "schema-forward");

    let fine = shop.run_with(&["schema", "check", "order.placed", "-", "--sarif"], TWO).ok().json();
    holds_what_sarif_requires(&fine);
    assert_eq!(fine["runs"][0]["results"], json!([]));
}

#[test]
fn rules_change_as_they_are_named_and_events_are_held_to_them() {
    let shop = Shop::open();
    shop.run_with(&["schema", "register", "order.placed", "-"], ONE).ok();
    shop.publish("order.placed", r#"{"total":"x"}"#).ok();
    let rules = |args: &[&str]| shop.run(&[&["schema", "rules"], args, &["-o", "json"]].concat()).ok().json();
    assert_eq!(rules(&["order.placed"]), json!({}));
    assert_eq!(rules(&["order.placed", "--enforcement", "enforce"]), json!({"enforcement": "enforce"}));
    let both = json!({"compatibility": "full", "enforcement": "enforce"});
    assert_eq!(rules(&["order.placed", "--compatibility", "full"]), both);
    assert_eq!(rules(&["order.placed", "--compatibility", "default"]), json!({"enforcement": "enforce"}));
    assert_eq!(rules(&["--unknown", "warn"]), json!({"unknown": "warn"}));
    let table = shop.run(&["schema", "rules", "order.placed"]).ok().stdout;
    let expected = "RULE           TYPE     TENANT  IN FORCE\n\
        compatibility  -        -       backward\n\
        enforcement    enforce  -       enforce\n\
        unknown        -        warn    warn\n";
    assert_eq!(table, expected);
    shop.run(&["schema", "rules", "--enforcement", "maybe"]).ended(2);

    let ran = shop.publish("order.placed", r#"{"total":"x"}"#).ended(1);
    assert!(ran.stderr.contains("[schema-violated]") && ran.stderr.contains("/total"), "{ran:#?}");
    shop.publish("order.placed", r#"{"total":1}"#).ok();
    assert_eq!(shop.run(&["schema", "show", "order.placed", "-o", "json"]).ok().json()["refused"], 1);
}

#[test]
fn what_is_inferred_can_be_registered() {
    let shop = Shop::open();
    for data in [r#"{"total":20,"note":"a"}"#, r#"{"total":1.5}"#] {
        shop.publish("order.placed", data).ok();
    }
    let inferred = shop.run(&["schema", "infer", "order.placed"]).ok();
    assert_eq!(inferred.stderr, "order.placed: learned from 2 events\n");
    assert_eq!(inferred.json()["required"], json!(["total"]));
    shop.run_with(&["schema", "register", "order.placed", "-"], &inferred.stdout).ok();
    let ran = shop.run(&["schema", "infer", "order.lost"]);
    assert_ne!(ran.code, 0, "{ran:#?}");
}

#[test]
fn an_upcaster_is_registered_set_verified_and_read_through() {
    let shop = Shop::open();
    let one = shop.user.write("one.json", ONE);
    let cents = r#"{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]}"#;
    let two = shop.user.write("two.json", cents);
    shop.run(&["schema", "register", "order.placed", &one]).ok();
    shop.publish("order.placed", r#"{"total":1.5}"#).ok();
    shop.run(&["schema", "register", "order.placed", &two]).ended(1);
    let bad = shop.run(&["schema", "check", "order.placed", &two, "--upcaster", "{cents: .total}"]);
    bad.ended(7);
    let register = ["schema", "register", "order.placed", &two, "--upcaster", "{cents: (.total * 100 | round)}"];
    assert_eq!(shop.run(&register).ok().stdout, "order.placed.v2 was registered; its number is 2\n");
    let event = shop.run(&["event", "get", "1", "--schema-version", "newest", "-o", "json"]).ok().json();
    assert_eq!((&event["type"], &event["data"]), (&json!("order.placed.v2"), &json!({"cents": 150})));
    let listed = shop.run(&["event", "list", "--schema-version", "2", "-o", "ndjson"]).ok().lines();
    assert_eq!(listed[0]["data"], json!({"cents": 150}));
    let verified = shop.run(&["schema", "verify", "order.placed"]).ok().stdout;
    assert_eq!(verified, "order.placed.v2: of 1 events, 1 of earlier versions, 0 cannot be read as it\n");
    shop.publish("order.placed", r#"{"total":"none"}"#).ok();
    let failed = shop.run(&["schema", "verify", "order.placed", "-o", "json"]).ended(1);
    let found: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!((&found["failed"], &found["first"][0]["position"]), (&json!(1), &json!(2)));
    let set = ["schema", "upcast", "order.placed", "2", "--jq", "{cents: ((.total | tonumber? // 0) * 100 | round)}"];
    let said = shop.run(&set).ok().stdout;
    assert_eq!(said, "order.placed.v2 is made of earlier versions: 2 stored events and 0 examples fit\n");
    shop.run(&["schema", "verify", "order.placed"]).ok();
    shop.run(&["schema", "upcast", "order.placed", "2", "--remove"]).ended(1);
}
