//! Whether an event satisfies a conjunction: each term by a value of its path, and all of them from the same elements
//! of arrays (`consistent`).

use super::super::field::Field;
use super::super::number;
use super::super::value::{Kind, Value};
use super::automaton::{Automaton, Conjunction, Reading, Term, Test};
use super::consistent;
use super::effort::{Effort, count};
use super::leaves::{Leaves, NONE};

/// An event that was read.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) input: &'a [u8],
    pub(super) leaves: &'a Leaves,
    pub(super) is_cloud_event: bool,
}

impl Automaton {
    pub(super) fn satisfies(&self, effort: &mut Effort<'_>, conjunction: &Conjunction) -> bool {
        let event = effort.event;
        let is_read_so = match conjunction.reading {
            Reading::Any => true,
            Reading::CloudEvent => event.is_cloud_event,
            Reading::Plain => !event.is_cloud_event,
        };
        if !is_read_so {
            return false;
        }
        let terms = self.terms(conjunction);
        // With one path below elements there is nothing that its values could be inconsistent with.
        let is_below = |term: &&Term| event.leaves.is_below_elements(term.node);
        let is_alone = !event.leaves.has_elements() || terms.iter().filter(is_below).count() < 2;
        if is_alone {
            terms.iter().all(|term| self.is_satisfied(effort, conjunction, term))
        } else {
            terms.iter().all(|term| self.is_satisfiable(effort, conjunction, term))
                && consistent::is_possible(self, effort, conjunction)
        }
    }

    /// Whether some value of the term's path fits, or there is none and need be none.
    fn is_satisfied(&self, effort: &mut Effort<'_>, conjunction: &Conjunction, term: &Term) -> bool {
        if effort.event.leaves.first(term.node) == NONE {
            self.may_be_absent(conjunction, term)
        } else {
            self.has_value(effort, conjunction, term)
        }
    }

    /// The same, if values below elements may turn out not to count as there since other terms chose other elements.
    pub(super) fn is_satisfiable(&self, effort: &mut Effort<'_>, conjunction: &Conjunction, term: &Term) -> bool {
        let may_not_count = effort.event.leaves.is_below_elements(term.node);
        self.is_satisfied(effort, conjunction, term) || may_not_count && self.may_be_absent(conjunction, term)
    }

    fn has_value(&self, effort: &mut Effort<'_>, conjunction: &Conjunction, term: &Term) -> bool {
        if !effort.may_compare(term) {
            return effort.has_sorted(conjunction.pattern, term, self.field(conjunction, term));
        }
        let event = effort.event;
        let mut index = event.leaves.first(term.node);
        while index != NONE {
            let leaf = event.leaves.leaf(index);
            if self.accepts(conjunction, term, event.leaves.value(event.input, leaf)) {
                return true;
            }
            index = leaf.next;
        }
        false
    }

    pub(super) fn field(&self, conjunction: &Conjunction, term: &Term) -> &Field {
        &self.patterns[conjunction.pattern as usize].fields[term.field as usize]
    }

    pub(super) fn may_be_absent(&self, conjunction: &Conjunction, term: &Term) -> bool {
        match term.test {
            Test::Absent => true,
            Test::Field => self.field(conjunction, term).may_be_absent,
            _ => false,
        }
    }

    #[inline]
    pub(super) fn accepts(&self, conjunction: &Conjunction, term: &Term, value: Value<'_>) -> bool {
        count(term.weight);
        let text = |start: u32, bytes: u32| &self.texts[start as usize..][..bytes as usize];
        match (term.test, value.kind) {
            (Test::Text { start, bytes }, Kind::String) => value.text == text(start, bytes),
            (Test::Prefix { start, bytes }, Kind::String) => value.text.starts_with(text(start, bytes)),
            (Test::Suffix { start, bytes }, Kind::String) => value.text.ends_with(text(start, bytes)),
            (Test::Number(double), Kind::Number) => number::exact(value.text) == Some(double),
            (Test::Range { low, high }, Kind::Number) => {
                number::exact(value.text).is_some_and(|double| (low..=high).contains(&number::ordered(double)))
            }
            (Test::Present, _) => true,
            (Test::Field, _) => self.field(conjunction, term).accepts(value),
            _ => false,
        }
    }
}
