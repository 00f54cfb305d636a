//! Tenants on the command line, from the first operator to the last trace.

use std::process::Stdio;

use serde_json::json;

use crate::process::{Ran, User, finish};

/// Runs a command with a key in its environment.
fn run_as(user: &User, key: &str, args: &[&str]) -> Ran {
    finish(user.command(args).env("QUIPU_KEY", key).stdin(Stdio::null()))
}

#[test]
fn an_operator_makes_limits_suspends_exports_and_deletes_a_tenant() {
    let user = User::new();
    let data = user.path("data");
    let operator =
        user.run(&["key", "create", "operator", "--may", "operate", "--tenant", "system", "--data", &data]).ok();
    let operator = operator.stdout.trim().to_owned();
    assert!(operator.starts_with("qp_system_"));
    let elsewhere = user.run(&["key", "create", "x", "--may", "operate", "--data", &data]).ended(1);
    assert!(elsewhere.stderr.contains("found operate"), "{elsewhere:?}");

    let server = user.serve(&["--data", &data]);
    let url = server.url.as_str();
    let tenant = |args: &[&str]| run_as(&user, &operator, &[&["--url", url, "tenant"], args].concat());
    let made = tenant(&["create", "acme", "--connections", "50"]).ok();
    assert!(made.stderr.contains("is not shown again"), "{made:?}");
    let admin = made.stdout.trim().to_owned();
    assert!(admin.starts_with("qp_acme_"));
    assert!(tenant(&["create", "acme"]).ended(1).stderr.contains("[tenant-exists]"));
    assert!(tenant(&["create", "system"]).ended(1).stderr.contains("[invalid-tenant]"));
    assert!(run_as(&user, &admin, &["--url", url, "tenant", "list"]).ended(1).stderr.contains("permission operate"));

    let publisher = run_as(&user, &admin, &["--url", url, "key", "create", "shop", "--may", "publish"]).ok();
    let publisher = publisher.stdout.trim().to_owned();
    let publish = |key: &str, id: &str| {
        let event = ["event", "publish", "--source", "/shop", "--type", "a.b", "--id", id, "--data", "{}"];
        run_as(&user, key, &[&["--url", url], &event[..]].concat())
    };
    publish(&publisher, "1").ok();
    publish(&publisher, "2").ok();
    let shown = tenant(&["show", "acme", "-o", "json"]).ok().json();
    assert_eq!((&shown["quotas"], &shown["usage"]["position"]), (&json!({"connections":50}), &json!(2)));
    let limited = tenant(&["quota", "acme", "--events-per-second", "1000", "-o", "json"]).ok().json();
    assert_eq!(limited["quotas"], json!({"eventspersecond":1000,"connections":50}), "what is not named stays");
    let limited = tenant(&["quota", "acme", "--connections", "default"]).ok();
    assert_eq!(limited.stdout.trim(), "acme is active; quotas: 1000 events/s");
    tenant(&["quota", "acme", "--connections", "0"]).ended(2);

    tenant(&["suspend", "acme", "--reason", "unpaid"]).ok();
    assert!(publish(&publisher, "3").ended(1).stderr.contains("[tenant-suspended]"));
    let listed = tenant(&["list", "-o", "json"]).ok().json();
    let states: Vec<_> =
        listed["tenants"].as_array().unwrap().iter().map(|one| (&one["name"], &one["state"])).collect();
    assert_eq!(states, [(&json!("acme"), &json!("suspended")), (&json!("default"), &json!("active"))]);

    let file = user.path("acme.ndjson");
    let exported = tenant(&["export", "acme", "--to", &file]).ok();
    assert!(exported.stderr.contains("2 events exported"), "{exported:?}");
    let imported = user.run(&["store", "import", &file, "--data", &user.path("copy"), "-o", "json"]).ok().json();
    assert_eq!(imported["recorded"], 2);

    let unconfirmed = tenant(&["delete", "acme"]).ended(2);
    assert!(unconfirmed.stderr.contains("2 events, 0 subscriptions and 2 keys go with it"), "{unconfirmed:?}");
    tenant(&["resume", "acme"]).ok();
    publish(&publisher, "3").ok();
    assert!(tenant(&["delete", "acme", "--yes"]).ended(1).stderr.contains("[tenant-state]"));
    tenant(&["suspend", "acme", "--reason", "ends"]).ok();
    assert_eq!(tenant(&["delete", "acme", "--yes"]).ok().stdout.trim(), "acme was deleted");
    assert!(publish(&publisher, "4").ended(1).stderr.contains("[unauthenticated]"));
    assert!(tenant(&["show", "acme"]).ended(3).stderr.contains("[tenant-not-found]"));
    assert!(!user.home.path().join("data/tenants/acme").exists());
}

#[test]
fn the_session_of_the_examples_goes_as_it_should_and_the_trails_tell_all_of_it() {
    let user = User::new();
    let data = user.path("data");
    let make =
        ["key", "create", "operator", "--may", "operate", "--may", "audit", "--tenant", "system", "--data", &data];
    let operator = user.run(&make).ok().stdout.trim().to_owned();
    let server = user.serve(&["--data", &data, "--set", "needs_keys=true"]);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_quipu")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tenant-session.sh");
    let mut session = std::process::Command::new("sh");
    session.arg(script).env("PATH", path).env("QUIPU_URL", &server.url).env("QUIPU_KEY", &operator);
    let ran = finish(session.env("HOME", user.home.path()).stdin(Stdio::null())).ok();
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let told = |operation: &str, outcome: &str| {
        rows.iter().filter(|row| row.contains(&operation) && row.contains(&outcome)).count()
    };
    for (operation, outcome, count) in [
        // That of the operator was made in the folder.
        ("key.create", "done", 5),
        ("key.create", "refused", 1),
        ("subscription.create", "done", 2),
        ("event.publish", "refused", 3),
        ("event.list", "refused", 1),
        ("delivery.pull", "refused", 1),
        ("key.list", "refused", 1),
        ("tenant.list", "refused", 1),
        ("audit.list", "refused", 1),
        ("tenant.create", "done", 1),
        ("tenant.suspend", "done", 1),
        ("tenant.resume", "done", 1),
    ] {
        assert_eq!(told(operation, outcome), count, "{operation} {outcome}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("qp_") && !ran.stderr.contains(&operator), "{ran:?}");
}
