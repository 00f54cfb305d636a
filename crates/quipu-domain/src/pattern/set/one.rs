//! One pattern and one event, for questions about the two. Slower than a set by the time it takes to compile the
//! pattern, and the text of an event is checked first, so it may come from anywhere. Each branch is held against the event
//! by itself, so that each can be explained; an event for which that takes too long is refused.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::Pattern;
use super::super::explanation::Found;
use super::automaton::{Automaton, Conjunction, Reading};
use super::build::build;
use super::check::Read;
use super::consistent;
use super::leaves::Leaves;
use super::lower::{add_names, lower};
use super::names::Names;
use super::walk::{input, read_event, read_object};
use crate::event::{Event, InvalidEvent};
use crate::json::{Stamp, malformed};

/// Most comparisons of an event's values with a pattern: 10,000 values against 1,000 branches of ten alternatives. Half as
/// many, and the explanation, took 6 s in a build without optimisation.
const COMPARISONS_MAX: usize = 100_000_000;
/// Bytes of a value that count for a comparison of their own, since some operators look at all of them.
const COMPARED_BYTES: usize = 64;

pub(in super::super) struct One {
    names: Names,
    automaton: Automaton,
    leaves: Leaves,
    /// The field that each term is from.
    fields: Vec<u32>,
    /// How often each term compares a value.
    comparisons: Vec<usize>,
}

impl One {
    pub(in super::super) fn new(pattern: &Pattern) -> One {
        let mut names = Names::new();
        add_names(pattern, &mut names);
        let patterns = vec![Arc::new(pattern.clone())];
        let fields: Vec<u32> = lower(&patterns, &names).origins.into_iter().map(|(_, field)| field).collect();
        let comparisons = fields.iter().map(|&field| pattern.fields[field as usize].comparisons()).collect();
        One { automaton: build(patterns, &names), names, leaves: Leaves::default(), fields, comparisons }
    }

    pub(in super::super) fn read(&mut self, json: &[u8]) -> Result<(), InvalidEvent> {
        let raw: &RawValue = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
        let found = match raw.get().as_bytes()[0] {
            b'{' => "an object",
            b'[' => "an array",
            b'"' => "a string",
            _ => "a plain value",
        };
        if found != "an object" {
            return Err(InvalidEvent::NotAnObject { found });
        }
        read_object(json, &self.names, &mut self.leaves).map_err(|_| InvalidEvent::InvalidAttribute {
            name: "the event".into(),
            expected: "JSON of at most 256 levels".into(),
            found: "deeper nesting".into(),
        })?;
        match self.comparisons() {
            actual if actual > COMPARISONS_MAX => Err(InvalidEvent::TooMany {
                what: "comparisons of its values with the pattern",
                limit: COMPARISONS_MAX,
                actual,
            }),
            _ => Ok(()),
        }
    }

    /// How many comparisons all branches make at most.
    fn comparisons(&self) -> usize {
        let mut of_paths = vec![0usize; self.names.len()];
        for leaf in self.leaves.all() {
            of_paths[leaf.node as usize] += 1 + leaf.bytes() / COMPARED_BYTES;
        }
        let terms = self.automaton.terms.iter().zip(&self.comparisons);
        terms.fold(0, |sum, (term, &each)| sum.saturating_add(each.saturating_mul(of_paths[term.node as usize])))
    }

    /// The text that the event's values stand in; nothing if it cannot be read.
    pub(in super::super) fn read_event<'a>(&mut self, event: &'a Event<'_>, stamp: Option<&Stamp>) -> Option<&'a [u8]> {
        read_event(event, stamp, &self.names, &mut self.leaves).ok()?;
        Some(input(event))
    }

    fn event<'a>(&'a self, input: &'a [u8]) -> Read<'a> {
        Read { input, leaves: &self.leaves, is_cloud_event: self.leaves.is_cloud_event() }
    }

    pub(in super::super) fn matches(&self, input: &[u8]) -> bool {
        let event = self.event(input);
        self.automaton.conjunctions.iter().any(|conjunction| self.automaton.satisfies(event, conjunction))
    }

    /// For each branch, none of which matches, the field that it fails at and at most so many of its values.
    pub(in super::super) fn failures(&self, input: &[u8], most: usize) -> Vec<(u32, Found)> {
        let other = if self.leaves.is_cloud_event() { Reading::Plain } else { Reading::CloudEvent };
        let conjunctions = self.automaton.conjunctions.iter().filter(|conjunction| conjunction.reading != other);
        conjunctions.map(|conjunction| self.failure(input, conjunction, most)).collect()
    }

    fn failure(&self, input: &[u8], conjunction: &Conjunction, most: usize) -> (u32, Found) {
        let (event, automaton) = (self.event(input), &self.automaton);
        let terms = automaton.terms(conjunction);
        let field = |term: usize| self.fields[conjunction.first_term as usize + term];
        let show = |index| self.leaves.value(input, self.leaves.leaf(index)).to_string();
        let lonely = terms.iter().position(|term| !automaton.is_satisfiable(event, conjunction, term));
        if let Some(term) = lonely {
            let values: Vec<String> = self.leaves.of(terms[term].node).take(most).map(show).collect();
            return (field(term), if values.is_empty() { Found::Nothing } else { Found::Values(values) });
        }
        let term = consistent::failure(automaton, event, conjunction).unwrap_or(0);
        let accepts = |index: &u32| {
            automaton.accepts(conjunction, &terms[term], self.leaves.value(input, self.leaves.leaf(*index)))
        };
        let fitting: Vec<String> = self.leaves.of(terms[term].node).filter(accepts).take(most).map(show).collect();
        if fitting.is_empty() {
            return (field(term), Found::Values(self.leaves.of(terms[term].node).take(most).map(show).collect()));
        }
        (field(term), Found::OtherElements(fitting))
    }
}
