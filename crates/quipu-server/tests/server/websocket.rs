//! The WebSocket: publishing with many events in flight, and deliveries.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::host::{Host, event, within};

pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn open(host: &Host) -> Self {
        Self::open_with(host, None).await
    }

    /// With a key.
    pub async fn open_with(host: &Host, key: Option<&str>) -> Self {
        let mut request = format!("ws://{}/v1/ws", host.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("cloudevents.json"));
        if let Some(key) = key {
            let bearer = HeaderValue::try_from(format!("Bearer {key}")).unwrap();
            request.headers_mut().insert("authorization", bearer);
        }
        let (socket, answer) = within(connect_async(request)).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "cloudevents.json");
        Self(socket)
    }

    pub async fn send(&mut self, text: impl Into<String>) {
        within(self.0.send(Message::text(text.into()))).await.unwrap();
    }

    /// Writes bytes below the WebSocket.
    pub async fn write(&mut self, bytes: &[u8]) {
        let MaybeTlsStream::Plain(stream) = self.0.get_mut() else { unreachable!("there is no TLS here") };
        within(stream.write_all(bytes)).await.unwrap();
    }

    pub async fn message(&mut self) -> Option<Message> {
        within(self.0.next()).await.map(|message| message.unwrap())
    }

    /// The next text frame; pings come whenever nothing else does.
    pub async fn receive(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_)) => {}
                other => panic!("expected a text frame, found {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_acknowledged_in_order() {
    let host = Host::start().await;
    let mut socket = Socket::open(&host).await;
    for n in 1..=2_000 {
        within(socket.0.feed(Message::text(event(&n.to_string(), "t", "s")))).await.unwrap();
    }
    within(socket.0.flush()).await.unwrap();
    for n in 1..=2_000 {
        let expected =
            json!({"ack":{"id":n.to_string(),"source":"/test","status":"recorded","position":n,"streamversion":n}});
        assert_eq!(socket.receive().await, expected);
    }
    assert_eq!(host.tenant.position(), 2_000);
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_and_the_connection_goes_on() {
    let host = Host::start().await;
    let mut socket = Socket::open(&host).await;
    socket.send("{").await;
    socket.send(r#"{"specversion":"1.0","id":"1"}"#).await;
    within(socket.0.send(Message::binary(b"x".to_vec()))).await.unwrap();
    socket.send(event("1", "t", "s")).await;
    socket.send(event("1", "t", "s")).await;
    socket.send(event("1", "other", "s")).await;
    socket.send(r#"{"subscribe":{"colour":"red"}}"#).await;
    let codes = [
        (&["error", "code"][..], "malformed-json"),
        (&["error", "code"], "invalid-event"),
        (&["error", "code"], "invalid-request"),
        (&["ack", "status"], "recorded"),
        (&["ack", "status"], "duplicate"),
        (&["ack", "error", "code"], "id-conflict"),
        (&["error", "code"], "invalid-parameter"),
    ];
    let mut found = Vec::new();
    for _ in codes {
        found.push(socket.receive().await);
    }
    for (path, expected) in codes {
        let pointer = format!("/{}", path.join("/"));
        assert!(found.iter().any(|frame| frame.pointer(&pointer) == Some(&expected.into())), "{expected}: {found:?}");
    }
}

#[tokio::test]
async fn a_subscription_delivers_what_matches_until_it_ends() {
    let host = Host::start().await;
    let mut publisher = Socket::open(&host).await;
    let mut reader = Socket::open(&host).await;
    publisher.send(event("1", "a.b", "s")).await;
    publisher.receive().await;
    reader.send(r#"{"subscribe":{"type":["a.*"],"from":"start"}}"#).await;
    assert_eq!(reader.receive().await, json!({"subscribed":{"after":0}}));
    let delivered = reader.receive().await;
    assert_eq!((&delivered["id"], &delivered["position"]), (&json!("1"), &json!(1)));
    publisher.send(event("2", "c.d", "s")).await;
    publisher.send(event("3", "a.c", "s")).await;
    assert_eq!(reader.receive().await["id"], "3");
    reader.send(r#"{"unsubscribe":true}"#).await;
    assert!(reader.receive().await.get("unsubscribed").is_some());
    reader.send(r#"{"subscribe":{"from":3}}"#).await;
    assert_eq!(reader.receive().await, json!({"subscribed":{"after":2}}));
    assert_eq!(reader.receive().await["position"], 3);
}

#[tokio::test]
async fn a_subscription_beyond_the_end_of_the_log_is_refused() {
    let host = Host::start().await;
    let mut socket = Socket::open(&host).await;
    socket.send(r#"{"subscribe":{"from":2}}"#).await;
    let refused = socket.receive().await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["newest"]), (&"position-not-found".into(), &0.into()));
    socket.send(r#"{"subscribe":{"from":1}}"#).await;
    assert_eq!(socket.receive().await, json!({"subscribed":{"after":0}}));
}

#[tokio::test]
async fn one_connection_publishes_and_reads() {
    let host = Host::start().await;
    let mut socket = Socket::open(&host).await;
    socket.send(r#"{"subscribe":{}}"#).await;
    assert_eq!(socket.receive().await, json!({"subscribed":{"after":0}}));
    socket.send(event("1", "t", "s")).await;
    let frames = [socket.receive().await, socket.receive().await];
    assert!(frames.iter().any(|frame| frame["ack"]["position"] == 1));
    assert!(frames.iter().any(|frame| frame["position"] == 1));
}

#[tokio::test]
async fn the_subprotocol_is_required() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let handshake = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = client.request("GET", "/v1/ws", &handshake, b"").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid-request")));
    let answer = client.get("/v1/ws").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid-request")));
}

#[tokio::test]
async fn a_frame_over_the_limit_is_answered_and_closed() {
    let server = quipu_server::Server { event_bytes_max: 1_000, ..quipu_server::Server::default() };
    let host = Host::start_with(server).await;
    let mut socket = Socket::open(&host).await;
    socket.send(event("1", "t", "s")).await;
    assert_eq!(socket.receive().await["ack"]["position"], 1);
    socket.send(event("2", "t", &"x".repeat(100_000))).await;
    assert_eq!(socket.receive().await["error"]["code"], "event-too-large");
    assert!(matches!(socket.message().await, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1009));
}

#[tokio::test]
async fn a_message_that_trickles_is_cut_off_and_a_connection_between_messages_is_not() {
    let body_timeout = std::time::Duration::from_millis(200);
    let host = Host::start_with(quipu_server::Server { body_timeout, ..quipu_server::Server::default() }).await;
    let mut idle = Socket::open(&host).await;
    idle.send(event("1", "t", "s")).await;
    idle.receive().await;
    let mut slow = Socket::open(&host).await;
    // A fragment, pings, and a frame of which a byte comes now and then.
    slow.write(&[0x01, 0x81, 0, 0, 0, 0, b'x']).await;
    slow.0.send(Message::Ping(bytes::Bytes::new())).await.unwrap();
    assert!(matches!(slow.message().await, Some(Message::Pong(_))));
    slow.write(&[0x80, 0xfe, 0xff, 0xff, 0, 0, 0, 0]).await;
    let pause = std::time::Duration::from_millis(20);
    let refused = within(async {
        loop {
            slow.write(b"x").await;
            if let Ok(message) = tokio::time::timeout(pause, slow.0.next()).await {
                return message.unwrap().unwrap();
            }
        }
    });
    let refused: Value = serde_json::from_str(refused.await.to_text().unwrap()).unwrap();
    assert_eq!(refused["error"]["code"], "request-timeout");
    assert!(matches!(slow.message().await, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1008));
    idle.send(event("2", "t", "s")).await;
    assert_eq!(idle.receive().await["ack"]["position"], 2);
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_read() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let text = event("1", "t", "s");
    let mut bytes =
        b"GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: other, cloudevents.json\r\n\r\n"
            .to_vec();
    bytes.extend([0x81, 0xfe]);
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    client.write(&bytes).await;
    let answer = client.answer("GET").await;
    // The key and its answer are those of RFC 6455, section 1.3.
    let expected = (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "cloudevents.json");
    assert_eq!(
        (answer.status, answer.header("sec-websocket-accept"), answer.header("sec-websocket-protocol")),
        expected
    );
    client.wait().await;
    assert_eq!(host.tenant.position(), 1);
}

#[tokio::test]
async fn a_shutdown_answers_what_is_in_flight_and_closes() {
    let mut host = Host::start().await;
    let mut socket = Socket::open(&host).await;
    socket.send(event("1", "t", "s")).await;
    assert_eq!(socket.receive().await["ack"]["position"], 1);
    host.begin_shutdown();
    assert!(matches!(socket.message().await, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1001));
    host.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_is_told_what_became_of_its_events_and_then_closed_to() {
    let host = Host::start().await;
    for round in 0..20 {
        let mut socket = Socket::open(&host).await;
        let ids = (0..50).map(|n| format!("{round}.{n}"));
        for id in ids.clone() {
            within(socket.0.feed(Message::text(event(&id, "t", "s")))).await.unwrap();
        }
        let bye = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        within(socket.0.close(Some(bye.clone()))).await.unwrap();
        for id in ids {
            let ack = socket.receive().await;
            assert_eq!((&ack["ack"]["id"], &ack["ack"]["status"]), (&id.into(), &"recorded".into()));
        }
        assert_eq!(socket.message().await, Some(Message::Close(Some(bye))));
        assert!(socket.message().await.is_none(), "the server ends the connection");
    }
}

#[tokio::test]
async fn a_client_that_closes_at_once_is_closed_to() {
    let host = Host::start().await;
    let mut socket = Socket::open(&host).await;
    within(socket.0.close(None)).await.unwrap();
    assert_eq!(socket.message().await, Some(Message::Close(None)));
    assert!(socket.message().await.is_none());
}
