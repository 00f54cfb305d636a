//! Replays on the command line: to a subscription until its verdict, over a kill of the server, to a shadow, a projection and a
//! file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{DEADLINE, Ran, Server, Shop, User, events};

fn shop(count: usize) -> Shop {
    let shop = Shop::open();
    shop.run_with(&["event", "publish", "-"], &events(count)).ok();
    shop
}

fn replay(shop: &Shop, args: &[&str]) -> Ran {
    shop.run(&[&["replay"], args].concat())
}

/// Acknowledges whatever a subscription is handed until nothing has come for a while. The positions.
fn drain(user: &User, server: &Server, name: &str) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let args = ["subscription", "pull", name, "--max", "1000", "--wait", "1s", "--ack", "--url", &server.url];
        let handed = user.run(&args).ok().lines();
        if handed.is_empty() {
            return all;
        }
        assert!(handed.iter().all(|one| one["delivery"]["replay"].is_u64()), "{handed:?}");
        all.extend(handed.iter().map(|one| one["delivery"]["position"].as_u64().unwrap()));
    }
}

#[test]
fn a_replay_is_counted_confirmed_and_followed_to_its_verdict() {
    let shop = shop(30);
    shop.run(&["subscription", "create", "billing"]).ok();
    let dry = replay(&shop, &["--to", "billing", "--from", "11", "--dry-run"]).ok();
    assert!(dry.stdout.contains("order.placed  20") && dry.stdout.ends_with("20 events in all\n"), "{dry:?}");
    let dry = replay(&shop, &["--to", "billing", "--type", "other", "--dry-run", "-o", "json"]).ok().json();
    assert_eq!((&dry["total"], &dry["types"]), (&json!(0), &json!([])));
    let asked = replay(&shop, &["--to", "billing"]).ended(2);
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!(shop.run(&["operation", "list", "-o", "json"]).ok().json()["operations"], json!([]), "neither is kept");

    let args = ["--to", "billing", "--from", "11", "--until", "25", "--yes", "--detach", "-o", "json"];
    let id = replay(&shop, &args).ok().json()["id"].to_string();
    let listed = shop.run(&["operation", "list"]).ok().stdout;
    assert!(listed.contains("replay 11 to 25 to billing"), "{listed}");
    assert_eq!(drain(&shop.user, &shop.server, "billing").into_iter().collect::<BTreeSet<_>>(), (11..=25).collect());
    let watched = shop.run(&["operation", "watch", &id]).ok();
    assert!(
        watched.stdout.starts_with(&format!("replay {id}, acknowledged\n15 delivered, 15 acknowledged")),
        "{watched:?}"
    );
    assert!(watched.stdout.contains("log before ") && watched.stdout.contains("log after  "), "{watched:?}");
}

#[test]
fn a_replay_that_is_cancelled_or_leaves_a_dead_letter_ends_with_1() {
    let shop = shop(3);
    shop.run(&["subscription", "create", "s", "--ordering", "none"]).ok();
    let begin = || replay(&shop, &["--to", "s", "--yes", "--detach", "-o", "json"]).ok().json()["id"].to_string();
    let id = begin();
    let said = shop.run(&["operation", "cancel", &id]).ok().stdout;
    assert_eq!(said, format!("operation {id} is cancelled, having looked at 0 of 3 events\n"));
    let watched = shop.run(&["operation", "watch", &id]).ended(1);
    assert!(watched.stdout.contains("incomplete: it was cancelled"), "{watched:?}");
    let id = begin();
    let handed = shop.run(&["subscription", "pull", "s", "--wait", "30s"]).ok().lines();
    for (one, how) in handed.iter().zip([None, Some("--give-up"), None]) {
        let handle = &one["delivery"];
        let (position, number) = (handle["position"].to_string(), handle["replay"].to_string());
        let token = handle["token"].as_str().unwrap();
        let ack = ["subscription", "ack", "s", &position, token, "--replay", &number];
        shop.run(&[&ack[..], how.as_slice()].concat()).ok();
    }
    let watched = shop.run(&["operation", "watch", &id, "-o", "json"]).ended(1);
    assert_eq!(watched.json()["replay"]["verdict"]["outcome"], "deadlettered");
}

#[test]
fn a_replay_goes_on_when_its_server_is_killed_and_skips_nothing() {
    let user = User::new();
    let data = user.path("data");
    let mut server = user.serve(&["--data", &data]);
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(2_000)).ok();
    user.run(&["subscription", "create", "s", "--ordering", "strict", "--url", &server.url]).ok();
    let args = ["replay", "--to", "s", "--yes", "--detach", "-o", "json", "--url", &server.url];
    let id = user.run(&args).ok().json()["id"].to_string();
    let mut seen = BTreeSet::new();
    for kill in 0..4 {
        let until = 400 * (kill + 1);
        let mut newest = 0;
        while seen.len() < until {
            let args = ["subscription", "pull", "s", "--max", "90", "--wait", "30s", "--ack", "--url", &server.url];
            for one in user.run(&args).ok().lines() {
                let position = one["delivery"]["position"].as_u64().unwrap();
                assert!(position > newest && (newest == 0 || position == newest + 1), "{position} after {newest}");
                assert!(
                    seen.is_empty() || seen.contains(&position) || seen.contains(&(position - 1)),
                    "{position} skips"
                );
                newest = position;
                seen.insert(position);
            }
        }
        server.kill();
        server = user.serve(&["--data", &data]);
    }
    seen.extend(drain(&user, &server, "s"));
    assert_eq!(seen, (1..=2_000).collect());
    let watched = user.run(&["operation", "watch", &id, "-o", "json", "--url", &server.url]).ok().json();
    assert_eq!(watched["replay"]["acknowledged"], 2_000);
}

#[test]
fn a_shadow_is_made_for_a_replay_and_gets_nothing_else() {
    let shop = shop(20);
    let create = ["subscription", "create", "live", "--pattern", r#"{"subject":["order/1"]}"#];
    shop.run(&create).ok();
    let args = ["--to", "shadow:copy", "--of", "live", "--yes", "--detach", "--strict"];
    replay(&shop, &args).ok();
    assert_eq!(drain(&shop.user, &shop.server, "copy"), (11..=20).collect::<Vec<_>>());
    shop.run_with(&["event", "publish", "-"], &events(30)).ok();
    assert!(drain(&shop.user, &shop.server, "copy").is_empty());
    assert_eq!(shop.run(&["subscription", "show", "copy", "-o", "json"]).ok().json()["definition"]["shadow"], true);
    assert!(shop.run(&["subscription", "list"]).ok().stdout.contains("copy  shadow"));
    shop.run(&["subscription", "delete", "copy", "--yes"]).ok();
}

#[test]
fn a_projection_is_rebuilt_from_the_whole_log_and_compared() {
    let shop = shop(20);
    let declaration = "projection: counts\ntables: create table counts (id text primary key, n integer)\non:\n  order.placed: >\n    \
        insert into counts values (:subject, 1) on conflict do update set n = n + 1\n";
    let file = shop.user.write("counts.yaml", declaration);
    shop.run(&["projection", "apply", &file]).ok();
    shop.run(&["projection", "rows", "counts", "counts", "--at-least", "20"]).ok();
    let said = replay(&shop, &["--to", "projection:counts"]).ok();
    assert!(said.stderr.contains("counts is equal to the live read model at position 20"), "{said:?}");
    for flag in [&["--from", "3"][..], &["--type", "a"], &["--pace", "1x"], &["--dry-run"]] {
        let refused = replay(&shop, &[&["--to", "projection:counts"], flag].concat()).ended(2);
        assert!(refused.stderr.contains("rebuilt from the whole log"), "{refused:?}");
    }
}

fn positions(file: &str) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64().unwrap()).collect()
}

#[test]
fn a_file_has_the_range_in_order_and_is_gone_on_with_behind_its_last_whole_line() {
    let shop = shop(1_500);
    let file = shop.user.path("events.ndjson");
    let to = format!("file:{file}");
    let run = |args: &[&str]| replay(&shop, &[&["--to", &to], args].concat());
    let dry = run(&["--from", "3", "--dry-run"]).ok().stdout;
    assert!(dry.contains("order.placed  1498\n") && dry.ends_with("\n1498 events in all\n"), "{dry}");
    let dry =
        run(&["--until", "1400", "--pattern", r#"{"subject":["order/1"]}"#, "--dry-run", "-o", "json"]).ok().json();
    let expected = json!({"file": file, "from": 1, "until": 1_400, "total": 10,
        "types": [{"type": "order.placed", "events": 10}], "othertypes": 0});
    assert_eq!(dry, expected);
    assert!(fs::metadata(&file).is_err(), "a dry run writes nothing");
    let done = run(&["--from", "3", "--until", "1200", "-o", "json"]).ok().json();
    assert_eq!(positions(&file), (3..=1_200).collect::<Vec<_>>());
    let whole = fs::read(&file).unwrap();
    let expected = json!({"file": file, "from": 3, "until": 1_200, "written": 1_198, "events": 1_198, "first": 3,
        "last": 1_200, "blake3": blake3::hash(&whole).to_hex().to_string()});
    assert_eq!(done, expected);
    let refused = run(&["--from", "3"]).ended(1);
    assert!(refused.stderr.contains("--resume"), "{refused:?}");
    // Broken off anywhere, it becomes what it would have been.
    for cut in [0, 1, 150, whole.len() / 2, whole.len() - 1, whole.len()] {
        fs::write(&file, &whole[..cut]).unwrap();
        let done = run(&["--from", "3", "--until", "1200", "--resume", "-o", "json"]).ok().json();
        assert_eq!(fs::read(&file).unwrap(), whole, "cut at {cut}");
        let there = whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        let after = if there > 0 { json!(there + 2) } else { Value::Null };
        assert_eq!((&done["resumedafter"], &done["written"]), (&after, &json!(1_198 - there)), "cut at {cut}");
        assert_eq!((&done["events"], &done["blake3"]), (&expected["events"], &expected["blake3"]), "cut at {cut}");
    }
    fs::remove_file(&file).unwrap();
    run(&["--pattern", r#"{"data":{"n":[{"numeric":["<",5]}]}}"#]).ok();
    assert_eq!(positions(&file), [1, 2, 3, 4, 5]);
}

#[test]
fn a_file_that_is_not_the_beginning_of_the_replay_is_not_gone_on_with_and_stays_as_it_is() {
    let shop = shop(30);
    let file = shop.user.path("events.ndjson");
    let to = format!("file:{file}");
    let resume = |args: &[&str]| replay(&shop, &[&["--to", &to, "--resume"], args].concat());
    let published = events(1);
    for foreign in ["no event\n", "secret", r#"{"key":"secret"}"#, "\n", published.trim_end(), published.as_str()] {
        fs::write(&file, foreign).unwrap();
        let refused = resume(&[]).ended(1).stderr;
        assert!(refused.contains("a file that a replay has written"), "{foreign:?}: {refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
    }
    fs::remove_file(&file).unwrap();
    symlink(shop.user.write("else", ""), &file).unwrap();
    assert!(resume(&[]).ended(1).stderr.contains("a symbolic link"));
    fs::remove_file(&file).unwrap();

    replay(&shop, &["--to", &to, "--from", "3", "--until", "20"]).ok();
    let whole = fs::read(&file).unwrap();
    for (args, why) in [
        (&["--from", "4"][..], "position 3 in line 1, where the range is 4 to 30"),
        (&["--from", "2"], "position 3 as event 1 up to position 20, where it has position 2"),
        (&["--from", "3", "--until", "19"], "position 20 in line 18, where the range is 3 to 19"),
        (&["--from", "3", "--type", "other"], "which the pattern does not match"),
    ] {
        let refused = resume(args).ended(1).stderr;
        assert!(refused.contains(why) && refused.contains("as when it was begun"), "{args:?}: {refused}");
    }
    // Another server has the same events, recorded at another time.
    let other = self::shop(30);
    let refused = other.run(&["replay", "--to", &to, "--resume", "--from", "3"]).ended(1).stderr;
    assert!(refused.contains("another event than http"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert!(resume(&["--from", "3", "--dry-run"]).ended(2).stderr.contains("--dry-run"));
    fs::remove_file(&file).unwrap();
    replay(&shop, &["--to", &to, "--pattern", r#"{"subject":["order/1"]}"#]).ok();
    let refused = resume(&[]).ended(1).stderr;
    assert!(refused.contains("position 11 as event 1 up to position 20, where it has position 1"), "{refused}");
}

#[test]
fn a_range_of_a_file_without_an_event_is_refused_as_the_server_refuses_it() {
    let shop = shop(3);
    shop.publish("other", "{}").ok();
    let file = shop.user.path("events.ndjson");
    let to = format!("file:{file}");
    let run = |args: &[&str]| replay(&shop, &[&["--to", &to], args].concat());
    for (args, why) in [
        (&["--until", "0"][..], "--until: expected a position of 1 to 5, found 0"),
        (&["--until", "6"], "--until: expected a position of 1 to 5, found 6"),
        (&["--from", "0"], "--from: expected a position of 1 to 5, found 0"),
        (&["--from", "6"], "--from: expected a position of 1 to 5, found 6"),
        (&["--from", "3", "--until", "2"], "found the first position 3 and the last one 2"),
        (&["--from", "now"], "found the first position 5 and the last one 4"),
        (&["--until", "2000-01-01T00:00:00Z"], "found the first position 1 and the last one 0"),
        (&["--until", "9000-01-01T00:00:00Z"], "--until: expected a time that has come"),
    ] {
        let refused = run(args).ended(1).stderr;
        assert!(refused.contains(why), "{args:?}: {refused}");
        assert!(fs::metadata(&file).is_err(), "{args:?}");
    }
    run(&[]).ok();
    let text = fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let time = last["recordedtime"].as_str().unwrap();
    for (flag, expected) in [("--from", &[4][..]), ("--until", &[1, 2, 3])] {
        fs::remove_file(&file).unwrap();
        run(&[flag, time]).ok();
        assert_eq!(positions(&file), expected, "{flag}");
    }
}

#[test]
fn a_file_is_written_at_a_pace_and_whoever_is_killed_meanwhile_goes_on() {
    let shop = shop(40);
    let file = shop.user.path("events.ndjson");
    let to = format!("file:{file}");
    let started = Instant::now();
    replay(&shop, &["--to", &to, "--until", "11", "--pace", "20/s"]).ok();
    let took = started.elapsed().as_secs_f64();
    assert!((0.5..5.0).contains(&took), "the eleventh is due after half a second: {took}");
    fs::remove_file(&file).unwrap();
    let args = ["replay", "--to", &to, "--pace", "20/s", "--url", &shop.server.url];
    let mut child = shop.user.command(&args).spawn().unwrap();
    let started = Instant::now();
    while fs::read_to_string(&file).unwrap_or_default().lines().count() < 3 {
        assert!(started.elapsed() < DEADLINE);
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(positions(&file).len() < 40);
    replay(&shop, &["--to", &to, "--resume"]).ok();
    assert_eq!(positions(&file), (1..=40).collect::<Vec<_>>());
}

#[test]
fn flags_that_mean_nothing_for_the_target_are_refused() {
    let shop = shop(1);
    for args in [
        &["--to", "s", "--of", "t"][..],
        &["--to", "s", "--resume"],
        &["--to", "file:x", "--strict"],
        &["--to", "file:x", "--allow-webhooks"],
        &["--to", "projection:p", "--yes"],
        &["--to", "queue:s"],
        &["--to", "s", "--pace", "fast"],
    ] {
        replay(&shop, args).ended(2);
    }
}
