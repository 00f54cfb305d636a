//! Sagas through the engine: what they publish, where they stand, and that no stop splits the two.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quipu_domain::saga::{ActKind, Finding, What};
use quipu_domain::{Direction, Event, Filter};
use quipu_engine::{
    Clock, Engine, InstanceFilter, InstanceState, NotDone, Options, PlanName, Published, SagaDeclaration, SagaRefusal,
    Tenant, World,
};
use quipu_store::{DiskStorage, MemoryStorage};

use crate::support::*;

const SECOND_US: i64 = 1_000_000;
pub const ORDER: &str = r#"{"saga": "order_fulfilment", "starts_on": "order.placed",
    "steps": [
        {"reserve_inventory": {"send": "inventory.reserve", "await": "inventory.reserved", "fail_on": "inventory.rejected",
            "timeout": "30s", "retry": {"max": 3, "backoff": "exponential"}, "compensate": "inventory.release"}},
        {"process_payment": {"send": "payment.charge", "await": "payment.charged", "fail_on": "payment.declined",
            "timeout": "2m", "compensate": "payment.refund"}},
        {"ship_order": {"send": "shipment.create", "await": "shipment.created", "timeout": "1d", "compensate": "shipment.cancel"}}
    ],
    "completes_with": "order.fulfilled", "fails_with": "order.failed"}"#;

pub struct Shop {
    pub tenant: Arc<Tenant>,
    pub clock: Arc<Hands>,
    folder: tempfile::TempDir,
    next: u32,
}

pub fn saga(text: &str) -> SagaDeclaration {
    SagaDeclaration::Saga(serde_json::from_str(text).unwrap())
}

fn rule(text: &str) -> SagaDeclaration {
    SagaDeclaration::Rule(serde_json::from_str(text).unwrap())
}

impl Shop {
    pub fn new(declarations: &[SagaDeclaration]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands::default());
        clock.0.store(1_000 * SECOND_US, Ordering::Relaxed);
        let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        for declaration in declarations {
            assert!(tenant.apply_saga(declaration.clone(), false, false).unwrap().is_new);
        }
        Self { tenant, clock, folder, next: 0 }
    }

    /// On a log that can be made blind.
    pub fn on_blind_log(declarations: &[SagaDeclaration]) -> (Self, Arc<BlindLog>) {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(Hands::default()));
        clock.0.store(1_000 * SECOND_US, Ordering::Relaxed);
        let log = BlindLog::open(folder.path());
        let tenant = Arc::clone(&log).tenant(folder.path(), Arc::clone(&clock));
        for declaration in declarations {
            assert!(tenant.apply_saga(declaration.clone(), false, false).unwrap().is_new);
        }
        (Self { tenant, clock, folder, next: 0 }, log)
    }

    /// On no disk: for many histories one after the other.
    pub fn in_memory(declarations: &[SagaDeclaration]) -> Self {
        let clock = Arc::new(Hands::default());
        clock.0.store(1_000 * SECOND_US, Ordering::Relaxed);
        let storage = Arc::new(MemoryStorage::default());
        let world = World { storage, clock: Arc::clone(&clock) as _, random: Arc::new(Counter::default()) };
        let tenant = Tenant::open(&world, "t", Options::default()).unwrap();
        for declaration in declarations {
            assert!(tenant.apply_saga(declaration.clone(), false, false).unwrap().is_new);
        }
        Self { tenant, clock, folder: tempfile::tempdir().unwrap(), next: 0 }
    }

    pub fn publish(&mut self, kind: &str, correlation: &str, data: &str) {
        self.next += 1;
        let id = format!("outside-{}", self.next);
        let event = Event::builder(id, "/outside", kind).subject("order/1").correlation_id(correlation).json(data);
        assert!(matches!(publish(&self.tenant, &event.build().unwrap()), Published::Recorded(_)));
        self.run();
    }

    pub fn publish_caused_by(&mut self, kind: &str, cause: &str, data: &str) {
        self.next += 1;
        let event = Event::builder(format!("outside-{}", self.next), "/outside", kind).causation_id(cause).json(data);
        assert!(matches!(publish(&self.tenant, &event.build().unwrap()), Published::Recorded(_)));
        self.run();
    }

    /// Lets everything happen that happens by itself.
    pub fn run(&self) {
        for _ in 0..40 {
            self.tenant.fire_timers();
            self.tenant.step_sagas();
            self.tenant.decide();
            self.tenant.flush();
        }
    }

    pub fn wait(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * SECOND_US, Ordering::Relaxed);
        self.run();
    }

    pub fn restart(&mut self) {
        self.tenant.close().unwrap();
        self.crash();
    }

    /// As a restart, without writing anything before it.
    pub fn crash(&mut self) {
        let clock = Arc::clone(&self.clock);
        let empty = tempfile::tempdir().unwrap();
        self.tenant = open_at(empty.path(), small(), Arc::clone(&clock)).unwrap();
        self.tenant = open_at(self.folder.path(), small(), clock).unwrap();
        self.run();
    }

    /// What sagas and rules published, by types.
    pub fn sent(&self) -> Vec<String> {
        let (mut sent, mut from) = (Vec::new(), Some(1));
        while let Some(next) = from {
            let page = self.tenant.read(&Filter::default(), Direction::Forward, Some(next), 10_000).unwrap();
            let events = page.events.iter().map(|recorded| recorded.event());
            sent.extend(
                events.filter(|event| event.source().starts_with("/quipu/")).map(|event| event.kind().to_owned()),
            );
            from = page.next;
        }
        sent
    }

    pub fn event(&self, kind: &str) -> Event<'static> {
        let page = self.tenant.read(&Filter::default(), Direction::Backward, None, 10_000).unwrap();
        let found = page.events.iter().map(|recorded| recorded.event().into_owned()).find(|event| event.kind() == kind);
        found.unwrap_or_else(|| panic!("expected {kind}"))
    }

    pub fn state(&self, number: u64) -> InstanceState {
        self.tenant.instance(number).unwrap().state
    }
}

/// Somebody answers, and sagas do not come to it yet.
fn answer_unread(shop: &Shop, kind: &str, order: &str) {
    let event = Event::builder(format!("{kind}-{order}"), "/outside", kind).correlation_id(order).json("{}");
    assert!(matches!(publish(&shop.tenant, &event.build().unwrap()), Published::Recorded(_)));
}

#[test]
fn what_was_recorded_in_time_counts_however_late_it_is_read() {
    let pass = |shop: &Shop, seconds: i64| shop.clock.0.fetch_add(seconds * SECOND_US, Ordering::Relaxed);
    let timed_out = |shop: &Shop, number| {
        let (timeline, _) = shop.tenant.timeline(number).unwrap();
        timeline.iter().any(|entry| entry.note.what == What::TimedOut)
    };
    for (after, is_lost, expected) in [(30, false, false), (30, true, false), (31, false, true), (31, true, true)] {
        let mut shop = Shop::new(&[saga(ORDER)]);
        shop.publish("order.placed", "o1", "{}");
        pass(&shop, after);
        answer_unread(&shop, "inventory.reserved", "o1");
        pass(&shop, 40);
        match is_lost {
            true => shop.crash(),
            false => shop.run(),
        }
        assert_eq!(timed_out(&shop, 1), expected, "after {after} s");
        assert_eq!(shop.sent(), ["inventory.reserve", "payment.charge"], "the second attempt was still to be made");
    }
    // Each at its time, with what comes between.
    let mut shop = Shop::new(&[saga(ORDER)]);
    (1..=3).for_each(|order| shop.publish("order.placed", &format!("o{order}"), "{}"));
    for (order, seconds) in [("o2", 10), ("o1", 20), ("o3", 30)] {
        pass(&shop, seconds);
        answer_unread(&shop, "inventory.reserved", order);
    }
    shop.run();
    assert_eq!([1, 2, 3].map(|number| timed_out(&shop, number)), [false, false, true]);
}

#[test]
fn time_does_not_pass_before_what_is_on_its_way_to_the_disk() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{}");
    let event = Event::builder("r", "/outside", "inventory.reserved").correlation_id("o1").json("{}").build().unwrap();
    shop.tenant.publish(vec![prepare(&shop.tenant, &event)], |result| assert!(result.is_ok()));
    shop.tenant.decide();
    shop.clock.0.fetch_add(31 * SECOND_US, Ordering::Relaxed);
    assert!(!shop.tenant.step_sagas(), "it is not durable");
    shop.tenant.flush();
    shop.run();
    assert_eq!(shop.sent(), ["inventory.reserve", "payment.charge"]);
}

#[test]
fn an_order_is_fulfilled() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{\"total\":5}");
    assert_eq!(shop.sent(), ["inventory.reserve"]);
    let command = shop.event("inventory.reserve");
    assert_eq!(
        (command.source(), command.subject(), command.correlation_id()),
        ("/quipu/sagas/order_fulfilment", Some("order/1"), Some("o1"))
    );
    assert_eq!((command.causation_id(), command.attribute("sagaid")), (Some("outside-1"), Some("order_fulfilment/1")));
    assert!(
        command.id().ends_with("/1/1.0/1") && command.attribute("idempotencykey").unwrap().ends_with("/1/1.0"),
        "{command:?}"
    );
    assert_eq!(command.data().bytes().unwrap().0, b"{\"total\":5}");
    let waits = shop.tenant.instance(1).unwrap();
    assert_eq!((waits.state, &*waits.key, waits.start), (InstanceState::Running, "o1", 1));
    assert!(
        waits.waiting[0].0.starts_with("reserve_inventory, attempt 1: waits for the answer"),
        "{:?}",
        waits.waiting
    );
    shop.publish("inventory.reserved", "o1", "{}");
    shop.publish("payment.charged", "another", "{}");
    assert_eq!(shop.sent().len(), 2);
    shop.publish("payment.charged", "o1", "{}");
    shop.publish("shipment.created", "o1", "{}");
    assert_eq!(shop.sent(), ["inventory.reserve", "payment.charge", "shipment.create", "order.fulfilled"]);
    assert_eq!(shop.state(1), InstanceState::Completed);
    let (timeline, skipped) = shop.tenant.timeline(1).unwrap();
    let what: Vec<What> = timeline.iter().map(|entry| entry.note.what).collect();
    assert_eq!((what[0], *what.last().unwrap(), skipped), (What::Begun, What::Ended, 0));
    assert_eq!(shop.tenant.sagas().unwrap()[0].open, 0);
    // What comes twice, or after the end, changes nothing.
    shop.publish("payment.charged", "o1", "{}");
    shop.publish("order.placed", "o1", "{}");
    assert_eq!((shop.sent().len(), shop.tenant.sagas().unwrap()[0].instances), (4, 1));
}

#[test]
fn a_declined_payment_releases_the_inventory() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{}");
    shop.publish("inventory.reserved", "o1", "{}");
    shop.publish("payment.declined", "o1", "{}");
    assert_eq!(shop.sent(), ["inventory.reserve", "payment.charge", "inventory.release", "order.failed"]);
    assert_eq!(shop.state(1), InstanceState::Compensated);
    assert_eq!(shop.tenant.instance(1).unwrap().failure, Some(("process_payment".to_owned(), "it was refused")));
}

#[test]
fn a_shipment_that_nobody_confirms_is_undone_with_all_before_it() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{}");
    shop.publish("inventory.reserved", "o1", "{}");
    shop.publish("payment.charged", "o1", "{}");
    shop.wait(86_399);
    assert_eq!(shop.sent().len(), 3);
    shop.wait(1);
    let expected = [
        "inventory.reserve",
        "payment.charge",
        "shipment.create",
        "shipment.cancel",
        "payment.refund",
        "inventory.release",
        "order.failed",
    ];
    assert_eq!(shop.sent(), expected, "it may have been shipped");
    assert_eq!(shop.state(1), InstanceState::Compensated);
    // It was: what was undone before it happened is undone once more, once.
    shop.publish("shipment.created", "o1", "{}");
    shop.publish("shipment.created", "o1", "{}");
    assert_eq!(shop.sent()[7..], ["shipment.cancel"]);
    let ids: Vec<_> = shop.event("shipment.cancel").id().split('/').skip(1).map(str::to_owned).collect();
    assert_eq!(ids, ["1", "3.0", "late", "2"]);
}

#[test]
fn a_step_that_nobody_answers_is_tried_again_and_then_given_up() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{}");
    for _ in 0..30 {
        shop.wait(30);
    }
    let expected = ["inventory.reserve", "inventory.reserve", "inventory.reserve", "inventory.release", "order.failed"];
    assert_eq!(shop.sent(), expected);
}

/// After each event the process stops and begins again; once with what a crash leaves of the caches, which is nothing.
#[test]
fn a_stop_between_any_two_steps_changes_nothing() {
    for with_snapshots in [false, true] {
        let mut shop = Shop::new(&[saga(ORDER)]);
        let steps = ["order.placed", "inventory.reserved", "payment.charged"];
        for kind in steps {
            shop.publish(kind, "o1", "{}");
            for i in 0..if with_snapshots { 25 } else { 0 } {
                publish(&shop.tenant, &event_of("filler", &format!("{kind}-{i}"), "s", "{}"));
                while shop.tenant.maintain().unwrap() {}
            }
            shop.restart();
        }
        assert_eq!(shop.sent(), ["inventory.reserve", "payment.charge", "shipment.create"]);
        shop.wait(86_400);
        shop.restart();
        assert_eq!(shop.sent()[3..], ["shipment.cancel", "payment.refund", "inventory.release", "order.failed"]);
        shop.restart();
        assert_eq!((shop.sent().len(), shop.state(1)), (7, InstanceState::Compensated));
    }
}

/// Nothing comes meanwhile: it is the thread that has to see that the clock shows less.
#[test]
fn a_thread_notices_that_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    clock.0.store(3_600 * SECOND_US, Ordering::Relaxed);
    let (storage, random) = (Arc::new(DiskStorage::new(folder.path())), Arc::new(Counter::default()));
    let world = World { storage, clock: Arc::clone(&clock) as Arc<dyn Clock>, random };
    let engine = Engine::open(world, small()).unwrap();
    let tenant = engine.tenant("default").unwrap();
    let nap = r#"{"saga": "nap", "starts_on": "start", "steps": [{"s": {"sleep": "10s"}}], "completes_with": "awake"}"#;
    tenant.apply_saga(saga(nap), false, false).unwrap();
    publish(&tenant, &event_of("start", "1", "s", "{}"));
    let state = || tenant.instance(1).map(|instance| instance.state);
    let mut tries = 0..500;
    while state().is_err() {
        std::thread::sleep(Duration::from_millis(20));
        tries.next().expect("it begins");
    }
    clock.0.store(0, Ordering::Relaxed);
    // Far fewer than would bring the clock to where it was.
    let mut tries = 0..100;
    while state().unwrap() != InstanceState::Completed {
        clock.0.fetch_add(10 * SECOND_US, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(150));
        tries.next().expect("it waits no longer than it was to");
    }
}

#[test]
fn people_intervene() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    for order in ["o1", "o2", "o3"] {
        shop.publish("order.placed", order, "{}");
        shop.publish("inventory.reserved", order, "{}");
    }
    let act = |shop: &Shop, number, act, reason: &str| shop.tenant.act_on_instance(number, act, reason, 0);
    assert_eq!(act(&shop, 1, ActKind::Cancel, "the customer called").unwrap(), InstanceState::Cancelled);
    shop.run();
    assert_eq!(
        shop.sent()[6..],
        ["payment.refund", "inventory.release", "order.failed"],
        "the charge may have gone through"
    );
    let refused = act(&shop, 1, ActKind::Cancel, "").unwrap_err();
    assert!(matches!(refused, NotDone::RefusedSaga(SagaRefusal::NotPossible(_))), "{refused}");
    // What comes while it is paused is taken in when it goes on, and time does not count.
    assert_eq!(act(&shop, 2, ActKind::Pause { place: 0 }, "").unwrap(), InstanceState::Paused);
    shop.publish("payment.charged", "o2", "{}");
    shop.wait(1_000);
    shop.restart();
    assert_eq!(
        (shop.state(2), shop.sent().iter().filter(|kind| *kind == "shipment.create").count()),
        (InstanceState::Paused, 0)
    );
    act(&shop, 2, ActKind::Resume, "").unwrap();
    shop.run();
    assert_eq!(shop.sent().iter().filter(|kind| *kind == "shipment.create").count(), 1);
    shop.publish("shipment.created", "o2", "{}");
    assert_eq!(shop.state(2), InstanceState::Completed);
    assert_eq!(shop.state(3), InstanceState::Compensated, "it waited for 1,000 seconds");
    let unknown = act(&shop, 9, ActKind::Cancel, "").unwrap_err();
    assert!(matches!(unknown, NotDone::RefusedSaga(SagaRefusal::NoInstance { number: 9 })), "{unknown}");
    let filter = InstanceFilter { states: vec![InstanceState::Completed], ..InstanceFilter::default() };
    let page = shop.tenant.instances(&filter, None, 10).unwrap();
    assert_eq!((page.instances.len(), page.instances[0].number, page.total), (1, 2, 3));
}

#[test]
fn instances_stay_with_the_version_that_they_began_with() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{}");
    let changed = ORDER.replace("payment.charge\"", "payment.collect\"");
    let applied = shop.tenant.apply_saga(saga(&changed), false, true).unwrap();
    assert_eq!((applied.version, applied.is_new), (2, false), "only checked");
    let applied = shop.tenant.apply_saga(saga(&changed), false, false).unwrap();
    assert_eq!((applied.version, applied.is_new), (2, true));
    assert!(!shop.tenant.apply_saga(saga(&changed), false, false).unwrap().is_new);
    shop.restart();
    shop.publish("order.placed", "o2", "{}");
    shop.publish("inventory.reserved", "o1", "{}");
    shop.publish("inventory.reserved", "o2", "{}");
    assert_eq!(shop.sent(), ["inventory.reserve", "inventory.reserve", "payment.charge", "payment.collect"]);
    assert_eq!([1, 2].map(|number| shop.tenant.instance(number).unwrap().version), [1, 2]);
    let name = PlanName::saga("order_fulfilment");
    let refused = shop.tenant.remove_saga(&name).unwrap_err();
    assert!(matches!(refused, NotDone::RefusedSaga(SagaRefusal::InUse { open: 2, .. })), "{refused}");
    for number in [1, 2] {
        shop.tenant.act_on_instance(number, ActKind::Cancel, "", 0).unwrap();
    }
    shop.run();
    shop.tenant.remove_saga(&name).unwrap();
    shop.restart();
    assert!(shop.tenant.sagas().unwrap().is_empty());
    assert!(shop.tenant.instance(1).is_err());
}

#[test]
fn what_is_declared_is_checked() {
    let shop = Shop::new(&[]);
    let findings = |text: &str, is_strict| match shop.tenant.apply_saga(saga(text), is_strict, true) {
        Ok(applied) => applied.findings,
        Err(NotDone::RefusedSaga(SagaRefusal::Invalid { findings })) => findings,
        other => panic!("{other:?}"),
    };
    let found = findings(ORDER, false);
    assert!(found.iter().any(|one| one.sentence.contains("somebody publishes")), "{found:?}");
    assert!(shop.tenant.apply_saga(saga(ORDER), true, false).is_err(), "strict");
    let broken = ORDER.replace("\"timeout\": \"30s\"", "\"timeout\": \"30s\", \"data\": \".start |\"");
    let found = findings(&broken, false);
    assert!(found.iter().any(|one| one.path.ends_with("/data") && one.sentence.contains("at byte")), "{found:?}");
    // Once somebody publishes what is waited for, nobody is warned of it.
    for (i, kind) in [
        "inventory.reserved",
        "inventory.rejected",
        "payment.charged",
        "payment.declined",
        "shipment.created",
        "order.placed",
    ]
    .into_iter()
    .enumerate()
    {
        publish(&shop.tenant, &event_of(kind, &i.to_string(), "s", "{}"));
    }
    let found = findings(ORDER, false);
    assert!(!found.iter().any(|one| one.sentence.contains("somebody publishes")), "{found:?}");
}

const NESTED: &str = r#"{"saga": "travel", "starts_on": "trip.asked", "key": "data.trip",
    "steps": [
        {"book": {"parallel": [
            {"hotel": {"send": "hotel.book", "await": "hotel.booked", "key": "data.trip", "fail_on": "hotel.full", "compensate": "hotel.cancel",
                "data": "{trip: .start.data.trip, nights: .start.data.nights}", "set": "{room: .event.data.room}"}},
            {"car": {"send": "car.book", "await": "car.booked", "key": "data.trip", "compensate": "car.cancel", "data": "{trip: .start.data.trip}"}}
        ]}},
        {"visa": {"if": ".start.data.abroad", "then": [
            {"ask_visa": {"saga": "visa", "data": "{trip: .start.data.trip}", "timeout": "1h"}}
        ]}},
        {"remind": {"loop": {"max": 2, "steps": [{"mail": {"send": "mail.send", "compensate": "none", "data": "{room: .vars.room, trip: .instance.key}"}}]}}}
    ],
    "completes_with": "trip.booked", "fails_with": "trip.failed"}"#;
const VISA: &str = r#"{"saga": "visa", "starts_on": "visa.never", "steps": [
        {"apply": {"send": "visa.apply", "await": "visa.granted", "fail_on": "visa.denied", "timeout": "10m", "compensate": "visa.withdraw", "data": ".vars"}}
    ]}"#;

#[test]
fn steps_are_nested_and_mapped() {
    let mut shop = Shop::new(&[saga(VISA), saga(NESTED)]);
    let asked = r#"{"trip":"t1","nights":3,"abroad":true}"#;
    shop.publish("trip.asked", "c1", asked);
    assert_eq!(shop.sent(), ["hotel.book", "car.book"]);
    assert_eq!(shop.event("hotel.book").data().bytes().unwrap().0, br#"{"trip":"t1","nights":3}"#);
    shop.publish("car.booked", "c2", r#"{"trip":"t1"}"#);
    shop.restart();
    shop.publish("hotel.booked", "c2", r#"{"trip":"t1","room":12}"#);
    assert_eq!(shop.sent()[2..], ["visa.apply"]);
    let visa = shop.event("visa.apply");
    assert_eq!(visa.data().bytes().unwrap().0, br#"{"trip":"t1"}"#);
    let correlation = visa.correlation_id().unwrap().to_owned();
    shop.restart();
    // Answers name the command.
    let granted =
        Event::builder("g", "/office", "visa.granted").correlation_id(correlation).causation_id(visa.id().to_owned());
    publish(&shop.tenant, &granted.json("{}").build().unwrap());
    shop.run();
    assert_eq!(shop.sent()[3..], ["mail.send", "mail.send", "trip.booked"]);
    assert_eq!(shop.event("mail.send").data().bytes().unwrap().0, br#"{"room":12,"trip":"t1"}"#);
}

#[test]
fn a_saga_within_a_saga_that_fails_has_the_outer_one_undone() {
    let mut shop = Shop::new(&[saga(VISA), saga(NESTED)]);
    shop.publish("trip.asked", "c1", r#"{"trip":"t1","abroad":true}"#);
    shop.publish("car.booked", "c2", r#"{"trip":"t1"}"#);
    shop.publish("hotel.booked", "c2", r#"{"trip":"t1","room":1}"#);
    assert_eq!(shop.sent().last().unwrap(), "visa.apply");
    shop.wait(600);
    let sent = shop.sent();
    assert_eq!(sent[3], "visa.withdraw", "{sent:?}");
    let mut undone = sent[4..].to_vec();
    undone.sort();
    assert_eq!(undone, ["car.cancel", "hotel.cancel", "trip.failed"]);
}

#[test]
fn rules_publish_once_for_each_event_and_never_for_ever() {
    let mut shop = Shop::new(&[
        rule(
            r#"{"rule": "welcome", "on": "customer.signed", "publish": {"type": "mail.send", "data": "{to: .start.data.email}"}}"#,
        ),
        rule(r#"{"rule": "ping", "on": {"type": ["ping"], "data": {"n": [1]}}, "publish": {"type": "pong"}}"#),
        rule(r#"{"rule": "pong", "on": {"type": ["pong"], "data": {"n": [1]}}, "publish": {"type": "ping"}}"#),
    ]);
    shop.publish("customer.signed", "c1", r#"{"email":"a@example"}"#);
    shop.restart();
    let mail = shop.event("mail.send");
    assert_eq!(
        (mail.source(), mail.correlation_id(), mail.causation_id()),
        ("/quipu/rules/welcome", Some("c1"), Some("outside-1"))
    );
    assert_eq!(mail.data().bytes().unwrap().0, br#"{"to":"a@example"}"#);
    assert_eq!(shop.sent(), ["mail.send"]);
    assert_eq!(shop.tenant.instances(&InstanceFilter::default(), None, 10).unwrap().total, 0, "nothing is kept of it");
    shop.publish("ping", "c2", "{\"n\":1}");
    assert_eq!(shop.sent().len(), 1 + 16);
    let stopped = shop.tenant.instances(&InstanceFilter::default(), None, 10).unwrap().instances;
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    // Rules that surely go round are refused.
    let round = rule(r#"{"rule": "again", "on": "mail.send", "publish": {"type": "customer.signed"}}"#);
    let refused = shop.tenant.apply_saga(round, false, false).unwrap_err();
    assert!(refused.to_string().contains("set each other off"), "{refused}");
}

/// What is said about the last of these declarations: of circles alone.
fn circles(declarations: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let of = |text: &&str| match text.get(..7).unwrap() {
        "{\"saga\"" => saga(text),
        "{\"rule\"" => rule(text),
        _ => SagaDeclaration::Expectation(serde_json::from_str(text).unwrap()),
    };
    let declared: Vec<SagaDeclaration> = declarations.iter().map(of).collect();
    let (last, before) = declared.split_last().unwrap();
    let shop = Shop::in_memory(before);
    let sentences = |findings: Vec<Finding>| {
        let of_circles = findings.iter().filter(|finding| finding.sentence.contains(" -> "));
        of_circles.map(ToString::to_string).collect::<Vec<_>>()
    };
    match shop.tenant.apply_saga(last.clone(), false, true) {
        Ok(applied) => Ok(sentences(applied.findings)),
        Err(NotDone::RefusedSaga(SagaRefusal::Invalid { findings })) => Err(sentences(findings)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_start_without_a_key_begins_nothing_and_is_told_of() {
    let text = r#"{"saga": "by_data", "starts_on": "keyed.start", "key": "data.order", "steps": [{"a": {"send": "keyed.a", "compensate": "none"}}]}"#;
    let mut shop = Shop::in_memory(&[saga(text)]);
    let keyless = |shop: &Shop| shop.tenant.sagas().unwrap()[0].keyless;
    shop.publish("keyed.start", "o1", r#"{"order": "o1"}"#);
    assert_eq!((shop.sent(), keyless(&shop)), (vec!["keyed.a".to_owned()], None));
    let long = format!(r#"{{"order": "{}"}}"#, "x".repeat(513));
    for data in ["{}", r#"{"order": ""}"#, r#"{"order": {}}"#, "1", &long] {
        shop.publish("keyed.start", "o1", data);
        assert_eq!((shop.sent().len(), keyless(&shop)), (1, Some(shop.tenant.position())), "{data}");
    }
    let position = keyless(&shop);
    shop.publish("keyed.start", "o1", r#"{"order": 7}"#);
    assert_eq!((shop.sent().len(), keyless(&shop)), (2, position));
}

#[test]
fn events_that_lead_to_each_other_without_end_are_not_taken_without_a_word() {
    let one = r#"{"saga": "s1", "starts_on": "loop.a", "key": "id", "steps": [{"a": {"send": "loop.b", "compensate": "none"}}]}"#;
    let two = r#"{"saga": "s2", "starts_on": "loop.b", "key": "id", "steps": [{"a": {"send": "loop.c", "compensate": "none"}}]}"#;
    let back = r#"{"rule": "r", "on": "loop.c", "publish": {"type": "loop.a"}}"#;
    for (all, route) in [
        ([one, two, back], "rule r -> loop.a -> s1 -> loop.b -> s2 -> loop.c -> rule r"),
        ([back, one, two], "s2 -> loop.c -> rule r -> loop.a -> s1 -> loop.b -> s2"),
        ([two, back, one], "s1 -> loop.b -> s2 -> loop.c -> rule r -> loop.a -> s1"),
    ] {
        let refused = circles(&all).expect_err(route);
        assert!(refused.len() == 1 && refused[0].contains(&format!("found {route}:")), "{refused:?}");
    }
    let own = r#"{"expect": "e", "after": "paid", "then": "sent", "within": "5m", "otherwise": "paid"}"#;
    assert!(circles(&[own]).unwrap_err()[0].contains("found expectation e -> paid -> expectation e:"));
    let monthly = r#"{"saga": "renew", "starts_on": "period.begun", "again": "begin", "steps": [{"month": {"sleep": "30d"}}], "completes_with": "period.begun"}"#;
    assert!(circles(&[monthly]).unwrap()[0].contains("found renew -> period.begun -> renew:"));
    // What endpoints answer is an event too.
    let asks = r#"{"saga": "asks", "starts_on": "saga.call.answered", "key": "id", "steps": [{"a": {"http": "https://a.example", "compensate": "none"}}]}"#;
    assert!(circles(&[asks]).unwrap()[0].contains("found asks -> saga.call.answered -> asks:"));
    assert_eq!(circles(&[one, two]), Ok(Vec::new()));
}

/// The circles that are said to begin nothing do so: an event goes round once.
#[test]
fn a_circle_is_closed_by_a_key_that_is_remembered() {
    for text in [
        r#"{"saga": "s", "starts_on": "loop.x", "steps": [{"a": {"send": "loop.x", "compensate": "none"}}]}"#,
        r#"{"saga": "s", "starts_on": "loop.x", "steps": [{"a": {"sleep": "1s"}}], "completes_with": "loop.x"}"#,
    ] {
        assert!(circles(&[text]).unwrap()[0].contains("begins nothing"), "{text}");
        let mut shop = Shop::in_memory(&[saga(text)]);
        shop.publish("loop.x", "c1", "{}");
        shop.wait(1);
        assert_eq!(shop.sent(), ["loop.x"], "{text}");
    }
}

#[test]
fn an_event_that_does_not_follow_in_time_is_missed() {
    let expectation =
        r#"{"expect": "shipped_in_time", "after": "order.paid", "then": "order.shipped", "within": "5m"}"#;
    let mut shop = Shop::new(&[SagaDeclaration::Expectation(serde_json::from_str(expectation).unwrap())]);
    shop.publish("order.paid", "o1", "{}");
    shop.publish("order.paid", "o2", "{}");
    shop.wait(299);
    shop.publish("order.shipped", "o1", "{}");
    shop.wait(1);
    assert_eq!(shop.sent(), ["expectation.missed"]);
    let missed = shop.event("expectation.missed");
    assert_eq!((missed.source(), missed.correlation_id()), ("/quipu/expectations/shipped_in_time", Some("o2")));
}

#[test]
fn threads_step_many_instances_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with_time(folder.path(), small());
    let tenant = engine.tenant("default").unwrap();
    tenant.apply_saga(saga(ORDER), false, false).unwrap();
    let send = |kind: &str, order: usize| {
        let event = Event::builder(format!("{kind}-{order}"), "/outside", kind).correlation_id(format!("o{order}"));
        tenant.prepare(&event.json("{}").build().unwrap(), None).unwrap()
    };
    let kinds = ["order.placed", "inventory.reserved", "payment.charged", "shipment.created"];
    for (at, kind) in kinds.into_iter().enumerate() {
        for orders in (0..500).collect::<Vec<_>>().chunks(50) {
            tenant.publish_wait(orders.iter().map(|order| send(kind, *order)).collect()).unwrap();
        }
        let wanted = 500 * (2 * at as u64 + 2);
        until(kind, || tenant.position() >= wanted);
    }
    let filter = InstanceFilter { states: vec![InstanceState::Completed], ..InstanceFilter::default() };
    assert_eq!(tenant.instances(&filter, None, 1_000).unwrap().instances.len(), 500);
    engine.close().unwrap();
}
