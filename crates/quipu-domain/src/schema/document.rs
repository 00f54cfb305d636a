//! A schema that can be registered: its text is checked, its references are understood, and what it costs is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::bundle::bundle;
use super::cost::{self, Cost};
use super::draft::Draft;
use super::graph::Graph;
use super::invalid::InvalidSchema;
use super::limits::Limits;
use super::resolve::{Resolution, resolve};
use super::size::{most, read};
use super::validator::{Validator, build};
use super::violation::{self, Violation};
use super::{keyword, pointer};
use crate::event::clip;

/// Finds a registered schema by the name that a reference has for it: `quipu:order.address.v1`, or a name that was
/// given together with the schema.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Arc<Document>>;

/// A JSON Schema that was checked.
///
/// It is compared as JSON: two texts that differ in white space and in the order of members are the same schema,
/// if also what they refer to is the same.
///
/// ```
/// use quipu_domain::schema::{Document, Limits};
/// let text = r#"{"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}"#;
/// let schema = Document::parse(text, &Limits::default())?;
/// let found = schema.validator().violations(&serde_json::json!({"total": "5"}), 10);
/// assert_eq!(found[0].to_string(), r#"/total: expected an integer, found "5""#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Document {
    text: String,
    value: Value,
    draft: Draft,
    resolution: Resolution,
    bundled: Value,
    graph: Arc<Graph>,
    cost: Cost,
    dynamic: BTreeSet<String>,
    depth: usize,
}

impl Document {
    /// Reads a schema that refers to nothing but itself.
    ///
    /// # Errors
    /// [`InvalidSchema`] names the place, what was expected there and what was found.
    pub fn parse(text: impl AsRef<[u8]>, limits: &Limits) -> Result<Document, InvalidSchema> {
        Document::parse_with(text, limits, &|_| None)
    }

    /// Reads a schema that may refer to registered ones. They exist before it does, and neither changes afterwards, so
    /// schemas cannot refer to one another in a circle.
    ///
    /// # Errors
    /// [`InvalidSchema`] names the place, what was expected there and what was found.
    pub fn parse_with(text: impl AsRef<[u8]>, limits: &Limits, lookup: Lookup<'_>) -> Result<Document, InvalidSchema> {
        let value = read(text.as_ref(), limits)?;
        let draft = Draft::of(&value).map_err(|found| InvalidSchema::UnknownDraft {
            pointer: "/$schema".to_owned(),
            found: clip(found).to_string(),
        })?;
        violation::check_against_draft(&value, draft, "")?;
        let resolution = resolve(&value, draft, lookup)?;
        check_patterns(&value, draft, &resolution, limits)?;
        let depth = 1 + resolution.documents.values().map(|document| document.depth).max().unwrap_or(0);
        most("", "documents in a chain of references", depth, limits.document_depth)?;
        let bundled = bundle(&value, draft, &resolution, limits)?;
        let graph = Graph::of(&bundled, draft);
        let cost = cost::check(&graph, limits)?;
        let mut dynamic = resolution.dynamic.clone();
        dynamic.extend(resolution.documents.values().flat_map(|document| document.dynamic.iter().cloned()));
        // What is refused here broke a rule that is not checked above by name.
        build(&bundled, draft).map_err(|fault| violation::malformed(&fault, ""))?;
        let (text, graph) = (value.to_string(), Arc::new(graph));
        Ok(Document { text, value, draft, resolution, bundled, graph, cost, dynamic, depth })
    }

    /// Its text in the one form that all texts of the same JSON have.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema as it was given.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The version of JSON Schema that it is written in.
    pub fn draft(&self) -> Draft {
        self.draft
    }

    /// The schema and all that it refers to as one, which refers to nothing else: for a comparison and for export.
    pub fn bundled(&self) -> &Value {
        &self.bundled
    }

    /// The registered schemas that it refers to itself, by the names that it has for them.
    pub fn references(&self) -> &BTreeMap<String, Arc<Document>> {
        &self.resolution.documents
    }

    /// Against how many subschemas a value and all that surround it are held at most; where the schema is recursive,
    /// for each level of the data. Times the values of a payload this bounds the work for it.
    pub fn cost(&self) -> u64 {
        self.cost.most
    }

    pub(super) fn weight(&self) -> Cost {
        self.cost
    }

    /// Whether it refers to itself.
    pub fn is_recursive(&self) -> bool {
        self.cost.is_recursive
    }

    /// The fields that are marked `"x-sensitive": true`, as JSON pointers with `*` for items and for fields without a
    /// name; sorted. Of a recursive schema the first level.
    pub fn sensitive(&self) -> Vec<String> {
        self.graph.sensitive().into_iter().collect()
    }

    /// Whether a place in data, a JSON pointer, is marked as sensitive or is inside of something that is. One that
    /// may be, depending on the branch that the data takes, is.
    pub fn is_sensitive(&self, pointer: &str) -> bool {
        self.graph.is_sensitive(pointer)
    }

    /// The root's `title`.
    pub fn title(&self) -> Option<&str> {
        self.value.get("title").and_then(Value::as_str)
    }

    /// The root's `description`.
    pub fn description(&self) -> Option<&str> {
        self.value.get("description").and_then(Value::as_str)
    }

    /// Whether the root says `"deprecated": true`.
    pub fn is_deprecated(&self) -> bool {
        self.value.get("deprecated") == Some(&Value::Bool(true))
    }

    /// What holds data against it. Compiling takes some hundred µs; keep it.
    pub fn validator(&self) -> Validator {
        Validator::new(self)
    }

    /// Checks the examples that came with a schema, and those at its root.
    ///
    /// # Errors
    /// The number of the first example that does not fit, from 0, those at the root after those given, and why.
    pub fn check_examples(&self, given: &[Value]) -> Result<(), (usize, Vec<Violation>)> {
        let validator = self.validator();
        let own = self.value.get("examples").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (number, example) in given.iter().chain(own).enumerate() {
            let violations = validator.violations(example, 10);
            if !violations.is_empty() {
                return Err((number, violations));
            }
        }
        Ok(())
    }

    pub(super) fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The dynamic anchors of it and of all that it refers to.
    pub(super) fn dynamic(&self) -> &BTreeSet<String> {
        &self.dynamic
    }

    /// The place that a fragment means; nothing where there is no schema.
    pub(super) fn place(&self, fragment: &str) -> Option<String> {
        self.resolution.place("", fragment).filter(|place| self.resolution.locations.contains(place))
    }
}

/// Refuses too many patterns, and those that are no regular expressions of the kind whose time is linear.
fn check_patterns(root: &Value, draft: Draft, resolution: &Resolution, limits: &Limits) -> Result<(), InvalidSchema> {
    let mut seen = BTreeSet::new();
    for at in &resolution.locations {
        let Some(Value::Object(members)) = root.pointer(at) else { continue };
        let mut patterns: Vec<(String, String)> = Vec::new();
        if let Some(Value::String(pattern)) = members.get("pattern") {
            patterns.push((pointer::member(at, "pattern"), pattern.clone()));
        }
        keyword::each(draft, at, members, |step, at, _| {
            if let keyword::Step::Matching(pattern) = step {
                patterns.push((at, pattern));
            }
        });
        for (at, pattern) in patterns {
            if seen.contains(&pattern) {
                continue;
            }
            most(&at, "different patterns", seen.len() + 1, limits.patterns)?;
            if build(&serde_json::json!({ "pattern": pattern }), draft).is_err() {
                return Err(InvalidSchema::Pattern { pointer: at, pattern: clip(&pattern).to_string() });
            }
            seen.insert(pattern);
        }
    }
    Ok(())
}

impl PartialEq for Document {
    fn eq(&self, other: &Document) -> bool {
        self.value == other.value && self.bundled == other.bundled
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.text).finish()
    }
}
