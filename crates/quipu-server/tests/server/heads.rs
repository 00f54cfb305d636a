//! Heads of requests: how long a connection may wait before one and for one, and what is answered to one that is no HTTP
//! or too large.

use std::time::Duration;

use quipu_server::Server;

use crate::host::{DEADLINE, Host, event};

/// A head may take no time to speak of, the wait before it may take long.
fn patient() -> Server {
    Server { header_timeout: Duration::from_millis(50), idle_timeout: DEADLINE, ..Server::default() }
}

#[tokio::test]
async fn an_idle_connection_outlives_a_slow_one() {
    let host = Host::start_with(patient()).await;
    let mut idle = host.client().await;
    assert_eq!(idle.get("/health/live").await.status, 200);
    let mut slow = host.client().await;
    slow.write(b"GET /health/live HTTP/1.1\r\nhost: te").await;
    slow.until_closed().await;
    let mut silent = host.client().await;
    silent.until_closed().await;
    assert_eq!(idle.get("/health/live").await.status, 200, "it was idle for longer than a head may take");
    idle.write(b"GET /health/live HTTP/1.1\r\nhost: te").await;
    idle.until_closed().await;
}

#[tokio::test]
async fn a_head_that_began_behind_another_request_is_not_idle() {
    let host = Host::start_with(patient()).await;
    let body = event("1", "t", "s");
    let post = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let get = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for request in [get, &post] {
        let mut whole = host.client().await;
        whole.write(request.as_bytes()).await;
        assert_eq!(whole.answer("").await.status, 200);
        let mut begun = host.client().await;
        begun.write(format!("{request}GET /health/live HTTP/1.1\r\nhost: te").as_bytes()).await;
        assert_eq!(begun.answer("").await.status, 200);
        begun.until_closed().await;
        assert_eq!(whole.get("/health/live").await.status, 200, "it was idle for longer than a head may take");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let host = Host::start_with(Server { idle_timeout: Duration::from_millis(50), ..Server::default() }).await;
    let mut client = host.client().await;
    assert_eq!(client.get("/health/live").await.status, 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_head_that_comes_in_time_is_read_however_long_the_wait_before() {
    let host = Host::start_with(Server { header_timeout: DEADLINE, ..patient() }).await;
    let mut client = host.client().await;
    for id in ["1", "2"] {
        let body = event(id, "t", "s");
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        for piece in head.as_bytes().chunks(10) {
            client.write(piece).await;
        }
        client.write(body.as_bytes()).await;
        assert_eq!(client.answer("POST").await.status, 200);
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_with_a_problem() {
    let host = Host::start().await;
    let line = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for (name, head, status, code) in [
        ("another protocol", "\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), 400, "malformed-http"),
        ("a broken header", line("/health/live", "a b: c\r\n"), 400, "malformed-http"),
        ("a broken length", line("/health/live", "content-length: x\r\n"), 400, "malformed-http"),
        ("a long path", line(&format!("/{}", "x".repeat(70_000)), ""), 414, "uri-too-long"),
        ("many headers", line("/health/live", &many), 431, "head-too-large"),
        ("a large head", line("/health/live", &format!("x: {}\r\n", "y".repeat(1 << 20))), 431, "head-too-large"),
    ] {
        for is_first in [true, false] {
            let mut client = host.client().await;
            if !is_first {
                assert_eq!(client.get("/health/live").await.status, 200);
            }
            client.write(head.as_bytes()).await;
            let answer = client.answer("GET").await;
            let problem = answer.json();
            assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{name}");
            assert_eq!(problem["status"], status, "{name}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{name}");
            assert_eq!(answer.header("connection"), "close", "{name}");
            let page = problem["type"].as_str().unwrap();
            assert_eq!(host.client().await.get(page).await.status, 200, "{name}");
        }
    }
    assert_eq!(host.client().await.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn an_answer_before_a_broken_head_stays_what_it_is() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.write(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nno HTTP\r\n\r\n").await;
    assert_eq!(client.answer("GET").await.json()["status"], "live");
    assert_eq!(client.answer("GET").await.status, 400);
}
