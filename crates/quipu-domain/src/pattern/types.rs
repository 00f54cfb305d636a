//! What a pattern says of an event's `type` alone: which types it names, and whether events of a type can match it.

use std::collections::BTreeSet;

use super::field::Field;
use super::matcher::Matcher;
use super::value::{Kind, Value};
use super::{Branch, Pattern};

/// The paths of the attributes.
const TYPE: &str = "type";
const SOURCE: &str = "source";

/// Which events of a type a pattern takes. The larger one takes more, or is surer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// None: it asks for other types.
    None,
    /// Those that have something else that it asks for, whatever their type is.
    AnyType,
    /// Those of them that have something else that it asks for.
    Some,
    /// All.
    All,
}

impl Takes {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AnyType => "anytype",
            Self::Some => "some",
            Self::All => "all",
        }
    }
}

impl Pattern {
    /// Which events of a type it takes: exact where it asks for types only, what may be where it asks for more.
    ///
    /// ```
    /// use quipu_domain::{Pattern, Takes};
    /// let pattern = Pattern::parse(r#"{"type": [{"prefix": "order."}], "data": {"total": [{"numeric": [">", 100]}]}}"#)?;
    /// assert_eq!(pattern.takes("order.placed"), Takes::Some);
    /// assert_eq!(pattern.takes("customer.moved"), Takes::None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn takes(&self, kind: &str) -> Takes {
        self.takes_of(&[(TYPE, kind)])
    }

    /// Which events of a type and a source it takes.
    pub(crate) fn takes_from(&self, kind: &str, source: &str) -> Takes {
        self.takes_of(&[(TYPE, kind), (SOURCE, source)])
    }

    /// How the types begin, or what they are, of all events that it takes; none if that is not said.
    pub(crate) fn type_heads(&self) -> Option<Vec<&str>> {
        let mut heads = Vec::new();
        for branch in &self.branches {
            let mut fields = branch.iter().map(|index| &self.fields[*index as usize]);
            for matcher in &fields.find(|field| field.path == TYPE)?.matchers {
                match matcher {
                    Matcher::Text(text) | Matcher::Prefix(text) => heads.push(text.as_str()),
                    _ => return None,
                }
            }
        }
        Some(heads)
    }

    /// Which events it takes of which so much is known.
    fn takes_of(&self, known: &[(&str, &str)]) -> Takes {
        self.branches.iter().map(|branch| self.branch_takes(branch, known)).max().unwrap_or(Takes::None)
    }

    /// The types that it names as they are, sorted, each once.
    pub fn named_types(&self) -> Vec<&str> {
        let texts = self.fields.iter().filter(|field| field.path == TYPE).flat_map(|field| &field.matchers);
        let names: BTreeSet<&str> = texts
            .filter_map(|matcher| match matcher {
                Matcher::Text(text) | Matcher::Address(text, _) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        names.into_iter().collect()
    }

    fn branch_takes(&self, branch: &Branch, known: &[(&str, &str)]) -> Takes {
        let fields = || branch.iter().map(|index| &self.fields[*index as usize]);
        let text = |field: &Field| known.iter().find(|(path, _)| field.path == *path).map(|(_, text)| *text);
        let accepts = |field: &Field, text: &str| field.accepts(Value { kind: Kind::String, text: text.as_bytes() });
        if !fields().all(|field| text(field).is_none_or(|text| accepts(field, text))) {
            return Takes::None;
        }
        match (fields().any(|field| field.path == TYPE), fields().all(|field| text(field).is_some())) {
            (_, true) => Takes::All,
            (true, false) => Takes::Some,
            (false, false) => Takes::AnyType,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_takes_of_a_type_is_what_it_says_of_types() {
        for (pattern, kind, takes) in [
            (r#"{"type":["a.b"]}"#, "a.b", Takes::All),
            (r#"{"type":["a.b"]}"#, "a.b.v2", Takes::None),
            (r#"{"type":[{"prefix":"a."}]}"#, "a.b.v2", Takes::All),
            (r#"{"type":[{"anything-but":["a.b"]}]}"#, "a.b", Takes::None),
            (r#"{"type":[{"anything-but":["a.b"]}]}"#, "a.c", Takes::All),
            (r#"{"type":[{"exists":true}]}"#, "a.c", Takes::All),
            (r#"{"type":[{"exists":false}]}"#, "a.c", Takes::None),
            (r#"{"type":[{"wildcard":"a.*.c"}],"data":{"x":[1]}}"#, "a.b.c", Takes::Some),
            (r#"{"data":{"x":[1]}}"#, "a.b", Takes::AnyType),
            (r#"{"$or":[{"type":["a.b"]},{"data":{"x":[1]}}]}"#, "a.b", Takes::All),
            (r#"{"$or":[{"type":["a.b"]},{"data":{"x":[1]}}]}"#, "a.c", Takes::AnyType),
            (r#"{"type":["a.b"],"$or":[{"type":["a.c"]},{"subject":["s"]}]}"#, "a.b", Takes::Some),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().takes(kind), takes, "{pattern} {kind}");
        }
    }

    #[test]
    fn what_is_known_of_the_source_is_looked_at_too() {
        for (pattern, takes) in [
            (r#"{"type":["a.b"],"source":["/quipu/rules/r"]}"#, Takes::All),
            (r#"{"type":["a.b"],"source":["/shop"]}"#, Takes::None),
            (r#"{"source":[{"prefix":"/quipu/"}]}"#, Takes::All),
            (r#"{"type":["a.b"],"source":[{"prefix":"/quipu/"}],"subject":["s"]}"#, Takes::Some),
            (r#"{"source":[{"prefix":"/quipu/"}],"subject":["s"]}"#, Takes::AnyType),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().takes_from("a.b", "/quipu/rules/r"), takes, "{pattern}");
        }
    }

    #[test]
    fn how_the_types_begin_that_are_taken_is_known_or_not_said() {
        for (pattern, heads) in [
            (r#"{"type":["a.b",{"prefix":"a.b.v"}],"data":{"type":["d"]}}"#, Some(vec![r"a.b.v", "a.b"])),
            (r#"{"$or":[{"type":["a"]},{"type":["b"],"subject":["s"]}]}"#, Some(vec!["a", "b"])),
            (r#"{"$or":[{"type":["a"]},{"subject":["s"]}]}"#, None),
            (r#"{"type":["a",{"suffix":"b"}]}"#, None),
            (r#"{"type":[{"exists":false}]}"#, None),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().type_heads(), heads, "{pattern}");
        }
    }

    #[test]
    fn a_type_that_is_not_taken_never_matches_and_one_that_is_taken_whole_always_does() {
        for pattern in [
            r#"{"type":["a.b",{"suffix":".v2"}]}"#,
            r#"{"type":[{"equals-ignore-case":"A.B"}],"subject":["s"]}"#,
            r#"{"$or":[{"type":[{"prefix":"x"}]},{"type":["a.b"],"subject":["t"]}]}"#,
            r#"{"subject":["s"]}"#,
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            for kind in ["a.b", "a.b.v2", "x", "y"] {
                for subject in ["s", "t", "u"] {
                    let event = format!(r#"{{"type":"{kind}","subject":"{subject}"}}"#);
                    match (pattern.takes(kind), pattern.matches(event.as_bytes()).unwrap()) {
                        (Takes::None, true) | (Takes::All, false) => panic!("{pattern} {event}"),
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn the_types_that_are_named_are_found_in_every_branch() {
        let pattern = r#"{"$or":[{"type":["b","a",{"prefix":"c"}]},{"type":["a"],"data":{"type":["d"]}}]}"#;
        assert_eq!(Pattern::parse(pattern).unwrap().named_types(), ["a", "b"]);
    }
}
