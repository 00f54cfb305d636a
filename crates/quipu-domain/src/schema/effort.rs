//! What it takes to hold a given value against a schema, in steps of some 4 ns: counted before it is done, because what
//! does it cannot be interrupted.
//!
//! A step is a subschema that looks at a value, a listed value or name that is compared with it, or a place of a
//! pattern at half a byte of a text. [`Cost`](super::cost::Cost) has the most that this can be, by which nearly all
//! values are let through without a count.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::bundle::nodes;
use super::expression::Expression;
use super::graph::Graph;
use super::keyword::Step;

/// Schemas inside schemas that are counted, on a stack of 2 MiB. What goes deeper is not counted, only bounded.
const DEPTH_MAX: usize = 800;
/// What counting one subschema costs, which is more than to apply it.
const VISIT: u64 = 8;
/// Bytes of a text that an ordinary keyword looks at in a step.
const BYTES_A_STEP: u64 = 4;

/// What the keywords of one schema take, not those inside of it.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Listed values and names, for any value.
    pub(super) listed: u64,
    /// Whether a text is read: to count its letters, or to see whether it has a format.
    reads: bool,
    pattern: Option<Expression>,
    /// The patterns of names.
    matching: BTreeMap<String, Expression>,
}

impl Own {
    pub(super) fn of(members: &Map<String, Value>) -> Own {
        let mut own = Own::default();
        for (keyword, value) in members {
            match keyword.as_str() {
                "enum" | "const" | "required" => own.listed += nodes(value) as u64,
                "dependentRequired" | "dependencies" => own.listed += nodes(value) as u64,
                // Each is looked up in the value, also where the value has none of them.
                "properties" => own.listed += 2 * value.as_object().map_or(0, Map::len) as u64,
                "minLength" | "maxLength" | "format" | "contentEncoding" | "contentMediaType" => own.reads = true,
                "patternProperties" => {
                    let patterns = value.as_object().into_iter().flat_map(Map::keys);
                    own.matching = patterns.map(|pattern| (pattern.clone(), Expression::of(pattern))).collect();
                }
                "pattern" => own.pattern = value.as_str().map(Expression::of),
                _ => {}
            }
        }
        own
    }

    /// Steps for each byte of a text, however long, times 4.
    pub(super) fn each_byte(&self) -> u64 {
        u64::from(self.reads).saturating_add(self.places().saturating_mul(2 * BYTES_A_STEP))
    }

    /// Places in its patterns.
    pub(super) fn places(&self) -> u64 {
        let patterns = self.pattern.iter().chain(self.matching.values());
        patterns.map(|pattern| pattern.places).fold(0, u64::saturating_add)
    }

    fn steps(&self, value: &Value) -> u64 {
        let Value::String(text) = value else { return self.listed };
        let read = if self.reads { text.len() as u64 / BYTES_A_STEP } else { 0 };
        let matched = self.pattern.map_or(0, |pattern| pattern.steps(text.len()));
        self.listed.saturating_add(read).saturating_add(matched)
    }
}

/// The most that a value takes, without looking where its parts are.
pub(super) fn most(cost: u64, each_byte: u64, value: &Value) -> u64 {
    let text = each_byte.saturating_mul(bytes(value)).div_ceil(BYTES_A_STEP);
    cost.saturating_mul(nodes(value) as u64).saturating_add(text)
}

/// What a value takes; nothing if it is over a limit, or too deep to be counted.
pub(super) fn counted(graph: &Graph, value: &Value, limit: u64) -> Option<u64> {
    let mut count = Count { graph, left: limit };
    count.at(0, value, 0)?;
    Some(limit - count.left)
}

struct Count<'g> {
    graph: &'g Graph,
    left: u64,
}

impl Count<'_> {
    fn take(&mut self, steps: u64) -> Option<()> {
        self.left = self.left.checked_sub(steps)?;
        Some(())
    }

    fn at(&mut self, node: usize, value: &Value, depth: usize) -> Option<()> {
        let node = &self.graph.nodes[node];
        self.take(node.own.steps(value).saturating_add(VISIT))?;
        if depth > DEPTH_MAX {
            return None;
        }
        let items_listed = || node.edges.iter().filter(|(step, _)| matches!(step, Step::Item(_))).count();
        let fields_listed = || -> BTreeSet<&str> {
            let names = node.edges.iter().filter_map(|(step, _)| match step {
                Step::Field(name) => Some(name.as_str()),
                _ => None,
            });
            names.collect()
        };
        for (step, to) in &node.edges {
            match (step, value) {
                (Step::Same, _) => self.at(*to, value, depth + 1)?,
                (Step::Field(name), Value::Object(fields)) => {
                    if let Some(value) = fields.get(name) {
                        self.at(*to, value, depth + 1)?;
                    }
                }
                (Step::Matching(pattern), Value::Object(fields)) => {
                    for (name, value) in fields {
                        self.take(node.own.matching.get(pattern).map_or(1, |it| it.steps(name.len())))?;
                        self.at(*to, value, depth + 1)?;
                    }
                }
                (Step::OtherFields, Value::Object(fields)) => {
                    let listed = fields_listed();
                    for (_, value) in fields.iter().filter(|(name, _)| !listed.contains(name.as_str())) {
                        self.at(*to, value, depth + 1)?;
                    }
                }
                (Step::LeftFields, Value::Object(fields)) => {
                    fields.values().try_for_each(|value| self.at(*to, value, depth + 1))?;
                }
                (Step::Names, Value::Object(fields)) => {
                    fields.keys().try_for_each(|name| self.at(*to, &Value::from(name.as_str()), depth + 1))?;
                }
                (Step::Item(index), Value::Array(items)) => {
                    if let Some(item) = items.get(*index) {
                        self.at(*to, item, depth + 1)?;
                    }
                }
                (Step::Items, Value::Array(items)) => {
                    items.iter().skip(items_listed()).try_for_each(|item| self.at(*to, item, depth + 1))?;
                }
                (Step::Contained | Step::LeftItems, Value::Array(items)) => {
                    items.iter().try_for_each(|item| self.at(*to, item, depth + 1))?;
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// The bytes of all texts and names in a value.
fn bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(list) => list.iter().map(bytes).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| name.len() as u64 + bytes(value)).sum(),
        _ => 0,
    }
}
