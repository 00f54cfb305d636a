//! Our own vectors: tables of patterns, events and answers, and of refused patterns with the place and the reason.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::verdict;
use crate::pattern::Pattern;

#[derive(Deserialize)]
struct Vector<'a> {
    about: String,
    #[serde(borrow)]
    pattern: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(rename = "match")]
    matches: bool,
}

#[derive(Deserialize)]
struct Refused {
    about: String,
    text: String,
    path: String,
    expected: String,
    found: String,
}

#[test]
fn every_vector_has_its_answer() {
    let vectors = include_str!("../../../tests/patterns/matches.jsonl");
    for line in vectors.lines() {
        let vector: Vector<'_> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(verdict(vector.pattern.get(), vector.event.get()), vector.matches, "{}", vector.about);
        assert_eq!(Pattern::parse(vector.pattern.get()).unwrap().text(), vector.pattern.get());
    }
    assert!(vectors.lines().count() >= 200);
}

#[test]
fn every_refusal_names_the_place_and_the_reason() {
    for line in include_str!("../../../tests/patterns/refused.jsonl").lines() {
        let refused: Refused = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let error = Pattern::parse(&refused.text).expect_err(&refused.about);
        let written = (error.path.as_str(), error.expected.as_str(), error.found.as_str());
        assert_eq!(written, (&*refused.path, &*refused.expected, &*refused.found), "{}", refused.about);
    }
}
