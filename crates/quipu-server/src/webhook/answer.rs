//! What came of one call, and when the endpoint wants to be called again.
//!
//! Sources: Standard Webhooks 1.0.0, "Delivery success and failure"; RFC 9110, 10.2.3 for `Retry-After`.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use quipu_domain::Timestamp;
use quipu_domain::delivery::Failure;

/// Longest wait that an endpoint may ask for: a day. A mistake of its clock should not stop it for good.
const RETRY_AFTER_SECONDS_MAX: i64 = 24 * 60 * 60;

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The endpoint has taken it: a status from 200 to 299.
    Delivered {
        /// The status.
        status: u16,
        /// How long the endpoint took to answer.
        duration: Duration,
    },
    /// It has not, or nobody knows whether it has. Every failure may be over at the next attempt: of the statuses only 410
    /// is for good, since a 404 may be a deployment and a 401 a secret that was not yet replaced.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// How long it took to go wrong.
        duration: Duration,
        /// When the endpoint wants to be called again, if it said so with 429 or 503.
        retry_after: Option<Timestamp>,
    },
    /// It wants no more webhooks: 410. The subscription is to be disabled.
    Gone {
        /// The answer, as a dead letter tells it.
        failure: Failure,
        /// How long the endpoint took to answer.
        duration: Duration,
    },
}

/// When an endpoint that is called at `now` wants to be called again. Nothing if it does not say, or not in a form that
/// is known.
pub fn retry_after(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    if status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        text.parse().unwrap_or(RETRY_AFTER_SECONDS_MAX)
    } else {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        let date_us = i64::try_from(date.as_micros()).ok()?;
        date_us.saturating_sub(now.0).div_euclid(1_000_000).saturating_add(1)
    };
    Some(now.plus_ms(seconds.clamp(0, RETRY_AFTER_SECONDS_MAX) * 1_000))
}

/// What a status that is no success means, in words.
pub(super) fn reason(status: StatusCode) -> String {
    let name = status.canonical_reason().map(|name| format!(" {name}")).unwrap_or_default();
    let hint = match status.as_u16() {
        300..=399 => " (redirects are not followed: give the subscription the new URL)",
        410 => " (it wants no more webhooks)",
        _ => "",
    };
    format!("the endpoint answered {}{name}{hint}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_a_day() {
        let now = Timestamp::parse("1994-11-06T08:49:00Z").unwrap();
        let cases: [(&[u8], Option<i64>); 14] = [
            (b"0", Some(0)),
            (b"120", Some(120)),
            (b" 5 ", Some(5)),
            (b"99999999999999999999999", Some(86_400)),
            (b"Sun, 06 Nov 1994 08:49:37 GMT", Some(38)),
            (b"Sunday, 06-Nov-94 08:49:37 GMT", Some(38)),
            (b"Sun Nov  6 08:49:37 1994", Some(38)),
            (b"Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            (b"Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            (b"", None),
            (b"-1", None),
            (b"1.5", None),
            (b"soon", None),
            (b"\xff", None),
        ];
        for (text, expected) in cases {
            let value = axum::http::HeaderValue::from_bytes(text).unwrap();
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
            let wait = |status| retry_after(status, &headers, now).map(|at| (at.0 - now.0) / 1_000_000);
            let name = String::from_utf8_lossy(text);
            assert_eq!(wait(StatusCode::TOO_MANY_REQUESTS), expected, "{name}");
            assert_eq!(wait(StatusCode::SERVICE_UNAVAILABLE), expected, "{name}");
            assert_eq!(wait(StatusCode::INTERNAL_SERVER_ERROR), None);
        }
        assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now), None);
    }
}
