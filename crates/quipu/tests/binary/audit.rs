//! The audit trail on the command line: what stands in it of a session with keys, and what verifying it finds.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{Ran, User, finish};

fn run_as(user: &User, key: &str, args: &[&str]) -> Ran {
    finish(user.command(args).env("QUIPU_KEY", key).stdin(Stdio::null()))
}

#[test]
fn the_trail_of_a_session_is_listed_reported_exported_and_verified() {
    let user = User::new();
    let data = user.path("data");
    let server = user.serve(&["--data", &data]);
    let url = server.url.clone();
    let make =
        |args: &[&str]| user.run(&[&["--url", &url, "key", "create"], args].concat()).ok().stdout.trim().to_owned();
    let publisher = make(&["shop", "--may", "publish", "--type", "order.*"]);
    let consumer = make(&["billing", "--may", "consume", "--subscription", "billing"]);
    let auditor = make(&["auditor", "--may", "audit"]);
    let event = ["event", "publish", "--source", "/shop", "--type", "user.named", "--data", "{}"];
    run_as(&user, &publisher, &[&["--url", &url], &event[..]].concat()).ended(1);
    run_as(&user, &consumer, &["--url", &url, "subscription", "pull", "mail"]).ended(1);
    run_as(&user, &publisher, &["--url", &url, "audit", "list"]).ended(1);

    let listed = |args: &[&str]| -> Vec<Value> {
        let all = [&["--url", &url, "audit", "list", "--direction", "forward", "-o", "json"], args].concat();
        run_as(&user, &auditor, &all).ok().json()["acts"].as_array().unwrap().clone()
    };
    let told: Vec<_> = listed(&[])
        .iter()
        .map(|act| {
            let word = |name: &str| act[name].as_str().unwrap_or_default().to_owned();
            (
                act["actor"]["name"].as_str().unwrap_or_default().to_owned(),
                word("operation"),
                word("outcome"),
                word("code"),
            )
        })
        .collect();
    let told: Vec<_> = told.iter().map(|(a, b, c, d)| (a.as_str(), b.as_str(), c.as_str(), d.as_str())).collect();
    let expected = [
        ("", "key.create", "done", ""),
        ("", "key.create", "done", ""),
        ("", "key.create", "done", ""),
        ("shop", "event.publish", "refused", "forbidden"),
        ("billing", "delivery.pull", "refused", "forbidden"),
        ("shop", "audit.list", "refused", "forbidden"),
    ];
    assert_eq!(told, expected);
    assert_eq!(listed(&["--outcome", "refused", "--operation", "delivery.pull"])[0]["subject"], "subscriptions/mail");
    let table = run_as(&user, &auditor, &["--url", &url, "audit", "list", "--limit", "2"]).ok();
    assert!(table.stdout.contains("OPERATION") && table.stderr.contains("more follow"), "{table:?}");

    let (page, export) = (user.path("report.html"), user.path("trail.ndjson"));
    run_as(&user, &auditor, &["--url", &url, "audit", "report", "--form", "html", "--to", &page]).ok();
    assert!(fs::read_to_string(&page).unwrap().contains("<td>event.publish</td>"));
    let report = run_as(&user, &auditor, &["--url", &url, "audit", "report"]).ok().json();
    run_as(&user, &auditor, &["--url", &url, "audit", "export", "--to", &export]).ok();
    // The head of the report is one that was noted before the export.
    let head = report["head"].as_str().unwrap();
    let sound = user.run(&["audit", "verify", &export, "--head", head, "-o", "json"]).ok().json();
    assert_eq!((&sound["sound"], &sound["logs"][0]["tenant"]), (&json!(true), &json!("default")));
    // Beside the server that writes.
    user.run(&["audit", "verify", &data, "--tenant", "default", "--head", head]).ok();

    let copy = user.path("copy");
    user.run(&["store", "backup", &data, &copy]).ok();
    let logs = user.run(&["audit", "verify", &copy, "-o", "json"]).ok().json()["logs"].clone();
    let logs: Vec<_> = logs.as_array().unwrap().iter().map(|log| (log["tenant"].clone(), log["log"].clone())).collect();
    let expected = [("default", "events"), ("default", "audit"), ("system", "events")];
    assert_eq!(logs, expected.map(|(tenant, log)| (json!(tenant), json!(log))));
    server.stop();
    let verified = user.run(&["audit", "verify", &data, "-o", "ndjson"]).ok();
    assert_eq!(
        verified.lines().iter().map(|log| log["log"].clone()).collect::<Vec<_>>(),
        ["events", "audit", "events"]
    );

    let text = fs::read_to_string(&export).unwrap();
    user.write("trail.ndjson", &text.replacen("refused", "granted", 1));
    let found = user.run(&["audit", "verify", &export]).ended(5);
    assert!(found.stderr.contains("line ") && found.stdout.contains("broken"), "{found:?}");
    let segment = fs::read_dir(format!("{data}/tenants/default/audit/log")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
    let found = user.run(&["audit", "verify", &data]).ended(5);
    assert!(found.stderr.contains("were there and are not") || found.stderr.contains("acknowledged"), "{found:?}");
    user.run(&["audit", "verify", &data, "--head", "nonsense"]).ended(2);
    user.run(&["audit", "verify", &export, "--tenant", "default"]).ended(2);
}

#[test]
fn a_key_that_is_made_in_the_folder_stands_in_the_trail_too() {
    let user = User::new();
    let data = user.path("data");
    let made = user.run(&["key", "create", "auditor", "--may", "audit", "--data", &data]).ok();
    let server = user.serve(&["--data", &data]);
    let listed = run_as(&user, made.stdout.trim(), &["--url", &server.url, "audit", "list", "-o", "json"]).ok().json();
    let act = &listed["acts"][0];
    assert_eq!((&act["actor"]["id"], &act["operation"]), (&json!("local"), &json!("key.create")));
    assert_eq!(act["details"]["name"], "auditor");
}
