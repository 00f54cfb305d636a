//! Durable subscriptions over sockets: how many deliveries consumers fetch and acknowledge a second, and how long an
//! event takes from its publication to the confirmed acknowledgement. Server and consumers share this process and the
//! machine's cores. What the engine does without a server is measured by `cargo bench -p quipu --bench delivery`.
//!
//! `cargo bench -p quipu-server --bench delivery -- [NAME…] [--rounds N] [--events N]` prints a table to stderr and one
//! JSON object a line to stdout. A run in which not every event is acknowledged exactly once fails.

mod consumer;
#[path = "../loopback/mod.rs"]
mod loopback;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use quipu_domain::{StartAt, Subscription, parse_event_text};

use consumer::{Progress, Socket};
use loopback::arguments::{self, Part};
use loopback::event::Template;
use loopback::host::Host;
use loopback::paced::publish_paced;
use loopback::report::{quantile, report};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAME: &str = "bench";
const KEYS: u64 = 10_000;
/// So many deliveries are with consumers at once.
const IN_FLIGHT: u32 = 10_000;
/// What a WebSocket gets to begin with: some frames of 256, so that the next are written while these are answered.
const CREDITS: u32 = 1_024;
/// Events a second and seconds of the measurement of latency.
const RATE: u64 = 1_000;
const SECONDS: u64 = 5;

/// How much of everything.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    events: u64,
}

/// Lays events into the log, in process: how fast they get there is measured elsewhere.
fn fill(host: &Host, events: u64) {
    let template = Template::new(KEYS);
    let mut text = Vec::new();
    for first in (1..=events).step_by(1_000) {
        let prepared = (first..(first + 1_000).min(events + 1)).map(|n| {
            text.clear();
            template.write(&mut text, n);
            let json = std::str::from_utf8(&text).expect("JSON");
            let event = parse_event_text(json).expect("a valid event").event;
            host.tenant.prepare(&event, None).expect("a valid event")
        });
        host.tenant.publish_wait(prepared.collect()).expect("recorded");
    }
    assert_eq!(host.tenant.position(), events, "every event is in the store");
}

/// A subscription of its own to all events from there on, for a load that acknowledges them all.
fn subscribed(host: &Host, start: StartAt, events: u64, load: impl FnOnce()) {
    let definition = Subscription { start, max_in_flight: IN_FLIGHT, ..Subscription::default() };
    host.tenant.create_subscription(NAME, definition).expect("a valid definition");
    load();
    let counts = host.tenant.subscription(NAME).expect("it is there").counts;
    let found = (counts.acknowledged, counts.handed_out, counts.failed);
    assert_eq!(found, (events, events, 0), "each event is handed out and acknowledged once");
    host.tenant.delete_subscription(NAME).expect("deleted");
}

/// The median of some rounds over the same backlog.
fn backlog(name: &str, host: &Host, size: Size, load: impl Fn(&Progress)) {
    let round = |_| {
        let mut rate = 0.0;
        subscribed(host, StartAt::Beginning, size.events, || {
            let progress = Progress::new(size.events);
            load(&progress);
            rate = progress.per_second();
        });
        rate
    };
    let mut rates: Vec<f64> = (0..size.rounds).map(round).collect();
    report(name, &[("acked_s", quantile(&mut rates, 0.5)), ("best_round_acked_s", quantile(&mut rates, 1.0))]);
}

/// A backlog that is pulled 100 at a time, each batch acknowledged before the next is asked for.
fn pull(folder: &Path, size: Size) {
    let host = Host::start(&folder.join("pull"));
    fill(&host, size.events);
    for connections in [1, 4, 16] {
        backlog(&format!("pull_100_by_{connections}"), &host, size, |progress| {
            thread::scope(|scope| {
                for _ in 0..connections {
                    scope.spawn(|| consumer::pull(host.address, NAME, progress));
                }
            });
        });
    }
}

/// A backlog that is pushed over WebSockets, each frame of deliveries acknowledged by one frame.
fn websocket(folder: &Path, size: Size) {
    let host = Host::start(&folder.join("websocket"));
    fill(&host, size.events);
    for connections in [1, 4] {
        backlog(&format!("websocket_by_{connections}"), &host, size, |progress| {
            let sockets: Vec<_> = (0..connections).map(|_| Socket::open(host.address, NAME, CREDITS)).collect();
            let streams: Vec<TcpStream> = sockets.iter().map(Socket::stream).collect();
            thread::scope(|scope| {
                for socket in sockets {
                    scope.spawn(|| consumer::consume(socket, progress, &streams));
                }
            });
        });
    }
}

/// A thousand events a second, one at a time over HTTP, and one WebSocket that acknowledges each frame as it comes: from
/// the time at which an event should be sent to the confirmed acknowledgement.
fn latency(folder: &Path, size: Size) {
    let host = Host::start(&folder.join("latency"));
    let (mut p50, mut p99, mut max) = (Vec::new(), Vec::new(), Vec::new());
    let count = RATE * SECONDS;
    for round in 0..size.rounds as u64 {
        let mut times = Vec::new();
        subscribed(&host, StartAt::Now, count, || times = publish_to_ack(&host, 1 + round * count, count));
        p50.push(quantile(&mut times, 0.5));
        p99.push(quantile(&mut times, 0.99));
        max.push(quantile(&mut times, 1.0));
    }
    let (worst, max) = (quantile(&mut p99.clone(), 1.0), quantile(&mut max, 1.0));
    let (p50, p99) = (quantile(&mut p50, 0.5), quantile(&mut p99, 0.5));
    report("publish_to_ack", &[("p50_ms", p50), ("p99_ms", p99), ("p99_worst_round_ms", worst), ("max_ms", max)]);
}

/// Milliseconds, one an event.
fn publish_to_ack(host: &Host, first: u64, count: u64) -> Vec<f64> {
    let template = Template::new(KEYS);
    let mut socket = Socket::open(host.address, NAME, CREDITS);
    // A moment for the publisher to connect.
    let start = Instant::now() + Duration::from_millis(50);
    let due = |n: u64| start + Duration::from_nanos(n * 1_000_000_000 / RATE);
    let mut times = Vec::with_capacity(count as usize);
    thread::scope(|scope| {
        scope.spawn(|| publish_paced(host.address, &template, first, count, due));
        let mut unconfirmed = VecDeque::new();
        while times.len() < count as usize {
            let confirmed = socket.turn(|deliveries| numbers(deliveries, &mut unconfirmed));
            let now = Instant::now();
            for number in unconfirmed.drain(..confirmed.expect("the server goes on") as usize) {
                times.push((now - due(number - first)).as_secs_f64() * 1e3);
            }
        }
    });
    times
}

/// Notes the numbers of the events of a frame, in their order.
fn numbers(mut deliveries: &[u8], numbers: &mut VecDeque<u64>) {
    while let Some(at) = loopback::wire::find(deliveries, b"{\"event\":") {
        deliveries = &deliveries[at + 1..];
        numbers.push_back(Template::number_of(deliveries).expect("a delivered event has its number"));
    }
}

const PARTS: [Part<Size>; 3] = [("pull", pull), ("websocket", websocket), ("latency", latency)];

fn main() {
    arguments::run(&PARTS, Size { rounds: 3, events: 200_000 }, |size, flag, number| {
        match flag {
            "--rounds" => size.rounds = (number as usize).max(1),
            "--events" => size.events = (number as u64).max(1),
            _ => return false,
        }
        true
    });
}
