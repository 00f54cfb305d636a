//! Which events are meant: a type, several, or a pattern.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::event_type::type_version;
use crate::limits::TYPE_BYTES_MAX;
use crate::pattern::Pattern;

/// Most types in a list.
const TYPES_MAX: usize = 64;

/// Which events are meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a type such as order.placed, a list of types, or an EventBridge pattern")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Which {
    /// Those of a type: `order.placed` in all its versions, `order.placed.v2`, or all that begin alike: `order.*`.
    Type(String),
    /// Those of one of these.
    Types(Vec<String>),
    /// Those that match an EventBridge pattern.
    Pattern(Map<String, Json>),
}

impl Which {
    /// The pattern that takes them.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn pattern(&self) -> Result<Pattern, String> {
        let pattern = match self {
            Self::Type(kind) => json!({ "type": types(kind)? }),
            Self::Types(kinds) => {
                if kinds.is_empty() || kinds.len() > TYPES_MAX {
                    return Err(format!("expected 1 to {TYPES_MAX} types, found {}", kinds.len()));
                }
                let mut all = Vec::new();
                for kind in kinds {
                    all.extend(types(kind)?);
                }
                json!({ "type": all })
            }
            Self::Pattern(pattern) => Json::Object(pattern.clone()),
        };
        Pattern::parse(&pattern.to_string()).map_err(|invalid| invalid.to_string())
    }
}

/// What a pattern says of the attribute `type` for a type as it is written here.
fn types(kind: &str) -> Result<Vec<Json>, String> {
    let stem = kind.strip_suffix('*').unwrap_or(kind);
    if stem.is_empty() || stem.len() > TYPE_BYTES_MAX || stem.contains(crate::is_forbidden_char) || stem.contains('*') {
        let shown: String = kind.chars().take(64).collect();
        return Err(format!("expected a type such as order.placed, or a beginning such as order.*, found {shown:?}"));
    }
    Ok(match stem.len() == kind.len() {
        false => vec![json!({ "prefix": stem })],
        true if type_version(kind).is_some() => vec![json!(kind)],
        true => vec![json!(kind), json!({ "prefix": format!("{kind}.v") })],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Takes;

    #[test]
    fn a_type_means_all_its_versions_and_a_star_all_that_begin_alike() {
        for (which, kind, takes) in [
            (r#""order.placed""#, "order.placed", true),
            (r#""order.placed""#, "order.placed.v2", true),
            (r#""order.placed.v2""#, "order.placed.v3", false),
            (r#""order.*""#, "order.paid", true),
            (r#""order.*""#, "orders.paid", false),
            (r#"["a", "b.*"]"#, "b.c", true),
            (r#"["a", "b.*"]"#, "c", false),
            (r#"{"type": [{"suffix": ".paid"}]}"#, "order.paid", true),
        ] {
            let read: Which = serde_json::from_str(which).unwrap();
            assert_eq!(read.pattern().unwrap().takes(kind) == Takes::All, takes, "{which} {kind}");
        }
        for which in [r#""""#, r#""*""#, r#""a*b""#, r#""a\u0000""#, "[]", r#"{"type": "a"}"#] {
            let read: Which = serde_json::from_str(which).unwrap();
            assert!(read.pattern().is_err(), "{which}");
        }
        assert!(serde_json::from_str::<Which>("7").unwrap_err().to_string().contains("expected a type such as"));
    }
}
