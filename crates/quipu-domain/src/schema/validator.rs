//! Holds values against a schema.
//!
//! `format` is asserted in every draft: who writes `"format": "email"` means it, and the newer drafts' rule that it is
//! a remark would surprise more people than it helps. A format that is not known says nothing. The comparison of two
//! versions has the same rule.

use std::sync::Arc;

use jsonschema::{PatternOptions, Retrieve, Uri, ValidationError};
use serde_json::Value;

use super::document::Document;
use super::draft::Draft;
use super::graph::Graph;
use super::violation::{self, Violation};

/// A schema ready to be held against values, by as many threads as there are.
pub struct Validator {
    engine: jsonschema::Validator,
    graph: Arc<Graph>,
    cost: u64,
    is_recursive: bool,
}

/// Largest compiled form of one pattern, and of the automaton that grows from it while it is used.
const PATTERN_BYTES_MAX: usize = 512 * 1024;
/// Most work for one value: the subschemas that its schema holds one value against, times the values in it. A step takes 3.8 ns (9,002
/// subschemas against each of 30,000 numbers, 60 KB of data, took 1.04 s), so this is some 0.4 s. An event of 8 KB and a schema that
/// was learned from its like are 1,000 times below.
pub(super) const WORK_MAX: u64 = 100_000_000;
/// Most work for a list of all violations; beyond, and where a schema is recursive, only the first is found. All of
/// them means that each alternative that did not fit explains itself, again at every level.
const ALL_COST_MAX: u64 = 1_000_000;

impl Validator {
    pub(super) fn new(document: &Document) -> Validator {
        // It was built when the document was read.
        let engine = build(document.bundled(), document.draft()).expect("a checked schema compiles");
        let (cost, is_recursive) = (document.cost(), document.is_recursive());
        Validator { engine, graph: document.graph().clone(), cost, is_recursive }
    }

    /// Whether a value fits.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.engine.is_valid(value)
    }

    /// Why a value does not fit, at most `max` reasons; none if it does. One that would take too long is not looked at, and does not fit. Only the first where the schema is recursive,
    /// or where the value is so large and the schema so branched that the list would take seconds.
    pub fn violations(&self, value: &Value, max: usize) -> Vec<Violation> {
        if max == 0 {
            return Vec::new();
        }
        let work = self.cost.saturating_mul(values(value));
        if work > WORK_MAX {
            let expected = format!("data that takes at most {WORK_MAX} steps to hold against its schema");
            return vec![Violation::of_all(&expected, &format!("data that takes up to {work}"))];
        }
        if self.engine.is_valid(value) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut add = |error: &ValidationError<'_>| {
            found.extend(violation::violations(error, value, |pointer| self.graph.is_sensitive(pointer)));
            found.len() < max
        };
        if self.is_recursive || work > ALL_COST_MAX {
            if let Err(error) = self.engine.validate(value) {
                add(&error);
            }
        } else {
            self.engine.iter_errors(value).all(|error| add(&error));
        }
        found.truncate(max);
        found
    }
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// How many values there are in a value.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(values).sum::<u64>(),
        Value::Object(map) => 1 + map.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

/// Nothing is ever fetched, from a network or from a disk. No reference that would be is left when it comes to this.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("expected a reference inside of the schema, found {uri}").into())
    }
}

/// Compiles a self-contained schema. The pattern engine is the one whose time is linear in the text.
pub(super) fn build(bundled: &Value, draft: Draft) -> Result<jsonschema::Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(draft.engine())
        .with_retriever(Nowhere)
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .build(bundled)
}
