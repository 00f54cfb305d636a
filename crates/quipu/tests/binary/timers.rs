//! Events that are published later: set, seen and cancelled, and there after a kill.

use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{DEADLINE, Ran, Server, User};

fn timer(user: &User, server: &Server, args: &[&str]) -> Ran {
    user.run(&[&["timer"], args, &["--url", &server.url]].concat())
}

fn served() -> (User, Server) {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    (user, server)
}

/// The ids of all events, once there are so many.
fn recorded(user: &User, server: &Server, count: usize) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let listed = user.run(&["event", "list", "-o", "ndjson", "--url", &server.url]).ok().lines();
        if listed.len() >= count {
            return listed.into_iter().map(|event| event["id"].clone()).collect();
        }
        assert!(started.elapsed() < DEADLINE, "expected {count} events, found {listed:?}");
    }
}

const EVENT: [&str; 8] = ["--type", "order.late", "--source", "/shop", "--id", "17", "--subject", "order/17"];

#[test]
fn a_timer_is_set_listed_shown_and_cancelled() {
    let (user, server) = served();
    let run = |args: &[&str]| timer(&user, &server, args);
    let at = ["--at", "2031-05-01T12:00:00Z", "--key", "order/17"];
    let set = [&["set"], &EVENT[..], &at].concat();
    assert_eq!(run(&set).ok().stdout, "timer 1 publishes it at 2031-05-01T12:00:00.000Z\n");
    assert_eq!(run(&set).ok().stdout, "timer 1 publishes it at 2031-05-01T12:00:00.000Z, as before\n");
    let file = user.write("event.json", r#"{"specversion":"1.0","id":"18","source":"/shop","type":"order.late"}"#);
    let set = run(&["set", &file, "--after", "30m", "-o", "json"]).ok().json();
    assert_eq!((&set["timer"], &set["duplicate"]), (&json!(2), &json!(false)));

    let table = run(&["list"]).ok().stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TIMER", "DUE", "SET", "KEY", "TYPE", "SUBJECT"]);
    assert_eq!((lines.len(), lines[1][0], lines[2][0]), (3, "2", "1"), "those first that fire first: {table}");
    assert_eq!(lines[2][3..], ["order/17", "order.late", "order/17"]);
    let page = run(&["list", "--limit", "1"]).ok();
    assert!(page.stderr.starts_with("1 of 2 timers, more follow"), "{page:?}");
    let cursor = page.stderr.split("--cursor ").nth(1).expect("how to go on").trim();
    let rest = run(&["list", "--cursor", cursor, "-o", "json"]).ok().json();
    assert_eq!((&rest["timers"][0]["key"], &rest["total"]), (&json!("order/17"), &json!(2)));
    assert_eq!(run(&["list", "-o", "ndjson"]).ok().lines().len(), 2);

    let shown = run(&["show", "1", "-o", "json"]).ok().json();
    assert_eq!((&shown["event"]["id"], &shown["due"]), (&json!("17"), &json!("2031-05-01T12:00:00.000Z")));
    let table = run(&["show", "1"]).ok().stdout;
    assert!(table.contains("key    order/17\n") && table.contains("order.late"), "{table}");

    let other = ["set", "--type", "a.b", "--source", "/s", "--id", "19", "--after", "1h", "--key", "order/17"];
    let taken = run(&other).ended(1);
    assert!(taken.stderr.contains("[timer-exists]"), "{taken:?}");
    assert!(run(&[&other[..], &["--replace"]].concat()).ok().stdout.starts_with("timer 3 publishes it at "));
    assert_eq!(run(&["cancel", "--key", "order/17"]).ok().stdout, "timer 3 is cancelled\n");
    assert_eq!(run(&["cancel", "2", "-o", "json"]).ok().json(), json!({"timer": 2}));
    assert_eq!(run(&["list", "-o", "json"]).ok().json()["total"], 0);
    for (args, code, part) in [
        (&["cancel", "2"][..], 3, "[timer-not-found]"),
        (&["cancel", "--key", "order/17"], 3, "[timer-not-found]"),
        (&["show", "1"], 3, "[timer-not-found]"),
        (&["cancel"], 2, "<NUMBER>"),
        (&["cancel", "1", "--key", "k"], 2, "--key"),
        (&["set", "--type", "a", "--source", "/s"], 2, "--at"),
        (&["set", "--type", "a", "--source", "/s", "--after", "30"], 2, "--after"),
        (&["set", "--type", "a", "--source", "/s", "--after", "30m", "--at", "2031-05-01T12:00:00Z"], 2, "--at"),
        (&["set", "--type", "a", "--source", "/s", "--after", "30m", "--replace"], 2, "--key"),
        (&["set", "--type", "a", "--source", "/s", "--at", "tomorrow"], 1, "[invalid-timer]"),
        (&["set", "missing.json", "--after", "1s"], 3, "missing.json"),
    ] {
        let ran = run(args).ended(code);
        assert!(ran.stderr.contains(part), "expected {part:?}: {ran:?}");
    }
}

#[test]
fn an_event_is_published_with_a_time_to_come_by_flag_file_and_import() {
    let (user, server) = served();
    let publish = |args: &[&str]| user.run(&[&["event", "publish"], args, &["--url", &server.url]].concat());
    let single = ["--type", "a.b", "--source", "/s", "--id", "1"];
    let later = publish(&[&single[..], &["--deliver-at", "2031-05-01T12:00:00Z"]].concat()).ok();
    assert_eq!(later.stdout, "timer 1 publishes it at 2031-05-01T12:00:00.000Z\n");
    let soon = ["--type", "a.b", "--source", "/s", "--id", "2", "--after", "1ms", "-o", "json"];
    let soon = publish(&soon).ok().json();
    assert_eq!(soon["recorded"].as_u64().unwrap() + soon["scheduled"].as_u64().unwrap(), 1, "{soon}");
    publish(&[&single[..], &["--after", "1h", "--deliver-at", "2031-05-01T12:00:00Z"]].concat()).ended(2);
    publish(&["--after", "1h", "-"]).ended(2);
    let line = |id: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"a.b","deliverat":"2031-05-01T12:00:00Z"}}"#)
    };
    let file = user.write("events.ndjson", &format!("{}\n{}\n", line("1"), line("3")));
    assert_eq!(publish(&[&file]).ok().stdout, "0 recorded, 0 duplicates, 2 scheduled, 0 refused\n");
    let listed = timer(&user, &server, &["list", "-o", "json"]).ok().json();
    assert_eq!(listed["total"], 2, "{listed}");
    let folder = user.path("data");
    let imported = user.run(&["store", "import", &file, "--data", &folder]).ok();
    assert_eq!(imported.stdout, "0 recorded, 0 duplicates, 2 scheduled, 0 refused\n");
    assert_eq!(user.run(&["store", "export", &folder]).ok().stdout, "", "what waits is not in an export");
}

#[test]
fn a_timer_that_was_set_before_a_kill_fires_once_after_it() {
    let user = User::new();
    let data = user.path("data");
    let mut server = user.serve(&["--data", &data]);
    let set = [&["set"], &EVENT[..], &["--after", "3s"]].concat();
    assert_eq!(timer(&user, &server, &set).ok().stdout.split(' ').nth(1), Some("1"));
    let far = ["set", "--type", "a.b", "--source", "/s", "--id", "far", "--after", "1h"];
    timer(&user, &server, &far).ok();
    server.kill();
    drop(server);
    let server = user.serve(&["--data", &data]);
    assert_eq!(recorded(&user, &server, 1), [json!("17")]);
    // Told once more, it is not published once more; and neither is it after another kill.
    assert_eq!(timer(&user, &server, &set).ok().stdout, "recorded before at position 1\n");
    let mut server = server;
    server.kill();
    drop(server);
    let server = user.serve(&["--data", &data]);
    user.run(&["event", "publish", "--type", "a.b", "--source", "/s", "--id", "last", "--url", &server.url]).ok();
    assert_eq!(recorded(&user, &server, 2), [json!("17"), json!("last")]);
    assert_eq!(timer(&user, &server, &["list", "-o", "json"]).ok().json()["total"], 1);
}

#[test]
fn a_timer_without_a_time_names_both_ways_to_say_one() {
    let user = User::new();
    let ran = user.run(&["timer", "set", "--type", "a.b", "--source", "/x", "--id", "1"]).ended(2);
    assert!(ran.stderr.contains("--at <TIME>") && ran.stderr.contains("--after <DURATION>"), "{ran:?}");
    let both = ["timer", "set", "--type", "a.b", "--source", "/x", "--id", "1", "--at", "2031-05-01T12:00:00Z"];
    user.run(&[&both[..], &["--after", "30m"]].concat()).ended(2);
}
