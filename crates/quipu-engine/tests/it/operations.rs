//! Operations: previewed exactly, begun when confirmed, tracked item by item, and gone on with after a restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::delivery::{Failure, RateLimit};
use quipu_engine::{
    Answer, DeadLetterFilter, DeadLetterState, NotDone, OperationRefusal, OperationState, Selection, Tenant, Work,
};
use tempfile::TempDir;

use crate::support::*;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    tenant: Option<Arc<Tenant>>,
}

impl World {
    /// With as many dead letters, half of them of another type.
    fn with_dead_letters(count: u64) -> Self {
        let mut world = Self { folder: TempDir::new().unwrap(), clock: Arc::default(), tenant: None };
        world.reopen();
        let definition = serde_json::from_str(r#"{"retry":{"maxattempts":1}}"#).unwrap();
        world.tenant().create_subscription("s", definition).unwrap();
        let kinds = ["t.even", "t.odd"];
        let events: Vec<_> =
            (1..=count).map(|i| event_of(kinds[(i % 2) as usize], &i.to_string(), &i.to_string(), "{}")).collect();
        publish_all(world.tenant(), &events);
        let handed = world.tenant().pull("s", count as usize).unwrap();
        let nack = || Answer::Nack { failure: Failure::new("no"), delay_ms: None };
        let answers = handed.iter().map(|one| (one.id, one.token, nack())).collect();
        world.tenant().answer("s", answers).unwrap();
        world.tenant().checkpoint_deliveries().unwrap();
        world
    }

    fn reopen(&mut self) {
        self.tenant = None;
        self.tenant = Some(open_at(self.folder.path(), small(), Arc::clone(&self.clock)).unwrap());
    }

    fn tenant(&self) -> &Arc<Tenant> {
        self.tenant.as_ref().unwrap()
    }

    fn tick(&self, ms: i64) {
        self.clock.0.fetch_add(ms * 1_000, Ordering::Relaxed);
        self.tenant().deliver().unwrap();
        self.tenant().checkpoint_deliveries().unwrap();
    }

    fn redriven(&self) -> Vec<u64> {
        let handed = self.tenant().pull("s", 100).unwrap();
        handed.iter().map(|one| one.id.dead_letter).collect()
    }
}

fn redrive() -> Work {
    Work::Redrive { to: None }
}

fn matching(kind: &str) -> Selection {
    Selection::Matching(DeadLetterFilter { kind: Some(kind.into()), ..DeadLetterFilter::default() })
}

#[test]
fn what_was_previewed_is_done_when_it_is_confirmed_and_nothing_before() {
    let world = World::with_dead_letters(10);
    let (info, sample) = world.tenant().preview_operation(redrive(), &matching("t.even"), None).unwrap();
    assert_eq!((info.total, info.state, sample.len()), (5, OperationState::Previewed, 5));
    world.tick(100);
    assert!(world.redriven().is_empty(), "a preview does nothing");
    world.tenant().discard(sample[0].id, "somebody was faster").unwrap();
    world.tenant().confirm_operation(info.id).unwrap();
    world.tick(100);
    let done = world.tenant().operation(info.id).unwrap();
    assert_eq!((done.state, done.done, done.refused), (OperationState::Finished, 5, 1));
    assert_eq!(world.redriven(), sample[1..].iter().map(|line| line.id).collect::<Vec<_>>());
    let items = world.tenant().operation_items(info.id, 0, 2).unwrap();
    assert!(matches!(&items[0].outcome, Some(Err(reason)) if reason.contains("before")), "{items:?}");
    assert_eq!(items[1].outcome, Some(Ok(())));
}

#[test]
fn a_rate_holds_and_a_restart_goes_on_where_it_was() {
    let mut world = World::with_dead_letters(10);
    let rate = Some(RateLimit { per_second: 10.0, burst: 1 });
    let all = Selection::Matching(DeadLetterFilter::default());
    let (info, _) = world.tenant().preview_operation(redrive(), &all, rate).unwrap();
    assert_eq!(info.remaining_ms, Some(1_000));
    world.tenant().confirm_operation(info.id).unwrap();
    for _ in 0..4 {
        world.tick(100);
    }
    assert_eq!(world.tenant().operation(info.id).unwrap().done, 4);
    world.reopen();
    let again = world.tenant().operation(info.id).unwrap();
    assert_eq!((again.state, again.done, again.total), (OperationState::Running, 4, 10));
    for _ in 0..10 {
        world.tick(100);
    }
    assert_eq!(world.tenant().operation(info.id).unwrap().state, OperationState::Finished);
    assert_eq!(world.redriven().len(), 10, "each once");
    world.reopen();
    assert_eq!(world.tenant().operation(info.id).unwrap().state, OperationState::Finished);
}

#[test]
fn one_that_is_cancelled_leaves_the_rest_alone() {
    let mut world = World::with_dead_letters(6);
    let rate = Some(RateLimit { per_second: 10.0, burst: 1 });
    let ids = Selection::Ids(vec![1, 2, 3, 3, 99]);
    let work = Work::Discard { reason: "a test".into() };
    let (info, _) = world.tenant().preview_operation(work, &ids, rate).unwrap();
    assert_eq!(info.total, 3);
    world.tenant().confirm_operation(info.id).unwrap();
    world.tick(100);
    assert_eq!(world.tenant().cancel_operation(info.id).unwrap().state, OperationState::Cancelled);
    for _ in 0..5 {
        world.tick(100);
    }
    for restarted in [false, true] {
        if restarted {
            world.reopen();
        }
        let states: Vec<bool> = (1..=3)
            .map(|id| matches!(world.tenant().dead_letter(id).unwrap().1.state, DeadLetterState::Discarded { .. }))
            .collect();
        assert_eq!(states, [true, false, false]);
        let info = world.tenant().operation(info.id).unwrap();
        assert_eq!((info.state, info.done), (OperationState::Cancelled, 1));
    }
    let again = world.tenant().cancel_operation(info.id);
    assert!(matches!(again, Err(NotDone::RefusedOperation(OperationRefusal::WrongState { .. }))));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = World::with_dead_letters(2);
    let preview =
        |work, selection: &Selection, rate| world.tenant().preview_operation(work, selection, rate).unwrap_err();
    assert_eq!(preview(redrive(), &matching("none"), None), OperationRefusal::Nothing);
    let elsewhere = Work::Redrive { to: Some("nowhere".into()) };
    let refused = preview(elsewhere, &matching("t.even"), None);
    assert_eq!(refused, OperationRefusal::SubscriptionNotFound { name: "nowhere".into() });
    let rate = Some(RateLimit { per_second: 0.0, burst: 1 });
    assert!(matches!(preview(redrive(), &matching("t.even"), rate), OperationRefusal::InvalidRate { .. }));
    assert_eq!(world.tenant().operation(7).unwrap_err(), OperationRefusal::NotFound { id: 7 });
    let (info, _) = world.tenant().preview_operation(redrive(), &matching("t.even"), None).unwrap();
    world.tick(16 * 60 * 1_000);
    let late = world.tenant().confirm_operation(info.id);
    assert!(matches!(late, Err(NotDone::RefusedOperation(OperationRefusal::NotFound { .. }))));
}
