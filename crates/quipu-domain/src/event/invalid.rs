//! Why something is not an event, in words that name what was expected and what was found.

use std::fmt;

/// Why something is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say what they are
pub enum InvalidEvent {
    /// The text is not JSON.
    MalformedJson { line: usize, column: usize, reason: String },
    /// The text is JSON, but not one object.
    NotAnObject { found: &'static str },
    /// A required attribute is not there.
    MissingAttribute { name: &'static str },
    /// An attribute is there twice.
    DuplicateAttribute { name: String },
    /// A name or a value breaks its rule.
    InvalidAttribute { name: String, expected: String, found: String },
    /// Only the server sets this attribute or uses this name.
    ReservedAttribute { name: String, expected: &'static str },
    /// More attributes than [`ATTRIBUTES_MAX`](crate::limits::ATTRIBUTES_MAX) or tags than
    /// [`TAGS_MAX`](crate::limits::TAGS_MAX).
    TooMany { what: &'static str, limit: usize, actual: usize },
    /// The event is larger than the configured limit.
    TooLarge { limit: usize, actual: usize },
}

pub(crate) fn invalid(name: &str, expected: impl Into<String>, found: &str) -> InvalidEvent {
    InvalidEvent::InvalidAttribute { name: name.to_owned(), expected: expected.into(), found: found.to_owned() }
}

/// The head of a text that a stranger sent, short enough for a message.
pub(crate) fn clip(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedJson { line, column, reason } => {
                write!(f, "expected JSON, found an error at line {line}, column {column}: {reason}")
            }
            Self::NotAnObject { found } => write!(f, "expected a JSON object, found {found}"),
            Self::MissingAttribute { name } => write!(f, "expected the attribute {name}, found none"),
            Self::DuplicateAttribute { name } => write!(f, "expected {name} once, found it twice"),
            Self::InvalidAttribute { name, expected, found } => {
                write!(f, "expected {name} to be {expected}, found {found}")
            }
            Self::ReservedAttribute { name, expected } => {
                write!(f, "{name} is reserved: expected {expected}")
            }
            Self::TooMany { what, limit, actual } => write!(f, "expected at most {limit} {what}, found {actual}"),
            Self::TooLarge { limit, actual } => {
                write!(f, "expected an event of at most {limit} bytes, found {actual}")
            }
        }
    }
}

impl std::error::Error for InvalidEvent {}
