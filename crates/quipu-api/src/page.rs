//! Pages of events and of streams, as they are read. Events stay as the text that came, so that a client that only
//! hands them on parses nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventsPage {
    /// CloudEvents with `position`, `streamversion` and `recordedtime`.
    #[schemars(with = "Vec<crate::openapi::RecordedEvent>")]
    pub events: Vec<Box<RawValue>>,
    /// Where the next page begins; null once the end was reached. A page with a cursor may be short or even empty.
    pub cursor: Option<String>,
    /// The newest position on disk; 0 for an empty log.
    pub position: u64,
}

/// A page of the events of one stream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StreamEventsPage {
    /// CloudEvents with `position`, `streamversion` and `recordedtime`.
    #[schemars(with = "Vec<crate::openapi::RecordedEvent>")]
    pub events: Vec<Box<RawValue>>,
    /// Where the next page begins; null once the end was reached.
    pub cursor: Option<String>,
    /// The newest position on disk.
    pub position: u64,
    /// The version of the newest event of the stream.
    pub version: u64,
}

/// A page of streams, in the order in which they began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsPage {
    /// The streams.
    pub streams: Vec<StreamLine>,
    /// Where the next page begins; null once the end was reached.
    pub cursor: Option<String>,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamLine {
    /// Its name.
    pub subject: String,
    /// The version of its newest event.
    pub version: u64,
    /// The position of its newest event.
    pub position: u64,
    /// The position of its first event.
    #[serde(rename = "firstposition")]
    pub first_position: u64,
}

/// The number recorded for an outside source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointAnswer {
    /// Who numbers.
    pub source: String,
    /// The number reached; null if none was recorded.
    pub number: Option<u64>,
}
