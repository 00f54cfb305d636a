//! Which timer to cancel.

use super::{missing, pairs, unknown};
use crate::Problem;
use crate::parameter::once;

/// The key of the timer, of a query string.
///
/// # Errors
/// `invalid-parameter`.
pub fn timer_key(query: &str) -> Result<String, Problem> {
    let mut key = None;
    for (name, value) in pairs(query) {
        match name.as_ref() {
            "key" => once(&name, &mut key, value.into_owned())?,
            _ => return Err(unknown(&name, "key")),
        };
    }
    key.ok_or_else(|| missing("key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_cancelled_at_a_time() {
        assert_eq!(timer_key("key=order%2F7"), Ok("order/7".to_owned()));
        for query in ["", "key=a&key=b", "key=a&all=true"] {
            assert_eq!(timer_key(query).unwrap_err().code, "invalid-parameter", "{query}");
        }
    }
}
