//! Headers that every answer carries, for browsers: nothing here is a page. They hold whatever a page of another origin makes
//! a browser load from here, and whatever somebody publishes and somebody else opens in a tab.
//!
//! The list follows OWASP's REST Security Cheat Sheet; `frame-ancestors` says what `X-Frame-Options` said. Whether
//! browsers must use TLS is not for an answer without it to say.

use std::convert::Infallible;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::Response;

const ALL: [(HeaderName, &str); 5] = [
    // Data of a tenant, or a secret: nobody on the way keeps it.
    (CACHE_CONTROL, "no-store"),
    // If it is shown as a page, nothing in it loads or runs, and nobody frames it.
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    // No page of another origin has it as an image or a script.
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Targets have names of streams and people, which are nobody else's business.
    (REFERRER_POLICY, "no-referrer"),
    // JSON that a stranger wrote is not guessed to be anything else.
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The answer with all of them.
pub(crate) fn add(answer: Result<Response, Infallible>) -> Result<Response, Infallible> {
    answer.map(|mut response| {
        let headers = response.headers_mut();
        headers.reserve(ALL.len());
        for (name, value) in ALL {
            // A page that is one has said what it may load.
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        response
    })
}

/// All of them as lines, for an answer that is written as text.
pub(crate) fn lines() -> String {
    ALL.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}
