//! How far subscriptions have looked, and what was counted, is kept when the store closes; a crash takes little of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::delivery::{Failure, Reason};
use quipu_domain::{Event, StartAt, Subscription, Value};
use quipu_engine::{Answer, Counts, Tenant};
use tempfile::TempDir;

use crate::support::*;

/// How old a place may be that is written down, milliseconds.
const PLACES_MS: i64 = 10_000;

fn subscribe(tenant: &Arc<Tenant>, definition: &str) {
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
}

fn publish_many(tenant: &Arc<Tenant>, count: usize) {
    let first = tenant.position();
    let events: Vec<_> = (0..count as u64).map(|id| event(&(first + id).to_string(), "x")).collect();
    publish_all(tenant, &events);
}

const QUIET: &str = r#"{"pattern":{"type":["never"]}}"#;

#[test]
fn a_clean_stop_keeps_the_place_of_one_that_found_nothing() {
    let folder = TempDir::new().unwrap();
    let place = || {
        let running = engine(folder.path(), small());
        let tenant = running.tenant("t").unwrap();
        (tenant.subscription("s").unwrap().scan, running)
    };
    let first = engine(folder.path(), small());
    let tenant = first.tenant("t").unwrap();
    subscribe(&tenant, QUIET);
    assert!(tenant.pull("s", 10).unwrap().is_empty());
    publish_many(&tenant, 10);
    first.close().unwrap();
    drop((first, tenant));
    let (scan, second) = place();
    assert_eq!(scan, 10);
    // It reads nothing, and is fed at once.
    let tenant = second.tenant("t").unwrap();
    assert!(tenant.pull("s", 10).unwrap().is_empty());
    publish_many(&tenant, 1);
    drop(tenant);
    second.close().unwrap();
    drop(second);
    assert_eq!(place().0, 11);
}

#[test]
fn a_crash_makes_one_that_finds_nothing_look_again_at_what_came_in_some_seconds() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::<Hands>::default());
    let open = || open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    let mut tenant = open();
    subscribe(&tenant, QUIET);
    assert!(tenant.pull("s", 10).unwrap().is_empty());
    tenant.checkpoint_deliveries().unwrap();
    let mut go_on = |events: usize, ms: i64| {
        publish_many(&tenant, events);
        tenant.deliver().unwrap();
        clock.0.fetch_add(ms * 1_000, Ordering::Relaxed);
        let is_written = tenant.checkpoint_deliveries().unwrap();
        drop(std::mem::replace(&mut tenant, open_elsewhere()));
        tenant = open();
        let scan = tenant.subscription("s").unwrap().scan;
        assert!(tenant.pull("s", 10).unwrap().is_empty());
        // The first time after opening it is due.
        tenant.checkpoint_deliveries().unwrap();
        (is_written, scan)
    };
    assert_eq!(go_on(3_000, PLACES_MS), (true, 3_000));
    // Little is not worth a record.
    assert_eq!(go_on(500, PLACES_MS), (false, 3_000));
    assert_eq!(go_on(3_000, PLACES_MS - 1), (false, 3_000));
    assert_eq!(go_on(1, PLACES_MS), (false, 6_500));
}

/// Something to stand in the place of a tenant that is gone.
fn open_elsewhere() -> Arc<Tenant> {
    open(TempDir::new().unwrap().path(), small()).unwrap()
}

fn counted(folder: &Path) -> Counts {
    open(folder, small()).unwrap().subscription("s").unwrap().counts
}

#[test]
fn what_was_counted_is_not_forgotten_by_a_restart_a_change_or_a_seek() {
    let folder = TempDir::new().unwrap();
    let tenant = open_at(folder.path(), small(), Arc::new(Hands(20_000_000.into()))).unwrap();
    subscribe(&tenant, r#"{"start":"beginning","ordering":"none"}"#);
    let expired = Event::builder("0", "/test", "t").attribute("expirytime", Value::Text("1970-01-01T00:00:10Z".into()));
    publish_all(&tenant, &[expired.json("1").build().unwrap(), event("1", "x"), event("2", "x"), event("3", "x")]);
    let handed = tenant.pull("s", 10).unwrap();
    assert_eq!(handed.len(), 3);
    let (failure, reason) = (Failure::new("no"), Reason::GivenUpByConsumer);
    let answers =
        [Answer::Ack, Answer::GiveUp { failure: failure.clone(), reason }, Answer::Nack { failure, delay_ms: None }];
    let answers = handed.iter().zip(answers).map(|(one, answer)| (one.id, one.token, answer));
    tenant.answer("s", answers.collect()).unwrap();
    tenant.checkpoint_deliveries().unwrap();
    let counts = tenant.subscription("s").unwrap().counts;
    let Counts { acknowledged, failed, dead_lettered, expired, .. } = counts;
    assert_eq!((acknowledged, failed, dead_lettered, expired), (1, 2, 1, 1));
    drop(tenant);
    assert_eq!(counted(folder.path()), counts);
    let tenant = open(folder.path(), small()).unwrap();
    let definition = tenant.definition("s").unwrap().as_ref().clone();
    tenant.update_subscription("s", Subscription { max_in_flight: 7, ..definition }).unwrap();
    tenant.seek_subscription("s", &StartAt::Now).unwrap();
    drop(tenant);
    assert_eq!(counted(folder.path()), counts);
    let tenant = open(folder.path(), small()).unwrap();
    tenant.delete_subscription("s").unwrap();
    subscribe(&tenant, "{}");
    drop(tenant);
    assert_eq!(counted(folder.path()), Counts::default());
}
