//! What was begun with a token ends when the token does, or the key that it was signed with.

use std::time::Duration;

use futures_util::StreamExt as _;
use quipu_server::{Anybody, Providers, Server};
use serde_json::{Value, json};

use super::provider::{Provider, Signer};
use super::{claims, plain, with};
use crate::access::{everything, key, send};
use crate::client::Client;
use crate::host::{Host, event, within};
use crate::websocket::Socket;

/// A server whose streams are looked after ten times a second.
pub async fn watchful(providers: &[Value]) -> Host {
    let providers = Providers::from_json(&json!(providers).to_string()).unwrap();
    let heartbeat = Duration::from_millis(100);
    Host::start_beside("other", Server { anybody: Anybody::None, providers, heartbeat, ..Server::default() }).await
}

/// Opens a tail and reads its head.
pub async fn tail(host: &Host, target: &str, token: Option<&str>) -> Client {
    let mut client = Client::connect(host.address).await;
    let bearer = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    client.write(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{bearer}\r\n").as_bytes()).await;
    assert_eq!(client.head().await.0, 200);
    client
}

/// Waits until a tail and a WebSocket have ended, and that the latter says why. Both are read meanwhile: a client that answers
/// no ping until all is over is cut off before it has read the reason.
pub async fn both_end(mut tail: Client, Socket(mut socket): Socket) {
    let ended = async { while tail.chunk().await.is_some() {} };
    let reason = async {
        let mut said = String::new();
        while let Some(Ok(message)) = socket.next().await {
            said.push_str(&message.to_string());
        }
        said
    };
    let ((), said) = within(async { tokio::join!(ended, reason) }).await;
    assert!(said.contains("unauthenticated"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_polls_end_with_their_token() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = watchful(&[plain(&provider)]).await;
    let token = signer.token(&claims(&provider, &["publish", "read", "consume"]));
    let tail = tail(&host, "/v1/tail", Some(&token)).await;
    let mut idle = Socket::open_with(&host, Some(&token)).await;
    idle.send(event("1", "a.b", "s")).await;
    assert_eq!(idle.receive().await["ack"]["position"], 1);
    let admin = key(&host, everything());
    let made = Some(("application/json", r#"{"name":"billing"}"#));
    assert_eq!(send(&host, "POST", "/v1/subscriptions", Some(&admin), made).await.status, 201);
    // That is read once the events come, long after the token was shown.
    let mut loader = Client::connect(host.address).await;
    let line = event("2", "a.b", "s") + "\n";
    let head = format!("content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n", line.len() + 1);
    let head = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{head}\n");
    loader.write(head.as_bytes()).await;
    let ending = tokio::spawn(both_end(tail, idle));
    let poll = async {
        let body = Some(("application/json", r#"{"waitms":1500}"#));
        send(&host, "POST", "/v1/subscriptions/billing/pull", Some(&token), body).await
    };
    let end = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // The exp of the token and the half minute beyond.
        host.advance(330_000);
    };
    let (polled, ()) = tokio::join!(poll, end);
    assert_eq!(polled.status, 401, "{polled:?}");
    loader.write(line.as_bytes()).await;
    let loaded = loader.answer("POST").await;
    assert!(loaded.text().contains(r#""code":"unauthenticated""#), "{loaded:?}");
    ending.await.unwrap();
    assert_eq!(host.tenant.position(), 1);
    assert_eq!(send(&host, "GET", "/v1/access", Some(&token), None).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_provider_takes_the_key_back() {
    let (signer, next) = (Signer::new("one", "ES256"), Signer::new("two", "ES256"));
    let provider = Provider::start(&[&signer]).await;
    let host = watchful(&[plain(&provider)]).await;
    let long = json!({"exp": super::NOW + 1_000_000});
    let token = signer.token(&with(claims(&provider, &["publish", "read"]), long));
    let tail = tail(&host, "/v1/tail", Some(&token)).await;
    let socket = Socket::open_with(&host, Some(&token)).await;
    provider.publish(vec![next.jwk()]);
    host.advance(600_000);
    both_end(tail, socket).await;
    assert_eq!(provider.asked(), 2);
}
