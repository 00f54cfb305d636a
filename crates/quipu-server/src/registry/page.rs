//! What a query of the dialect says. Unlike ours it is read leniently: clients of many ages send what this registry does not know.

use std::borrow::Cow;

use form_urlencoded::parse;

/// Most schemas with their texts that one answer has, as in Confluent's registry.
pub(super) const SCHEMAS_MAX: usize = 1_000;

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    /// All, if nothing is said or a limit below 0.
    pub fn of(query: &str) -> Self {
        let number = |name: &str| value(query, name).and_then(|value| value.parse::<i64>().ok());
        let offset = number("offset").and_then(|offset| usize::try_from(offset).ok()).unwrap_or(0);
        let limit = number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        Self { offset, limit }
    }

    /// With at most so many.
    pub fn at_most(self, limit: usize) -> Self {
        Self { limit: self.limit.min(limit), ..self }
    }

    /// The part.
    pub fn take<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        all.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

/// Which versions are asked for: a version that was deleted and is kept is left out unless somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Live,
    All,
    Deleted,
}

impl Shown {
    pub fn of(query: &str) -> Self {
        // The second name is the one that the Python client sends.
        match (is_true(query, "deletedOnly") || is_true(query, "deleted_only"), is_true(query, "deleted")) {
            (true, _) => Self::Deleted,
            (false, true) => Self::All,
            (false, false) => Self::Live,
        }
    }

    /// Whether a version is asked for.
    pub fn shows(self, is_deleted: bool) -> bool {
        match self {
            Self::Live => !is_deleted,
            Self::All => true,
            Self::Deleted => is_deleted,
        }
    }
}

/// The first value of a name.
pub(super) fn value<'q>(query: &'q str, wanted: &str) -> Option<Cow<'q, str>> {
    parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value)
}

/// Whether it says so, in whatever case: the Python client sends `True`.
pub(super) fn is_true(query: &str, name: &str) -> bool {
    value(query, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_offset_and_limit_say_and_all_without_them() {
        for (query, expected) in [
            ("", vec![1, 2, 3]),
            ("offset=0&limit=-1", vec![1, 2, 3]),
            ("offset=1", vec![2, 3]),
            ("limit=2", vec![1, 2]),
            ("offset=1&limit=1", vec![2]),
            ("offset=9", vec![]),
            ("limit=0", vec![]),
            ("offset=x&limit=y", vec![1, 2, 3]),
        ] {
            assert_eq!(Page::of(query).take([1, 2, 3]), expected, "{query}");
        }
        assert_eq!(Page::of("limit=3").at_most(1).take([1, 2, 3]), [1]);
    }

    #[test]
    fn what_is_deleted_is_shown_to_whoever_asks_for_it() {
        for (query, live, deleted) in [
            ("", true, false),
            ("deleted=false&deleted_only=false", true, false),
            ("deleted=True", true, true),
            ("deletedOnly=true", false, true),
            ("deleted=true&deletedOnly=true", false, true),
        ] {
            let shown = Shown::of(query);
            assert_eq!((shown.shows(false), shown.shows(true)), (live, deleted), "{query}");
        }
    }
}
