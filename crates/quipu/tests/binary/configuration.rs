//! Where the configuration comes from. The rules of precedence have their table beside the code; here is that the
//! binary reads the real file, the real variables and the real flags.

use crate::process::{User, finish};

#[test]
fn each_value_says_where_it_came_from() {
    let user = User::new();
    user.write("quipu.toml", "event_bytes_max = 2048\nthreads = 3\nlog = \"warn\"\n");
    let mut command = user.command(&["serve", "--print-config", "-o", "json", "--set", "threads=5", "--data", "d"]);
    let ran = finish(command.env("QUIPU_LOG", "error").env("QUIPU_THREADS", "4")).ok();
    let json = ran.json();
    let found = |key: &str| {
        let entry = json.as_array().unwrap().iter().find(|entry| entry["key"] == key).unwrap();
        (entry["value"].clone(), entry["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(found("event_bytes_max"), (2048.into(), "quipu.toml".into()));
    assert_eq!(found("log"), ("error".into(), "QUIPU_LOG".into()));
    assert_eq!(found("threads"), (5.into(), "flag".into()));
    assert_eq!(found("data"), ("d".into(), "flag".into()));
    assert_eq!(found("listen"), ("127.0.0.1:7070".into(), "default".into()));
    for entry in json.as_array().unwrap() {
        assert!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{entry}");
    }
    assert!(user.run(&["serve", "--print-config"]).ok().stdout.contains("quipu.toml"));
}

#[test]
fn a_file_that_is_named_must_be_there_and_its_keys_known() {
    let user = User::new();
    user.run(&["serve", "--print-config", "--config", "none.toml"]).ended(2);
    user.write("q.toml", "event_byte_max = 2048\n");
    let ran = user.run(&["serve", "--print-config", "--config", "q.toml"]).ended(2);
    assert!(ran.stderr.contains("q.toml") && ran.stderr.contains("did you mean event_bytes_max?"), "{ran:?}");
    let mut command = user.command(&["serve", "--print-config"]);
    let ran = finish(command.env("QUIPU_LISTN", "x")).ok();
    assert!(ran.stderr.contains("QUIPU_LISTEN"), "{ran:?}");
}

#[test]
fn limits_reach_the_server() {
    let user = User::new();
    let server = user.serve(&["--temporary", "--set", "event_bytes_max=1024"]);
    let data = format!("\"{}\"", "x".repeat(2_000));
    let args = ["event", "publish", "--url", &server.url, "--type", "a.b", "--source", "/s", "--data", &data];
    let ran = user.run(&args).ended(1);
    assert!(ran.stderr.contains("[event-too-large]") && ran.stderr.contains("1024"), "{ran:?}");
}
