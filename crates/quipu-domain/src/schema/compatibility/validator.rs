//! The one place where a value is held against a schema, so that proof and counter-example mean the same as the
//! registry: formats are asserted, patterns take linear time, nothing is fetched.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::work::{Work, size};
use crate::schema::draft::Draft;
use crate::schema::effort;
use crate::schema::expression::pattern_options;
use crate::schema::graph::Graph;

/// Reasons that are looked through.
const FAULTS_MAX: usize = 256;

/// Units of [`Work`] to compile one value of a schema, 5 µs, and one place of a pattern.
const COMPILE: usize = 100;
const COMPILE_PLACE: usize = 3;
/// Steps of the validator, of 4 ns, in a unit.
const STEPS_A_UNIT: u64 = 12;

/// A compiled schema.
pub(crate) struct Validator {
    engine: jsonschema::Validator,
    graph: Graph,
    work: Work,
}

/// Why a value is refused: the first reason that is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The keyword that refuses.
    pub(crate) keyword: String,
    /// Where in the value, as a JSON pointer; to the field itself if one is missing or one too many.
    pub(crate) pointer: String,
    /// Where in the schema.
    pub(crate) schema_pointer: String,
}

impl Validator {
    pub(crate) fn new(schema: &Value, work: &Work) -> Result<Self, String> {
        let draft = Draft::of(schema).unwrap_or(Draft::Draft202012);
        let too_large = || "too large to be compiled".to_owned();
        if !work.take(COMPILE * size(schema)) {
            return Err(too_large());
        }
        let graph = Graph::of(schema, draft);
        let places: u64 = graph.nodes.iter().map(|node| node.own.places()).sum();
        if !work.take(COMPILE_PLACE.saturating_mul(places as usize)) {
            return Err(too_large());
        }
        let engine = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(pattern_options())
            .build(schema)
            .map_err(|error| error.to_string())?;
        Ok(Self { engine, graph, work: work.clone() })
    }

    /// Pays for holding a value against the schema so many times.
    fn pays(&self, value: &Value, times: usize) -> bool {
        let limit = self.work.left().saturating_mul(STEPS_A_UNIT);
        match effort::counted(&self.graph, value, limit) {
            Some(steps) => self.work.take(times.saturating_mul(1 + (steps / STEPS_A_UNIT) as usize)),
            None => {
                self.work.give_up();
                false
            }
        }
    }

    /// Whether it fits. If it cannot be paid it does not, which like all that is found then means nothing.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.pays(value, 1) && self.engine.is_valid(value)
    }

    /// The first reason only.
    pub(crate) fn fault(&self, value: &Value) -> Option<Fault> {
        if !self.pays(value, 2) {
            return None;
        }
        self.engine.validate(value).err().map(|error| fault(&error))
    }

    /// The first of the reasons that is asked for, else the first of all. To gather them takes exponential time on a
    /// recursive schema, and else many times as long as to find one.
    pub(crate) fn fault_at(&self, value: &Value, is_sought: impl Fn(&Fault) -> bool) -> Option<Fault> {
        if !self.pays(value, 16) {
            return None;
        }
        let sought = self.engine.iter_errors(value).take(FAULTS_MAX).map(|error| fault(&error)).find(is_sought);
        sought.or_else(|| self.fault(value))
    }
}

fn fault(error: &ValidationError<'_>) -> Fault {
    let field = match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str(),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.first().map(String::as_str),
        _ => None,
    };
    let mut pointer = error.instance_path().to_string();
    if let Some(field) = field {
        pointer.push('/');
        pointer.push_str(&field.replace('~', "~0").replace('/', "~1"));
    }
    Fault { keyword: error.kind().keyword().to_owned(), pointer, schema_pointer: error.schema_path().to_string() }
}
