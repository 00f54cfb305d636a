//! The server over TLS: the same answers as without, and nothing for whoever does not shake hands as he should. Real
//! handshakes, with certificates of the test's own authorities.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use quipu_engine::NewKey;
use quipu_server::{Anybody, Server};
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::HandshakeKind;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::authority::{Authority, Caller};
use crate::host::{DEADLINE, Host, event, within};

type Stream = TlsStream<TcpStream>;

const HEAD: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A server over TLS, and a client that believes it.
async fn start(server: Server) -> (Host, Caller) {
    let authority = Authority::new();
    let tls = Some(authority.issue("localhost").tls(None));
    (Host::start_with(Server { tls, ..server }).await, authority.client(None))
}

#[tokio::test]
async fn requests_and_tails_are_answered_as_without_tls() {
    let (host, caller) = start(Server::default()).await;
    let mut client = caller.connect(host.address).await;
    for n in 1..=3 {
        assert_eq!(client.publish(&event(&n.to_string(), "t", "s")).await.json()["results"][0]["position"], n);
    }
    let mut tail = caller.connect(host.address).await;
    tail.write(b"GET /v1/tail?lastEventId=2 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(tail.head().await.0, 200);
    let mut said = String::new();
    client.publish(&event("4", "t", "s")).await;
    while !said.contains(r#""id":"4""#) {
        said.push_str(&String::from_utf8(tail.chunk().await.unwrap()).unwrap());
    }
    assert!(said.contains(r#""id":"3""#) && !said.contains(r#""id":"2""#), "{said}");
}

#[tokio::test]
async fn a_websocket_is_opened_over_tls() {
    let (host, caller) = start(Server::default()).await;
    let mut request = format!("wss://localhost:{}/v1/ws", host.address.port()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "cloudevents.json".parse().unwrap());
    let stream = caller.shake(host.address).await.unwrap();
    let (mut socket, _) = within(client_async(request, stream)).await.unwrap();
    within(socket.send(Message::text(event("1", "t", "s")))).await.unwrap();
    let answer = within(socket.next()).await.unwrap().unwrap().into_text().unwrap();
    assert!(answer.contains(r#""position":1"#), "{answer}");
}

#[tokio::test]
async fn a_client_that_is_still_sending_a_body_nobody_wants_sees_why_over_tls_too() {
    let (host, caller) = start(Server { body_bytes_max: 1 << 20, ..Server::default() }).await;
    let mut client = caller.connect(host.address).await;
    let body = vec![b' '; 32 << 20];
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    assert!(client.write(&[head.as_bytes(), &body].concat()).await, "it was cut off while it sent its body");
    let answer = client.answer("POST").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body-too-large")));
}

#[tokio::test]
async fn http_without_tls_is_told_to_come_with_it() {
    let (host, caller) = start(Server::default()).await;
    let mut client = host.client().await;
    client.write(HEAD).await;
    let answer = client.answer("GET").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("tls-required")));
    client.until_closed().await;
    let page = caller.connect(host.address).await.get(answer.json()["type"].as_str().unwrap()).await;
    assert!(page.text().contains("https://"), "{}", page.text());
}

#[tokio::test]
async fn of_the_protocols_that_a_client_offers_http_1_1_is_spoken() {
    let (host, caller) = start(Server::default()).await;
    let offering = |protocols: &[&str]| {
        let mut config = (*caller.0).clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Caller(Arc::new(config))
    };
    let stream = offering(&["h2", "http/1.1"]).shake(host.address).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let error = offering(&["h2"]).shake(host.address).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_is_cut_off_and_keeps_nobody_waiting() {
    let (host, caller) = start(Server::default()).await;
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x00\x00\x00\x00\x00\x00", b"\x16\xff\xff\xff\xff\xff"] {
        let mut client = host.client().await;
        client.write(bytes).await;
        client.until_closed().await;
    }
    assert_eq!(caller.connect(host.address).await.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_handshake_takes_no_longer_than_a_head_and_holds_nobody_up() {
    let header_timeout = Duration::from_secs(1);
    let (host, caller) = start(Server { header_timeout, idle_timeout: DEADLINE, ..Server::default() }).await;
    let mut slow = Vec::new();
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"].iter().cycle().take(60) {
        let mut client = host.client().await;
        client.write(bytes).await;
        slow.push(client);
    }
    let mut idle = caller.connect(host.address).await;
    assert_eq!(idle.get("/health/live").await.status, 200, "the others are still shaking hands");
    // The head behind a handshake has its own time.
    let mut headless = caller.connect(host.address).await;
    headless.write(&HEAD[..10]).await;
    slow.push(headless);
    for client in &mut slow {
        client.until_closed().await;
    }
    assert_eq!(idle.get("/health/live").await.status, 200, "it was idle for longer than a handshake may take");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so_over_tls_and_a_handshake_counts() {
    let (host, caller) = start(Server { connections_max: 1, ..Server::default() }).await;
    let silent = host.client().await;
    // It counts as soon as it was accepted.
    let answer = loop {
        let mut client = caller.connect(host.address).await;
        client.write(HEAD).await;
        let answer = client.answer("GET").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("too-many-connections")));
    drop(silent);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_handshakes() {
    let long = DEADLINE * 2;
    let (mut host, caller) = start(Server { header_timeout: long, drain_timeout: long, ..Server::default() }).await;
    let mut silent = host.client().await;
    silent.write(b"\x16\x03\x01").await;
    assert_eq!(caller.connect(host.address).await.get("/health/live").await.status, 200);
    host.begin_shutdown();
    host.stopped().await;
    silent.until_closed().await;
}

#[tokio::test]
async fn browsers_are_told_to_come_by_tls_alone_under_a_name_of_the_network() {
    let tls = Authority::new();
    let server = |with_tls: bool| Server {
        tls: with_tls.then(|| tls.issue("localhost").tls(None)),
        public_hosts: vec!["quipu.example".parse().unwrap()],
        ..Server::default()
    };
    let (secure, plain) = (Host::start_with(server(true)).await, Host::start_with(server(false)).await);
    let caller = tls.client(None);
    for (host, target, status, header) in [
        ("quipu.example", "/health/live", 200, "max-age=31536000"),
        ("quipu.example", "/nothing", 404, "max-age=31536000"),
        ("localhost", "/health/live", 200, ""),
    ] {
        let answer = caller.connect(secure.address).await.request("GET", target, &[("host", host)], b"").await;
        assert_eq!((answer.status, answer.header("strict-transport-security")), (status, header), "{host} {target}");
        let answer = plain.client().await.request("GET", target, &[("host", host)], b"").await;
        assert_eq!((answer.status, answer.header("strict-transport-security")), (status, ""), "{host} {target}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_or_with_a_certificate_that_has_ended_is_not_believed() {
    let authority = Authority::new();
    let (good, ended) = (authority.issue("localhost"), authority.issue_until("localhost", 2001));
    for (server, caller, word) in [
        (&good, Authority::named("another").client(None), "UnknownIssuer"),
        (&good, Authority::new().client(None), "BadSignature"),
        (&ended, authority.client(None), "expired"),
        (&authority.issue("other.example"), authority.client(None), "not valid for name"),
    ] {
        let host = Host::start_with(Server { tls: Some(server.tls(None)), ..Server::default() }).await;
        let error = caller.shake(host.address).await.unwrap_err();
        assert!(error.to_string().contains(word), "expected {word}: {error}");
    }
}

#[tokio::test]
async fn with_authorities_of_clients_nobody_else_gets_an_answer() {
    let (own, clients) = (Authority::new(), Authority::new());
    let tls = Some(own.issue("localhost").tls(Some(&clients)));
    let host = Host::start_with(Server { tls, ..Server::default() }).await;
    let machine = clients.issue("machine-7");
    for (certificate, word) in [
        (None, "CertificateRequired"),
        (Some(Authority::named("another").issue("machine-7")), "UnknownCA"),
        (Some(own.issue("machine-7")), "DecryptError"),
        (Some(clients.issue_until("machine-7", 2001)), "CertificateExpired"),
    ] {
        // In TLS 1.3 the client has finished before the server has looked at its certificate.
        let stream = own.client(certificate.as_ref()).shake(host.address).await.unwrap();
        let error = read_error(stream).await;
        assert!(error.contains(word), "expected {word}, found {error}");
    }
    let caller = own.client(Some(&machine));
    assert_eq!(caller.connect(host.address).await.get("/health/live").await.status, 200);
    // Without TLS there is no way around it.
    let mut plain = host.client().await;
    plain.write(HEAD).await;
    assert_eq!(plain.answer("GET").await.json()["code"], "tls-required");
}

/// Asks for something; what the client is told instead of an answer.
async fn read_error(mut stream: Stream) -> String {
    let _ = within(stream.write_all(HEAD)).await;
    let mut bytes = [0; 64];
    match within(stream.read(&mut bytes)).await {
        Err(error) if error.kind() == ErrorKind::InvalidData => error.to_string(),
        other => panic!("expected an alert, found {other:?}"),
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_on_every_connection() {
    let (own, clients) = (Authority::new(), Authority::new());
    let certificate = own.issue("localhost");
    for (authorities, kind) in [(None, HandshakeKind::Resumed), (Some(&clients), HandshakeKind::Full)] {
        let host = Host::start_with(Server { tls: Some(certificate.tls(authorities)), ..Server::default() }).await;
        let caller = own.client(Some(&clients.issue("machine-7")));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = caller.shake(host.address).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            // A ticket comes with the first answer.
            assert!(answers(&mut stream).await);
        }
        assert_eq!(kinds, [HandshakeKind::Full, kind]);
    }
}

/// Whether a request on this connection is answered, whatever was sent on it before.
async fn answers(stream: &mut Stream) -> bool {
    within(stream.write_all(HEAD)).await.unwrap();
    let mut said = String::new();
    while !said.ends_with(r#"{"status":"live"}"#) {
        let mut bytes = [0; 1024];
        let count = within(stream.read(&mut bytes)).await.unwrap();
        assert!(count > 0, "it ended after {said}");
        said.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    said.starts_with("HTTP/1.1 200 ")
}

#[tokio::test]
async fn a_key_that_is_bound_to_a_certificate_is_good_on_its_connections_only() {
    let (own, clients) = (Authority::new(), Authority::named("of clients"));
    let server = |tls| Server { tls: Some(tls), anybody: Anybody::None, ..Server::default() };
    let host = Host::start_with(server(own.issue("localhost").tls(Some(&clients)))).await;
    let (machine, other) = (clients.issue("machine-7"), clients.issue("machine-7"));
    let hash: [u8; 32] = digest(&SHA256, &machine.chain()[0]).as_ref().try_into().unwrap();
    let key = |certificate: Option<[u8; 32]>| {
        let grants = serde_json::from_str(r#"[{"permissions":["read"]}]"#).unwrap();
        let certificate = certificate.map(Into::into);
        let new = NewKey { name: "a test".into(), grants, user: None, certificate, life_ms: None };
        let (info, secret) = host.tenant.create_key(new).unwrap();
        format!("Bearer {}", *secret.token("test", &info.id))
    };
    let (bound, free) = (key(Some(hash)), key(None));
    for (shown, key, status) in
        [(&machine, &bound, 200), (&machine, &free, 200), (&other, &bound, 401), (&other, &free, 200)]
    {
        let mut client = own.client(Some(shown)).connect(host.address).await;
        for target in ["/v1/events", "/v1/access", "/v1/tail"] {
            client
                .write(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: {key}\r\n\r\n").as_bytes())
                .await;
            let (found, headers) = client.head().await;
            assert_eq!(found, status, "{target}");
            if target != "/v1/tail" || status != 200 {
                let body = client.body(&headers).await;
                let said = String::from_utf8(body).unwrap();
                assert_eq!(said.contains("bound to a certificate"), status == 401, "{target}: {said}");
            }
        }
    }
    // Over TLS that asks for no certificate, and where a header says that there was one.
    let plain = Host::start_over(Arc::clone(&host.engine), server(own.issue("localhost").tls(None))).await;
    let mut client = own.client(Some(&machine)).connect(plain.address).await;
    let named = [("authorization", bound.as_str()), ("x-ssl-client-fingerprint", &hex(&hash))];
    assert_eq!(client.request("GET", "/v1/events", &named, b"").await.status, 401);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn another_certificate_is_for_new_connections_and_a_broken_one_for_nobody() {
    let authority = Authority::new();
    let (first, second) = (authority.issue("localhost"), authority.issue("localhost"));
    let tls = first.tls(None);
    let host = Host::start_with(Server { tls: Some(tls.clone()), ..Server::default() }).await;
    let caller = authority.client(None);
    let mut open = caller.shake(host.address).await.unwrap();
    let shown = |stream: &Stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    assert_eq!(shown(&open), first.chain()[0]);
    tls.replace(second.identity(None)).unwrap();
    assert!(answers(&mut open).await, "an open connection goes on");
    let mut new = caller.shake(host.address).await.unwrap();
    assert_eq!(shown(&new), second.chain()[0]);
    let mut mixed = first.identity(None);
    mixed.key = second.key.as_bytes();
    tls.replace(mixed).unwrap_err();
    assert_eq!(shown(&caller.shake(host.address).await.unwrap()), second.chain()[0]);
    assert!(answers(&mut open).await && answers(&mut new).await);
    // From now on clients need a certificate; a session from before is none.
    let clients = Authority::new();
    tls.replace(second.identity(Some(&clients.pem()))).unwrap();
    let error = read_error(caller.shake(host.address).await.unwrap()).await;
    assert!(error.contains("CertificateRequired"), "{error}");
    let machine = authority.client(Some(&clients.issue("machine-7")));
    assert!(answers(&mut machine.shake(host.address).await.unwrap()).await);
}
