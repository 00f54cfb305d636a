//! Changes of one subscription: by many at once each is whole, and none takes back another. What waits is delivered by the
//! pattern that holds when it comes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::delivery::Failure;
use quipu_engine::Answer;

use crate::support::*;

#[test]
fn a_pause_beside_a_change_takes_nothing_of_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let definition = |width: u32| serde_json::from_str(&format!(r#"{{"maxinflight":{width}}}"#)).unwrap();
    tenant.create_subscription("s", definition(1)).unwrap();
    let pauses = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| {
            for _ in 0..300 {
                tenant.pause_subscription_because("s", "a test", |_| true).unwrap();
                tenant.pause_subscription("s", false).unwrap();
                pauses.fetch_add(1, Ordering::Release);
            }
        });
        for width in 2.. {
            tenant.update_subscription("s", definition(width)).unwrap();
            // Whatever began beside it has ended then.
            let seen = pauses.load(Ordering::Acquire);
            while pauses.load(Ordering::Acquire) < seen + 2 && !pausing.is_finished() {
                std::thread::yield_now();
            }
            assert_eq!(tenant.definition("s").unwrap().max_in_flight, width, "a change was taken back");
            if pausing.is_finished() {
                break;
            }
        }
    });
}

/// The positions of what is handed out after the pattern was narrowed while events of the key waited behind one that is
/// tried again later, in memory or, after a restart, in the log.
fn handed_after_a_narrowing(is_restarted: bool) -> Vec<u64> {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::<Hands>::default());
    let open = || open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    let definition = |kinds: &str| {
        let text = format!(
            r#"{{"start":"beginning","pattern":{{"type":[{kinds}]}},"retry":{{"backoff":{{"delaysms":[1000]}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let mut tenant = open();
    tenant.create_subscription("s", definition(r#""a","b""#)).unwrap();
    let kinds = ["a", "b", "a", "b", "a"];
    let events: Vec<_> = (1..).zip(kinds).map(|(id, kind)| event_of(kind, &format!("{id}"), "x", "1")).collect();
    publish_all(&tenant, &events);
    let first = tenant.pull("s", 1).unwrap().remove(0);
    let nack = Answer::Nack { failure: Failure::new("later"), delay_ms: None };
    tenant.answer("s", vec![(first.id, first.token, nack)]).unwrap();
    tenant.update_subscription("s", definition(r#""a""#)).unwrap();
    if is_restarted {
        tenant.checkpoint_deliveries().unwrap();
        drop(tenant);
        tenant = open();
    }
    clock.0.fetch_add(1_000_000, Ordering::Relaxed);
    tenant.deliver().unwrap();
    let mut positions = Vec::new();
    while let handed = tenant.pull("s", 10).unwrap()
        && !handed.is_empty()
    {
        positions.extend(handed.iter().map(|one| one.id.position));
        tenant.answer("s", handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect()).unwrap();
    }
    positions
}

#[test]
fn what_waits_behind_others_of_its_key_is_matched_by_the_new_pattern_whether_or_not_it_is_remembered() {
    assert_eq!(handed_after_a_narrowing(false), [1, 3, 5]);
    assert_eq!(handed_after_a_narrowing(true), [1, 3, 5]);
}
