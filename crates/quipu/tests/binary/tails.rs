//! Following.

use std::process::Stdio;

use serde_json::Value;

use crate::process::{DEADLINE, User, events, lines};

#[test]
fn a_tail_goes_on_after_the_server_was_away_without_gap_or_repeat() {
    let user = User::new();
    let data = user.path("data");
    let server = user.serve(&["--data", &data]);
    let address = server.address().to_owned();
    let url = server.url.clone();
    let all = events(30);
    let (first, second) = all.split_at(all.match_indices('\n').nth(9).unwrap().0 + 1);
    let publish = |text: &str| user.run_with(&["event", "publish", "-", "--url", &url], text).ok();

    publish(first);
    let mut command =
        user.command(&["event", "tail", "--from", "start", "--limit", "30", "-o", "ndjson", "--url", &url]);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, said) = (lines(tail.stdout.take().unwrap()), lines(tail.stderr.take().unwrap()));
    let mut positions = Vec::new();
    let mut take = |count: usize| {
        for _ in 0..count {
            let event: Value = serde_json::from_str(&out.recv_timeout(DEADLINE).expect("an event")).unwrap();
            positions.push(event["position"].as_u64().unwrap());
        }
    };
    take(10);
    assert_eq!(server.stop().0, 0);
    assert!(said.recv_timeout(DEADLINE).unwrap().contains("trying again"));
    let _server = user.serve_on(&address, &["--data", &data]);
    publish(second);
    take(20);
    assert!(positions.iter().copied().eq(1..=30), "{positions:?}");
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tail_shows_only_what_matches_from_where_it_is_told() {
    let user = User::new();
    let server = user.serve(&["--temporary"]);
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(30)).ok();
    let tail = |args: &[&str]| user.run(&[&["event", "tail", "--url", &server.url], args].concat()).ok();
    let from = tail(&["--from", "12", "--subject", "order/1", "--limit", "3", "-o", "ndjson"]);
    let ids: Vec<String> = from.lines().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["11", "12", "13"]);
    let table = tail(&["--from", "start", "--limit", "2"]);
    assert_eq!(table.stdout.lines().count(), 2);
    assert!(table.stdout.contains("order.placed") && table.stderr.is_empty(), "{table:?}");
    user.run(&["event", "tail", "--from", "middle", "--url", &server.url]).ended(1);
}
