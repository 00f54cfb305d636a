//! Array consistency: the values that satisfy a conjunction's terms must come from the same elements of the arrays they
//! share. Terms are tried in the order of their paths; a value chosen for one fixes the elements around it for those
//! that follow, and a field is absent if none of its values is in the elements fixed so far.
//!
//! A choice that failed is not tried again: what follows depends only on those fixed elements whose arrays hold values
//! of later terms, and such states that failed are remembered. So arrays beside each other do not multiply, and one
//! array of n elements costs about n steps. An event that repeats a name for many arrays can still ask for the
//! impossible (it then states a satisfiability problem); it is given up after [`steps_max`] steps, as no match.

use std::collections::BTreeSet;

use super::automaton::{Automaton, Conjunction, Term};
use super::check::Read;
use super::leaves::NONE;

/// Values that may be tried for one conjunction however small the event: two arrays of 600 elements within one, of which
/// each is tried with each. A second in a build without optimisation.
const STEPS_MIN: u32 = 400_000;
/// How often each leaf may be tried: once for each of a few terms. Without arrays within arrays, that is enough.
const STEPS_PER_LEAF: u32 = 16;

/// Most values that are tried for one conjunction.
fn steps_max(leaves: usize) -> u32 {
    let leaves = u32::try_from(leaves).unwrap_or(u32::MAX);
    leaves.saturating_mul(STEPS_PER_LEAF).max(STEPS_MIN)
}

/// Nothing if there is a consistent choice of a value for each term; otherwise the term up to which there is one.
pub(super) fn failure(automaton: &Automaton, event: Read<'_>, conjunction: &Conjunction) -> Option<usize> {
    let terms = automaton.terms(conjunction);
    let gather = |term: &Term| {
        let all: Vec<u32> = event.leaves.of(term.node).collect();
        let fits = |&&index: &&u32| {
            automaton.accepts(conjunction, term, event.leaves.value(event.input, event.leaves.leaf(index)))
        };
        let fitting = all.iter().filter(fits).copied().collect();
        Choices { all, fitting, may_be_absent: automaton.may_be_absent(conjunction, term) }
    };
    let choices: Vec<Choices> = terms.iter().map(gather).collect();
    let (fixed, failed) = (Vec::new(), BTreeSet::new());
    let steps_left = steps_max(event.leaves.all().len());
    let mut search = Search { event, choices: &choices, fixed, failed, furthest: 0, steps_left };
    (!search.from(0)).then_some(search.furthest)
}

/// The leaves of a term's path, in the order of the document.
struct Choices {
    all: Vec<u32>,
    /// Those whose value the term takes.
    fitting: Vec<u32>,
    may_be_absent: bool,
}

struct Search<'a> {
    event: Read<'a>,
    choices: &'a [Choices],
    /// Elements that were chosen, with those around them; one of each array.
    fixed: Vec<u32>,
    /// Terms and the fixed elements that mattered from there, which led nowhere.
    failed: BTreeSet<(usize, Vec<u32>)>,
    /// The last term that was tried.
    furthest: usize,
    steps_left: u32,
}

impl Search<'_> {
    /// Whether the terms from this one on can be satisfied. At most as many levels as a branch has fields.
    fn from(&mut self, term: usize) -> bool {
        let choices = self.choices;
        let Some(own) = choices.get(term) else { return true };
        self.furthest = self.furthest.max(term);
        let state = (term, self.relevant(term));
        if self.failed.contains(&state) {
            return false;
        }
        let (mut at, mut element) = (0, None);
        while let Some(index) = self.next_consistent(&own.fitting, &mut at) {
            // Values of the same element fix the same.
            let of = self.event.leaves.leaf(index).element;
            if element.replace(of) != Some(of) {
                let before = self.fixed.len();
                self.fix(of);
                if self.from(term + 1) {
                    return true;
                }
                self.fixed.truncate(before);
            }
        }
        if own.may_be_absent && self.next_consistent(&own.all, &mut 0).is_none() {
            return self.steps_left > 0 && self.from(term + 1) || self.fails(state);
        }
        self.fails(state)
    }

    fn fails(&mut self, state: (usize, Vec<u32>)) -> bool {
        self.failed.insert(state);
        false
    }

    /// The fixed elements whose arrays hold leaves of this term or a later one.
    fn relevant(&self, term: usize) -> Vec<u32> {
        let matters = |&&element: &&u32| {
            let array = self.event.leaves.array(self.event.leaves.element(element).array);
            self.choices[term..].iter().any(|choices| {
                let next = choices.all.partition_point(|&index| index < array.first_leaf);
                choices.all.get(next).is_some_and(|&index| index < array.end_leaf)
            })
        };
        let mut relevant: Vec<u32> = self.fixed.iter().filter(matters).copied().collect();
        relevant.sort_unstable();
        relevant
    }

    /// Fixes an element and those around it.
    fn fix(&mut self, mut element: u32) {
        while element != NONE {
            if !self.fixed.contains(&element) {
                self.fixed.push(element);
            }
            element = self.event.leaves.element(element).outer;
        }
    }

    /// The next of some leaves, from place `at` on, that is in no other element than a fixed one of the same array.
    fn next_consistent(&mut self, leaves: &[u32], at: &mut usize) -> Option<u32> {
        'leaves: while let Some(&index) = leaves.get(*at) {
            self.steps_left = self.steps_left.checked_sub(1)?;
            for &element in &self.fixed {
                let element = self.event.leaves.element(element);
                let array = self.event.leaves.array(element.array);
                let is_inside = (array.first_leaf..array.end_leaf).contains(&index);
                if is_inside && !(element.first_leaf..element.end_leaf).contains(&index) && !array.is_mixed {
                    // Jump to the element, or behind the array.
                    let target = if index < element.first_leaf { element.first_leaf } else { array.end_leaf };
                    *at += leaves[*at..].partition_point(|&index| index < target);
                    continue 'leaves;
                }
            }
            *at += 1;
            if self.is_consistent(index) {
                return Some(index);
            }
        }
        None
    }

    fn is_consistent(&self, index: u32) -> bool {
        let leaves = self.event.leaves;
        let mut around = leaves.leaf(index).element;
        while around != NONE {
            let element = leaves.element(around);
            let is_other = |&&fixed: &&u32| fixed != around && leaves.element(fixed).array == element.array;
            if self.fixed.iter().any(|fixed| is_other(&fixed)) {
                return false;
            }
            around = element.outer;
        }
        true
    }
}
