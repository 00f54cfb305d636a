//! What somebody does to an instance.

use super::instance::Instance;
use crate::saga::{ActKind, Answer, NotPossible, Outcome, Status, What, may};

const STEPS: &str = "[{a: {send: c.a, reply: r.a, timeout: 10s, compensate: u.a}},
                      {b: {send: c.b, reply: r.b, fail_on: f.b, timeout: 10s, compensate: u.b}}]";
const WAIT: &str = "{on_failure: wait}";

#[test]
fn a_cancelled_instance_undoes_what_it_did_and_what_is_in_doubt() {
    let mut instance = Instance::of(STEPS);
    instance.event("r.a", "").act(ActKind::Cancel);
    instance.sends(&["c.a 1.0/1", "c.b 2.0/1", "u.b 2.0/c/1", "u.a 1.0/c/1", "failed end/1"]);
    instance.is(Status::Ended(Outcome::Cancelled)).act(ActKind::Cancel).noted(What::NotDone).sends(&[]);
}

#[test]
fn timeouts_move_by_how_long_an_instance_was_paused() {
    let mut instance = Instance::of(STEPS);
    instance.wait(4_000).act(ActKind::Pause { place: 1 }).is(Status::Paused).wait(60_000).sends(&["c.a 1.0/1"]);
    assert_eq!(instance.state.paused().unwrap().place, 1);
    instance.act(ActKind::Resume).is(Status::Running).wait(5_999).is(Status::Running).wait(1);
    instance.sends(&["u.a 1.0/c/1", "failed end/1"]);
}

#[test]
fn what_is_fed_to_a_paused_instance_changes_nothing() {
    let mut instance = Instance::of(STEPS);
    instance.act(ActKind::Pause { place: 1 });
    let before = instance.state.clone();
    instance.event("r.a", "");
    assert_eq!(instance.state, before);
    instance.act(ActKind::Resume).event("r.a", "").sends(&["c.a 1.0/1", "c.b 2.0/1"]);
}

#[test]
fn a_paused_instance_can_be_cancelled() {
    let mut instance = Instance::of(STEPS);
    instance.act(ActKind::Pause { place: 1 }).act(ActKind::Cancel).is(Status::Ended(Outcome::Cancelled));
    // What was asked for before the pause, and perhaps answered during it, is asked for again.
    let undone = "{a: {send: c.a, reply: r.a, timeout: 1m, compensate: {http: 'https://a.example'}}}";
    let steps = format!("[{{p: {{parallel: [{undone}, {{b: {{sleep: 1s}}}}], need: any}}}}, {{z: {{sleep: 1m}}}}]");
    let mut instance = Instance::of(&steps);
    instance.wait(1_000).sends(&["c.a 2.0/1", "https://a.example 2.0/c/1"]).act(ActKind::Pause { place: 1 });
    instance.act(ActKind::Cancel).is(Status::Compensating).sends(&["https://a.example 2.0/c/1"]);
}

#[test]
fn calls_and_sagas_that_are_out_are_asked_for_again_after_a_pause() {
    let mut instance = Instance::of(
        "[{p: {parallel: [{h: {http: 'https://a.example', compensate: none}}, {s: {saga: t, timeout: 1m}}]}}]",
    );
    instance.sends(&["https://a.example 2.0/1", "begin t 3.0/1"]).act(ActKind::Pause { place: 1 });
    assert_eq!(instance.state.calls().count(), 0);
    instance.act(ActKind::Resume).sends(&["https://a.example 2.0/1", "begin t 3.0/1"]);
    assert_eq!(instance.state.calls().count(), 1);
    assert_eq!(instance.state.children(&instance.plan).len(), 1);
}

const CALLS: &str = "[{p: {parallel: [{a: {http: 'https://a.example', compensate: u.a}},
                                       {b: {http: 'https://b.example', compensate: u.b}}]}}, {z: {send: c.z, reply: r.z, compensate: none}}]";

#[test]
fn what_a_call_is_answered_during_a_pause_is_taken_in_when_it_ends() {
    let mut instance = Instance::of(CALLS);
    instance.sends(&["https://a.example 2.0/1", "https://b.example 3.0/1"]).act(ActKind::Pause { place: 1 });
    instance.answered("2.0/1", Answer::Done).is(Status::Paused).sends(&[]);
    // It is not called again.
    instance.act(ActKind::Resume).sends(&["https://b.example 3.0/1"]);
    instance.answered("3.0/1", Answer::Done).sends(&["c.z 4.0/1"]).is(Status::Running);
    // Whoever is told twice has the better of both, and what was never asked is not kept.
    let mut instance = Instance::of(CALLS);
    instance.act(ActKind::Pause { place: 1 });
    for answer in [Answer::UNSURE, Answer::Done, Answer::Done, Answer::UNSURE] {
        instance.answered("2.0/1", answer).answered("2.0/2", answer).answered("2.0/c/1", answer);
    }
    instance.answered("3.0/1", Answer::Refused).sends(&["https://a.example 2.0/1", "https://b.example 3.0/1"]);
    assert_eq!(instance.state.kept.len(), 2);
    // What is refused is not undone, though it was given up before that was read.
    instance.act(ActKind::Resume).sends(&["u.a 2.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Compensated));
    assert!(instance.state.kept.is_empty());
}

#[test]
fn what_is_cancelled_during_a_pause_knows_what_was_answered_before() {
    for (a, b, undone) in [
        (Answer::Done, Answer::Refused, &["u.a 2.0/c/1"][..]),
        (Answer::Refused, Answer::Refused, &[]),
        (Answer::Refused, Answer::Done, &["u.b 3.0/c/1"]),
        (Answer::Done, Answer::UNSURE, &["u.b 3.0/c/1", "u.a 2.0/c/1"]),
    ] {
        let mut instance = Instance::of(CALLS);
        instance.sends(&["https://a.example 2.0/1", "https://b.example 3.0/1"]).act(ActKind::Pause { place: 1 });
        instance.answered("2.0/1", a).answered("3.0/1", b).act(ActKind::Cancel);
        let expected: Vec<&str> = undone.iter().copied().chain(["failed end/1"]).collect();
        instance.sends(&expected).is(Status::Ended(Outcome::Cancelled));
        // What undoes it sees what it was answered.
        let is_seen = |node| instance.state.event_of(node).is_some();
        assert_eq!((is_seen(2), is_seen(3)), (a == Answer::Done, b == Answer::Done));
    }
}

#[test]
fn a_compensation_that_is_answered_during_a_pause_is_not_made_again() {
    let steps = "[{a: {http: 'https://a.example', compensate: {http: 'https://u.example'}}}, {z: {sleep: 1m}}]";
    for act in [ActKind::Resume, ActKind::Undo] {
        let mut instance = Instance::of(steps);
        instance.answered("1.0/1", Answer::Done).act(ActKind::Cancel);
        instance.sends(&["https://a.example 1.0/1", "https://u.example 1.0/c/1"]).act(ActKind::Pause { place: 1 });
        instance.answered("1.0/c/1", Answer::Done).act(act);
        if act == ActKind::Undo {
            instance.is(Status::Paused).act(ActKind::Resume);
        }
        instance.sends(&["failed end/1"]).is(Status::Ended(Outcome::Cancelled));
    }
}

#[test]
fn with_on_failure_wait_a_person_is_asked_before_anything_is_undone() {
    let mut instance = Instance::with(STEPS, WAIT);
    instance.event("r.a", "").event("f.b", "2.0/1").is(Status::NeedsPerson).sends(&["c.a 1.0/1", "c.b 2.0/1"]);
    instance.act(ActKind::Retry { from: None }).is(Status::Running).sends(&["c.b 2.0/2"]);
    instance.event("r.b", "2.0/2").is(Status::Ended(Outcome::Completed));

    let mut skipped = Instance::with(STEPS, WAIT);
    skipped.event("r.a", "").wait(10_000).act(ActKind::Skip).is(Status::Ended(Outcome::Completed));

    let mut cancelled = Instance::with(STEPS, WAIT);
    cancelled.event("r.a", "").event("f.b", "2.0/1").act(ActKind::Cancel);
    cancelled.sends(&["c.a 1.0/1", "c.b 2.0/1", "u.a 1.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Cancelled));
}

#[test]
fn a_success_that_comes_while_a_person_is_asked_finishes_the_step() {
    let mut instance = Instance::with(STEPS, WAIT);
    instance.wait(10_000).is(Status::NeedsPerson).event("r.a", "1.0/1").is(Status::Running);
    instance.sends(&["c.a 1.0/1", "c.b 2.0/1"]);
}

#[test]
fn what_was_done_by_hand_is_undone_like_any_other_step() {
    let mut instance = Instance::with(STEPS, WAIT);
    instance.wait(10_000).act(ActKind::Resolve).sends(&["c.a 1.0/1", "c.b 2.0/1"]).act(ActKind::Cancel);
    instance.sends(&["u.b 2.0/c/1", "u.a 1.0/c/1", "failed end/1"]);
}

#[test]
fn it_goes_on_again_from_a_step_with_new_attempts() {
    let mut instance = Instance::with(STEPS, WAIT);
    instance.event("r.a", "").wait(10_000).is(Status::NeedsPerson);
    instance.act(ActKind::Retry { from: Some(1) }).sends(&["c.a 1.0/1", "c.b 2.0/1", "c.a 1.0/2"]);
    instance.event("r.a", "1.0/2").sends(&["c.b 2.0/2"]).event("f.b", "2.0/2").is(Status::NeedsPerson);
    // Its first attempt was never heard of.
    instance.act(ActKind::Cancel).sends(&["u.b 2.0/c/1", "u.a 1.0/c/1", "failed end/1"]);
}

#[test]
fn the_note_of_an_answer_says_which_attempt_it_answers() {
    let attempts = |instance: &Instance| -> Vec<u16> {
        instance
            .notes
            .iter()
            .filter(|note| note.what == What::Finished && note.node == 2)
            .map(|note| note.attempt)
            .collect()
    };
    let steps = "[{p: {parallel: [{a: {http: 'https://a.example', compensate: u.a}}, {b: {wait: w, timeout: 1s}}]}}]";
    // The call of the first attempt was still out when it went on again.
    let mut instance = Instance::with(steps, WAIT);
    instance.wait(1_000).is(Status::NeedsPerson).act(ActKind::Retry { from: Some(1) });
    instance.sends(&["https://a.example 2.0/1", "https://a.example 2.0/2"]).answered("2.0/1", Answer::Done);
    assert_eq!(attempts(&instance), [1]);
    instance.answered("2.0/2", Answer::Done).noted(What::Repeated);
    // What names none is taken for the newest.
    let steps =
        "[{p: {parallel: [{a: {send: c.a, reply: r.a, timeout: 1m, compensate: u.a}}, {b: {wait: w, timeout: 1s}}]}}]";
    for (cause, attempt) in [("2.0/1", 1), ("2.0/2", 2), ("", 2)] {
        let mut instance = Instance::with(steps, WAIT);
        instance.wait(1_000).act(ActKind::Retry { from: Some(1) }).event("r.a", cause);
        assert_eq!(attempts(&instance), [attempt], "caused by {cause:?}");
    }
}

#[test]
fn the_note_of_a_compensation_says_which_attempt_undid_it() {
    let undo = "{send: u.a, reply: ur.a, timeout: 1s, retry: {max: 2, backoff: none}}";
    for (cause, attempt) in [("1.0/c/1", 1), ("1.0/c/2", 2), ("", 2)] {
        let mut instance =
            Instance::of(&format!("[{{a: {{send: c.a, reply: r.a, compensate: {undo}}}}}, {{w: {{wait: w}}}}]"));
        instance.event("r.a", "").act(ActKind::Cancel).wait(1_500).sends(&["c.a 1.0/1", "u.a 1.0/c/1", "u.a 1.0/c/2"]);
        instance.event("ur.a", cause);
        let undone = instance.notes.iter().find(|note| note.what == What::Undone).map(|note| note.attempt);
        assert_eq!(undone, Some(attempt), "caused by {cause:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason_and_changes_nothing() {
    let any = Instance::of(STEPS);
    let mut ended = Instance::of(STEPS);
    ended.event("r.a", "").event("r.b", "");
    let mut paused = Instance::of(STEPS);
    paused.act(ActKind::Pause { place: 1 });
    let mut failed = Instance::with(STEPS, WAIT);
    failed.event("r.a", "").wait(10_000);
    let mut undoing = Instance::of(
        "[{a: {send: c.a, reply: r.a, timeout: 10s, compensate: {send: u.a, reply: ur.a, timeout: 1s, retry: {max: 1}}}}]",
    );
    undoing.wait(10_000);
    let undone = |step: &str| NotPossible::Undone { step: step.into() };
    let mut lost = Instance::with(
        "[{p: {parallel: [{a: {send: c.a, reply: r.a, timeout: 1m, compensate: u.a}}, {b: {send: c.b, compensate: none}}], need: any}},
          {c: {send: c.c, reply: r.c, timeout: 1s, compensate: none}}]",
        WAIT,
    );
    lost.wait(1_000);
    for (instance, act, expected) in [
        (&any, ActKind::Resume, NotPossible::NotPaused),
        (&any, ActKind::Retry { from: None }, NotPossible::NobodyAsked),
        (&any, ActKind::Skip, NotPossible::NobodyAsked),
        (&any, ActKind::Retry { from: Some(1) }, NotPossible::NobodyAsked),
        (&ended, ActKind::Cancel, NotPossible::Ended),
        (&ended, ActKind::Pause { place: 9 }, NotPossible::Ended),
        (&paused, ActKind::Pause { place: 9 }, NotPossible::Paused),
        (&paused, ActKind::Skip, NotPossible::Paused),
        (&failed, ActKind::Retry { from: Some(0) }, NotPossible::NoSuchStep),
        (&failed, ActKind::Retry { from: Some(3) }, NotPossible::NoSuchStep),
        (&undoing, ActKind::Cancel, NotPossible::Compensating),
        (&undoing, ActKind::Retry { from: Some(1) }, NotPossible::Compensating),
        (&lost, ActKind::Retry { from: Some(1) }, undone("a")),
    ] {
        assert_eq!(may(&instance.plan, &instance.state, act), Err(expected.clone()), "{act:?}");
        let mut same = Instance::new(instance.plan.clone());
        same.state = instance.state.clone();
        same.act(act).noted(What::NotDone).sends(&[]);
        assert_eq!(same.state, instance.state);
        assert!(expected.to_string().starts_with("expected "), "{expected}");
    }
    assert_eq!(may(&failed.plan, &failed.state, ActKind::Retry { from: Some(1) }), Ok(()));
}

#[test]
fn a_note_says_which_operation_did_it_and_why() {
    let mut instance = Instance::of(STEPS);
    let reason = "ä".repeat(200);
    let act = crate::saga::Act { what: ActKind::Cancel, operation: 42, reason: &reason };
    instance.feed(crate::saga::Input::Act(act));
    let note = instance.notes.iter().find(|note| note.what == What::Cancelled).unwrap();
    assert_eq!((note.position, note.text.as_deref()), (42, Some("ä".repeat(128).as_str())));
}
