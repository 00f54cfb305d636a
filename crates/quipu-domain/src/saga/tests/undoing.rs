//! Compensations that are asked after, refused, or in nobody's power.

use super::instance::Instance;
use crate::saga::{ActKind, Outcome, Status, Waiting, What, Why, explain};

const STEPS: &str = "[{a: {send: c.a, reply: r.a, timeout: 10s, compensate: u.a}},
                      {b: {send: c.b, reply: r.b, timeout: 10s,
                           compensate: {send: u.b, reply: ur.b, fail_on: uf.b, timeout: 5s, retry: {max: 2, backoff: [1s]}}}},
                      {c: {send: c.c, reply: r.c, fail_on: f.c, timeout: 10s, compensate: none}}]";

fn undoing() -> Instance {
    let mut instance = Instance::of(STEPS);
    instance.event("r.a", "").event("r.b", "").event("f.c", "");
    instance.sends(&["c.a 1.0/1", "c.b 2.0/1", "c.c 3.0/1", "u.b 2.0/c/1"]).is(Status::Compensating);
    instance
}

#[test]
fn what_comes_before_waits_until_what_came_after_is_undone() {
    undoing().event("ur.b", "").sends(&["u.a 1.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn a_compensation_is_tried_again_whatever_it_failed_by_and_then_asks_a_person() {
    let mut instance = undoing();
    instance.event("uf.b", "2.0/c/1").noted(What::UndoRefused).wait(1_000).sends(&["u.b 2.0/c/2"]);
    instance.event("uf.b", "2.0/c/1").is(Status::Compensating);
    instance.wait(5_000).is(Status::NeedsPerson).noted(What::Asks).wait(1 << 40).sends(&[]);
    let waits = explain(&instance.plan, &instance.state);
    let [waiting @ Waiting::Person { why: Why::TimedOut, .. }] = waits[..] else { panic!("{waits:?}") };
    let sentence = "undoing b, attempt 2: nobody answered in time; waits for a person to retry, skip or resolve it";
    assert_eq!(waiting.sentence(&instance.plan), sentence);
}

fn stuck() -> Instance {
    let mut instance = undoing();
    instance.wait(11_000).is(Status::NeedsPerson).sends(&["u.b 2.0/c/2"]);
    instance
}

#[test]
fn a_person_has_a_compensation_tried_again_as_often_as_at_first() {
    let mut instance = stuck();
    instance.act(ActKind::Retry { from: None }).sends(&["u.b 2.0/c/3"]).wait(6_000).sends(&["u.b 2.0/c/4"]);
    instance.event("ur.b", "2.0/c/3").sends(&["u.a 1.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn a_person_skips_a_compensation_and_what_it_was_for_stands() {
    stuck().act(ActKind::Skip).sends(&["u.a 1.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Failed));
}

#[test]
fn a_person_undoes_by_hand_what_could_not_be_undone() {
    stuck().act(ActKind::Resolve).sends(&["u.a 1.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Resolved));
}

#[test]
fn an_answer_that_comes_while_a_person_is_asked_settles_it() {
    stuck().event("ur.b", "").sends(&["u.a 1.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn a_compensation_that_cannot_be_published_asks_a_person() {
    let mut instance = Instance::of(STEPS);
    instance.refused_types.push("u.a".into());
    instance.event("r.a", "").event("r.b", "").event("f.c", "").event("ur.b", "").is(Status::NeedsPerson);
    instance.refused_types.clear();
    instance.act(ActKind::Retry { from: None }).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn an_end_that_cannot_be_announced_asks_a_person() {
    let steps = "[{a: {send: c.a, compensate: none}}]";
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(steps)));
    instance.refused_types.push("done".into());
    instance.start().is(Status::NeedsPerson);
    instance.refused_types.clear();
    instance
        .act(ActKind::Retry { from: None })
        .sends(&["c.a 1.0/1", "done end/2"])
        .is(Status::Ended(Outcome::Completed));
}
