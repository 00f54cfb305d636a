//! Upcasters: what turns the data of one version into that of the next when it is read. What is stored never changes.
//!
//! An upcaster belongs to a version and makes its data of the data of the version before it. A chain of them leads from the version
//! that an event was recorded in to the one that a reader wants. Where a version has none, data goes on as it is.

use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use quipu_domain::schema::{SchemaVersion, Validator, Violation};
use quipu_domain::{Data, Event, Timestamp, base_type, type_version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::registry::{Kind, Registry, VERSION_UNSAID};
use crate::transform::{InvalidTransform, Jq};

/// Steps of all expressions of a chain together, of up to 3 µs each, and besides one for so many bytes of the data: upcasters run for
/// every event of a page, and again for the next reader.
const STEPS_MAX: u64 = 20_000;
const BYTES_A_STEP: u64 = 4;

/// What turns data. The log has the expression, or the name of the function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upcaster {
    /// A jq expression; `.` is the data, and its first output is what becomes of it.
    Jq(String),
    /// A function of the process that has the tenant open, by the name that it is attached under.
    Function(String),
}

impl Upcaster {
    /// Which of the two it is.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Jq(_) => "jq",
            Self::Function(_) => "function",
        }
    }
}

/// A function that turns data, or says why it cannot.
pub type UpcastFunction = Arc<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

/// An upcaster as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldedUpcaster {
    pub upcaster: Upcaster,
    pub made: Timestamp,
}

/// An upcaster in memory.
pub(crate) struct Step {
    pub folded: FoldedUpcaster,
    /// Compiled by the first who needs it.
    jq: OnceLock<Result<Jq, InvalidTransform>>,
}

/// Why the data of an event is not turned into that of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUpcast {
    /// The version that it was to become.
    pub version: u32,
    /// What went wrong.
    pub reason: UpcastReason,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpcastReason {
    /// The data is not JSON.
    NotJson,
    /// The function of this name is not attached.
    NotAttached(String),
    /// The upcaster failed, for this reason.
    Failed(String),
    /// What came out breaks the schema.
    Breaks(Box<Violation>),
}

impl UpcastReason {
    /// One word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NotAttached(_) => "not-attached",
            Self::Failed(_) => "failed",
            Self::Breaks(_) => "breaks",
        }
    }
}

impl fmt::Display for NotUpcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, reason } = self;
        match reason {
            UpcastReason::NotJson => {
                write!(f, "expected data that is JSON for the upcaster into version {version}, found other data")
            }
            UpcastReason::NotAttached(name) => {
                write!(f, "expected the function {name} to be attached, which leads into version {version}")
            }
            UpcastReason::Failed(reason) => write!(f, "the upcaster into version {version} failed: {reason}"),
            UpcastReason::Breaks(violation) => {
                write!(f, "what the upcaster into version {version} made breaks its schema: {violation}")
            }
        }
    }
}

impl std::error::Error for NotUpcast {}

impl Step {
    pub fn new(folded: FoldedUpcaster) -> Self {
        Self { folded, jq: OnceLock::new() }
    }

    /// One that is to be registered.
    ///
    /// # Errors
    /// The expression makes no sense.
    pub fn checked(folded: FoldedUpcaster) -> Result<Self, InvalidTransform> {
        let step = Self::new(folded);
        match step.jq() {
            Some(Err(invalid)) => Err(invalid.clone()),
            _ => Ok(step),
        }
    }

    fn jq(&self) -> Option<&Result<Jq, InvalidTransform>> {
        let Upcaster::Jq(text) = &self.folded.upcaster else { return None };
        let invalid = |(at, reason)| InvalidTransform::new("/upcaster/jq", text, at, reason);
        Some(self.jq.get_or_init(|| Jq::compile(text).map_err(invalid)))
    }

    fn run(&self, registry: &Registry, mut data: Turned, steps: &mut u64) -> Result<Turned, UpcastReason> {
        match (&self.folded.upcaster, self.jq()) {
            (Upcaster::Jq(_), Some(Ok(jq))) => {
                let bytes = jq.apply_within(data.text(), steps).map_err(UpcastReason::Failed)?;
                let text = String::from_utf8(bytes);
                text.map(Turned::of).map_err(|error| UpcastReason::Failed(error.to_string()))
            }
            // It was compiled when it was registered, by a version of this program that knew more.
            (Upcaster::Jq(_), invalid) => {
                let invalid = invalid.and_then(|invalid| invalid.as_ref().err());
                Err(UpcastReason::Failed(invalid.map_or_else(String::new, ToString::to_string)))
            }
            (Upcaster::Function(name), _) => {
                let function = registry.function(name).ok_or_else(|| UpcastReason::NotAttached(name.clone()))?;
                data.value()?;
                let value = data.value.unwrap_or_default();
                // A bug of the function, met by one event, is no reason to stop the thread that reads.
                let outcome = catch_unwind(AssertUnwindSafe(|| function(value)));
                let outcome = outcome.unwrap_or_else(|_| Err(format!("the function {name} panicked")));
                outcome.map(|value| Turned { text: None, value: Some(value) }).map_err(UpcastReason::Failed)
            }
        }
    }
}

/// Data on its way. Expressions read text; functions and schemas read values.
struct Turned {
    text: Option<String>,
    value: Option<Value>,
}

impl Turned {
    fn of(text: String) -> Self {
        Self { text: Some(text), value: None }
    }

    fn text(&mut self) -> &str {
        self.text.get_or_insert_with(|| self.value.as_ref().map(Value::to_string).unwrap_or_default())
    }

    fn into_text(mut self) -> String {
        self.text();
        self.text.unwrap_or_default()
    }

    fn value(&mut self) -> Result<&Value, UpcastReason> {
        if self.value.is_none() {
            let value = serde_json::from_str(self.text());
            self.value = Some(value.map_err(|error| UpcastReason::Failed(error.to_string()))?);
        }
        Ok(self.value.get_or_insert_default())
    }
}

/// The upcasters between two versions, oldest first, each with the schema that its output has to fit.
pub(crate) struct Chain<'r> {
    registry: &'r Registry,
    steps: Vec<(u32, &'r Step, Option<&'r Validator>)>,
}

impl<'r> Chain<'r> {
    /// The upcasters of a type into the versions after `from` and up to `to`.
    pub fn new(registry: &'r Registry, kind: Option<&'r Kind>, from: u32, to: u32) -> Self {
        let behind = kind.into_iter().flat_map(|kind| kind.versions.range((Excluded(from), Unbounded)));
        let steps = behind
            .take_while(|(number, _)| **number <= to)
            .filter_map(|(number, version)| Some((*number, version.upcaster.as_deref()?, registry.validator(version))));
        Self { registry, steps: steps.collect() }
    }

    /// Without the one into this version.
    pub fn without(mut self, version: u32) -> Self {
        self.steps.retain(|(number, ..)| *number != version);
        self
    }

    /// With one more in its place, instead of the one that is there.
    pub fn with(self, version: u32, step: &'r Step, validator: Option<&'r Validator>) -> Self {
        let mut this = self.without(version);
        let at = this.steps.partition_point(|(number, ..)| *number < version);
        this.steps.insert(at, (version, step, validator));
        this
    }

    /// Whether the last upcaster leads into this version.
    pub fn ends_in(&self, version: u32) -> bool {
        self.steps.last().is_some_and(|(last, ..)| *last == version)
    }

    /// What becomes of data, as JSON; nothing if it stays as it is.
    pub fn run(&self, data: &Data<'_>) -> Result<Option<String>, NotUpcast> {
        let text = match data {
            Data::Json(text) => Some(text.as_ref()),
            // An expression may say what becomes of it; nobody could ever be rid of it otherwise.
            Data::None => Some("null"),
            _ => None,
        };
        let mut left = STEPS_MAX + text.map_or(0, |text| text.len() as u64 / BYTES_A_STEP);
        let mut turned: Option<Turned> = None;
        for (version, step, validator) in &self.steps {
            let fail = |reason| NotUpcast { version: *version, reason };
            let before = match (turned, text) {
                (Some(turned), _) => turned,
                (None, Some(text)) => Turned::of(text.to_owned()),
                (None, None) => return Err(fail(UpcastReason::NotJson)),
            };
            let mut after = step.run(self.registry, before, &mut left).map_err(fail)?;
            let value = after.value().map_err(fail)?;
            if let Some(violation) = validator.and_then(|validator| validator.violations(value, 1).pop()) {
                return Err(fail(UpcastReason::Breaks(Box::new(violation))));
            }
            turned = Some(after);
        }
        Ok(turned.map(Turned::into_text))
    }
}

impl Registry {
    /// The event as a reader wants it; nothing if that is as it was recorded.
    ///
    /// # Errors
    /// An upcaster failed.
    pub fn upcast(&self, event: &Event<'_>, wanted: SchemaVersion) -> Result<Option<Event<'static>>, NotUpcast> {
        let (name, from) = (base_type(event.kind()), type_version(event.kind()).unwrap_or(VERSION_UNSAID));
        let Some((kind, to)) = self.target(name, from, wanted) else { return Ok(None) };
        let data = Chain::new(self, Some(kind), from, to).run(event.data())?;
        let turned = event.clone().with_kind(format!("{name}.v{to}")).into_owned();
        Ok(Some(match data {
            Some(text) => turned.with_json(Some(text)),
            None => turned,
        }))
    }

    /// The type that events of a type have in a version.
    pub fn kind_in(&self, kind: &str, wanted: SchemaVersion) -> String {
        let (name, from) = (base_type(kind), type_version(kind).unwrap_or(VERSION_UNSAID));
        self.target(name, from, wanted).map_or_else(|| kind.to_owned(), |(_, to)| format!("{name}.v{to}"))
    }

    /// Whether an upcaster leads into a version of a type behind this one.
    pub fn upcasts_behind(&self, kind: &str, version: u32) -> bool {
        self.types.get(kind).and_then(|of| of.upcast_to(u32::MAX)).is_some_and(|last| last > version)
    }

    /// The version that an event of this one becomes, if it is another.
    pub fn target(&self, name: &str, from: u32, wanted: SchemaVersion) -> Option<(&Kind, u32)> {
        let most = match wanted {
            SchemaVersion::Stored => return None,
            SchemaVersion::Newest => u32::MAX,
            SchemaVersion::At(number) => number,
        };
        let kind = self.types.get(name)?;
        let (to, _) = kind.versions.range(..=most).next_back()?;
        (*to > from).then_some((kind, *to))
    }
}
