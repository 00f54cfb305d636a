//! What it costs at most to hold a value against a schema, so that a schema which would take for ever is refused when
//! it is registered, not met when an event arrives.
//!
//! The cost is the number of subschemas that a value and all that surround it are held against. Fields of one object
//! are different values, so only the dearest of them counts; branches of `anyOf` and the like are held against the same
//! one, so they add up. A few lines of references that fan out twice at each level double it each time:
//! 24 of them took 300 ms for a single number.
//!
//! A recursive schema has no such number. There the way back into the circle must be unique for every field and item:
//! then each level of the data costs the same, and not twice as much as the one above.

use std::collections::BTreeMap;

use super::component::components;
use super::graph::Graph;
use super::invalid::InvalidSchema;
use super::keyword::Step;
use super::limits::Limits;
use super::size::most;

/// What holding a value against a schema takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Subschemas for one value and all that surround it; for each level where a schema is recursive.
    pub(super) most: u64,
    /// Listed values and names that one value and all that surround it are compared with.
    pub(super) listed: u64,
    /// Steps for each byte of a text, times 4, see [`Own::each_byte`](super::effort::Own::each_byte).
    pub(super) each_byte: u64,
    /// Whether it refers to itself.
    pub(super) is_recursive: bool,
}

/// Refuses what could take too long.
pub(super) fn check(graph: &Graph, limits: &Limits) -> Result<Cost, InvalidSchema> {
    let size = graph.nodes.len();
    let same = |node: usize| -> Vec<usize> {
        graph.nodes[node].edges.iter().filter(|(step, _)| *step == Step::Same).map(|(_, to)| *to).collect()
    };
    // Along the references to the same value there must be no circle; then this is an order in which each comes after
    // what it applies.
    let mut order = vec![0; size];
    for (position, component) in components(size, same).into_iter().enumerate() {
        let node = component[0];
        if component.len() > 1 || same(node).contains(&node) {
            let first = component.into_iter().min().unwrap_or(node);
            return Err(InvalidSchema::Cycle { pointer: graph.nodes[first].pointer.clone() });
        }
        order[node] = position;
    }
    let all = |node: usize| graph.nodes[node].edges.iter().map(|(_, to)| *to).collect::<Vec<_>>();
    let circles = components(size, all);
    let mut circle_of = vec![0; size];
    for (number, circle) in circles.iter().enumerate() {
        for node in circle {
            circle_of[*node] = number;
        }
    }
    let mut measure =
        Measure { graph, limits, circle_of, weights: vec![Weight::default(); size], reach: vec![0; circles.len()] };
    let mut cost = Cost::default();
    for (number, circle) in circles.iter().enumerate() {
        let mut circle = circle.clone();
        circle.sort_by_key(|node| order[*node]);
        let is_recursive = circle.len() > 1 || all(circle[0]).contains(&circle[0]);
        cost.is_recursive |= is_recursive;
        let mut back = BTreeMap::new();
        for node in &circle {
            let weight = measure.weigh(*node)?;
            cost.most = cost.most.max(weight.cost);
            cost.listed = cost.listed.max(weight.listed);
            cost.each_byte = cost.each_byte.max(weight.each_byte);
            if is_recursive {
                measure.recursion(*node, &mut back)?;
            }
        }
        measure.reach(number, &circle, is_recursive)?;
    }
    Ok(cost)
}

#[derive(Clone, Copy, Default)]
struct Weight {
    cost: u64,
    listed: u64,
    each_byte: u64,
    /// Longest way without leaving the value.
    chain: usize,
    conditionals: usize,
}

struct Measure<'a> {
    graph: &'a Graph,
    limits: &'a Limits,
    circle_of: Vec<usize>,
    weights: Vec<Weight>,
    reach: Vec<usize>,
}

/// How many ways lead back into the circle: for a field of a name, for other fields, for items.
#[derive(Clone, Default)]
struct Back {
    fields: BTreeMap<String, u64>,
    others: u64,
    items: u64,
}

impl Measure<'_> {
    fn weigh(&mut self, index: usize) -> Result<Weight, InvalidSchema> {
        let node = &self.graph.nodes[index];
        let (listed, each_byte) = (node.own.listed, node.own.each_byte());
        let conditionals = usize::from(node.is_conditional);
        let mut weight = Weight { cost: 1, listed, each_byte, chain: 1, conditionals };
        let [mut parts, mut parts_listed, mut parts_each_byte] = [Parts::default(); 3];
        for (step, to) in &node.edges {
            let inner = self.weights[*to];
            if *step == Step::Same {
                weight.cost = weight.cost.saturating_add(inner.cost);
                weight.listed = weight.listed.saturating_add(inner.listed);
                weight.each_byte = weight.each_byte.saturating_add(inner.each_byte);
                weight.chain = weight.chain.max(inner.chain + 1);
                weight.conditionals = weight.conditionals.saturating_add(inner.conditionals);
            } else if self.circle_of[*to] != self.circle_of[index] {
                parts.add(step, inner.cost);
                parts_listed.add(step, inner.listed);
                parts_each_byte.add(step, inner.each_byte);
            }
        }
        weight.cost = weight.cost.saturating_add(parts.dearest());
        weight.listed = weight.listed.saturating_add(parts_listed.dearest());
        weight.each_byte = weight.each_byte.saturating_add(parts_each_byte.dearest());
        self.weights[index] = weight;
        if weight.cost > self.limits.cost {
            let (found, max) = (weight.cost, self.limits.cost);
            let what = "subschemas that one value is held against";
            return Err(InvalidSchema::TooMany { pointer: node.pointer.clone(), what, found, max });
        }
        most(&node.pointer, "conditions (if) on one value", weight.conditionals, self.limits.conditionals)?;
        Ok(weight)
    }

    /// Refuses a schema of a circle that leads back into it more than once for one field or item.
    fn recursion(&self, index: usize, backs: &mut BTreeMap<usize, Back>) -> Result<(), InvalidSchema> {
        let node = &self.graph.nodes[index];
        let inside = |to: usize| self.circle_of[to] == self.circle_of[index];
        most(&node.pointer, "references in a row on the way of a recursive schema", self.weights[index].chain, {
            self.limits.recursive_reach
        })?;
        let mut named: BTreeMap<String, Parts> = BTreeMap::new();
        let mut parts = Parts::default();
        let mut inner = Vec::new();
        for (step, to) in &node.edges {
            match step {
                Step::Same => inner.extend(backs.get(to)),
                Step::Field(name) => named.entry(name.clone()).or_default().add(step, u64::from(inside(*to))),
                _ => parts.add(step, u64::from(inside(*to))),
            }
        }
        let listed = |own: Parts| own.field + parts.matching + parts.left_fields + parts.names;
        let mut back = Back { others: parts.fields(), items: parts.items(), ..Back::default() };
        back.fields.extend(named.into_iter().map(|(name, own)| (name, listed(own))));
        for other in inner {
            back.add(other);
        }
        if back.others > 1 || back.items > 1 || back.fields.values().any(|ways| *ways > 1) {
            return Err(InvalidSchema::BranchingRecursion { pointer: node.pointer.clone() });
        }
        backs.insert(index, back);
        Ok(())
    }

    /// Refuses a schema that is compiled in too many levels. How deep a circle is depends on where one starts; it is
    /// never deeper than it has schemas that are referred to, times the longest way between two of them.
    fn reach(&mut self, number: usize, circle: &[usize], is_recursive: bool) -> Result<(), InvalidSchema> {
        let below = |node: &usize| {
            let outside = self.graph.nodes[*node].edges.iter().map(|(_, to)| self.circle_of[*to]);
            outside.filter(|other| *other != number).map(|other| self.reach[other]).max().unwrap_or(0)
        };
        let below = circle.iter().map(below).max().unwrap_or(0);
        let own = if is_recursive { self.circle_depth(number, circle) } else { 1 };
        self.reach[number] = below + own;
        let pointer = circle.iter().min().map_or("", |node| self.graph.nodes[*node].pointer.as_str());
        most(pointer, "subschemas inside of one another, references followed", below + own, self.limits.reach)
    }

    fn circle_depth(&self, number: usize, circle: &[usize]) -> usize {
        let inside = |node: usize| {
            let edges = self.graph.nodes[node].edges.iter();
            edges.filter(|(_, to)| self.circle_of[*to] == number).map(move |(_, to)| (node, *to))
        };
        let is_within = |(from, to): &(usize, usize)| {
            self.graph.nodes[*to].pointer.starts_with(&format!("{}/", self.graph.nodes[*from].pointer))
        };
        let referred: std::collections::BTreeSet<usize> =
            circle.iter().flat_map(|node| inside(*node)).filter(|edge| !is_within(edge)).map(|(_, to)| to).collect();
        // Without the references each is a tree, and a tree's depth is that of its pointers.
        let levels = |node: &usize| self.graph.nodes[*node].pointer.matches('/').count();
        let deepest = circle.iter().map(levels).max().unwrap_or(0);
        let highest = referred.iter().map(levels).min().unwrap_or(0);
        // A level of schemas is one or two of the pointer (`/properties/name`); one is assumed.
        circle.len().min(referred.len().saturating_mul(deepest.saturating_sub(highest) + 1))
    }
}

impl Back {
    fn add(&mut self, other: &Back) {
        let (mine, theirs) = (self.others, other.others);
        for ways in self.fields.values_mut() {
            *ways = ways.saturating_add(theirs);
        }
        for (name, ways) in &other.fields {
            match self.fields.get_mut(name) {
                Some(sum) => *sum = sum.saturating_add(*ways).saturating_sub(theirs),
                None => {
                    self.fields.insert(name.clone(), mine.saturating_add(*ways));
                }
            }
        }
        self.others = self.others.saturating_add(theirs);
        self.items = self.items.saturating_add(other.items);
    }
}

/// What a schema's keywords ask of one field or item of a value, in the combinations in which they apply together.
#[derive(Clone, Copy, Default)]
struct Parts {
    field: u64,
    matching: u64,
    other_fields: u64,
    left_fields: u64,
    names: u64,
    item: u64,
    other_items: u64,
    contained: u64,
    left_items: u64,
}

impl Parts {
    fn add(&mut self, step: &Step, cost: u64) {
        match step {
            Step::Field(_) => self.field = self.field.max(cost),
            Step::Matching(_) => self.matching = self.matching.saturating_add(cost),
            Step::OtherFields => self.other_fields = cost,
            Step::LeftFields => self.left_fields = cost,
            Step::Names => self.names = cost,
            Step::Item(_) => self.item = self.item.max(cost),
            Step::Items => self.other_items = self.other_items.max(cost),
            Step::Contained => self.contained = cost,
            Step::LeftItems => self.left_items = cost,
            Step::Same | Step::Shelf => {}
        }
    }

    fn fields(&self) -> u64 {
        let listed = self.field.saturating_add(self.matching);
        listed.max(self.other_fields).saturating_add(self.left_fields).saturating_add(self.names)
    }

    fn items(&self) -> u64 {
        self.item.max(self.other_items).saturating_add(self.contained).saturating_add(self.left_items)
    }

    fn dearest(&self) -> u64 {
        self.fields().max(self.items())
    }
}
