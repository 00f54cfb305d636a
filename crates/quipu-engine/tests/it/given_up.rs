//! Deliveries that were given up wait for their dead letters in memory only as far as there is room: while the log cannot be
//! written, hand-outs stop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::delivery::{Failure, Reason};
use quipu_engine::{Answer, Standstill, Tenant};

use crate::support::*;

/// After as many hand-outs stop; what is in flight then may come on top.
const GIVEN_UP_MAX: usize = 1_000;

fn with_events(folder: &Path, count: usize) -> (Arc<BlindLog>, Arc<Tenant>) {
    let log = BlindLog::open(folder);
    let tenant = Arc::clone(&log).tenant(folder, Arc::default());
    let definition = r#"{"start":"beginning","ordering":"none","maxinflight":300,"retry":{"maxattempts":1}}"#;
    tenant.create_subscription("s", serde_json::from_str(definition).unwrap()).unwrap();
    let events: Vec<_> = (0..count).map(|i| event(&i.to_string(), "a")).collect();
    publish_all(&tenant, &events);
    (log, tenant)
}

/// Gives up all that is handed out, until nothing is. How many.
fn give_up_all(tenant: &Tenant) -> usize {
    let mut count = 0;
    loop {
        let handed = tenant.pull("s", 1_000).unwrap();
        if handed.is_empty() {
            return count;
        }
        count += handed.len();
        let give_up = || Answer::GiveUp { failure: Failure::new("no"), reason: Reason::GivenUpByConsumer };
        tenant.answer("s", handed.iter().map(|one| (one.id, one.token, give_up())).collect()).unwrap();
    }
}

#[test]
fn hand_outs_stop_while_too_much_was_given_up_that_is_not_written_and_go_on_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (log, tenant) = with_events(folder.path(), 3_000);
    let given_up = give_up_all(&tenant);
    assert!((GIVEN_UP_MAX..GIVEN_UP_MAX + 300).contains(&given_up), "{given_up}");
    let explained = tenant.explain_subscription("s").unwrap().standstill;
    assert_eq!(explained, Standstill::DeadLettersUnwritten { count: given_up });
    let waits = "the log has not taken their dead letters yet; nothing more is delivered until it does.";
    assert_eq!(explained.to_string(), format!("{given_up} deliveries were given up, and {waits}"));
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let _guard = tenant.on_available("s", move || _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    tenant.deliver().unwrap();
    assert_eq!(woken.load(Ordering::Relaxed), 0, "there is nothing to be had");
    log.is_blind.store(true, Ordering::Relaxed);
    assert!(tenant.checkpoint_deliveries().is_err());
    assert_eq!(give_up_all(&tenant), 0);
    log.is_blind.store(false, Ordering::Relaxed);
    tenant.checkpoint_deliveries().unwrap();
    tenant.deliver().unwrap();
    assert!(woken.load(Ordering::Relaxed) > 0);
    let mut all = given_up;
    while all < 3_000 {
        let more = give_up_all(&tenant);
        assert!(more > 0);
        all += more;
        tenant.checkpoint_deliveries().unwrap();
    }
    assert_eq!(tenant.subscription("s").unwrap().dead_letters, 3_000);
}
