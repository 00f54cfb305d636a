//! JSON Schemas of event types: which texts are accepted, what fits them, how two versions differ, and which schema
//! would fit what was really published.
//!
//! A [`Document`] is a schema that was checked: whatever takes too much time or memory, and whatever would have to be
//! fetched, is refused when it is read. Its [`Validator`] can then be held against any data in bounded time.

mod bundle;
pub mod compatibility;
mod component;
mod cost;
mod diff;
mod document;
mod draft;
mod effort;
mod expression;
mod generate;
mod graph;
mod inference;
mod invalid;
mod keyword;
mod limits;
mod pointer;
mod resolve;
mod rules;
mod size;
#[cfg(test)]
mod tests;
mod validator;
mod version;
mod violation;

pub use diff::{Change, ChangeKind, diff};
pub use document::{Document, Lookup};
pub use draft::Draft;
pub use inference::{Inference, InferenceLimits};
pub use invalid::InvalidSchema;
pub use limits::Limits;
pub use rules::{Enforcement, SchemaRules, UnknownTypes};
pub use validator::Validator;
pub use version::SchemaVersion;
pub use violation::Violation;
