//! What was handed out and is taken back counts for nothing: not for the rate limit, and not as handed out.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::delivery::Failure;
use quipu_domain::{Event, Value};
use quipu_engine::{Answer, Counts, Handed, Tenant};

use crate::support::*;

fn with_events(folder: &Path, definition: &str, count: u64) -> Arc<Tenant> {
    let tenant = open(folder, small()).unwrap();
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
    (0..count).for_each(|i| _ = publish(&tenant, &event(&i.to_string(), "a")));
    tenant
}

fn answer(tenant: &Tenant, handed: &Handed, answer: Answer) {
    tenant.answer("s", vec![(handed.id, handed.token, answer)]).unwrap().remove(0).unwrap();
}

fn counts(tenant: &Tenant) -> Counts {
    tenant.subscription("s").unwrap().counts
}

#[test]
fn what_reached_nobody_takes_nothing_of_the_rate_limit() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = with_events(folder.path(), r#"{"ratelimit":{"persecond":0.001,"burst":3}}"#, 5);
    for _ in 0..5 {
        let handed = tenant.pull("s", 10).unwrap();
        assert_eq!(handed.len(), 3);
        let tokens: Vec<_> = handed.iter().map(|one| (one.id, one.token)).collect();
        tenant.give_back("s", &tokens);
        assert_eq!(counts(&tenant).handed_out, 0);
    }
    // Those behind the first go back with it.
    let handed = tenant.pull("s", 10).unwrap();
    answer(&tenant, &handed[0], Answer::Release);
    assert_eq!(counts(&tenant).handed_out, 0);
    let handed = tenant.pull("s", 10).unwrap();
    assert_eq!((handed.len(), counts(&tenant).handed_out), (3, 3));
    answer(&tenant, &handed[2], Answer::Release);
    handed[..2].iter().for_each(|one| answer(&tenant, one, Answer::Ack));
    assert_eq!(tenant.pull("s", 10).unwrap().len(), 1, "no more than was given back");
}

#[test]
fn what_is_over_the_bytes_of_a_pull_is_handed_out_by_the_next_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    tenant.create_subscription("s", serde_json::from_str(r#"{"maxinflight":1000}"#).unwrap()).unwrap();
    // One commit, of which a pull takes a part; small ones first, large ones then, one that is larger than all bytes.
    let sizes = (0..100).map(|_| 10).chain((0..90).map(|_| 2_000)).chain([20_000, 10]);
    let events: Vec<_> = sizes
        .enumerate()
        .map(|(i, bytes)| {
            let data = format!("{:?}", "x".repeat(bytes));
            Event::builder(i.to_string(), "/test", "t").subject((i % 3).to_string()).json(data).build().unwrap()
        })
        .collect();
    publish_all(&tenant, &events);
    let (mut positions, mut pulls) = (Vec::new(), Vec::new());
    loop {
        let handed = tenant.pull_within("s", 256, 10_000).unwrap();
        if handed.is_empty() {
            break;
        }
        pulls.push(handed.len());
        assert!(handed.len() == 1 || handed.iter().map(|one| one.recorded.bytes()).sum::<usize>() <= 10_000);
        positions.extend(handed.iter().map(|one| one.id.position));
        handed.iter().for_each(|one| answer(&tenant, one, Answer::Ack));
    }
    for key in 0..3 {
        let of_key = positions.iter().filter(|position| *position % 3 == key).copied().collect::<Vec<_>>();
        assert!(of_key.len() == 64 && of_key.is_sorted(), "{of_key:?}");
    }
    assert_eq!(counts(&tenant).handed_out, 192);
    assert!(pulls.len() < 40, "as many as fit: {pulls:?}");
}

#[test]
fn what_was_handed_out_behind_a_failure_counts_when_it_is_handed_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = with_events(folder.path(), r#"{"retry":{"maxattempts":9},"ackdeadlinems":1000}"#, 3);
    let handed = tenant.pull("s", 10).unwrap();
    answer(&tenant, &handed[0], Answer::Nack { failure: Failure::new("no"), delay_ms: Some(0) });
    assert_eq!((counts(&tenant).handed_out, counts(&tenant).failed), (1, 1));
    tenant.deliver().unwrap();
    loop {
        let handed = tenant.pull("s", 10).unwrap();
        if handed.is_empty() {
            break;
        }
        handed.iter().for_each(|one| answer(&tenant, one, Answer::Ack));
    }
    let counts = counts(&tenant);
    assert_eq!((counts.handed_out, counts.failed, counts.acknowledged), (4, 1, 3));
}

#[test]
fn what_was_handed_out_behind_one_whose_time_is_over_was_not_either() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    tenant.create_subscription("s", serde_json::from_str(r#"{"ackdeadlinems":1000}"#).unwrap()).unwrap();
    (0..3).for_each(|i| _ = publish(&tenant, &event(&i.to_string(), "a")));
    assert_eq!(tenant.pull("s", 10).unwrap().len(), 3);
    clock.0.store(1_000_000, Ordering::Relaxed);
    tenant.deliver().unwrap();
    assert_eq!((counts(&tenant).handed_out, counts(&tenant).failed), (1, 1));
}

#[test]
fn an_event_whose_time_is_over_when_it_is_read_was_not_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    let definition = r#"{"ratelimit":{"persecond":0.001,"burst":4}}"#;
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
    for (id, expiry) in [("1", "2000-01-01T00:00:00Z"), ("2", "1970-01-01T00:00:01Z"), ("3", "2000-01-01T00:00:00Z")] {
        let event = Event::builder(id, "/test", "t").subject("a").attribute("expirytime", Value::Text(expiry.into()));
        _ = publish(&tenant, &event.json("1").build().unwrap());
    }
    // Those behind one that waits are known by their position only.
    let handed = tenant.pull("s", 1).unwrap();
    answer(&tenant, &handed[0], Answer::Nack { failure: Failure::new("no"), delay_ms: Some(0) });
    tenant.deliver().unwrap();
    let handed = tenant.pull("s", 10).unwrap();
    assert_eq!(handed.len(), 1);
    clock.0.store(1_000_000, Ordering::Relaxed);
    answer(&tenant, &handed[0], Answer::Ack);
    let handed = tenant.pull("s", 10).unwrap();
    assert_eq!(handed.iter().map(|one| one.id.position).collect::<Vec<_>>(), [3]);
    assert_eq!((counts(&tenant).expired, counts(&tenant).handed_out), (1, 3));
    answer(&tenant, &handed[0], Answer::Ack);
    _ = publish(&tenant, &event("4", "a"));
    assert_eq!(tenant.pull("s", 10).unwrap().len(), 1, "it took nothing of the rate limit");
}
