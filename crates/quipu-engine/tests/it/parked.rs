//! Keys that do not move hold up nobody else, and what parked a key is delivered once more when somebody decides so:
//! even if its event has expired, and saying where it came from if it fails again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::delivery::Failure;
use quipu_domain::{Event, Value};
use quipu_engine::{Answer, DeadLetterFilter, Handed, Standstill, Tenant};
use tempfile::TempDir;

use crate::support::*;

fn open(folder: &Path, clock: &Arc<Hands>) -> Arc<Tenant> {
    open_at(folder, small(), Arc::clone(clock)).unwrap()
}

fn subscribe(tenant: &Arc<Tenant>, definition: &str) {
    assert!(tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap());
}

fn nack(tenant: &Tenant, handed: &[Handed]) {
    let answer = |one: &Handed| (one.id, one.token, Answer::Nack { failure: Failure::new("no"), delay_ms: None });
    tenant.answer("s", handed.iter().map(answer).collect()).unwrap();
}

fn subject(handed: &Handed) -> String {
    handed.recorded.event().subject().unwrap().to_owned()
}

/// Acknowledges events of the good key, and those of others if they are mended, until nobody is handed anything. The
/// subjects and positions of what was acknowledged.
fn work(tenant: &Arc<Tenant>, is_mended: bool) -> Vec<(String, u64)> {
    let mut acknowledged = Vec::new();
    while let handed = tenant.pull("s", 100).unwrap()
        && !handed.is_empty()
    {
        let (good, bad): (Vec<_>, Vec<_>) = handed.into_iter().partition(|one| is_mended || subject(one) == "good");
        tenant.answer("s", good.iter().map(|one| (one.id, one.token, Answer::Ack)).collect()).unwrap();
        acknowledged.extend(good.iter().map(|one| (subject(one), one.id.position)));
        nack(tenant, &bad);
        tenant.checkpoint_deliveries().unwrap();
    }
    acknowledged
}

/// So many events of each of so many keys, and one of the good key after each round; the good key ends it.
fn publish_rounds(tenant: &Arc<Tenant>, keys: usize, rounds: usize) {
    for round in 0..rounds {
        let of_key = |key: usize| event(&format!("{round}-{key}"), &format!("bad-{key}"));
        let mut events: Vec<_> = (0..keys).map(of_key).collect();
        events.push(event(&format!("{round}-good"), "good"));
        publish_all(tenant, &events);
    }
}

#[test]
fn parked_keys_with_many_events_each_stop_no_other_key_and_skip_nothing() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let tenant = open(folder.path(), &clock);
    subscribe(&tenant, r#"{"maxinflight":100,"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    publish_rounds(&tenant, 40, 64);
    assert_eq!(work(&tenant, false).len(), 64, "the good key goes on to its end");
    let summary = tenant.subscription("s").unwrap().summary;
    assert_eq!((summary.parked, summary.ready, summary.keys), (40, 0, 40), "of each key only the head is kept");
    assert!(matches!(tenant.explain_subscription("s").unwrap().standstill, Standstill::KeyParked { position: 1, .. }));
    drop(tenant);
    let tenant = open(folder.path(), &clock);
    for letter in tenant.dead_letters(&DeadLetterFilter::default(), 0, 100) {
        tenant.redrive(letter.id, None).unwrap();
    }
    let rest = work(&tenant, true);
    assert_eq!(rest.len(), 40 * 64, "nothing is skipped");
    for key in (0..40).map(|key| format!("bad-{key}")) {
        let own = rest.iter().filter(|(subject, _)| *subject == key).map(|(_, position)| position);
        assert!(own.is_sorted(), "{key} keeps its order");
    }
}

#[test]
fn more_parked_keys_than_deliveries_may_wait_stop_no_other_key() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let tenant = open(folder.path(), &clock);
    subscribe(&tenant, r#"{"maxinflight":100,"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    publish_rounds(&tenant, 1_500, 1);
    publish_all(&tenant, &[event("last", "good")]);
    assert_eq!(work(&tenant, false).len(), 2);
    assert_eq!(tenant.subscription("s").unwrap().summary.parked, 1_500);
}

#[test]
fn keys_that_wait_for_a_retry_with_many_events_each_stop_no_other_key() {
    let (folder, clock): (_, Arc<Hands>) = (TempDir::new().unwrap(), Arc::default());
    let tenant = open(folder.path(), &clock);
    subscribe(&tenant, r#"{"maxinflight":100,"retry":{"maxattempts":3,"backoff":{"delaysms":[1000]}}}"#);
    publish_rounds(&tenant, 40, 64);
    assert_eq!(work(&tenant, false).len(), 64, "the good key goes on to its end");
    clock.0.fetch_add(1_000_000, Ordering::Relaxed);
    tenant.deliver().unwrap();
    assert_eq!(work(&tenant, true).len(), 40 * 64, "nothing is skipped");
}

#[test]
fn what_parked_its_key_and_fails_again_says_which_one_it_was_redriven_from() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let mut tenant = open(folder.path(), &clock);
    subscribe(&tenant, r#"{"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    publish_all(&tenant, &[event("1", "order/1"), event("2", "order/1")]);
    for letter in 1..=3 {
        nack(&tenant, &tenant.pull("s", 1).unwrap());
        tenant.checkpoint_deliveries().unwrap();
        let (told, line) = tenant.dead_letter(letter).unwrap();
        let expected = (letter > 1).then(|| letter - 1);
        assert_eq!((told.redriven_from, line.redriven_from, told.parks_key), (expected, expected, true));
        assert!(tenant.pull("s", 9).unwrap().is_empty(), "its key waits");
        tenant.redrive(letter, None).unwrap();
        // It is the same whether the redrive was in memory or read from disk.
        if letter == 2 {
            drop(tenant);
            tenant = open(folder.path(), &clock);
        }
    }
    nack(&tenant, &tenant.pull("s", 1).unwrap());
    tenant.checkpoint_deliveries().unwrap();
    tenant.discard(4, "a test").unwrap();
    let handed = tenant.pull("s", 9).unwrap();
    assert_eq!(handed.iter().map(|one| one.id.position).collect::<Vec<_>>(), [2], "a decision lets its key go");
}

#[test]
fn a_redrive_delivers_an_event_that_has_expired_whether_it_parks_its_key_or_not() {
    for on_key in ["park", "continue"] {
        for is_reopened in [false, true] {
            let (folder, clock): (_, Arc<Hands>) = (TempDir::new().unwrap(), Arc::default());
            let mut tenant = open(folder.path(), &clock);
            let definition = format!(r#"{{"retry":{{"maxattempts":1}},"deadletter":{{"key":"{on_key}"}}}}"#);
            subscribe(&tenant, &definition);
            let expires = Value::Text("1970-01-01T00:00:10Z".into());
            let expiring = Event::builder("1", "/test", "t.a").subject("order/1").attribute("expirytime", expires);
            publish(&tenant, &expiring.build().unwrap());
            nack(&tenant, &tenant.pull("s", 1).unwrap());
            tenant.checkpoint_deliveries().unwrap();
            clock.0.fetch_add(60_000_000, Ordering::Relaxed);
            tenant.redrive(1, None).unwrap();
            if is_reopened {
                drop(tenant);
                tenant = open(folder.path(), &clock);
            }
            let handed = tenant.pull("s", 9).unwrap();
            assert_eq!(handed.iter().map(|one| one.id.position).collect::<Vec<_>>(), [1], "{on_key} {is_reopened}");
            assert_eq!(tenant.subscription("s").unwrap().counts.expired, 0);
        }
    }
}

#[test]
fn whoever_waits_is_told_when_keys_that_wait_for_a_retry_make_room_for_others() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let tenant = open(folder.path(), &clock);
    subscribe(&tenant, r#"{"maxinflight":32,"ackdeadlinems":1000,"retry":{"backoff":{"delaysms":[600000]}}}"#);
    assert!(tenant.pull("s", 1).unwrap().is_empty(), "it is up to date: what comes is routed to it");
    // More than there is room for, so that the good one is routed and waits.
    for key in 0..17 {
        let of_key = |round: usize| event(&format!("{round}-{key}"), &format!("bad-{key}"));
        publish_all(&tenant, &(0..64).map(of_key).collect::<Vec<_>>());
        let first = tenant.pull("s", 1).unwrap();
        assert_eq!(first.iter().map(subject).collect::<Vec<_>>(), [format!("bad-{key}")]);
    }
    publish_all(&tenant, &[event("good", "good")]);
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let _guard = tenant.on_available("s", move || _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    tenant.deliver().unwrap();
    clock.0.fetch_add(2_000_000, Ordering::Relaxed);
    let before = woken.load(Ordering::Relaxed);
    tenant.deliver().unwrap();
    assert!(woken.load(Ordering::Relaxed) > before);
    let handed = tenant.pull("s", 100).unwrap();
    assert_eq!(handed.iter().map(subject).collect::<Vec<_>>(), ["good"]);
}

#[test]
fn keys_of_data_go_on_in_order_and_together_when_they_are_unparked() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let mut tenant = open(folder.path(), &clock);
    subscribe(&tenant, r#"{"key":"data.subject","retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    for round in 0..40 {
        let of_key = |key: usize| {
            let event = Event::builder(format!("{round}-{key}"), "/s", "a.b").subject(format!("bad-{key}"));
            event.json(format!(r#"{{"subject":"bad-{key}"}}"#)).build().unwrap()
        };
        publish_all(&tenant, &(0..50).map(of_key).collect::<Vec<_>>());
    }
    assert!(work(&tenant, false).is_empty());
    // What is remembered of those that wait is only where they begin.
    drop(tenant);
    tenant = open(folder.path(), &clock);
    let letters = tenant.dead_letters(&DeadLetterFilter::default(), 0, 100);
    assert_eq!(letters.len(), 50);
    for letter in letters {
        tenant.redrive(letter.id, None).unwrap();
    }
    let done = work(&tenant, true);
    assert_eq!(done.len(), 2_000, "nothing is skipped, nothing comes twice");
    for key in 0..50 {
        let subject = format!("bad-{key}");
        let own: Vec<u64> = done.iter().filter(|(of, _)| *of == subject).map(|(_, position)| *position).collect();
        assert!(own.len() == 40 && own.is_sorted(), "{subject}: {own:?}");
    }
}

#[test]
fn a_dead_letter_that_parks_no_key_any_more_is_kept_no_longer_than_others() {
    const WEEK_US: i64 = 7 * 24 * 3_600_000_000;
    type Change = fn(&Arc<Tenant>);
    let changes: [(&str, Change); 4] = [
        ("parked still", |_| {}),
        ("deleted", |tenant| tenant.delete_subscription("s").unwrap()),
        ("made anew", |tenant| {
            tenant.delete_subscription("s").unwrap();
            subscribe(tenant, r#"{"deadletter":{"key":"park"}}"#);
        }),
        ("moved", |tenant| tenant.seek_subscription("s", &quipu_domain::StartAt::Now).unwrap()),
    ];
    for (what, change) in changes {
        let (folder, clock) = (TempDir::new().unwrap(), Arc::new(Hands::default()));
        let tenant = open(folder.path(), &clock);
        subscribe(&tenant, r#"{"start":"beginning","retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
        publish_rounds(&tenant, 1, 1);
        nack(&tenant, &tenant.pull("s", 1).unwrap());
        tenant.checkpoint_deliveries().unwrap();
        change(&tenant);
        let kept = [1, 3].map(|weeks| {
            clock.0.store(weeks * WEEK_US, Ordering::Relaxed);
            tenant.checkpoint_deliveries().unwrap();
            tenant.dead_letters(&DeadLetterFilter { with_decided: true, ..Default::default() }, 0, 10).len()
        });
        assert_eq!(kept, [1, usize::from(what == "parked still")], "{what}");
    }
}
