//! Dead letters: none is lost by a crash between two commits, and a subscription has only so many open ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::StartAt;
use quipu_domain::delivery::{Failure, Reason};
use quipu_engine::{
    Answer, DeadLetterFilter, DeadLetterState, Handed, NotDone, OperationState, Options, Selection, Standstill,
    SubscriptionRefusal, Tenant, Work,
};
use tempfile::TempDir;

use crate::support::*;

fn fail(tenant: &Tenant, name: &str, limit: usize) -> Vec<u64> {
    let handed: Vec<Handed> = tenant.pull(name, limit).unwrap();
    let nack = || Answer::Nack { failure: Failure::new("no"), delay_ms: None };
    tenant.answer(name, handed.iter().map(|one| (one.id, one.token, nack())).collect()).unwrap();
    handed.iter().map(|one| one.id.position).collect()
}

fn positions(tenant: &Tenant, name: &str) -> Vec<(u64, u64)> {
    tenant.pull(name, 100).unwrap().iter().map(|one| (one.id.position, one.id.dead_letter)).collect()
}

fn subscribe(tenant: &Arc<Tenant>, name: &str, definition: &str) {
    assert!(tenant.create_subscription(name, serde_json::from_str(definition).unwrap()).unwrap());
}

fn all(tenant: &Tenant) -> Vec<Arc<quipu_engine::DeadLetterLine>> {
    tenant.dead_letters(&DeadLetterFilter { with_decided: true, ..DeadLetterFilter::default() }, 0, 1_000)
}

/// Subscription `parked` with a key that is parked by dead letter 1, and `other` with a delivery that was given up and
/// cannot become a dead letter, since the log cannot be read: its progress is not written, that of others is.
fn blinded(folder: &TempDir, clock: &Arc<Hands>) -> (Arc<BlindLog>, Arc<Tenant>) {
    let log = BlindLog::open(folder.path());
    let tenant = Arc::clone(&log).tenant(folder.path(), Arc::clone(clock));
    subscribe(&tenant, "parked", r#"{"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    subscribe(&tenant, "other", r#"{"retry":{"maxattempts":1}}"#);
    publish_all(&tenant, &[event("1", "order/1"), event("2", "order/1")]);
    assert_eq!(fail(&tenant, "parked", 1), [1]);
    tenant.checkpoint_deliveries().unwrap();
    assert_eq!(fail(&tenant, "other", 1), [1]);
    log.is_blind.store(true, Ordering::Relaxed);
    (log, tenant)
}

fn begin(tenant: &Arc<Tenant>, work: Work) -> u64 {
    let (info, _) = tenant.preview_operation(work, &Selection::Ids(vec![1]), None).unwrap();
    tenant.confirm_operation(info.id).unwrap();
    // It works first; what is routed after that cannot be read.
    _ = tenant.deliver();
    assert!(tenant.checkpoint_deliveries().is_err());
    info.id
}

#[test]
fn a_key_goes_on_after_a_redrive_elsewhere_and_not_before_that_is_durable() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let (_, tenant) = blinded(&folder, &clock);
    let operation = begin(&tenant, Work::Redrive { to: Some("other".into()) });
    drop(tenant);
    let tenant = BlindLog::open(folder.path()).tenant(folder.path(), clock);
    assert_eq!(tenant.dead_letter(1).unwrap().1.state, DeadLetterState::Open);
    assert_eq!(positions(&tenant, "parked"), [], "what nobody has decided about holds its key");
    tenant.deliver().unwrap();
    tenant.checkpoint_deliveries().unwrap();
    let info = tenant.operation(operation).unwrap();
    assert_eq!((info.state, info.done, info.refused), (OperationState::Finished, 1, 0));
    assert_eq!(positions(&tenant, "parked"), [(2, 0)]);
    assert!(positions(&tenant, "other").contains(&(1, 1)));
}

#[test]
fn a_key_goes_on_if_a_crash_comes_right_after_its_redrive_elsewhere() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let (log, tenant) = blinded(&folder, &clock);
    log.is_blind.store(false, Ordering::Relaxed);
    tenant.redrive(1, Some("other")).unwrap();
    drop((log, tenant));
    let tenant = BlindLog::open(folder.path()).tenant(folder.path(), clock);
    assert_eq!(positions(&tenant, "parked"), [(2, 0)]);
    assert!(positions(&tenant, "other").contains(&(1, 1)));
}

#[test]
fn what_an_operation_decided_before_a_crash_is_done_and_not_refused() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::default());
    let (_, tenant) = blinded(&folder, &clock);
    let operation = begin(&tenant, Work::Discard { reason: "a test".into() });
    drop(tenant);
    let tenant = BlindLog::open(folder.path()).tenant(folder.path(), clock);
    assert!(matches!(tenant.dead_letter(1).unwrap().1.state, DeadLetterState::Discarded { .. }));
    let info = tenant.operation(operation).unwrap();
    assert_eq!((info.state, info.done), (OperationState::Running, 0), "it was not noted");
    tenant.deliver().unwrap();
    tenant.checkpoint_deliveries().unwrap();
    let info = tenant.operation(operation).unwrap();
    assert_eq!((info.state, info.done, info.refused), (OperationState::Finished, 1, 0));
}

/// A subscription without an order that gives up at once, and may have three open dead letters.
fn limited(clock: &Arc<Hands>) -> (TempDir, Arc<Tenant>) {
    let folder = TempDir::new().unwrap();
    let options = Options { dead_letters_max: 3, ..small() };
    let tenant = open_at(folder.path(), options, Arc::clone(clock)).unwrap();
    subscribe(&tenant, "s", r#"{"retry":{"maxattempts":1},"ordering":"none"}"#);
    let events: Vec<_> = (1..=10).map(|i| event(&i.to_string(), "s")).collect();
    publish_all(&tenant, &events);
    (folder, tenant)
}

#[test]
fn a_subscription_with_too_many_dead_letters_is_held_back_until_somebody_decides_and_loses_nothing() {
    let clock = Arc::default();
    let (_folder, tenant) = limited(&clock);
    assert_eq!(fail(&tenant, "s", 3), [1, 2, 3]);
    tenant.checkpoint_deliveries().unwrap();
    assert_eq!(fail(&tenant, "s", 3), [0; 0]);
    let explained = tenant.explain_subscription("s").unwrap();
    assert_eq!(explained.standstill, Standstill::TooManyDeadLetters { open: 3, limit: 3 });
    assert!(explained.standstill.to_string().contains("redrive or discard"));
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let _guard = tenant.on_available("s", move || _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    tenant.deliver().unwrap();
    assert_eq!(woken.load(Ordering::Relaxed), 0, "there is nothing to be had");
    tenant.discard(1, "a test").unwrap();
    assert!(woken.load(Ordering::Relaxed) > 0);
    let mut seen = Vec::new();
    while seen.len() < 7 {
        seen.extend(fail(&tenant, "s", 1));
        tenant.checkpoint_deliveries().unwrap();
        let open = tenant.dead_letters(&DeadLetterFilter::default(), 0, 1);
        tenant.discard(open[0].id, "a test").unwrap();
    }
    assert_eq!(seen, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(tenant.subscription("s").unwrap().dead_letters, 2);
}

/// Dead letters are the name's: they are listed, redriven and kept by it. Otherwise whoever deletes a subscription and makes
/// it again fills memory with them.
#[test]
fn one_that_is_made_again_is_held_back_by_the_dead_letters_left_under_its_name() {
    let (_folder, tenant) = limited(&Arc::default());
    assert_eq!(fail(&tenant, "s", 3), [1, 2, 3]);
    tenant.delete_subscription("s").unwrap();
    subscribe(&tenant, "s", r#"{"start":"beginning","retry":{"maxattempts":1},"ordering":"none"}"#);
    assert_eq!(fail(&tenant, "s", 3), [0; 0]);
    let explained = tenant.explain_subscription("s").unwrap();
    assert_eq!(explained.standstill, Standstill::TooManyDeadLetters { open: 3, limit: 3 });
    assert_eq!(tenant.subscription("s").unwrap().dead_letters, 3);
    let first = all(&tenant)[0].id;
    tenant.redrive(first, None).unwrap();
    let handed = tenant.pull("s", 2).unwrap();
    assert!(handed.iter().any(|one| one.id.dead_letter == first), "it is the one that they are redriven to");
}

#[test]
fn of_dead_letters_that_were_decided_about_the_newest_are_kept() {
    let clock: Arc<Hands> = Arc::default();
    let (_folder, tenant) = limited(&clock);
    for i in 1..=10 {
        assert_eq!(fail(&tenant, "s", 1), [i]);
        tenant.checkpoint_deliveries().unwrap();
        if i <= 8 {
            tenant.discard(i, "a test").unwrap();
        }
    }
    clock.0.fetch_add(60_000_000, Ordering::Relaxed);
    tenant.checkpoint_deliveries().unwrap();
    assert_eq!(all(&tenant).iter().map(|line| line.id).collect::<Vec<_>>(), [6, 7, 8, 9, 10]);
    assert_eq!(tenant.subscription("s").unwrap().dead_letters, 2);
}

/// Makes a change, in the middle of whose first write a delivery is given up: it has a dead letter all the same.
fn given_up_during(change: impl FnOnce(&Arc<Tenant>)) {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::<Hands>::default());
    let log = BlindLog::open(folder.path());
    let tenant = Arc::clone(&log).tenant(folder.path(), Arc::clone(&clock));
    subscribe(&tenant, "s", r#"{"start":"beginning","deadletter":{"key":"park"}}"#);
    publish_all(&tenant, &[event("1", "order/1"), event("2", "order/1")]);
    let handed = tenant.pull("s", 1).unwrap().remove(0);
    tenant.checkpoint_deliveries().unwrap();
    let (consumer, id) = (Arc::clone(&tenant), (handed.id, handed.token));
    *log.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let (failure, reason) = (Failure::new("no"), Reason::GivenUpByConsumer);
        let answers = vec![(id.0, id.1, Answer::GiveUp { failure, reason })];
        consumer.answer("s", answers).unwrap().remove(0).unwrap();
    }));
    change(&tenant);
    assert!(log.meanwhile.lock().unwrap().is_none(), "nothing was written");
    tenant.checkpoint_deliveries().unwrap();
    let letters = all(&tenant);
    assert_eq!(letters.iter().map(|letter| letter.position).collect::<Vec<_>>(), [1]);
    assert!(!letters[0].parks_key, "its key waits for nothing any more");
}

#[test]
fn what_is_given_up_while_a_seek_is_written_has_its_dead_letter() {
    given_up_during(|tenant| {
        tenant.seek_subscription("s", &StartAt::Now).unwrap();
        assert!(positions(tenant, "s").is_empty());
    });
    given_up_during(|tenant| {
        tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
        assert_eq!(positions(tenant, "s"), [(1, 0), (2, 0)], "from the start once more");
    });
}

#[test]
fn a_deletion_that_cannot_read_what_was_given_up_meanwhile_is_not_made_and_can_be_repeated() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::<Hands>::default());
    let log = BlindLog::open(folder.path());
    let tenant = Arc::clone(&log).tenant(folder.path(), clock);
    subscribe(&tenant, "s", r#"{"start":"beginning","ordering":"none"}"#);
    publish_all(&tenant, &[event("1", "order/1"), event("2", "order/2")]);
    let handed = tenant.pull("s", 2).unwrap();
    let give_up = |one: &Handed| {
        let (failure, reason) = (Failure::new("no"), Reason::GivenUpByConsumer);
        vec![(one.id, one.token, Answer::GiveUp { failure, reason })]
    };
    tenant.answer("s", give_up(&handed[0])).unwrap();
    let (blind, consumer, second) = (Arc::clone(&log), Arc::clone(&tenant), give_up(&handed[1]));
    // While the dead letter of the first is written.
    *log.meanwhile.lock().unwrap() = Some(Box::new(move || {
        consumer.answer("s", second).unwrap().remove(0).unwrap();
        blind.is_blind.store(true, Ordering::Relaxed);
    }));
    assert!(matches!(tenant.delete_subscription("s"), Err(NotDone::Failed(_))));
    log.is_blind.store(false, Ordering::Relaxed);
    assert_eq!(tenant.subscription("s").unwrap().summary.ready, 0);
    tenant.delete_subscription("s").unwrap();
    let letters = all(&tenant);
    assert_eq!(letters.iter().map(|letter| letter.position).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_answer_that_comes_while_a_deletion_is_written_is_refused() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::<Hands>::default());
    let log = BlindLog::open(folder.path());
    let tenant = Arc::clone(&log).tenant(folder.path(), clock);
    subscribe(&tenant, "s", r#"{"start":"beginning"}"#);
    publish(&tenant, &event("1", "order/1"));
    let handed = tenant.pull("s", 1).unwrap().remove(0);
    tenant.checkpoint_deliveries().unwrap();
    let consumer = Arc::clone(&tenant);
    let (sender, answered) = std::sync::mpsc::channel();
    *log.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let outcome = consumer.answer("s", vec![(handed.id, handed.token, Answer::Ack)]);
        sender.send(matches!(outcome, Err(NotDone::Refused(SubscriptionRefusal::NotFound { .. })))).unwrap();
        assert!(consumer.pull("s", 10).unwrap().is_empty());
    }));
    tenant.delete_subscription("s").unwrap();
    assert!(answered.recv().unwrap());
    assert!(all(&tenant).is_empty());
}
