//! The checkers: each compares what the store did with what it promised, and says the first difference in words.
//! They look at histories and logs as values, so that a test can hand them a wrong one.

pub mod acknowledged;
pub mod answers;
pub mod deliveries;
pub mod duplicates;
pub mod folder;
pub mod followers;
pub mod gapless;
pub mod indexes;
pub mod pages;
pub mod whole;

/// What a checker found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker.
    pub checker: &'static str,
    /// What was expected and what was found.
    pub detail: String,
}

/// Shorthand of the checkers.
pub type Verdict = Result<(), Violation>;

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.checker, self.detail)
    }
}

pub(crate) fn violated(checker: &'static str, detail: impl Into<String>) -> Violation {
    Violation { checker, detail: detail.into() }
}
