//! Learns a schema from values that were really published, for whoever has events and no schema.
//!
//! The schema accepts every value that it was learned from. It is meant to accept tomorrow's as well, so it says only
//! what a sender means by a value's form: types, which fields were always there, formats that every text of a field
//! had. It never closes a list of values or an object, and sets no limits: that a status was `open` or `closed` so far
//! is an example, not a rule.
//!
//! Memory is bounded by the number of fields, not of values.

mod fields;
mod format;
mod shape;
mod text;

use serde_json::{Value, json};

use super::draft::Draft;
use super::limits::Limits;
use shape::{Room, Shape};

/// How much is remembered. The schema of the default fits what [`Limits`] allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InferenceLimits {
    /// Most fields in all; of further ones only that there are some. A field takes some 10 values and 150 bytes of a
    /// schema.
    pub fields: usize,
    /// Most fields of one object. One that has more is a map whose keys are data: its values are learned as one.
    pub object_fields: usize,
    /// Deepest level; what is below may be anything. A level of data is two of a schema, which may have 64.
    pub depth: usize,
    /// Most examples of a field's values. None where the values should not be repeated in a schema.
    pub examples: usize,
}

impl Default for InferenceLimits {
    fn default() -> InferenceLimits {
        InferenceLimits { fields: 1_000, object_fields: 150, depth: 24, examples: 2 }
    }
}

/// What was learned so far.
///
/// ```
/// use quipu_domain::schema::{Inference, InferenceLimits};
/// let mut inference = Inference::new(InferenceLimits::default());
/// inference.observe(&serde_json::json!({"id": 1, "note": null}));
/// inference.observe(&serde_json::json!({"id": 2}));
/// let schema = inference.schema("order.placed");
/// assert_eq!(schema["required"], serde_json::json!(["id"]));
/// assert_eq!(schema["properties"]["note"]["x-observed"], serde_json::json!({"count": 1, "of": 2}));
/// ```
#[derive(Clone, Debug)]
pub struct Inference {
    limits: InferenceLimits,
    root: Shape,
}

impl Inference {
    /// Has learned nothing, and accepts anything.
    pub fn new(limits: InferenceLimits) -> Inference {
        Inference { limits, root: Shape::default() }
    }

    /// How many values it has learned from.
    pub fn count(&self) -> u64 {
        self.root.count
    }

    /// Learns from a value.
    pub fn observe(&mut self, value: &Value) {
        let mut room = self.room();
        self.root.observe(value, &mut room, 0);
    }

    /// Learns what another one has learned: both halves of a log may be read at once.
    pub fn merge(&mut self, other: &Inference) {
        let mut room = self.room();
        self.root.merge(&other.root, &mut room, 0);
    }

    /// The schema in the draft 2020-12. `x-observed` says for each field how often it was there, of how many times it
    /// could have been.
    pub fn schema(&self, title: &str) -> Value {
        let schema = self.render(title, self.limits.examples);
        // Examples are the first to go where names are long.
        if schema.to_string().len() <= Limits::default().bytes { schema } else { self.render(title, 0) }
    }

    fn render(&self, title: &str, examples: usize) -> Value {
        let mut schema = self.root.schema(self.root.count, examples);
        schema["$schema"] = json!(Draft::Draft202012.uri());
        schema["title"] = json!(title);
        schema
    }

    fn room(&self) -> Room {
        Room { limits: self.limits, left: self.limits.fields.saturating_sub(self.root.size()) }
    }
}
