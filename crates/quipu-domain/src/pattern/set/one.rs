//! One pattern and one event, for questions about the two. Slower than a set by the time it takes to compile the
//! pattern, and the text of an event is checked first, so it may come from anywhere. Each branch is held against the event
//! by itself, so that each can be explained; an event for which that takes too long is refused.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::Pattern;
use super::super::explanation::Found;
use super::automaton::{Automaton, Conjunction, Reading, Term};
use super::build::build;
use super::check::Read;
use super::consistent;
use super::effort::Effort;
use super::leaves::Leaves;
use super::lower::add_names;
use super::names::Names;
use super::walk::{input, read_event, read_object};
use crate::event::{Event, InvalidEvent};
use crate::json::{Stamp, malformed};

/// Most comparisons of an event's values with a pattern: 10,000 values against 1,000 branches of ten alternatives. Half as
/// many, and the explanation, took 6 s in a build without optimisation.
const COMPARISONS_MAX: usize = 100_000_000;

pub(in super::super) struct One {
    names: Names,
    automaton: Automaton,
    leaves: Leaves,
}

impl One {
    pub(in super::super) fn new(pattern: &Pattern) -> One {
        let mut names = Names::new();
        add_names(pattern, &mut names);
        let patterns = vec![Arc::new(pattern.clone())];
        One { automaton: build(patterns, &names), names, leaves: Leaves::default() }
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
        let cost = |term: &Term| self.leaves.size(term.node).saturating_mul(term.weight as usize);
        self.automaton.terms.iter().map(cost).fold(0, usize::saturating_add)
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
        let mut effort = Effort::new(self.event(input));
        self.automaton.conjunctions.iter().any(|conjunction| self.automaton.satisfies(&mut effort, conjunction))
    }

    /// For each branch, none of which matches, the field that it fails at and at most so many of its values.
    pub(in super::super) fn failures(&self, input: &[u8], most: usize) -> Vec<(u32, Found)> {
        let other = if self.leaves.is_cloud_event() { Reading::Plain } else { Reading::CloudEvent };
        let conjunctions = self.automaton.conjunctions.iter().filter(|conjunction| conjunction.reading != other);
        let mut effort = Effort::new(self.event(input));
        conjunctions.map(|conjunction| self.failure(&mut effort, conjunction, most)).collect()
    }

    fn failure(&self, effort: &mut Effort<'_>, conjunction: &Conjunction, most: usize) -> (u32, Found) {
        let (input, automaton) = (effort.event.input, &self.automaton);
        let terms = automaton.terms(conjunction);
        let field = |term: usize| terms[term].field;
        let show = |index| self.leaves.value(input, self.leaves.leaf(index)).to_string();
        let lonely = terms.iter().position(|term| !automaton.is_satisfiable(effort, conjunction, term));
        if let Some(term) = lonely {
            let values: Vec<String> = self.leaves.of(terms[term].node).take(most).map(show).collect();
            return (field(term), if values.is_empty() { Found::Nothing } else { Found::Values(values) });
        }
        let term = consistent::failure(automaton, effort, conjunction).unwrap_or(0);
        let choices = consistent::Choices::of(automaton, effort, conjunction, &terms[term]);
        let fitting: Vec<String> = choices.fitting.iter().copied().take(most).map(show).collect();
        if fitting.is_empty() {
            return (field(term), Found::Values(self.leaves.of(terms[term].node).take(most).map(show).collect()));
        }
        (field(term), Found::OtherElements(fitting))
    }
}
