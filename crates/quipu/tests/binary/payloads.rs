//! Data that is kept beside the log, on the command line: shown, exported, backed up and checked.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{User, finish};

const SMALL: &[&str] = &["--set", "claim_check_bytes=2000", "--set", "payload_bytes_max=100000"];

fn large(id: &str) -> String {
    let data = json!({"total": 7, "pad": format!("{id:3000}")});
    json!({"specversion":"1.0","id":id,"source":"/test","type":"report.made","data":data}).to_string()
}

fn data(event: &str) -> Value {
    serde_json::from_str::<Value>(event).unwrap()["data"].clone()
}

#[test]
fn who_asks_is_shown_the_data_and_exports_always_have_it() {
    let user = User::new();
    let server = user.serve(&[&["--temporary"], SMALL].concat());
    let at = |args: &[&str]| user.run(&[args, &["--url", &server.url]].concat());
    let file = user.write("events.ndjson", &format!("{}\n{}\n", large("1"), large("2")));
    at(&["store", "import", &file]).ok();
    let shown = at(&["event", "get", "1", "-o", "json"]).ok().json();
    assert!(shown["dataref"].as_str().unwrap().starts_with("quipu:payload/blake3/") && shown.get("data").is_none());
    assert_eq!(at(&["event", "get", "1", "--resolve", "-o", "json"]).ok().json()["data"], data(&large("1")));
    for verb in [&["event", "list"][..], &["event", "tail", "--from", "start", "--limit", "2"]] {
        let lines = |flags: &[&str]| at(&[verb, &["-o", "ndjson"], flags].concat()).ok().lines();
        assert!(lines(&[]).iter().all(|event| event.get("data").is_none()), "{verb:?}");
        let resolved: Vec<_> = lines(&["--resolve"]).iter().map(|event| event["data"].clone()).collect();
        assert_eq!(resolved, [data(&large("1")), data(&large("2"))], "{verb:?}");
    }
    let exported = at(&["store", "export"]).ok();
    assert!(!exported.stdout.contains("dataref"));
    let there = user.path("there");
    // With other limits: the data is in the events there.
    user.run_with(&["store", "import", "-", "--data", &there], &exported.stdout).ok();
    let stats = user.run(&["store", "stats", &there, "-o", "json"]).ok().json();
    assert_eq!((&stats["events"], &stats["payloads"]), (&json!(2), &json!(0)));
    assert_eq!(at(&["store", "stats", "-o", "json"]).ok().json()["payloads"], 2);
    at(&["subscription", "create", "all", "--start", "beginning", "--resolve"]).ok();
    let pulled = at(&["subscription", "pull", "all", "--max", "1"]).ok().lines();
    assert_eq!(pulled[0]["event"]["data"], data(&large("1")));
}

#[test]
fn a_backup_has_payloads_and_a_check_names_the_one_that_is_damaged() {
    let user = User::new();
    let (here, copy) = (user.path("here"), user.path("copy"));
    let file = user.write("events.ndjson", &format!("{}\n{}\n", large("1"), large("2")));
    user.run(&[&["store", "import", &file, "--data", &here], SMALL].concat()).ok();
    let checked = user.run(&["store", "check", &here, "-o", "json"]).ok().json();
    assert_eq!((&checked[0]["payloads"], &checked[0]["orphans"]["payloads"]), (&json!(2), &json!(0)));
    user.run(&["store", "backup", &here, &copy]).ok();
    let exported = |folder: &str| user.run(&["store", "export", folder]).ok().stdout;
    assert_eq!(exported(&here), exported(&copy));
    let payloads = std::path::Path::new(&copy).join("tenants/default/payloads");
    let first = std::fs::read_dir(payloads).unwrap().next().unwrap().unwrap().path();
    let payload = std::fs::read_dir(first).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&payload, "other bytes").unwrap();
    let damaged = user.run(&["store", "check", &copy]).ended(5);
    assert!(damaged.stderr.contains("expected the payload of the event at position"), "{damaged:?}");
    assert!(damaged.stderr.contains(payload.file_name().unwrap().to_str().unwrap()), "{damaged:?}");
    let refused = user.run(&["store", "export", &copy]);
    assert!(refused.stderr.contains("expected the payload of the event at position"), "{refused:?}");
}

#[test]
fn an_export_of_a_tenant_has_the_data_and_deleting_it_removes_the_files() {
    let user = User::new();
    let folder = user.path("data");
    let operator =
        user.run(&["key", "create", "operator", "--may", "operate", "--tenant", "system", "--data", &folder]).ok();
    let server = user.serve(&[&["--data", &folder], SMALL].concat());
    let run_as = |key: &str, args: &[&str]| {
        finish(
            user.command(&[args, &["--url", &server.url]].concat()).env("QUIPU_KEY", key.trim()).stdin(Stdio::null()),
        )
    };
    let tenant = |args: &[&str]| run_as(&operator.stdout, &[&["tenant"], args].concat());
    let admin = tenant(&["create", "acme"]).ok();
    let publisher = run_as(&admin.stdout, &["key", "create", "shop", "--may", "publish"]).ok();
    let lines = format!("{}\n{}\n", large("1"), large("2"));
    run_as(&publisher.stdout, &["store", "import", &user.write("events.ndjson", &lines)]).ok();
    let payloads = std::path::Path::new(&folder).join("tenants/acme/payloads");
    let files = || std::fs::read_dir(&payloads).map_or(0, Iterator::count);
    assert_eq!(files(), 2);
    // Also once nobody uses it.
    tenant(&["suspend", "acme", "--reason", "ends"]).ok();
    let exported = user.path("acme.ndjson");
    tenant(&["export", "acme", "--to", &exported]).ok();
    let exported = std::fs::read_to_string(exported).unwrap();
    assert_eq!(exported.lines().map(data).collect::<Vec<_>>(), [data(&large("1")), data(&large("2"))]);
    assert!(!exported.contains("dataref"));
    tenant(&["delete", "acme", "--yes"]).ok();
    assert!(!payloads.exists() && files() == 0);
}
