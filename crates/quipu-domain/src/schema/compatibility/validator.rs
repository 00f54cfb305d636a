//! The one place where a value is held against a schema, so that proof and counter-example mean the same as the
//! registry: formats are asserted, patterns take linear time, nothing is fetched.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError};
use serde_json::Value;

/// A compiled pattern may take a mebibyte: `^(.{1,100}){1,100}$` is refused in milliseconds instead of compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Reasons that are looked through.
const FAULTS_MAX: usize = 256;

/// A compiled schema.
pub(crate) struct Validator(jsonschema::Validator);

/// Why a value is refused: the first reason that is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The keyword that refuses.
    pub(crate) keyword: String,
    /// Where in the value, as a JSON pointer; to the field itself if one is missing or one too many.
    pub(crate) pointer: String,
    /// Where in the schema.
    pub(crate) schema_pointer: String,
    pub(crate) message: String,
}

/// How a pattern is compiled; the algebra must be given the same.
pub(crate) fn pattern_options() -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX)
}

impl Validator {
    pub(crate) fn new(schema: &Value) -> Result<Self, String> {
        jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(pattern_options())
            .build(schema)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }

    /// The first reason only.
    pub(crate) fn fault(&self, value: &Value) -> Option<Fault> {
        self.0.validate(value).err().map(|error| fault(&error))
    }

    /// The first of the reasons that is asked for, else the first of all. To gather them takes exponential time on a
    /// recursive schema.
    pub(crate) fn fault_at(&self, value: &Value, is_sought: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let sought = self.0.iter_errors(value).take(FAULTS_MAX).map(|error| fault(&error)).find(is_sought);
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
    Fault {
        keyword: error.kind().keyword().to_owned(),
        pointer,
        schema_pointer: error.schema_path().to_string(),
        message: error.to_string(),
    }
}
