//! What a `type` says: `domain.entity.action`, with an optional version `.vN` at the end.

use crate::limits::TYPE_LEVELS_MAX;

/// The type without its version: `order.placed` for `order.placed.v2`.
///
/// ```
/// assert_eq!(quipu_domain::base_type("order.placed.v2"), "order.placed");
/// assert_eq!(quipu_domain::base_type("order.very"), "order.very");
/// ```
pub fn base_type(name: &str) -> &str {
    split_version(name).0
}

/// The version that a type names: 2 for `order.placed.v2`, nothing for `order.placed`.
pub fn type_version(name: &str) -> Option<u32> {
    split_version(name).1
}

fn split_version(name: &str) -> (&str, Option<u32>) {
    let Some((base, last)) = name.rsplit_once('.') else { return (name, None) };
    match last.strip_prefix('v').map(|digits| (digits, digits.parse::<u32>())) {
        Some((digits, Ok(version))) if !base.is_empty() && !digits.starts_with(['0', '+']) => (base, Some(version)),
        _ => (name, None),
    }
}

/// The prefixes of a type that end at a dot, shortest first and without the dot: `com`, `com.github` for
/// `com.github.push`. They are what a prefix query is looked up by.
pub fn type_prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').take(TYPE_LEVELS_MAX).map(|(at, _)| &name[..at]).filter(|prefix| !prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trailing_v_and_number_is_a_version() {
        let table = [
            ("order.placed", "order.placed", None),
            ("order.placed.v1", "order.placed", Some(1)),
            ("order.placed.v12", "order.placed", Some(12)),
            ("order.placed.v0", "order.placed.v0", None),
            ("order.placed.v01", "order.placed.v01", None),
            ("order.placed.v", "order.placed.v", None),
            ("order.v2.placed", "order.v2.placed", None),
            (".v2", ".v2", None),
            ("v2", "v2", None),
        ];
        for (name, base, version) in table {
            assert_eq!((base_type(name), type_version(name)), (base, version), "{name}");
        }
    }

    #[test]
    fn prefixes_end_at_dots() {
        assert_eq!(type_prefixes("com.github.push").collect::<Vec<_>>(), ["com", "com.github"]);
        assert_eq!(type_prefixes("push").count(), 0);
    }
}
