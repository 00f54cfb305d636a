//! Dead letters: seeing them, and deciding about them.

use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{DEADLINE, Ran, Server, User};
use crate::subscriptions::{pull, served, subscription};

pub fn deadletter(user: &User, server: &Server, args: &[&str]) -> Ran {
    user.run(&[&["deadletter"], args, &["--url", &server.url]].concat())
}

/// Gives up so many deliveries, one after the other was recorded; the numbers of their dead letters.
pub fn given_up(user: &User, server: &Server, create: &[&str], count: usize) -> Vec<u64> {
    subscription(user, server, &[&["create", "b", "--start", "beginning"], create].concat()).ok();
    let mut ids = Vec::new();
    for line in pull(user, server, "b", &count.to_string()) {
        let (position, token) = (line["delivery"]["position"].to_string(), line["delivery"]["token"].as_str().unwrap());
        let error = format!("no order {position}");
        subscription(user, server, &["ack", "b", &position, token, "--give-up", "--error", &error]).ok();
        ids = recorded(user, server, ids.len() + 1);
    }
    assert_eq!(ids.len(), count);
    ids
}

/// Waits until there are so many dead letters.
fn recorded(user: &User, server: &Server, count: usize) -> Vec<u64> {
    let started = Instant::now();
    loop {
        let listed = deadletter(user, server, &["list", "-o", "ndjson"]).ok().lines();
        if listed.len() == count {
            return listed.iter().map(|letter| letter["id"].as_u64().unwrap()).collect();
        }
        assert!(started.elapsed() < DEADLINE, "expected {count} dead letters, found {listed:?}");
    }
}

#[test]
fn dead_letters_are_listed_grouped_and_shown() {
    let (user, server) = served();
    let run = |args: &[&str]| deadletter(&user, &server, args);
    let ids = given_up(&user, &server, &["--ordering", "none"], 3);
    let table = run(&["list"]).ok().stdout;
    assert!(
        table.starts_with("ID") && table.contains("given-up-by-consumer") && table.contains("no order #"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 4, "a header and three dead letters");
    let page = run(&["list", "--limit", "2"]).ok();
    let cursor = page.stderr.split("--cursor ").nth(1).expect("how to go on").trim();
    let rest = run(&["list", "--limit", "2", "--cursor", cursor, "-o", "json"]).ok().json();
    assert_eq!((&rest["deadletters"][0]["id"], &rest["cursor"]), (&json!(ids[2]), &Value::Null));
    assert_eq!(run(&["list", "--type", "order.lost", "-o", "ndjson"]).ok().stdout, "");
    let of = run(&["list", "--subscription", "b", "--fingerprint", "no order #", "-o", "ndjson"]).ok();
    assert_eq!(of.lines().len(), 3);

    let groups = run(&["groups", "-o", "json"]).ok().json();
    assert_eq!((&groups["groups"][0]["count"], &groups["cut"]), (&json!(3), &json!(false)));
    assert_eq!(run(&["groups", "-o", "ndjson"]).ok().lines(), groups["groups"].as_array().unwrap()[..]);
    let table = run(&["groups"]).ok().stdout;
    assert!(table.starts_with("COUNT") && table.contains("order.placed"), "{table}");

    let shown = run(&["show", &ids[0].to_string(), "-o", "json"]).ok().json();
    assert_eq!((&shown["event"]["id"], &shown["history"][0]["error"]), (&json!("0"), &json!("no order 1")));
    let table = run(&["show", &ids[0].to_string()]).ok().stdout;
    assert!(table.contains("subscription  b\n") && table.contains("\nATTEMPT  TIME"), "{table}");
    assert_eq!(run(&["list", "-o", "ndjson"]).ok().lines().len(), 3, "looking changes nothing");
}

#[test]
fn a_dead_letter_is_redriven_edited_or_discarded_once() {
    let (user, server) = served();
    let run = |args: &[&str]| deadletter(&user, &server, args);
    let ids = given_up(&user, &server, &["--ordering", "none"], 4);
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|index| ids[index].to_string());
    subscription(&user, &server, &["create", "other"]).ok();

    let said = run(&["redrive", &first]).ok();
    assert_eq!(said.stdout, format!("dead letter {first} is delivered to b once more\n"));
    let said = run(&["redrive", &second, "--to", "other"]).ok();
    assert_eq!(said.stdout, format!("dead letter {second} is delivered to other once more\n"));
    let [redriven] = &pull(&user, &server, "other", "9")[..] else { panic!("expected one delivery") };
    assert_eq!((&redriven["delivery"]["redriven"], &redriven["event"]["id"]), (&json!(true), &json!("1")));
    let (position, token) =
        (redriven["delivery"]["position"].to_string(), redriven["delivery"]["token"].as_str().unwrap());
    subscription(&user, &server, &["ack", "other", &position, token]).ended(1);
    subscription(&user, &server, &["ack", "other", &position, token, "--dead-letter", &second]).ok();

    let mut event = run(&["show", &third, "-o", "json"]).ok().json()["event"].clone();
    event["data"] = json!({ "n": "mended" });
    let file = user.write("edited.json", &serde_json::to_string_pretty(&event).unwrap());
    let decided = run(&["redrive", &third, "--event", &file, "-o", "json"]).ok().json();
    assert_eq!((&decided["deadletter"]["state"], decided["copy"].is_u64()), (&json!("redriven"), true));

    let said = run(&["discard", &fourth, "--reason", "a test order"]).ok();
    assert_eq!(said.stdout, format!("dead letter {fourth} is discarded\n"));
    let again = run(&["discard", &fourth, "--reason", "a test order"]).ended(1);
    assert!(again.stderr.contains("[dead-letter-decided]"), "{again:?}");
    let discarded = run(&["list", "--state", "discarded", "-o", "ndjson"]).ok().lines();
    assert_eq!((discarded.len(), &discarded[0]["discardreason"]), (1, &json!("a test order")));
}

#[test]
fn a_parked_key_goes_on_when_somebody_has_decided() {
    let (user, server) = served();
    let ids = given_up(&user, &server, &["--on-given-up", "park"], 1);
    let explain = || subscription(&user, &server, &["explain", "b", "-o", "json"]).ok().json();
    let others = pull(&user, &server, "b", "100");
    assert!(others.iter().all(|line| line["event"]["subject"] == "order/1") && others.len() == 2, "{others:?}");
    let lines: String = others.iter().map(|line| format!("{line}\n")).collect();
    let file = user.write("others.ndjson", &lines);
    subscription(&user, &server, &["ack", "b", "--file", &file]).ok();
    let explained = explain();
    assert_eq!((&explained["reason"], &explained["deadletter"]), (&json!("key-parked"), &json!(ids[0])));
    let said = deadletter(&user, &server, &["discard", &ids[0].to_string(), "--reason", "never paid"]).ok();
    assert!(said.stdout.ends_with("; its key goes on\n"), "{said:?}");
    assert_eq!(pull(&user, &server, "b", "1")[0]["delivery"]["position"], 2);
}

#[test]
fn what_cannot_be_done_to_a_dead_letter_has_its_exit_code() {
    let (user, server) = served();
    let two = user.write("two.ndjson", "{\"id\":\"1\"}\n{\"id\":\"2\"}\n");
    for (args, code, part) in [
        (&["show", "99"][..], 3, "[dead-letter-not-found]"),
        (&["redrive", "99"], 3, "[dead-letter-not-found]"),
        (&["discard", "99", "--reason", "x"], 3, "[dead-letter-not-found]"),
        (&["discard", "99", "--reason", " "], 1, "[invalid-request]"),
        (&["discard", "99"], 2, "--reason"),
        (&["show", "first"], 2, "first"),
        (&["list", "--state", "lost"], 2, "--state"),
        (&["redrive", "99", "--to", "a/b"], 2, "--to"),
        (&["redrive", "99", "--to", "a", "--event", "x.json"], 2, "--event"),
        (&["redrive", "99", "--event", "missing.json"], 3, "missing.json"),
        (&["redrive", "99", "--event", &two], 1, "expected one event"),
    ] {
        let ran = deadletter(&user, &server, args).ended(code);
        assert!(ran.stderr.contains(part), "expected {part:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}
