//! The contract of Quipu, as every face of it speaks it: the wire types, the error codes, how a filter is written as
//! query parameters, and the catalogue of operations from which routes, OpenAPI and the reference page are made.
//!
//! It knows nothing of the engine or of sockets, so a client depends on it as well as the server does.

pub mod append;
pub mod asyncapi;
pub mod audit;
pub mod catalog;
pub mod catalogue;
mod code;
pub mod cursor;
pub mod deadletter;
pub mod delivery;
pub mod frame;
pub mod intervention;
pub mod key;
pub mod mermaid;
mod openapi;
pub mod operation;
pub mod page;
pub mod parameter;
pub mod pattern;
pub mod problem;
pub mod projection;
pub mod publish;
mod reference;
pub mod replay;
pub mod request;
pub mod saga;
pub mod schedule;
pub mod schema;
pub mod secret;
mod server_url;
pub mod state;
pub mod subscription;
pub mod tenant;
pub mod timer;
pub mod trace;
pub mod verification;
pub mod what_if;
mod yaml;

pub use append::{AcknowledgeBody, AppendAnswer, AppendRequest, CheckpointBody};
pub use catalogue::{OPERATIONS, Operation, operation};
pub use code::Code;
pub use cursor::Cursor;
pub use deadletter::{DeadLetterAnswer, DeadLetterGroupsAnswer, DeadLettersPage};
pub use delivery::{AnswersAnswer, AnswersRequest, PullAnswer, PullRequest};
pub use openapi::openapi;
pub use operation::{ItemsAnswer, OperationAnswer, OperationsAnswer, PreviewAnswer, PreviewRequest};
pub use page::{CheckpointAnswer, EventsPage, StreamEventsPage, StreamLine, StreamsPage};
pub use parameter::{filter_from_json, filter_to_pairs, filter_to_query};
pub use pattern::{PatternFailure, PatternReason, PatternTestAnswer, PatternTestRequest};
pub use problem::{ConditionFailed, Expected, Problem};
pub use publish::{LineResult, Place, PublishAnswer, PublishResult, PublishSummary, Scheduled};
pub use reference::reference;
pub use replay::{ReplayPreviewAnswer, ReplayRequest};
pub use request::{
    DeadLettersRequest, EventKey, EventRequest, ReadRequest, StreamRequest, StreamsRequest, TailFrom, TailRequest,
};
pub use secret::{EndpointAnswer, RotateAnswer, RotateRequest, SecretsAnswer};
pub use server_url::{InvalidServerUrl, server_url};
pub use state::{HealthAnswer, StatsAnswer};
pub use subscription::{CreateSubscription, SubscriptionAnswer, SubscriptionsAnswer};
pub use timer::{CancelledTimerAnswer, SetTimerRequest, TimerAnswer, TimersPage};
pub use trace::{TraceAnswer, TraceLine};

/// Media type of one CloudEvent in JSON.
pub const MEDIA_EVENT: &str = "application/cloudevents+json";
/// Media type of a JSON array of CloudEvents.
pub const MEDIA_BATCH: &str = "application/cloudevents-batch+json";
/// Media type of one JSON text a line.
pub const MEDIA_LINES: &str = "application/x-ndjson";
/// Media type of JSON.
pub const MEDIA_JSON: &str = "application/json";
/// Media type of a page to read.
pub const MEDIA_YAML: &str = "application/yaml";
/// Text for people.
pub const MEDIA_TEXT: &str = "text/plain; charset=utf-8";
/// A page for a browser.
pub const MEDIA_HTML: &str = "text/html";
/// Media type of an RFC 9457 problem document.
pub const MEDIA_PROBLEM: &str = "application/problem+json";
/// Media type of server-sent events.
pub const MEDIA_SSE: &str = "text/event-stream";
/// The WebSocket subprotocol of CloudEvents in JSON (CloudEvents WebSockets binding 1.0.2, section 3.2).
pub const SUBPROTOCOL: &str = "cloudevents.json";
/// Response header of an export: the position of its last line.
pub const POSITION_HEADER: &str = "quipu-position";
/// Response header that carries the cursor where the body is lines of events.
pub const CURSOR_HEADER: &str = "quipu-cursor";
