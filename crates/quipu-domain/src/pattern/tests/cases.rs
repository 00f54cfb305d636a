//! The recorded behaviour of the reference implementation: patterns, events and whether they match, and patterns that
//! it refuses. The files are beside the repository and are not part of it.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::verdict;
use crate::pattern::{Pattern, PatternSet, Scratch};

#[derive(Deserialize)]
struct Case<'a> {
    #[serde(borrow)]
    pattern: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(rename = "match")]
    matches: bool,
}

#[derive(Deserialize)]
struct Refused {
    pattern_text: String,
}

/// The text of a file of cases, if the folder is there.
fn file(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/event-patterns");
    let text = fs::read_to_string(folder.join(name)).ok();
    if text.is_none() {
        eprintln!("skipped: {} is not there", folder.join(name).display());
    }
    text
}

#[test]
fn every_recorded_case_has_the_recorded_answer() {
    let Some(text) = file("cases.jsonl") else { return };
    let cases: Vec<Case<'_>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for case in &cases {
        assert_eq!(verdict(case.pattern.get(), case.event.get()), case.matches, "{} {}", case.pattern, case.event);
    }
    // And all patterns in one set, against every event.
    let patterns: Vec<&str> = cases.iter().map(|case| case.pattern.get()).collect();
    let set = PatternSet::from_iter(patterns.iter().map(|text| (*text, Pattern::parse(text).unwrap())));
    let (snapshot, mut scratch) = (set.snapshot(), Scratch::default());
    for case in &cases {
        let found = snapshot.matches(case.event.get().as_bytes(), &mut scratch).any(|key| *key == case.pattern.get());
        assert_eq!(found, case.matches, "{} {}", case.pattern, case.event);
    }
    assert_eq!(cases.len(), 695);
}

#[test]
fn every_pattern_that_the_reference_refuses_is_refused() {
    let Some(text) = file("invalid.jsonl") else { return };
    let refused: Vec<Refused> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for Refused { pattern_text } in &refused {
        assert!(Pattern::parse(pattern_text).is_err(), "{pattern_text}");
    }
    assert_eq!(refused.len(), 100);
}
