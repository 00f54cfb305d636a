//! Builds an automaton. Each conjunction is entered under its most selective term: the one whose accesses the fewest
//! conjunctions of the set share, weighed by how much an access of that kind takes. The order of names plays no part,
//! so patterns that have their first keys in common are told apart by what they do not have in common. Where more than
//! [`BUCKET_MAX`] still meet under one access, a tree of its own tells them apart by their other terms.

use std::sync::Arc;

use super::super::Pattern;
use super::access::{Access, Property};
use super::automaton::{Automaton, Conjunction, TREE, Term, Tree};
use super::hash::mix;
use super::leaves::NONE;
use super::lower::{Lowered, lower};
use super::names::{Names, Node};
use super::probe::Probe;
use super::ranges::Ranges;
use super::survey::{HashedMap, Survey, at};
use super::table::Table;

/// Most conjunctions that are checked one by one. A check costs about as much as a look-up.
const BUCKET_MAX: usize = 4;
/// Deepest tree. Each level has at most one look-up of each value, and three are enough to find one of 100,000 among
/// 46 in each key.
const LEVELS_MAX: u32 = 6;

pub(super) fn build(patterns: Vec<Arc<Pattern>>, names: &Names) -> Automaton {
    let lowered = lower(&patterns, names);
    let accesses = Accesses::of(&patterns, &lowered);
    let Lowered { conjunctions, terms, texts, .. } = lowered;
    let mut builder = Builder {
        conjunctions: &conjunctions,
        terms: &terms,
        accesses: &accesses,
        entries: Vec::new(),
        trees: Vec::new(),
        probes: Vec::new(),
        always: Vec::new(),
        all_members: Vec::new(),
    };
    let members = (0..conjunctions.len() as u32).map(|conjunction| Member { conjunction, used: 0 }).collect();
    builder.tree(members, 0);
    let Builder { entries, trees, probes, always, all_members: members, .. } = builder;
    let mut root_probes = vec![NONE; names.len()];
    let root = trees[0];
    for index in root.first_probe..root.first_probe + root.probes {
        root_probes[probes[index as usize].node as usize] = index;
    }
    let table = Table::new(&entries);
    Automaton { patterns, conjunctions, terms, texts, table, trees, probes, root_probes, always, members }
}

/// The accesses of every term.
struct Accesses {
    all: Vec<Access>,
    /// Where each term's begin and end.
    of_terms: Vec<(u32, u32)>,
}

impl Accesses {
    fn of(patterns: &[Arc<Pattern>], lowered: &Lowered) -> Accesses {
        let field = |&(pattern, field): &(u32, u32)| &patterns[pattern as usize].fields[field as usize];
        let fields = lowered.terms.iter().zip(&lowered.origins).map(|(term, origin)| (term.node, field(origin)));
        let survey = Survey::of(fields.clone());
        let mut all = Vec::new();
        let of_terms = fields.map(|(node, field)| {
            let start = all.len() as u32;
            survey.accesses(node, field, &mut all);
            (start, all.len() as u32)
        });
        let of_terms = of_terms.collect();
        Accesses { all, of_terms }
    }

    fn of_term(&self, term: u32) -> &[Access] {
        let (start, end) = self.of_terms[term as usize];
        &self.all[start as usize..end as usize]
    }
}

/// A conjunction on its way down the tree, and which of its first 64 terms led there.
#[derive(Clone, Copy)]
struct Member {
    conjunction: u32,
    used: u64,
}

/// A member under one access of its term.
#[derive(Clone, Copy)]
struct Placed {
    node: Node,
    access: Access,
    member: Member,
}

struct Builder<'a> {
    conjunctions: &'a [Conjunction],
    terms: &'a [Term],
    accesses: &'a Accesses,
    entries: Vec<(u64, u32)>,
    trees: Vec<Tree>,
    probes: Vec<Probe>,
    always: Vec<u32>,
    all_members: Vec<u32>,
}

impl Builder<'_> {
    /// Builds the tree that tells the members apart; its number.
    fn tree(&mut self, members: Vec<Member>, level: u32) -> u32 {
        let number = self.trees.len() as u32;
        let mut tree = Tree::default();
        if level > 0 {
            (tree.first_member, tree.members) = (self.all_members.len() as u32, members.len() as u32);
            self.all_members.extend(members.iter().map(|member| member.conjunction));
        }
        self.trees.push(tree);
        let (mut placed, mut always) = (Vec::new(), Vec::new());
        let shares = Shares::of(self, &members);
        for member in members {
            match self.best_term(&shares, member) {
                Some(term) => self.place(member, term, &mut placed),
                None => always.push(member.conjunction),
            }
        }
        drop(shares);
        placed
            .sort_unstable_by_key(|p| (p.node, p.access.property, p.access.code, p.access.high, p.member.conjunction));
        let mut probes = Vec::new();
        for of_node in placed.chunk_by(|a, b| a.node == b.node) {
            probes.push(self.probe(number, of_node, level));
        }
        let tree = &mut self.trees[number as usize];
        (tree.first_always, tree.always) = (self.always.len() as u32, always.len() as u32);
        (tree.first_probe, tree.probes) = (self.probes.len() as u32, probes.len() as u32);
        self.always.append(&mut always);
        self.probes.append(&mut probes);
        number
    }

    /// The terms of a member that have not led to it, among its first 64.
    fn terms_left(&self, member: Member) -> impl Iterator<Item = u32> + use<'_> {
        let conjunction = self.conjunctions[member.conjunction as usize];
        let terms = (0..u32::from(conjunction.terms).min(64)).filter(move |term| member.used & 1 << term == 0);
        terms.map(move |term| conjunction.first_term + term)
    }

    fn best_term(&self, shares: &Shares, member: Member) -> Option<u32> {
        let rated = self.terms_left(member).filter_map(|term| Some((shares.rate(self, term)?, term)));
        rated.min().map(|(_, term)| term)
    }

    fn place(&self, mut member: Member, term: u32, placed: &mut Vec<Placed>) {
        let first = self.conjunctions[member.conjunction as usize].first_term;
        member.used |= 1 << (term - first);
        let node = self.terms[term as usize].node;
        placed.extend(self.accesses.of_term(term).iter().map(|&access| Placed { node, access, member }));
    }

    /// The probe of one path, from its members in the order of their accesses.
    fn probe(&mut self, tree: u32, placed: &[Placed], level: u32) -> Probe {
        let node = placed[0].node;
        let mut probe = Probe::new(node, mix(u64::from(tree), u64::from(node)));
        let (mut accesses, mut ranges) = (Vec::new(), Vec::new());
        let same = |a: &Placed, b: &Placed| {
            (a.access.property, a.access.code, a.access.high) == (b.access.property, b.access.code, b.access.high)
        };
        for group in placed.chunk_by(same) {
            let mut members: Vec<Member> = group.iter().map(|placed| placed.member).collect();
            members.dedup_by_key(|member| member.conjunction);
            let target = self.target(members, level + 1);
            let access = group[0].access;
            match access.property {
                Property::Present => probe.present = Some(target),
                Property::Range => ranges.push((access.code, access.high, target)),
                _ => self.entries.push((probe.entry(access.code), target)),
            }
            accesses.push(access);
        }
        probe.add(&accesses);
        probe.ranges = (!ranges.is_empty()).then(|| Ranges::new(ranges));
        probe
    }

    /// What an entry says: the number of the one conjunction, or of a tree for several.
    fn target(&mut self, members: Vec<Member>, level: u32) -> u32 {
        if let [member] = members.as_slice() {
            return member.conjunction;
        }
        if members.len() > BUCKET_MAX && level < LEVELS_MAX {
            return self.tree(members, level) | TREE;
        }
        let (first_always, always) = (self.always.len() as u32, members.len() as u32);
        self.always.extend(members.iter().map(|member| member.conjunction));
        self.trees.push(Tree { first_always, always, ..Tree::default() });
        (self.trees.len() as u32 - 1) | TREE
    }
}

/// How many members share each access.
struct Shares {
    counts: HashedMap<u32>,
    /// The low and the high ends of each path's ranges, sorted.
    ranges: HashedMap<(Vec<u64>, Vec<u64>)>,
}

impl Shares {
    fn of(builder: &Builder<'_>, members: &[Member]) -> Shares {
        let mut shares = Shares { counts: HashedMap::default(), ranges: HashedMap::default() };
        shares.counts.reserve(members.len());
        for &member in members {
            for term in builder.terms_left(member) {
                let node = builder.terms[term as usize].node;
                for access in builder.accesses.of_term(term) {
                    if access.property == Property::Range {
                        let (lows, highs) = shares.ranges.entry(mix(u64::from(node), 0)).or_default();
                        lows.push(access.code);
                        highs.push(access.high);
                    } else {
                        *shares.counts.entry(at(node, access)).or_default() += 1;
                    }
                }
            }
        }
        for (lows, highs) in shares.ranges.values_mut() {
            lows.sort_unstable();
            highs.sort_unstable();
        }
        shares
    }

    /// How many checks the term would cost, roughly: the less, the better to be looked up by. Nothing if it cannot be.
    fn rate(&self, builder: &Builder<'_>, term: u32) -> Option<u64> {
        let node = builder.terms[term as usize].node;
        let cost = |access: &Access| access.generality() * self.shared(node, access);
        let accesses = builder.accesses.of_term(term);
        (!accesses.is_empty()).then(|| accesses.iter().map(cost).sum())
    }

    fn shared(&self, node: Node, access: &Access) -> u64 {
        if access.property != Property::Range {
            return self.counts.get(&at(node, access)).copied().unwrap_or(1).into();
        }
        let Some((lows, highs)) = self.ranges.get(&mix(u64::from(node), 0)) else { return 1 };
        // Ranges that overlap this one's middle: those that begin before it, less those that have ended.
        let middle = access.code / 2 + access.high / 2;
        let begun = lows.partition_point(|&low| low <= middle);
        let ended = highs.partition_point(|&high| high < middle);
        begun.saturating_sub(ended).max(1) as u64
    }
}
