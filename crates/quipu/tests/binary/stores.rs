//! A data folder as a whole.

use crate::process::{User, events, finish};

#[test]
fn what_is_exported_is_imported_elsewhere_once() {
    let user = User::new();
    let (here, there) = (user.path("here"), user.path("there"));
    let file = user.write("events.ndjson", &events(1_234));
    let counts = |args: &[&str]| user.run(args).ok().stdout;
    assert_eq!(counts(&["store", "import", &file, "--data", &here]), "1234 recorded, 0 duplicates, 0 refused\n");
    let exported = user.path("export.ndjson");
    user.run(&["store", "export", &here, "--to", &exported]).ok();
    user.run(&["store", "export", &here, "--to", &exported]).ended(1);
    assert_eq!(counts(&["store", "import", &exported, "--data", &there]), "1234 recorded, 0 duplicates, 0 refused\n");
    assert_eq!(counts(&["store", "import", &exported, "--data", &there]), "0 recorded, 1234 duplicates, 0 refused\n");

    let without_time = |text: String| {
        let line = |line: &str| {
            let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
            event.as_object_mut().unwrap().remove("recordedtime");
            event
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    let export = |folder: &str| user.run(&["store", "export", folder]).ok().stdout;
    assert_eq!(without_time(export(&here)), without_time(export(&there)));

    let stats = user.run(&["store", "stats", &there, "-o", "json"]).ok().json();
    assert_eq!((&stats["events"], &stats["streams"], &stats["position"]), (&1234.into(), &124.into(), &1234.into()));
}

#[test]
fn a_server_is_filled_measured_and_exported() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let url = server.url.as_str();
    let file = user.write("events.ndjson", &events(100));
    user.run(&["store", "import", &file, "--url", url]).ok();
    let exported = user.run(&["store", "export", "--url", url]).ok();
    assert_eq!(exported.lines().len(), 100);
    assert!(exported.stderr.contains("100 events exported"));
    let again = user.run_with(&["store", "import", "-", "--url", url], &exported.stdout).ok();
    assert_eq!(again.stdout, "0 recorded, 100 duplicates, 0 refused\n");
    assert_eq!(user.run(&["store", "stats", "--url", url, "-o", "json"]).ok().json()["events"], 100);
    assert!(user.run(&["store", "stats", "--url", url]).ok().stdout.contains("streams"));
}

#[test]
fn an_export_with_outcomes_of_deliveries_is_imported_without_them() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let at = |args: &[&str]| user.run(&[args, &["--url", &server.url]].concat()).ok();
    let definition = user.write("reports.json", r#"{"start": "beginning", "reportsoutcomes": true}"#);
    let events = user.write("events.ndjson", &events(3));
    at(&["store", "import", &events]);
    at(&["subscription", "create", "mail", "--file", &definition]);
    at(&["subscription", "pull", "mail", "--max", "3", "--ack"]);
    // The outcomes are events like others: a tail waits until they are there.
    let outcomes = at(&["event", "tail", "--from", "4", "--limit", "3", "-o", "ndjson"]).lines();
    assert!(outcomes.iter().all(|event| event["type"] == "quipu.delivery.acknowledged"), "{outcomes:?}");

    let exported = user.path("export.ndjson");
    at(&["store", "export", "--to", &exported]);
    let other = user.serve(&["--temporary"]);
    let folder = user.path("there");
    for target in [["--url", &other.url], ["--data", &folder]] {
        let import = [&["store", "import", &exported][..], &target].concat();
        let imported = user.run(&import).ok();
        assert_eq!(imported.stdout, "3 recorded, 0 duplicates, 0 refused\n");
        assert!(imported.stderr.contains("3 skipped"), "{imported:?}");
        let again = user.run(&[&import[..], &["-o", "json"]].concat()).ok().json();
        assert_eq!((&again["duplicates"], &again["skipped"], &again["refused"]), (&3.into(), &3.into(), &0.into()));
    }
}

#[test]
fn a_store_is_backed_up_while_its_server_runs_and_the_copy_is_sound() {
    let user = User::new();
    let (data, copy) = (user.path("data"), user.path("copy"));
    let server = user.serve(&["--data", &data]);
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(500)).ok();
    let report = user.run(&["store", "backup", &data, &copy, "-o", "json"]).ok().json();
    assert_eq!((&report[0]["tenant"], &report[0]["state"]), (&"default".into(), &"sound".into()));
    assert_eq!(report[0]["events"], 500);
    assert_ne!(user.run(&["store", "backup", &data, &copy]).code, 0, "a copy is never written over");
    assert_eq!(server.stop().0, 0);
    let checked = |folder: &str| user.run(&["store", "check", folder, "-o", "json"]).ok().json();
    assert_eq!(checked(&data)[0]["chain"], checked(&copy)[0]["chain"]);
    let exported = |folder: &str| user.run(&["store", "export", folder]).ok().stdout;
    assert_eq!(exported(&data), exported(&copy));
    assert!(user.run(&["store", "check", &copy]).ok().stdout.contains("sound"));
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let user = User::new();
    let data = user.path("data");
    let file = user.write("events.ndjson", &events(500));
    user.run(&["store", "import", &file, "--data", &data]).ok();
    let log = user.home.path().join("data/tenants/default/log");
    let segment = std::fs::read_dir(log).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|window| window == b"\"n\":99").expect("the data of an event");
    bytes[at + 4] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let ran = user.run(&["store", "check", &data, "-o", "json"]).ended(5);
    assert_eq!(ran.json()[0]["state"], "damaged");
    assert!(ran.stderr.contains(segment.to_str().unwrap()), "{ran:?}");
    user.run(&["store", "check", &user.path("nowhere")]).ended(3);
}

#[test]
fn data_passes_through_as_it_was_sent() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let url = server.url.as_str();
    let data = r#"{"z":12345678901234567890123,"a":1.50,"text":"ü\n"}"#;
    user.run(&[
        "event",
        "publish",
        "--url",
        url,
        "--type",
        "a.b",
        "--source",
        "/s",
        "--subject",
        "x/1",
        "--data",
        data,
    ])
    .ok();
    for args in [
        &["event", "list", "-o", "ndjson"][..],
        &["event", "get", "1", "-o", "ndjson"],
        &["stream", "read", "x/1", "-o", "ndjson"],
        &["event", "tail", "--from", "1", "--limit", "1", "-o", "json"],
        &["store", "export"],
    ] {
        let ran = user.run(&[args, &["--url", url]].concat()).ok();
        assert!(ran.stdout.contains(data), "{args:?}: {ran:?}");
    }
    let readable = user.run(&["event", "get", "1", "-o", "json", "--url", url]).ok();
    assert!(readable.stdout.contains("\n    \"z\": 12345678901234567890123,\n    \"a\": 1.50,\n"), "{readable:?}");
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    let user = User::new();
    let file = user.path("export.ndjson");
    let is_gone = || user.files("export.ndjson").is_empty();
    user.run(&["store", "export", "--to", &file, "--url", "http://127.0.0.1:1"]).ended(4);
    assert!(is_gone(), "{:?}", user.files("export.ndjson"));

    // A bit of the middle is flipped, so that the export fails when it has written a part.
    let data = user.path("data");
    let events = user.write("events.ndjson", &events(20_000));
    user.run(&["store", "import", &events, "--data", &data, "--set", "segment_bytes=1048576"]).ok();
    let segment = user.home.path().join("data/tenants/default/log/00000002.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let ran = user.run(&["store", "export", &data, "--to", &file]).ended(5);
    assert!(ran.stderr.contains("00000002.seg"), "{ran:?}");
    assert!(is_gone(), "{:?}", user.files("export.ndjson"));
}

#[test]
fn an_export_does_not_write_over_a_file_or_what_another_one_writes() {
    let user = User::new();
    let data = user.path("data");
    let events = user.write("events.ndjson", &events(10));
    user.run(&["store", "import", &events, "--data", &data]).ok();
    let there = user.write("there.ndjson", "mine");
    user.run(&["store", "export", &data, "--to", &there]).ended(1);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
    let partial = user.write("other.ndjson.partial", "another one's");
    let ran = user.run(&["store", "export", &data, "--to", &user.path("other.ndjson")]).ended(1);
    assert!(ran.stderr.contains("other.ndjson.partial"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&partial).unwrap(), "another one's");
    std::fs::remove_file(&partial).unwrap();
    user.run(&["store", "export", &data, "--to", &user.path("other.ndjson")]).ok();
    assert_eq!(user.files("other.ndjson"), ["other.ndjson"]);
}

#[test]
fn an_import_into_a_folder_uses_the_configuration_of_its_server() {
    let user = User::new();
    let file = user.write("events.ndjson", &events(20_000));
    let segments = |folder: &str| user.files_in(&format!("{folder}/tenants/default/log"), "0000").len();
    user.write("quipu.toml", "segment_bytes = 1048576\n");
    user.run(&["store", "import", &file, "--data", &user.path("small")]).ok();
    assert!(segments("small") > 1, "{}", segments("small"));
    let set = ["--set", "segment_bytes=268435456"];
    user.run(&[&["store", "import", &file, "--data", &user.path("large")][..], &set].concat()).ok();
    assert_eq!(segments("large"), 1);

    let large = user.write(
        "large.ndjson",
        &format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"{}"}}"#, "x".repeat(2_000)),
    );
    let mut command = user.command(&["store", "import", &large, "--data", &user.path("limited")]);
    let ran = finish(command.env("QUIPU_EVENT_BYTES_MAX", "1024")).ended(1);
    assert!(ran.stderr.contains("[event-too-large]"), "{ran:?}");
    user.run(&["store", "import", &large, "--data", &user.path("limited"), "--set", "event_byte_max=1"]).ended(2);
    user.run(&["store", "import", &large, "--url", "http://127.0.0.1:1", "--set", "event_bytes_max=4096"]).ended(2);
}

#[test]
fn a_folder_is_measured_as_its_server_measures_it() {
    let user = User::new();
    let data = user.path("data");
    let server = user.serve(&["--data", &data]);
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(300)).ok();
    let of_server = user.run(&["store", "stats", "--url", &server.url, "-o", "json"]).ok().json();
    assert_eq!(server.stop().0, 0);
    let of_folder = user.run(&["store", "stats", &data, "-o", "json"]).ok().json();
    let names = |json: &serde_json::Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&of_server), names(&of_folder));
    for name in ["events", "streams", "position", "segments", "oldest", "newest"] {
        assert_eq!(of_server[name], of_folder[name], "{name}");
    }
}
