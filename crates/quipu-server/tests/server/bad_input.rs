//! What no decent client sends: the answer is a clear problem, and nothing is half written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_engine::Options;
use quipu_server::Server;
use quipu_store::DiskStorage;

use crate::client::Client;
use crate::host::{DEADLINE, Host, event};
use crate::platform::Hands;

fn limits() -> Server {
    Server { body_bytes_max: 10_000, event_bytes_max: 2_000, ..Server::default() }
}

fn large(id: &str, bytes: usize) -> String {
    let data = "x".repeat(bytes);
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"t","data":"{data}"}}"#)
}

#[tokio::test]
async fn an_event_over_the_limit_is_refused_alone() {
    let host = Host::start_with(limits()).await;
    let mut client = host.client().await;
    let answer = client.publish(&large("1", 3_000)).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("event-too-large")));
    let batch = format!("[{},{}]", large("1", 3_000), event("2", "t", "s"));
    let answer = client.post("/v1/events", "application/cloudevents-batch+json", &batch).await.json();
    assert_eq!(answer["results"][0]["error"]["code"], "event-too-large");
    assert_eq!(answer["results"][1]["position"], 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whatever_it_announces() {
    let host = Host::start_with(limits()).await;
    let body = format!("[{}]", vec![event("1", "t", "s"); 1_000].join(","));
    let answer = host.client().await.post("/v1/events", "application/json", &body).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body-too-large")));
    assert_eq!(answer.json()["limit"], 10_000);

    let mut client = host.client().await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write(head.as_bytes()).await;
    for piece in body.as_bytes().chunks(5_000) {
        client.write(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        client.write(piece).await;
        client.write(b"\r\n").await;
    }
    client.write(b"0\r\n\r\n").await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body-too-large")));
    // The rest was read and thrown away, so the connection is as good as before.
    assert_eq!(client.get("/v1/events").await.json()["events"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_body_that_breaks_off_records_nothing() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let body = event("1", "t", "s");
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 1000\r\n\r\n";
    client.write(format!("{head}{body}").as_bytes()).await;
    drop(client);
    assert_eq!(host.client().await.get("/v1/events").await.json()["position"], 0);
}

#[tokio::test]
async fn a_body_that_pauses_is_answered_and_closed() {
    let host = Host::start_with(Server { body_timeout: Duration::from_millis(50), ..Server::default() }).await;
    let mut client = host.client().await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    client.write(head.as_bytes()).await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("request-timeout")));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_bulk_load_that_pauses_keeps_what_was_answered() {
    let host = Host::start_with(Server { body_timeout: Duration::from_millis(200), ..Server::default() }).await;
    let mut client = host.client().await;
    let line = event("1", "t", "s");
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: 1000\r\n\r\n";
    client.write(format!("{head}{line}\n").as_bytes()).await;
    let answer = client.answer("POST").await;
    let lines: Vec<serde_json::Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["status"], &lines[0]["position"]), (&"recorded".into(), &1.into()));
    assert_eq!(lines[1]["error"]["code"], "request-timeout");
}

#[tokio::test]
async fn a_line_over_the_limit_is_refused_and_the_next_is_not() {
    let host = Host::start_with(limits()).await;
    let body = format!("{}\n{}\n", large("1", 200_000), event("2", "t", "s"));
    let answer = host.client().await.post("/v1/events", "application/x-ndjson", &body).await;
    let lines: Vec<serde_json::Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["line"], &lines[0]["error"]["code"]), (&1.into(), &"event-too-large".into()));
    assert_eq!((&lines[1]["line"], &lines[1]["status"]), (&2.into(), &"recorded".into()));
    assert_eq!(
        lines[2].to_string(),
        r#"{"recorded":1,"duplicates":0,"scheduled":0,"refused":1}"#.parse::<serde_json::Value>().unwrap().to_string()
    );
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off() {
    let host = Host::start_with(Server { header_timeout: Duration::from_millis(50), ..Server::default() }).await;
    let mut client = host.client().await;
    client.write(b"GET /v1/events HTTP/1.1\r\nhost: te").await;
    // There may be an answer before the end; either way the connection does not stay.
    client.until_closed().await;
}

#[tokio::test]
async fn a_bulk_load_of_many_pieces_keeps_order_and_counts() {
    let host = Host::start().await;
    let mut body = String::new();
    for n in 1..=20_000 {
        body.push_str(&event(&n.to_string(), "t", &format!("s/{}", n % 7)));
        body.push('\n');
    }
    let answer = host.client().await.post("/v1/events", "application/x-ndjson", &body).await;
    let lines: Vec<serde_json::Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 20_001);
    for (index, line) in lines[..20_000].iter().enumerate() {
        assert_eq!((&line["line"], &line["position"]), (&(index + 1).into(), &(index + 1).into()));
    }
    assert_eq!(lines[20_000]["recorded"], 20_000);
    let answer = host
        .client()
        .await
        .request(
            "POST",
            "/v1/events",
            &[("content-type", "application/x-ndjson"), ("prefer", "return=minimal")],
            body.as_bytes(),
        )
        .await;
    assert_eq!(answer.json()["duplicates"], 20_000);
    assert_eq!(answer.header("preference-applied"), "return=minimal");
}

#[tokio::test]
async fn a_page_can_be_walked_by_cursor_in_both_directions() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let events: Vec<_> = (1..=25).map(|n| event(&n.to_string(), if n % 2 == 0 { "a.b" } else { "a.c" }, "s")).collect();
    client.post("/v1/events", "application/json", &format!("[{}]", events.join(","))).await;
    for (direction, expected) in [
        ("forward", (1..=12).map(|n| 2 * n).collect::<Vec<u64>>()),
        ("backward", (1..=12).rev().map(|n| 2 * n).collect()),
    ] {
        assert_eq!(
            walk(&mut client, &format!("/v1/events?type=a.b&limit=5&direction={direction}"), "position").await,
            expected
        );
    }
    let all: Vec<u64> = (1..=25).rev().collect();
    assert_eq!(walk(&mut client, "/v1/streams/s?limit=7&direction=backward", "streamversion").await, all);
}

async fn walk(client: &mut Client, target: &str, key: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{target}{cursor}")).await.json();
        found.extend(page["events"].as_array().unwrap().iter().map(|event| event[key].as_u64().unwrap()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_cursor_of_a_longer_log_is_refused() {
    let (long, short) = (Host::start().await, Host::start().await);
    let events = |count| (1..=count).map(|n: u32| event(&n.to_string(), "t", "s") + "\n").collect::<String>();
    long.client().await.post("/v1/events", "application/x-ndjson", &events(20)).await;
    short.client().await.post("/v1/events", "application/x-ndjson", &events(5)).await;
    for target in ["/v1/events?limit=10", "/v1/streams/s?limit=10"] {
        let page = long.client().await.get(target).await.json();
        let next = format!("{target}&cursor={}", page["cursor"].as_str().unwrap());
        assert_eq!(long.client().await.get(&next).await.status, 200);
        let refused = short.client().await.get(&next).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("invalid-cursor")), "{target}");
        assert_eq!(refused.json()["newest"], 5);
    }
}

#[tokio::test]
async fn an_array_of_too_many_elements_is_refused_as_a_whole() {
    let host = Host::start().await;
    let array = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    for (media_type, count) in [
        ("application/cloudevents-batch+json", 10_001),
        ("application/json", 10_001),
        ("application/cloudevents-batch+json", 3_000_000),
    ] {
        let answer = host.client().await.post("/v1/events", media_type, &array(count)).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"], &problem["limit"]),
            (413, &"body-too-large".into(), &10_000.into())
        );
    }
    let answer = host.client().await.post("/v1/events", "application/json", &array(10_000)).await;
    assert_eq!(answer.json()["results"].as_array().unwrap().len(), 10_000);
}

#[tokio::test]
async fn every_short_line_of_a_bulk_load_gets_its_answer() {
    let host = Host::start().await;
    let count = 20_000;
    let body = "x\n".repeat(count);
    let answer = host.client().await.post("/v1/events", "application/x-ndjson", &body).await;
    let lines: Vec<serde_json::Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[count - 1]["line"], &lines[count]["refused"]),
        (count + 1, &count.into(), &count.into())
    );
}

/// Sends this again and again, each time after a moment without an answer; gives the status of the answer.
async fn trickle(client: &mut Client, piece: &[u8]) -> u16 {
    let pause = Duration::from_millis(20);
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        client.write(piece).await;
        if tokio::time::timeout(pause, client.wait()).await.is_ok() {
            return client.answer("POST").await.status;
        }
    }
    panic!("there is no answer");
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off() {
    let host = Host::start_with(Server { body_timeout: Duration::from_millis(200), ..Server::default() }).await;
    let mut client = host.client().await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    client.write(head.as_bytes()).await;
    assert_eq!(trickle(&mut client, b" ").await, 408);
}

#[tokio::test]
async fn a_line_of_a_bulk_load_that_trickles_ends_it_and_lines_that_trickle_do_not() {
    let host = Host::start_with(Server { body_timeout: Duration::from_millis(200), ..Server::default() }).await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\nprefer: return=minimal\r\ncontent-length: 1000000\r\n\r\n";
    let mut client = host.client().await;
    client.write(head.as_bytes()).await;
    // Far longer than the longest pause.
    let pause = Duration::from_millis(20);
    for n in 0..40 {
        client.write(format!("{}\n", event(&n.to_string(), "t", "s")).as_bytes()).await;
        assert!(tokio::time::timeout(pause, client.wait()).await.is_err(), "there is an answer after {n} lines");
    }
    assert_eq!(trickle(&mut client, b"x").await, 408);
    assert_eq!(host.tenant.position(), 40);
}

#[tokio::test]
async fn one_subscription_too_many_is_refused_with_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let options = Options { subscriptions_max: 1, ..Options::default() };
    let host = Host::start_as(storage, Hands::new(), Server::default(), options).await;
    let mut client = host.client().await;
    for (name, status) in [("a", 201), ("b", 409), ("a", 200)] {
        let body = format!(r#"{{"name":"{name}"}}"#);
        let answer = client.post("/v1/subscriptions", "application/json", &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 409 {
            let problem = answer.json();
            assert_eq!((&problem["code"], &problem["limit"]), (&"too-many-subscriptions".into(), &1.into()));
        }
    }
}
