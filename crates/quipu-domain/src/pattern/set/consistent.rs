//! Array consistency: the values that satisfy a conjunction's terms must come from the same elements of the arrays they
//! share. Terms are tried in the order of their paths; a value chosen for one fixes the elements around it for those
//! that follow, and a field is absent if none of its values is in the elements fixed so far.
//!
//! A choice that failed is not tried again: what follows depends only on those fixed elements whose arrays hold values
//! of later terms, and such states that failed are remembered. So arrays beside each other do not multiply, and one
//! array of n elements costs about n steps. An event that repeats a name for many arrays can still ask for the
//! impossible (it then states a satisfiability problem); a pattern is given up after
//! [`STEPS_MAX`](super::effort::STEPS_MAX) steps of all its branches, as a match: an event that nobody wanted can be
//! dropped by who gets it, one that was missed is gone.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::automaton::{Automaton, Conjunction, Term};
use super::check::Read;
use super::effort::Effort;
use super::leaves::NONE;

/// What is tried again in less steps than this is not remembered: that would take longer.
const STEPS_WORTH_REMEMBERING: usize = 64;

/// Whether there is a consistent choice of a value for each term, each of which has one by itself; or it would take too
/// long to rule out.
pub(super) fn is_possible(automaton: &Automaton, effort: &mut Effort<'_>, conjunction: &Conjunction) -> bool {
    let terms = below_elements(automaton, effort, conjunction);
    // Branches often differ in what is outside of arrays, and share what is inside.
    let fields: Vec<u32> = terms.iter().map(|(_, term)| term.field).collect();
    if effort.impossible.contains(&fields) {
        return false;
    }
    let Some(mut choices) = gathered(automaton, effort, conjunction, &terms) else { return true };
    // What is absent depends on the terms before; otherwise the one with the fewest values leaves the least to try.
    if choices.iter().all(|choices| !choices.may_be_absent) {
        choices.sort_by_key(|choices| choices.fitting.len());
    }
    let is_found = Search::new(effort, &choices).from(0);
    if is_found || effort.steps_left == 0 {
        return true;
    }
    effort.impossible.insert(fields);
    false
}

/// The term up to which there is a consistent choice, in the order of the paths, if there is none for all.
pub(super) fn failure(automaton: &Automaton, effort: &mut Effort<'_>, conjunction: &Conjunction) -> Option<usize> {
    let terms = below_elements(automaton, effort, conjunction);
    let Some(choices) = gathered(automaton, effort, conjunction, &terms) else { return Some(terms[0].0) };
    let mut search = Search::new(effort, &choices);
    (!search.from(0)).then(|| terms[search.furthest].0)
}

/// The terms, and which they are, whose values may be inconsistent with others.
fn below_elements<'t>(
    automaton: &'t Automaton,
    effort: &Effort<'_>,
    conjunction: &Conjunction,
) -> Vec<(usize, &'t Term)> {
    let is_below = |(_, term): &(usize, &Term)| effort.event.leaves.is_below_elements(term.node);
    automaton.terms(conjunction).iter().enumerate().filter(is_below).collect()
}

/// The choices of each term; nothing if there are more than the steps that are left suffice for.
fn gathered(
    automaton: &Automaton,
    effort: &mut Effort<'_>,
    conjunction: &Conjunction,
    terms: &[(usize, &Term)],
) -> Option<Vec<Choices>> {
    let mut gather = |&(_, term): &(usize, &Term)| {
        let choices = Choices::of(automaton, effort, conjunction, term);
        effort.gather(choices.fitting.len()).map(|()| choices)
    };
    terms.iter().map(&mut gather).collect()
}

/// The leaves of a term's path, in the order of the document.
pub(super) struct Choices {
    all: Rc<[u32]>,
    /// Those whose value the term takes.
    pub(super) fitting: Rc<[u32]>,
    may_be_absent: bool,
}

impl Choices {
    pub(super) fn of(
        automaton: &Automaton,
        effort: &mut Effort<'_>,
        conjunction: &Conjunction,
        term: &Term,
    ) -> Choices {
        let may_be_absent = automaton.may_be_absent(conjunction, term);
        if !effort.may_compare(term) {
            let (all, fitting) = effort.choices_sorted(term, automaton.field(conjunction, term));
            return Choices { all, fitting, may_be_absent };
        }
        let event = effort.event;
        let all: Rc<[u32]> = event.leaves.of(term.node).collect();
        let fits = |&&index: &&u32| {
            automaton.accepts(conjunction, term, event.leaves.value(event.input, event.leaves.leaf(index)))
        };
        let fitting = all.iter().filter(fits).copied().collect();
        Choices { all, fitting, may_be_absent }
    }
}

struct Search<'a, 'e> {
    event: Read<'a>,
    effort: &'a mut Effort<'e>,
    choices: &'a [Choices],
    /// Elements that were chosen, with those around them; one of each array.
    fixed: Vec<u32>,
    /// Terms and the fixed elements that mattered from there, which led nowhere.
    failed: BTreeSet<(usize, Vec<u32>)>,
    /// The last term that was tried.
    furthest: usize,
}

impl<'a, 'e> Search<'a, 'e> {
    fn new(effort: &'a mut Effort<'e>, choices: &'a [Choices]) -> Search<'a, 'e> {
        Search { event: effort.event, effort, choices, fixed: Vec::new(), failed: BTreeSet::new(), furthest: 0 }
    }

    /// Whether the terms from this one on can be satisfied. At most as many levels as a branch has fields.
    fn from(&mut self, term: usize) -> bool {
        let choices = self.choices;
        let Some(own) = choices.get(term) else { return true };
        self.furthest = self.furthest.max(term);
        if !self.failed.is_empty() {
            let state = (term, self.relevant(term));
            if self.failed.contains(&state) {
                return false;
            }
        }
        let steps_left = self.effort.steps_left;
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
        let is_absent = own.may_be_absent && self.next_consistent(&own.all, &mut 0).is_none();
        if is_absent && self.effort.steps_left > 0 && self.from(term + 1) {
            return true;
        }
        if steps_left - self.effort.steps_left > STEPS_WORTH_REMEMBERING {
            let state = (term, self.relevant(term));
            self.failed.insert(state);
        }
        false
    }

    /// The fixed elements whose arrays hold leaves of this term or a later one.
    fn relevant(&mut self, term: usize) -> Vec<u32> {
        self.effort.step(16 + 4 * self.fixed.len() * (self.choices.len() - term));
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
            self.effort.step(1 + self.fixed.len());
            if !self.fixed.contains(&element) {
                self.fixed.push(element);
            }
            element = self.event.leaves.element(element).outer;
        }
    }

    /// The next of some leaves, from place `at` on, that is in no other element than a fixed one of the same array.
    fn next_consistent(&mut self, leaves: &[u32], at: &mut usize) -> Option<u32> {
        'leaves: while let Some(&index) = leaves.get(*at) {
            self.effort.step(1 + self.fixed.len())?;
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

    fn is_consistent(&mut self, index: u32) -> bool {
        let leaves = self.event.leaves;
        let mut around = leaves.leaf(index).element;
        while around != NONE {
            self.effort.step(1 + self.fixed.len());
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
