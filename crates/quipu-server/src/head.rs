//! Heads of requests: how long one may take, and what is answered to one that is no HTTP or too large. HTTP has one
//! timer for the wait before a head and the head itself; here the two are told apart.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::rt;
use quipu_api::{Code, MEDIA_PROBLEM, Problem};
use tokio::time::Sleep;

use crate::security_headers;
use crate::socket::Wire;

/// The timer of one connection's heads. HTTP starts it whenever it begins to wait for a head, and ends the connection
/// when it is over. HTTP itself is told the timeout of an idle connection.
pub(crate) struct Timer {
    wire: Arc<Wire>,
    /// How long a head may take.
    timeout: Duration,
    /// Whether there was a head: a connection that never sends one is not idle, it is slow.
    is_used: AtomicBool,
}

impl Timer {
    pub(crate) fn new(wire: Arc<Wire>, timeout: Duration) -> Self {
        Self { wire, timeout, is_used: AtomicBool::new(false) }
    }
}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.wire.hand_to_head();
        let has_begun = !self.is_used.swap(true, Ordering::Relaxed);
        let sleep = match has_begun {
            true => tokio::time::sleep(self.timeout),
            false => tokio::time::sleep_until(deadline.into()),
        };
        Box::pin(Wait { wire: Arc::clone(&self.wire), timeout: self.timeout, has_begun, sleep: Box::pin(sleep) })
    }
}

/// The wait for one head, to its end. HTTP polls it after every read that did not complete the head.
struct Wait {
    wire: Arc<Wire>,
    timeout: Duration,
    has_begun: bool,
    sleep: Pin<Box<Sleep>>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_begun && self.wire.unparsed() > 0 {
            self.has_begun = true;
            let end = tokio::time::Instant::now() + self.timeout;
            self.sleep.as_mut().reset(end);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl rt::Sleep for Wait {}

/// The answer in the place of one that HTTP gives by itself, which has a status and no body; nothing if it is another.
pub(crate) fn refusal(bytes: &[u8]) -> Option<Bytes> {
    let head = std::str::from_utf8(bytes).ok()?;
    let is_bare = head.contains("\r\ncontent-length: 0\r\n") && head.find("\r\n\r\n") == Some(head.len() - 4);
    let status = head.strip_prefix("HTTP/1.1 ").filter(|_| is_bare)?;
    let (code, detail) = match status.get(..3)? {
        "400" => (Code::MalformedHttp, "expected the head of an HTTP/1.1 request, found other bytes"),
        "414" => (Code::UriTooLong, "expected a path and query of at most 65,534 bytes, found more"),
        "431" => (Code::HeadTooLarge, "expected a head of at most 100 headers and 256 KiB, found more"),
        _ => return None,
    };
    Some(answer(&Problem::new(code, detail), "").into())
}

/// A problem as a whole answer, for a connection that ends with it. More headers, each with its line break.
pub(crate) fn answer(problem: &Problem, more_headers: &str) -> String {
    let body = serde_json::to_string(problem).expect("a problem is JSON");
    let status = axum::http::StatusCode::from_u16(problem.status).ok();
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {MEDIA_PROBLEM}\r\ncontent-length: {}\r\n{}{more_headers}connection: close\r\n\r\n{body}",
        problem.status,
        body.len(),
        security_headers::lines(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_answer_is_replaced() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let replaced = refusal(bare.as_bytes()).unwrap();
        let (head, body) = std::str::from_utf8(&replaced).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.code(), Some(Code::HeadTooLarge));
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "",
        ] {
            assert_eq!(refusal(other.as_bytes()), None, "{other}");
        }
    }
}
