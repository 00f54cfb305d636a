//! Subscriptions deliver each matching event, in order per key, across restarts, and say why they do not move.

mod definitions;
mod delivery;
mod effects;
mod giving_up;
mod seeks;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu_domain::delivery::{Failure, NotInFlight, Reason};
use quipu_domain::{Event, StartAt, Subscription, Timestamp, Value};
use quipu_engine::{
    Answer, DeadLetterFilter, DeadLetterState, Handed, NotDone, Options, Standstill, SubscriptionRefusal, Tenant,
};
use quipu_store::DiskStorage;
use tempfile::TempDir;

use crate::support::*;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    tenant: Option<Arc<Tenant>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { folder: TempDir::new().unwrap(), clock: Arc::default(), tenant: None };
        world.open();
        world
    }

    fn open(&mut self) {
        self.tenant = Some(open_at(self.folder.path(), small(), Arc::clone(&self.clock)).unwrap());
    }

    fn tenant(&self) -> &Arc<Tenant> {
        self.tenant.as_ref().unwrap()
    }

    /// As a crash would leave it: nothing is written down that is not yet.
    fn crash(&mut self) {
        self.tenant = None;
        self.open();
    }

    fn wait_ms(&self, ms: i64) {
        self.clock.0.fetch_add(ms * 1_000, Ordering::Relaxed);
        self.tenant().deliver().unwrap();
    }

    fn subscribe(&self, name: &str, definition: &str) {
        assert!(self.tenant().create_subscription(name, definition_of(definition)).unwrap());
    }

    fn publish(&self, kind: &str, id: &str, subject: &str) -> u64 {
        match publish(self.tenant(), &event_of(kind, id, subject, "{\"n\":1}")) {
            quipu_engine::Published::Recorded(place) => place.position,
            other => panic!("{other:?}"),
        }
    }

    fn pull(&self, name: &str) -> Vec<Handed> {
        self.tenant().pull(name, 100).unwrap()
    }

    fn positions(&self, name: &str) -> Vec<u64> {
        positions(&self.pull(name))
    }

    fn answer(&self, name: &str, handed: &Handed, answer: Answer) -> Result<(), SubscriptionRefusal> {
        self.tenant().answer(name, vec![(handed.id, handed.token, answer)]).unwrap().remove(0)
    }

    fn ack(&self, name: &str, handed: &[Handed]) {
        handed.iter().for_each(|one| self.answer(name, one, Answer::Ack).unwrap());
    }

    fn nack(&self, name: &str, handed: &Handed, error: &str) {
        self.answer(name, handed, Answer::Nack { failure: Failure::new(error), delay_ms: None }).unwrap();
    }

    fn standstill(&self, name: &str) -> Standstill {
        self.tenant().explain_subscription(name).unwrap().standstill
    }

    fn dead_letters(&self) -> Vec<u64> {
        self.tenant().dead_letters(&DeadLetterFilter::default(), 0, 100).iter().map(|line| line.id).collect()
    }
}

fn definition_of(text: &str) -> Subscription {
    serde_json::from_str(text).unwrap()
}

fn positions(handed: &[Handed]) -> Vec<u64> {
    handed.iter().map(|handed| handed.id.position).collect()
}

const FROM_BEGINNING: &str = r#"{"start":"beginning"}"#;
<<<<<<< HEAD
=======

#[test]
fn events_that_match_are_delivered_in_order_and_others_are_not() {
    let world = World::new();
    world.publish("order.placed", "1", "a");
    world.subscribe("all", FROM_BEGINNING);
    world.subscribe("orders", r#"{"start":"beginning","pattern":{"type":[{"prefix":"order."}]}}"#);
    world.subscribe("now", "{}");
    world.publish("payment.charged", "2", "b");
    world.publish("order.placed", "3", "c");
    assert_eq!(world.positions("all"), [1, 2, 3]);
    assert_eq!(world.positions("orders"), [1, 3]);
    assert_eq!(world.positions("now"), [2, 3]);
    assert!(world.pull("all").is_empty(), "what is in flight is not handed out twice");
}

#[test]
fn one_that_is_fed_by_the_router_and_one_that_reads_the_log_get_the_same() {
    let world = World::new();
    world.subscribe("fed", FROM_BEGINNING);
    world.subscribe("behind", r#"{"start":"beginning","maxinflight":10}"#);
    assert!(world.pull("fed").is_empty());
    // The queue of the one that is fed overflows once, and it reads the log until it is fed again.
    for batch in 0..20 {
        let events: Vec<_> = (0..100).map(|i| event(&format!("{batch}-{i}"), &format!("s{}", i % 50))).collect();
        publish_all(world.tenant(), &events);
        if batch >= 15 {
            world.ack("fed", &world.pull("fed"));
        }
    }
    for name in ["fed", "behind"] {
        while let handed = world.pull(name)
            && !handed.is_empty()
        {
            world.ack(name, &handed);
        }
        let info = world.tenant().subscription(name).unwrap();
        assert_eq!((info.counts.acknowledged, info.scan, info.summary.ready), (2_000, 2_000, 0), "{name}");
    }
}

#[test]
fn later_events_of_a_key_wait_for_a_retry_and_other_keys_go_on() {
    let world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":3,"backoff":{"delaysms":[1000]}}}"#);
    world.publish("t.a", "1", "x");
    let handed = world.pull("s");
    world.publish("t.a", "2", "x");
    world.publish("t.a", "3", "y");
    world.nack("s", &handed[0], "not now");
    let others = world.pull("s");
    assert_eq!(positions(&others), [3]);
    world.ack("s", &others);
    assert!(
        matches!(world.standstill("s"), Standstill::WaitingForRetry { position: 1, .. }),
        "{:?}",
        world.standstill("s")
    );
    world.wait_ms(999);
    assert!(world.pull("s").is_empty());
    world.wait_ms(1);
    let again = world.pull("s");
    assert_eq!((positions(&again), again[0].attempt), (vec![1], 2));
    let refused = world.answer("s", &handed[0], Answer::Ack).unwrap_err();
    assert!(matches!(refused, SubscriptionRefusal::NotInFlight { position: 1, why: NotInFlight::Late }));
    world.ack("s", &again);
    assert_eq!(world.positions("s"), [2]);
}

#[test]
fn a_delivery_that_is_given_up_becomes_a_dead_letter_with_its_whole_history() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":2,"backoff":{"delaysms":[0]}}}"#);
    world.publish("t.a", "1", "x");
    for error in ["HTTP 500 after 17 ms", "HTTP 500 after 23 ms"] {
        let handed = world.pull("s");
        world.nack("s", &handed[0], error);
        world.wait_ms(1);
    }
    world.tenant().checkpoint_deliveries().unwrap();
    for restarted in [false, true] {
        if restarted {
            world.crash();
        }
        let (letter, line) = world.tenant().dead_letter(1).unwrap();
        assert_eq!((letter.position, letter.kind.as_str(), letter.subject.as_deref()), (1, "t.a", Some("x")));
        assert_eq!((letter.reason, letter.attempts), (Reason::AttemptsExhausted, 2));
        let errors: Vec<_> = letter.history.iter().map(|attempt| attempt.failure.error.as_str()).collect();
        assert_eq!(errors, ["HTTP 500 after 17 ms", "HTTP 500 after 23 ms"]);
        assert_eq!((line.fingerprint.as_str(), &line.state), ("HTTP # after # ms", &DeadLetterState::Open));
        assert!(world.pull("s").is_empty());
    }
    let groups = world.tenant().dead_letter_groups(&DeadLetterFilter::default());
    assert_eq!((groups.len(), groups[0].count, groups[0].oldest.0), (1, 1, 1));
}

#[test]
fn what_was_acknowledged_and_written_down_is_not_delivered_again_after_a_crash() {
    let mut world = World::new();
    world.subscribe("s", FROM_BEGINNING);
    for i in 1..=10 {
        world.publish("t.a", &i.to_string(), &format!("k{i}"));
    }
    let handed = world.pull("s");
    world.ack("s", &handed[..4]);
    world.tenant().checkpoint_deliveries().unwrap();
    world.ack("s", &handed[4..6]);
    world.crash();
    let again = world.pull("s");
    assert_eq!(positions(&again), [5, 6, 7, 8, 9, 10], "only what came after the last checkpoint is repeated");
    assert_eq!(again[2].attempt, 2, "an attempt that was written down counts");
    let late = world.answer("s", &handed[6], Answer::Ack).unwrap_err();
    assert!(matches!(late, SubscriptionRefusal::NotInFlight { why: NotInFlight::Late, .. }));
}

#[test]
fn a_parked_key_waits_for_a_decision_and_pins_nobody() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    for (id, key) in [("1", "bad"), ("2", "bad"), ("3", "good")] {
        world.publish("t.a", id, key);
    }
    let handed = world.pull("s");
    assert_eq!(positions(&handed), [1, 2, 3]);
    world.nack("s", &handed[0], "never");
    world.ack("s", &handed[2..]);
    world.tenant().checkpoint_deliveries().unwrap();
    world.crash();
    for i in 4..=200 {
        world.publish("t.a", &i.to_string(), "good");
        if i % 50 == 0 {
            let handed = world.pull("s");
            world.ack("s", &handed);
        }
    }
    while let handed = world.pull("s")
        && !handed.is_empty()
    {
        assert!(handed.iter().all(|handed| handed.recorded.event().subject() == Some("good")));
        world.ack("s", &handed);
    }
    assert_eq!(world.standstill("s"), Standstill::KeyParked { position: 1, dead_letter: 1 });
    world.tenant().redrive(1, None).unwrap();
    for position in [1, 2] {
        let handed = world.pull("s");
        assert_eq!(positions(&handed), [position], "a parked key goes on in its order");
        world.ack("s", &handed);
    }
    assert!(world.pull("s").is_empty());
}

#[test]
fn a_dead_letter_is_redriven_once_edited_or_discarded() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1}}"#);
    world.subscribe("other", r#"{"pattern":{"type":["none"]}}"#);
    for i in 1..=4 {
        world.publish("t.a", &i.to_string(), "x");
        let handed = world.pull("s");
        world.nack("s", &handed[0], "no");
    }
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.dead_letters(), [1, 2, 3, 4]);
    world.tenant().redrive(1, None).unwrap();
    let handed = world.pull("s");
    assert_eq!((handed[0].id.position, handed[0].id.dead_letter), (1, 1), "it says that it is redriven");
    world.nack("s", &handed[0], "still no");
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.tenant().dead_letter(5).unwrap().0.redriven_from, Some(1), "one that fails again says so");
    world.tenant().redrive(2, Some("other")).unwrap();
    assert_eq!(world.positions("other"), [2]);
    let edited = serde_json::value::RawValue::from_string(r#"{"fixed":true}"#.into()).unwrap();
    let copy = world.tenant().redrive_edited(3, edited).unwrap();
    world.crash();
    let handed = world.pull("s");
    assert_eq!(handed[0].edited.as_ref().map(|event| event.get()), Some(r#"{"fixed":true}"#));
    assert_eq!((handed[0].id.position, handed[0].id.dead_letter), (3, copy));
    world.ack("s", &handed);
    world.tenant().discard(4, "a test").unwrap();
    for decided in [1, 2, 3, 4] {
        let again = world.tenant().discard(decided, "again");
        assert!(matches!(again, Err(NotDone::Refused(SubscriptionRefusal::DeadLetterDecided { .. }))), "{decided}");
    }
    world.crash();
    assert_eq!(world.dead_letters(), [5]);
    assert!(matches!(world.tenant().dead_letter(4).unwrap().1.state, DeadLetterState::Discarded { .. }));
}

#[test]
fn dead_letters_are_kept_as_long_as_the_policy_says() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1},"deadletter":{"retentionms":60000}}"#);
    world.publish("t.a", "1", "x");
    let handed = world.pull("s");
    world.nack("s", &handed[0], "no");
    world.tenant().checkpoint_deliveries().unwrap();
    world.wait_ms(59_000);
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.dead_letters(), [1]);
    world.wait_ms(11_000);
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.dead_letters(), Vec::<u64>::new());
    world.crash();
    assert_eq!(world.dead_letters(), Vec::<u64>::new());
}

#[test]
fn an_event_past_its_time_is_not_delivered_and_is_counted() {
    let world = World::new();
    world.subscribe("s", "{}");
    let event = Event::builder("1", "/test", "t.a").attribute("expirytime", Value::Text("1970-01-01T00:00:10Z".into()));
    publish(world.tenant(), &event.build().unwrap());
    world.publish("t.a", "2", "x");
    world.wait_ms(10_000);
    assert_eq!(world.positions("s"), [2]);
    let info = world.tenant().subscription("s").unwrap();
    assert_eq!((info.counts.expired, info.counts.handed_out), (1, 1));
}

#[test]
fn a_rate_limit_and_the_most_in_flight_hold() {
    let world = World::new();
    world.subscribe("slow", r#"{"start":"beginning","ratelimit":{"persecond":10,"burst":2}}"#);
    world.subscribe("few", r#"{"start":"beginning","maxinflight":3,"ordering":"none"}"#);
    for i in 0..10 {
        world.publish("t.a", &i.to_string(), &i.to_string());
    }
    assert_eq!(world.positions("slow").len(), 2);
    assert!(matches!(world.standstill("slow"), Standstill::RateLimited { .. }));
    world.wait_ms(100);
    assert_eq!(world.positions("slow").len(), 1);
    let handed = world.pull("few");
    assert_eq!(handed.len(), 3);
    assert!(matches!(world.standstill("few"), Standstill::WaitingForAcks { count: 3, .. }));
    world.answer("few", &handed[1], Answer::Ack).unwrap();
    assert_eq!(world.positions("few"), [4]);
}

#[test]
fn a_deadline_that_is_over_is_a_failed_attempt_and_an_extension_moves_it() {
    let world = World::new();
    world.subscribe("s", r#"{"ackdeadlinems":1000,"retry":{"maxattempts":2,"backoff":{"delaysms":[0]}}}"#);
    world.publish("t.a", "1", "x");
    let first = world.pull("s");
    world.wait_ms(900);
    world.answer("s", &first[0], Answer::Extend { ms: 1_000 }).unwrap();
    world.wait_ms(900);
    assert!(world.pull("s").is_empty());
    world.wait_ms(200);
    world.wait_ms(1);
    let second = world.pull("s");
    assert_eq!(second[0].attempt, 2);
    world.wait_ms(1_001);
    world.tenant().checkpoint_deliveries().unwrap();
    let (letter, _) = world.tenant().dead_letter(1).unwrap();
    assert!(letter.history.iter().all(|attempt| attempt.failure.error.starts_with("no acknowledgement within")));
}

#[test]
fn a_seek_says_what_comes_again_before_it_does_it() {
    let mut world = World::new();
    world.subscribe("s", r#"{"start":"beginning","pattern":{"type":["t.a"]}}"#);
    for i in 0..10 {
        world.publish(if i % 2 == 0 { "t.a" } else { "t.b" }, &i.to_string(), "x");
    }
    let handed = world.pull("s");
    assert_eq!(positions(&handed), [1, 3, 5, 7, 9]);
    world.ack("s", &handed[..3]);
    let preview = world.tenant().preview_seek("s", &StartAt::Position(5)).unwrap();
    assert_eq!((preview.again, preview.skipped, preview.forgotten), (3, 0, 0));
    world.tenant().seek_subscription("s", &StartAt::Position(5)).unwrap();
    world.crash();
    assert_eq!(world.positions("s"), [5, 7, 9]);
    let refused = world.tenant().seek_subscription("s", &StartAt::Position(99));
    assert!(matches!(refused, Err(NotDone::Refused(SubscriptionRefusal::Invalid(_)))));
}

#[test]
fn definitions_survive_and_the_same_again_changes_nothing() {
    let mut world = World::new();
    world.subscribe("s", r#"{"maxinflight":7}"#);
    world.subscribe("gone", "{}");
    world.tenant().delete_subscription("gone").unwrap();
    world.tenant().pause_subscription("s", true).unwrap();
    world.publish("t.a", "1", "x");
    world.crash();
    assert!(world.pull("s").is_empty());
    assert_eq!(world.standstill("s"), Standstill::Paused);
    world.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(world.positions("s"), [1]);
    let create = |definition: &str| world.tenant().create_subscription("s", definition_of(definition));
    assert!(!create(r#"{"maxinflight":7}"#).unwrap());
    assert!(matches!(create("{}"), Err(NotDone::Refused(SubscriptionRefusal::Exists { .. }))));
    assert!(matches!(world.tenant().pull("gone", 1), Err(NotDone::Refused(SubscriptionRefusal::NotFound { .. }))));
    let bad = world.tenant().create_subscription("b", definition_of(r#"{"pattern":{"type":"x"}}"#));
    assert!(matches!(bad, Err(NotDone::Refused(SubscriptionRefusal::InvalidPattern(_)))));
}

#[test]
fn threads_wake_whoever_waits_let_retries_become_due_and_write_down_what_was_done() {
    let folder = TempDir::new().unwrap();
    let options = || Options { threads: 2, ..Options::default() };
    let counts = |path: &Path, ack: bool| {
        let engine = engine_with_time(path, options());
        let tenant = engine.tenant("t").unwrap();
        let definition = r#"{"start":"beginning","retry":{"maxattempts":3,"backoff":{"delaysms":[20]}}}"#;
        tenant.create_subscription("s", definition_of(definition)).unwrap();
        let woken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&woken);
        let _guard = tenant.on_available("s", move || _ = counter.fetch_add(1, Ordering::Relaxed)).unwrap();
        let next = || {
            let begin = Instant::now();
            loop {
                let before = woken.load(Ordering::Relaxed);
                let handed = tenant.pull("s", 10).unwrap();
                if !handed.is_empty() {
                    return handed;
                }
                while woken.load(Ordering::Relaxed) == before {
                    assert!(begin.elapsed() < Duration::from_secs(20), "nobody woke the consumer");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        };
        if ack {
            assert!(tenant.pull("s", 10).unwrap().is_empty());
            publish(&tenant, &event("1", "x"));
            let handed = next();
            let nack = Answer::Nack { failure: Failure::new("once more"), delay_ms: None };
            tenant.answer("s", vec![(handed[0].id, handed[0].token, nack)]).unwrap().remove(0).unwrap();
            let again = next();
            assert_eq!(again[0].attempt, 2);
            tenant.answer("s", vec![(again[0].id, again[0].token, Answer::Ack)]).unwrap().remove(0).unwrap();
        }
        let left = tenant.pull("s", 10).unwrap().len();
        engine.close().unwrap();
        left
    };
    assert_eq!(counts(folder.path(), true), 0);
    assert_eq!(counts(folder.path(), false), 0, "closing writes down what was acknowledged");
}

#[test]
fn a_thousand_subscriptions_share_a_tenant() {
    let world = World::new();
    for i in 0..1_000 {
        world.subscribe(&format!("s{i}"), &format!(r#"{{"pattern":{{"type":["t.k{i}"]}}}}"#));
        assert!(world.pull(&format!("s{i}")).is_empty());
    }
    for i in (0..1_000).step_by(10) {
        world.publish(&format!("t.k{i}"), &i.to_string(), "x");
    }
    for i in 0..1_000 {
        assert_eq!(world.positions(&format!("s{i}")).len(), usize::from(i % 10 == 0), "s{i}");
    }
}

#[test]
fn what_is_given_back_without_a_try_is_no_attempt_and_goes_out_again_in_order() {
    let world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1}}"#);
    for id in ["1", "2", "3"] {
        world.publish("t.a", id, "x");
    }
    for _ in 0..5 {
        let handed = world.pull("s");
        assert_eq!(positions(&handed), [1, 2, 3]);
        assert!(handed.iter().all(|handed| handed.attempt == 1));
        world.answer("s", &handed[0], Answer::Release).unwrap();
        let late = world.answer("s", &handed[1], Answer::Ack).unwrap_err();
        assert!(matches!(late, SubscriptionRefusal::NotInFlight { position: 2, why: NotInFlight::Late }));
    }
    // One from the middle of a run goes back alone with what is behind it.
    let handed = world.pull("s");
    world.answer("s", &handed[1], Answer::Release).unwrap();
    world.answer("s", &handed[0], Answer::Ack).unwrap();
    assert_eq!(world.positions("s"), [2, 3]);
    assert!(world.dead_letters().is_empty());
}

#[test]
fn a_pause_keeps_its_reason_until_it_ends_even_after_a_restart() {
    let mut world = World::new();
    world.subscribe("s", "{}");
    let reason = |world: &World| world.tenant().subscription("s").unwrap().definition.paused_reason.clone();
    world.tenant().pause_subscription_because("s", "it is gone").unwrap();
    world.tenant().pause_subscription("s", true).unwrap();
    world.crash();
    assert_eq!(reason(&world).as_deref(), Some("it is gone"));
    assert_eq!(world.standstill("s"), Standstill::Paused);
    world.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(reason(&world), None);
    world.tenant().pause_subscription("s", true).unwrap();
    world.tenant().pause_subscription_because("s", "it is gone").unwrap();
    assert_eq!(reason(&world), None, "somebody paused it before");
}

#[test]
fn whoever_follows_definitions_is_told_of_each_change_and_secrets_are_not_kept() {
    let world = World::new();
    let (sender, told) = std::sync::mpsc::channel();
    let guard = world.tenant().on_definition(move |name| sender.send(name.to_owned()).unwrap());
    world.subscribe("a", r#"{"push":{"url":"https://a.example","secret":"whsec_hunter2"}}"#);
    assert!(world.tenant().subscription("a").unwrap().definition.push.as_ref().unwrap().secret.is_none());
    world.tenant().update_subscription("a", definition_of("{}")).unwrap();
    world.tenant().pause_subscription("a", true).unwrap();
    world.tenant().delete_subscription("a").unwrap();
    drop(guard);
    world.subscribe("b", "{}");
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["a", "a", "a", "a"]);
}

#[test]
fn private_files_outlive_a_restart_and_are_in_no_backup() {
    let mut world = World::new();
    world.tenant().write_private("keys", b"hunter2").unwrap();
    world.crash();
    assert_eq!(world.tenant().read_private("keys").unwrap().unwrap(), b"hunter2");
    world.publish("t.a", "1", "x");
    let copy = TempDir::new().unwrap();
    let (from, to) = (DiskStorage::new(world.folder.path()), DiskStorage::new(copy.path()));
    quipu_store::backup(&from, "t", &to, &mut |_, _| {}).unwrap();
    world.tenant = None;
    let restored = open_at(copy.path(), small(), Arc::clone(&world.clock)).unwrap();
    assert_eq!((restored.position(), restored.read_private("keys").unwrap()), (1, None));
}

#[test]
fn outcomes_are_events_for_those_who_ask_for_them_and_have_an_end() {
    let mut world = World::new();
    world.subscribe("loud", r#"{"reportsoutcomes":true,"retry":{"maxattempts":2,"backoff":{"delaysms":[0]}}}"#);
    world.subscribe("quiet", "{}");
    world.subscribe("watch", r#"{"pattern":{"type":[{"prefix":"quipu.delivery."}]}}"#);
    world.publish("t.a", "1", "x");
    world.publish("t.a", "2", "y");
    world.ack("quiet", &world.pull("quiet"));
    let handed = world.pull("loud");
    world.ack("loud", &handed[1..]);
    world.nack("loud", &handed[0], "no");
    world.wait_ms(1);
    let again = world.pull("loud");
    world.nack("loud", &again[0], "no");
    world.tenant().checkpoint_deliveries().unwrap();
    world.crash();
    let told = world.pull("watch");
    let texts: Vec<String> = told
        .iter()
        .map(|one| {
            let event = one.recorded.event();
            let quipu_domain::Data::Json(data) = event.data() else { panic!("no data") };
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!((data["subscription"].as_str(), data["event"]["type"].as_str()), (Some("loud"), Some("t.a")));
            let word = event.kind().trim_start_matches("quipu.delivery.");
            format!("{word} {} {} {}", data["position"], data["attempt"], data["error"])
        })
        .collect();
    assert_eq!(texts, ["acknowledged 2 1 null", "failed 1 1 \"no\"", "failed 1 2 \"no\"", "deadlettered 1 2 \"no\""]);
    // What it is told of itself is delivered like any event, and not told of again.
    let handed = world.pull("loud");
    assert_eq!(handed.len(), 4);
    world.ack("loud", &handed);
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.tenant().position(), 6);
}

#[test]
fn a_seek_back_beside_a_consumer_skips_nothing() {
    let folder = TempDir::new().unwrap();
    let engine = engine_with_time(folder.path(), Options::default());
    let tenant = engine.tenant("t").unwrap();
    tenant.create_subscription("s", definition_of(r#"{"start":"beginning","ordering":"none"}"#)).unwrap();
    let events: Vec<_> = (0..50).map(|i| event(&i.to_string(), "x")).collect();
    publish_all(&tenant, &events);
    let (seen, is_done) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_done.load(Ordering::Relaxed) == 0 {
                let handed = tenant.pull("s", 100).unwrap();
                handed.iter().for_each(|one| _ = seen.fetch_or(1 << one.id.position, Ordering::Relaxed));
                let answers = handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect();
                tenant.answer("s", answers).unwrap();
            }
        });
        for round in 0..200 {
            seen.store(0, Ordering::Relaxed);
            tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
            let begin = Instant::now();
            // Bits 1 to 50.
            while seen.load(Ordering::Relaxed) & 1 == 0 && seen.load(Ordering::Relaxed) != (1 << 51) - 2 {
                assert!(begin.elapsed() < Duration::from_secs(20), "round {round}: {:b}", seen.load(Ordering::Relaxed));
                std::thread::yield_now();
            }
        }
        is_done.store(1, Ordering::Relaxed);
    });
}

#[test]
fn a_definition_that_changes_while_events_come_applies_to_what_comes_after() {
    let world = World::new();
    world.subscribe("s", r#"{"pattern":{"type":["t.old"]}}"#);
    assert!(world.pull("s").is_empty());
    world.publish("t.old", "1", "x");
    world.tenant().update_subscription("s", definition_of(r#"{"pattern":{"type":["t.new"]}}"#)).unwrap();
    world.publish("t.old", "2", "x");
    world.publish("t.new", "3", "y");
    assert_eq!(world.positions("s"), [3]);
    world.tenant().pause_subscription("s", true).unwrap();
    world.publish("t.new", "4", "z");
    assert!(world.pull("s").is_empty());
}

#[test]
fn whoever_waits_for_a_rate_limit_is_woken_when_something_may_go_and_not_before() {
    let world = World::new();
    world.subscribe("s", r#"{"ordering":"none","ratelimit":{"persecond":1,"burst":1}}"#);
    (0..3).for_each(|i| _ = world.publish("t", &i.to_string(), "a"));
    assert_eq!(world.pull("s").len(), 1);
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let _guard = world.tenant().on_available("s", move || _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    (0..9).for_each(|_| world.wait_ms(100));
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    world.wait_ms(100);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(world.pull("s").len(), 1);
}

#[test]
fn the_key_of_an_effect_is_that_of_one_log_and_stays_so() {
    let folder = TempDir::new().unwrap();
    let keys = |engine: &quipu_engine::Engine| {
        ["a", "b"].map(|name| {
            let tenant = engine.tenant(name).unwrap();
            _ = tenant.create_subscription("s", definition_of(FROM_BEGINNING)).unwrap();
            publish(&tenant, &event("1", "order/1"));
            tenant.pull("s", 1).unwrap()[0].idempotency_key("s")
        })
    };
    let one = engine(folder.path(), small());
    let [a, b] = keys(&one);
    one.close().unwrap();
    assert_ne!(a, b, "tenants have the same positions and names");
    assert!(a.starts_with("s/") && a.ends_with("/1"), "{a}");
    assert_eq!(keys(&engine(folder.path(), small())), [a, b]);
}

#[test]
fn a_start_in_the_future_is_refused() {
    let world = World::new();
    world.publish("a", "1", "s");
    world.subscribe("now", "{}");
    let time = |ms: i64| StartAt::Time(Timestamp(world.clock.0.load(Ordering::Relaxed)).plus_ms(ms).to_string());
    let create =
        |name: &str, start| world.tenant().create_subscription(name, Subscription { start, ..Subscription::default() });
    let is_refused = |refused: &NotDone| {
        let NotDone::Refused(SubscriptionRefusal::Invalid(invalid)) = refused else { return false };
        invalid.pointer == "/start/time"
    };
    assert!(is_refused(&create("s", time(1)).unwrap_err()));
    assert!(create("s", time(0)).unwrap());
    assert!(is_refused(&world.tenant().preview_seek("s", &time(1)).unwrap_err()));
    assert!(is_refused(&world.tenant().seek_subscription("s", &time(1)).unwrap_err()));
    // The same definition again is no mistake, and events may bear times that a clock which went back has not reached.
    let recorded = time(0);
    world.clock.0.fetch_sub(5_000_000, Ordering::Relaxed);
    assert!(!create("s", recorded.clone()).unwrap());
    assert_eq!(world.tenant().preview_seek("now", &recorded).unwrap().again, 1);
}

#[test]
fn a_consumer_that_asks_for_eternity_gets_the_longest_there_is() {
    let world = World::new();
    world.subscribe("s", "{}");
    world.publish("a", "1", "x");
    let handed = world.pull("s").remove(0);
    world.answer("s", &handed, Answer::Extend { ms: u64::MAX }).unwrap();
    world.wait_ms(60 * 60 * 1_000 - 1);
    let nack = Answer::Nack { failure: Failure::new("later"), delay_ms: Some(u64::MAX) };
    world.answer("s", &handed, nack).unwrap();
    world.wait_ms(7 * 24 * 60 * 60 * 1_000 - 1);
    assert_eq!(world.positions("s"), [0u64; 0]);
    world.wait_ms(1);
    assert_eq!(world.positions("s"), [1]);
}
>>>>>>> 8b9e4a3 (Count exactly what a seek would mean)
