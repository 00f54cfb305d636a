//! The end: requests that are under way finish, what would never end is ended, and nobody is waited for forever.

use std::time::Duration;

use quipu_server::Server;

use crate::host::{Host, event};

#[tokio::test]
async fn a_request_that_is_under_way_finishes() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    let body = event("1", "t", "s");
    let (first, rest) = body.split_at(20);
    let length = body.len();
    client
        .write(
            format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n{first}")
                .as_bytes(),
        )
        .await;
    // The server asks for the body: the request is under way.
    assert_eq!(client.head().await.0, 100);
    host.begin_shutdown();
    client.write(rest.as_bytes()).await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.json()["recorded"], 1);
    assert!(client.is_closed().await);
    host.stopped().await;
}

#[tokio::test]
async fn idle_connections_and_tails_are_ended() {
    let mut host = Host::start().await;
    let mut idle = host.client().await;
    assert_eq!(idle.get("/health/ready").await.status, 200);
    let mut tail = host.client().await;
    tail.write(b"GET /v1/tail HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(tail.head().await.0, 200);
    assert!(tail.chunk().await.is_some(), "where the tail begins");
    host.begin_shutdown();
    host.stopped().await;
    assert!(idle.is_closed().await);
    assert_eq!(tail.chunk().await, None);
}

#[tokio::test]
async fn a_request_that_never_finishes_is_cut_off() {
    let drain_timeout = Duration::from_millis(50);
    let mut host = Host::start_with(Server { drain_timeout, ..Server::default() }).await;
    let mut client = host.client().await;
    client
        .write(b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await.0, 100);
    host.begin_shutdown();
    host.stopped().await;
    assert!(client.is_closed().await);
    assert_eq!(host.tenant.position(), 0);
}
