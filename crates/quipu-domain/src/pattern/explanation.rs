//! Whether one pattern matches one event and, if not, why: for each branch the first field that failed, what it wanted
//! and what was there.

use std::collections::BTreeSet;
use std::fmt;

use super::Pattern;
use super::set::One;
use crate::{Event, InvalidEvent, Stamp};

/// Why a pattern matches an event or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// It matches.
    Match,
    /// It does not; the failure of each branch, in the order in which `$or` multiplies out, and the same one only once.
    /// Without `$or` there is one branch.
    Mismatch(Vec<Failure>),
}

/// The first field of a branch that failed, in the order of the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The path as it stands in the pattern, joined by dots.
    pub path: String,
    /// What the pattern accepts there, each as JSON: first operators and numbers, then plain strings in order.
    pub wanted: Vec<String>,
    /// What the event has there.
    pub found: Found,
}

/// What an event has at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// No value. Objects and empty arrays are none.
    Nothing,
    /// Values, each as JSON; the first few. One that is too long is a string that ends in `…`.
    Values(Vec<String>),
    /// Values that would fit, but not together with those of the fields before: they are in other elements of an array.
    OtherElements(Vec<String>),
}

/// Most values that an explanation shows.
const VALUES_MAX: usize = 10;

impl Pattern {
    /// Whether the pattern matches a JSON object. For text from outside: it is checked first.
    ///
    /// # Errors
    /// The text is no JSON object, nested deeper than 256 levels, or would have to be compared for seconds.
    pub fn matches(&self, json: &[u8]) -> Result<bool, InvalidEvent> {
        let mut one = One::new(self);
        one.read(json)?;
        Ok(one.matches(json))
    }

    /// Whether the pattern matches an event, as it would its CloudEvents JSON document.
    pub fn matches_event(&self, event: &Event<'_>, stamp: Option<&Stamp>) -> bool {
        let mut one = One::new(self);
        let input = one.read_event(event, stamp);
        input.is_some_and(|input| one.matches(input))
    }

    /// Why the pattern matches a JSON object or does not. For text from outside: it is checked first.
    ///
    /// ```
    /// use quipu_domain::Pattern;
    /// let pattern = Pattern::parse(r#"{"data": {"total": [{"numeric": [">", 100]}]}}"#)?;
    /// let explanation = pattern.explain(br#"{"data": {"total": 20}}"#)?;
    /// assert_eq!(explanation.to_string(), r#"data.total: wanted {"numeric":[">",100]}, found 20"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The text is no JSON object, nested deeper than 256 levels, or would have to be compared for seconds.
    pub fn explain(&self, json: &[u8]) -> Result<Explanation, InvalidEvent> {
        let mut one = One::new(self);
        one.read(json)?;
        Ok(self.explain_read(&one, json))
    }

    /// Why the pattern matches an event or does not.
    pub fn explain_event(&self, event: &Event<'_>, stamp: Option<&Stamp>) -> Explanation {
        let mut one = One::new(self);
        match one.read_event(event, stamp) {
            Some(input) => self.explain_read(&one, input),
            None => Explanation::Mismatch(Vec::new()),
        }
    }

    fn explain_read(&self, one: &One, input: &[u8]) -> Explanation {
        if one.matches(input) {
            return Explanation::Match;
        }
        let failure = |(field, found): (u32, Found)| {
            let field = &self.fields[field as usize];
            let wanted = field.matchers.iter().map(ToString::to_string).collect();
            Failure { path: field.path.clone(), wanted, found }
        };
        // A thousand branches may fail at the one field that they share.
        let mut seen = BTreeSet::new();
        let failures = one.failures(input, VALUES_MAX).into_iter().filter(|failure| seen.insert(failure.clone()));
        Explanation::Mismatch(failures.map(failure).collect())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = match self {
            Explanation::Match => return f.write_str("matches"),
            Explanation::Mismatch(failures) => failures,
        };
        for (index, failure) in failures.iter().enumerate() {
            let separator = if index > 0 { "; or " } else { "" };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> = self.wanted.iter().take(VALUES_MAX).map(String::as_str).collect();
        let more = if shown.len() < self.wanted.len() { " or others" } else { "" };
        write!(f, "{}: wanted {}{more}, found ", self.path, shown.join(" or "))?;
        match &self.found {
            Found::Nothing => f.write_str("nothing"),
            Found::Values(values) => f.write_str(&values.join(", ")),
            Found::OtherElements(values) => {
                write!(f, "{} in other elements of an array than the fields before", values.join(", "))
            }
        }
    }
}
