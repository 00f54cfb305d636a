//! Consumers over HTTP and over a WebSocket: they acknowledge all that they get, in the order in which they got it, and
//! look at no more of a delivery than that takes.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::loopback::input::{Input, connect, open_websocket};
use crate::loopback::wire;

/// Deliveries that a pull asks for.
const BATCH: usize = 100;
/// How long a pull waits. Short, since the last ones find nothing.
const WAIT_MS: u64 = 20;
/// Of a delivery's event at least so many bytes follow its beginning; nothing is looked for in them.
const EVENT_BYTES_MIN: usize = 256;
const HANDLE: &[u8] = b"\"delivery\":{\"position\":";
const TOKEN: &[u8] = b",\"token\":\"0123456789abcdef\"";
const JSON: &str = "application/json";

/// How far the consumers of a run are, all together.
pub struct Progress {
    begun: Instant,
    acked: AtomicU64,
    until: u64,
    time: OnceLock<Duration>,
}

impl Progress {
    pub fn new(until: u64) -> Self {
        Self { begun: Instant::now(), acked: AtomicU64::new(0), until, time: OnceLock::new() }
    }

    /// So many more are acknowledged; whether that is all.
    fn add(&self, count: u64) -> bool {
        let acked = self.acked.fetch_add(count, Ordering::AcqRel) + count;
        assert!(acked <= self.until, "{acked} are acknowledged of {}", self.until);
        if acked == self.until {
            self.time.get_or_init(|| self.begun.elapsed());
        }
        acked == self.until
    }

    fn is_over(&self) -> bool {
        self.time.get().is_some()
    }

    /// Acknowledged a second, until the answer to the last acknowledgement was there.
    pub fn per_second(&self) -> f64 {
        self.until as f64 / self.time.get().expect("all are acknowledged").as_secs_f64()
    }
}

/// Appends the acknowledgements of these deliveries, with commas between them; how many there are.
fn acknowledge(deliveries: &[u8], out: &mut Vec<u8>) -> u64 {
    let (mut at, mut count) = (0, 0);
    while let Some(found) = deliveries.get(at..).and_then(|rest| wire::find(rest, HANDLE)) {
        let digits = at + found + HANDLE.len();
        let token = digits + deliveries[digits..].iter().take_while(|c| c.is_ascii_digit()).count();
        let end = token + TOKEN.len();
        assert!(deliveries[token..].starts_with(&TOKEN[..10]) && deliveries[end - 1] == b'"', "a token of 16 digits");
        out.extend_from_slice(if count == 0 { b"{\"position\":" } else { b",{\"position\":" });
        out.extend_from_slice(&deliveries[digits..end]);
        out.extend_from_slice(b",\"outcome\":\"ack\"}");
        (at, count) = (end + EVENT_BYTES_MIN, count + 1);
    }
    count
}

/// How results begin of which so many are done and none is refused.
fn all_done(count: u64) -> String {
    format!("\"done\":{count},\"refused\":0,")
}

/// Pulls and acknowledges over one connection until all is acknowledged.
pub fn pull(address: SocketAddr, subscription: &str, progress: &Progress) {
    let path = |word| format!("/v1/subscriptions/{subscription}/{word}");
    let body = format!("{{\"max\":{BATCH},\"waitms\":{WAIT_MS}}}");
    let ask = [&wire::head(address, &path("pull"), JSON, body.len(), "")[..], body.as_bytes()].concat();
    let mut input = Input::new(connect(address));
    let (mut answers, mut request) = (Vec::new(), Vec::new());
    while !progress.is_over() {
        input.stream.write_all(&ask).expect("written");
        answers.clear();
        answers.extend_from_slice(b"{\"answers\":[");
        let count = input.answer(|body| acknowledge(body, &mut answers));
        if count == 0 {
            continue;
        }
        answers.extend_from_slice(b"]}");
        request.clear();
        request.extend_from_slice(&wire::head(address, &path("answers"), JSON, answers.len(), ""));
        request.extend_from_slice(&answers);
        input.stream.write_all(&request).expect("written");
        input.answer(|body| {
            let is_done = body.starts_with(format!("{{{}", all_done(count)).as_bytes());
            assert!(is_done, "{}", String::from_utf8_lossy(body));
        });
        progress.add(count);
    }
}

/// A connection that consumes one subscription and gives back the credit of each delivery with its acknowledgement.
pub struct Socket<'a> {
    input: Input,
    subscription: &'a str,
    /// How many each frame of answers had whose results are not there yet.
    unanswered: VecDeque<u64>,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl<'a> Socket<'a> {
    pub fn open(address: SocketAddr, subscription: &'a str, credits: u32) -> Self {
        let mut input = open_websocket(address);
        let consume = format!("{{\"consume\":{{\"subscription\":\"{subscription}\",\"credits\":{credits}}}}}");
        let mut frame = Vec::new();
        wire::frame_head(&mut frame, consume.len());
        frame.extend_from_slice(consume.as_bytes());
        input.stream.write_all(&frame).expect("written");
        Self { input, subscription, unanswered: VecDeque::new(), out: Vec::new(), answer: Vec::new() }
    }

    /// The connection, for whoever ends it.
    pub fn stream(&self) -> TcpStream {
        self.input.stream.try_clone().expect("cloned")
    }

    /// Reads, shows each frame of deliveries and acknowledges it. How many acknowledgements were confirmed meanwhile;
    /// nothing at the end of the connection.
    pub fn turn(&mut self, mut look: impl FnMut(&[u8])) -> Option<u64> {
        if !self.input.is_read() {
            return None;
        }
        let mut confirmed = 0;
        self.out.clear();
        while let Some((payload, length)) = wire::frame(self.input.rest()) {
            if payload.starts_with(b"{\"deliveries\":") {
                look(payload);
                self.answer.clear();
                let begin = format!("{{\"answer\":{{\"subscription\":\"{}\",\"answers\":[", self.subscription);
                self.answer.extend_from_slice(begin.as_bytes());
                let count = acknowledge(payload, &mut self.answer);
                self.answer.extend_from_slice(format!("],\"credits\":{count}}}}}").as_bytes());
                wire::frame_head(&mut self.out, self.answer.len());
                self.out.extend_from_slice(&self.answer);
                self.unanswered.push_back(count);
            } else if payload.starts_with(b"{\"answered\":") {
                let count = self.unanswered.pop_front().expect("a frame is answered once");
                let is_done = wire::find(&payload[..payload.len().min(160)], all_done(count).as_bytes()).is_some();
                assert!(is_done, "{}", String::from_utf8_lossy(payload));
                confirmed += count;
            } else {
                // A ping has no payload.
                let is_expected = payload.is_empty() || payload.starts_with(b"{\"consuming\":");
                assert!(is_expected, "{}", String::from_utf8_lossy(payload));
            }
            self.input.used += length;
        }
        self.input.stream.write_all(&self.out).expect("written");
        Some(confirmed)
    }
}

/// Consumes over one WebSocket until all is acknowledged; the others, which may wait for more, are ended then.
pub fn consume(mut socket: Socket<'_>, progress: &Progress, all: &[TcpStream]) {
    while let Some(confirmed) = socket.turn(|_| ()) {
        if confirmed > 0 && progress.add(confirmed) {
            all.iter().for_each(|stream| _ = stream.shutdown(Shutdown::Read));
        }
    }
    assert!(progress.is_over(), "the server has closed");
}
