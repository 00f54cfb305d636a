//! A clock that is set back stops no delivery for longer than it would have waited anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::delivery::{Failure, Reason};
use quipu_engine::{Answer, DeadLetterFilter};

use crate::support::*;

const HOUR_US: i64 = 3_600_000_000;

#[test]
fn a_rate_limit_goes_on_from_a_clock_that_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    clock.0.store(HOUR_US, Ordering::Relaxed);
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    let definition = r#"{"ordering":"none","ratelimit":{"persecond":1,"burst":1}}"#;
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
    (0..3).for_each(|i| _ = publish(&tenant, &event(&i.to_string(), "a")));
    assert_eq!(tenant.pull("s", 10).unwrap().len(), 1);
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let _guard = tenant.on_available("s", move || _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    clock.0.store(0, Ordering::Relaxed);
    tenant.deliver().unwrap();
    assert_eq!(woken.load(Ordering::Relaxed), 0, "a clock that went back gives nothing");
    assert_eq!(tenant.next_delivery().unwrap().0, 1_000_000);
    clock.0.store(1_000_000, Ordering::Relaxed);
    tenant.deliver().unwrap();
    assert_eq!(woken.load(Ordering::Relaxed), 1, "its interval is over");
    assert_eq!(tenant.pull("s", 10).unwrap().len(), 1);
}

#[test]
fn dead_letters_become_too_old_by_a_clock_that_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    clock.0.store(HOUR_US, Ordering::Relaxed);
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    let definition = r#"{"retry":{"maxattempts":1},"deadletter":{"retentionms":60000}}"#;
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
    tenant.checkpoint_deliveries().unwrap();
    clock.0.store(0, Ordering::Relaxed);
    publish(&tenant, &event("1", "a"));
    let handed = tenant.pull("s", 1).unwrap().remove(0);
    let give_up = Answer::GiveUp { failure: Failure::new("no"), reason: Reason::GivenUpByConsumer };
    tenant.answer("s", vec![(handed.id, handed.token, give_up)]).unwrap().remove(0).unwrap();
    for (seconds, expected) in [(0, 1), (59, 1), (71, 0)] {
        clock.0.store(seconds * 1_000_000, Ordering::Relaxed);
        tenant.checkpoint_deliveries().unwrap();
        let letters = tenant.dead_letters(&DeadLetterFilter { with_decided: true, ..Default::default() }, 0, 10);
        assert_eq!(letters.len(), expected, "after {seconds} s");
    }
}

#[test]
fn deadlines_and_retries_are_due_by_a_clock_that_was_set_back_and_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let at = |ms: i64| clock.0.store(ms * 1_000, Ordering::Relaxed);
    at(7_200_000);
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    let definition = r#"{"ordering":"none","ackdeadlinems":60000}"#;
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
    (0..2).for_each(|i| _ = publish(&tenant, &event(&i.to_string(), "a")));
    let handed = tenant.pull("s", 2).unwrap();
    let nack = |delay_ms| Answer::Nack { failure: Failure::new("no"), delay_ms: Some(delay_ms) };
    tenant.answer("s", vec![(handed[1].id, handed[1].token, nack(30_000))]).unwrap().remove(0).unwrap();
    at(3_600_000);
    tenant.deliver().unwrap();
    assert_eq!(tenant.next_delivery().unwrap().0, 3_630_000_000);
    at(3_630_000);
    tenant.deliver().unwrap();
    let again = tenant.pull("s", 2).unwrap().remove(0);
    assert_eq!((again.id, again.attempt), (handed[1].id, 2));
    at(3_660_000);
    tenant.deliver().unwrap();
    assert_eq!(tenant.subscription("s").unwrap().counts.failed, 2, "the deadline is over");
    // Set back once more while nobody runs.
    tenant.answer("s", vec![(again.id, again.token, nack(30_000))]).unwrap().remove(0).unwrap();
    tenant.checkpoint_deliveries().unwrap();
    drop(tenant);
    at(0);
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    tenant.deliver().unwrap();
    at(30_000);
    tenant.deliver().unwrap();
    assert_eq!(tenant.pull("s", 2).unwrap().len(), 2);
}
