//! Requests that a page of another origin makes its visitor's browser send.

use crate::client::Answer;
use crate::host::{Host, event};

const EVIL: &str = "https://evil.example";
pub const HANDSHAKE: [(&str, &str); 5] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "cloudevents.json"),
];

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_websocket() {
    let host = Host::start().await;
    for (origin, is_own) in
        [(EVIL, false), ("null", false), ("http://localhost:3000", false), ("http://localhost", true)]
    {
        let answer =
            host.client().await.request("GET", "/v1/ws", &[&HANDSHAKE[..], &[("origin", origin)]].concat(), b"").await;
        if is_own {
            assert_eq!(answer.status, 101, "{answer:?}");
        } else {
            assert_eq!(code(&answer), (403, "foreign-origin".into()), "{origin}");
        }
    }
    assert_eq!(host.client().await.request("GET", "/v1/ws", &HANDSHAKE, b"").await.status, 101, "it is no browser");
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let host = Host::start().await;
    // A form or `fetch` without a preflight sends such a media type.
    let event = event("1", "t", "s");
    for (method, target, body) in [
        ("POST", "/v1/events", event.as_str()),
        ("POST", "/v1/subscriptions/s/pause", ""),
        ("DELETE", "/v1/subscriptions/s", ""),
        ("OPTIONS", "/v1/events", ""),
    ] {
        let headers = [("origin", EVIL), ("content-type", "text/plain")];
        let answer = host.client().await.request(method, target, &headers, body.as_bytes()).await;
        assert_eq!(code(&answer), (403, "foreign-origin".into()), "{method} {target}");
    }
    assert_eq!(host.tenant.position(), 0);
    let own = [("origin", "http://localhost"), ("content-type", "application/cloudevents+json")];
    assert_eq!(host.client().await.request("POST", "/v1/events", &own, event.as_bytes()).await.status, 200);
    // What it reads its browser does not show to it.
    assert_eq!(host.client().await.request("GET", "/v1/events", &[("origin", EVIL)], b"").await.status, 200);
}

#[tokio::test]
async fn a_name_that_was_moved_to_this_machine_is_no_name_of_it() {
    let host = Host::start().await;
    let port = host.address.port();
    for (name, is_own) in
        [("evil.example", false), ("localhost.evil.example", false), ("127.0.0.1", true), ("localhost", true)]
    {
        let name = format!("{name}:{port}");
        for target in ["/v1/events", "/health/live", "/openapi.json"] {
            let answer = host.client().await.request("GET", target, &[("host", &name)], b"").await;
            if is_own {
                assert_eq!(answer.status, 200, "{name} {target}");
            } else {
                assert_eq!(code(&answer), (421, "foreign-host".into()), "{name} {target}");
            }
        }
        let headers = [("host", name.as_str()), ("origin", &format!("http://{name}"))];
        let answer = host.client().await.request("GET", "/v1/ws", &[&HANDSHAKE[..], &headers].concat(), b"").await;
        assert_eq!(answer.status, if is_own { 101 } else { 421 }, "{name}");
    }
}
