//! Tickets: how a page in a browser opens a stream, which cannot send a header.

use quipu_server::Server;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, http::HeaderValue};

use super::provider::{Provider, Signer};
use super::streams::{both_end, tail, watchful};
use super::{claims, plain, with};
use crate::access::{closed, code, everything, key, key_of, send};
use crate::host::{Host, event, within};
use crate::websocket::Socket;

async fn ticket(host: &Host, credential: &str) -> String {
    let answer = send(host, "POST", "/v1/access/ticket", Some(credential), None).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    let text = answer.json()["ticket"].as_str().unwrap().to_owned();
    assert!(text.starts_with("qt_") && text.len() == 67);
    text
}

/// Opens a WebSocket as a page does; the status if it is refused.
async fn socket(host: &Host, ticket: &str) -> Result<Socket, u16> {
    let mut request = format!("ws://{}/v1/ws?ticket={ticket}", host.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("cloudevents.json"));
    match within(connect_async(request)).await {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn status(host: &Host, target: &str) -> u16 {
    send(host, "GET", target, None, None).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_stream_with_what_its_caller_may_do() {
    let host = closed().await;
    let narrow = json!([{"permissions": ["read", "publish"], "pattern": {"type": [{"prefix": "order."}]}}]);
    let (all, key) = (key(&host, everything()), key(&host, narrow));
    for (id, kind) in [("1", "order.placed"), ("2", "user.created"), ("3", "order.paid")] {
        let event = event(id, kind, "s");
        let published =
            send(&host, "POST", "/v1/events", Some(&all), Some(("application/cloudevents+json", event.as_str())));
        assert_eq!(published.await.status, 200);
    }
    let first = ticket(&host, &key).await;
    let mut stream = tail(&host, &format!("/v1/tail?from=start&ticket={first}"), None).await;
    let mut seen = String::new();
    while !seen.contains("order.paid") {
        seen.push_str(std::str::from_utf8(&within(stream.chunk()).await.unwrap()).unwrap());
    }
    assert!(seen.contains("order.placed") && !seen.contains("user.created"), "{seen}");
    let mut socket_of = socket(&host, &ticket(&host, &key).await).await.ok().unwrap();
    socket_of.send(event("4", "user.created", "s")).await;
    assert_eq!(socket_of.receive().await["ack"]["error"]["code"], "forbidden");
    socket_of.send(event("5", "order.sent", "s")).await;
    assert_eq!(socket_of.receive().await["ack"]["position"], 4);
    // Used up.
    assert_eq!(status(&host, &format!("/v1/tail?ticket={first}")).await, 401);
    assert_eq!(socket(&host, &first).await.err(), Some(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_nothing_else_and_no_two_credentials_are_taken() {
    let host = closed().await;
    let key = key(&host, everything());
    let ticket = ticket(&host, &key).await;
    for target in ["/v1/events", "/v1/access", "/v1/keys", "/v1/stats", "/v1/subscriptions"] {
        assert_eq!(status(&host, &format!("{target}?ticket={ticket}")).await, 401, "{target}");
    }
    assert_eq!(send(&host, "POST", &format!("/v1/access/ticket?ticket={ticket}"), None, None).await.status, 401);
    assert_eq!(send(&host, "GET", "/v1/tail", Some(&ticket), None).await.status, 401);
    let both = send(&host, "GET", &format!("/v1/tail?ticket={ticket}"), Some(&key), None).await;
    assert_eq!((both.status, code(&both).as_str()), (401, "unauthenticated"));
    assert_eq!(status(&host, &format!("/v1/tail?ticket={ticket}&ticket={ticket}")).await, 401);
    // None of this has used it up, nor did it tell a text that is no ticket from one that is none any more.
    assert_eq!(status(&host, &format!("/v1/tail?ticket={ticket}")).await, 200);
    let used = send(&host, "GET", &format!("/v1/tail?ticket={ticket}"), None, None).await;
    let none = send(&host, "GET", "/v1/tail?ticket=hunter2", None, None).await;
    assert_eq!((used.status, used.text()), (401, none.text()));
    assert!(!used.text().contains(&ticket) && !none.text().contains("hunter2"));
    // What is wrong with a request does not repeat its ticket either.
    let wrong = format!("/v1/tail?from=nowhere&ticket={}", self::ticket(&host, &key).await);
    let wrong = send(&host, "GET", &wrong, None, None).await;
    assert!(wrong.status == 400 && !wrong.text().contains("qt_"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_for_a_minute_and_as_long_as_its_credential() {
    let host = closed().await;
    let first = key(&host, everything());
    let id = host.tenant.keys()[0].id.clone();
    let (late, early) = (ticket(&host, &first).await, ticket(&host, &first).await);
    host.advance(59_999);
    assert_eq!(status(&host, &format!("/v1/tail?ticket={early}")).await, 200);
    host.advance(1);
    assert_eq!(status(&host, &format!("/v1/tail?ticket={late}")).await, 401);
    let revoked = ticket(&host, &first).await;
    host.tenant.revoke_key(&id).unwrap();
    assert_eq!(status(&host, &format!("/v1/tail?ticket={revoked}")).await, 401);
    assert_eq!(socket(&host, &revoked).await.err(), Some(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_ticket_ends_with_the_credential_behind_it() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = watchful(&[plain(&provider)]).await;
    let key = key(&host, everything());
    let id = host.tenant.keys()[0].id.clone();
    let token = signer.token(&claims(&provider, &["read"]));
    let open = async |credential: &str| {
        let stream = tail(&host, &format!("/v1/tail?ticket={}", ticket(&host, credential).await), None).await;
        (stream, socket(&host, &ticket(&host, credential).await).await.ok().unwrap())
    };
    let (of_key, of_token) = (open(&key).await, open(&token).await);
    // The tickets end long before.
    host.advance(120_000);
    host.tenant.revoke_key(&id).unwrap();
    both_end(of_key.0, of_key.1).await;
    let (stream, mut socket) = of_token;
    socket.send(r#"{"subscribe":{}}"#).await;
    assert_eq!(socket.receive().await["subscribed"]["after"], 0);
    host.advance(210_000);
    both_end(stream, socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_one_tenant_sees_nothing_of_another() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = watchful(&[plain(&provider)]).await;
    let whole = key(&host, everything());
    let hidden = event("hidden", "a.b", "s");
    send(&host, "POST", "/v1/events", Some(&whole), Some(("application/cloudevents+json", &hidden))).await;
    let of_key = key_of(&host.engine.tenant("other").unwrap(), "other", everything(), None);
    let of_token = signer.token(&with(claims(&provider, &["read"]), json!({"tenant": "other"})));
    for credential in [&of_key, &of_token] {
        let mut socket = socket(&host, &ticket(&host, credential).await).await.ok().unwrap();
        socket.send(r#"{"subscribe":{"from":"start"}}"#).await;
        assert_eq!(socket.receive().await["subscribed"]["after"], 0);
        let mut stream =
            tail(&host, &format!("/v1/tail?from=start&ticket={}", ticket(&host, credential).await), None).await;
        for _ in 0..3 {
            let chunk = within(stream.chunk()).await.unwrap();
            assert_eq!(String::from_utf8(chunk).unwrap(), "id: 0\n\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_tickets_is_refused_and_leaves_room_for_others() {
    let host = closed().await;
    let (flooding, other) = (key(&host, everything()), key(&host, everything()));
    let mut client = host.client().await;
    let bearer = format!("Bearer {flooding}");
    let mut statuses = Vec::new();
    for _ in 0..501 {
        let headers = [("authorization", bearer.as_str())];
        statuses.push(client.request("POST", "/v1/access/ticket", &headers, b"").await);
    }
    let refused = statuses.pop().unwrap();
    assert!(statuses.iter().all(|answer| answer.status == 200));
    assert_eq!((refused.status, code(&refused).as_str()), (429, "too-many-tickets"));
    assert_eq!((refused.header("retry-after"), &refused.json()["limit"]), ("60", &json!(500)));
    ticket(&host, &other).await;
    host.advance(60_000);
    ticket(&host, &flooding).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_credential_is_needed_a_wrong_ticket_is_still_wrong() {
    let host = Host::start_with(Server::default()).await;
    let mut client = host.client().await;
    let given: Value = client.post("/v1/access/ticket", "application/json", "").await.json();
    let ticket = given["ticket"].as_str().unwrap();
    assert_eq!(given["expires"], "2026-01-31T09:31:00.000Z");
    assert_eq!(status(&host, &format!("/v1/tail?ticket={ticket}")).await, 200);
    assert_eq!(status(&host, &format!("/v1/tail?ticket={ticket}")).await, 401);
    assert_eq!(status(&host, "/v1/tail?ticket=").await, 401);
    // Nor does it let in whom a proxy has passed on.
    let given: Value = client.post("/v1/access/ticket", "application/json", "").await.json();
    let target = format!("/v1/tail?ticket={}", given["ticket"].as_str().unwrap());
    let passed_on = client.request("GET", &target, &[("x-forwarded-for", "10.0.0.7")], b"").await;
    assert_eq!((passed_on.status, code(&passed_on).as_str()), (401, "unauthenticated"));
}
