//! The header `Authorization` (RFC 9110, section 11.6.2; RFC 6750): which text of a credential it shows.

use axum::http::HeaderValue;

/// The text behind the scheme Bearer, which is in whatever case; nothing of another scheme.
pub fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_shows_a_text_whatever_its_case_and_space() {
        for (value, text) in [
            ("Bearer qp_a", Some("qp_a")),
            ("bEARER   qp_a \t", Some("qp_a")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic qp_a", None),
            ("Bearerqp_a", None),
            ("Bearer\tqp_a", None),
            (" Bearer qp_a", None),
            ("", None),
        ] {
            assert_eq!(bearer(&HeaderValue::from_str(value).unwrap()), text, "{value:?}");
        }
        assert_eq!(bearer(&HeaderValue::from_bytes(b"Bearer \xff").unwrap()), None);
    }
}
