//! The EventBridge pattern language: which events somebody wants, said in JSON.
//!
//! A [`Pattern`] is parsed once and keeps its text. One pattern is held against one event by [`Pattern::matches`] and
//! [`Pattern::explain`]; many patterns are held against each event of a stream by a [`PatternSet`], whose cost hardly
//! grows with their number.

mod address;
mod explanation;
mod field;
mod fold;
mod invalid;
mod matcher;
mod number;
mod operator;
mod parse;
mod set;
mod string;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod value;
mod wildcard;

use std::fmt;
use std::str::FromStr;

pub use explanation::{Explanation, Failure, Found};
pub use invalid::InvalidPattern;
pub use set::{Matches, PatternSet, Scratch, Snapshot};
pub use types::Takes;

use field::Field;

/// A filter over events.
///
/// ```
/// use quipu_domain::Pattern;
/// let pattern = Pattern::parse(r#"{"type": [{"prefix": "order."}], "data": {"total": [{"numeric": [">", 100]}]}}"#)?;
/// assert!(pattern.matches(br#"{"type": "order.placed", "data": {"total": 250}}"#)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    fields: Vec<Field>,
    branches: Vec<Branch>,
}

/// What must hold together: indexes of fields, in the order of their paths. A pattern without `$or` has one.
type Branch = Vec<u32>;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] names the place, what was expected there and what was found.
    pub fn parse(text: &str) -> Result<Pattern, InvalidPattern> {
        let (fields, branches) = parse::parse(text)?;
        Ok(Pattern { text: text.into(), fields, branches })
    }

    /// The text that it was parsed from, byte for byte: its stable form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many branches its `$or`s multiply out to; one without any.
    pub(crate) fn branch_count(&self) -> usize {
        self.branches.len()
    }

    /// Whether it looks at the data.
    pub fn looks_at_data(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.path.split('.').next(), Some("data" | "data_base64")))
    }

    /// The paths that it looks at, as they stand in it, joined by dots; sorted, each once.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.fields.iter().map(|field| field.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Pattern, InvalidPattern> {
        Pattern::parse(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
