//! A data folder as a whole.

use crate::process::{User, events};

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
