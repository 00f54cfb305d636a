//! `quipu dev --demo`, as the README shows it.

use crate::process::User;

#[test]
fn the_demo_loads_324_github_events_once_and_places_orders() {
    let user = User::new();
    let data = user.path("data");
    let server = user.serve(&["--demo", "--data", &data]);
    assert!(server.said.iter().any(|line| line.contains("324 recorded, 5 duplicates")), "{:#?}", server.said);
    assert!(server.said.iter().any(|line| line.contains(&data) && line.contains("kept")), "{:#?}", server.said);

    let url = server.url.clone();
    let github = ["event", "list", "--url", &url, "--type", "com.github.*", "-o", "ndjson"];
    assert_eq!(user.run(&github).ok().lines().len(), 324);

    // The demo's own suggestions work as they stand.
    let trace = server.said.iter().find(|line| line.contains("event trace")).expect("a suggestion").clone();
    let trace: Vec<&str> = trace.split_whitespace().skip(1).collect();
    assert!(user.run(&trace).ok().stdout.starts_with("order.placed"));
    let tail = ["event", "tail", "--url", &url, "--from", "325", "--limit", "4", "-o", "ndjson"];
    let order = user.run(&tail).ok().lines();
    assert_eq!((&order[0]["type"], &order[0]["streamversion"]), (&"order.placed".into(), &1.into()));
    assert_eq!(order[2]["causationid"], order[0]["id"]);
    assert!(order.iter().all(|event| event["correlationid"] == order[0]["correlationid"]));

    let (code, stdout) = server.stop();
    assert_eq!((code, stdout.as_str()), (0, ""));
    let again = user.serve(&["--demo", "--data", &data]);
    assert!(again.said.iter().any(|line| line.contains("0 recorded, 329 duplicates")), "{:#?}", again.said);
    assert_eq!(
        user.run(&["event", "list", "--url", &again.url, "--type", "com.github.*", "-o", "ndjson"]).ok().lines().len(),
        324
    );
}

#[test]
fn a_temporary_folder_is_gone_at_the_end() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    let line = server.said.iter().find(|line| line.contains("  data ")).expect("the folder").clone();
    assert!(line.contains("deleted when the server stops"), "{line}");
    let folder = line.split_whitespace().nth(1).unwrap().to_owned();
    assert!(std::path::Path::new(&folder).exists());
    assert_eq!(server.stop().0, 0);
    assert!(!std::path::Path::new(&folder).exists());
}
