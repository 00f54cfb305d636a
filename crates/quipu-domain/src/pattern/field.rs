//! One field of a pattern: its path, and the alternatives that a value of it may be.

use super::matcher::Matcher;
use super::value::{Kind, Value};

/// A path and its list of matchers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// The names from the outermost in, joined by dots, which is all that the language knows of them.
    pub(crate) path: String,
    /// First what is no plain string, then the plain strings in order, so that a list of thousands is no search of
    /// thousands.
    pub(crate) matchers: Vec<Matcher>,
    /// How many are no plain strings.
    others: usize,
    /// Whether the field may be absent.
    pub(crate) may_be_absent: bool,
}

impl Field {
    pub(crate) fn new(path: String, mut matchers: Vec<Matcher>) -> Field {
        matchers.sort_by(|a, b| plain(a).cmp(&plain(b)));
        let others = matchers.iter().filter(|m| plain(m).is_none()).count();
        let may_be_absent = matchers.contains(&Matcher::Absent);
        Field { path, matchers, others, may_be_absent }
    }

    /// Whether one of the alternatives takes the value.
    pub(crate) fn accepts(&self, value: Value<'_>) -> bool {
        let (others, texts) = self.matchers.split_at(self.others);
        others.iter().any(|matcher| matcher.accepts(value))
            || (value.kind == Kind::String && texts.binary_search_by(|m| plain(m).cmp(&Some(value.text))).is_ok())
    }

    /// Whether some strings can only be searched for, as no order answers for them.
    pub(crate) fn is_searched(&self) -> bool {
        self.matchers[..self.others].iter().any(|matcher| matcher.searches() > 0)
    }

    /// How often a value is compared at most; the search among plain strings counts for one.
    pub(crate) fn comparisons(&self) -> usize {
        self.matchers[..self.others].iter().map(Matcher::weight).sum::<usize>() + 1
    }

    /// How many values it counts for against the limits.
    pub(crate) fn weight(&self) -> usize {
        self.matchers.iter().map(Matcher::weight).sum()
    }
}

fn plain(matcher: &Matcher) -> Option<&[u8]> {
    match matcher {
        Matcher::Text(text) => Some(text.as_bytes()),
        _ => None,
    }
}
