//! Holds values against a schema.
//!
//! `format` is asserted in every draft: who writes `"format": "email"` means it, and the newer drafts' rule that it is
//! a remark would surprise more people than it helps. A format that is not known says nothing. The comparison of two
//! versions has the same rule.

use std::sync::Arc;

use jsonschema::{Retrieve, Uri, ValidationError};
use serde_json::Value;

use super::cost::Cost;
use super::document::Document;
use super::draft::Draft;
use super::effort;
use super::expression::pattern_options;
use super::graph::Graph;
use super::violation::{self, Violation};

/// A schema ready to be held against values, by as many threads as there are.
pub struct Validator {
    engine: jsonschema::Validator,
    graph: Arc<Graph>,
    cost: Cost,
}

/// Most steps for one value, of some 4 ns: subschemas that look at a value, values that are compared with it, places of
/// patterns at the bytes of a text. Some 0.4 s; an event of 8 KB and a schema that was learned from its like are 1,000
/// times below.
pub(super) const WORK_MAX: u64 = 100_000_000;
/// Most work for a list of all violations; beyond, and where a schema is recursive, only the first is found. All of
/// them means that each alternative that did not fit explains itself, again at every level.
const ALL_COST_MAX: u64 = 1_000_000;

impl Validator {
    pub(super) fn new(document: &Document) -> Validator {
        // It was built when the document was read.
        let engine = build(document.bundled(), document.draft()).expect("a checked schema compiles");
        Validator { engine, graph: document.graph().clone(), cost: document.weight() }
    }

    /// Whether a value fits. One that would take too long is not looked at, and does not.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.work(value) <= WORK_MAX && self.engine.is_valid(value)
    }

    /// The steps that a value takes: the most that it can, and where that is too much what it really does.
    fn work(&self, value: &Value) -> u64 {
        let steps = self.cost.most.saturating_add(self.cost.listed);
        let most = effort::most(steps, self.cost.each_byte, value);
        if most <= WORK_MAX { most } else { effort::counted(&self.graph, value, WORK_MAX).unwrap_or(most) }
    }

    /// Why a value does not fit, at most `max` reasons; none if it does. One that would take too long is not looked at,
    /// and does not fit. Only the first where the schema is recursive, or where the value is so large and the schema so
    /// branched that the list would take seconds.
    pub fn violations(&self, value: &Value, max: usize) -> Vec<Violation> {
        if max == 0 {
            return Vec::new();
        }
        let work = self.work(value);
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
        if self.cost.is_recursive || work > ALL_COST_MAX {
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
        f.debug_struct("Validator").field("cost", &self.cost.most).finish_non_exhaustive()
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
    jsonschema::options()
        .with_draft(draft.engine())
        .with_retriever(Nowhere)
        .with_pattern_options(pattern_options())
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .build(bundled)
}
