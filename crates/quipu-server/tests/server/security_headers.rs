//! The headers for browsers, on every answer that there is: also on those that no handler gives.

use std::collections::HashMap;

use futures_util::future::join_all;
use quipu_api::OPERATIONS;
use quipu_server::{Anybody, Server};

use crate::host::Host;

const ALL: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

fn assert_all(headers: &HashMap<String, String>, what: &str) {
    for (name, value) in ALL {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name} of {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_with_the_headers_for_browsers() {
    let hosts = [Host::start().await, Host::start_with(Server { anybody: Anybody::None, ..Server::default() }).await];
    let asked = hosts.iter().flat_map(|host| OPERATIONS.iter().map(move |operation| (host, operation)));
    // All at once: who has no credential waits in the end.
    join_all(asked.map(async |(host, operation)| {
            let mut client = host.client().await;
            let (media_type, body) = operation.example.body.unwrap_or(("application/json", ""));
            let (method, target) = (operation.method.as_str(), operation.example.target);
            let head = format!(
                "{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write(head.as_bytes()).await;
            let (status, headers) = client.head().await;
            assert_all(&headers, &format!("{} answered {status}", operation.name));
    }))
    .await;
}

#[tokio::test]
async fn what_no_handler_answers_has_the_headers_for_browsers_too() {
    let host = Host::start_with(Server { connections_max: 1, ..Server::default() }).await;
    let mut client = host.client().await;
    for (method, target, headers, status) in [
        ("GET", "/nowhere", vec![], 404),
        ("PATCH", "/v1/events", vec![], 405),
        ("GET", "/", vec![("host", "evil.example")], 421),
        ("POST", "/v1/events", vec![("origin", "https://evil.example")], 403),
    ] {
        let answer = client.request(method, target, &headers, b"").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_all(&answer.headers, &format!("{method} {target}"));
    }
    let over_the_limit = host.client().await.answer("").await;
    assert_eq!(over_the_limit.status, 503, "{over_the_limit:?}");
    assert_all(&over_the_limit.headers, "a connection over the limit");
    client.write(b"this is no HTTP\r\n\r\n").await;
    let malformed = client.answer("").await;
    assert_eq!(malformed.status, 400, "{malformed:?}");
    assert_all(&malformed.headers, "what is no HTTP");
}
