//! The tree of causes and effects around one event. An event's parent is the event whose `id` its `causationid`
//! names; events of one `correlationid` whose cause is unknown stand beside each other as roots.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a trace needs to know of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceNode {
    /// Where the event is in the log.
    pub position: u64,
    /// Its `id`.
    pub id: String,
    /// Its `source`.
    pub source: String,
    /// Its `type`.
    pub kind: String,
    /// Its `subject`.
    pub subject: Option<String>,
    /// Its `time`, as it was sent.
    pub time: Option<String>,
    /// Its `causationid`.
    pub causation_id: Option<String>,
    /// Its `sagaid`: the instance of a saga that published it.
    pub saga_id: Option<String>,
}

/// Events in the order in which a tree is printed, each with its depth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Depth (0 for a root) and event; children follow their parent, siblings by position.
    pub nodes: Vec<(usize, TraceNode)>,
    /// Whether there were more events than a trace may have.
    pub is_cut: bool,
}

impl Trace {
    /// Arranges events into trees. Each stands once, also when causes form a circle.
    pub fn arrange(events: Vec<TraceNode>, is_cut: bool) -> Self {
        let events: BTreeMap<u64, TraceNode> = events.into_iter().map(|node| (node.position, node)).collect();
        let mut by_id: HashMap<&str, Vec<&TraceNode>> = HashMap::new();
        for node in events.values() {
            by_id.entry(&node.id).or_default().push(node);
        }
        // An id may recur under another source: the event's own source comes first, then the newest before it.
        let parent = |node: &TraceNode| {
            let others = by_id.get(node.causation_id.as_deref()?)?.iter().filter(|n| n.position != node.position);
            let own = others.clone().rfind(|cause| cause.source == node.source);
            let before = others.clone().rfind(|cause| cause.position < node.position);
            own.or(before).or(others.clone().next()).map(|cause| cause.position)
        };
        let mut children: BTreeMap<Option<u64>, Vec<u64>> = BTreeMap::new();
        for (position, node) in &events {
            children.entry(parent(node)).or_default().push(*position);
        }
        let mut nodes = Vec::with_capacity(events.len());
        let mut placed = BTreeSet::new();
        let roots = children.get(&None).cloned().unwrap_or_default();
        // What hangs in a circle of causes has no root: its oldest event serves as one.
        for root in roots.into_iter().chain(events.keys().copied()) {
            let mut stack = vec![(0, root)];
            while let Some((depth, position)) = stack.pop() {
                if !placed.insert(position) {
                    continue;
                }
                nodes.push((depth, events[&position].clone()));
                let effects = children.get(&Some(position)).into_iter().flatten().rev();
                stack.extend(effects.map(|effect| (depth + 1, *effect)));
            }
        }
        Self { nodes, is_cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(position: u64, id: &str, cause: Option<&str>) -> TraceNode {
        TraceNode {
            position,
            id: id.into(),
            source: "/s".into(),
            kind: "t".into(),
            subject: None,
            time: None,
            causation_id: cause.map(str::to_owned),
            saga_id: None,
        }
    }

    fn shape(events: Vec<TraceNode>) -> Vec<(usize, u64)> {
        Trace::arrange(events, false).nodes.iter().map(|(depth, node)| (*depth, node.position)).collect()
    }

    #[test]
    fn effects_follow_their_cause() {
        let events = vec![node(1, "a", None), node(2, "b", Some("a")), node(3, "c", None), node(4, "d", Some("b"))];
        assert_eq!(shape(events), [(0, 1), (1, 2), (2, 4), (0, 3)]);
    }

    #[test]
    fn an_id_that_recurs_means_the_one_of_the_same_source() {
        let of = |position, source: &str, id, cause| TraceNode { source: source.into(), ..node(position, id, cause) };
        let events = vec![
            of(1, "/a", "1", None),
            of(2, "/b", "1", None),
            of(3, "/b", "2", Some("1")),
            of(4, "/a", "2", Some("1")),
        ];
        assert_eq!(shape(events), [(0, 1), (1, 4), (0, 2), (1, 3)]);
    }

    #[test]
    fn an_unknown_cause_makes_a_root_and_a_circle_ends() {
        assert_eq!(shape(vec![node(5, "x", Some("gone"))]), [(0, 5)]);
        assert_eq!(shape(vec![node(1, "a", Some("b")), node(2, "b", Some("a"))]), [(0, 1), (1, 2)]);
        assert_eq!(shape(vec![node(1, "a", Some("a"))]), [(0, 1)]);
    }
}
