//! Declarations that begin each other: which circles are refused, which are warned of, and which are none.

use std::fmt::Write;

use super::instance::json;
use crate::saga::{Expectation, Finding, Level, Plan, Rule, Saga, Written, circles};

/// A declaration in the flow style of [`json`].
fn declared(text: &str) -> Plan {
    let value = json(text);
    let refused = |findings: Vec<Finding>| panic!("{text}: {findings:?}");
    let is = |member: &str| value.get(member).is_some();
    match () {
        () if is("rule") => Plan::of_rule(&serde_json::from_value::<Rule>(value).unwrap()).unwrap_or_else(refused),
        () if is("expect") => {
            Plan::of_expectation(&serde_json::from_value::<Expectation>(value).unwrap()).unwrap_or_else(refused)
        }
        () if is("version") => {
            Plan::of_written(&serde_json::from_value::<Written>(value).unwrap()).unwrap_or_else(refused)
        }
        () => Plan::compile(&serde_json::from_value::<Saga>(value).unwrap()).unwrap_or_else(refused),
    }
}

/// What is found when the first of these is applied to the others.
fn found(declarations: &[&str]) -> Vec<Finding> {
    let plans: Vec<Plan> = declarations.iter().map(|text| declared(text)).collect();
    circles(&plans[0], &plans[1..].iter().collect::<Vec<_>>())
}

fn rule(name: &str, on: &str, publish: &str) -> String {
    format!("{{rule: {name}, on: {on}, publish: {{type: {publish}}}}}")
}

/// A saga that publishes an event as it begins, and has ended by then.
fn passes_on(name: &str, on: &str, sends: &str, more: &str) -> String {
    format!("{{saga: {name}, starts_on: {on}, steps: [{{a: {{send: {sends}, compensate: none}}}}]{more}}}")
}

const BY_ID: &str = ", key: id";
const AGAIN: &str = ", again: begin";

#[track_caller]
fn finds(declarations: &[&str], level: Level, path: &str, sentence: &str) {
    let found = found(declarations);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.level, finding.path.as_str()), (level, path), "{finding}");
    assert!(finding.sentence.contains(sentence), "{finding}");
}

#[test]
fn rules_that_set_each_other_off_for_ever_are_refused() {
    let (a, b, c) = (rule("a", "x", "y"), rule("b", "y", "z"), rule("c", "z", "w"));
    assert_eq!(found(&[&a, &b, &c]), []);
    assert_eq!(found(&[&rule("back", "w.*", "x"), &a]), [], "w is of no type that begins with w.");
    let sentence = "set each other off for ever, found rule closing -> x -> rule a -> y -> rule b -> z -> rule closing";
    finds(&[&rule("closing", "z", "x"), &a, &b], Level::Refused, "/on", sentence);
    let maybe = rule("maybe", "{type: [z], data: {n: [1]}}", "x");
    assert_eq!(found(&[&maybe, &a, &b]), [], "only some of z, and no more than 16 times");
    assert_eq!(found(&[&c, &rule("closing", "z", "x"), &a, &b]), [], "a circle of others");
}

#[test]
fn a_circle_that_waits_for_nothing_is_refused_from_whichever_side_it_is_closed() {
    let back = rule("r", "loop.c", "loop.a");
    for more in [BY_ID, AGAIN] {
        let (one, two) = (passes_on("s1", "loop.a", "loop.b", more), passes_on("s2", "loop.b", "loop.c", more));
        let route = "found s1 -> loop.b -> s2 -> loop.c -> rule r -> loop.a -> s1: nothing is waited for";
        finds(&[&one, &two, &back], Level::Refused, "/steps/a", route);
        let route = "found rule r -> loop.a -> s1 -> loop.b -> s2 -> loop.c -> rule r: nothing is waited for";
        finds(&[&back, &two, &one], Level::Refused, "/on", route);
        assert_eq!(found(&[&one, &two]), []);
        assert_eq!(found(&[&one, &back]), []);
    }
}

#[test]
fn what_surely_is_published_at_once_is_known_by_the_steps() {
    let send = "{a: {send: x, compensate: none}}";
    for (steps, more, is_at_once) in [
        (send, "", true),
        ("{a: {send: x, reply: y, timeout: 1m, compensate: none}}", "", true),
        ("{b: {send: y, compensate: none}}, {a: {send: x, compensate: none}}", "", true),
        ("{p: {parallel: [{a: {send: x, compensate: none}}, {b: {sleep: 1s}}]}}", "", true),
        ("{l: {loop: {max: 2, steps: [{a: {send: x, compensate: none}}]}}}", "", true),
        ("{b: {send: y, compensate: none}}", ", completes_with: x", true),
        ("{b: {send: y, compensate: none}}, {e: {end: complete}}", ", completes_with: x", true),
        ("{l: {loop: {max: 2, steps: [{b: {send: y, compensate: none}}]}}}", ", completes_with: x", true),
        ("{i: {if: '.x', then: [{b: {send: y, compensate: none}}]}}", ", completes_with: x", true),
        ("{i: {if: '.x', then: [{b: {sleep: 1s}}]}}", ", completes_with: x", false),
        ("{i: {if: '.x', then: [{a: {send: x, compensate: none}}]}}", "", false),
        ("{p: {need: any, parallel: [{a: {send: x, compensate: none}}, {b: {sleep: 1s}}]}}", "", false),
        ("{l: {loop: {max: 2, until: '.x', steps: [{b: {send: y, compensate: none}}]}}}", ", completes_with: x", false),
        ("{b: {sleep: 1d}}, {a: {send: x, compensate: none}}", "", false),
        ("{b: {wait: y, timeout: 1d}}, {a: {send: x, compensate: none}}", "", false),
        ("{b: {send: y, reply: z, timeout: 1d, compensate: none}}, {a: {send: x, compensate: none}}", "", false),
        ("{b: {http: 'https://a.example', compensate: none}}, {a: {send: x, compensate: none}}", "", false),
        ("{b: {saga: t, timeout: 1d}}", ", completes_with: x", false),
        ("{b: {send: y, reply: z, timeout: 1m, compensate: x}}", "", false),
        ("{b: {send: y, reply: z, timeout: 1m, compensate: none}}", ", fails_with: x", false),
    ] {
        let text = format!("{{saga: s, starts_on: x, key: id, steps: [{steps}]{more}}}");
        let found = found(&[&text]);
        let level = if is_at_once { Level::Refused } else { Level::Warned };
        assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), [level], "{text}: {found:?}");
        assert!(found[0].sentence.contains("found s -> x -> s:"), "{found:?}");
    }
}

#[test]
fn a_key_that_is_remembered_closes_a_circle_and_one_that_may_be_another_does_not() {
    for (more, level, sentence) in [
        ("", Level::Warned, "while the key is remembered s begins nothing by it"),
        (BY_ID, Level::Refused, "nothing is waited for"),
        (AGAIN, Level::Refused, "nothing is waited for"),
        (", key: data.order", Level::Warned, "it may go round for ever"),
        (", key: subject", Level::Warned, "it may go round for ever"),
        (", key: data.order, again: begin", Level::Refused, "nothing is waited for"),
    ] {
        finds(&[&passes_on("s", "x", "x", more)], level, "/steps/a", sentence);
    }
    // It is still open when what it published comes: that begins nothing.
    let open = "{saga: s, starts_on: x, again: begin, steps: [{a: {send: x, compensate: none}}, {b: {sleep: 1d}}]}";
    finds(&[open], Level::Warned, "/steps/a", "it may go round for ever");
    // One of them is enough.
    let (one, two) = (passes_on("s1", "x", "y", BY_ID), passes_on("s2", "y", "x", ""));
    finds(&[&one, &two], Level::Warned, "/steps/a", "while the key is remembered s2 begins nothing by it");
}

#[test]
fn a_renewal_is_warned_of() {
    let monthly = "{saga: s, starts_on: x, again: begin, steps: [{month: {sleep: 30d}}], completes_with: x}";
    finds(&[monthly], Level::Warned, "/completes_with", "found s -> x -> s: it may go round for ever");
}

#[test]
fn a_saga_as_a_step_has_new_ids_so_that_no_key_closes_the_circle() {
    let outer = "{saga: s, starts_on: x, steps: [{a: {saga: t, timeout: 1m}}]}";
    let by_event = passes_on("t", "never", "x", "");
    finds(&[outer, &by_event], Level::Refused, "/steps/a", "found s -> t -> x -> s: nothing is waited for");
    finds(&[&by_event, outer], Level::Refused, "/steps/a", "found t -> x -> s -> t: nothing is waited for");
    // Where its key stands elsewhere, what it publishes has the correlation id of the one around it.
    let elsewhere = passes_on("t", "never", "x", ", key: data.order");
    finds(&[outer, &elsewhere], Level::Warned, "/steps/a", "while the key is remembered s begins nothing by it");
    let by_step = "{saga: t, starts_on: never, steps: [{b: {sleep: 1d}}, {a: {saga: s, timeout: 1m}}]}";
    finds(&[outer, by_step], Level::Refused, "/steps/a/saga", "does not begin s in turn, found s -> t -> s");
}

#[test]
fn an_expectation_that_begins_itself_again_is_refused_with_rules_on_the_way_and_warned_of_with_sagas() {
    let own = "{expect: e, after: x, then: z, within: 5d, otherwise: x}";
    let route = "found expectation e -> x -> expectation e: while nothing else comes";
    finds(&[own], Level::Refused, "/otherwise", route);
    let missed = "{expect: e, after: x, then: z, within: 5d}";
    assert_eq!(found(&[missed]), []);
    let route = "expectation e -> expectation.missed -> rule r -> x -> expectation e: while";
    finds(&[missed, &rule("r", "expectation.*", "x")], Level::Refused, "/otherwise", route);
    finds(&[missed, &passes_on("s", "expectation.missed", "x", BY_ID)], Level::Warned, "/otherwise", "it may go round");
    let some = "{expect: e, after: {type: [x], data: {n: [1]}}, then: z, within: 5d, otherwise: x}";
    finds(&[some], Level::Warned, "/otherwise", "it may go round");
}

#[test]
fn what_a_pattern_says_of_types_and_sources_decides() {
    let starting = |on: &str| {
        format!("{{saga: s, starts_on: {on}, key: id, steps: [{{a: {{send: order.x, compensate: none}}}}]}}")
    };
    for (on, level) in [
        ("order.*", Some(Level::Refused)),
        ("[a, b, order.x]", Some(Level::Refused)),
        ("order.x.v2", None),
        ("{type: [{suffix: .x}]}", Some(Level::Refused)),
        ("{type: [{'anything-but': [a]}]}", Some(Level::Refused)),
        ("{type: [order.x], data: {n: [1]}}", Some(Level::Warned)),
        ("{type: [order.x], source: ['/shop']}", None),
        ("{type: [order.x], source: [{'anything-but': {prefix: '/quipu/'}}]}", None),
        ("{source: [{prefix: '/quipu/'}]}", Some(Level::Refused)),
        ("{source: ['/shop']}", None),
        // It asks for no type: it is meant for many, and would be warned of with everything.
        ("{data: {n: [1]}}", None),
    ] {
        let found = found(&[&starting(on)]);
        assert_eq!(found.first().map(|finding| finding.level), level, "{on}: {found:?}");
    }
}

#[test]
fn each_type_is_told_of_once_by_its_worst_circle() {
    let many = "{saga: s, starts_on: [x, y, z], key: id, steps: [{a: {send: x, compensate: y}}, {b: {sleep: 1d}}, {c: {send: x, compensate: none}}, {d: {send: z, compensate: none}}]}";
    let found: Vec<(Level, String)> = found(&[many]).into_iter().map(|one| (one.level, one.path)).collect();
    let at = |path: &str| path.to_owned();
    let expected =
        [(Level::Refused, at("/steps/a")), (Level::Warned, at("/steps/a/compensate")), (Level::Warned, at("/steps/d"))];
    assert_eq!(found, expected);
}

#[test]
fn what_an_endpoint_answers_and_what_code_hears_are_looked_at_too() {
    let asks = "{saga: s, starts_on: saga.call.answered, key: id, steps: [{a: {http: 'https://a.example', compensate: none}}]}";
    finds(&[asks], Level::Warned, "/steps/a", "found s -> saga.call.answered -> s");
    // What code publishes is known to nobody.
    let code = "{saga: w, version: 1, starts_on: y}";
    assert_eq!(found(&[&passes_on("s", "x", "y", BY_ID), code]), []);
}

#[test]
fn a_long_circle_is_shown_by_its_first_and_its_last() {
    let texts: Vec<String> = (0..100)
        .map(|at| passes_on(&format!("s{at}"), &format!("x{at}"), &format!("x{}", (at + 1) % 100), BY_ID))
        .collect();
    let found = found(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut route = "found s0".to_owned();
    (1..32).for_each(|at| write!(route, " -> x{at} -> s{at}").unwrap());
    assert!(found[0].sentence.contains(&format!("{route} -> … 68 more … -> x0 -> s0: ")), "{found:?}");
}

/// The most that a tenant may declare, all of which lead to each other: what is looked at has an end, and it is said.
#[test]
fn declarations_that_all_lead_to_each_other_are_looked_at_up_to_a_limit() {
    let types: Vec<String> = (0..60).map(|at| format!("t{at}")).collect();
    let sends: Vec<String> = (0..60).map(|at| format!("{{a{at}: {{send: t{at}, compensate: none}}}}")).collect();
    let one = |at: usize| {
        let (types, sends) = (types.join(", "), sends.join(", "));
        format!("{{saga: s{at}, starts_on: [{types}], key: id, steps: [{sends}]}}")
    };
    let texts: Vec<String> = (0..200).map(one).collect();
    let found = found(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(found.len() == 61 && found[..60].iter().all(|one| one.level == Level::Refused), "{}", found.len());
    assert!(found[60].level == Level::Warned && found[60].sentence.contains("more than 1000000 ways"), "{}", found[60]);
}
