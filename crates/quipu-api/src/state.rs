//! How the store and the server are: statistics and health.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsAnswer {
    /// Events recorded.
    pub events: u64,
    /// Commits written.
    pub commits: u64,
    /// Streams begun.
    pub streams: u64,
    /// The newest position on disk.
    pub position: u64,
    /// Segment files of the log.
    pub segments: u64,
    /// Bytes of the log.
    #[serde(rename = "logbytes")]
    pub log_bytes: u64,
    /// Bytes of index files.
    #[serde(rename = "indexbytes")]
    pub index_bytes: u64,
    /// Bytes of snapshots.
    #[serde(rename = "snapshotbytes")]
    pub snapshot_bytes: u64,
    /// Payloads beside the log, each counted once.
    pub payloads: u64,
    /// Bytes of payloads.
    #[serde(rename = "payloadbytes")]
    pub payload_bytes: u64,
    /// When the oldest event was recorded, RFC 3339.
    pub oldest: Option<String>,
    /// When the newest event was recorded, RFC 3339.
    pub newest: Option<String>,
}

/// The server is as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// `live` or `ready`.
    pub status: String,
}
