//! Acts on many instances: counted before, done once to each that they fit, and gone on with after a crash.

use quipu_domain::delivery::RateLimit;
use quipu_domain::saga::What;
use quipu_engine::{
    InstanceFilter, InstanceState, Intervention, ItemOutcome, NotDone, OperationInfo, OperationRefusal, OperationState,
    PlanName, SagaRefusal,
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
            let mut waited = 0;
            while tenant.sagas().unwrap()[0].open < 1_500 {
                std::thread::sleep(std::time::Duration::from_millis(10));
                waited += 1;
                assert!(waited < 6_000, "{:?}", tenant.sagas());
            }
            let (info, _) = tenant.preview_intervention(Intervention::Cancel, "", &all(), None).unwrap();
            assert_eq!(info.total, 1_500);
            tenant.confirm_operation(info.id).unwrap();
            operation = info.id;
        }
        if round == 5 {
            let mut waited = 0;
            while tenant.operation(operation).unwrap().state == OperationState::Running {
                std::thread::sleep(std::time::Duration::from_millis(10));
                waited += 1;
                assert!(waited < 6_000, "{:?}", tenant.operation(operation));
            }
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
