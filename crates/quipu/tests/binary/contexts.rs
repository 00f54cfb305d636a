//! Named contexts, in a home folder of their own.

use crate::process::User;

#[test]
fn a_context_is_added_used_listed_and_removed() {
    let user = User::new();
    assert_eq!(user.run(&["context", "list", "-o", "json"]).ok().json(), serde_json::json!([]));
    user.run(&["context", "add", "local", "http://127.0.0.1:7070/"]).ok();
    user.run(&["context", "add", "other", "http://127.0.0.1:1"]).ok();
    user.run(&["context", "use", "other"]).ok();
    let listed = user.run(&["context", "list", "-o", "json"]).ok().json();
    assert_eq!(listed[0], serde_json::json!({"name": "local", "url": "http://127.0.0.1:7070", "current": false}));
    assert_eq!(listed[1]["current"], true);
    assert!(user.run(&["context", "list"]).ok().stdout.contains("*  other  http://127.0.0.1:1"));
    assert!(user.home.path().join(".config/quipu/contexts.toml").exists());
    user.run(&["context", "remove", "other"]).ok();
    user.run(&["context", "remove", "other"]).ended(3);
    user.run(&["context", "use", "other"]).ended(3);
    user.run(&["context", "add", "bad", "127.0.0.1:7070"]).ended(2);
}

#[test]
fn a_url_that_may_hold_a_secret_is_refused_without_being_repeated() {
    let user = User::new();
    for url in ["http://ada:hunter2@127.0.0.1:1", "https://hunter2@127.0.0.1:1", "http://127.0.0.1:1/?token=hunter2"] {
        for args in [&["context", "add", "bad", url][..], &["event", "list", "--url", url]] {
            let said = user.run(args).ended(2).stderr;
            assert!(said.contains("without user, password") && !said.contains("hunter2"), "{said}");
        }
    }
    assert!(!user.home.path().join(".config/quipu/contexts.toml").exists(), "nothing was kept");
}

#[test]
fn flags_come_before_variables_and_variables_before_the_context_in_use() {
    let user = User::new();
    for (name, port) in [("used", 1), ("named", 2)] {
        user.run(&["context", "add", name, &format!("http://127.0.0.1:{port}")]).ok();
    }
    let asked = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = user.command(&[&["event", "list"], args].concat());
        let ran = crate::process::finish(command.envs(variables.iter().copied())).ended(4);
        ran.stderr.split("http://127.0.0.1:").nth(1).and_then(|rest| rest.chars().next()).expect("a port")
    };
    let url = ("QUIPU_URL", "http://127.0.0.1:3");
    assert_eq!(asked(&[], &[]), '1');
    assert_eq!(asked(&[], &[("QUIPU_CONTEXT", "named")]), '2');
    assert_eq!(asked(&[], &[url, ("QUIPU_CONTEXT", "named")]), '3');
    assert_eq!(asked(&["--context", "named"], &[url]), '2');
    assert_eq!(asked(&["--url", "http://127.0.0.1:4"], &[url]), '4');
}
