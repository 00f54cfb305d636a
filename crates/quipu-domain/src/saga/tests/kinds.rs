//! Steps that are not an event and its answer.

use super::instance::Instance;
use crate::saga::{ActKind, Answer, Attempt, Input, Outcome, Parent, Purpose, Status, What};

fn send(name: &str) -> String {
    format!("{{{name}: {{send: c.{name}, reply: r.{name}, fail_on: f.{name}, timeout: 1m, compensate: u.{name}}}}}")
}

fn parallel(need: &str) -> Instance {
    Instance::of(&format!(
        "[{{p: {{parallel: [{}, {}, {}], need: {need}}}}}, {}]",
        send("a"),
        send("b"),
        send("c"),
        send("z")
    ))
}

const ALL_SENT: [&str; 3] = ["c.a 2.0/1", "c.b 3.0/1", "c.c 4.0/1"];

#[test]
fn all_branches_have_to_finish() {
    parallel("all")
        .sends(&ALL_SENT)
        .event("r.c", "")
        .event("r.a", "")
        .sends(&[])
        .event("r.b", "")
        .sends(&["c.z 5.0/1"]);
}

#[test]
fn one_branch_that_fails_undoes_the_others_the_last_to_finish_first() {
    let mut instance = parallel("all");
    instance.sends(&ALL_SENT).event("r.c", "").event("r.a", "").event("f.b", "");
    instance.sends(&["u.a 2.0/c/1", "u.c 4.0/c/1", "failed end/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn branches_that_are_open_when_one_fails_are_in_doubt() {
    parallel("all").sends(&ALL_SENT).event("r.c", "").event("f.b", "").sends(&[
        "u.a 2.0/c/1",
        "u.c 4.0/c/1",
        "failed end/1",
    ]);
}

#[test]
fn of_any_the_first_wins_and_the_others_are_undone_while_it_goes_on() {
    let mut instance = parallel("any");
    instance.sends(&ALL_SENT).event("r.b", "").sends(&["c.z 5.0/1", "u.c 4.0/c/1", "u.a 2.0/c/1"]).is(Status::Running);
    instance.event("r.z", "").sends(&["done end/1"]).is(Status::Ended(Outcome::Completed));
    // One that lost succeeds after all.
    instance.event("r.a", "2.0/1").sends(&["u.a 2.0/late/2"]).is(Status::Ended(Outcome::Completed));
}

#[test]
fn what_is_said_to_be_completed_cannot_be_cancelled_while_it_undoes_what_lost() {
    let asked = "{a: {send: c.a, reply: r.a, timeout: 1m, compensate: {send: u.a, reply: ur.a, timeout: 1m}}}";
    let mut instance = Instance::of(&format!("[{{p: {{parallel: [{asked}, {}], need: any}}}}]", send("b")));
    instance.event("r.b", "").event("ur.a", "").event("r.a", "2.0/1").is(Status::Running);
    instance.act(ActKind::Cancel).noted(What::NotDone).event("ur.a", "2.0/late/2");
    instance.is(Status::Ended(Outcome::Completed));
}

#[test]
fn of_any_a_branch_that_fails_is_no_matter_until_it_is_the_last() {
    let mut instance = parallel("any");
    instance.sends(&ALL_SENT).event("f.a", "").event("f.b", "").is(Status::Running).event("f.c", "");
    instance.sends(&["failed end/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn n_of_is_met_by_n_and_fails_when_n_can_not_be_reached() {
    parallel("2").sends(&ALL_SENT).event("f.b", "").event("r.a", "").event("r.c", "").sends(&["c.z 5.0/1"]);
    let mut instance = parallel("2");
    instance
        .sends(&ALL_SENT)
        .event("r.a", "")
        .event("f.b", "")
        .event("f.c", "")
        .sends(&["u.a 2.0/c/1", "failed end/1"]);
}

#[test]
fn with_on_failure_wait_a_branch_that_is_not_needed_fails_without_asking() {
    let steps = format!("[{{p: {{parallel: [{}, {}], need: any}}}}]", send("a"), send("b"));
    let mut instance = Instance::with(&steps, "{on_failure: wait}");
    instance.event("f.a", "").is(Status::Running).event("f.b", "").is(Status::NeedsPerson);
}

#[test]
fn a_branch_that_fails_undoes_its_own_steps_at_once() {
    let steps =
        format!("[{{p: {{parallel: [{{x: {{steps: [{}, {}]}}}}, {}], need: any}}}}]", send("a"), send("b"), send("c"));
    let mut instance = Instance::of(&steps);
    instance.event("r.a", "").sends(&["c.c 5.0/1", "c.a 3.0/1", "c.b 4.0/1"]).event("f.b", "").sends(&["u.a 3.0/c/1"]);
    instance.is(Status::Running).event("r.c", "").is(Status::Ended(Outcome::Completed));
}

#[test]
fn a_condition_is_asked_and_takes_its_side() {
    let steps =
        format!("[{{i: {{if: '.start.data.x', then: [{}], else: [{}]}}}}, {}]", send("a"), send("b"), send("z"));
    let plan = super::instance::plan(&super::instance::saga(&steps));
    for (answer, sent) in [(true, "c.a 3.0/1"), (false, "c.b 5.0/1")] {
        let mut instance = Instance::new(plan.clone());
        instance.answers.push_back(answer);
        instance.start().sends(&[sent]);
    }
    let steps = format!("[{{i: {{if: {{pattern: {{type: [x]}}}}, then: [{}]}}}}, {}]", send("a"), send("z"));
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(&steps)));
    instance.answers.push_back(false);
    instance.start().sends(&["c.z 4.0/1"]);
}

#[test]
fn a_condition_that_fails_asks_a_person_and_never_takes_a_side_by_itself() {
    let steps = format!("[{{i: {{if: '.start.data.x', then: [{}], else: [{}]}}}}]", send("a"), send("b"));
    for (act, sent) in
        [(ActKind::Skip, "c.b 5.0/1"), (ActKind::Resolve, "c.a 3.0/1"), (ActKind::Retry { from: None }, "c.a 3.0/1")]
    {
        let mut instance = Instance::new(super::instance::plan(&super::instance::saga(&steps)));
        instance.fails_mappings = true;
        instance.start().is(Status::NeedsPerson).sends(&[]);
        instance.fails_mappings = false;
        instance.act(act).is(Status::Running).sends(&[sent]);
    }
}

#[test]
fn a_loop_goes_round_until_its_condition_holds() {
    let steps = format!("[{{l: {{loop: {{max: 3, until: '.vars.x', steps: [{}]}}}}}}, {}]", send("a"), send("z"));
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(&steps)));
    instance.answers.extend([false, true]);
    instance
        .start()
        .event("r.a", "3.0/1")
        .sends(&["c.a 3.0/1", "c.a 3.1/1"])
        .event("r.a", "3.1/1")
        .sends(&["c.z 4.0/1"]);
    instance.event("f.z", "").sends(&["u.a 3.1/c/1", "u.a 3.0/c/1", "failed end/1"]);
}

#[test]
fn a_loop_that_reaches_its_bound_fails_and_one_without_condition_is_done() {
    let steps = format!("[{{l: {{loop: {{max: 2, until: '.vars.x', steps: [{}]}}}}}}]", send("a"));
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(&steps)));
    instance.answers.extend([false, false]);
    instance.start().event("r.a", "3.0/1").event("r.a", "3.1/1").is(Status::Ended(Outcome::Compensated));
    instance.sends(&["c.a 3.0/1", "c.a 3.1/1", "u.a 3.1/c/1", "u.a 3.0/c/1", "failed end/1"]);

    let steps = format!("[{{l: {{loop: {{max: 2, steps: [{{m: {{loop: {{max: 2, steps: [{}]}}}}}}]}}}}}}]", send("a"));
    let mut instance = Instance::of(&steps);
    for round in 0..4 {
        instance.sends(&[&format!("c.a 5.{round}/1")]).event("r.a", &format!("5.{round}/1"));
    }
    instance.sends(&["done end/1"]).is(Status::Ended(Outcome::Completed));
}

#[test]
fn a_person_leaves_a_loop_that_reached_its_bound() {
    let steps = format!("[{{l: {{loop: {{max: 1, until: '.vars.x', steps: [{}]}}}}}}]", send("a"));
    for act in [ActKind::Skip, ActKind::Resolve, ActKind::Retry { from: None }] {
        let saga = super::instance::saga_with(&steps, "{on_failure: wait}");
        let mut instance = Instance::new(super::instance::plan(&saga));
        instance.answers.push_back(false);
        instance.start().event("r.a", "").is(Status::NeedsPerson).act(act).is(Status::Ended(Outcome::Completed));
    }
}

#[test]
fn an_event_that_comes_before_its_wait_is_kept_for_it_and_not_more_than_a_few() {
    let steps = format!("[{}, {{w: {{wait: x, timeout: 1m}}}}]", send("a"));
    let mut instance = Instance::of(&steps);
    instance.event("x", "").noted(What::KeptEarly).event("r.a", "").is(Status::Ended(Outcome::Completed));
    let mut instance = Instance::of(&steps);
    for _ in 0..16 {
        instance.event("x", "").noted(What::KeptEarly);
    }
    instance.event("x", "").noted(What::DroppedEarly);
    assert_eq!(instance.state.oldest_position(), 1);
}

#[test]
fn a_wait_in_a_loop_takes_one_event_a_round() {
    let mut instance = Instance::of("[{l: {loop: {max: 3, steps: [{w: {wait: x, timeout: 1m}}]}}}]");
    instance.event("x", "").event("x", "").is(Status::Running).event("x", "").is(Status::Ended(Outcome::Completed));
}

#[test]
fn a_wait_that_times_out_fails_and_leaves_nothing_to_undo() {
    let steps = format!("[{}, {{w: {{wait: x, timeout: 1m}}}}]", send("a"));
    Instance::of(&steps).event("r.a", "").wait(60_000).sends(&["c.a 1.0/1", "u.a 1.0/c/1", "failed end/1"]);
}

#[test]
fn time_passes_and_the_sum_of_the_steps_is_in_order() {
    let mut instance = Instance::of("[{a: {sleep: 5s}}, {b: {send: c.b, compensate: none}}, {c: {sleep: 1h}}]");
    instance.wait(4_999).sends(&[]).wait(1).sends(&["c.b 2.0/1"]).wait(3_600_000).is(Status::Ended(Outcome::Completed));
}

#[test]
fn variables_are_set_when_a_step_is_finished() {
    let steps =
        "[{a: {send: c.a, reply: r.a, timeout: 1m, compensate: none, set: '{x: .event.data}'}}, {b: {sleep: 1s}}]";
    let mut instance = Instance::of(steps);
    instance.event("r.a", "");
    assert_eq!(instance.state.variables(), Some(r#"{"x":1}"#));
    let mut instance = Instance::of(steps);
    instance.fails_mappings = true;
    instance.event("r.a", "").is(Status::NeedsPerson).event("r.a", "").noted(What::Repeated);
    instance.act(ActKind::Skip).is(Status::Running);
    assert_eq!(instance.state.variables(), None);
}

#[test]
fn variables_have_a_size() {
    let steps = "[{a: {send: c.a, reply: r.a, timeout: 1m, compensate: none, set: '{}'}}]";
    let plan = super::instance::plan(&super::instance::saga(steps));
    let text = "x".repeat(crate::saga::VARIABLES_BYTES_MAX + 1);
    let state = crate::saga::State::default();
    let now = crate::Timestamp(0);
    let start = Input::Start { number: 1, position: 1, parent: None, variables: None };
    let state = crate::saga::step(&plan, state, start, now).state;
    let roles = [crate::saga::Role::Reply(1)];
    let state = crate::saga::step(&plan, state, Input::Event { position: 2, roles: &roles, cause: None }, now).state;
    let told = crate::saga::Told::Variables(&text);
    let state = crate::saga::step(&plan, state, Input::Told { node: 1, iteration: 0, told }, now).state;
    assert_eq!(state.status(), Some(Status::NeedsPerson));
}

#[test]
fn an_end_in_a_branch_of_a_condition_ends_the_saga() {
    let steps =
        format!("[{}, {{i: {{if: '.x', then: [{{e: {{end: fail}}}}], else: [{{o: {{end: complete}}}}]}}}}]", send("a"));
    let plan = super::instance::plan(&super::instance::saga(&steps));
    for (answer, outcome) in [(true, Outcome::Compensated), (false, Outcome::Completed)] {
        let mut instance = Instance::new(plan.clone());
        instance.answers.push_back(answer);
        instance.start().event("r.a", "").is(Status::Ended(outcome));
    }
}

const HTTP: &str = "[{h: {http: 'https://a.example', timeout: 5s, retry: {max: 2, backoff: [1s]}, compensate: {http: 'https://b.example', retry: {max: 2, backoff: none}}}}, {z: {sleep: 1h}}]";

fn answer(name: &str, answer: Answer) -> Input<'static> {
    Input::Answered { attempt: name.parse().unwrap(), answer, position: 0, text: "" }
}

#[test]
fn a_call_that_is_answered_is_a_step_that_is_finished() {
    let mut instance = Instance::of(HTTP);
    instance.sends(&["https://a.example 1.0/1"]).wait(1 << 40).sends(&[]);
    instance
        .feed(answer("1.0/1", Answer::Done))
        .is(Status::Running)
        .feed(answer("1.0/1", Answer::Done))
        .noted(What::Repeated);
}

#[test]
fn a_call_that_nobody_knows_of_is_tried_again_under_the_same_key_and_then_undone() {
    let mut instance = Instance::of(HTTP);
    instance.feed(answer("1.0/1", Answer::UNSURE)).feed(answer("1.0/1", Answer::UNSURE)).wait(1_000);
    instance.sends(&["https://a.example 1.0/1", "https://a.example 1.0/2"]);
    let key = |name: &str| name.parse::<Attempt>().unwrap().key();
    assert_eq!(key("1.0/1"), key("1.0/2"));
    instance.feed(answer("1.0/2", Answer::UNSURE)).sends(&["https://b.example 1.0/c/1"]);
    instance.feed(answer("1.0/c/1", Answer::UNSURE)).sends(&["https://b.example 1.0/c/2"]);
    instance
        .feed(answer("1.0/c/2", Answer::Refused))
        .is(Status::NeedsPerson)
        .act(ActKind::Skip)
        .is(Status::Ended(Outcome::Failed));
}

#[test]
fn a_call_that_nobody_knows_of_after_it_was_undone_is_undone_once_more() {
    let mut instance = Instance::of("[{h: {http: 'https://a.example', timeout: 5s, compensate: u}}]");
    instance.act(ActKind::Cancel).sends(&["https://a.example 1.0/1", "u 1.0/c/1", "failed end/1"]);
    instance.feed(answer("1.0/1", Answer::UNSURE)).sends(&["u 1.0/late/2"]).is(Status::Ended(Outcome::Cancelled));
    instance.feed(answer("1.0/1", Answer::UNSURE)).noted(What::Repeated).sends(&[]);
}

#[test]
fn a_call_that_is_refused_is_not_undone() {
    let mut instance = Instance::of(HTTP);
    instance.feed(answer("1.0/1", Answer::Refused)).is(Status::Ended(Outcome::Compensated));
    instance.sends(&["https://a.example 1.0/1", "failed end/1"]);
}

#[test]
fn a_call_is_made_again_no_sooner_than_its_endpoint_asks_and_each_note_has_what_it_said() {
    let asks = |name: &str, ms: i64| Input::Answered {
        attempt: name.parse().unwrap(),
        answer: Answer::Unsure { not_before: Some(crate::Timestamp(ms * 1_000)) },
        position: 0,
        text: "503",
    };
    let mut instance = Instance::of(HTTP);
    let start = instance.now.0 / 1_000;
    // A second by its declaration, and a minute by its endpoint.
    instance.sends(&["https://a.example 1.0/1"]).feed(asks("1.0/1", start + 60_000)).noted(What::TimedOut);
    assert_eq!(instance.notes.iter().find(|note| note.what == What::TimedOut).unwrap().text.as_deref(), Some("503"));
    instance.wait(59_999).sends(&[]).wait(1).sends(&["https://a.example 1.0/2"]);
    // What undoes it would be tried again at once.
    instance.feed(answer("1.0/2", Answer::UNSURE)).sends(&["https://b.example 1.0/c/1"]);
    let now = instance.now.0 / 1_000;
    instance.feed(asks("1.0/c/1", now + 5_000)).sends(&[]).wait(5_000).sends(&["https://b.example 1.0/c/2"]);
    // A time that has passed holds nothing up, and no longer than its declaration says.
    let mut instance = Instance::of(HTTP);
    instance.sends(&["https://a.example 1.0/1"]).feed(asks("1.0/1", 0)).wait(999).sends(&[]).wait(1);
    instance.sends(&["https://a.example 1.0/2"]);
}

const CHILD: &str =
    "[{s: {saga: t, timeout: 1m}}, {b: {send: c.b, reply: r.b, fail_on: f.b, timeout: 1m, compensate: none}}]";

fn child(outcome: Outcome) -> Input<'static> {
    Input::Child { attempt: "1.0/1".parse().unwrap(), outcome }
}

#[test]
fn a_saga_that_completes_finishes_the_step_that_began_it_and_is_undone_with_it() {
    let mut instance = Instance::of(CHILD);
    instance.sends(&["begin t 1.0/1"]).feed(child(Outcome::Completed)).sends(&["c.b 2.0/1"]);
    instance.event("f.b", "").sends(&["undo child 1.0/1"]).is(Status::Compensating);
    instance.feed(child(Outcome::Completed)).is(Status::Compensating).feed(child(Outcome::Compensated));
    instance.sends(&["failed end/1"]).is(Status::Ended(Outcome::Compensated));
}

#[test]
fn a_saga_that_fails_fails_the_step_that_began_it_and_one_that_hangs_is_cancelled() {
    Instance::of(CHILD).feed(child(Outcome::Compensated)).sends(&["begin t 1.0/1", "failed end/1"]);
    let mut instance = Instance::of(CHILD);
    instance
        .wait(60_000)
        .sends(&["begin t 1.0/1", "undo child 1.0/1"])
        .feed(child(Outcome::Cancelled))
        .sends(&["failed end/1"]);
}

#[test]
fn what_somebody_did_instead_of_a_saga_is_undone_by_somebody() {
    let mut instance = Instance::with(CHILD, "{on_failure: wait}");
    instance.wait(60_000).act(ActKind::Resolve).sends(&["begin t 1.0/1", "undo child 1.0/1", "c.b 2.0/1"]);
    instance.feed(child(Outcome::Cancelled)).noted(What::Repeated).act(ActKind::Cancel).is(Status::NeedsPerson);
    instance.feed(child(Outcome::Cancelled)).is(Status::NeedsPerson);
    instance.act(ActKind::Retry { from: None }).is(Status::NeedsPerson).act(ActKind::Resolve).sends(&["failed end/1"]);
}

#[test]
fn a_saga_tells_whoever_began_it_how_it_ended_and_undoes_itself_for_it_though_it_is_completed() {
    let attempt = Attempt { node: 4, iteration: 0, number: 1, purpose: Purpose::Command };
    let parent = Some(Parent { number: 1, attempt });
    let mut instance = Instance::new(super::instance::plan(&super::instance::saga(&format!("[{}]", send("a")))));
    instance.feed(Input::Start { number: 2, position: 1, parent, variables: Some("{}") }).event("r.a", "");
    instance.sends(&["c.a 1.0/1", "done end/1", "tell completed 4.0/1"]);
    instance.act(ActKind::Undo).sends(&["u.a 1.0/c/1", "failed end/2", "tell cancelled 4.0/1"]);
    instance.act(ActKind::Undo).sends(&["tell cancelled 4.0/1"]);
}
