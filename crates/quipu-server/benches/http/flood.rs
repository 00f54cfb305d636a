//! A tenant that floods, and its neighbour, who publishes at a modest rate and measures how long each event takes from when it
//! was due.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::loopback::event::Template;
use crate::loopback::host::Host;
use crate::loopback::input::{Input, connect};
use crate::loopback::wire;

/// Events a second of the neighbour.
const RATE: u64 = 500;
/// Connections that the neighbour takes in turn, so that no event waits for the one before.
const NEIGHBOURS: u64 = 16;
/// Connections of the tenant that floods, each as fast as it can.
const FLOODING: usize = 64;
const STREAMS: u64 = 100_000;

/// Both tenants, and the number of the next event.
pub struct Flood {
    address: SocketAddr,
    neighbour: String,
    flooding: String,
    next: u64,
}

/// What became of the flood.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub taken: u64,
    pub refused: u64,
}

/// What the server has made.
fn made(address: SocketAddr, path: &str, more: &str, body: &str) -> Value {
    let mut input = Input::new(connect(address));
    let head = wire::head(address, path, "application/json", body.len(), more);
    input.stream.write_all(&[&head, body.as_bytes()].concat()).expect("written");
    loop {
        input.read();
        if let Some((body, _)) = wire::any_answer(input.rest()) {
            return serde_json::from_slice(body).expect("JSON");
        }
    }
}

/// Gives a tenant quotas.
pub fn limit(address: SocketAddr, tenant: &str, quotas: &str) {
    let head = wire::head(address, &format!("/v1/tenants/{tenant}/quotas"), "application/json", quotas.len(), "");
    let mut stream = connect(address);
    stream.write_all(b"PUT").expect("written");
    stream.write_all(&[&head[b"POST".len()..], quotas.as_bytes()].concat()).expect("written");
    Input::new(stream).skip_to(b"HTTP/1.1 200");
}

fn bearer(key: &Value) -> String {
    format!("authorization: Bearer {}\r\n", key.as_str().expect("the text of a key"))
}

impl Flood {
    pub fn new(host: &Host, events_per_second: Option<u64>) -> Self {
        let quota = events_per_second.map(|rate| format!("\"eventspersecond\":{rate}")).unwrap_or_default();
        let header = |name: &str, quotas: &str| {
            let tenant = format!("{{\"name\":\"{name}\",\"quotas\":{{{quotas}}}}}");
            let admin = bearer(&made(host.address, "/v1/tenants", "", &tenant)["key"]["key"]);
            let key = r#"{"name":"bench","grants":[{"permissions":["publish"]}]}"#;
            bearer(&made(host.address, "/v1/keys", &admin, key)["key"])
        };
        Self {
            address: host.address,
            neighbour: header("neighbour", ""),
            flooding: header("flooding", &quota),
            next: 1,
        }
    }

    /// Milliseconds that each of the neighbour's events took, and what became of the flood, if there was one.
    pub fn round(&mut self, time: Duration, is_flooded: bool) -> (Vec<f64>, Counts) {
        let (count, stop) = ((time.as_secs_f64() * RATE as f64) as u64, AtomicBool::new(false));
        let first = self.next;
        // Numbers of both: no event is a repeat.
        self.next += count + (1 << 28);
        thread::scope(|scope| {
            let flood = is_flooded.then(|| scope.spawn(|| self.flood(first + count, &stop)));
            let times = self.paced(first, count);
            stop.store(true, Ordering::Relaxed);
            let counts = flood.map(|flood| flood.join().expect("it ends")).unwrap_or_default();
            (times, counts)
        })
    }

    fn paced(&self, first: u64, count: u64) -> Vec<f64> {
        // A moment for all to connect, and for the flood to rise.
        let start = Instant::now() + Duration::from_millis(200);
        let due = |i: u64| start + Duration::from_nanos(i * 1_000_000_000 / RATE);
        let one = |turn: u64| {
            let template = Template::new(STREAMS);
            let head = wire::head(self.address, "/v1/events", wire::EVENT, template.bytes(), &self.neighbour);
            let (mut connection, mut request) = (Input::new(connect(self.address)), Vec::new());
            let mut times = Vec::new();
            for i in (turn..count).step_by(NEIGHBOURS as usize) {
                request.clear();
                request.extend_from_slice(&head);
                template.write(&mut request, first + i);
                thread::sleep(due(i).saturating_duration_since(Instant::now()));
                connection.stream.write_all(&request).expect("written");
                connection.answer(|body| assert!(body.starts_with(wire::RECORDED)));
                times.push(due(i).elapsed().as_secs_f64() * 1e3);
            }
            times
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..NEIGHBOURS).map(|turn| scope.spawn(move || one(turn))).collect();
            all.into_iter().flat_map(|one| one.join().expect("it ends")).collect()
        })
    }

    /// One event a request over each of many connections until it is stopped; all on this thread.
    fn flood(&self, first: u64, stop: &AtomicBool) -> Counts {
        let template = Template::new(STREAMS);
        let head = wire::head(self.address, "/v1/events", wire::EVENT, template.bytes(), &self.flooding);
        let next = std::cell::Cell::new(first);
        let client = async || {
            let (mut request, mut answer, mut counts) = (Vec::new(), Vec::new(), Counts::default());
            let mut connection = None;
            while !stop.load(Ordering::Relaxed) {
                let stream = match &mut connection {
                    Some(stream) => stream,
                    none => none.insert(tokio::net::TcpStream::connect(self.address).await.expect("connected")),
                };
                request.clear();
                request.extend_from_slice(&head);
                template.write(&mut request, next.replace(next.get() + 1));
                answer.clear();
                if stream.write_all(&request).await.is_err() {
                    connection = None;
                    continue;
                }
                while wire::any_answer(&answer).is_none() {
                    if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                        connection = None;
                        break;
                    }
                }
                counts.taken += u64::from(answer.starts_with(b"HTTP/1.1 200"));
                counts.refused += u64::from(answer.starts_with(b"HTTP/1.1 429"));
            }
            counts
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let all = runtime.block_on(futures_util::future::join_all((0..FLOODING).map(|_| client())));
        let sum = |of: fn(&Counts) -> u64| all.iter().map(of).sum();
        Counts { taken: sum(|counts| counts.taken), refused: sum(|counts| counts.refused) }
    }
}
