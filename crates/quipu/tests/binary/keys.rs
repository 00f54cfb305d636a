//! Keys on the command line: made, used within their bounds and refused beyond them.

use std::process::Stdio;

use serde_json::json;

use crate::process::{Ran, User, finish};

/// Runs a command with a key in its environment.
fn run_as(user: &User, key: &str, args: &[&str]) -> Ran {
    finish(user.command(args).env("QUIPU_KEY", key).stdin(Stdio::null()))
}

#[test]
fn each_key_does_what_it_may_and_each_wrong_use_is_refused() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let url = server.url.as_str();
    let make = |args: &[&str]| {
        let ran = user.run(&[&["--url", url, "key", "create"], args].concat()).ok();
        assert!(ran.stderr.contains("is not shown again"), "{ran:?}");
        ran.stdout.trim().to_owned()
    };
    user.run(&["--url", url, "subscription", "create", "billing", "--start", "beginning"]).ok();
    user.run(&["--url", url, "subscription", "create", "mail", "--start", "beginning"]).ok();
    let publisher = make(&["shop", "--may", "publish", "--type", "order.*", "--source", "/shop"]);
    let consumer = make(&["billing", "--may", "consume", "--may", "observe", "--subscription", "billing"]);
    assert!(publisher.starts_with("qp_default_") && consumer.starts_with("qp_default_"));

    let publish = |key: &str, source: &str, kind: &str| {
        let event = ["event", "publish", "--source", source, "--type", kind, "--subject", "order/1", "--data", "{}"];
        run_as(&user, key, &[&["--url", url], &event[..]].concat())
    };
    publish(&publisher, "/shop", "order.placed").ok();
    for (source, kind) in [("/shop", "user.created"), ("/other", "order.placed")] {
        let refused = publish(&publisher, source, kind).ended(1);
        assert!(refused.stderr.contains("[forbidden]") && !refused.stderr.contains(&publisher), "{refused:?}");
    }
    assert!(publish(&consumer, "/shop", "order.placed").ended(1).stderr.contains("[forbidden]"));
    assert!(run_as(&user, &publisher, &["--url", url, "event", "list"]).ended(1).stderr.contains("permission read"));

    let pull = |key: &str, name: &str| run_as(&user, key, &["--url", url, "subscription", "pull", name, "--ack"]);
    let pulled = pull(&consumer, "billing").ok();
    assert_eq!((pulled.lines().len(), &pulled.lines()[0]["event"]["type"]), (1, &json!("order.placed")));
    for name in ["mail", "absent"] {
        assert!(pull(&consumer, name).ended(1).stderr.contains("[forbidden]"));
    }
    assert!(run_as(&user, &consumer, &["--url", url, "key", "list"]).ended(1).stderr.contains("permission administer"));

    let access = run_as(&user, &consumer, &["--url", url, "key", "access", "-o", "json"]).ok().json();
    assert_eq!((&access["tenant"], &access["name"]), (&json!("default"), &json!("billing")));
    let listed = user.run(&["--url", url, "key", "list", "-o", "json"]).ok();
    assert_eq!(listed.json()["keys"].as_array().unwrap().len(), 2);
    assert!(!listed.stdout.contains(&consumer[30..]));

    // From a file, since a key in a variable is inherited by everything that is started.
    let file = user.write("key", &format!("{consumer}\n"));
    user.run(&["--url", url, "--key-file", &file, "subscription", "show", "billing"]).ok();
    let id = access["id"].as_str().unwrap();
    user.run(&["--url", url, "key", "revoke", id]).ended(2);
    user.run(&["--url", url, "key", "revoke", id, "--yes"]).ok();
    assert!(pull(&consumer, "billing").ended(1).stderr.contains("[unauthenticated]"));
}

#[test]
fn the_first_key_is_made_in_the_folder_and_makes_the_others() {
    let user = User::new();
    let data = user.path("data");
    let made = user.run(&["key", "create", "admin", "--may", "administer", "--data", &data]).ok();
    let admin = made.stdout.trim().to_owned();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--set", "public_hosts=quipu.example"];
    let mut child = user.command(&serve).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = crate::process::lines(child.stderr.take().unwrap());
    let mut said = String::new();
    let url = loop {
        let line = lines.recv_timeout(std::time::Duration::from_secs(20)).expect("it says where it listens");
        said.push_str(&line);
        if let Some((_, rest)) = line.split_once("listening on ") {
            break rest.split(',').next().unwrap().to_owned();
        }
    };
    said.push_str(&lines.recv_timeout(std::time::Duration::from_secs(20)).unwrap());
    let nobody = user.run(&["--url", &url, "event", "list"]);
    let reader = run_as(&user, &admin, &["--url", &url, "key", "create", "reader", "--may", "read"]);
    let read = run_as(&user, reader.stdout.trim(), &["--url", &url, "event", "list"]);
    let administered = run_as(&user, &admin, &["--url", &url, "event", "list"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("every request needs a key"), "{said}");
    assert!(nobody.ended(1).stderr.contains("[unauthenticated]"));
    read.ok();
    assert!(administered.ended(1).stderr.contains("[forbidden]"));
}

#[test]
fn a_name_that_is_no_tenants_is_refused_by_whoever_opens_a_folder() {
    let user = User::new();
    let (data, events) = (user.path("data"), user.write("events", ""));
    for command in [&["key", "create", "x", "--may", "read"][..], &["store", "import", &events]] {
        let ran = user.run(&[command, &["--data", &data, "--tenant", "Acme"]].concat()).ended(2);
        assert!(ran.stderr.contains("--tenant: expected 1 to 64 of a-z"), "{ran:?}");
    }
    assert!(!user.home.path().join("data").exists(), "nothing was made");
}
