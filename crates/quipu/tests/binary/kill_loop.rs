//! The server is killed with SIGKILL at random moments under load and started again, over and over on one folder.
//! Clients record what was acknowledged: it must be there, with its position and content, and nothing must be there
//! that nobody sent, in part, twice or with a gap before it.
//!
//! `QUIPU_KILL_ROUNDS=500 cargo test -p quipu --test binary kills` runs 500 rounds instead of 15. (nextest would end
//! a test that takes so long.) A round takes a second in a debug build and adds some thousand events.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{DEADLINE, User, lines};

const ROUNDS: u64 = 15;
const WRITERS: usize = 6;
/// Streams that the events of all writers go to, so that versions interleave.
const STREAMS: u64 = 20;

/// A request of a writer: its number, and what it sends. Everything else follows from these, so that the reader knows
/// the content of an event from its id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sent {
    writer: usize,
    number: u64,
}

/// Where the server says an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: u64,
    version: u64,
}

impl Sent {
    /// Every second writer sends single events, the others batches, or appends of all or nothing.
    fn size(self) -> u64 {
        [1, 20, 1, 3][self.writer % 4]
    }

    fn is_append(self) -> bool {
        self.size() == 3
    }

    fn id(self, index: u64) -> String {
        format!("{}.{}.{index}", self.writer, self.number)
    }

    fn of_id(id: &str) -> (Self, u64) {
        let parts: Vec<u64> = id.split('.').map(|part| part.parse().unwrap()).collect();
        (Self { writer: parts[0] as usize, number: parts[1] }, parts[2])
    }

    fn event(self, index: u64) -> Value {
        let stream = (self.number * 7 + index + self.writer as u64) % STREAMS;
        let text = format!("{} {}", self.id(index), "x".repeat((self.number % 300) as usize));
        json!({
            "specversion": "1.0", "id": self.id(index), "source": format!("/writer/{}", self.writer),
            "type": "order.placed", "subject": format!("order/{stream}"), "data": {"text": text},
        })
    }

    fn request(self) -> (&'static str, &'static str, Value) {
        let events: Vec<Value> = (0..self.size()).map(|index| self.event(index)).collect();
        match self.size() {
            1 => ("/v1/events", "application/cloudevents+json", self.event(0)),
            _ if self.is_append() => ("/v1/append", "application/json", json!({"events": events})),
            _ => ("/v1/events", "application/cloudevents-batch+json", json!(events)),
        }
    }

    /// Where the answer says that the events are.
    fn places(self, answer: &Value) -> Vec<Place> {
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

/// A connection that may break at any moment.
struct Connection {
    input: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Self { input: BufReader::new(stream) })
    }

    /// The body of an answer with status 200; nothing if the server went away before it was whole.
    fn ask(&mut self, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut request = format!("{head}\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        self.input.get_mut().write_all(&request)?;
        let mut status = String::new();
        let (mut line, mut length) = (String::new(), 0);
        self.input.read_line(&mut status)?;
        loop {
            line.clear();
            if self.input.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        self.input.read_exact(&mut answer)?;
        assert!(status.starts_with("HTTP/1.1 200"), "{status}{}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    fn send(&mut self, sent: Sent) -> std::io::Result<Value> {
        let (path, media_type, body) = sent.request();
        let answer =
            self.ask(&format!("POST {path} HTTP/1.1\r\ncontent-type: {media_type}"), body.to_string().as_bytes())?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }
}

/// Sends one request after the other until the server goes away, beginning with the one that stayed without an answer
/// the last time. Returns the number of the one without an answer now.
fn write(address: &str, writer: usize, from: u64, acknowledged: &Sender<(Sent, Vec<Place>)>) -> u64 {
    let Ok(mut connection) = Connection::open(address) else { return from };
    for number in from.. {
        let sent = Sent { writer, number };
        let Ok(answer) = connection.send(sent) else { return number };
        acknowledged.send((sent, sent.places(&answer))).unwrap();
    }
    unreachable!("a writer has no end of its own")
}

/// What must be in the store, and what was found in it so far.
#[derive(Default)]
struct Ledger {
    acknowledged: HashMap<String, Place>,
    /// Those of the acknowledged that were not looked for yet.
    unseen: Vec<String>,
    found: HashMap<String, Place>,
    versions: HashMap<String, u64>,
    /// Everything up to here was read.
    position: u64,
}

impl Ledger {
    fn acknowledge(&mut self, sent: Sent, places: Vec<Place>) {
        for (index, place) in places.into_iter().enumerate() {
            let id = sent.id(index as u64);
            if let Some(found) = self.found.get(&id) {
                assert_eq!(*found, place, "{id} was found in one place and repeated into another");
            }
            let before = self.acknowledged.insert(id.clone(), place);
            assert!(before.is_none_or(|before| before == place), "{id} was acknowledged in two places");
            self.unseen.push(id);
        }
    }

    /// Reads what came since the last time.
    fn read(&mut self, address: &str) {
        let mut connection = Connection::open(address).unwrap();
        let mut appends: HashSet<Sent> = HashSet::new();
        loop {
            let from = self.position + 1;
            let head = format!("GET /v1/events?positionfrom={from}&limit=10000 HTTP/1.1");
            let page: Value = serde_json::from_slice(&connection.ask(&head, b"").unwrap()).unwrap();
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                break;
            }
            for event in events {
                let append = self.find(event);
                appends.extend(append);
            }
        }
        for append in appends {
            let first = self.found[&append.id(0)].position;
            for index in 0..append.size() {
                let found = self.found.get(&append.id(index)).map(|place| place.position);
                assert_eq!(found, Some(first + index), "{append:?} is there in part");
            }
        }
        for id in self.unseen.drain(..) {
            assert_eq!(self.found.get(&id), self.acknowledged.get(&id), "{id} was acknowledged and is not there");
        }
    }

    /// Checks an event that was read; the append that it is of, if it is of one.
    fn find(&mut self, event: &Value) -> Option<Sent> {
        let id = event["id"].as_str().unwrap().to_owned();
        let (sent, index) = Sent::of_id(&id);
        let (position, version) = (event["position"].as_u64().unwrap(), event["streamversion"].as_u64().unwrap());
        assert_eq!(position, self.position + 1, "a gap before {id}");
        self.position = position;
        let newest = self.versions.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(version, *newest + 1, "a gap in the stream of {id}");
        *newest = version;
        let mut content = event.clone();
        for added in ["position", "streamversion", "recordedtime"] {
            content.as_object_mut().unwrap().remove(added);
        }
        assert_eq!(content, sent.event(index));
        let before = self.found.insert(id.clone(), Place { position, version });
        assert_eq!(before, None, "{id} was recorded twice");
        sent.is_append().then_some(sent)
    }
}

/// Moments to kill at. They need not be the same the next time; nothing here makes threads run alike twice.
struct Dice;

impl Dice {
    fn below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes) % end
    }
}

/// A server process, killed when it is dropped, whatever it is at.
struct Killed {
    child: Child,
    lines: Receiver<String>,
}

impl Killed {
    fn start(user: &User) -> Self {
        let mut command = user.command(&["serve", "--data", &user.path("data"), "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        Self { child, lines }
    }

    fn address(&self) -> String {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("it does not start: {said:#?}"));
            if let Some((_, rest)) = line.split_once("listening on http://") {
                return rest.split(',').next().unwrap().to_owned();
            }
            said.push(line);
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL: the process gets no chance to do anything more.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn what_was_acknowledged_outlives_kills_under_load() {
    let rounds = std::env::var("QUIPU_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let user = User::new();
    let mut ledger = Ledger::default();
    let mut next = [0; WRITERS];
    for _ in 0..rounds {
        if Dice.below(4) == 0 {
            // In the middle of opening, which a kill must not harm either.
            let opening = Killed::start(&user);
            let _ = opening.lines.recv_timeout(Duration::from_micros(Dice.below(20_000)));
        }
        let server = Killed::start(&user);
        let address = server.address();
        ledger.read(&address);
        kill_under_load(server, &address, &mut next, &mut ledger);
    }
    // Once more from the beginning: nothing that was there is gone or has become another.
    let server = Killed::start(&user);
    let mut again = Ledger {
        unseen: ledger.acknowledged.keys().cloned().collect(),
        acknowledged: ledger.acknowledged,
        ..Ledger::default()
    };
    again.read(&server.address());
    drop(server);
    assert!(ledger.found.iter().all(|(id, place)| again.found.get(id) == Some(place)));
    assert!(again.acknowledged.len() as u64 > rounds, "there was a load");
    user.run(&["store", "check", &user.path("data")]).ok();
}

/// Kills the server a random time after a random number of acknowledgements.
fn kill_under_load(server: Killed, address: &str, next: &mut [u64; WRITERS], ledger: &mut Ledger) {
    let (acknowledge, acknowledged) = channel();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (from, acknowledge) = (next[writer], acknowledge.clone());
                scope.spawn(move || write(address, writer, from, &acknowledge))
            })
            .collect();
        drop(acknowledge);
        for _ in 0..=Dice.below(600) {
            let (sent, places) = acknowledged.recv_timeout(DEADLINE).expect("the server answers");
            ledger.acknowledge(sent, places);
        }
        if let Ok((sent, places)) = acknowledged.recv_timeout(Duration::from_micros(Dice.below(1_000))) {
            ledger.acknowledge(sent, places);
        }
        drop(server);
        for (sent, places) in acknowledged {
            ledger.acknowledge(sent, places);
        }
        for (next, writer) in next.iter_mut().zip(writers) {
            *next = writer.join().unwrap();
        }
    });
}
