//! The words and rules of Quipu.
//!
//! Everything here is a pure function or a value: an [`Event`] and how it is read from JSON, a [`Query`] and a
//! [`Filter`] and what they match, a [`Condition`] and what must hold for it. Nothing here reads a clock, a file or
//! a socket, so every rule is tested by tables and properties.

pub mod access;
mod condition;
pub mod delivery;
mod domain_envelope;
mod event;
mod event_type;
mod filter;
mod json;
pub mod limits;
mod pattern;
pub mod pieces;
pub mod projection;
mod query;
mod quotas;
mod recorded;
pub mod saga;
pub mod schedule;
pub mod schema;
mod span;
mod subscription;
pub mod timer;
mod timestamp;
mod trace;

pub use access::{Access, Grant, Permission};
pub use condition::{Checkpoint, Condition, ConditionFailure, Refusal, StreamExpectation, StreamState};
pub use event::{
    DATAREF, Data, DataForm, Event, EventBuilder, InvalidEvent, Payload, PayloadForm, Value, is_forbidden_char,
};
pub use event_type::{base_type, type_prefixes, type_version};
pub use filter::{Direction, Filter, Range, TypeMatch};
pub use json::{Incoming, Stamp, parse_batch, parse_event, parse_event_text, parse_events, write_event};
pub use pattern::{
    Explanation, Failure, Found, InvalidPattern, Matches, Pattern, PatternSet, Scratch, Snapshot, Takes,
};
pub use query::{Query, QueryItem};
pub use quotas::Quotas;
pub use recorded::parse_recorded;
pub use span::Span;
pub use subscription::{
    DeadLetterPolicy, InvalidSubscription, OnGivenUp, Ordering, Push, PushMode, REASON_BYTES_MAX, StartAt,
    Subscription, Template, Transform, WriteOnly, is_subscription_name,
};
pub use timestamp::Timestamp;
pub use trace::{Trace, TraceNode};
