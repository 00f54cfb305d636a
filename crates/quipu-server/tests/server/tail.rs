//! The tail as server-sent events.

use std::time::Duration;

use bytes::BytesMut;
use quipu_server::Server;
use serde_json::Value;

use crate::client::Client;
use crate::host::{Host, event};

/// Messages of a tail, read as an `EventSource` does.
pub struct Tail {
    client: Client,
    text: BytesMut,
    /// What it would send as `Last-Event-ID` if it connected again.
    last_id: String,
}

impl Tail {
    pub async fn open(host: &Host, target: &str, headers: &str) -> Self {
        let mut client = host.client().await;
        client
            .write(
                format!("GET {target} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{headers}\r\n")
                    .as_bytes(),
            )
            .await;
        let (status, headers) = client.head().await;
        assert_eq!((status, headers["content-type"].as_str()), (200, "text/event-stream"));
        let mut tail = Self { client, text: BytesMut::new(), last_id: String::new() };
        let first = tail.block().await;
        assert_eq!(tail.dispatched(&first), None, "where it begins comes first: {first}");
        tail
    }

    /// The block up to the next empty line.
    pub async fn block(&mut self) -> String {
        loop {
            if let Some(end) = self.text.windows(2).position(|window| window == b"\n\n") {
                let block = self.text.split_to(end + 2);
                return std::str::from_utf8(&block).unwrap().trim_end().to_owned();
            }
            let chunk = self.client.chunk().await.expect("the tail goes on");
            self.text.extend_from_slice(&chunk);
        }
    }

    /// The data that a block shows, if it shows any (WHATWG HTML, 9.2.6): its id counts in any case.
    fn dispatched(&mut self, block: &str) -> Option<String> {
        let mut data = String::new();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut self.last_id),
                "data" => data = data + value + "\n",
                "event" | "retry" | "" => {}
                other => panic!("a field that no EventSource knows: {other}"),
            }
        }
        (!data.is_empty()).then_some(data)
    }

    /// The next message: its id, and the id of its event.
    pub async fn message(&mut self) -> (u64, String) {
        let event = self.event().await;
        (self.last_id.parse().unwrap(), event["id"].as_str().unwrap().to_owned())
    }

    /// The event of the next message.
    pub async fn event(&mut self) -> Value {
        loop {
            let block = self.block().await;
            let Some(data) = self.dispatched(&block) else { continue };
            let event: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(event["position"].to_string(), self.last_id);
            return event;
        }
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
    publish(&host, 1..=900).await;
    let mut newest = 900;
    // How a client says what it has seen: as an `EventSource` does, as one that cannot set headers, by the next position.
    let ways: [fn(u64) -> (String, String); 3] = [
        |seen| ("/v1/tail?from=start".into(), format!("last-event-id: {seen}\r\n")),
        |seen| (format!("/v1/tail?lastEventId={seen}"), String::new()),
        |seen| (format!("/v1/tail?from={}", seen + 1), String::new()),
    ];
    for resume in ways {
        let mut seen = 4;
        // Cut off after the first message, in the middle of what was there, at its end, and among what comes.
        for cut in [5, 300, newest, newest + 50, newest + 200] {
            let (target, headers) = resume(seen);
            let mut tail = Tail::open(&host, &target, &headers).await;
            if cut > newest {
                publish(&host, newest + 1..=newest + 100).await;
                newest += 100;
            }
            for n in seen + 1..=cut {
                assert_eq!(tail.message().await, (n, n.to_string()), "{target} {headers}");
            }
            assert_eq!(tail.last_id, cut.to_string());
            seen = cut;
        }
    }
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
    for _ in 0..2 {
        let block = tail.block().await;
        assert_eq!(tail.dispatched(&block), None, "it is not shown");
    }
    publish(&host, 1..=1).await;
    assert_eq!(tail.message().await.0, 1);
}

#[tokio::test]
async fn a_client_that_saw_nothing_for_long_comes_back_behind_what_was_looked_at() {
    let host = Host::start_with(Server { heartbeat: Duration::from_millis(10), ..Server::default() }).await;
    publish(&host, 1..=3_000).await;
    let mut tail = Tail::open(&host, "/v1/tail?type=other&from=start", "").await;
    while tail.last_id != "3000" {
        let block = tail.block().await;
        assert_eq!(tail.dispatched(&block), None);
    }
    publish(&host, 3_001..=3_002).await;
    let again = format!("last-event-id: {}\r\n", tail.last_id);
    let mut tail = Tail::open(&host, "/v1/tail?type=odd.*&from=start", &again).await;
    assert_eq!(tail.message().await.0, 3_001);
}

#[tokio::test]
async fn a_tail_does_not_wait_beyond_the_end_of_the_log() {
    let host = Host::start().await;
    publish(&host, 1..=3).await;
    let mut client = host.client().await;
    for (target, headers) in [
        ("/v1/tail?from=5", vec![]),
        ("/v1/tail?lastEventId=4", vec![]),
        ("/v1/tail?from=start", vec![("last-event-id", "4")]),
    ] {
        let answer = client.request("GET", target, &headers, b"").await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"], &problem["newest"]),
            (404, &"position-not-found".into(), &3.into())
        );
    }
    let mut tail = Tail::open(&host, "/v1/tail?from=4", "").await;
    publish(&host, 4..=4).await;
    assert_eq!(tail.message().await.0, 4);
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
