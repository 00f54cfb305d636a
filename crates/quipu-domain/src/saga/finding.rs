//! What a check of a declaration finds.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It may be meant so.
    Warned,
    /// It is not taken.
    Refused,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Where, as a JSON pointer into the declaration; steps by their names.
    pub path: String,
    /// What was expected and what was found.
    pub sentence: String,
}

impl Finding {
    /// One that keeps a declaration from being applied.
    pub fn refused(path: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { level: Level::Refused, path: path.into(), sentence: sentence.into() }
    }

    pub(super) fn warned(path: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { level: Level::Warned, path: path.into(), sentence: sentence.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.sentence)
    }
}
