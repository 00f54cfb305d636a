//! Patterns compiled for matching; immutable. A pattern's branches are *conjunctions* of terms. A tree of probes finds
//! the few conjunctions that an event can satisfy: each is entered under its most selective term, where many share one
//! under a second and third (`build`). Those found are then checked against the event (`check`), so that an index may
//! find too much but never too little.

use std::sync::Arc;

use super::super::Pattern;
use super::leaves::{Leaves, NONE};
use super::names::Node;
use super::probe::Probe;
use super::table::Table;

/// The compiled patterns, numbered in the order that they were given.
pub(super) struct Automaton {
    pub(super) patterns: Vec<Arc<Pattern>>,
    pub(super) conjunctions: Vec<Conjunction>,
    pub(super) terms: Vec<Term>,
    /// The texts of terms.
    pub(super) texts: Vec<u8>,
    pub(super) table: Table,
    /// The first is the root.
    pub(super) trees: Vec<Tree>,
    /// The probes of each tree are together.
    pub(super) probes: Vec<Probe>,
    /// The root's probe of each path, or [`NONE`].
    pub(super) root_probes: Vec<u32>,
    /// Conjunctions that a tree gives whatever the event says; those of each tree are together.
    pub(super) always: Vec<u32>,
    /// The conjunctions of each tree below the root are together.
    pub(super) members: Vec<u32>,
}

/// A branch of a pattern, for one way of reading names.
#[derive(Clone, Copy)]
pub(super) struct Conjunction {
    pub(super) pattern: u32,
    pub(super) first_term: u32,
    pub(super) terms: u16,
    pub(super) reading: Reading,
}

/// Which events a conjunction is for: a branch that uses a name of AWS is there twice, since in a CloudEvent `detail`
/// and `detail-type` are other names of `data` and `type`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reading {
    Any,
    CloudEvent,
    Plain,
}

/// What a path must hold.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub(super) node: Node,
    /// The index of the pattern's field that it is from.
    pub(super) field: u32,
    /// How often it compares a value.
    pub(super) weight: u32,
    pub(super) test: Test,
}

/// The usual tests, with their texts in the automaton's own memory: following a pattern's pointers costs a cache miss
/// each.
#[derive(Clone, Copy)]
pub(super) enum Test {
    Text {
        start: u32,
        bytes: u32,
    },
    Prefix {
        start: u32,
        bytes: u32,
    },
    Suffix {
        start: u32,
        bytes: u32,
    },
    Number(f64),
    Range {
        low: u64,
        high: u64,
    },
    Present,
    Absent,
    /// One of the field's alternatives.
    Field,
}

/// A node of the decision.
#[derive(Clone, Copy, Default)]
pub(super) struct Tree {
    pub(super) first_always: u32,
    pub(super) always: u32,
    pub(super) first_probe: u32,
    pub(super) probes: u32,
    /// All conjunctions that it tells apart, if it has probes.
    pub(super) first_member: u32,
    pub(super) members: u32,
}

/// Look-ups in a tree for each of its conjunctions before all of them are candidates instead.
const LOOK_UPS_OF_MEMBER: usize = 8;

/// In an index entry, the bit that tells the number of a tree from that of a conjunction.
pub(super) const TREE: u32 = 1 << 31;

/// What the search for candidates needs beside the automaton.
#[derive(Default)]
pub(super) struct Search {
    pub(super) candidates: Vec<u32>,
    folded: Vec<u8>,
    /// Trees to look into, and those that were.
    trees: Vec<u32>,
    /// Whether each tree is among them.
    is_found: Vec<bool>,
}

impl Automaton {
    /// Leaves the conjunctions that the event may satisfy in `search.candidates`, each once, in order.
    pub(super) fn find(&self, input: &[u8], leaves: &Leaves, search: &mut Search) {
        let Search { candidates, folded, trees, is_found } = search;
        candidates.clear();
        trees.clear();
        if is_found.len() < self.trees.len() {
            is_found.resize(self.trees.len(), false);
        }
        candidates.extend_from_slice(self.always(&self.trees[0]));
        let mut found = |number: u32| note(number, candidates, trees, is_found);
        for (index, leaf) in leaves.all().iter().enumerate() {
            let Some(&probe) = self.root_probes.get(leaf.node as usize) else { continue };
            if probe == NONE {
                continue;
            }
            let probe = &self.probes[probe as usize];
            if leaves.first(leaf.node) == index as u32 {
                probe.present.into_iter().for_each(&mut found);
            }
            probe.look_up(&self.table, leaves.value(input, leaf), folded, &mut found);
        }
        let mut looked_into = 0;
        while let Some(&tree) = search.trees.get(looked_into) {
            looked_into += 1;
            self.look_into(&self.trees[tree as usize], input, leaves, search);
        }
        let Search { candidates, trees, is_found, .. } = search;
        trees.iter().for_each(|&tree| is_found[tree as usize] = false);
        if candidates.len() > 1 {
            candidates.sort_unstable();
            candidates.dedup();
        }
    }

    fn look_into(&self, tree: &Tree, input: &[u8], leaves: &Leaves, search: &mut Search) {
        let Search { candidates, folded, trees, is_found } = search;
        candidates.extend_from_slice(self.always(tree));
        let probes = &self.probes[tree.first_probe as usize..][..tree.probes as usize];
        let look_ups = probes.iter().map(|probe| leaves.size(probe.node)).sum::<usize>();
        if look_ups > LOOK_UPS_OF_MEMBER * tree.members as usize {
            // Whoever sends many values does not have all of them looked up again in hundreds of trees.
            let members = &self.members[tree.first_member as usize..][..tree.members as usize];
            candidates.extend_from_slice(members);
            return;
        }
        let mut found = |number: u32| note(number, candidates, trees, is_found);
        for probe in probes {
            if leaves.first(probe.node) != NONE {
                probe.present.into_iter().for_each(&mut found);
            }
            for index in leaves.of(probe.node) {
                probe.look_up(&self.table, leaves.value(input, leaves.leaf(index)), folded, &mut found);
            }
        }
    }

    fn always(&self, tree: &Tree) -> &[u32] {
        &self.always[tree.first_always as usize..][..tree.always as usize]
    }

    pub(super) fn terms(&self, conjunction: &Conjunction) -> &[Term] {
        &self.terms[conjunction.first_term as usize..][..usize::from(conjunction.terms)]
    }
}

/// Takes note of what an index entry says. The values of one array may lead to one tree many times.
#[inline]
fn note(number: u32, candidates: &mut Vec<u32>, trees: &mut Vec<u32>, is_found: &mut [bool]) {
    if number & TREE == 0 {
        candidates.push(number);
    } else if !std::mem::replace(&mut is_found[(number ^ TREE) as usize], true) {
        trees.push(number ^ TREE);
    }
}
