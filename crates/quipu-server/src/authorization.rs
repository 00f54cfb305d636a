//! The header `Authorization` (RFC 9110, section 11.6.2; RFC 6750; RFC 7617): which text of a credential it shows.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The text behind the scheme Bearer, which is in whatever case; nothing of another scheme.
pub fn bearer(value: &HeaderValue) -> Option<&str> {
    behind(value, "bearer")
}

/// The password behind the scheme Basic; nothing of another scheme, or of what is no name and password in base64.
pub fn basic(value: &HeaderValue) -> Option<String> {
    let pair = String::from_utf8(BASE64.decode(behind(value, "basic")?).ok()?).ok()?;
    // A name has no colon, a password may.
    Some(pair.split_once(':')?.1.to_owned())
}

fn behind<'v>(value: &'v HeaderValue, scheme: &str) -> Option<&'v str> {
    let (found, text) = value.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| text.trim())
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
    #[test]
    fn only_basic_shows_a_password_whatever_the_name_beside_it() {
        for (value, password) in [
            ("Basic bmFtZTpxcF9h", Some("qp_a")),
            ("bASIC  bmFtZTpxcF9h ", Some("qp_a")),
            // `:qp_a`, `n:a:b`, `n:`
            ("Basic OnFwX2E=", Some("qp_a")),
            ("Basic bjphOmI=", Some("a:b")),
            ("Basic bjo=", Some("")),
            // `name`: no colon.
            ("Basic bmFtZQ==", None),
            ("Basic !", None),
            ("Basic", None),
            // No UTF-8.
            ("Basic /zr/", None),
            ("Bearer bmFtZTpxcF9h", None),
        ] {
            assert_eq!(basic(&HeaderValue::from_str(value).unwrap()).as_deref(), password, "{value:?}");
        }
    }
}
