//! The checkers can fail: each is handed a right history and log, which it must accept, and wrong ones, which it must
//! not.

use std::sync::Arc;

use quipu_domain::{Condition, Event, Filter, Stamp, StreamExpectation, Timestamp, TypeMatch};
use quipu_engine::{Appended, Fault, Options, Place, Published, Tenant, World};
use quipu_store::Storage;
use quipu_testkit::checker::answers::{Left, settle};
use quipu_testkit::checker::{
    acknowledged, answered, duplicates, folder, followers, gapless, indexes, linearizable, read, whole,
};
use quipu_testkit::{
    Answer, Dice, Draft, Entry, FOLDER, FaultyDisk, Logged, Model, Operation, Proposal, SeededRandom, VirtualClock,
};

fn event(id: &str) -> Event<'static> {
    Event::builder(id.to_owned(), "/s", "order.placed").subject("order/1").tag("c:1").json("{}").build().unwrap()
}

fn draft(id: &str) -> Draft {
    Draft { event: event(id), stream_version: None }
}

fn append(ids: &[&str], conditions: Vec<Condition>) -> Operation {
    let events = ids.iter().map(|id| draft(id)).collect();
    Operation::Append(Proposal { events, conditions, checkpoint: None })
}

fn logged(position: u64, id: &str) -> Logged {
    let stamp = Stamp { position, stream_version: Some(position), recorded_time: Timestamp(position as i64) };
    Logged { stamp, event: event(id) }
}

fn place(position: u64) -> Place {
    Place { position, stream_version: Some(position) }
}

fn appended(commit: u64, positions: &[u64]) -> Answer {
    let events = positions.iter().map(|position| place(*position)).collect();
    Answer::Appended(Appended { commit, events, ..Appended::default() })
}

/// A publish of `a` and an append of `b` and `c`, both answered, and their log.
fn right() -> (Vec<Entry>, Vec<Logged>) {
    let history = vec![
        Entry::asked(Operation::Publish(vec![draft("a")]), 1)
            .answered(Answer::Published(vec![Published::Recorded(place(1))]), 2),
        Entry::asked(append(&["b", "c"], vec![]), 3).answered(appended(2, &[2, 3]), 4),
    ];
    (history, vec![logged(1, "a"), logged(2, "b"), logged(3, "c")])
}

#[test]
fn a_right_history_passes() {
    let (mut history, log) = right();
    acknowledged::check(&history, &log).unwrap();
    whole::check(&history, &log).unwrap();
    gapless::check(&log).unwrap();
    duplicates::check(&history, &log, None).unwrap();
    let model = settle(&Model::default(), &mut history, Left { log: &log, commits: 2 }).unwrap();
    assert_eq!((model.events.len(), model.commits), (3, 2));
    followers::check(&Filter::default(), 0, 3, &[1, 2, 3], &log).unwrap();
}

#[test]
fn a_lost_acknowledged_event_is_found() {
    let (mut history, log) = right();
    assert!(acknowledged::check(&history, &log[..2]).is_err());
    assert!(settle(&Model::default(), &mut history, Left { log: &log[..1], commits: 1 }).is_err());
}

#[test]
fn a_changed_event_is_found() {
    let (mut history, mut log) = right();
    log[1].event = Event::builder("b", "/s", "order.placed").subject("order/1").tag("c:1").json("[]").build().unwrap();
    assert!(acknowledged::check(&history, &log).is_err());
    // Also one that no answer speaks of, and in an attribute that is not content.
    let (_, mut log) = right();
    log[2].event = Event::builder("c", "/s", "order.placed").subject("order/1").tag("c:2").json("{}").build().unwrap();
    history[1].answer = None;
    assert!(settle(&Model::default(), &mut history, Left { log: &log, commits: 2 }).is_err());
}

#[test]
fn half_a_commit_is_found() {
    let (mut history, log) = right();
    history[1].answer = None;
    assert!(whole::check(&history, &log[..2]).is_err());
    assert!(whole::check(&history, &[logged(1, "b"), logged(2, "a"), logged(3, "c")]).is_err());
    whole::check(&history, &log[..1]).unwrap();
    assert!(settle(&Model::default(), &mut history, Left { log: &log[..2], commits: 2 }).is_err());
}

#[test]
fn a_gap_is_found() {
    let (_, log) = right();
    let mut gap = log.clone();
    gap[2].stamp.position = 4;
    assert!(gapless::check(&gap).is_err());
    let mut gap = log.clone();
    gap[2].stamp.stream_version = Some(4);
    assert!(gapless::check(&gap).is_err());
    let mut back = log;
    back[2].stamp.recorded_time = Timestamp(0);
    assert!(gapless::check(&back).is_err());
}

#[test]
fn two_winners_of_one_condition_are_found() {
    let first = || vec![Condition::Stream { stream: "order/1".into(), expected: StreamExpectation::DoesNotExist }];
    let entry = |id, commit| Entry::asked(append(&[id], first()), 1).answered(appended(commit, &[commit]), 2);
    let mut history = vec![entry("a", 1), entry("b", 2)];
    let log = [logged(1, "a"), logged(2, "b")];
    assert!(settle(&Model::default(), &mut history, Left { log: &log, commits: 2 }).is_err());
    // Also when only one of the two is in the log.
    let violation = settle(&Model::default(), &mut history, Left { log: &log[..1], commits: 1 }).unwrap_err();
    assert!(violation.detail.contains("ConditionsFailed"), "{violation}");
}

#[test]
fn a_refusal_that_rests_on_what_was_lost_is_found() {
    use quipu_domain::{ConditionFailure, Refusal};
    let new = || vec![Condition::Stream { stream: "order/1".into(), expected: StreamExpectation::DoesNotExist }];
    let failure = ConditionFailure::Stream {
        index: 0,
        stream: "order/1".into(),
        expected: StreamExpectation::DoesNotExist,
        actual: 1,
    };
    let mut history = vec![
        Entry::asked(append(&["a"], vec![]), 1),
        Entry::asked(append(&["b"], new()), 2).answered(Answer::Refused(Refusal::ConditionsFailed(vec![failure])), 3),
    ];
    settle(&Model::default(), &mut history, Left { log: &[logged(1, "a")], commits: 1 }).unwrap();
    assert!(settle(&Model::default(), &mut history, Left { log: &[], commits: 0 }).is_err());
}

#[test]
fn a_duplicate_with_another_answer_is_found() {
    let (mut history, mut log) = right();
    let again = Answer::Published(vec![Published::Duplicate(place(2))]);
    history.push(Entry::asked(Operation::Publish(vec![draft("a")]), 5).answered(again, 6));
    assert!(duplicates::check(&history, &log, None).is_err());
    history.pop();
    log.push(logged(4, "a"));
    assert!(duplicates::check(&history, &log, None).is_err());
}

#[test]
fn a_follower_that_skips_repeats_or_swaps_is_found() {
    let (_, log) = right();
    for seen in [&[1, 3][..], &[1, 2, 2, 3], &[2, 1, 3], &[1, 2, 3, 4], &[]] {
        assert!(followers::check(&Filter::default(), 0, 3, seen, &log).is_err(), "{seen:?}");
    }
    assert!(followers::check(&Filter::default(), 0, 4, &[1, 2, 3], &log).is_err());
    let none = Filter { types: vec![TypeMatch::parse("other")], ..Filter::default() };
    assert!(followers::check(&none, 0, 3, &[1], &log).is_err());
    followers::check(&none, 0, 3, &[], &log).unwrap();
}

fn open(disk: &FaultyDisk) -> Arc<Tenant> {
    let world = World {
        storage: Arc::new(disk.clone()),
        clock: Arc::new(VirtualClock::new(Timestamp(1))),
        random: Arc::new(SeededRandom::new(1)),
    };
    Tenant::open(&world, FOLDER, Options::default()).unwrap()
}

#[test]
fn an_index_that_differs_from_a_scan_is_found() {
    let tenant = open(&FaultyDisk::new(1));
    let prepared = ["a", "b"].map(|id| tenant.prepare(&event(id), None).unwrap());
    tenant.publish_wait(prepared.into()).unwrap();
    let log = quipu_testkit::checker::pages::read_log(&tenant).unwrap();
    let mut dice = Dice::new(1);
    indexes::check(&tenant, &log, &mut dice).unwrap();
    // The index is right and the scan is wrong: the difference is the same.
    let other = |kind: &'static str, subject: &'static str, tag: &'static str| {
        let mut wrong = log.clone();
        wrong[1].event = Event::builder("b", "/s", kind).subject(subject).tag(tag).json("{}").build().unwrap();
        wrong
    };
    assert!(indexes::check(&tenant, &other("order.paid", "order/1", "c:1"), &mut dice).is_err());
    assert!(indexes::check(&tenant, &other("order.placed", "order/2", "c:1"), &mut dice).is_err());
    assert!(indexes::check(&tenant, &other("order.placed", "order/1", "c:2"), &mut dice).is_err());
    assert!(indexes::check(&tenant, &log[..1], &mut dice).is_err());
}

#[test]
fn a_folder_with_a_flipped_bit_or_another_count_is_found() {
    let disk = FaultyDisk::new(1);
    let tenant = open(&disk);
    tenant.publish_wait(vec![tenant.prepare(&event("a"), None).unwrap()]).unwrap();
    tenant.close().unwrap();
    folder::check(&disk, FOLDER, 1, 2).unwrap();
    assert!(folder::check(&disk, FOLDER, 2, 2).is_err());
    let segment = disk.files().into_iter().find(|path| path.ends_with(".seg")).unwrap();
    assert!(disk.flip(&segment, 120, 0));
    assert!(folder::check(&disk, FOLDER, 1, 2).is_err());
}

/// A history of appends with a condition on `order/1`, each with what was answered and when it was asked and answered.
fn contended(answers: [(&[&str], Condition, Answer, u64, u64); 2]) -> Vec<Entry> {
    answers
        .into_iter()
        .map(|(ids, condition, answer, asked, answered)| {
            Entry::asked(append(ids, vec![condition]), asked).answered(answer, answered)
        })
        .collect()
}

fn version(version: u64) -> Condition {
    Condition::Stream { stream: "order/1".into(), expected: StreamExpectation::Version(version) }
}

fn refused(expected: u64, actual: u64) -> Answer {
    use quipu_domain::{ConditionFailure, Refusal};
    let expected = StreamExpectation::Version(expected);
    Answer::Refused(Refusal::ConditionsFailed(vec![ConditionFailure::Stream {
        index: 0,
        stream: "order/1".into(),
        expected,
        actual,
    }]))
}

#[test]
fn two_appends_at_one_time_may_come_in_either_order_but_not_both_first() {
    let log = [logged(1, "a"), logged(2, "b")];
    let one = |first: u64, second: u64| {
        contended([
            (&["b"], version(1), appended(2, &[2]), 1, first),
            (&["a"], version(0), appended(1, &[1]), second, 9),
        ])
    };
    linearizable::check(&one(4, 2), &log).unwrap();
    // The one that stands first was asked for when the other was answered already.
    let violation = linearizable::check(&one(4, 5), &log).unwrap_err();
    assert!(violation.detail.contains("operation 0") || violation.detail.contains("operation 1"), "{violation}");
    let both =
        contended([(&["a"], version(0), appended(1, &[1]), 1, 4), (&["b"], version(0), appended(2, &[2]), 2, 9)]);
    let violation = linearizable::check(&both, &log).unwrap_err();
    assert!(violation.detail.contains("did not hold at 1"), "{violation}");
}

#[test]
fn a_refusal_needs_a_moment_at_which_its_condition_failed() {
    let log = [logged(1, "a")];
    let history = |asked, answered, actual| {
        contended([
            (&["a"], version(0), appended(1, &[1]), 3, 6),
            (&["b"], version(7), refused(7, actual), asked, answered),
        ])
    };
    // Beside the append both versions were there for a moment; before it and after it only one was.
    linearizable::check(&history(4, 5, 0), &log).unwrap();
    linearizable::check(&history(4, 5, 1), &log).unwrap();
    linearizable::check(&history(7, 8, 1), &log).unwrap();
    assert!(linearizable::check(&history(7, 8, 0), &log).is_err());
    assert!(linearizable::check(&history(4, 5, 2), &log).is_err());
    let before = contended([(&["b"], version(7), refused(7, 1), 1, 2), (&["a"], version(0), appended(1, &[1]), 3, 6)]);
    assert!(linearizable::check(&before, &log).is_err());
}

#[test]
fn a_log_that_changes_under_its_reader_is_found() {
    let (_, log) = right();
    read::check(&log[..2], &log, 3).unwrap();
    read::check(&[], &[], 0).unwrap();
    // An event that was read is gone, and one that was read is another one now.
    assert!(read::check(&log, &log[..2], 2).is_err());
    let mut other = log.clone();
    other[0].event = event("x");
    assert!(read::check(&log[..2], &other, 3).is_err());
    // It ends before the newest event, or behind it.
    assert!(read::check(&log[..2], &log, 4).is_err());
    assert!(read::check(&log[..2], &log, 2).is_err());
}

#[test]
fn half_a_commit_that_was_asked_for_again_is_found() {
    let (mut history, log) = right();
    history[1].answer = None;
    history.push(Entry::asked(history[1].operation.clone(), 5));
    assert!(whole::check(&history, &log[..2]).is_err());
    whole::check(&history, &log).unwrap();
    whole::check(&history, &log[..1]).unwrap();
}

#[test]
fn an_answer_that_never_comes_is_found() {
    let (mut history, _) = right();
    answered::check(&history).unwrap();
    history[1].answer = None;
    assert!(answered::check(&history).is_err());
}

#[test]
fn an_answer_without_the_fault_that_leads_to_it_is_found() {
    let known = appended(1, &[1]);
    let unknown = |why: &str| Answer::Unknown(why.to_owned());
    let (failed, overloaded) = (unknown("simulated I/O error"), unknown("9 bytes wait to be appended"));
    answered::check_answer(&known, false).unwrap();
    answered::check_answer(&failed, true).unwrap();
    assert!(answered::check_answer(&failed, false).is_err());
    assert!(answered::check_answer(&unknown("the store is closed"), true).is_err());
    assert!(answered::check_answer(&overloaded, true).is_err());
    // At once it can only be that it was not taken.
    answered::check_at_once(&overloaded, false, true).unwrap();
    answered::check_at_once(&failed, true, false).unwrap();
    assert!(answered::check_at_once(&overloaded, false, false).is_err());
    assert!(answered::check_at_once(&known, true, true).is_err());
}

#[test]
fn damage_is_not_excused_by_the_name_of_the_file_it_is_in() {
    let path = FaultyDisk::new(1).display(&format!("{FOLDER}/segments/1.seg"));
    let damaged = Fault::Damaged { path: path.clone(), offset: 120, detail: "a checksum does not fit".into() };
    let poisoned = Fault::Poisoned { cause: damaged.to_string() };
    let unindexed = Fault::Unindexed { cause: damaged.to_string() };
    let ours = Fault::io("sync", path.clone(), std::io::Error::other("simulated I/O error"));
    for fault in [damaged, poisoned, unindexed] {
        assert!(answered::check_answer(&Answer::Unknown(fault.to_string()), true).is_err(), "{fault}");
    }
    for fault in [ours, Fault::DiskFull { path }] {
        answered::check_answer(&Answer::Unknown(fault.to_string()), true).unwrap();
    }
}
