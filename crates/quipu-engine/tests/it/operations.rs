//! Operations: previewed exactly, begun when confirmed, tracked item by item, and gone on with after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu_domain::delivery::{Failure, RateLimit};
use quipu_engine::{
    Answer, DeadLetterFilter, DeadLetterState, ItemOutcome, NotDone, OPERATIONS_MAX, OperationRefusal, OperationState,
    REFUSED_REASONS_MAX, Selection, Tenant, Work,
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
        let definition = serde_json::from_str(r#"{"retry":{"maxattempts":1},"maxinflight":10000}"#).unwrap();
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
    let ItemOutcome::Refused { reason: Some(reason) } = &items[0].outcome else { panic!("{items:?}") };
    assert!(reason.contains("before"), "{reason}");
    assert_eq!(items[1].outcome, ItemOutcome::Done);
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
    let preview = |work, selection: &Selection, rate| match world
        .tenant()
        .preview_operation(work, selection, rate)
        .unwrap_err()
    {
        NotDone::RefusedOperation(refusal) => refusal,
        other => panic!("{other:?}"),
    };
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

#[test]
fn what_became_of_each_item_is_known_however_many_were_refused() {
    let count = REFUSED_REASONS_MAX as u64 + 10;
    let mut world = World::with_dead_letters(count);
    let all = Selection::Matching(DeadLetterFilter::default());
    let work = || Work::Discard { reason: "a test".into() };
    let (late, _) = world.tenant().preview_operation(work(), &all, None).unwrap();
    let some = Selection::Ids((6..=count).collect());
    let (first, _) = world.tenant().preview_operation(work(), &some, None).unwrap();
    for id in [first.id, late.id] {
        world.tenant().confirm_operation(id).unwrap();
        (0..3).for_each(|_| world.tick(100));
    }
    for is_restarted in [false, true] {
        if is_restarted {
            world.reopen();
        }
        let info = world.tenant().operation(late.id).unwrap();
        assert_eq!((info.state, info.done, info.refused), (OperationState::Finished, count, count - 5));
        let items = world.tenant().operation_items(late.id, 0, count as usize).unwrap();
        assert!(items[..5].iter().all(|item| item.outcome == ItemOutcome::Done));
        let reasons = items[5..].iter().map(|item| match &item.outcome {
            ItemOutcome::Refused { reason } => reason.is_some(),
            other => panic!("{other:?} of {}", item.id),
        });
        assert_eq!(reasons.filter(|has_reason| *has_reason).count(), REFUSED_REASONS_MAX);
        let done = world.tenant().operation_items(first.id, 0, count as usize).unwrap();
        assert!(done.iter().all(|item| item.outcome == ItemOutcome::Done));
    }
}

#[test]
fn one_that_is_cancelled_has_done_the_same_after_a_restart() {
    let mut world = World::with_dead_letters(6);
    let rate = Some(RateLimit { per_second: 10.0, burst: 1 });
    let all = Selection::Matching(DeadLetterFilter::default());
    let work = Work::Discard { reason: "a test".into() };
    let (info, _) = world.tenant().preview_operation(work, &all, rate).unwrap();
    world.tenant().confirm_operation(info.id).unwrap();
    world.clock.0.fetch_add(100_000, Ordering::Relaxed);
    world.tenant().deliver().unwrap();
    // While what it has done is written down, its turn comes again.
    let (tenant, clock) = (Arc::downgrade(world.tenant()), Arc::clone(&world.clock));
    let is_first = AtomicBool::new(true);
    let again = world.tenant().on_commit(move |_| {
        if is_first.swap(false, Ordering::Relaxed) {
            clock.0.fetch_add(100_000, Ordering::Relaxed);
            tenant.upgrade().unwrap().deliver().unwrap();
        }
    });
    let cancelled = world.tenant().cancel_operation(info.id).unwrap();
    drop(again);
    world.tick(100);
    world.reopen();
    let discarded =
        |id: u64| matches!(world.tenant().dead_letter(id).unwrap().1.state, DeadLetterState::Discarded { .. });
    assert_eq!((1..=6).filter(|id| discarded(*id)).count() as u64, cancelled.done);
    assert_eq!(world.tenant().operation(info.id).unwrap(), cancelled);
}

#[test]
fn the_number_of_a_preview_is_never_that_of_another() {
    let mut world = World::with_dead_letters(2);
    let mut seen = Vec::new();
    for _ in 0..3 {
        for _ in 0..2 {
            seen.push(world.tenant().preview_operation(redrive(), &matching("t.even"), None).unwrap().0.id);
        }
        world.reopen();
        let forgotten = world.tenant().confirm_operation(seen[0]);
        assert!(matches!(forgotten, Err(NotDone::RefusedOperation(OperationRefusal::NotFound { .. }))));
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

#[test]
fn what_was_decided_before_a_crash_is_done_even_if_its_target_is_deleted_after_it() {
    let mut world = World::with_dead_letters(4);
    world.tenant().create_subscription("other", serde_json::from_str("{}").unwrap()).unwrap();
    let work = Work::Redrive { to: Some("other".into()) };
    let (info, _) = world.tenant().preview_operation(work, &Selection::Ids(vec![1, 2, 3, 4]), None).unwrap();
    world.tenant().confirm_operation(info.id).unwrap();
    // Decisions are durable with the deletion, and how far the operation is was not written down.
    world.tenant().deliver().unwrap();
    world.tenant().delete_subscription("other").unwrap();
    world.reopen();
    assert_eq!(world.tenant().operation(info.id).unwrap().done, 0, "it is not known how far it was");
    world.tick(100);
    let done = world.tenant().operation(info.id).unwrap();
    assert_eq!((done.state, done.done, done.refused), (OperationState::Finished, 4, 0));
}

#[test]
fn what_ended_is_kept_if_the_next_cannot_be_previewed_all_the_same() {
    let world = World::with_dead_letters(2);
    let preview = |kind: &str| world.tenant().preview_operation(redrive(), &matching(kind), None);
    let ended = preview("t.even").unwrap().0.id;
    world.tenant().confirm_operation(ended).unwrap();
    world.tick(100);
    (1..OPERATIONS_MAX).for_each(|_| _ = preview("t.odd").unwrap());
    // There is no place for a next segment, so no number can be reserved.
    std::fs::remove_dir_all(world.folder.path().join("t/log")).unwrap();
    let full =
        |id: u64| world.tenant().publish_wait(vec![prepare(world.tenant(), &event(&format!("f{id}"), "f"))]).is_err();
    assert!((0..10_000).any(full));
    assert!(preview("t.odd").is_err());
    assert_eq!(world.tenant().operation(ended).unwrap().state, OperationState::Finished);
}
