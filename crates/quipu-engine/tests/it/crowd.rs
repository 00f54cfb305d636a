//! Many subscriptions on one tenant: a consumer that is stuck costs neither memory nor its neighbours' events, and there is
//! an end to how many there may be.

use std::path::Path;
use std::sync::Arc;

use quipu_domain::Subscription;
use quipu_engine::{Answer, NotDone, Options, Standstill, SubscriptionRefusal, Tenant};
use tempfile::TempDir;

use crate::support::*;

/// Half of them are stuck.
const SUBSCRIPTIONS: u64 = 1_000;
/// What may be in flight of a stuck one.
const IN_FLIGHT: usize = 5;
/// What a subscription keeps besides, of events that wait: the rest waits in the log.
const WAITING: usize = 1_000;
/// More than that, so that what is kept of a stuck one has an end before its events do.
const BACKLOG: usize = 1_100;

fn open_many(folder: &Path) -> Arc<Tenant> {
    let options = Options { threads: 4, ..Options::default() };
    open_at(folder, options, Arc::default()).unwrap()
}

fn publish_many(tenant: &Arc<Tenant>, kind: impl Fn(usize) -> String, count: usize) {
    let from = tenant.position() as usize;
    let event = |i: usize| event_of(&kind(i), &(from + i).to_string(), &format!("s{i}"), "1");
    (0..count).map(event).collect::<Vec<_>>().chunks(1_000).for_each(|events| publish_all(tenant, events));
}

/// Each of the other half, whose consumers are there, gets an event of its own, in this round, and finishes it.
fn the_others_get_theirs(tenant: &Arc<Tenant>) {
    let healthy = || (0..SUBSCRIPTIONS).filter(|i| i % 2 == 1);
    let names: Vec<u64> = healthy().collect();
    assert!(healthy().all(|i| tenant.pull(&format!("s{i}"), 100).unwrap().is_empty()));
    publish_many(tenant, |i| format!("t.k{}", names[i]), names.len());
    for i in healthy() {
        let name = format!("s{i}");
        let handed = tenant.pull(&name, 100).unwrap();
        assert_eq!(handed.len(), 1, "{name}");
        assert_eq!(handed[0].recorded.event().kind(), format!("t.k{i}"));
        let results = tenant.answer(&name, vec![(handed[0].id, handed[0].token, Answer::Ack)]).unwrap();
        assert!(results[0].is_ok(), "{name}: {results:?}");
    }
}

/// What is kept of each that is stuck has an end, and it says what it waits for.
fn the_stuck_ones_are_bounded(tenant: &Tenant, attempts: u64) {
    for i in (0..SUBSCRIPTIONS).step_by(2) {
        let info = tenant.subscription(&format!("s{i}")).unwrap();
        let summary = info.summary;
        let unfinished = summary.ready + summary.in_flight + summary.waiting + summary.parked;
        assert!(unfinished <= IN_FLIGHT + WAITING, "s{i}: {summary:?}");
        assert_eq!((summary.in_flight, info.counts.handed_out), (IN_FLIGHT, attempts), "s{i}");
        let explained = tenant.explain_subscription(&info.name).unwrap();
        let waits = matches!(explained.standstill, Standstill::WaitingForAcks { count: IN_FLIGHT, .. });
        assert!(waits && explained.lag.unseen > 0, "s{i}: {explained:?}");
    }
}

fn pull_and_keep(tenant: &Tenant) {
    for i in (0..SUBSCRIPTIONS).step_by(2) {
        assert_eq!(tenant.pull(&format!("s{i}"), 100).unwrap().len(), IN_FLIGHT, "s{i}");
    }
}

#[test]
fn of_a_thousand_subscriptions_the_stuck_half_costs_the_other_nothing_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let tenant = open_many(folder.path());
    let stuck = format!(r#"{{"pattern":{{"type":["t.stuck"]}},"ordering":"none","maxinflight":{IN_FLIGHT}}}"#);
    for i in 0..SUBSCRIPTIONS {
        let own = format!(r#"{{"pattern":{{"type":["t.k{i}"]}}}}"#);
        let definition: Subscription = serde_json::from_str(if i % 2 == 0 { &stuck } else { &own }).unwrap();
        assert!(tenant.create_subscription(&format!("s{i}"), definition).unwrap());
        assert!(tenant.pull(&format!("s{i}"), 1).unwrap().is_empty());
    }
    publish_many(&tenant, |_| "t.stuck".into(), BACKLOG);
    pull_and_keep(&tenant);
    the_others_get_theirs(&tenant);
    publish_many(&tenant, |_| "t.stuck".into(), 100);
    the_others_get_theirs(&tenant);
    the_stuck_ones_are_bounded(&tenant, IN_FLIGHT as u64);
    tenant.checkpoint_deliveries().unwrap();
    drop(tenant);
    let tenant = open_many(folder.path());
    pull_and_keep(&tenant);
    the_others_get_theirs(&tenant);
    // Those that were in flight when it ended came once more, and are counted.
    the_stuck_ones_are_bounded(&tenant, 2 * IN_FLIGHT as u64);
}

#[test]
fn one_subscription_more_than_there_may_be_is_refused_until_another_is_deleted() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), Options { subscriptions_max: 2, ..small() }).unwrap();
    let create = |name: &str| tenant.create_subscription(name, Subscription::default());
    assert!(create("a").unwrap() && create("b").unwrap());
    let refused = create("c").unwrap_err();
    assert!(matches!(refused, NotDone::Refused(SubscriptionRefusal::TooMany { limit: 2 })), "{refused:?}");
    assert!(!create("a").unwrap(), "one that is there already is not another");
    tenant.delete_subscription("a").unwrap();
    assert!(create("c").unwrap());
}
