//! Connections: many idle ones, more than allowed, and several requests on one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use quipu_server::Server;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::block_in_place;

use crate::client::Client;
use crate::host::{DEADLINE, Host, event, within};
use crate::origins::HANDSHAKE;
use crate::websocket::Socket;

const IDLE: usize = 10_000;
/// One in so many of them publishes at last.
const STEP: usize = 300;

/// Set in the process that holds the clients: many systems allow one process 20,000 files at most, which is less than
/// both ends need. To where the server is.
const SERVER: &str = "QUIPU_TEST_IDLE_SERVER";
const TEST: &str = "connections::ten_thousand_idle_connections_do_not_keep_others_from_being_served_and_are_served_too";
const OPEN: &str = "all connections are open";

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_do_not_keep_others_from_being_served_and_are_served_too() {
    allow_files(IDLE + 200);
    if let Ok(server) = std::env::var(SERVER) {
        return be_clients(server.parse().unwrap()).await;
    }
    // A connection that has not asked for anything yet is not idle but slow; a busy machine opens them slowly, too.
    let host = Host::start_with(Server { header_timeout: DEADLINE, ..Server::default() }).await;
    let mut clients = block_in_place(|| start_clients(host.address));
    let answer = host.client().await.publish(&event("other", "t", "s")).await;
    assert_eq!(answer.status, 200);
    block_in_place(|| {
        clients.stdin.take().unwrap().write_all(b"go on\n").unwrap();
        assert!(clients.wait().unwrap().success());
    });
    assert_eq!(host.tenant.position(), 1 + IDLE.div_ceil(STEP) as u64);
}

/// This test in a process of its own, when its connections are open.
fn start_clients(server: SocketAddr) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture"]).env(SERVER, server.to_string());
    let mut clients = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(clients.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with(&format!("{OPEN}\n")) {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the clients ended before their connections were open");
    }
    // What it says at its end must go somewhere.
    std::thread::spawn(move || lines.read_to_string(&mut line));
    clients
}

/// Opens the connections, and publishes on some when it is told to.
async fn be_clients(server: SocketAddr) {
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(Client::connect(server).await);
    }
    println!("{OPEN}");
    block_in_place(|| std::io::stdin().lines().next()).unwrap().unwrap();
    for (n, client) in idle.iter_mut().enumerate().step_by(STEP) {
        assert_eq!(client.publish(&event(&n.to_string(), "t", "s")).await.status, 200, "connection {n}");
    }
}

fn allow_files(count: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        allowed >= count as u64,
        "this test needs {count} open files, a process may have {allowed}: see ulimit -Hn"
    );
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so() {
    let host = Host::start_with(Server { connections_max: 2, ..Server::default() }).await;
    let mut first = host.client().await;
    let mut second = host.client().await;
    assert_eq!(first.get("/health/live").await.status, 200);
    assert_eq!(second.get("/health/live").await.status, 200);
    let answer = host.client().await.answer("GET").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("too-many-connections")));
    drop(first);
    // A place is free as soon as the server has seen the end of the first connection.
    loop {
        let mut client = host.client().await;
        client.write(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        if client.answer("GET").await.status == 200 {
            break;
        }
    }
}

#[tokio::test]
async fn one_address_does_not_get_all_connections() {
    let host = Host::start_with(Server { connections_max: 4, ..Server::default() }).await;
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let mut client = host.client().await;
        assert_eq!(client.get("/health/live").await.status, 200);
        greedy.push(client);
    }
    let refused = host.client().await.answer("GET").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("too-many-connections")));
    let mut other = Client::connect_from([127, 0, 0, 2].into(), host.address).await;
    assert_eq!(other.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn websockets_count_among_the_connections_of_their_address() {
    let host = Host::start_with(Server { connections_max: 8, ..Server::default() }).await;
    let mut open = Vec::new();
    // Of six that one address may have, one is for the handshake of the next.
    for _ in 0..5 {
        open.push(Socket::open(&host).await);
    }
    let sixth = host.client().await.request("GET", "/v1/ws", &HANDSHAKE, b"").await;
    assert_eq!((sixth.status, sixth.json()["code"].as_str()), (503, Some("too-many-connections")));
    let mut other = Client::connect_from([127, 0, 0, 2].into(), host.address).await;
    assert_eq!(other.get("/health/live").await.status, 200);
    drop(open);
}

#[tokio::test]
async fn requests_that_are_pipelined_are_answered_in_order() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let mut bytes = String::new();
    for n in 1..=20 {
        let body = event(&n.to_string(), "t", "s");
        let length = body.len();
        bytes.push_str(&format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    }
    client.write(bytes.as_bytes()).await;
    for n in 1..=20 {
        assert_eq!(client.answer("POST").await.json()["results"][0]["position"], n);
    }
}

#[tokio::test]
async fn the_openapi_document_is_served() {
    let host = Host::start().await;
    let document = host.client().await.get("/openapi.json").await.json();
    assert_eq!(document, quipu_api::openapi());
}

#[tokio::test]
async fn stats_count_what_is_there() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.publish(&event("1", "t", "s")).await;
    client.publish(&event("2", "t", "u")).await;
    let stats = client.get("/v1/stats").await.json();
    let numbers = ["events", "streams", "position", "segments"].map(|name| stats[name].as_u64().unwrap());
    assert_eq!(numbers, [2, 2, 2, 1]);
    assert_eq!(stats["newest"], "2026-01-31T09:30:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_events_of_many_connections_each_get_their_own_answer() {
    let host = Host::start().await;
    let mut clients = Vec::new();
    for c in 0..32 {
        let mut client = host.client().await;
        clients.push(tokio::spawn(async move {
            for n in 0..40 {
                // Every fourth repeats the one before, every fifth of these with another type.
                let (id, kind) = match n % 20 {
                    3 | 7 | 11 | 15 => (n - 1, "t"),
                    19 => (n - 1, "other"),
                    _ => (n, "t"),
                };
                let answer = client.publish(&event(&format!("{c}.{id}"), kind, &format!("s/{c}"))).await;
                let expected = if kind == "other" { 409 } else { 200 };
                assert_eq!(answer.status, expected, "{answer:?}");
                let result = &answer.json()["results"][0];
                if kind == "other" {
                    assert_eq!(answer.json()["code"], "id-conflict");
                    continue;
                }
                assert_eq!(result["status"], if id == n { "recorded" } else { "duplicate" });
                let found = client.get(&format!("/v1/positions/{}", result["position"])).await.json();
                assert_eq!(found["id"], format!("{c}.{id}"));
                assert_eq!(found["streamversion"], result["streamversion"]);
            }
        }));
    }
    for client in clients {
        within(client).await.unwrap();
    }
    assert_eq!(host.tenant.position(), 32 * 30);
}

#[tokio::test]
async fn a_client_that_is_still_sending_a_body_nobody_wants_sees_why() {
    let host = Host::start_with(Server { body_bytes_max: 1 << 20, ..Server::default() }).await;
    // More than what the sockets of both ends hold.
    let body = vec![b' '; 32 << 20];
    let json = ("content-type", "application/json");
    for (method, target, headers, status, code) in [
        ("POST", "/v1/events", &[json, ("origin", "https://evil.example")][..], 403, "foreign-origin"),
        ("POST", "/v1/nothing", &[json], 404, "route-not-found"),
        ("PUT", "/v1/events", &[json], 405, "method-not-allowed"),
        ("POST", "/v1/events", &[("content-type", "application/cloudevents+json")], 413, "body-too-large"),
        ("POST", "/v1/subscriptions", &[("content-type", "text/plain")], 415, "unsupported-media-type"),
        ("POST", "/v1/subscriptions/nobody/pause", &[json], 404, "subscription-not-found"),
    ] {
        let mut client = host.client().await;
        let length = body.len().to_string();
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers.iter().copied().chain([("content-length", length.as_str())]) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        client.write(format!("{head}\r\n").as_bytes()).await;
        assert!(client.write(&body).await, "{method} {target}: it was cut off while it sent its body");
        let answer = client.answer(method).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{method} {target}");
    }
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let head = "POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    assert!(client.write(head.as_bytes()).await);
    let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
    // `within` ends the test if this goes on.
    within(async { while client.write(&chunk).await {} }).await;
}
