//! The URL of a server as a client is given it. It stands in messages, logs and lists of contexts, so one that may hold a
//! secret is refused, and not repeated. Whether anybody listens there is not asked.

use std::fmt;

use http::Uri;

/// Why a URL is none of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServerUrl {
    /// The URL; words in its place if it may hold a secret.
    pub shown: String,
}

impl InvalidServerUrl {
    /// What was expected.
    pub const EXPECTED: &str = "expected a URL such as http://127.0.0.1:7070 or https://quipu.example, without user, password, query and fragment";
}

impl fmt::Display for InvalidServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, found {}", Self::EXPECTED, self.shown)
    }
}

impl std::error::Error for InvalidServerUrl {}

/// The URL without slashes at its end.
///
/// # Errors
/// It is no URL that this version speaks to, or may hold a secret.
pub fn server_url(text: &str) -> Result<&str, InvalidServerUrl> {
    // Anywhere, since the password of a URL that is malformed may hold any character.
    if text.contains(['@', '?', '#']) {
        return Err(InvalidServerUrl { shown: "a URL that may hold a secret".into() });
    }
    let is_ours = |uri: Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    match text.parse::<Uri>().is_ok_and(is_ours) {
        true => Ok(text.trim_end_matches('/')),
        false => Err(InvalidServerUrl { shown: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_server_is_kept_without_a_slash_at_its_end() {
        for (url, kept) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("http://[::1]:7070/", "http://[::1]:7070"),
            ("http://quipu.internal/", "http://quipu.internal"),
            ("http://proxy/events/", "http://proxy/events"),
            ("https://quipu.internal", "https://quipu.internal"),
        ] {
            assert_eq!(server_url(url), Ok(kept));
        }
    }

    #[test]
    fn what_this_version_does_not_speak_to_is_refused() {
        for url in ["", "127.0.0.1:7070", "/v1", "https://", "http://", "ftp://a", "http://a b", "http:///v1"] {
            let invalid = server_url(url).unwrap_err();
            assert_eq!(invalid.to_string(), format!("{}, found {url}", InvalidServerUrl::EXPECTED));
        }
    }

    #[test]
    fn a_url_that_may_hold_a_secret_is_refused_without_being_repeated() {
        for url in [
            "http://hunter2@quipu.internal",
            "http://ada:hunter2@quipu.internal:7070/",
            "http://ada:hunter/hunter2@quipu.internal",
            "https://ada:hunter2@quipu.internal",
            "ada:hunter2@quipu.internal",
            "http://quipu.internal/?token=hunter2",
            "http://quipu.internal/#hunter2",
        ] {
            let invalid = server_url(url).unwrap_err();
            let said = format!("{invalid} {invalid:?}");
            assert!(said.contains("without user, password") && !said.contains("hunter"), "{said}");
        }
    }
}
