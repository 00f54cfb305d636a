//! Data that is kept beside the log, on the command line: shown, exported, backed up and checked.

use serde_json::{Value, json};

use crate::process::User;

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
