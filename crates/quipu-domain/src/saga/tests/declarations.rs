//! How a declaration is read, what is refused in it, and how it is drawn.

use super::instance::{json, plan, saga};
use crate::saga::{Finding, Level, Plan, Role, Saga, State, Step};

/// The findings of this level, as `path: sentence`.
fn refused(steps: &str) -> Vec<Finding> {
    Plan::compile(&saga(steps)).err().unwrap_or_default()
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (steps, path, sentence) in [
        ("[]", "/steps", "expected at least one step"),
        ("[{a: {}}]", "/steps/a", "expected exactly one of send, http"),
        ("[{a: {send: x, wait: y}}]", "/steps/a", "found send, wait"),
        ("[{'a b': {sleep: 1s}}]", "/steps/a b", "expected a name"),
        ("[{a: {sleep: 1s}}, {a: {sleep: 1s}}]", "/steps/a", "expected each name of a step once"),
        ("[{a: {sleep: 0s}}]", "/steps/a/sleep", "expected 1ms to 365d"),
        ("[{a: {sleep: 53w}}]", "/steps/a/sleep", "expected 1ms to 365d"),
        ("[{a: {sleep: 1s, retry: {max: 2}}}]", "/steps/a/retry", "expected no retry beside sleep"),
        ("[{a: {send: x, timeout: 1s}}]", "/steps/a/timeout", "nothing is waited for"),
        ("[{a: {send: x, fail_on: y}}]", "/steps/a", "beside fail_on"),
        ("[{a: {send: x, reply: 'x'}}]", "", "found a pattern that takes x itself"),
        ("[{a: {send: x.y, reply: z, fail_on: x.*}}]", "/steps/a/fail_on", "found a pattern that takes x.y itself"),
        ("[{a: {send: 'x*'}}]", "/steps/a/send", "expected the type of an event"),
        ("[{a: {wait: {type: x}}}]", "/steps/a/wait", ""),
        ("[{a: {wait: x, key: data}}]", "/steps/a/key", "expected correlationid"),
        ("[{a: {send: x, reply: y, retry: {max: 0}}}]", "/steps/a/retry", "expected max of 1 to 100"),
        ("[{a: {send: x, reply: y, retry: {max: 2, backoff: [8d]}}}]", "/steps/a/retry", "at most 7 days"),
        ("[{a: {send: x, data: ''}}]", "/steps/a/send/data", "expected jq"),
        ("[{a: {http: 'ftp://a'}}]", "/steps/a/http", "begins with https://"),
        ("[{a: {http: 'https://a', timeout: 2m}}]", "/steps/a/timeout", "at most 1m"),
        ("[{a: {saga: '-'}}]", "/steps/a/saga", "expected a name"),
        (
            "[{a: {loop: {steps: [{b: {sleep: 1s}}]}}}]",
            "/steps/a/loop/max",
            "expected max, 1 to 1000 rounds, found none",
        ),
        ("[{a: {loop: {max: 1001, steps: [{b: {sleep: 1s}}]}}}]", "/steps/a/loop/max", "found 1001"),
        (
            "[{a: {loop: {max: 50, steps: [{b: {loop: {max: 50, steps: [{c: {sleep: 1s}}]}}}]}}}]",
            "/steps/a/loop/steps/b/loop",
            "expected at most 2000 rounds",
        ),
        (
            "[{a: {loop: {max: 1000, steps: [{b: {sleep: 1s}}, {c: {sleep: 1s}}, {d: {sleep: 1s}}]}}}]",
            "/steps",
            "found 3000",
        ),
        ("[{a: {parallel: [{b: {sleep: 1s}}], need: 2}}]", "/steps/a/need", "1 to 1 branches, found 2"),
        ("[{a: {parallel: [{b: {sleep: 1s}}], need: 0}}]", "/steps/a/need", "found 0"),
        ("[{a: {parallel: [{b: {end: complete}}]}}]", "/steps/a/parallel/b/end", "found one in a parallel"),
        ("[{a: {end: fail}}, {b: {sleep: 1s}}]", "/steps/b", "found one after an end"),
        (
            "[{a: {if: '.x', then: [{b: {end: fail}}], else: [{c: {end: complete}}]}}, {d: {sleep: 1s}}]",
            "/steps/d",
            "found one after an end",
        ),
        ("[{a: {if: 'true ', then: [{b: {sleep: 1s}}]}}]", "/steps/a/if", "one side is never reached"),
        ("[{a: {if: '.x'}}]", "/steps/a", "expected then"),
        (
            "[{a: {if: {pattern: {type: [x]}, of: nobody}, then: [{b: {sleep: 1s}}]}}]",
            "/steps/a/if/of",
            "expected the name of a step",
        ),
        ("[{a: {send: x, compensate: {}}}]", "/steps/a/compensate", "either send or http"),
        (
            "[{a: {send: x, compensate: {http: 'https://a', reply: y}}}]",
            "/steps/a/compensate",
            "found a member of send",
        ),
    ] {
        let found = refused(steps);
        let is_it = |finding: &Finding| {
            finding.path.starts_with(path) && finding.sentence.contains(sentence) && finding.level == Level::Refused
        };
        assert!(found.iter().any(is_it), "{steps}: {found:?}");
    }
}

#[test]
fn steps_are_limited_in_number_and_depth() {
    let many: Vec<String> = (0..256).map(|at| format!("{{s{at}: {{sleep: 1s}}}}")).collect();
    assert!(refused(&format!("[{}]", many[..255].join(","))).is_empty());
    assert_eq!(refused(&format!("[{}]", many.join(","))).len(), 1);
    let nested = |depth: usize| {
        (0..depth).fold("[{x: {sleep: 1s}}]".to_owned(), |inner, at| format!("[{{s{at}: {{steps: {inner}}}}}]"))
    };
    assert!(refused(&nested(15)).is_empty());
    assert!(refused(&nested(16)).iter().any(|finding| finding.sentence.contains("nested at most 16 deep")));
}

#[test]
fn members_that_nobody_knows_are_named() {
    for (text, sentence) in [
        ("{saga: s, starts_on: x, steps: [{a: {sned: y}}]}", "step a: unknown field `sned`"),
        ("{saga: s, starts_on: x, steps: [{a: {sleep: 1s}, b: {sleep: 1s}}]}", "begin each step with a dash"),
        ("{saga: s, starts_on: x, steps: [{}]}", "expected the name of one step"),
        ("{saga: s, starts_on: x, step: []}", "unknown field `step`"),
        ("{saga: s, starts_on: 1, steps: []}", "expected a type such as order.placed"),
        ("{saga: s, starts_on: x, steps: [{a: {sleep: 10}}]}", "a: invalid type"),
        ("{saga: s, starts_on: x, steps: [{a: {sleep: 1y}}]}", "expected a whole number and a unit"),
        ("{saga: s, starts_on: x, steps: [{a: {parallel: [], need: most}}]}", "expected all, any, or how many"),
        (
            "{saga: s, starts_on: x, steps: [{a: {send: y, retry: {max: 3, backoff: linear}}}]}",
            "expected exponential, none",
        ),
        (
            "{saga: s, starts_on: x, steps: [{a: {send: y, compensate: {send: z, until: 3}}}]}",
            "expected the type of an event, none",
        ),
    ] {
        let error = serde_json::from_value::<Saga>(json(text)).unwrap_err().to_string();
        assert!(error.contains(sentence), "{text}: {error}");
    }
}

#[test]
fn a_declaration_is_written_as_it_was_read() {
    for text in [include_str!("order.json"), include_str!("everything.json")] {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let read: Saga = serde_json::from_value(value.clone()).unwrap();
        plan(&read);
        assert_eq!(serde_json::to_value(&read).unwrap(), value);
    }
}

#[test]
fn a_plan_says_which_events_it_is_to_be_told_of() {
    let plan = plan(&serde_json::from_str(include_str!("everything.json")).unwrap());
    let listens: Vec<(Role, Vec<&str>)> =
        plan.listens().iter().map(|listen| (listen.role, listen.pattern.named_types())).collect();
    let of = |name| plan.step_named(name).unwrap();
    for expected in [
        (Role::Start, vec!["trip.asked"]),
        (Role::Reply(of("hotel")), vec!["hotel.booked"]),
        (Role::Refusal(of("hotel")), vec!["hotel.full", "hotel.unknown"]),
        (Role::Undone(of("hotel")), vec!["hotel.cancelled"]),
        (Role::NotUndone(of("hotel")), vec!["hotel.kept"]),
        (Role::Reply(of("approval")), vec!["trip.approved"]),
    ] {
        assert!(listens.contains(&expected), "{expected:?} {listens:?}");
    }
}

#[test]
fn a_diagram_shows_every_step_and_what_undoes_it() {
    let plan = plan(&serde_json::from_str(include_str!("everything.json")).unwrap());
    if std::env::var_os("QUIPU_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/saga/tests/everything.mmd");
        std::fs::write(path, plan.mermaid()).unwrap();
    }
    assert_eq!(plan.mermaid(), include_str!("everything.mmd"), "QUIPU_WRITE_GOLDEN=1 writes it anew");
}

#[test]
fn an_open_instance_weighs_a_few_dozen_bytes() {
    let plan = plan(&serde_json::from_str(include_str!("order.json")).unwrap());
    // A million instances and a billion events, in the year 2026.
    let now = crate::Timestamp(1_780_000_000_000_000);
    let step = |state: State, input: crate::saga::Input<'_>| crate::saga::step(&plan, state, input, now);
    let start = crate::saga::Input::Start { number: 1_000_000, position: 1 << 30, parent: None, variables: None };
    let Step { mut state, .. } = step(State::default(), start);
    for node in [1, 2] {
        let roles = [Role::Reply(node)];
        state = step(state, crate::saga::Input::Event { position: 1 << 30, roles: &roles, cause: None }).state;
    }
    let bytes = postcard::to_stdvec(&state).unwrap().len();
    assert!(bytes <= 80, "{bytes} bytes");
}
