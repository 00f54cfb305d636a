//! Publishing and reading.

use crate::process::{User, events};

#[test]
fn what_is_published_is_listed_shown_and_traced() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let url = server.url.as_str();
    let publish = |id: &str, kind: &str, more: &[&str]| {
        let args = ["event", "publish", "--url", url, "--source", "/shop", "--id", id, "--type", kind];
        user.run(&[&args, more].concat()).ok()
    };
    let placed = ["--subject", "order/1", "--data", r#"{"total":9}"#, "--tag", "customer:ada", "--tag", "shop:zrh"];
    let said = publish("1", "order.placed", &[&placed[..], &["--attribute", "correlationid=c"]].concat());
    assert_eq!(said.stdout, "recorded at position 1, version 1 of order/1\n");
    publish("2", "payment.charged", &["--attribute", "correlationid=c", "--attribute", "causationid=1"]);
    let again = publish("2", "payment.charged", &["-o", "json"]);
    assert_eq!(again.json()["results"][0]["status"], "duplicate");

    let listed = user.run(&["event", "list", "--url", url, "--tag", "customer:ada", "-o", "ndjson"]).ok();
    let [event] = &listed.lines()[..] else { panic!("expected one event, found {listed:?}") };
    assert_eq!((&event["id"], &event["position"], &event["data"]["total"]), (&"1".into(), &1.into(), &9.into()));
    assert_eq!(event["tags"], "customer:ada,shop:zrh");

    let by_id = user.run(&["event", "get", "--url", url, "--source", "/shop", "--id", "2", "-o", "json"]).ok();
    let by_position = user.run(&["event", "get", "--url", url, "2", "-o", "json"]).ok();
    assert_eq!(by_id.json(), by_position.json());
    assert!(user.run(&["event", "get", "--url", url, "2"]).ok().stdout.contains("payment.charged"));

    let traced = user.run(&["event", "trace", "--url", url, "2"]).ok();
    let lines: Vec<&str> = traced.stdout.lines().collect();
    assert!(lines[0].starts_with("order.placed  order/1  #1"), "{lines:?}");
    assert!(lines[1].starts_with("`-- payment.charged  #2") && lines[1].ends_with('*'), "{lines:?}");
    let traced = user.run(&["event", "trace", "--url", url, "1", "-o", "json"]).ok();
    assert_eq!(traced.json()["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_is_published_and_every_refusal_is_named() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let good = events(3);
    let file =
        user.write("events.ndjson", &format!("{good}\nnot json\n{{\"specversion\":\"1.0\",\"id\":\"x\"}}\n{good}"));
    let ran = user.run(&["event", "publish", &file, "--url", &server.url]).ended(1);
    assert_eq!(ran.stdout, "3 recorded, 3 duplicates, 2 refused\n");
    assert!(ran.stderr.contains("line 5: ") && ran.stderr.contains("[malformed-json]"), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 6: ") && ran.stderr.contains("source"), "{}", ran.stderr);
    let ran = user.run(&["event", "publish", &file, "--url", &server.url, "-o", "json"]).ended(1);
    let json = ran.json();
    assert_eq!((&json["recorded"], &json["duplicates"], &json["refused"]), (&0.into(), &6.into(), &2.into()));
    assert_eq!(
        (&json["refusals"][0]["line"], &json["refusals"][0]["error"]["code"]),
        (&5.into(), &"malformed-json".into())
    );
}

#[test]
fn an_array_an_object_and_a_domain_envelope_are_published_from_standard_input() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let publish = |text: &str| user.run_with(&["event", "publish", "-", "--url", &server.url], text).ok().stdout;
    let array = format!("[{}]", events(2).trim().replace('\n', ",\n"));
    assert_eq!(publish(&array), "2 recorded, 0 duplicates, 0 refused\n");
    let object = events(3).lines().last().unwrap().replace(',', ",\n");
    assert_eq!(publish(&object), "1 recorded, 0 duplicates, 0 refused\n");
    let envelope = r#"{"eventType":"order.shipped","eventId":"e","version":"2.0","aggregateId":"order/9","data":{}}"#;
    assert_eq!(publish(envelope), "1 recorded, 0 duplicates, 0 refused\n");
    let listed = user.run(&["event", "list", "--url", &server.url, "--subject", "order/9", "-o", "json"]).ok();
    assert_eq!(listed.json()["events"][0]["type"], "order.shipped.v2");
    assert_eq!(publish(""), "0 recorded, 0 duplicates, 0 refused\n");
}

#[test]
fn lines_go_through_all_pages_and_a_table_says_how_to_go_on() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let url = server.url.as_str();
    user.run_with(&["event", "publish", "-", "--url", url], &events(2_500)).ok();
    let list = |args: &[&str]| user.run(&[&["event", "list", "--url", url], args].concat()).ok();

    let all = list(&["-o", "ndjson"]);
    let positions: Vec<u64> = all.lines().iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert!(positions.iter().copied().eq(1..=2_500), "{} lines", positions.len());
    assert_eq!(all.stderr, "");
    assert_eq!(list(&["-o", "ndjson", "--limit", "1500"]).lines().len(), 1_500);
    assert_eq!(list(&["-o", "ndjson", "--direction", "backward"]).lines()[0]["position"], 2_500);

    let page = list(&[]);
    assert_eq!(page.stdout.lines().count(), 21, "a header and 20 events");
    assert!(page.stdout.starts_with("POSITION"));
    let cursor = page.stderr.split("--cursor ").nth(1).expect("how to go on").trim();
    assert_eq!(list(&["--cursor", cursor, "-o", "json", "--limit", "1"]).json()["events"][0]["position"], 21);
}

#[test]
fn streams_are_listed_and_read_from_a_version_in_both_directions() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let url = server.url.as_str();
    user.run_with(&["event", "publish", "-", "--url", url], &events(45)).ok();
    let listed = user.run(&["stream", "list", "--url", url, "--prefix", "order/", "-o", "json"]).ok().json();
    assert_eq!(listed["streams"].as_array().unwrap().len(), 5);
    assert_eq!(listed["streams"][4]["version"], 5);
    assert!(user.run(&["stream", "list", "--url", url]).ok().stdout.contains("order/4"));
    assert_eq!(user.run(&["stream", "list", "--url", url, "-o", "ndjson", "--limit", "2"]).ok().lines().len(), 2);
    let read = |args: &[&str]| {
        let ran = user.run(&[&["stream", "read", "order/1", "--url", url, "-o", "ndjson"], args].concat()).ok();
        ran.lines().iter().map(|event| event["streamversion"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(read(&[]), (1..=10).collect::<Vec<_>>());
    assert_eq!(read(&["--from-version", "8"]), [8, 9, 10]);
    assert_eq!(read(&["--from-version", "2", "--direction", "backward"]), [2, 1]);
    assert_eq!(read(&["--limit", "1", "--direction", "backward"]), [10]);
}
