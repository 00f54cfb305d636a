//! What rounds do to instances that are behind, seen from within: what is read for them, what is taken back and what has to wait.

use std::sync::Arc;

use quipu_domain::Event;
use quipu_domain::saga::{ActKind, InstanceState, Saga};
use quipu_store::Fault;
use tempfile::TempDir;

use super::{HandedOver, ask};
use crate::mailbox::Slot;
use crate::operations::{ItemOutcome, OperationState};
use crate::options::Options;
use crate::sagas::act::Intervention;
use crate::sagas::catch_up::{Behind, CatchUp};
use crate::sagas::list::InstanceFilter;
use crate::sagas::records::key_hash;
use crate::sagas::stage::{ActAsked, Acted, Asked};
use crate::sagas::{Declaration, PlanName, SAGA_INSTANCES_MAX};
use crate::still;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

const WAITS: &str = r#"{"saga": "waits", "starts_on": "a.b", "steps": [
    {"first": {"wait": "c.d"}}, {"second": {"wait": "e.f"}}]}"#;

fn publish(tenant: &Arc<Tenant>, kind: &str, id: &str, correlation: &str) {
    let event = Event::builder(id, "/test", kind).correlation_id(correlation).build().unwrap();
    tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).unwrap();
}

fn run(tenant: &Arc<Tenant>) {
    for _ in 0..10 {
        tenant.step_sagas();
        tenant.decide();
        tenant.flush();
    }
}

/// A tenant that is driven by the test, with the saga.
fn waiting(options: Options) -> (TempDir, Arc<Tenant>) {
    let folder = tempfile::tempdir().unwrap();
    let tenant = still::tenant(folder.path(), options);
    let saga = Declaration::from(serde_json::from_str::<Saga>(WAITS).unwrap());
    tenant.apply_saga(saga, false, false).unwrap();
    (folder, tenant)
}

/// Instances that are paused, and what they wait for behind so many other events.
fn behind(tenant: &Arc<Tenant>, count: u64, others: u64) {
    (1..=count).for_each(|one| publish(tenant, "a.b", &format!("a{one}"), &one.to_string()));
    run(tenant);
    (1..=count).for_each(|one| {
        tenant.act_on_instance(one, ActKind::Pause { place: 0 }, "", 0).unwrap();
    });
    let other = |one: u64| Event::builder(one.to_string(), "/test", "x.y").build().unwrap();
    let prepared = (0..others).map(|one| tenant.prepare(&other(one), None).unwrap()).collect();
    tenant.publish_wait(prepared).unwrap();
    for one in 1..=count {
        publish(tenant, "c.d", &format!("c{one}"), &one.to_string());
        publish(tenant, "e.f", &format!("e{one}"), &one.to_string());
    }
    run(tenant);
}

fn act(number: u64) -> (ActAsked, Arc<Slot<Acted>>) {
    match ask(number, ActKind::Resume, "", 7) {
        (Asked::Act(act), slot) => (act, slot),
        _ => unreachable!("it is an act"),
    }
}

#[test]
fn acts_that_wait_until_the_log_was_read_are_taken_back_at_once() {
    let (_folder, tenant) = waiting(Options::default());
    behind(&tenant, 3, 6_000);
    let (asked, slots): (Vec<_>, Vec<_>) = (1..=3).map(act).unzip();
    tenant.sagas.asked.lock().extend(asked.into_iter().map(Asked::Act));
    let round = tenant.round().unwrap();
    assert!(round.is_more && round.answers.is_empty() && round.commit.is_empty(), "one round does not read it all");
    assert!(tenant.has_unstepped());
    let answers = slots.into_iter().map(Ok).collect();
    let done = tenant.withdraw_acts(7, HandedOver { answers, has_failed: false });
    assert!(done.is_empty());
    (1..=3).for_each(|one| assert_eq!(tenant.instance(one).unwrap().state, InstanceState::Paused));
    assert!(!tenant.has_unstepped(), "nothing is left of it");
}

#[test]
fn a_stop_does_not_wait_until_the_log_was_read() {
    let (_folder, tenant) = waiting(Options::default());
    behind(&tenant, 1, 12_000);
    let (asked, slot) = act(1);
    tenant.sagas.asked.lock().push(Asked::Act(asked));
    assert!(tenant.round().unwrap().is_more && !slot.is_there());
    // Whoever closes it has answered what was asked, but for what a round is at.
    tenant.mailbox.lock().is_closed = true;
    assert!(!tenant.step_sagas());
    assert!(slot.is_there() && matches!(slot.take(), Err(NotDone::Failed(Fault::Closed))));
    assert!(!tenant.has_round() && !tenant.has_unstepped(), "the log was not read to its end");
}

#[test]
fn what_cannot_be_read_fails_the_acts_that_need_it_and_no_others() {
    let (folder, tenant) = waiting(Options { segment_bytes: 64 << 10, ..Options::default() });
    behind(&tenant, 1, 6_000);
    publish(&tenant, "a.b", "a2", "2");
    run(&tenant);
    tenant.act_on_instance(2, ActKind::Pause { place: 0 }, "", 0).unwrap();
    publish(&tenant, "c.d", "c2", "2");
    publish(&tenant, "a.b", "a3", "3");
    run(&tenant);
    damage_but_for_the_last(&folder.path().join("t/log"));
    let (asked, slots): (Vec<_>, Vec<_>) = [1, 2].map(act).into_iter().unzip();
    let (pause, paused) = ask(3, ActKind::Pause { place: 0 }, "", 0);
    tenant.sagas.asked.lock().extend(asked.into_iter().map(Asked::Act).chain([pause]));
    run(&tenant);
    assert!(matches!(slots[0].take(), Err(NotDone::Failed(_))), "its part of the log is damaged");
    assert!(matches!(slots[1].take(), Ok(InstanceState::Running)));
    assert!(matches!(paused.take(), Ok(InstanceState::Paused)));
    assert_eq!(tenant.instance(1).unwrap().state, InstanceState::Paused);
    let soon = tenant.world.clock.now().plus_ms(10_000);
    assert!(tenant.next_of_sagas().is_none_or(|next| next > soon), "no round failed");
}

#[test]
fn what_an_operation_did_behind_what_failed_is_known_when_it_is_cancelled() {
    let (folder, tenant) = waiting(Options::default());
    behind(&tenant, 3, 10);
    let (filter, act) = (InstanceFilter::default(), Intervention::Resume);
    let (info, _) = tenant.preview_intervention(act, "", &filter, None).unwrap();
    tenant.confirm_operation(info.id).unwrap();
    // As after a fault of the first one, or a crash before anything was noted.
    tenant.act_on_instance(2, ActKind::Resume, "", info.id).unwrap();
    let cancelled = tenant.cancel_operation(info.id).unwrap();
    assert_eq!((cancelled.done, cancelled.refused, cancelled.state), (2, 1, OperationState::Cancelled));
    let outcomes = |tenant: &Arc<Tenant>| {
        let items = tenant.operation_items(info.id, 0, 10).unwrap();
        items.into_iter().map(|item| item.outcome).collect::<Vec<_>>()
    };
    let reason = Some(format!("operation {} is cancelled", info.id));
    let expected = [ItemOutcome::Refused { reason }, ItemOutcome::Done, ItemOutcome::Waiting];
    assert_eq!(outcomes(&tenant), expected);
    tenant.close().unwrap();
    drop(tenant);
    assert_eq!(outcomes(&still::tenant(folder.path(), Options::default())), expected, "after a restart, too");
}

/// Changes a byte now and then of every segment that is full.
fn damage_but_for_the_last(log: &std::path::Path) {
    let files = std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
    segments.sort();
    segments.pop();
    assert!(!segments.is_empty());
    for path in segments {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().skip(10_000).step_by(1_000).for_each(|byte| *byte ^= 4);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    }
}

#[test]
fn what_is_left_is_read_from_where_it_was_paused() {
    let behind = |number, place| Behind { number, plan: 1, key_hash: u128::from(number), place };
    let waits = || [(1, 900), (2, 10)].map(|(number, place)| (act(number).0, vec![behind(number, place)]));
    let mut catch_up = CatchUp::of(waits().into());
    assert_eq!(catch_up.backlog.to, 10);
    catch_up.backlog.to = 500;
    catch_up.backlog.count = 5;
    assert!(!catch_up.make_room(4), "nothing was missed by the other");
    assert_eq!((catch_up.backlog.to, catch_up.later.len()), (900, 1));
    let (unread, others) = catch_up.split_unread();
    assert_eq!((unread.len(), others.len()), (1, 1), "whom it concerns is told that it cannot be read");
    let mut catch_up = CatchUp::of(waits().into());
    catch_up.backlog.to = 5;
    let (unread, others) = catch_up.split_unread();
    assert_eq!((unread.len(), others.len()), (2, 0), "and nobody asks for ever");
}

#[test]
fn a_start_for_which_there_is_no_room_waits_and_keeps_no_thread() {
    let (_folder, tenant) = waiting(Options::default());
    tenant.decider.lock().sagas.open = SAGA_INSTANCES_MAX;
    publish(&tenant, "a.b", "a1", "1");
    assert!(!tenant.step_sagas() && !tenant.has_round());
    assert!(!tenant.has_unstepped() && tenant.next_of_sagas().is_some(), "it looks again after a while");
    let stuck = tenant.sagas().unwrap()[0].stuck.clone().unwrap();
    assert!(stuck.contains("1000000 instances are open: the event at position 1 "), "{stuck}");
    tenant.decider.lock().sagas.open = 0;
    run(&tenant);
    assert_eq!(tenant.sagas().unwrap()[0].stuck, None);
    assert_eq!(tenant.instance(1).unwrap().state, InstanceState::Running);
}

#[test]
fn acts_for_which_there_is_no_room_come_later_and_in_their_order() {
    let (_folder, tenant) = waiting(Options::default());
    behind(&tenant, 5, 10);
    let (asked, slots): (Vec<_>, Vec<_>) = (1..=5).map(act).unzip();
    let plan = *tenant.sagas.plans.read().all.keys().next().unwrap();
    let waits = asked.into_iter().map(|act| {
        let (number, key_hash) = (act.number, key_hash(&PlanName::saga("waits"), &act.number.to_string()));
        (act, vec![Behind { number, plan, key_hash, place: 5 }])
    });
    let mut catch_up = CatchUp::of(waits.collect());
    let plans = Arc::clone(&tenant.sagas.plans.read());
    assert!(tenant.read_missed(&plans, &mut catch_up, tenant.position()).unwrap());
    assert!(catch_up.is_of(7) && !catch_up.is_of(8));
    assert!(catch_up.make_room(10) && catch_up.later.is_empty(), "each missed two events");
    assert!(catch_up.make_room(5));
    assert_eq!(catch_up.acts.iter().map(|(act, _)| act.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(catch_up.later.iter().map(|act| act.number).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(!catch_up.make_room(1), "a single one keeps all that it missed");
    assert_eq!((catch_up.acts.len(), catch_up.later.len()), (1, 4));
    catch_up.acts.iter_mut().for_each(|(act, _)| act.operation = 8);
    assert!(catch_up.is_of(7), "what it asks next comes after those that are left for later");
    tenant.sagas.catching_up.lock().push_back(catch_up);
    tenant.step_sagas();
    tenant.decide();
    tenant.flush();
    assert_eq!(slots.iter().map(|slot| slot.is_there()).collect::<Vec<_>>(), [true, false, false, false, false]);
    run(&tenant);
    assert!(slots.iter().all(|slot| matches!(slot.take(), Ok(InstanceState::Completed))));
}
