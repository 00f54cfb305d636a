//! What a client, a proxy or an endpoint writes into headers: events in binary mode, what an answer may be, who asks, and when
//! to come again.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, uri::Authority};
use quipu_api::{MEDIA_JSON, MEDIA_LINES};
use quipu_domain::{Timestamp, parse_event};
use quipu_server::webhook::retry_after;
use quipu_server::{Gatekeeper, PublicHost, accepted, content_mode, prefers_minimal, read_binary};

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
const PUBLIC: &str = "quipu.example";

/// Lines of `name: value`.
fn header_map(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// An event in binary mode: lines of headers, an empty line, the body.
pub fn headers(bytes: &[u8]) -> bool {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let body = bytes.get(end + 2..).unwrap_or_default();
    let headers = header_map(&bytes[..end]);
    let Ok(event) = read_binary(&headers, body) else { return false };
    let written = super::write(&event);
    let again = parse_event(&written).expect("what is written can be read").event;
    assert_eq!(super::write(&again), written);
    true
}

/// `Accept`, `Prefer`, `Content-Type`, `Host` and `Origin` of a request: one header or several mean the same, two content
/// types mean nothing, and nobody is admitted whom a parser of URIs takes for a stranger.
pub fn negotiation(bytes: &[u8]) -> bool {
    let mut headers = header_map(bytes);
    is_answered(&headers);
    is_admitted(&headers);
    let mode = content_mode(&headers);
    let has_type = headers.contains_key(CONTENT_TYPE);
    headers.append(CONTENT_TYPE, HeaderValue::from_static(MEDIA_JSON));
    assert_eq!(content_mode(&headers).is_ok(), !has_type);
    headers.append(ACCEPT, HeaderValue::from_static("*/*"));
    assert!(accepted(&headers, &[MEDIA_JSON]).is_ok(), "everything will do");
    mode.is_ok()
}

fn is_answered(headers: &HeaderMap) {
    let offered = [MEDIA_JSON, MEDIA_LINES];
    let answer = accepted(headers, &offered);
    assert!(answer.as_ref().is_ok_and(|found| offered.contains(found)) || answer.is_err());
    let is_minimal = prefers_minimal(headers);
    let mut joined = HeaderMap::new();
    for name in [ACCEPT, HeaderName::from_static("prefer")] {
        let values: Result<Vec<&str>, _> = headers.get_all(&name).iter().map(HeaderValue::to_str).collect();
        let Ok(values) = values else { return };
        if !values.is_empty() {
            joined.insert(name, HeaderValue::from_str(&values.join(", ")).expect("values are a value"));
        }
    }
    assert_eq!((accepted(&joined, &offered).ok(), prefers_minimal(&joined)), (answer.ok(), is_minimal));
}

fn is_admitted(headers: &HeaderMap) {
    let public: PublicHost = PUBLIC.parse().expect("a host");
    let admits = |is_secure: bool| {
        let gatekeeper = Gatekeeper::of(IpAddr::V4(Ipv4Addr::LOCALHOST), std::slice::from_ref(&public), is_secure);
        let mut request = Request::post("/").body(()).expect("a request");
        *request.headers_mut() = headers.clone();
        gatekeeper.admit(&request).is_ok()
    };
    if admits(true) {
        assert!(admits(false), "admitted over TLS only");
        let is_plain = |origin: &HeaderValue| origin.as_bytes().starts_with(b"http://");
        assert!(!headers.get_all(ORIGIN).iter().any(is_plain), "admitted over TLS from a page without it");
    }
    if !admits(false) {
        return;
    }
    let authority = |value: &HeaderValue, scheme: &str| {
        let text = value.to_str().ok()?.strip_prefix(scheme)?.parse::<Authority>().ok()?;
        Some(text.host().to_ascii_lowercase())
    };
    let host = headers.get(HOST).and_then(|host| authority(host, ""));
    if let Some(host) = &host {
        assert!(is_known(host), "admitted as {host}");
    }
    for origin in headers.get_all(ORIGIN) {
        let Some(origin) = authority(origin, "http://").or_else(|| authority(origin, "https://")) else { continue };
        assert!(is_known(&origin), "admitted from {origin}");
        assert!(origin == PUBLIC || host.as_ref().is_none_or(|host| *host == origin), "admitted from {origin}");
    }
}

/// Whether it is of this machine, or what the proxy is called.
fn is_known(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_local = name == "localhost" || name.ends_with(".localhost") || host == PUBLIC;
    address.map_or(is_local, |address| address.to_canonical().is_loopback())
}

/// `Retry-After` of an endpoint: not before now, and within a day.
pub fn retry(bytes: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return false };
    let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
    let mut means = false;
    for now in [0, 784_111_740_000_000, 4_102_444_800_000_000].map(Timestamp) {
        let when = |status| retry_after(status, &headers, now);
        let found = when(StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(found, when(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(when(StatusCode::INTERNAL_SERVER_ERROR), None);
        assert!(found.is_none_or(|at| (0..=DAY_US).contains(&(at.0 - now.0))), "{found:?} at {now:?}");
        let digits = bytes.trim_ascii();
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
            let seconds = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(DAY_US));
            assert_eq!(found.map(|at| at.0 - now.0), Some((seconds * 1_000_000).min(DAY_US)));
        }
        means |= found.is_some();
    }
    means
}
