//! Why something that is asked of a schema is not done.

use std::fmt;

use quipu_domain::schema::{InvalidSchema, Violation};

use super::{CheckedSchema, CheckedUpcaster, NotUpcast};
use crate::transform::InvalidTransform;

/// Understood, and not allowed.
#[derive(Clone, Debug)]
pub enum SchemaRefusal {
    /// There is no schema of this name.
    NotFound {
        /// The type, with the version that was asked for.
        name: String,
    },
    /// The name of a type is none, or says a version.
    InvalidType {
        /// What was given.
        name: String,
    },
    /// The text is no schema that is taken.
    Invalid(InvalidSchema),
    /// The version is there, with another text. What is registered never changes.
    Exists {
        /// The type with its version.
        name: String,
    },
    /// Versions come one after the other.
    WrongVersion {
        /// The version that was given.
        given: u32,
        /// The version that would be next.
        next: u32,
    },
    /// An example breaks the schema.
    InvalidExample {
        /// Which one, from 0.
        index: usize,
        /// Where.
        violations: Vec<Violation>,
    },
    /// It breaks readers or writers of versions before it.
    Incompatible(Box<Incompatible>),
    /// An upcaster cannot be compiled.
    InvalidUpcaster(InvalidTransform),
    /// An upcaster leads into the first version: there is nothing that it could turn.
    NothingToUpcast {
        /// The type with its version.
        name: String,
    },
    /// The version is there with another upcaster.
    OtherUpcaster {
        /// The type with its version.
        name: String,
    },
    /// What an upcaster makes of examples or stored events breaks the schema, or it fails on them.
    UpcasterFails {
        /// The type with the version that it leads into.
        name: String,
        /// What was found.
        checked: Box<CheckedUpcaster>,
    },
    /// A stored event cannot be read in the version that was asked for.
    NotUpcast {
        /// Where it is.
        position: u64,
        /// Its type, as it was recorded.
        kind: String,
        /// Why.
        failure: NotUpcast,
    },
    /// Something refers to it, or has its form: it cannot be removed.
    InUse {
        /// The type with its version.
        name: String,
        /// What uses it.
        by: String,
    },
    /// A text is too long.
    TooLong {
        /// Which one.
        what: &'static str,
        /// Most bytes of it.
        limit: usize,
    },
    /// A tenant has as many as it may have.
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many that is.
        limit: usize,
    },
}

/// Why a new version is not compatible.
#[derive(Clone, Debug)]
pub struct Incompatible {
    /// The type with the version that was to be.
    pub name: String,
    /// What was found.
    pub checked: CheckedSchema,
}

impl fmt::Display for SchemaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => write!(f, "expected a schema, found none for {name}"),
            Self::InvalidType { name } => {
                write!(f, "expected the name of a type without a version, such as order.placed, found {name}")
            }
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Exists { name } => write!(
                f,
                "expected the schema that {name} has, found another: a version never changes, register the next one"
            ),
            Self::WrongVersion { given, next } => write!(f, "expected version {next}, which is next, found {given}"),
            Self::InvalidExample { index, violations } => {
                write!(f, "expected examples that the schema accepts, found that example {index} is not")?;
                violations.first().map_or(Ok(()), |first| write!(f, ": {first}"))
            }
            Self::Incompatible(incompatible) => {
                let Incompatible { name, checked } = &**incompatible;
                write!(f, "expected a schema for {name} that is {} compatible with those before it", checked.level)?;
                if let Some(first) = checked.verdict.breaks.first() {
                    write!(f, ", found at {:?}: {}", first.pointer, first.what)?;
                }
                match &checked.stored {
                    Some(stored) => write!(f, "; it refuses {} of {} stored events", stored.breaking, stored.events),
                    None => Ok(()),
                }
            }
            Self::InvalidUpcaster(invalid) => invalid.fmt(f),
            Self::NothingToUpcast { name } => {
                write!(f, "expected an upcaster into a later version than the first, found one into {name}")
            }
            Self::OtherUpcaster { name } => {
                write!(
                    f,
                    "expected the upcaster that {name} has, found another: set the upcaster of the version instead"
                )
            }
            Self::UpcasterFails { name, checked } => write!(
                f,
                "expected an upcaster that makes data for {name}, found that it fails on {} of {} stored events and {} of {} examples",
                checked.failed, checked.events, checked.examples_failed, checked.examples
            ),
            Self::NotUpcast { position, kind, failure } => {
                write!(f, "the event at position {position}, of type {kind}, cannot be read in that version: {failure}")
            }
            Self::InUse { name, by } => write!(f, "expected a schema that nothing uses, found that {by} uses {name}"),
            Self::TooLong { what, limit } => write!(f, "expected {what} of at most {limit} bytes, found more"),
            Self::TooMany { what, limit } => write!(f, "expected at most {limit} {what}"),
        }
    }
}

impl std::error::Error for SchemaRefusal {}
