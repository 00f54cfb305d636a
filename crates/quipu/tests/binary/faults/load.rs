//! The load: writers over raw HTTP, each with one request under way, whose events anybody can compute from their ids.
//! A request that stayed without an answer is repeated by the next run with the same ids.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ledger::{Ledger, Place};
use crate::process::DEADLINE;

const WRITERS: usize = 6;
/// Streams that the events of all writers go to, so that versions interleave.
const STREAMS: u64 = 20;

/// A request of a writer: its number, and what it sends. Everything else follows from these, so that the reader knows
/// the content of an event from its id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub writer: usize,
    pub number: u64,
}

impl Sent {
    /// Every second writer sends single events, the others batches, or appends of all or nothing.
    pub fn size(self) -> u64 {
        [1, 20, 1, 3][self.writer % 4]
    }

    pub fn is_append(self) -> bool {
        self.size() == 3
    }

    pub fn id(self, index: u64) -> String {
        format!("{}.{}.{index}", self.writer, self.number)
    }

    pub fn of_id(id: &str) -> (Self, u64) {
        let parts: Vec<u64> = id.split('.').map(|part| part.parse().unwrap()).collect();
        (Self { writer: parts[0] as usize, number: parts[1] }, parts[2])
    }

    pub fn event(self, index: u64) -> Value {
        let stream = (self.number * 7 + index + self.writer as u64) % STREAMS;
        let text = format!("{} {}", self.id(index), "x".repeat((self.number % 300) as usize));
        json!({
            "specversion": "1.0", "id": self.id(index), "source": format!("/writer/{}", self.writer),
            "type": "order.placed", "subject": format!("order/{stream}"), "data": {"text": text},
        })
    }

    /// The path, the media type and the body.
    pub fn request(self) -> (&'static str, &'static str, Value) {
        let events: Vec<Value> = (0..self.size()).map(|index| self.event(index)).collect();
        match self.size() {
            1 => ("/v1/events", "application/cloudevents+json", self.event(0)),
            _ if self.is_append() => ("/v1/append", "application/json", json!({"events": events})),
            _ => ("/v1/events", "application/cloudevents-batch+json", json!(events)),
        }
    }

    /// Where the answer says that the events are.
    pub fn places(self, answer: &Value) -> Vec<Place> {
        let results = if self.is_append() { &answer["events"] } else { &answer["results"] };
        let number = |result: &Value, name: &str| {
            result[name].as_u64().unwrap_or_else(|| panic!("expected an acknowledgement, found {answer}"))
        };
        let results = results.as_array().unwrap_or_else(|| panic!("expected an acknowledgement, found {answer}"));
        assert_eq!(results.len() as u64, self.size());
        let place = |r| Place { position: number(r, "position"), version: number(r, "streamversion") };
        results.iter().map(place).collect()
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status of a problem, and its code.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().expect("a problem").to_owned())
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// A connection that may break at any moment.
pub struct Connection {
    pub input: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: &str) -> Result<Self> {
        Self::patient(address, DEADLINE)
    }

    /// One that waits so long for an answer.
    fn patient(address: &str, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { input: BufReader::new(stream) })
    }

    /// An answer; an error if the server went away before it was whole.
    pub fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer> {
        let mut request = format!("{head}\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        self.send(&request)?;
        self.answer()
    }

    /// A request without a body.
    pub fn get(&mut self, target: &str) -> Result<Answer> {
        self.ask(&format!("GET {target} HTTP/1.1"), b"")
    }

    pub fn post(&mut self, target: &str, body: &Value) -> Result<Answer> {
        self.ask(&format!("POST {target} HTTP/1.1\r\ncontent-type: application/json"), body.to_string().as_bytes())
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.get_mut().write_all(bytes)
    }

    /// The status line and the length of what follows.
    pub fn head(&mut self) -> Result<(u16, usize)> {
        let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
        self.input.read_line(&mut status)?;
        loop {
            line.clear();
            if self.input.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| Error::other("no answer of HTTP"))?, length))
    }

    pub fn answer(&mut self) -> Result<Answer> {
        let (status, length) = self.head()?;
        let mut body = vec![0; length];
        self.input.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn publish(&mut self, sent: Sent) -> Result<Answer> {
        let (path, media_type, body) = sent.request();
        self.ask(&format!("POST {path} HTTP/1.1\r\ncontent-type: {media_type}"), body.to_string().as_bytes())
    }
}

/// Why a writer stopped.
#[derive(Debug)]
pub enum End {
    /// It was told to.
    Enough,
    /// Its connection broke, or no answer came in time.
    Gone,
    /// The server answered something else than an acknowledgement.
    Refused(Answer),
}

type Acknowledgement = (Sent, Vec<Place>);

/// Writers that go on with each run where they stopped in the one before.
pub struct Load {
    next: [u64; WRITERS],
    patience: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self { next: [0; WRITERS], patience: DEADLINE }
    }
}

impl Load {
    /// Whose writers wait so long for an answer from now on.
    pub fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Lets all writers write while something is done, and tells the ledger what was acknowledged; then they stop, if
    /// they did not for another reason. Says why each stopped.
    pub fn run(&mut self, address: &str, ledger: &mut Ledger, during: impl FnOnce(&mut Progress)) -> Vec<End> {
        let (acknowledge, acknowledged) = channel();
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let acknowledge = acknowledge.clone();
                    let writer = Writer { writer, address, patience: self.patience, acknowledge, enough: &enough };
                    let from = self.next[writer.writer];
                    scope.spawn(move || writer.write(from))
                })
                .collect();
            drop(acknowledge);
            let stop = Stop(&enough);
            let mut progress = Progress { acknowledged, ledger };
            during(&mut progress);
            drop(stop);
            progress.until_the_end();
            let ends = writers.into_iter().zip(&mut self.next).map(|(writer, next)| {
                let (number, end) = writer.join().unwrap();
                *next = number;
                end
            });
            ends.collect()
        })
    }
}

/// Tells the writers to stop, also if what is done meanwhile panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Writer<'a> {
    writer: usize,
    address: &'a str,
    patience: Duration,
    acknowledge: Sender<Acknowledgement>,
    enough: &'a AtomicBool,
}

impl Writer<'_> {
    /// Sends one request after the other; the number of the first without an acknowledgement, and why it is the last.
    fn write(self, from: u64) -> (u64, End) {
        let Ok(mut connection) = Connection::patient(self.address, self.patience) else { return (from, End::Gone) };
        for number in from.. {
            if self.enough.load(Ordering::Relaxed) {
                return (number, End::Enough);
            }
            let sent = Sent { writer: self.writer, number };
            match connection.publish(sent) {
                Err(_) => return (number, End::Gone),
                Ok(answer) if answer.status != 200 => return (number, End::Refused(answer)),
                // Nobody listens any more after a panic.
                Ok(answer) => drop(self.acknowledge.send((sent, sent.places(&answer.json())))),
            }
        }
        unreachable!("numbers have no end")
    }
}

/// What the writers achieve while something is done.
pub struct Progress<'a> {
    acknowledged: Receiver<Acknowledgement>,
    ledger: &'a mut Ledger,
}

impl Progress<'_> {
    /// Waits for so many more acknowledgements.
    pub fn wait_for(&mut self, count: u64) {
        for found in 0..count {
            let next = self.acknowledged.recv_timeout(DEADLINE);
            let (sent, places) = next.unwrap_or_else(|_| panic!("expected {count} acknowledgements, found {found}"));
            self.ledger.acknowledge(sent, places);
        }
    }

    /// Waits for another acknowledgement, but not for longer than this.
    pub fn wait_up_to(&mut self, time: Duration) {
        if let Ok((sent, places)) = self.acknowledged.recv_timeout(time) {
            self.ledger.acknowledge(sent, places);
        }
    }

    /// Takes the acknowledgements that are there; how many.
    pub fn catch_up(&mut self) -> usize {
        let there = self.acknowledged.try_iter();
        there.map(|(sent, places)| self.ledger.acknowledge(sent, places)).count()
    }

    /// What was acknowledged so far.
    pub fn ledger(&self) -> &Ledger {
        self.ledger
    }

    /// Waits until all writers have stopped. One that waits for an answer gives up after the deadline.
    pub fn until_the_end(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < 2 * DEADLINE {
            match self.acknowledged.recv_timeout(DEADLINE) {
                Ok((sent, places)) => self.ledger.acknowledge(sent, places),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        panic!("expected the writers to stop");
    }
}
