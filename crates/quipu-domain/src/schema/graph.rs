//! The schemas of a self-contained schema and how one leads to another: what its cost, its recursion and its sensitive
//! fields are read from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::Draft;
use super::effort::Own;
use super::keyword::{self, Step};
use super::pointer::{decode, member, names};

/// Schemas and steps; the first is the root.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
}

/// A schema.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) pointer: String,
    pub(super) is_sensitive: bool,
    pub(super) is_conditional: bool,
    /// What its own keywords take.
    pub(super) own: Own,
    /// What it applies, to what part of the value.
    pub(super) edges: Vec<(Step, usize)>,
}

impl Graph {
    /// Reads a schema all of whose references are pointers into itself.
    pub(super) fn of(bundled: &Value, draft: Draft) -> Graph {
        let mut graph = Graph::default();
        let mut indexes = BTreeMap::new();
        graph.index(String::new(), &mut indexes);
        let mut next = 0;
        while next < graph.nodes.len() {
            let pointer = graph.nodes[next].pointer.clone();
            if let Some(Value::Object(members)) = bundled.pointer(&pointer) {
                let mut edges = Vec::new();
                keyword::each(draft, &pointer, members, |step, at, _| {
                    let index = graph.index(at, &mut indexes);
                    if step != Step::Shelf {
                        edges.push((step, index));
                    }
                });
                let target = members.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
                let target = target.and_then(decode);
                edges.extend(target.map(|target| (Step::Same, graph.index(target, &mut indexes))));
                let node = &mut graph.nodes[next];
                node.edges = edges;
                node.is_sensitive = members.get("x-sensitive") == Some(&Value::Bool(true));
                node.is_conditional = members.contains_key("if");
                node.own = Own::of(members);
            }
            next += 1;
        }
        graph
    }

    fn index(&mut self, pointer: String, indexes: &mut BTreeMap<String, usize>) -> usize {
        *indexes.entry(pointer).or_insert_with_key(|pointer| {
            self.nodes.push(Node { pointer: pointer.clone(), ..Node::default() });
            self.nodes.len() - 1
        })
    }

    /// The paths that are marked, with `*` for items and for fields that are not named. Below a recursive schema each
    /// is listed once, at the first level.
    pub(super) fn sensitive(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        // Each schema once for each path would be exponential; once with the first path that leads to it would lose
        // the second field of one definition. What is marked is marked where it stands, so: each schema as often as
        // paths lead to it, up to a number that nobody means.
        let mut queue = std::collections::VecDeque::from([(0_usize, String::new(), Vec::<usize>::new())]);
        let mut steps = 0;
        while let Some((index, path, above)) = queue.pop_front() {
            steps += 1;
            if steps > STEPS_MAX {
                break;
            }
            let node = &self.nodes[index];
            if node.is_sensitive {
                found.insert(path);
                continue;
            }
            if above.contains(&index) {
                continue;
            }
            let above: Vec<usize> = above.iter().copied().chain([index]).collect();
            for (step, to) in &node.edges {
                let path = match step {
                    Step::Same => path.clone(),
                    Step::Field(name) => member(&path, name),
                    Step::Item(index) => format!("{path}/{index}"),
                    Step::Names | Step::Shelf => continue,
                    _ => format!("{path}/*"),
                };
                queue.push_back((*to, path, above.clone()));
            }
        }
        found
    }

    /// Whether a place in data is marked, or something around it. A field that might be is.
    pub(super) fn is_sensitive(&self, pointer: &str) -> bool {
        let mut at = self.same(BTreeSet::from([0]));
        for name in names(pointer) {
            if at.iter().any(|index| self.nodes[*index].is_sensitive) {
                return true;
            }
            let mut inner = BTreeSet::new();
            for index in &at {
                let edges = &self.nodes[*index].edges;
                let listed = |step: &Step| matches!(step, Step::Field(field) if *field == name);
                let is_listed = edges.iter().any(|(step, _)| listed(step));
                inner.extend(edges.iter().filter(|(step, _)| leads(step, &name, is_listed)).map(|(_, to)| *to));
            }
            at = self.same(inner);
        }
        at.iter().any(|index| self.nodes[*index].is_sensitive)
    }

    /// The schemas and all that they apply to the same value.
    fn same(&self, mut set: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut queue: Vec<usize> = set.iter().copied().collect();
        while let Some(index) = queue.pop() {
            for (step, to) in &self.nodes[index].edges {
                if *step == Step::Same && set.insert(*to) {
                    queue.push(*to);
                }
            }
        }
        set
    }
}

/// Most steps on the way to all marked fields.
const STEPS_MAX: usize = 50_000;

fn leads(step: &Step, name: &str, is_listed: bool) -> bool {
    match step {
        Step::Field(field) => field == name,
        Step::Item(index) => index.to_string() == name,
        Step::OtherFields => !is_listed,
        Step::Same | Step::Names | Step::Shelf => false,
        Step::Matching(_) | Step::LeftFields | Step::Items | Step::Contained | Step::LeftItems => true,
    }
}
