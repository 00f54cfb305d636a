//! Deciding: positions, versions, repeats, conditions, checkpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::limits::CHECKPOINT_SOURCES_MAX;
use quipu_domain::{Checkpoint, Condition, ConditionFailure, Event, Query, QueryItem, Refusal, StreamExpectation};
use quipu_engine::{Append, Appended, NotAppended, Options, Place, Published, Tenant};

use crate::support::*;

fn place(position: u64, version: u64) -> Place {
    Place { position, stream_version: Some(version) }
}

fn refusal(answer: Result<Appended, NotAppended>) -> Refusal {
    match answer {
        Err(NotAppended::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn positions_and_versions_have_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for i in 0..100u64 {
        let stream = format!("s{}", i % 3);
        let answer = publish(&tenant, &event(&i.to_string(), &stream));
        assert_eq!(answer, Published::Recorded(place(i + 1, i / 3 + 1)));
    }
    assert_eq!(tenant.position(), 100);
}

#[test]
fn an_event_without_subject_has_no_version() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let event = Event::builder("1", "/s", "t").build().unwrap();
    let answer = publish(&tenant, &event);
    assert_eq!(answer, Published::Recorded(Place { position: 1, stream_version: None }));
}

#[test]
fn a_repeat_gets_the_first_answer_and_other_content_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut tenant = open(folder.path(), small()).unwrap();
    for i in 0..60 {
        publish(&tenant, &event(&i.to_string(), "s"));
        while tenant.maintain().unwrap() {}
    }
    for reopened in [false, true] {
        if reopened {
            tenant.close().unwrap();
            drop(tenant);
            tenant = open(folder.path(), small()).unwrap();
        }
        for i in [0u64, 19, 20, 41, 59] {
            let same = publish(&tenant, &event(&i.to_string(), "s"));
            assert_eq!(same, Published::Duplicate(place(i + 1, i + 1)));
            let other = publish(&tenant, &event_of("order.placed", &i.to_string(), "s", "{\"n\":2}"));
            assert_eq!(other, Published::Refused(Refusal::IdConflict { index: 0, position: i + 1 }));
        }
    }
    assert_eq!(tenant.position(), 60);
}

#[test]
fn a_repeat_within_one_publish_is_a_duplicate() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let events = ["1", "2", "1", "2", "3"].map(|id| prepare(&tenant, &event(id, "s")));
    let answers = tenant.publish_wait(events.into()).unwrap();
    let expected = [
        Published::Recorded(place(1, 1)),
        Published::Recorded(place(2, 2)),
        Published::Duplicate(place(1, 1)),
        Published::Duplicate(place(2, 2)),
        Published::Recorded(place(3, 3)),
    ];
    assert_eq!(answers, expected);
}

/// A folder and a clock for tenants whose window for repeats is of five events and a second.
struct Narrow {
    folder: tempfile::TempDir,
    clock: Arc<Hands>,
}

impl Default for Narrow {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }
}

impl Narrow {
    fn open(&self) -> Arc<Tenant> {
        let options = Options { dedup_window_events: 5, dedup_window_ms: 1_000, ..small() };
        open_at(self.folder.path(), options, Arc::clone(&self.clock)).unwrap()
    }

    /// With events named 0, 1 …, each published at its microsecond and long written to the index.
    fn filled(&self, count: i64, time_of: impl Fn(i64) -> i64) -> Arc<Tenant> {
        let tenant = self.open();
        for i in 0..count {
            self.clock.0.store(time_of(i), Ordering::Relaxed);
            publish(&tenant, &event(&i.to_string(), "s"));
            while tenant.maintain().unwrap() {}
        }
        tenant
    }
}

#[test]
fn beyond_the_window_a_pair_may_recur_and_the_newest_is_found() {
    let narrow = Narrow::default();
    let tenant = narrow.filled(50, |_| 0);
    assert_eq!(publish(&tenant, &event("0", "s")), Published::Duplicate(place(1, 1)));
    narrow.clock.0.store(2_000_000, Ordering::Relaxed);
    assert_eq!(publish(&tenant, &event("49", "s")), Published::Duplicate(place(50, 50)));
    assert_eq!(publish(&tenant, &event("0", "s")), Published::Recorded(place(51, 51)));
    assert_eq!(tenant.event_by_id("/test", "0").unwrap().unwrap().stamp.position, 51);
}

/// The window bounds what repeats cost, not what can be read.
#[test]
fn an_event_is_found_by_its_id_long_after_it_left_the_window() {
    let narrow = Narrow::default();
    let tenant = narrow.filled(100, |i| i * 1_000_000);
    let find = |tenant: &Tenant, id: &str| tenant.event_by_id("/test", id).unwrap().map(|found| found.stamp.position);
    assert_eq!(["3", "60", "99", "100"].map(|id| find(&tenant, id)), [Some(4), Some(61), Some(100), None]);
    drop(tenant);
    let tenant = narrow.open();
    assert_eq!(["3", "60", "99", "100"].map(|id| find(&tenant, id)), [Some(4), Some(61), Some(100), None]);
}

#[test]
fn the_window_is_the_same_after_a_restart() {
    let narrow = Narrow::default();
    // The first 60 are a second older than the others.
    let tenant = narrow.filled(100, |i| if i < 60 { 0 } else { 1_000_000 });
    drop(tenant);
    // Exactly as old as the window is long, and so still in it.
    let tenant = narrow.open();
    assert_eq!(publish(&tenant, &event("3", "s")), Published::Duplicate(place(4, 4)));
    narrow.clock.0.store(1_000_001, Ordering::Relaxed);
    publish(&tenant, &event("newest", "s"));
    drop(tenant);
    let tenant = narrow.open();
    assert_eq!(publish(&tenant, &event("3", "s")), Published::Recorded(place(102, 102)));
    assert_eq!(publish(&tenant, &event("61", "s")), Published::Duplicate(place(62, 62)));
    // The last runs are of the window by count, whatever their age.
    narrow.clock.0.store(9_000_000, Ordering::Relaxed);
    assert_eq!(publish(&tenant, &event("3", "s")), Published::Duplicate(place(102, 102)));
    assert_eq!(publish(&tenant, &event("61", "s")), Published::Recorded(place(103, 103)));
}

#[test]
fn a_repeated_append_gets_its_first_answer_and_a_part_of_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    publish(&tenant, &event("before", "s"));
    let events = ["1", "2", "3"].map(|id| event(id, "s"));
    let first = tenant.append_wait(append_of(&tenant, &events)).unwrap();
    assert_eq!(first.events, [place(2, 2), place(3, 3), place(4, 4)]);
    publish(&tenant, &event("after", "s"));
    let again = tenant.append_wait(Append {
        // Deduplication comes before conditions: this one fails by now.
        conditions: vec![Condition::Stream { stream: "s".into(), expected: StreamExpectation::Version(1) }],
        ..append_of(&tenant, &events)
    });
    assert_eq!(again.unwrap(), Appended { is_duplicate: true, ..first });
    for part in
        [&events[..1], &events[1..], &[events[0].clone(), event("new", "s")], &[event("new", "s"), events[2].clone()]]
    {
        let answer = refusal(tenant.append_wait(append_of(&tenant, part)));
        assert!(matches!(answer, Refusal::PartlyRepeated { .. }), "{answer:?}");
    }
    let twice = refusal(tenant.append_wait(append_of(&tenant, &[event("x", "s"), event("x", "s")])));
    assert_eq!(twice, Refusal::RepeatedWithin { index: 1 });
    assert_eq!(tenant.position(), 5);
}

#[test]
fn every_failed_condition_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    publish(&tenant, &event("1", "a"));
    let stream = |name: &str, expected| Condition::Stream { stream: name.into(), expected };
    let conditions = vec![
        stream("a", StreamExpectation::Version(2)),
        stream("a", StreamExpectation::Exists),
        stream("b", StreamExpectation::Exists),
        stream("a", StreamExpectation::DoesNotExist),
        stream("c", StreamExpectation::Any),
    ];
    let answer = tenant.append_wait(Append { conditions, ..append_of(&tenant, &[event("2", "a")]) });
    let failure = |index, stream: &str, expected, actual| ConditionFailure::Stream {
        index,
        stream: stream.into(),
        expected,
        actual,
    };
    assert_eq!(
        refusal(answer),
        Refusal::ConditionsFailed(vec![
            failure(0, "a", StreamExpectation::Version(2), 1),
            failure(2, "b", StreamExpectation::Exists, 0),
            failure(3, "a", StreamExpectation::DoesNotExist, 1),
        ])
    );
    assert_eq!(tenant.position(), 1);
}

fn tagged(id: &str, kind: &str, tags: &[&str]) -> Event<'static> {
    let mut builder = Event::builder(id.to_owned(), "/test", kind.to_owned());
    for tag in tags {
        builder = builder.tag(tag.to_string());
    }
    builder.build().unwrap()
}

fn none_after(position: u64, kind: &str, tag: &str) -> Condition {
    let item = QueryItem { types: vec![kind.into()], tags: vec![tag.into()] };
    Condition::NoneAfter { position, query: Query { items: vec![item] } }
}

#[test]
fn a_consistency_boundary_holds_until_a_matching_event_comes() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for i in 0..50 {
        publish(&tenant, &tagged(&format!("noise{i}"), "noise.made", &["course:1"]));
        while tenant.maintain().unwrap() {}
    }
    let subscribe = |id: &str, position| {
        let condition = none_after(position, "student.subscribed", "course:1");
        let event = tagged(id, "student.subscribed.v2", &["student:7", "course:1"]);
        tenant.append_wait(Append { conditions: vec![condition], ..append_of(&tenant, &[event]) })
    };
    assert_eq!(subscribe("a", 0).unwrap().events[0].position, 51);
    for position in [0, 50] {
        let failed = Refusal::ConditionsFailed(vec![ConditionFailure::NoneAfter { index: 0, position, found: 51 }]);
        assert_eq!(refusal(subscribe("b", position)), failed);
    }
    assert_eq!(subscribe("b", 51).unwrap().events[0].position, 52);
    for i in 0..50 {
        publish(&tenant, &tagged(&format!("more{i}"), "noise.made", &["course:1"]));
        while tenant.maintain().unwrap() {}
    }
    assert!(subscribe("c", 51).is_err());
    assert!(subscribe("c", 52).is_ok());
}

/// Whoever read a position that is not there saw another log; what came after it there is not known here.
#[test]
fn a_condition_after_a_position_that_is_not_reached_fails() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    publish(&tenant, &event("1", "s"));
    let append = |position| {
        let conditions = vec![none_after(position, "x", "k:v")];
        tenant.append_wait(Append { conditions, ..append_of(&tenant, &[event("2", "s")]) })
    };
    let failure = ConditionFailure::AfterEnd { index: 0, position: 2, newest: 1 };
    assert_eq!(refusal(append(2)), Refusal::ConditionsFailed(vec![failure]));
    assert!(append(1).is_ok());
}

#[test]
fn checkpoints_of_one_source_too_many_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let append = |source: String, number| {
        let append = Append { checkpoint: Some(Checkpoint { source, number }), ..append_of(&tenant, &[]) };
        let (sender, answer) = std::sync::mpsc::channel();
        tenant.append(append, move |outcome| sender.send(outcome).unwrap());
        answer
    };
    let known: Vec<_> = (0..CHECKPOINT_SOURCES_MAX).map(|i| append(i.to_string(), 1)).collect();
    let (new, again) = (append("new".into(), 1), append("0".into(), 2));
    while tenant.decide() > 0 {}
    tenant.flush();
    assert!(known.iter().all(|answer| answer.recv().unwrap().is_ok()));
    assert_eq!(refusal(new.recv().unwrap()), Refusal::TooManyCheckpoints { limit: CHECKPOINT_SOURCES_MAX });
    assert!(again.recv().unwrap().is_ok());
}

#[test]
fn a_condition_sees_what_the_same_turn_has_decided() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let (sender, answers) = std::sync::mpsc::channel();
    // Both are checked against the empty log before the mailbox; the loop must not let both win.
    for id in ["a", "b"] {
        let sender = sender.clone();
        let event = tagged(id, "x", &["k:v"]);
        let append = Append { conditions: vec![none_after(0, "x", "k:v")], ..append_of(&tenant, &[event]) };
        tenant.append(append, move |answer| sender.send(answer.is_ok()).unwrap());
    }
    assert_eq!(tenant.decide(), 2);
    assert!(answers.try_recv().is_err(), "nothing is answered before it is durable");
    tenant.flush();
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_checkpoint_must_advance_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut tenant = open(folder.path(), small()).unwrap();
    let copy = |tenant: &Arc<Tenant>, id: &str, number| {
        let checkpoint = Some(Checkpoint { source: "topic/0".into(), number });
        tenant.append_wait(Append { checkpoint, ..append_of(tenant, &[event(id, "s")]) })
    };
    assert!(copy(&tenant, "1", 10).is_ok());
    let behind = Refusal::CheckpointBehind { source: "topic/0".into(), recorded: 10, given: 10 };
    assert_eq!(refusal(copy(&tenant, "2", 10)), behind);
    tenant.close().unwrap();
    drop(tenant);
    tenant = open(folder.path(), small()).unwrap();
    assert_eq!(refusal(copy(&tenant, "2", 10)), behind);
    assert!(copy(&tenant, "2", 11).is_ok());
    assert_eq!(tenant.checkpoint("topic/0"), Some(11));
    assert_eq!(tenant.position(), 2);
}

#[test]
fn an_append_that_is_too_large_for_one_commit_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let data = format!("\"{}\"", "x".repeat(1_000_000));
    let events: Vec<_> = (0..68).map(|i| event_of("t", &i.to_string(), "s", &data)).collect();
    let answer = refusal(tenant.append_wait(append_of(&tenant, &events)));
    assert!(matches!(answer, Refusal::TooLarge { what: "bytes", .. }), "{answer:?}");
    let many: Vec<_> = (0..10_001).map(|i| event(&i.to_string(), "s")).collect();
    let answer = refusal(tenant.append_wait(append_of(&tenant, &many)));
    assert_eq!(answer, Refusal::TooLarge { what: "events", limit: 10_000, actual: 10_001 });
    assert_eq!(tenant.position(), 0);
}

#[test]
fn a_checkpoint_is_not_told_before_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let checkpoint = Some(Checkpoint { source: "topic/0".into(), number: 10 });
    tenant.append(Append { checkpoint, ..append_of(&tenant, &[event("1", "s")]) }, |_| {});
    tenant.decide();
    assert_eq!(tenant.checkpoint("topic/0"), None);
    tenant.flush();
    assert_eq!(tenant.checkpoint("topic/0"), Some(10));
}

#[test]
fn an_event_that_claims_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let claim = |id: &str, version| {
        let prepared = tenant.prepare(&event(id, "s"), Some(version)).unwrap();
        tenant.publish_wait(vec![prepared]).unwrap().remove(0)
    };
    assert_eq!(claim("1", 1), Published::Recorded(place(1, 1)));
    let wrong = Refusal::WrongVersion { stream: "s".into(), expected: 1, actual: 2 };
    assert_eq!(claim("2", 1), Published::Refused(wrong));
    assert_eq!(claim("2", 2), Published::Recorded(place(2, 2)));
}

#[test]
fn recorded_time_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    for (id, now) in [("1", 5_000_000), ("2", 1_000_000), ("3", 7_000_000)] {
        clock.0.store(now, Ordering::Relaxed);
        publish(&tenant, &event(id, "s"));
    }
    let times = [1, 2, 3].map(|p| tenant.event_at(p).unwrap().unwrap().stamp.recorded_time.0);
    assert_eq!(times, [5_000_000, 5_000_000, 7_000_000]);
}
