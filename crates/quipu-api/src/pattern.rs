//! The test of a pattern against an event: the request, the answer, and why a pattern is refused. Both stay the text that
//! they came as, since a pattern looks at how numbers are written.

use quipu_domain::{Explanation, Failure, Found, InvalidPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Code, Problem};

/// Body of a pattern test.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatternTestRequest<'a> {
    /// The pattern.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub pattern: &'a RawValue,
    /// Any JSON object. With `specversion` it is a CloudEvent, of which `detail` and `detail-type` are other names of
    /// `data` and `type`.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub event: &'a RawValue,
}

/// Whether the pattern matches the event and, if not, why.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PatternTestAnswer {
    /// Whether it matches.
    #[serde(rename = "match")]
    pub is_match: bool,
    /// Why not: the first field that failed, in the order of the paths; with `$or` that of each branch, and the same one
    /// only once. Not there if it matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<PatternFailure>,
}

/// A field of a pattern that an event does not satisfy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PatternFailure {
    /// The path as it stands in the pattern, joined by dots.
    pub path: String,
    /// What failed.
    pub reason: PatternReason,
    /// What the pattern accepts there.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub expected: Vec<Box<RawValue>>,
    /// The first ten values that the event has there; one that is too long is a string that ends in `…`.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub found: Vec<Box<RawValue>>,
}

/// What about a field failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatternReason {
    /// There is no value: nothing, an object, or an empty array.
    Absent,
    /// None of the values is accepted.
    Value,
    /// Values are accepted, but stand in other elements of an array than those of the fields before.
    Element,
}

impl From<Explanation> for PatternTestAnswer {
    fn from(explanation: Explanation) -> Self {
        match explanation {
            Explanation::Match => Self { is_match: true, failures: Vec::new() },
            Explanation::Mismatch(failures) => {
                Self { is_match: false, failures: failures.into_iter().map(PatternFailure::from).collect() }
            }
        }
    }
}

impl From<Failure> for PatternFailure {
    fn from(failure: Failure) -> Self {
        let (reason, found) = match failure.found {
            Found::Nothing => (PatternReason::Absent, Vec::new()),
            Found::Values(values) => (PatternReason::Value, values),
            Found::OtherElements(values) => (PatternReason::Element, values),
        };
        Self { path: failure.path, reason, expected: texts(failure.wanted), found: texts(found) }
    }
}

fn texts(all: Vec<String>) -> Vec<Box<RawValue>> {
    all.into_iter().map(|text| RawValue::from_string(text).expect("an explanation shows values as JSON")).collect()
}

impl From<&InvalidPattern> for Problem {
    fn from(invalid: &InvalidPattern) -> Self {
        let InvalidPattern { path, expected, found } = invalid;
        Self::new(Code::InvalidPattern, invalid.to_string())
            .with("path", path.as_str())
            .with("expected", expected.as_str())
            .with("found", found.as_str())
    }
}

impl From<InvalidPattern> for Problem {
    fn from(invalid: InvalidPattern) -> Self {
        Self::from(&invalid)
    }
}

#[cfg(test)]
mod tests {
    use quipu_domain::Pattern;

    use super::*;

    fn answer(pattern: &str, event: &str) -> String {
        let explanation = Pattern::parse(pattern).unwrap().explain(event.as_bytes()).unwrap();
        serde_json::to_string(&PatternTestAnswer::from(explanation)).unwrap()
    }

    #[test]
    fn an_answer_names_the_leaf_that_failed_what_was_expected_and_what_was_found() {
        for (pattern, event, expected) in [
            (r#"{"a":[1]}"#, r#"{"a":1.0}"#, r#"{"match":true}"#),
            (
                r#"{"a":[{"numeric":[">",1e2]},"x\"y"]}"#,
                r#"{"a":[1.50,"z\"",null]}"#,
                r#"{"match":false,"failures":[{"path":"a","reason":"value","expected":[{"numeric":[">",1e2]},"x\"y"],"found":[1.50,"z\"",null]}]}"#,
            ),
            (
                r#"{"a":{"b":[true]}}"#,
                r#"{"a":{"b":{}}}"#,
                r#"{"match":false,"failures":[{"path":"a.b","reason":"absent","expected":[true],"found":[]}]}"#,
            ),
            (
                r#"{"a":{"b":[1],"c":[2]}}"#,
                r#"{"a":[{"b":1},{"c":2}]}"#,
                r#"{"match":false,"failures":[{"path":"a.c","reason":"element","expected":[2],"found":[2]}]}"#,
            ),
            (
                r#"{"z":[0],"$or":[{"a":[1]},{"b":[1]},{"z":[{"prefix":"p"}]}]}"#,
                r#"{"a":1,"b":1}"#,
                r#"{"match":false,"failures":[{"path":"z","reason":"absent","expected":[0],"found":[]},{"path":"z","reason":"absent","expected":[{"prefix":"p"}],"found":[]}]}"#,
            ),
        ] {
            assert_eq!(answer(pattern, event), expected);
        }
    }

    #[test]
    fn what_an_operator_expects_is_json_whatever_is_in_it() {
        let operators = [
            r#"{"prefix":"a\"\\\u0001"}"#,
            r#"{"suffix":{"equals-ignore-case":"ß\""}}"#,
            r#"{"wildcard":"a\\*\\\\*"}"#,
            r#"{"anything-but":[1,1.0e0]}"#,
            r#"{"anything-but":{"wildcard":["a\"*"]}}"#,
            r#"{"anything-but":{"prefix":"\""}}"#,
            r#"{"numeric":[">=",-1.5e3,"<",1E+2]}"#,
            r#"{"cidr":"::1/64"}"#,
            r#"{"exists":true}"#,
        ];
        let pattern = format!(r#"{{"a":[{}],"b":["none"]}}"#, operators.join(","));
        let absent: serde_json::Value = serde_json::from_str(&answer(&pattern, "{}")).unwrap();
        assert_eq!(absent["failures"][0]["expected"].as_array().unwrap().len(), operators.len());
    }

    #[test]
    fn a_refused_pattern_names_the_place() {
        let invalid = Pattern::parse(r#"{"a":[{"prefix":1}]}"#).unwrap_err();
        let problem = Problem::from(invalid);
        assert_eq!(problem.code(), Some(Code::InvalidPattern));
        assert_eq!(problem.members["path"], "$.a[0].prefix");
        assert_eq!(
            (&problem.members["expected"], &problem.members["found"]),
            (&"a string".into(), &"the number 1".into())
        );
    }
}
