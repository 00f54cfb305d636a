//! What goes over a WebSocket besides CloudEvents: what a client asks for, and what it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Problem, PublishResult};

/// A control object from the client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlFrame {
    /// Begin to deliver; replaces an earlier subscription. The names are those of the query parameters of the tail;
    /// a value is a string, a number or an array of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Map<String, Value>>,
    /// `true`: deliver nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<bool>,
}

/// A frame from the server, other than a delivered event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerFrame {
    /// What became of a published event, in the order of publishing.
    Ack(Ack),
    /// A frame could not be read; the connection goes on.
    Error(Problem),
    /// A subscription has begun.
    Subscribed(Subscribed),
    /// The subscription has ended.
    Unsubscribed(Subscribed),
}

/// What became of a published event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ack {
    /// Its `id`.
    pub id: String,
    /// Its `source`.
    pub source: String,
    /// What became of it.
    #[serde(flatten)]
    pub result: PublishResult,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscribed {
    /// Everything that matches after this position is delivered.
    pub after: u64,
}
