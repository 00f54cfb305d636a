//! Acts on many instances: counted before, done once to each that they fit, and gone on with after a crash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use quipu_domain::delivery::RateLimit;
use quipu_domain::saga::{Outcome, Wanted, What, Which, Written};
use quipu_domain::{Direction, Event, Filter};
use quipu_engine::{
    CodeInput, Engine, InstanceFilter, InstanceState, Intervention, ItemOutcome, NotDone, OperationInfo,
    OperationRefusal, OperationState, PlanName, SagaCode, SagaDeclaration, SagaRefusal, Tenant,
};

use crate::sagas::{ORDER, Shop, saga};
use crate::support::*;

/// It asks a person as long as the condition cannot be evaluated, which is for ever.
const ASKS: &str = r#"{"saga": "asks", "starts_on": "order.placed",
    "steps": [{"which": {"if": ".start.data.never | length | error", "then": [{"rest": {"sleep": "1s"}}]}}]}"#;

fn all() -> InstanceFilter {
    InstanceFilter::default()
}

fn orders(shop: &mut Shop, count: u64) {
    (1..=count).for_each(|order| shop.publish("order.placed", &format!("o{order}"), "{}"));
}

/// Lets operations work, and writes down how far they are.
fn work(shop: &Shop, ms: i64) {
    shop.clock.0.fetch_add(ms * 1_000, std::sync::atomic::Ordering::Relaxed);
    shop.tenant.deliver().unwrap();
    shop.tenant.checkpoint_deliveries().unwrap();
    shop.run();
}

fn begin(shop: &Shop, act: Intervention, rate: Option<RateLimit>) -> OperationInfo {
    let (info, _) = shop.tenant.preview_intervention(act, "a test", &all(), rate).unwrap();
    shop.tenant.confirm_operation(info.id).unwrap()
}

fn acts(shop: &Shop, number: u64, what: What) -> Vec<u64> {
    let (timeline, _) = shop.tenant.timeline(number).unwrap();
    timeline.iter().filter(|entry| entry.note.what == what).map(|entry| entry.note.position).collect()
}

#[test]
fn an_act_is_done_once_to_each_instance_that_it_fitted_when_it_was_previewed() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    orders(&mut shop, 4);
    shop.tenant.intervene(4, &Intervention::Cancel, "alone").unwrap();
    shop.run();
    let of_it = InstanceFilter { name: Some(PlanName::saga("order_fulfilment")), ..all() };
    let preview = shop.tenant.preview_intervention(Intervention::Cancel, "recalled", &of_it, None);
    let (info, sample) = preview.unwrap();
    assert_eq!((info.state, info.total), (OperationState::Previewed, 3), "what has ended cannot be cancelled");
    assert_eq!(sample.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3]);
    work(&shop, 100);
    assert_eq!(shop.state(1), InstanceState::Running, "a preview does nothing");
    shop.tenant.intervene(2, &Intervention::Cancel, "somebody was faster").unwrap();
    orders(&mut shop, 5);
    shop.tenant.confirm_operation(info.id).unwrap();
    work(&shop, 100);
    let done = shop.tenant.operation(info.id).unwrap();
    assert_eq!((done.state, done.done, done.refused), (OperationState::Finished, 3, 1));
    let outcomes = shop.tenant.operation_items(info.id, 0, 9).unwrap();
    assert_eq!(outcomes.iter().map(|item| item.id).collect::<Vec<_>>(), [1, 2, 3]);
    let ItemOutcome::Refused { reason: Some(reason) } = &outcomes[1].outcome else { panic!("{outcomes:?}") };
    assert!(reason.contains("has ended"), "{reason}");
    assert_eq!(
        [1, 3, 5].map(|number| shop.state(number)),
        [InstanceState::Cancelled, InstanceState::Cancelled, InstanceState::Running]
    );
    assert_eq!(acts(&shop, 1, What::Cancelled), [info.id], "the timeline says which operation did it");
    assert_eq!(shop.sent().iter().filter(|kind| *kind == "inventory.release").count(), 4);
}

#[test]
fn what_a_crash_keeps_from_being_noted_is_not_done_twice() {
    let mut shop = Shop::new(&[saga(ASKS)]);
    orders(&mut shop, 7);
    assert_eq!(shop.state(7), InstanceState::NeedsPerson);
    let info = begin(&shop, Intervention::Retry { from: None }, None);
    // It does them, and nothing of that is noted.
    shop.tenant.deliver().unwrap();
    assert_eq!(acts(&shop, 7, What::Retried), [info.id]);
    shop.crash();
    let again = shop.tenant.operation(info.id).unwrap();
    assert_eq!((again.state, again.done), (OperationState::Running, 0));
    work(&shop, 100);
    let done = shop.tenant.operation(info.id).unwrap();
    assert_eq!((done.state, done.done, done.refused), (OperationState::Finished, 7, 0));
    (1..=7).for_each(|number| assert_eq!(acts(&shop, number, What::Retried), [info.id], "{number}"));
    // Another operation does it once more.
    let other = begin(&shop, Intervention::Retry { from: None }, None);
    work(&shop, 100);
    assert_eq!(acts(&shop, 3, What::Retried), [info.id, other.id]);
}

#[test]
fn an_act_on_many_goes_at_its_rate_and_leaves_the_rest_alone_when_it_is_cancelled() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    orders(&mut shop, 6);
    let info = begin(&shop, Intervention::Pause, Some(RateLimit { per_second: 10.0, burst: 1 }));
    work(&shop, 100);
    work(&shop, 100);
    assert_eq!(shop.tenant.operation(info.id).unwrap().done, 2);
    shop.crash();
    work(&shop, 100);
    assert_eq!(shop.tenant.cancel_operation(info.id).unwrap().done, 3);
    work(&shop, 1_000);
    let states: Vec<bool> = (1..=6).map(|number| shop.state(number) == InstanceState::Paused).collect();
    assert_eq!(states, [true, true, true, false, false, false]);
}

#[test]
fn who_names_nothing_means_sagas_that_no_other_began() {
    let around = r#"{"saga": "around", "starts_on": "order.placed", "steps": [
        {"inner": {"saga": "within", "timeout": "1h"}}]}"#;
    let within = r#"{"saga": "within", "starts_on": "stock.wanted", "steps": [{"rest": {"wait": "stock.there"}}]}"#;
    let expected = r#"{"expect": "a_payment", "after": "order.placed", "then": "payment.charged", "within": "1h"}"#;
    let expected = SagaDeclaration::Expectation(serde_json::from_str(expected).unwrap());
    let mut shop = Shop::new(&[saga(within), saga(around), expected]);
    orders(&mut shop, 1);
    shop.publish("stock.wanted", "alone", "{}");
    let selected = |filter: InstanceFilter| {
        let preview = shop.tenant.preview_intervention(Intervention::Cancel, "", &filter, None);
        let mut found = preview.unwrap().1.iter().map(|one| one.name.name.clone()).collect::<Vec<_>>();
        found.sort();
        found
    };
    assert_eq!(shop.tenant.instances(&all(), None, 10).unwrap().total, 4);
    assert_eq!(selected(all()), ["around", "within"], "the one that nobody began");
    assert_eq!(selected(InstanceFilter { search: Some("o1".into()), ..all() }), ["around"]);
    assert_eq!(selected(InstanceFilter { name: Some(PlanName::saga("within")), ..all() }), ["within", "within"]);
    assert_eq!(selected(InstanceFilter { name: Some(PlanName::expectation("a_payment")), ..all() }), ["a_payment"]);
    assert_eq!(selected(InstanceFilter { key: Some("o1".into()), ..all() }), ["a_payment", "around"]);
    let child = shop.tenant.instances(&all(), None, 10).unwrap().instances.into_iter().find(|one| one.parent.is_some());
    assert_eq!(selected(InstanceFilter { key: Some(child.unwrap().key), ..all() }), ["within"]);
}

#[test]
fn an_act_on_many_that_makes_no_sense_is_refused() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    orders(&mut shop, 1);
    let preview = |act, reason: &str| shop.tenant.preview_intervention(act, reason, &all(), None).unwrap_err();
    let refused = preview(Intervention::Resume, "");
    assert!(matches!(refused, NotDone::RefusedOperation(OperationRefusal::NoInstance { act: "resume" })), "{refused}");
    let refused = preview(Intervention::Skip, " ");
    assert!(matches!(refused, NotDone::RefusedSaga(SagaRefusal::InvalidReason { .. })), "{refused}");
    let refused = preview(Intervention::Retry { from: Some("nowhere".into()) }, "");
    assert!(matches!(refused, NotDone::RefusedOperation(OperationRefusal::NoInstance { .. })), "{refused}");
    let rate = Some(RateLimit { per_second: -1.0, burst: 1 });
    let refused = shop.tenant.preview_intervention(Intervention::Cancel, "", &all(), rate).unwrap_err();
    assert!(matches!(refused, NotDone::RefusedOperation(OperationRefusal::InvalidRate { .. })), "{refused}");
}

/// Pauses all instances, and lets each miss the event that it waits for, behind many others.
fn fall_behind(shop: &mut Shop, count: u64, others: u64) {
    orders(shop, count);
    for number in 1..=count {
        shop.tenant.intervene(number, &Intervention::Pause, "a test").unwrap();
    }
    let others: Vec<_> = (0..others).map(|i| event_of("page.seen", &format!("p{i}"), "s", "{}")).collect();
    others.chunks(1_000).for_each(|some| publish_all(&shop.tenant, some));
    shop.run();
    (1..=count).for_each(|order| shop.publish("inventory.reserved", &format!("o{order}"), "{}"));
}

#[test]
fn what_many_missed_is_read_once_for_all_of_them() {
    let reads = |count| {
        let (mut shop, log) = Shop::on_blind_log(&[saga(ORDER)]);
        fall_behind(&mut shop, count, 4_000);
        begin(&shop, Intervention::Resume, None);
        let before = log.reads.load(Ordering::Relaxed);
        work(&shop, 100);
        let reads = log.reads.load(Ordering::Relaxed) - before;
        assert_eq!(shop.sent().iter().filter(|kind| *kind == "payment.charge").count() as u64, count);
        reads
    };
    let (one, many) = (reads(1), reads(40));
    // Each reads the events that its next command is made of.
    assert!(many <= one + 40 * 4, "{one} reads for one, {many} for 40");
}

#[test]
fn what_many_missed_is_told_once_whatever_a_crash_keeps_from_being_noted() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    fall_behind(&mut shop, 7, 50);
    let info = begin(&shop, Intervention::Resume, None);
    shop.tenant.deliver().unwrap();
    assert_eq!(shop.state(7), InstanceState::Running);
    shop.crash();
    assert_eq!(shop.tenant.operation(info.id).unwrap().done, 0);
    work(&shop, 100);
    let done = shop.tenant.operation(info.id).unwrap();
    assert_eq!((done.state, done.done, done.refused), (OperationState::Finished, 7, 0));
    (1..=7).for_each(|number| assert_eq!(acts(&shop, number, What::Resumed), [info.id], "{number}"));
    assert_eq!(shop.sent().iter().filter(|kind| *kind == "payment.charge").count(), 7);
}

#[test]
fn what_a_saga_within_missed_is_told_before_it_is_undone_with_the_others() {
    let around = r#"{"saga": "around", "starts_on": "order.placed", "steps": [
        {"inner": {"saga": "within", "timeout": "1h"}}]}"#;
    let within = r#"{"saga": "within", "starts_on": "never.seen", "steps": [
        {"reserve": {"send": "stock.reserve", "await": "stock.reserved", "compensate": "stock.release"}},
        {"pay": {"send": "money.take", "await": "money.taken", "compensate": "money.return"}}]}"#;
    let (mut shop, log) = Shop::on_blind_log(&[saga(within), saga(around)]);
    orders(&mut shop, 20);
    for number in 1..=40 {
        shop.tenant.intervene(number, &Intervention::Pause, "a test").unwrap();
    }
    let others: Vec<_> = (0..4_000).map(|i| event_of("page.seen", &format!("p{i}"), "s", "{}")).collect();
    publish_all(&shop.tenant, &others);
    shop.run();
    let instances = (1..=40).map(|number| shop.tenant.instance(number).unwrap());
    let keys: Vec<String> = instances.filter(|one| one.name.name == "within").map(|one| one.key).collect();
    keys.iter().for_each(|key| shop.publish("stock.reserved", key, "{}"));
    let of_it = InstanceFilter { name: Some(PlanName::saga("around")), ..all() };
    let (info, _) = shop.tenant.preview_intervention(Intervention::Cancel, "a test", &of_it, None).unwrap();
    assert_eq!(info.total, 20);
    shop.tenant.confirm_operation(info.id).unwrap();
    let before = log.reads.load(Ordering::Relaxed);
    work(&shop, 100);
    let reads = log.reads.load(Ordering::Relaxed) - before;
    assert!(reads < 150, "{reads} reads for 20 within others");
    let sent = |kind: &str| shop.sent().iter().filter(|sent| *sent == kind).count();
    assert_eq!((sent("money.take"), sent("stock.release")), (20, 20), "what came is known before it is undone");
}

#[test]
fn others_go_on_while_the_log_is_read_for_one_that_was_paused() {
    let mut shop = Shop::in_memory(&[saga(ORDER)]);
    fall_behind(&mut shop, 1, 12_000);
    shop.publish("order.placed", "o2", "{}");
    // It is not seen yet.
    let answer = Event::builder("a2", "/test", "inventory.reserved").correlation_id("o2").build().unwrap();
    publish(&shop.tenant, &answer);
    shop.tenant.intervene(1, &Intervention::Resume, "").unwrap();
    let page = shop.tenant.read(&Filter::default(), Direction::Backward, None, 2).unwrap();
    let newest: Vec<_> =
        page.events.iter().map(|recorded| recorded.event().correlation_id().map(str::to_owned)).collect();
    assert_eq!(newest, [Some("o1".to_owned()), Some("o2".to_owned())], "the other one was not kept waiting");
}

#[test]
fn an_operation_that_fails_holds_up_no_delivery_and_no_other_operation() {
    let (mut shop, log) = Shop::on_blind_log(&[saga(ORDER)]);
    let once = r#"{"start":"beginning","ackdeadlinems":1000,"retry":{"maxattempts":1}}"#;
    shop.tenant.create_subscription("s", serde_json::from_str(once).unwrap()).unwrap();
    fall_behind(&mut shop, 3, 50);
    assert_eq!(shop.tenant.pull("s", 1).unwrap().len(), 1);
    orders(&mut shop, 4);
    shop.tenant.deliver().unwrap();
    let resumes = begin(&shop, Intervention::Resume, None);
    let newest = InstanceFilter { key: Some("o4".into()), ..all() };
    let (pauses, _) = shop.tenant.preview_intervention(Intervention::Pause, "", &newest, None).unwrap();
    shop.tenant.confirm_operation(pauses.id).unwrap();
    log.is_blind.store(true, Ordering::Relaxed);
    log.is_scan_blind.store(true, Ordering::Relaxed);
    shop.clock.0.fetch_add(1_001_000, Ordering::Relaxed);
    assert!(shop.tenant.deliver().is_err());
    assert_eq!(shop.state(4), InstanceState::Paused, "the other operation did what it could");
    // It rests, and longer each time.
    let failed = (0..1_000).filter(|_| {
        shop.clock.0.fetch_add(10_000, Ordering::Relaxed);
        shop.tenant.deliver().is_err()
    });
    let failed = failed.count();
    assert!((3..10).contains(&failed), "it failed {failed} times in 10 s");
    let problem = shop.tenant.operation(resumes.id).unwrap().problem.unwrap();
    assert!(problem.contains("a test"), "{problem}");
    log.is_blind.store(false, Ordering::Relaxed);
    log.is_scan_blind.store(false, Ordering::Relaxed);
    // Without another look at what is due.
    shop.tenant.checkpoint_deliveries().unwrap();
    assert_eq!(shop.tenant.dead_letter(1).unwrap().0.attempts, 1, "the delivery's deadline was seen to");
    work(&shop, 30_000);
    let done = shop.tenant.operation(resumes.id).unwrap();
    assert_eq!((done.state, done.done, done.refused, done.problem), (OperationState::Finished, 3, 0, None));
    assert_eq!(shop.sent().iter().filter(|kind| *kind == "payment.charge").count(), 3);
}

/// Its answer to a cancellation takes until nobody is there any more who could let it go on.
struct Slow {
    is_asked: AtomicBool,
    goes_on: Mutex<Receiver<()>>,
}

impl SagaCode for Slow {
    fn ask(&self, _: Option<&str>, input: CodeInput<'_>) -> Result<Wanted, String> {
        let ends = matches!(input, CodeInput::Cancel(_)).then_some(Outcome::Cancelled);
        if ends.is_some() {
            self.is_asked.store(true, Ordering::Release);
            let _ = self.goes_on.lock().unwrap().recv();
        }
        Ok(Wanted { state: "{}".into(), sends: vec![], timers: vec![], ends })
    }
}

/// A delivery that is not answered in time, and the number of an operation that cancels one such instance and is at it until what is
/// returned last is dropped.
fn slow_operation(engine: &Engine) -> (Arc<Tenant>, u64, Sender<()>) {
    let tenant = engine.tenant("default").unwrap();
    let once = r#"{"ackdeadlinems":1000,"retry":{"maxattempts":1}}"#;
    tenant.create_subscription("s", serde_json::from_str(once).unwrap()).unwrap();
    let (held, goes_on) = channel();
    let code = Arc::new(Slow { is_asked: AtomicBool::new(false), goes_on: Mutex::new(goes_on) });
    let starts_on = Which::Types(vec!["order.placed".into()]);
    let (hears, key, again) = (None, None, Default::default());
    let written = Written { saga: "slow".into(), version: 1, starts_on, hears, key, again };
    tenant.bring_saga(written, Arc::clone(&code) as _).unwrap();
    publish(&tenant, &event("1", "s"));
    until("it begins", || tenant.instance(1).is_ok());
    assert_eq!(tenant.pull("s", 1).unwrap().len(), 1);
    let (info, _) = tenant.preview_intervention(Intervention::Cancel, "", &all(), None).unwrap();
    tenant.confirm_operation(info.id).unwrap();
    until("the act is at work", || code.is_asked.load(Ordering::Acquire));
    (tenant, info.id, held)
}

#[test]
fn deliveries_and_operations_do_not_wait_for_instances_that_are_acted_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with_time(folder.path(), small());
    let (tenant, operation, held) = slow_operation(&engine);
    until("the deadline of a delivery comes", || tenant.dead_letter(1).is_ok());
    assert_eq!(tenant.operation(operation).unwrap().done, 0);
    drop(held);
    until("it is done", || tenant.operation(operation).unwrap().state == OperationState::Finished);
    assert_eq!(tenant.instance(1).unwrap().state, InstanceState::Cancelled);
    engine.close().unwrap();
}

#[test]
fn deliveries_do_not_wait_for_a_cancellation_and_a_second_one_finds_it_done() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with_time(folder.path(), small());
    let (tenant, operation, held) = slow_operation(&engine);
    let cancel = || {
        let tenant = Arc::clone(&tenant);
        std::thread::spawn(move || tenant.cancel_operation(operation))
    };
    let both = [cancel(), cancel()];
    until("the deadline of a delivery comes", || tenant.dead_letter(1).is_ok());
    tenant.checkpoint_deliveries().unwrap();
    assert!(both.iter().all(|cancel| !cancel.is_finished()), "they wait for what the stage is at");
    assert_eq!(tenant.operation(operation).unwrap().state, OperationState::Running);
    drop(held);
    let [first, second] = both.map(|cancel| cancel.join().unwrap());
    // Its only item is done when it is looked at.
    for refused in [first.unwrap_err(), second.unwrap_err()] {
        let state = OperationState::Finished;
        assert_eq!(refused.to_string(), OperationRefusal::WrongState { id: operation, state }.to_string());
    }
    assert_eq!(tenant.operation(operation).unwrap().done, 1);
    engine.close().unwrap();
}

/// A stop in the midst of it neither waits for ever nor loses or repeats anything.
#[test]
fn an_act_on_many_goes_on_where_a_stop_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut operation = 0;
    for round in 0..6 {
        let engine = engine_with_time(folder.path(), small());
        let tenant = engine.tenant("default").unwrap();
        if round == 0 {
            tenant.apply_saga(saga(ORDER), false, false).unwrap();
            let orders: Vec<_> = (0..1_500).map(|i| event_of("order.placed", &format!("o{i}"), "s", "{}")).collect();
            publish_all(&tenant, &orders);
            until("all begin", || tenant.sagas().unwrap()[0].open == 1_500);
            let (info, _) = tenant.preview_intervention(Intervention::Cancel, "", &all(), None).unwrap();
            assert_eq!(info.total, 1_500);
            tenant.confirm_operation(info.id).unwrap();
            operation = info.id;
        }
        if round == 5 {
            until("it is done", || tenant.operation(operation).unwrap().state != OperationState::Running);
            let done = tenant.operation(operation).unwrap();
            assert_eq!((done.state, done.done, done.refused), (OperationState::Finished, 1_500, 0));
            let filter = InstanceFilter { states: vec![InstanceState::Cancelled], ..all() };
            assert_eq!(tenant.instances(&filter, None, 2_000).unwrap().instances.len(), 1_500);
        } else {
            std::thread::sleep(std::time::Duration::from_millis(15 * round));
        }
        engine.close().unwrap();
    }
}
