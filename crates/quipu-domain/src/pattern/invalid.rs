//! Why a text is not a pattern: where, what was expected there, and what was found.

use std::fmt;

/// A refused pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern {
    /// The place as a JSON path: `$.detail.state[0].prefix`.
    pub path: String,
    /// What may stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at {}, found {}", self.expected, self.path, self.found)
    }
}

impl std::error::Error for InvalidPattern {}

/// A place in a pattern while it is read.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Root,
    Name(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    pub(crate) fn refuse(&self, expected: impl Into<String>, found: impl Into<String>) -> InvalidPattern {
        InvalidPattern { path: self.to_string(), expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => f.write_str("$"),
            Place::Index(outer, index) => write!(f, "{outer}[{index}]"),
            Place::Name(outer, name) => {
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
                if !name.is_empty() && name.chars().all(plain) {
                    write!(f, "{outer}.{name}")
                } else {
                    write!(f, "{outer}[{:?}]", crate::event::clip(name))
                }
            }
        }
    }
}
