//! What an answer comes to that is early, late, repeated, of another attempt, or of nobody.

use super::instance::Instance;
use crate::saga::{Outcome, Role, Status, What};

/// Two steps: one that is tried twice and undone, and one that is refused to make it undo.
const TWO: &str =
    "[{a: {send: c.a, reply: r.a, fail_on: f.a, timeout: 10s, retry: {max: 2, backoff: [1s]}, compensate: u.a}},
                    {b: {send: c.b, reply: r.b, fail_on: f.b, timeout: 10s, compensate: none}}]";
/// The same, with an answer to what undoes it.
const ASKED: &str = "[{a: {send: c.a, reply: r.a, fail_on: f.a, timeout: 10s,
                           compensate: {send: u.a, reply: ur.a, fail_on: uf.a, timeout: 5s, retry: {max: 2, backoff: [1s]}}}},
                      {b: {send: c.b, reply: r.b, fail_on: f.b, timeout: 10s, compensate: none}}]";

#[test]
fn an_answer_to_an_earlier_attempt_finishes_the_step_and_the_later_one_repeats_it() {
    Instance::of(TWO)
        .wait(10_000)
        .wait(1_000)
        .sends(&["c.a 1.0/1", "c.a 1.0/2"])
        .event("r.a", "1.0/1")
        .sends(&["c.b 2.0/1"])
        .event("r.a", "1.0/2")
        .noted(What::Repeated)
        .event("r.a", "1.0/1")
        .noted(What::Repeated)
        .sends(&[])
        .is(Status::Running);
}

#[test]
fn an_answer_that_names_no_command_is_to_the_one_attempt_that_is_open() {
    Instance::of(TWO).event("r.a", "").event("r.b", "").is(Status::Ended(Outcome::Completed));
    // One that names a command of another step is none to this one, though a wait may take it.
    Instance::of(TWO).event("r.a", "2.0/1").noted(What::NotAsked).sends(&["c.a 1.0/1"]);
    let mut instance = Instance::of("[{a: {send: c.a, compensate: none}}, {w: {wait: r.a, timeout: 1m}}]");
    instance.event("r.a", "1.0/1").is(Status::Ended(Outcome::Completed));
}

#[test]
fn an_answer_while_the_next_attempt_is_waited_for_finishes_the_step() {
    Instance::of(TWO).wait(10_500).event("r.a", "1.0/1").sends(&["c.a 1.0/1", "c.b 2.0/1"]).wait(600).sends(&[]);
}

#[test]
fn an_answer_to_nothing_is_noted_and_changes_nothing() {
    let mut instance = Instance::of(TWO);
    let before = instance.state.clone();
    instance.event("r.b", "").noted(What::NotAsked).event("r.b", "2.0/1").noted(What::NotAsked).sends(&["c.a 1.0/1"]);
    assert_eq!((instance.state.status(), instance.state.due()), (before.status(), before.due()));
}

#[test]
fn a_step_that_is_refused_by_its_only_attempt_is_not_undone() {
    Instance::of(TWO).event("f.a", "").sends(&["c.a 1.0/1", "failed end/1"]).is(Status::Ended(Outcome::Compensated));
    Instance::of(TWO).event("f.a", "1.0/1").sends(&["c.a 1.0/1", "failed end/1"]);
}

#[test]
fn a_step_is_in_doubt_if_one_of_its_attempts_was_not_heard_of() {
    for cause in ["1.0/2", "1.0/1", ""] {
        let mut instance = Instance::of(TWO);
        instance.wait(11_000).event("f.a", cause).sends(&["c.a 1.0/1", "c.a 1.0/2", "u.a 1.0/c/1", "failed end/1"]);
    }
}

#[test]
fn a_step_is_not_in_doubt_if_each_attempt_was_refused() {
    let retried = TWO.replace("backoff: [1s]", "backoff: [1s], on: [failure, timeout]");
    Instance::of(&retried)
        .event("f.a", "1.0/1")
        .wait(1_000)
        .sends(&["c.a 1.0/1", "c.a 1.0/2"])
        .event("f.a", "1.0/2")
        .sends(&["failed end/1"]);
    // The same refusal twice is one.
    Instance::of(&retried)
        .event("f.a", "1.0/1")
        .wait(1_000)
        .event("f.a", "1.0/1")
        .is(Status::Running)
        .wait(10_000)
        .sends(&["c.a 1.0/1", "c.a 1.0/2", "u.a 1.0/c/1", "failed end/1"]);
}

#[test]
fn a_refusal_after_the_step_was_given_up_takes_the_doubt_away_if_it_is_not_being_undone_yet() {
    let steps = "[{p: {parallel: [{a: {send: c.a, reply: r.a, fail_on: f.a, timeout: 1m, compensate: u.a}},
                                  {b: {send: c.b, reply: r.b, fail_on: f.b, timeout: 1m,
                                       compensate: {send: u.b, reply: ur.b, timeout: 1m}}},
                                  {c: {send: c.c, reply: r.c, fail_on: f.c, timeout: 1m, compensate: none}}]}}]";
    let mut instance = Instance::of(steps);
    instance.event("f.c", "").sends(&["c.a 2.0/1", "c.b 3.0/1", "c.c 4.0/1", "u.b 3.0/c/1"]);
    instance.event("f.a", "2.0/1").noted(What::LateRefusal);
    instance.event("ur.b", "3.0/c/1").sends(&["failed end/1"]).is(Status::Ended(Outcome::Compensated));
    let mut instance = Instance::of(steps);
    instance.event("f.c", "").event("ur.b", "3.0/c/1");
    instance.sends(&["c.a 2.0/1", "c.b 3.0/1", "c.c 4.0/1", "u.b 3.0/c/1", "u.a 2.0/c/1", "failed end/1"]);
}

#[test]
fn a_late_success_before_its_compensation_is_compensated_once() {
    let steps = "[{a: {send: c.a, reply: r.a, timeout: 10s, compensate: u.a}},
                  {b: {send: c.b, reply: r.b, timeout: 10s, compensate: {send: u.b, reply: ur.b, timeout: 1m}}}]";
    let mut instance = Instance::of(steps);
    instance.event("r.a", "").wait(10_000).sends(&["c.a 1.0/1", "c.b 2.0/1", "u.b 2.0/c/1"]);
    instance.event("r.a", "1.0/1").noted(What::Repeated);
    // It is being undone already, so it is undone once more.
    instance.event("r.b", "2.0/1").noted(What::UndoTried).sends(&["u.b 2.0/late/2"]);
    instance.event("ur.b", "2.0/c/1").noted(What::Repeated).sends(&[]);
    instance.event("ur.b", "2.0/late/2").sends(&["u.a 1.0/c/1", "failed end/1"]);
}

#[test]
fn a_late_success_whose_turn_to_be_undone_has_not_come_is_undone_once() {
    let mut instance = Instance::of(
        "[{p: {parallel: [{a: {send: c.a, reply: r.a, timeout: 1m, compensate: {send: u.a, reply: ur.a, timeout: 1m}}},
                          {b: {send: c.b, reply: r.b, timeout: 10s, compensate: u.b}}]}}]",
    );
    instance.wait(10_000).sends(&["c.a 2.0/1", "c.b 3.0/1", "u.a 2.0/c/1"]);
    instance.event("r.b", "3.0/1").noted(What::LateSuccess).sends(&[]);
    instance.event("ur.a", "").sends(&["u.b 3.0/c/1", "failed end/1"]);
}

#[test]
fn a_late_success_after_the_end_opens_it_again_and_is_undone_once_more() {
    let mut instance = Instance::of(TWO);
    instance.wait(21_000).is(Status::Ended(Outcome::Compensated));
    instance.sends(&["c.a 1.0/1", "c.a 1.0/2", "u.a 1.0/c/1", "failed end/1"]);
    instance.event("r.a", "1.0/2").sends(&["u.a 1.0/late/2"]).is(Status::Ended(Outcome::Compensated));
    // Once for each attempt that succeeds, and never for the same news twice.
    instance.event("r.a", "1.0/2").noted(What::Repeated).sends(&[]);
    instance.event("r.a", "1.0/1").sends(&["u.a 1.0/late/3"]);
    instance.event("r.a", "").noted(What::Repeated).sends(&[]);
    assert_eq!(instance.state.status(), Some(Status::Ended(Outcome::Compensated)));
}

#[test]
fn a_success_after_a_refusal_is_undone_too() {
    let mut instance = Instance::of(TWO);
    instance.event("f.a", "1.0/1").sends(&["c.a 1.0/1", "failed end/1"]);
    instance.event("r.a", "1.0/1").sends(&["u.a 1.0/c/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn an_answer_that_names_nothing_after_a_late_compensation_settles_nothing() {
    let mut instance = Instance::of(ASKED);
    instance.wait(10_000).event("r.a", "1.0/1").sends(&["c.a 1.0/1", "u.a 1.0/c/1", "u.a 1.0/late/2"]);
    instance.event("ur.a", "").noted(What::Ambiguous).is(Status::Compensating);
    instance.event("ur.a", "1.0/late/2").is(Status::Ended(Outcome::Compensated));
}

#[test]
fn what_two_steps_wait_for_is_taken_by_the_one_whose_command_it_names_and_else_by_none() {
    let steps = "[{p: {parallel: [{a: {send: c, reply: r, timeout: 1m, compensate: none}},
                                  {b: {send: c, reply: r, timeout: 1m, compensate: none}}]}}]";
    let mut instance = Instance::of(steps);
    instance.event("r", "").noted(What::Ambiguous).is(Status::Running);
    instance.event("r", "3.0/1").event("r", "").is(Status::Ended(Outcome::Completed));
}

#[test]
fn what_is_taken_for_a_success_and_for_a_refusal_is_a_refusal() {
    let steps = "[{a: {send: c, reply: x.*, fail_on: x.no, timeout: 1m, compensate: none}}]";
    Instance::of(steps).event("x.no", "").is(Status::Ended(Outcome::Compensated));
    Instance::of(steps).event("x.yes", "").is(Status::Ended(Outcome::Completed));
}

#[test]
fn another_start_of_an_open_instance_is_noted() {
    let mut instance = Instance::of(TWO);
    instance.event("start", "").noted(What::AlreadyOpen).sends(&["c.a 1.0/1"]);
    instance.start().noted(What::AlreadyOpen).sends(&[]);
}

#[test]
fn whatever_is_fed_to_what_has_not_begun_changes_nothing() {
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(TWO)));
    let roles = [Role::Reply(1)];
    instance.feed(crate::saga::Input::Event { position: 3, roles: &roles, cause: None }).noted(What::NotAsked);
    assert_eq!((instance.state.status(), instance.state.due()), (None, None));
}

#[test]
fn a_command_that_cannot_be_published_fails_its_step_and_says_why() {
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(TWO)));
    instance.refused_types.push("c.b".into());
    instance.start().event("r.a", "").sends(&["c.a 1.0/1", "u.a 1.0/c/1", "failed end/1"]);
    let note = instance.notes.iter().find(|note| note.what == What::NotSent).unwrap();
    assert_eq!((note.node, note.text.as_deref()), (2, Some("the schema refuses it")));
}
