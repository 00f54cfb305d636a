//! Clients that load the server. Where one connection is enough they block, on threads of their own; where there are
//! many, one thread serves them all.

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::loopback::event::Template;
use crate::loopback::input::{Input, connect, open_websocket};
use crate::loopback::paced::publish_paced;
use crate::loopback::wire;

const BATCH: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";
/// Streams that the events go to.
const STREAMS: u64 = 100_000;
/// In the acknowledgement over a WebSocket of an event that was recorded.
const ACKNOWLEDGED: &[u8] = b"\"status\":\"recorded\"";

/// Gives every event of a store a number of its own.
#[derive(Default)]
pub struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What a load did, every event acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub events: u64,
    pub time: Duration,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }
}

/// Where single events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Publish,
    Noop,
}

/// How events are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Sse,
    WebSocket,
}

/// One event a request over each of so many connections.
pub fn singles(address: SocketAddr, route: Route, connections: usize, time: Duration, numbers: &mut Numbers) -> Done {
    let template = Template::new(STREAMS);
    let path = if route == Route::Publish { "/v1/events" } else { "/noop" };
    let head = wire::head(address, path, wire::EVENT, template.bytes(), "");
    let write = |out: &mut Vec<u8>, numbers: &mut Numbers| {
        out.extend_from_slice(&head);
        template.write(out, numbers.next());
    };
    let check = |body: &[u8]| assert!(route == Route::Noop || body.starts_with(wire::RECORDED));
    exchange(address, connections, time, numbers, 1, &write, &check)
}

/// A batch of so many events a request over each of so many connections.
pub fn batches(address: SocketAddr, connections: usize, size: u64, time: Duration, numbers: &mut Numbers) -> Done {
    let template = Template::new(STREAMS);
    let length = 1 + size as usize * (template.bytes() + 1);
    let head = wire::head(address, "/v1/events", BATCH, length, "");
    let write = |out: &mut Vec<u8>, numbers: &mut Numbers| {
        out.extend_from_slice(&head);
        for i in 0..size {
            out.push(if i == 0 { b'[' } else { b',' });
            template.write(out, numbers.next());
        }
        out.push(b']');
    };
    let expected = format!("{{\"recorded\":{size},");
    let check = |body: &[u8]| assert!(body.starts_with(expected.as_bytes()));
    exchange(address, connections, time, numbers, size, &write, &check)
}

/// One request after the other on each connection until the time is over; all on this thread.
fn exchange(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    numbers: &mut Numbers,
    events: u64,
    write: &impl Fn(&mut Vec<u8>, &mut Numbers),
    check: &impl Fn(&[u8]),
) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let numbers = std::cell::RefCell::new(numbers);
    let client = async |start: Instant, mut stream: tokio::net::TcpStream| {
        let (mut request, mut answer) = (Vec::new(), Vec::with_capacity(64 << 10));
        let mut count = 0;
        while start.elapsed() < time {
            request.clear();
            write(&mut request, &mut numbers.borrow_mut());
            stream.write_all(&request).await.expect("written");
            answer.clear();
            let body = loop {
                assert!(stream.read_buf(&mut answer).await.expect("read") > 0, "the server has closed");
                if let Some((body, _)) = wire::answer(&answer) {
                    break body;
                }
            };
            check(body);
            count += events;
        }
        count
    };
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
            stream.set_nodelay(true).expect("set");
            streams.push(stream);
        }
        let start = Instant::now();
        let clients = streams.into_iter().map(|stream| client(start, stream));
        let counts = futures_util::future::join_all(clients).await;
        Done { events: counts.into_iter().sum(), time: start.elapsed() }
    })
}

/// One WebSocket that keeps so many events in flight: for each acknowledgement it sends the next event.
pub fn websocket(address: SocketAddr, in_flight: u64, time: Duration, numbers: &mut Numbers) -> Done {
    let template = Template::new(STREAMS);
    let mut input = open_websocket(address);
    let mut out = Vec::new();
    let start = Instant::now();
    let (mut due, mut sent, mut acknowledged) = (in_flight, 0, 0);
    loop {
        if due > 0 && start.elapsed() < time {
            out.clear();
            for _ in 0..due {
                wire::frame_head(&mut out, template.bytes());
                template.write(&mut out, numbers.next());
            }
            input.stream.write_all(&out).expect("written");
            sent += due;
        }
        due = 0;
        if sent == acknowledged {
            return Done { events: acknowledged, time: start.elapsed() };
        }
        input.read();
        while let Some((payload, length)) = wire::frame(input.rest()) {
            let is_recorded = payload.starts_with(b"{\"ack\"") && wire::find(payload, ACKNOWLEDGED).is_some();
            assert!(is_recorded, "{}", String::from_utf8_lossy(payload));
            input.used += length;
            due += 1;
        }
        acknowledged += due;
    }
}

/// One bulk load of so many lines over one connection.
pub fn lines(address: SocketAddr, count: u64, is_minimal: bool, numbers: &mut Numbers) -> Done {
    let template = Template::new(STREAMS);
    let more = if is_minimal { "prefer: return=minimal\r\n" } else { "" };
    let head = wire::head(address, "/v1/events", LINES, count as usize * (template.bytes() + 1), more);
    let mut stream = connect(address);
    let mut input = Input::new(stream.try_clone().expect("cloned"));
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            stream.write_all(&head).expect("written");
            let mut out = Vec::new();
            for i in 0..count {
                template.write(&mut out, numbers.next());
                out.push(b'\n');
                if out.len() > 256 << 10 || i + 1 == count {
                    stream.write_all(&out).expect("written");
                    out.clear();
                }
            }
        });
        // The sums are the last line of all results, and the first of a minimal answer.
        input.skip_to(format!("{{\"recorded\":{count},\"duplicates\":0,\"refused\":0").as_bytes());
        Done { events: count, time: start.elapsed() }
    })
}

/// Milliseconds from the time at which each of `count` events should have been sent, `rate` a second, to its delivery.
pub fn deliveries(address: SocketAddr, reader: Reader, rate: u64, count: u64, numbers: &mut Numbers) -> Vec<f64> {
    let first = numbers.next();
    (1..count).for_each(|_| _ = numbers.next());
    let mut input = match reader {
        Reader::Sse => {
            let mut stream = connect(address);
            let request = format!("GET /v1/tail HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("written");
            let mut input = Input::new(stream);
            input.skip_to(b"\r\n\r\n");
            input
        }
        Reader::WebSocket => {
            let mut input = open_websocket(address);
            let subscribe = br#"{"subscribe":{"from":"end"}}"#;
            let mut frame = Vec::new();
            wire::frame_head(&mut frame, subscribe.len());
            frame.extend_from_slice(subscribe);
            input.stream.write_all(&frame).expect("written");
            input.skip_to(b"}}");
            input
        }
    };
    // A moment for the publisher to connect.
    let start = Instant::now() + Duration::from_millis(50);
    let due = move |i: u64| start + Duration::from_nanos(i * 1_000_000_000 / rate);
    thread::scope(|scope| {
        let template = Template::new(STREAMS);
        scope.spawn(move || publish_paced(address, &template, first, count, due));
        let mut times = Vec::with_capacity(count as usize);
        while times.len() < count as usize {
            input.read();
            let now = Instant::now();
            while let Some(end) = wire::find(input.rest(), b"\"xxxx") {
                let number = Template::number_of(&input.rest()[..end]).expect("a delivered event has its number");
                times.push((now - due(number - first)).as_secs_f64() * 1e3);
                input.used += end + 5;
            }
        }
        times
    })
}
