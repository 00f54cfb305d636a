//! What goes wrong, and the exit code that says so.

use std::io::Read;
use std::process::Stdio;

use crate::process::{Ran, User, events, is_empty};

#[test]
fn each_failure_has_its_exit_code_and_leaves_standard_output_empty() {
    let user = User::new();
    let server = user.serve(&["--data", &user.path("data")]);
    let url = server.url.as_str();
    let data = user.path("data");
    for (args, code, part) in [
        (&["event", "list", "--url", "http://127.0.0.1:1"][..], 4, "no server answers"),
        (&["event", "list", "--url", "ftp://x"], 2, "expected a URL"),
        (&["event", "list", "--url", url, "--time-from", "yesterday"], 1, "timefrom"),
        (&["event", "get", "--url", url, "99"], 3, "99"),
        (&["event", "get", "--url", url, "--source", "/s", "--id", "9"], 3, "[event-not-found]"),
        (&["stream", "read", "--url", url, "nothing/here"], 3, "[stream-not-found]"),
        (&["event", "list", "--url", url, "--limit", "0"], 2, "--limit"),
        (&["event", "get"], 2, "POSITION"),
        (&["event", "publish", "missing.ndjson", "--url", url], 3, "missing.ndjson"),
        (&["event", "publish", "--url", url, "--type", "a.b", "--source", "/s", "--data", "{"], 2, "--data"),
        (&["event", "publish", "--url", url, "--type", "quipu.a", "--source", "/s"], 1, "reserved"),
        (&["serve", "--data", &data, "--listen", "127.0.0.1:0"], 6, "another process"),
        (&["store", "stats", &user.path("nowhere")], 3, "nowhere"),
        (&["event", "list", "--context", "none"], 3, "quipu context add"),
    ] {
        let ran = user.run(args).ended(code);
        assert!(ran.stderr.contains(part), "expected {part:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let user = User::new();
    for args in [&["--help"][..], &["help", "exit-codes"], &["exit-codes"]] {
        let ran = user.run(args).ok();
        assert!(ran.stdout.contains("4  no server answers") && ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_a_list_quietly() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(5_000)).ok();
    let mut command = user.command(&["event", "list", "-o", "ndjson", "--url", &server.url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    assert_eq!(ran.stderr, "");
}

#[test]
fn an_address_that_others_reach_needs_a_word_for_it() {
    let user = User::new();
    let data = user.home.path().join("data");
    let ran = user.run(&["serve", "--listen", "0.0.0.0:0", "--data", data.to_str().unwrap()]).ended(2);
    assert!(ran.stderr.contains("--insecure-listen-anywhere") && ran.stderr.contains("TLS"), "{ran:?}");
    assert!(is_empty(&data), "nothing was touched");
    // Where others come from, nobody is taken without a key, so there has to be one.
    let data = data.to_str().unwrap();
    let ran = user.run(&["serve", "--insecure-listen-anywhere", "--listen", "0.0.0.0:0", "--data", data]).ended(2);
    assert!(ran.stderr.contains("quipu key create admin --may administer --data"), "{ran:?}");
    // `dev` has no such flag; what it is told works for it as well.
    let ran = user.run(&["dev", "--listen", "0.0.0.0:0", "--temporary"]).ended(2);
    assert!(ran.stderr.contains("--set insecure_listen_anywhere=true"), "{ran:?}");
    let open = user.serve_on("0.0.0.0:0", &["--temporary", "--set", "insecure_listen_anywhere=true"]);
    assert!(open.said.iter().any(|line| line.contains("whoever reaches 0.0.0.0:")), "{:?}", open.said);
    assert!(open.url.starts_with("http://127.0.0.1:"), "{}", open.url);
}

#[test]
fn the_documents_are_data() {
    let user = User::new();
    let openapi = user.run(&["openapi"]).ok();
    assert_eq!(openapi.json()["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(user.run(&["completions", shell]).ok().stdout.contains("quipu"));
    }
}
