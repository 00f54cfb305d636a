//! Why a subscription does not move, and whether it does: with a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::{StartAt, Subscription};
use quipu_engine::{Answer, Handed, Standstill, Tenant};
use tempfile::TempDir;

use crate::support::*;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    tenant: Arc<Tenant>,
}

impl World {
    fn new() -> Self {
        let (folder, clock) = (TempDir::new().unwrap(), Arc::new(Hands::default()));
        let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        Self { folder, clock, tenant }
    }

    fn reopened(self) -> Self {
        let Self { folder, clock, tenant } = self;
        tenant.checkpoint_deliveries().unwrap();
        drop(tenant);
        let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        Self { folder, clock, tenant }
    }

    fn subscribe(&self, name: &str, definition: &str) {
        let definition: Subscription = serde_json::from_str(definition).unwrap();
        assert!(self.tenant.create_subscription(name, definition).unwrap());
    }

    fn publish(&self, kind: &str, count: usize) {
        let from = self.tenant.position();
        let id = |i: usize| (from as usize + i).to_string();
        let events: Vec<_> = (0..count).map(|i| event_of(kind, &id(i), &format!("s{i}"), "1")).collect();
        events.chunks(1_000).for_each(|events| publish_all(&self.tenant, events));
    }

    fn wait_ms(&self, ms: i64) {
        self.clock.0.fetch_add(ms * 1_000, Ordering::Relaxed);
        self.tenant.deliver().unwrap();
    }

    fn pull(&self, limit: usize) -> Vec<Handed> {
        self.tenant.pull("s", limit).unwrap()
    }

    fn ack(&self, handed: &[Handed]) {
        let answers = handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect();
        self.tenant.answer("s", answers).unwrap().into_iter().for_each(|answer| answer.unwrap());
    }

    fn standstill(&self) -> Standstill {
        self.tenant.explain_subscription("s").unwrap().standstill
    }

    /// Two workers take 20 each and are done with them after 100 ms; seen while both have theirs.
    fn work(&self) -> Standstill {
        let (one, other) = (self.pull(20), self.pull(20));
        let seen = self.standstill();
        self.wait_ms(100);
        self.ack(&one);
        self.ack(&other);
        seen
    }
}

const ALL: &str = r#"{"start":"beginning"}"#;

/// As many as two workers have may be in flight.
const FULL: &str = r#"{"start":"beginning","ordering":"none","maxinflight":40}"#;

#[test]
fn a_backlog_that_workers_are_at_is_caught_up_with_at_their_pace() {
    for definition in [ALL, FULL] {
        let world = World::new();
        world.publish("t", 2_400);
        world.subscribe("s", definition);
        assert_eq!(world.standstill(), Standstill::NobodyAsks { ready: 0, unseen: 2_400 });
        world.wait_ms(60_000);
        world.work();
        for turn in 1..50u64 {
            let left = 2_400 - turn * 40;
            let Standstill::CatchingUp { events, per_second, eta_s } = world.work() else {
                panic!("{definition}, turn {turn}: {:?}", world.standstill());
            };
            assert_eq!(events, Some(left), "{definition}, turn {turn}");
            if turn >= 11 {
                let pace = per_second.unwrap();
                assert!((390.0..=440.0).contains(&pace), "{definition}, turn {turn}: {pace}");
                assert_eq!(eta_s, Some((left as f64 / pace).ceil() as u64));
            }
        }
        // The pace begins and ends with what both were done with at once.
        let said = world.standstill().to_string();
        assert_eq!(said, "Catching up: 400 events are left, at 408.2 a second: about 1 s.", "{definition}");
    }
}

#[test]
fn workers_that_went_away_are_missed_after_five_seconds() {
    let world = World::new();
    world.publish("t", 2_400);
    world.subscribe("s", ALL);
    (0..10).for_each(|_| _ = world.work());
    world.wait_ms(4_900);
    assert!(matches!(world.standstill(), Standstill::CatchingUp { .. }), "{:?}", world.standstill());
    world.wait_ms(200);
    assert!(matches!(world.standstill(), Standstill::NobodyAsks { .. }), "{:?}", world.standstill());
}

#[test]
fn workers_that_have_all_there_may_be_and_answer_nothing_are_waited_for() {
    let world = World::new();
    world.publish("t", 2_400);
    world.subscribe("s", FULL);
    assert_eq!(world.pull(100).len(), 40);
    assert!(matches!(world.standstill(), Standstill::WaitingForAcks { count: 40, .. }), "{:?}", world.standstill());
    // Nor is it any other way while they ask for more in vain, wait for it, or were at it until just now.
    let _watch = world.tenant.on_available("s", || ()).unwrap();
    assert!(world.pull(1).is_empty());
    assert!(matches!(world.standstill(), Standstill::WaitingForAcks { count: 40, .. }), "{:?}", world.standstill());
    world.wait_ms(31_000);
    (0..10).for_each(|_| _ = world.work());
    assert_eq!(world.pull(100).len(), 40);
    assert!(matches!(world.standstill(), Standstill::CatchingUp { .. }), "{:?}", world.standstill());
    world.wait_ms(5_100);
    assert!(matches!(world.standstill(), Standstill::WaitingForAcks { count: 40, .. }), "{:?}", world.standstill());
}

#[test]
fn nobody_asks_where_nobody_waits_and_nobody_asked_lately() {
    let world = World::new();
    world.subscribe("s", ALL);
    world.publish("t", 3);
    assert_eq!(world.standstill(), Standstill::NobodyAsks { ready: 0, unseen: 3 });
    let watch = world.tenant.on_available("s", || ()).unwrap();
    assert_eq!(world.standstill(), Standstill::CatchingUp { events: Some(3), per_second: None, eta_s: None });
    drop(watch);
    assert_eq!(world.standstill(), Standstill::NobodyAsks { ready: 0, unseen: 3 });
    let handed = world.pull(1);
    assert_eq!(world.standstill(), Standstill::CatchingUp { events: Some(3), per_second: None, eta_s: None });
    world.wait_ms(5_001);
    assert_eq!(world.standstill(), Standstill::NobodyAsks { ready: 2, unseen: 0 });
    // Whoever waits and takes nothing is at what it has.
    let watch = world.tenant.on_available("s", || ()).unwrap();
    assert!(matches!(world.standstill(), Standstill::WaitingForAcks { count: 1, .. }), "{:?}", world.standstill());
    drop(watch);
    world.ack(&handed);
    assert!(matches!(world.standstill(), Standstill::CatchingUp { events: Some(2), .. }), "{:?}", world.standstill());
    world.tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
    assert_eq!(world.standstill(), Standstill::NobodyAsks { ready: 0, unseen: 3 });
}

#[test]
fn idle_is_when_all_is_finished_and_no_match_since_when_others_came_after_it() {
    let world = World::new();
    world.subscribe("s", r#"{"pattern":{"type":["t.a"]}}"#);
    assert_eq!(world.standstill(), Standstill::Idle { position: 0 });
    world.publish("t.b", 2);
    assert!(world.pull(1).is_empty());
    assert_eq!(world.standstill(), Standstill::NoMatchSince { position: 0, looked_at: 2 });
    world.publish("t.a", 1);
    world.ack(&world.pull(1));
    assert_eq!(world.standstill(), Standstill::Idle { position: 3 });
    assert_eq!(world.standstill().to_string(), "Idle: everything up to position 3 is finished.");
    world.publish("t.b", 2);
    assert_eq!(world.standstill(), Standstill::NoMatchSince { position: 3, looked_at: 5 });
    let said = world.standstill().to_string();
    assert_eq!(said, "No event since position 3 matches; every one up to 5 was looked at.");
    // Which event matched last is not written down: what is said after a restart is true all the same.
    assert!(world.pull(1).is_empty());
    let world = world.reopened();
    assert_eq!(world.standstill(), Standstill::Idle { position: 5 });
    world.publish("t.b", 1);
    assert!(world.pull(1).is_empty());
    assert_eq!(world.standstill(), Standstill::NoMatchSince { position: 5, looked_at: 6 });
    // What did not match the old pattern says nothing about the new one.
    let changed = serde_json::from_str(r#"{"pattern":{"type":["t.b"]}}"#).unwrap();
    world.tenant.update_subscription("s", changed).unwrap();
    assert_eq!(world.standstill(), Standstill::Idle { position: 6 });
}
