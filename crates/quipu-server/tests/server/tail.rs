//! The tail as server-sent events.

use std::time::Duration;

use bytes::BytesMut;
use quipu_server::Server;
use serde_json::Value;

use crate::client::Client;
use crate::host::{Host, event};

/// Messages of a tail, read as an `EventSource` does.
struct Tail {
    client: Client,
    text: BytesMut,
}

impl Tail {
    async fn open(host: &Host, target: &str, headers: &str) -> Self {
        let mut client = host.client().await;
        client
            .write(
                format!("GET {target} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n{headers}\r\n").as_bytes(),
            )
            .await;
        let (status, headers) = client.head().await;
        assert_eq!((status, headers["content-type"].as_str()), (200, "text/event-stream"));
        let mut tail = Self { client, text: BytesMut::new() };
        let first = tail.block().await;
        assert!(first.starts_with("id: ") && !first.contains('\n'), "where it begins comes first: {first}");
        tail
    }

    /// The block up to the next empty line.
    async fn block(&mut self) -> String {
        loop {
            if let Some(end) = self.text.windows(2).position(|window| window == b"\n\n") {
                let block = self.text.split_to(end + 2);
                return std::str::from_utf8(&block).unwrap().trim_end().to_owned();
            }
            let chunk = self.client.chunk().await.expect("the tail goes on");
            self.text.extend_from_slice(&chunk);
        }
    }

    /// The next message: its id, and the id of its event.
    async fn message(&mut self) -> (u64, String) {
        let block = self.block().await;
        let (id, data) = block.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let id = id.strip_prefix("id: ").unwrap().parse().unwrap();
        assert_eq!(event["position"], id);
        (id, event["id"].as_str().unwrap().to_owned())
    }
}

async fn publish(host: &Host, ids: std::ops::RangeInclusive<u64>) {
    let events: Vec<_> = ids.map(|n| event(&n.to_string(), if n % 2 == 0 { "even.n" } else { "odd.n" }, "s")).collect();
    let answer = host.client().await.post("/v1/events", "application/json", &format!("[{}]", events.join(","))).await;
    assert_eq!(answer.json()["recorded"], events.len());
}

#[tokio::test]
async fn a_tail_from_the_start_shows_what_was_and_what_comes() {
    let host = Host::start().await;
    publish(&host, 1..=1_500).await;
    let mut tail = Tail::open(&host, "/v1/tail?from=start", "").await;
    for n in 1..=1_500 {
        assert_eq!(tail.message().await, (n, n.to_string()));
    }
    publish(&host, 1_501..=1_600).await;
    for n in 1_501..=1_600 {
        assert_eq!(tail.message().await.0, n);
    }
}

#[tokio::test]
async fn a_tail_without_from_shows_only_what_comes() {
    let host = Host::start().await;
    publish(&host, 1..=3).await;
    let mut tail = Tail::open(&host, "/v1/tail", "").await;
    publish(&host, 4..=4).await;
    assert_eq!(tail.message().await.0, 4);
}

#[tokio::test]
async fn a_tail_resumes_without_gap_or_repeat() {
    let host = Host::start().await;
    publish(&host, 1..=9).await;
    let mut tail = Tail::open(&host, "/v1/tail?from=start", "last-event-id: 4\r\n").await;
    assert_eq!(tail.message().await.0, 5);
    let mut tail = Tail::open(&host, "/v1/tail?lastEventId=4", "").await;
    assert_eq!(tail.message().await.0, 5);
    let mut tail = Tail::open(&host, "/v1/tail?from=4", "").await;
    assert_eq!(tail.message().await.0, 4);
}

#[tokio::test]
async fn a_tail_with_a_filter_shows_what_matches() {
    let host = Host::start().await;
    publish(&host, 1..=2_000).await;
    let mut tail = Tail::open(&host, "/v1/tail?type=even.*&from=1001", "").await;
    for n in 501..=1_000 {
        assert_eq!(tail.message().await.0, 2 * n);
    }
    publish(&host, 2_001..=2_002).await;
    assert_eq!(tail.message().await.0, 2_002);
}

#[tokio::test]
async fn an_idle_tail_shows_signs_of_life() {
    let host = Host::start_with(Server { heartbeat: Duration::from_millis(10), ..Server::default() }).await;
    let mut tail = Tail::open(&host, "/v1/tail", "").await;
    assert_eq!(tail.block().await, ":");
    assert_eq!(tail.block().await, ":");
}

#[tokio::test]
async fn bad_parameters_of_a_tail_are_refused() {
    let host = Host::start().await;
    let mut client = host.client().await;
    for (target, headers, code) in [
        ("/v1/tail?from=here", vec![], "invalid-parameter"),
        ("/v1/tail?limit=3", vec![], "invalid-parameter"),
        ("/v1/tail", vec![("last-event-id", "x")], "invalid-parameter"),
        ("/v1/tail", vec![("accept", "application/json")], "not-acceptable"),
    ] {
        let answer = client.request("GET", target, &headers, b"").await;
        assert_eq!(answer.json()["code"], code, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_nobody_reads_holds_up_nobody() {
    let host = Host::start().await;
    let mut slow = Tail::open(&host, "/v1/tail?from=start", "").await;
    let mut quick = Tail::open(&host, "/v1/tail?from=start", "").await;
    for round in 0..20 {
        publish(&host, round * 1_000 + 1..=(round + 1) * 1_000).await;
        for n in round * 1_000 + 1..=(round + 1) * 1_000 {
            assert_eq!(quick.message().await.0, n);
        }
    }
    for n in 1..=20_000 {
        assert_eq!(slow.message().await.0, n);
    }
}
