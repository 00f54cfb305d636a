//! Events that are published again and again: declared from files, seen, stopped for a while, and there after a kill.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{DEADLINE, Ran, Server, User};

fn schedule(user: &User, server: &Server, args: &[&str]) -> Ran {
    user.run(&[&["schedule"], args, &["--url", &server.url]].concat())
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/schedules").join(name);
    path.to_str().expect("a path of ours is text").to_owned()
}

#[test]
fn a_schedule_is_declared_listed_paused_and_removed() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let run = |args: &[&str]| schedule(&user, &server, args);
    let (stock, nightly) = (example("stock_count.yaml"), example("nightly_report.yaml"));
    let next = run(&["next", "--file", &stock, "--count", "2"]).ok().stdout;
    assert_eq!(next, "2031-03-01T00:00:00.000Z\n2031-03-01T00:15:00.000Z\n");
    let dry = run(&["apply", &stock, "--dry-run"]).ok().stdout;
    assert!(dry.starts_with("schedule stock_count can be applied as version 1\n2031-03-01T00:00:00.000Z\n"), "{dry}");
    assert_eq!(run(&["list", "-o", "json"]).ok().json()["total"], 0, "nothing was changed");
    let applied = run(&["apply", &stock]).ok().stdout;
    assert!(applied.starts_with("schedule stock_count is declared as version 1\n2031-"), "{applied}");
    assert!(
        run(&["apply", &stock]).ok().stdout.starts_with("schedule stock_count is declared already, as version 1\n")
    );
    let applied = run(&["apply", &nightly, "-o", "json"]).ok().json();
    assert_eq!((&applied["outcome"], applied["nextticks"].as_array().map(Vec::len)), (&json!("new"), Some(5)));

    let table = run(&["list"]).ok().stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "STATE", "NEXT", "NEWEST", "PUBLISHED", "DROPPED", "REFUSED", "TYPE"]);
    assert_eq!((lines.len(), lines[1][0], lines[1][1], lines[2][0]), (3, "nightly_report", "active", "stock_count"));
    let page = run(&["list", "--limit", "1"]).ok();
    assert!(page.stderr.starts_with("1 of 2 schedules, more follow"), "{page:?}");
    let cursor = page.stderr.split("--cursor ").nth(1).expect("how to go on").trim();
    assert_eq!(run(&["list", "--cursor", cursor, "-o", "json"]).ok().json()["schedules"][0]["name"], "stock_count");
    assert_eq!(run(&["list", "-o", "ndjson"]).ok().lines().len(), 2);

    let shown = run(&["show", "stock_count", "-o", "json"]).ok().json();
    assert_eq!(shown["declaration"]["event"]["data"], json!({"warehouse": "north"}));
    assert!(run(&["show", "stock_count"]).ok().stdout.contains("active"));
    let next = run(&["next", "stock_count", "--count", "1", "-o", "json"]).ok().json();
    assert_eq!(next, json!(["2031-03-01T00:00:00.000Z"]));
    assert_eq!(run(&["pause", "stock_count"]).ok().stdout, "schedule stock_count is paused\n");
    assert_eq!(run(&["next", "stock_count"]).ok().stdout, "schedule stock_count is paused\n");
    let resumed = run(&["resume", "stock_count"]).ok().stdout;
    assert_eq!(resumed, "schedule stock_count ticks next at 2031-03-01T00:00:00.000Z\n");
    assert_eq!(run(&["pause", "stock_count", "-o", "json"]).ok().json()["state"], "paused");
    assert_eq!(run(&["remove", "stock_count"]).ok().stdout, "schedule stock_count was removed\n");
    assert_eq!(run(&["remove", "nightly_report", "-o", "json"]).ok().json(), json!({"removed": "nightly_report"}));

    let bad = user.write("bad.yaml", "schedule: bad\ncron: '0 24 * * *'\nevent: { type: a.b }\n");
    let none = user.write("none.yaml", "schedule: bad\nevent: 7\n");
    for (args, code, part) in [
        (&["show", "stock_count"][..], 3, "[schedule-not-found]"),
        (&["pause", "stock_count"], 3, "[schedule-not-found]"),
        (&["remove", "stock_count"], 3, "[schedule-not-found]"),
        (&["next", "stock_count"], 3, "[schedule-not-found]"),
        (&["apply", &bad], 1, "[invalid-schedule]"),
        (&["apply", &bad], 1, "/cron: hour: expected 0 to 23"),
        (&["apply", &none], 2, "none.yaml"),
        (&["apply", "missing.yaml"], 3, "missing.yaml"),
        (&["next"], 2, "<NAME>"),
        (&["next", "a", "--count", "101"], 2, "--count"),
        (&["next", "a", "--file", &bad], 2, "--file"),
    ] {
        let ran = run(args).ended(code);
        assert!(ran.stderr.contains(part), "expected {part:?}: {ran:?}");
    }
}

/// The ids of all events, once there are so many.
fn ids(user: &User, server: &Server, count: usize) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let listed = user.run(&["event", "list", "-o", "ndjson", "--url", &server.url]).ok().lines();
        if listed.len() >= count {
            return listed.into_iter().map(|event| event["id"].clone()).collect();
        }
        assert!(started.elapsed() < DEADLINE, "expected {count} events, found {listed:?}");
    }
}

#[test]
fn each_tick_is_published_once_over_kills() {
    let user = User::new();
    let data = user.path("data");
    let mut server = user.serve(&["--data", &data]);
    let file =
        user.write("s.yaml", "schedule: s\nevery: 1s\nmissed: all\nevent: { type: a.b, jq: '{at: .scheduledtime}' }\n");
    schedule(&user, &server, &["apply", &file]).ok();
    for round in 1..=3 {
        ids(&user, &server, round * 2);
        server.kill();
        drop(server);
        server = user.serve(&["--data", &data]);
    }
    schedule(&user, &server, &["pause", "s"]).ok();
    let ids = ids(&user, &server, 6);
    let ticks: Vec<i64> = ids
        .iter()
        .map(|id| id.as_str().and_then(|id| id.strip_prefix("s/")).expect("an id of the schedule"))
        .map(|time| quipu::Timestamp::parse(time).expect("a time").0)
        .collect();
    let (first, count) = (ticks[0], ticks.len() as i64);
    assert!(ticks.iter().copied().eq((0..count).map(|tick| first + tick * 1_000_000)), "{ids:?}");
    let shown = schedule(&user, &server, &["show", "s", "-o", "json"]).ok().json();
    assert_eq!((&shown["published"], &shown["dropped"]), (&json!(count), &json!(0)));
}
