//! One call of a saga: a body of JSON to an endpoint under an idempotency key, and what the endpoint says to it. It goes out as webhooks
//! do: by the same rules about addresses, over the same connections, without following redirects.
//!
//! Source: draft-ietf-httpapi-idempotency-key-header for the name of the header. The key is sent as it is, without the quotes that the
//! draft asks for: most who read the header take all of it for the key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use quipu_domain::Timestamp;
use quipu_domain::saga::Answer;
use serde::de::IgnoredAny;

use super::send::{BODY_TIMEOUT, USER_AGENT, beginning};
use super::{Endpoint, Secret, Webhooks, answer, message, sign};

/// Most bytes of an answer that is kept for later steps: it is an event of the log. With as many calls on their way as may be, 512, it is
/// 32 MiB.
pub(crate) const KEPT_BYTES_MAX: usize = 64 << 10;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One call.
#[derive(Debug)]
pub(crate) struct Invocation<'a> {
    pub endpoint: &'a Endpoint,
    pub method: Method,
    /// Of the declaration.
    pub headers: &'a BTreeMap<String, String>,
    /// `NAME/NUMBER`.
    pub saga: &'a str,
    pub idempotency_key: &'a str,
    pub attempt: u16,
    pub correlation_id: &'a str,
    pub traceparent: Option<&'a str>,
    /// Newest first. Without one nothing is signed.
    pub secrets: &'a [Secret],
    pub now: Timestamp,
    /// From the look-up of the name to the end of the answer.
    pub timeout: Duration,
    pub body: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub answer: Answer,
    pub status: Option<u16>,
    /// For a timeline: the status, or why there is none. No part of what was answered.
    pub text: String,
    /// JSON.
    pub body: Option<String>,
    pub retry_after: Option<Timestamp>,
}

impl Invoked {
    pub fn unsure(text: String) -> Self {
        Self { answer: Answer::UNSURE, status: None, text, body: None, retry_after: None }
    }
}

impl Webhooks {
    /// Calls an endpoint once.
    pub(crate) async fn invoke(&self, call: Invocation<'_>) -> Invoked {
        let started = Instant::now();
        let left = || call.timeout.saturating_sub(started.elapsed());
        let response = match self.answered(call.request(), call.endpoint, call.timeout).await {
            Ok(response) => response,
            // What was left of its time says nothing to whoever gave it more.
            Err(_) if left().is_zero() => return Invoked::unsure(format!("{} did not answer in time", call.endpoint)),
            Err(text) => return Invoked::unsure(text),
        };
        let status = response.status();
        let text = format!("{} answered {}", call.endpoint, in_words(status));
        let answered = Timestamp(call.now.0.saturating_add(started.elapsed().as_micros() as i64));
        let retry_after = answer::retry_after(status, response.headers(), answered);
        let answer = match Answer::of_status(status.as_u16()) {
            Answer::Unsure { .. } => Answer::Unsure { not_before: retry_after },
            other => other,
        };
        let mut invoked = Invoked { answer, status: Some(status.as_u16()), text, body: None, retry_after };
        if answer != Answer::Done || !is_json(response.headers()) {
            // Read for the sake of the connection.
            beginning(response.into_body(), left().min(BODY_TIMEOUT)).await;
            return invoked;
        }
        match kept(response, left()).await {
            Ok(body) => invoked.body = body,
            Err(reason) => {
                invoked.answer = Answer::UNSURE;
                invoked.text.push_str(reason);
            }
        }
        invoked
    }
}

impl Invocation<'_> {
    fn request(&self) -> Request<Full<Bytes>> {
        let body = Bytes::copy_from_slice(self.body.as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            // They were checked when the saga was declared.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        if !self.secrets.is_empty() {
            let id = message::webhook_id(self.idempotency_key);
            let seconds = self.now.0.div_euclid(1_000_000);
            headers.insert("webhook-signature", sign(self.secrets, &id, seconds, &body));
            headers.insert("webhook-id", HeaderValue::try_from(id).expect("what a header cannot take is encoded"));
            headers.insert("webhook-timestamp", seconds.into());
        }
        headers.insert("idempotency-key", message::value(self.idempotency_key));
        headers.insert("quipu-saga", message::value(self.saga));
        headers.insert("quipu-attempt", self.attempt.into());
        headers.insert("quipu-correlationid", message::value(self.correlation_id));
        if let Some(traceparent) = self.traceparent {
            headers.insert("traceparent", message::value(traceparent));
        }
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::USER_AGENT, USER_AGENT);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.endpoint.uri().clone();
        *request.headers_mut() = headers;
        request
    }
}

/// The JSON of a whole answer; nothing if it has no body. Later steps look at it, so one that is not whole counts as none.
async fn kept(response: Response<Incoming>, left: Duration) -> Result<Option<String>, &'static str> {
    let body = Limited::new(response.into_body(), KEPT_BYTES_MAX);
    let bytes = match tokio::time::timeout(left, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(", with more than 65536 bytes"),
        Ok(Err(_)) => return Err(", and the connection failed in the middle of it"),
        Err(_) => return Err(", and not all of it in time"),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(bytes.into()).map_err(|_| ", with JSON that is none")?;
    serde_json::from_str::<IgnoredAny>(&text).map_err(|_| ", with JSON that is none")?;
    Ok(Some(text.trim().to_owned()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn in_words(status: StatusCode) -> String {
    let name = status.canonical_reason().map(|name| format!(" {name}")).unwrap_or_default();
    let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    format!("{}{name}{hint}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_media_type() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.bank+json", true),
            ("application/problem+json ; x", true),
            ("text/json+json", false),
            ("text/html", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
