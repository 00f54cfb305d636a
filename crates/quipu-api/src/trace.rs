//! The tree of causes and effects around one event, in the order in which it is printed.

use quipu_domain::{Trace, TraceNode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tree around an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceAnswer {
    /// Whether there were more events than a trace may have (1,000).
    pub cut: bool,
    /// The events; children follow their parent, siblings by position.
    pub nodes: Vec<TraceLine>,
}

/// One event of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceLine {
    /// 0 for a root.
    pub depth: usize,
    /// Where the event is in the log.
    pub position: u64,
    /// Its `id`.
    pub id: String,
    /// Its `source`.
    pub source: String,
    /// Its `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its `subject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Its `causationid`.
    #[serde(rename = "causationid", default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Its `sagaid`: the saga that published it, and the number of the instance.
    #[serde(rename = "sagaid", default, skip_serializing_if = "Option::is_none")]
    pub saga_id: Option<String>,
}

impl From<Trace> for TraceAnswer {
    fn from(trace: Trace) -> Self {
        let line = |(depth, node): (usize, TraceNode)| TraceLine {
            depth,
            position: node.position,
            id: node.id,
            source: node.source,
            kind: node.kind,
            subject: node.subject,
            time: node.time,
            causation_id: node.causation_id,
            saga_id: node.saga_id,
        };
        Self { cut: trace.is_cut, nodes: trace.nodes.into_iter().map(line).collect() }
    }
}
