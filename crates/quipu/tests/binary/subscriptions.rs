//! Subscriptions: making, moving and explaining them, and the way of a delivery from `pull` to `ack`.

use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{DEADLINE, Ran, Server, User, events, lines};

/// A user with a server that has 12 events, ten of `order/0` and two of `order/1`.
pub fn served() -> (User, Server) {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(12)).ok();
    (user, server)
}

/// A verb of `subscription` on that server.
pub fn subscription(user: &User, server: &Server, args: &[&str]) -> Ran {
    user.run(&[&["subscription"], args, &["--url", &server.url]].concat())
}

/// Pulls until there is something: events are matched a moment after they are recorded.
pub fn pull(user: &User, server: &Server, name: &str, max: &str) -> Vec<Value> {
    subscription(user, server, &["pull", name, "--max", max, "--wait", "30s"]).ok().lines()
}

fn positions(deliveries: &[Value]) -> Vec<u64> {
    deliveries.iter().map(|line| line["delivery"]["position"].as_u64().unwrap()).collect()
}

#[test]
fn a_subscription_is_made_once_listed_and_shown() {
    let (user, server) = served();
    let run = |args: &[&str]| subscription(&user, &server, args);
    let create =
        ["create", "billing", "--start", "beginning", "--pattern", r#"{"type": ["order.placed"]}"#, "--paused"];
    let said = run(&create).ok();
    assert_eq!(said.stdout, "billing was made; it goes on after position 0; it is paused\n");
    assert!(run(&create).ok().stdout.starts_with("billing was there with this definition"));
    let other = run(&["create", "billing"]).ended(1);
    assert!(other.stderr.contains("[subscription-exists]") && other.stdout.is_empty(), "{other:?}");

    let shown = run(&["show", "billing", "-o", "json"]).ok().json();
    assert_eq!((&shown["name"], &shown["definition"]["paused"]), (&json!("billing"), &json!(true)));
    let table = run(&["show", "billing"]).ok().stdout;
    assert!(table.contains("state        paused") && table.contains("\"order.placed\""), "{table}");
    assert_eq!(run(&["list", "-o", "json"]).ok().json(), json!({ "subscriptions": [shown] }));
    assert_eq!(run(&["list", "-o", "ndjson"]).ok().lines(), [shown]);
    let table = run(&["list"]).ok().stdout;
    assert!(table.starts_with("NAME") && table.contains("billing  paused"), "{table}");

    assert_eq!(run(&["resume", "billing"]).ok().stdout, "billing goes on after position 0\n");
    let paused = run(&["pause", "billing", "-o", "json"]).ok().json();
    assert_eq!(paused["definition"]["paused"], true);
}

#[test]
fn a_definition_comes_from_files_that_flags_change() {
    let (user, server) = served();
    let pattern = user.write("pattern.json", "{\n  \"type\": [\"order.placed\"]\n}\n");
    let file =
        user.write("definition.json", r#"{"maxinflight": 7, "retry": {"maxattempts": 2}, "start": "beginning"}"#);
    let args = ["create", "b", "--file", &file, "--pattern", &format!("@{pattern}"), "--max-in-flight", "9"];
    let made = subscription(&user, &server, &[&args[..], &["-o", "ndjson"]].concat()).ok();
    let [made] = &made.lines()[..] else { panic!("expected one line, found {made:?}") };
    let definition = &made["definition"];
    assert_eq!((&definition["maxinflight"], &definition["retry"]["maxattempts"]), (&json!(9), &json!(2)));
    assert_eq!(
        (&definition["start"], &definition["pattern"]),
        (&json!("beginning"), &json!({"type": ["order.placed"]}))
    );

    let wrong = user.write("wrong.json", r#"{"maxInFlight": 7}"#);
    let ran = subscription(&user, &server, &["create", "c", "--file", &wrong]).ended(1);
    assert!(ran.stderr.contains("wrong.json: ") && ran.stderr.contains("[invalid-subscription]"), "{ran:?}");
}

#[test]
fn a_secret_of_a_file_is_that_of_the_subscription_and_one_that_was_made_is_shown_once() {
    let (user, server) = served();
    let create = |name: &str, secret: char| {
        let secret = format!("whsec_{}", secret.to_string().repeat(40));
        let push = json!({"push": {"url": "https://a.example/", "secret": secret}});
        subscription(&user, &server, &["create", name, "--file", &user.write("push.json", &push.to_string())])
    };
    let made = create("a", 'A').ok().stdout;
    assert!(made.starts_with("a was made;") && !made.contains("whsec_"), "{made}");
    assert!(create("a", 'A').ok().stdout.starts_with("a was there with this definition"));
    let other = create("a", 'B').ended(1);
    assert!(other.stderr.contains("[subscription-exists]") && !other.stderr.contains("BBBB"), "{other:?}");

    let push = ["create", "b", "--push", "https://a.example/"];
    let made = subscription(&user, &server, &push).ok().stdout;
    assert!(made.contains("signed with whsec_") && made.contains("not shown again"), "{made}");
    let again = subscription(&user, &server, &push).ok().stdout;
    assert!(!again.contains("whsec_"), "{again}");
}

#[test]
fn what_is_pulled_and_acknowledged_does_not_come_again() {
    let (user, server) = served();
    let run = |args: &[&str]| subscription(&user, &server, args);
    run(&["create", "b", "--start", "beginning", "--ordering", "none"]).ok();
    let first = pull(&user, &server, "b", "2");
    assert_eq!(positions(&first), [1, 2]);
    assert_eq!((&first[0]["event"]["id"], &first[0]["delivery"]["attempt"]), (&json!("0"), &json!(1)));
    let token = first[0]["delivery"]["token"].as_str().unwrap();
    assert_eq!(run(&["ack", "b", "1", token]).ok().stdout, "1 acknowledged, 0 refused\n");

    let late = run(&["ack", "b", "1", token, "-o", "json"]).ended(1);
    assert_eq!(late.json()["results"][0]["error"]["code"], "delivery-not-in-flight");
    assert!(late.stderr.contains("position 1: ") && late.stderr.contains("[delivery-not-in-flight]"), "{late:?}");

    let lines = user.write("rest.ndjson", &run(&["pull", "b"]).ok().stdout);
    assert_eq!(run(&["ack", "b", "--file", &lines]).ok().stdout, "10 acknowledged, 0 refused\n");
    let nothing = run(&["pull", "b", "-o", "json"]).ok();
    assert_eq!(nothing.json(), json!({ "deliveries": [] }));
    assert!(nothing.stderr.contains("quipu subscription explain b"), "{nothing:?}");
    let explained = run(&["explain", "b"]).ok().stdout;
    assert!(explained.starts_with("Waiting for answers to 1 delivery, the oldest of position 2"), "{explained}");
    assert!(explained.contains("\nLag: 1 event; "), "{explained}");
    let explained = run(&["explain", "b", "-o", "json"]).ok().json();
    assert_eq!((&explained["reason"], &explained["lag"]["events"]), (&json!("waiting-for-acks"), &json!(1)));
}

#[test]
fn a_pull_that_acknowledges_leaves_nothing_unfinished() {
    let (user, server) = served();
    subscription(&user, &server, &["create", "b", "--start", "3"]).ok();
    let args = ["pull", "b", "--wait", "30s", "--ack"];
    let pulled = subscription(&user, &server, &args).ok().lines();
    assert_eq!(positions(&pulled), (3..=12).collect::<Vec<_>>());
    let shown = subscription(&user, &server, &["show", "b", "-o", "json"]).ok().json();
    let deliveries = &shown["deliveries"];
    assert_eq!((&deliveries["inflight"], &deliveries["ready"]), (&json!(0), &json!(0)), "{shown}");
    assert_eq!(shown["counts"]["acknowledged"], 10);
}

#[test]
fn a_pull_waits_for_what_is_published_later() {
    let (user, server) = served();
    subscription(&user, &server, &["create", "b"]).ok();
    let mut command = user.command(&["subscription", "pull", "b", "--wait", "10m", "--url", &server.url]);
    let mut waiting = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = lines(waiting.stdout.take().unwrap());
    let publish = ["event", "publish", "--source", "/late", "--type", "order.late", "--url", &server.url];
    user.run(&publish).ok();
    let line: Value = serde_json::from_str(&out.recv_timeout(DEADLINE).expect("a delivery")).unwrap();
    assert_eq!(line["event"]["source"], "/late");
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    let nothing = user.run_with(&["subscription", "ack", "b", "--file", "-", "--url", &server.url], "").ok();
    assert_eq!(nothing.stdout, "0 acknowledged, 0 refused\n");
}

#[test]
fn deliveries_that_nobody_reads_are_not_acknowledged() {
    let (user, server) = served();
    subscription(&user, &server, &["create", "b"]).ok();
    let mut command = user.command(&["subscription", "pull", "b", "--wait", "10m", "--ack", "--url", &server.url]);
    let mut waiting = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(waiting.stdout.take());
    user.run(&["event", "publish", "--source", "/late", "--type", "order.late", "--url", &server.url]).ok();
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    let shown = subscription(&user, &server, &["show", "b", "-o", "json"]).ok().json();
    assert_eq!((&shown["deliveries"]["inflight"], &shown["counts"]["acknowledged"]), (&json!(1), &json!(0)));
}

#[test]
fn a_delivery_is_extended_given_back_tried_again_and_given_up() {
    let (user, server) = served();
    let run = |args: &[&str]| subscription(&user, &server, args);
    run(&["create", "b", "--start", "12"]).ok();
    let one = || {
        let pulled = pull(&user, &server, "b", "1");
        let handle = pulled[0]["delivery"].clone();
        (handle["attempt"].as_u64().unwrap(), handle["token"].as_str().unwrap().to_owned())
    };
    let (attempt, token) = one();
    assert_eq!(attempt, 1);
    assert_eq!(run(&["ack", "b", "12", &token, "--extend", "5m"]).ok().stdout, "1 extended, 0 refused\n");
    assert_eq!(run(&["ack", "b", "12", &token, "--release"]).ok().stdout, "1 given back, 0 refused\n");
    let (attempt, token) = one();
    assert_eq!(attempt, 1);
    let nack = ["ack", "b", "12", &token, "--nack", "--delay", "1ms", "--error", "busy"];
    assert_eq!(run(&nack).ok().stdout, "1 to be tried again, 0 refused\n");
    let (attempt, token) = one();
    assert_eq!(attempt, 2);
    let give_up = ["ack", "b", "12", &token, "--give-up", "--error", "no order 11"];
    assert_eq!(run(&give_up).ok().stdout, "1 given up, 0 refused\n");
    let started = Instant::now();
    let letters = loop {
        let shown = run(&["show", "b", "-o", "json"]).ok().json();
        if shown["deadletters"] != 0 || started.elapsed() > DEADLINE {
            break shown["deadletters"].clone();
        }
    };
    assert_eq!(letters, 1);
}

#[test]
fn nothing_is_moved_or_deleted_without_a_yes() {
    let (user, server) = served();
    let run = |args: &[&str]| subscription(&user, &server, args);
    run(&["create", "b", "--start", "beginning"]).ok();
    run(&["pull", "b", "--wait", "30s", "--ack"]).ok();
    let seek = ["seek", "b", "--to", "beginning"];
    let position = || run(&["show", "b", "-o", "json"]).ok().json()["position"].clone();

    let preview = run(&seek).ended(2);
    assert!(
        preview
            .stdout
            .starts_with("12 events come again; 0 that nobody was handed never come; 0 unfinished deliveries"),
        "{preview:?}"
    );
    assert!(preview.stderr.contains("nothing was changed") && preview.stderr.contains("--yes"), "{preview:?}");
    let preview = run(&[&seek[..], &["-o", "json"]].concat()).ended(2).json();
    assert_eq!((&preview["preview"], &preview["again"]), (&json!(true), &json!(12)));
    assert_eq!(position(), 12);

    let sought = run(&[&seek[..], &["--yes", "-o", "json"]].concat()).ok();
    assert_eq!(sought.json(), json!({"preview": false, "again": 12, "skipped": 0, "forgotten": 0, "position": 0}));
    assert_eq!(pull(&user, &server, "b", "1")[0]["delivery"]["position"], 1);
    let back = run(&["seek", "b", "--to", "now", "--yes"]).ok();
    assert!(back.stdout.ends_with("b goes on after position 12\n"), "{back:?}");

    let kept = run(&["delete", "b"]).ended(2);
    assert!(kept.stdout.is_empty() && kept.stderr.contains("--yes"), "{kept:?}");
    assert_eq!(position(), 12);
    assert_eq!(run(&["delete", "b", "--yes"]).ok().stdout, "b was deleted\n");
    run(&["delete", "b", "--yes"]).ended(3);
}

#[test]
fn what_cannot_be_done_to_a_subscription_has_its_exit_code() {
    let (user, server) = served();
    for (args, code, part) in [
        (&["show", "nobody"][..], 3, "[subscription-not-found]"),
        (&["explain", "nobody"], 3, "[subscription-not-found]"),
        (&["pause", "nobody"], 3, "[subscription-not-found]"),
        (&["seek", "nobody", "--to", "now", "--yes"], 3, "[subscription-not-found]"),
        (&["pull", "nobody"], 3, "[subscription-not-found]"),
        (&["ack", "nobody", "1", "x"], 3, "[subscription-not-found]"),
        (&["create", "b", "--pattern", r#"{"type": "order.placed"}"#], 1, "[invalid-pattern]"),
        (&["create", "b", "--max-in-flight", "0"], 1, "[invalid-subscription]"),
        (&["create", "a/b"], 2, "letters, digits"),
        (&["create", "b", "--pattern", "{"], 2, "--pattern"),
        (&["create", "b", "--file", "missing.json"], 3, "missing.json"),
        (&["seek", "b"], 2, "--to"),
        (&["pull", "b", "--max", "0"], 2, "--max"),
        (&["pull", "b", "--max", "1001"], 2, "--max"),
        (&["ack", "b", "1"], 2, "TOKEN"),
        (&["ack", "b"], 2, "POSITION"),
        (&["ack", "b", "1", "x", "--nack", "--give-up"], 2, "--give-up"),
        (&["ack", "b", "1", "x", "--release", "--error", "x"], 2, "--error"),
        (&["ack", "b", "1", "x", "--delay", "1s"], 2, "--nack"),
        (&["ack", "b", "1", "x", "--error", "y"], 2, "--error"),
    ] {
        let ran = subscription(&user, &server, args).ended(code);
        assert!(ran.stderr.contains(part), "expected {part:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}
