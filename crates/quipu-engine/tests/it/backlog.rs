//! Subscriptions that are further behind than deliveries are kept, and consumers that take a few at a time: the log is read
//! for more again and again, and nothing is skipped or delivered twice.

use std::sync::Arc;

use quipu_domain::Subscription;
use quipu_engine::{Answer, Handed, Tenant};
use tempfile::TempDir;

use crate::support::*;

/// More than any subscription here keeps at once, and no multiple of what is read at once.
const EVENTS: u64 = 3_333;

fn tenant(folder: &TempDir, definition: &str) -> Arc<Tenant> {
    let tenant = open_at(folder.path(), small(), Arc::default()).unwrap();
    for first in (1..=EVENTS).step_by(100) {
        let events = (first..(first + 100).min(EVENTS + 1)).map(|n| event(&n.to_string(), &format!("s{}", n % 50)));
        publish_all(&tenant, &events.collect::<Vec<_>>());
    }
    let definition: Subscription = serde_json::from_str(definition).unwrap();
    assert!(tenant.create_subscription("s", definition).unwrap());
    tenant
}

fn ack(tenant: &Tenant, handed: &[Handed]) {
    let answers = handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect();
    assert!(tenant.answer("s", answers).unwrap().iter().all(Result::is_ok));
}

#[test]
fn a_backlog_is_delivered_once_and_whole_however_few_are_taken_at_once() {
    for definition in [
        r#"{"start":"beginning","ordering":"none"}"#,
        r#"{"start":"beginning","maxinflight":3}"#,
        r#"{"start":"beginning","ordering":"strict"}"#,
        r#"{"start":"beginning"}"#,
    ] {
        let folder = TempDir::new().unwrap();
        let tenant = tenant(&folder, definition);
        let mut seen = Vec::new();
        loop {
            let handed = tenant.pull("s", 7).unwrap();
            if handed.is_empty() {
                break;
            }
            ack(&tenant, &handed);
            seen.extend(handed.iter().map(|one| one.id.position));
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>(), "{definition}");
        let info = tenant.subscription("s").unwrap();
        assert_eq!((info.counts.handed_out, info.scan), (EVENTS, EVENTS), "{definition}");
        // It has caught up: what comes now is routed to it.
        publish(&tenant, &event("next", "s1"));
        assert_eq!(tenant.pull("s", 7).unwrap().len(), 1, "{definition}");
    }
}

#[test]
fn a_rate_limit_that_is_used_up_hands_out_nothing_while_the_log_has_more() {
    let folder = TempDir::new().unwrap();
    let definition = r#"{"start":"beginning","ordering":"none","ratelimit":{"persecond":1,"burst":5}}"#;
    let tenant = tenant(&folder, definition);
    let handed = tenant.pull("s", 7).unwrap();
    assert_eq!(handed.len(), 5);
    ack(&tenant, &handed);
    // There is room for five more now, and the pull comes back without them.
    assert!(tenant.pull("s", 7).unwrap().is_empty());
    assert!(tenant.subscription("s").unwrap().scan < EVENTS);
}
