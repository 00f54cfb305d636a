//! Operations on many dead letters: previewed, confirmed, followed, cancelled.

use serde_json::json;

use crate::deadletters::{deadletter, given_up};
use crate::process::{Ran, Server, User};
use crate::subscriptions::served;

fn operation(user: &User, server: &Server, args: &[&str]) -> Ran {
    user.run(&[&["operation"], args, &["--url", &server.url]].concat())
}

#[test]
fn many_are_redriven_after_a_preview_and_a_yes() {
    let (user, server) = served();
    given_up(&user, &server, &["--ordering", "none"], 3);
    let run = |args: &[&str]| deadletter(&user, &server, args);
    let said = run(&["redrive", "--all"]).ended(2);
    assert!(said.stdout.contains("3 dead letters; the first 3 are above") && said.stderr.contains("--yes"), "{said:?}");
    let preview = run(&["redrive", "--all", "-o", "json"]).ended(2).json();
    assert_eq!((&preview["state"], &preview["total"]), (&json!("previewed"), &json!(3)));
    assert_eq!(run(&["list", "-o", "ndjson"]).ok().lines().len(), 3, "a preview does nothing");
    let none = operation(&user, &server, &["list", "-o", "json"]).ok().json();
    assert_eq!(none["operations"], json!([]), "a preview that nobody confirms is cancelled");

    let args = ["redrive", "--all", "--subscription", "b", "--fingerprint", "no order #", "--rate", "1000", "--yes"];
    let done = run(&[&args[..], &["--wait", "-o", "json"]].concat()).ok();
    let ended = done.json();
    assert_eq!((&ended["state"], &ended["done"], &ended["refused"]), (&json!("finished"), &json!(3), &json!(0)));
    assert!(done.stderr.contains("is finished: 3 of 3 done, 0 refused"), "{done:?}");
    assert_eq!(run(&["list", "-o", "ndjson"]).ok().stdout, "");
    let id = ended["id"].to_string();
    assert_eq!(operation(&user, &server, &["show", &id, "-o", "json"]).ok().json(), ended);
    let table = operation(&user, &server, &["list"]).ok().stdout;
    assert!(table.starts_with("ID") && table.contains("finished  redrive"), "{table}");
}

#[test]
fn some_are_discarded_by_number_and_each_is_accounted_for() {
    let (user, server) = served();
    let ids = given_up(&user, &server, &["--ordering", "none"], 3);
    let one = ["discard", "--all", "--ids", &ids[0].to_string(), "--reason", "a test"];
    let said = deadletter(&user, &server, &one).ended(2);
    assert!(said.stdout.contains("1 dead letter; the first is above"), "{said:?}");
    let list = format!("{},{},99", ids[2], ids[0]);
    let args = ["discard", "--all", "--ids", &list, "--reason", "a test", "--yes"];
    let begun = deadletter(&user, &server, &args).ok();
    let id = begun.stdout.split("quipu operation watch ").nth(1).expect("how to follow it").trim().to_owned();
    let watched = operation(&user, &server, &["watch", &id]).ok();
    assert_eq!(watched.stdout, format!("operation {id} is finished: 2 of 2, 0 refused\n"));
    let items = operation(&user, &server, &["items", &id, "-o", "ndjson"]).ok().lines();
    assert_eq!(items, [json!({"id":ids[0],"outcome":"done"}), json!({"id":ids[2],"outcome":"done"})]);
    let page = operation(&user, &server, &["items", &id, "--limit", "1"]).ok();
    assert!(page.stdout.starts_with("NUMBER") && page.stderr.contains("--from 1"), "{page:?}");
    let open = deadletter(&user, &server, &["list", "-o", "ndjson"]).ok().lines();
    assert_eq!((open.len(), &open[0]["id"]), (1, &json!(ids[1])));
    let late = operation(&user, &server, &["cancel", &id]).ended(1);
    assert!(late.stderr.contains("[operation-state]"), "{late:?}");
}

#[test]
fn one_that_is_cancelled_leaves_the_rest_and_ends_with_1_for_who_watches() {
    let (user, server) = served();
    given_up(&user, &server, &["--ordering", "none"], 3);
    // One at once, the next after 20 minutes.
    let args = ["redrive", "--all", "--rate", "0.0008", "--yes", "-o", "json"];
    let id = deadletter(&user, &server, &args).ok().json()["id"].to_string();
    let said = operation(&user, &server, &["cancel", &id]).ok();
    assert!(said.stdout.starts_with(&format!("operation {id} is cancelled, having looked at ")), "{said:?}");
    let watched = operation(&user, &server, &["watch", &id, "-o", "json"]).ended(1);
    assert_eq!(watched.json()["state"], "cancelled");
    let open = deadletter(&user, &server, &["list", "-o", "ndjson"]).ok().lines();
    assert!(open.len() >= 2, "{open:?}");
}

#[test]
fn who_watches_learns_that_one_was_refused_and_why() {
    let (user, server) = served();
    let ids = given_up(&user, &server, &["--ordering", "none"], 2);
    // One at once, and a second for somebody else to decide about the other.
    let begun = deadletter(&user, &server, &["redrive", "--all", "--rate", "1", "--yes", "-o", "json"]).ok().json();
    assert_eq!(begun["state"], "running");
    deadletter(&user, &server, &["discard", &ids[1].to_string(), "--reason", "faster"]).ok();
    let id = begun["id"].to_string();
    let watched = operation(&user, &server, &["watch", &id]).ended(1);
    assert_eq!(watched.stdout, format!("operation {id} is finished: 2 of 2, 1 refused\n"));
    assert!(watched.stderr.contains(&format!("quipu operation items {id} says why")), "{watched:?}");
    let table = operation(&user, &server, &["items", &id]).ok().stdout;
    assert!(table.contains("refused  ") && table.contains("before"), "{table}");
}

#[test]
fn what_cannot_be_an_operation_has_its_exit_code() {
    let (user, server) = served();
    for (args, code, part) in [
        (&["redrive", "--all", "--yes"][..], 1, "[invalid-operation]"),
        (&["redrive", "--all", "--to", "nowhere", "--yes"], 1, "[invalid-operation]"),
        (&["discard", "--all", "--reason", " ", "--yes"], 1, "[invalid-request]"),
        (&["redrive"], 2, "<ID>"),
        (&["redrive", "1", "--all"], 2, "--all"),
        (&["redrive", "1", "--yes"], 2, "need --all"),
        (&["redrive", "1", "--type", "t"], 2, "need --all"),
        (&["redrive", "--ids", "1"], 2, "--all"),
        (&["redrive", "--all", "--ids", "1", "--type", "t"], 2, "--ids"),
        (&["redrive", "--all", "--ids", "1,x"], 2, "--ids"),
        (&["redrive", "--all", "--event", "x.json"], 2, "--event"),
        (&["redrive", "--all", "--rate", "0"], 2, "--rate"),
        (&["redrive", "--all", "--rate", "nan"], 2, "--rate"),
        (&["discard", "--all"], 2, "--reason"),
    ] {
        let ran = deadletter(&user, &server, args).ended(code);
        assert!(ran.stderr.contains(part), "expected {part:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    for verb in ["show", "watch", "cancel", "items"] {
        let ran = operation(&user, &server, &[verb, "99"]).ended(3);
        assert!(ran.stderr.contains("[operation-not-found]"), "{ran:?}");
    }
}
