//! What a check asks its surroundings.

use super::instance::{plan, saga, saga_with};
use crate::Pattern;
use crate::saga::{Catalog, Finding, Key, Level, Plan, check};

/// Knows a few things, and objects to nothing else.
#[derive(Default)]
struct Known {
    published: Option<Vec<&'static str>>,
    followed: Option<Vec<&'static str>>,
    others: Vec<Plan>,
    key: Option<Key>,
    objects: bool,
}

impl Catalog for Known {
    fn jq(&self, text: &str) -> Result<(), String> {
        if text.contains('!') { Err("expected jq, found !".into()) } else { Ok(()) }
    }

    fn url(&self, url: &str) -> Result<(), String> {
        if url.contains("localhost") { Err("expected a public address".into()) } else { Ok(()) }
    }

    fn is_published(&self, pattern: &Pattern) -> bool {
        let takes = |kinds: &Vec<&str>| kinds.iter().any(|kind| pattern.takes(kind) > crate::Takes::None);
        self.published.as_ref().is_none_or(takes)
    }

    fn is_followed(&self, kind: &str) -> bool {
        self.followed.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    fn objection(&self, _: &str, data: Option<&str>) -> Option<String> {
        (self.objects && data.is_some()).then(|| "/x is missing".to_owned())
    }

    fn others(&self) -> Vec<&Plan> {
        self.others.iter().collect()
    }

    fn key_in_use(&self, _: &str) -> Option<Key> {
        self.key.clone()
    }
}

fn findings(steps: &str, known: &Known) -> Vec<Finding> {
    check(&saga(steps), known).findings
}

#[track_caller]
fn finds(steps: &str, known: &Known, level: Level, path: &str, sentence: &str) {
    let found = findings(steps, known);
    let is_it =
        |finding: &Finding| finding.level == level && finding.path == path && finding.sentence.contains(sentence);
    assert!(found.iter().any(is_it), "{steps}: {found:?}");
}

#[test]
fn a_saga_that_leaves_nothing_open_has_no_findings() {
    let steps = "[{a: {send: c.a, reply: r.a, timeout: 1m, compensate: u.a}}, {b: {wait: x, timeout: 1m}}]";
    let checked = check(&saga(steps), &Known::default());
    assert_eq!(checked.findings, []);
    assert!(checked.is_taken(true));
}

#[test]
fn what_may_be_meant_is_warned_of_and_refused_if_it_is_to_be_strict() {
    let known = Known::default();
    let sends = "[{a: {send: c.a, reply: r.a, compensate: none}}]";
    finds(sends, &known, Level::Warned, "/steps/a", "it waits for 1d");
    finds("[{a: {send: c.a, reply: r.a, timeout: 1m}}]", &known, Level::Warned, "/steps/a", "expected compensate");
    let overtaken = "[{a: {send: c.a, compensate: {http: 'https://a.example'}}}]";
    finds(overtaken, &known, Level::Warned, "/steps/a/compensate", "the call may overtake the event");
    let any = "[{a: {send: c, reply: {data: {x: [1]}}, timeout: 1m, compensate: none}}]";
    let warned = findings(any, &known);
    assert!(warned[0].sentence.contains("found any: c too"), "{warned:?}");
    let checked = check(&saga(sends), &known);
    assert!(checked.is_taken(false) && !checked.is_taken(true));
}

#[test]
fn an_event_that_nobody_publishes_and_a_command_that_nobody_follows_are_warned_of() {
    let steps = "[{a: {send: c.a, reply: r.a, timeout: 1m, compensate: u.a}}, {b: {wait: x, timeout: 1m}}]";
    let known = Known { published: Some(vec!["start", "x"]), ..Known::default() };
    let found = findings(steps, &known);
    assert_eq!((found.len(), found[0].path.starts_with("/steps/a/")), (1, true), "{found:?}");
    let known = Known { followed: Some(vec!["c.a"]), ..Known::default() };
    finds(steps, &known, Level::Warned, "/steps/a/compensate", "found nobody");
}

#[test]
fn two_that_are_open_at_once_and_wait_for_the_same_are_warned_of() {
    let a = "{a: {send: c, reply: r, timeout: 1m, compensate: none}}, {b: {send: c, reply: r, timeout: 1m, compensate: none}}";
    finds(&format!("[{{p: {{parallel: [{a}]}}}}]"), &Known::default(), Level::Warned, "/steps/b", "causationid");
    assert_eq!(findings(&format!("[{a}]"), &Known::default()), []);
}

#[test]
fn jq_addresses_schemas_and_the_key_are_looked_at() {
    let known = Known { objects: true, key: Some(Key::Attribute("subject".into())), ..Known::default() };
    let steps = "[{a: {send: c, data: '!', compensate: {http: 'https://localhost', data: '!'}, set: '!'}},
                  {b: {if: '!', then: [{c: {sleep: 1s}}]}}, {d: {loop: {max: 2, until: '!', steps: [{e: {sleep: 1s}}]}}}]";
    for path in ["/steps/a/data", "/steps/a/compensate/data", "/steps/a/set", "/steps/b/if", "/steps/d/loop/until"] {
        finds(steps, &known, Level::Refused, path, "expected jq, found !");
    }
    finds(steps, &known, Level::Refused, "/steps/a/compensate/http", "public address");
    finds(steps, &known, Level::Warned, "/steps/a/data", "/x is missing");
    finds(steps, &known, Level::Refused, "/key", "expected the key of the open instances");
}

/// A saga that begins these, one after the other.
fn beginning(name: &str, sagas: &[&str]) -> Plan {
    let steps: Vec<String> = sagas.iter().map(|saga| format!("{{'{saga}_': {{saga: {saga}, timeout: 1m}}}}")).collect();
    let steps = if steps.is_empty() { "{a: {sleep: 1s}}".to_owned() } else { steps.join(", ") };
    plan(&saga_with(&format!("[{steps}]"), &format!("{{saga: {name}, starts_on: '{name}.begin'}}")))
}

#[test]
fn a_saga_that_begins_itself_by_whichever_way_is_refused() {
    let others = vec![beginning("t", &["u", "t"]), beginning("u", &["s"]), beginning("v", &[])];
    let known = Known { others, ..Known::default() };
    for name in ["s", "t", "u"] {
        let steps = format!("[{{a: {{saga: {name}, timeout: 1m}}}}]");
        finds(&steps, &known, Level::Refused, "/steps/a/saga", "expected a saga that does not begin s");
    }
    assert_eq!(findings("[{a: {saga: v, timeout: 1m}}]", &known), []);
    finds("[{a: {saga: nobody, timeout: 1m}}]", &known, Level::Warned, "/steps/a/saga", "found no nobody");
}
