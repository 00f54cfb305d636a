//! What requests may take in memory, over all connections: large ones wait for each other and are refused when there is
//! no room, small ones go on.

use std::time::Duration;

use futures_util::SinkExt as _;
use quipu_server::Server;
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::host::{Host, event};
use crate::websocket::Socket;

/// Room for one large request, and a wait for it that is longer than one takes.
fn small() -> Server {
    let request_memory_wait = Duration::from_secs(1);
    Server { request_memory_bytes_max: 1 << 20, request_memory_wait, ..Server::default() }
}

fn large(id: &str, bytes: usize) -> String {
    let data = "x".repeat(bytes);
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"t","data":"{data}"}}"#)
}

/// A client that has sent all of a large body but the last byte, which the server then holds.
async fn hold(host: &Host, media_type: &str, body: &str) -> Client {
    let mut client = host.client().await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write(head.as_bytes()).await;
    client.write(&body.as_bytes()[..body.len() - 1]).await;
    client
}

/// Sends events until the server has no room for one. Each asks for its room at once, so it never holds some of it while
/// it waits for the rest.
async fn refused(host: &Host) -> crate::client::Answer {
    for n in 0..1_000 {
        let answer = host.client().await.publish(&large(&format!("probe {n}"), 60_000)).await;
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("there is always room");
}

#[tokio::test]
async fn a_body_without_room_is_refused_and_a_small_one_is_not() {
    let host = Host::start_with(small()).await;
    let first = large("1", 1_000_000);
    let mut holder = hold(&host, "application/cloudevents+json", &first).await;
    let answer = refused(&host).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("overloaded")));
    assert_eq!((answer.header("retry-after"), &answer.json()["limit"]), ("1", &(1 << 20).into()));
    assert_eq!(host.client().await.publish(&event("small", "t", "s")).await.status, 200);
    holder.write(b"}").await;
    assert_eq!(holder.answer("POST").await.status, 200, "what was under way is not thrown out");
    assert_eq!(host.client().await.publish(&large("2", 900_000)).await.status, 200, "the room was given back");
}

#[tokio::test]
async fn a_request_waits_for_room_that_is_given_back() {
    let host = Host::start_with(Server { request_memory_wait: crate::host::DEADLINE, ..small() }).await;
    let first = large("1", 1_000_000);
    let mut holder = hold(&host, "application/cloudevents+json", &first).await;
    let mut waiting = hold(&host, "application/cloudevents+json", &large("2", 60_000)).await;
    waiting.write(b"}").await;
    holder.write(b"}").await;
    assert_eq!(holder.answer("POST").await.status, 200);
    assert_eq!(waiting.answer("POST").await.status, 200);
}

#[tokio::test]
async fn a_line_of_a_bulk_load_without_room_ends_the_load() {
    let host = Host::start_with(small()).await;
    let _holder = hold(&host, "application/x-ndjson", &large("1", 1_000_000)).await;
    refused(&host).await;
    let lines = format!("{}\n{}\n", event("2", "t", "s"), large("3", 900_000));
    let answer = host.client().await.post("/v1/events", "application/x-ndjson", &lines).await;
    let lines: Vec<serde_json::Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["error"]["code"], "overloaded", "{lines:?}");
    let headers = [("content-type", "application/x-ndjson"), ("prefer", "return=minimal")];
    let answer = host.client().await.request("POST", "/v1/events", &headers, large("4", 900_000).as_bytes()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
}

#[tokio::test]
async fn a_line_that_is_longer_than_a_chunk_is_read() {
    let host = Host::start().await;
    let lines = format!("{}\n{}\n", large("1", 900_000), event("2", "t", "s"));
    let answer = host.client().await.post("/v1/events", "application/x-ndjson", &lines).await;
    let last: serde_json::Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["recorded"], 2);
}

#[tokio::test]
async fn bodies_that_were_announced_wait_for_each_other_and_not_each_with_a_part() {
    let host = Host::start_with(Server { request_memory_wait: crate::host::DEADLINE, ..small() }).await;
    let bodies = [large("1", 600_000), large("2", 600_000)];
    let mut clients = Vec::new();
    for body in &bodies {
        let mut client = host.client().await;
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write(head.as_bytes()).await;
        client.write(&body.as_bytes()[..300_000]).await;
        clients.push(client);
    }
    // Both are being read by now: this answer comes after what was sent before.
    assert_eq!(host.client().await.publish(&event("3", "t", "s")).await.status, 200);
    let mut clients = clients.into_iter().zip(&bodies).map(|(mut client, body)| async move {
        client.write(&body.as_bytes()[300_000..]).await;
        client.answer("POST").await.status
    });
    let (first, second) = (clients.next().unwrap(), clients.next().unwrap());
    assert_eq!(tokio::join!(first, second), (200, 200));
}

/// A frame that announces so many bytes, with a mask of zeros, and the first of them.
fn frame(first: u8, announced: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0xff];
    frame.extend_from_slice(&announced.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

const TEXT: u8 = 0x81;
const FIRST_FRAGMENT: u8 = 0x01;

#[tokio::test]
async fn a_frame_that_is_not_whole_counts_and_one_without_room_is_refused() {
    let host = Host::start_with(small()).await;
    let mut holder = Socket::open(&host).await;
    holder.write(&frame(TEXT, 1_000_000, &[b'x'; 999_999])).await;
    let answer = refused(&host).await;
    assert_eq!(answer.json()["code"], "overloaded");

    let mut other = Socket::open(&host).await;
    other.send(event("1", "t", "s")).await;
    assert_eq!(other.receive().await["ack"]["position"].as_u64(), Some(host.tenant.position()));
    // The server closes while this is being sent.
    let _ = other.0.send(Message::text(large("2", 900_000))).await;
    assert_eq!(other.receive().await["error"]["code"], "overloaded");
    assert!(matches!(other.message().await, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1013));
}

#[tokio::test]
async fn most_of_a_frame_counts_behind_one_that_is_whole() {
    let host = Host::start_with(small()).await;
    let mut holder = Socket::open(&host).await;
    let first = event("1", "t", "s");
    let mut bytes = frame(TEXT, first.len() as u64, first.as_bytes());
    bytes.extend(frame(TEXT, 1_000_000, &[b'x'; 999_999]));
    holder.write(&bytes).await;
    assert_eq!(holder.receive().await["ack"]["position"], 1);
    assert_eq!(refused(&host).await.json()["code"], "overloaded");
}

#[tokio::test]
async fn a_fragment_counts_until_its_message_is_whole_whatever_comes_between() {
    let host = Host::start_with(small()).await;
    let mut holder = Socket::open(&host).await;
    let text = large("1", 1_000_000);
    let (part, rest) = text.as_bytes().split_at(1_000_000);
    holder.write(&frame(FIRST_FRAGMENT, part.len() as u64, part)).await;
    holder.0.send(Message::Ping(bytes::Bytes::new())).await.unwrap();
    assert!(matches!(holder.message().await, Some(Message::Pong(_))));
    assert_eq!(refused(&host).await.json()["code"], "overloaded");
    holder.write(&frame(0x80, rest.len() as u64, rest)).await;
    assert_eq!(holder.receive().await["ack"]["status"], "recorded");
    assert_eq!(host.client().await.publish(&large("2", 900_000)).await.status, 200, "the room was given back");
}
