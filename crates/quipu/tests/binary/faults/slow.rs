//! Slow clients: some send a byte now and then, in the head of a request or in its body, and are cut off; some follow the
//! log and do not read, and are waited for at the cost of a few pages each, at most 4 MiB. Others are served meanwhile.

use std::io::{BufRead as _, ErrorKind};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ledger::Ledger;
use super::load::{Connection, End, Load};
use super::server::Serving;
use crate::process::{DEADLINE, User};

const SETTINGS: &[&str] = &["header_timeout_ms=1000", "body_idle_timeout_ms=1000"];
/// Slow writers of each kind.
const WRITERS: usize = 100;
/// Between two bytes of a slow writer: less than any pause that ends it.
const PAUSE: Duration = Duration::from_millis(100);

const READERS: usize = 24;
/// What readers do not read: more than what sockets hold (6 MiB at the receiver, 4 MiB at the sender on Linux).
const EVENTS: usize = 300;
const EVENT_BYTES: usize = 64 << 10;
/// Few at once, so that recording them leaves little in memory.
const BATCH: usize = 10;
const STREAM: &str = "large/1";
const SOURCE: &str = "/large";
/// Most memory for one of them, KiB. A page is 256 KiB: one is read, one is on its way, and the JSON is made of both,
/// which is 1 MiB; 1.3 MiB were measured. Memory of a process is not exact to the page, so three times that is allowed. What
/// sockets do not hold of the events, at least 8.75 MiB, is more than twice what is allowed: who kept all of it would be seen.
const READER_KIB_MAX: u64 = 4 << 10;

/// Sends a byte to each now and then until the server has cut all of them off. Their answers; nothing of those that were
/// closed without one.
fn trickle(mut connections: Vec<Connection>) -> Vec<Option<(u16, String)>> {
    let begun = Instant::now();
    let mut answers = Vec::new();
    for connection in &mut connections {
        connection.input.get_mut().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    }
    while !connections.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "{} were not cut off", connections.len());
        std::thread::sleep(PAUSE);
        connections.retain_mut(|connection| {
            let waits = matches!(connection.input.fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock);
            if waits && connection.send(b"x").is_ok() {
                return true;
            }
            connection.input.get_mut().set_read_timeout(Some(DEADLINE)).unwrap();
            answers.push(connection.answer().ok().map(|answer| answer.problem()));
            false
        });
    }
    answers
}

fn slow(address: &str, head: &str) -> Vec<Connection> {
    let begin = |_| {
        let mut connection = Connection::open(address).unwrap();
        connection.send(head.as_bytes()).unwrap();
        connection
    };
    (0..WRITERS).map(begin).collect()
}

#[test]
fn writers_that_send_a_byte_now_and_then_are_cut_off_while_others_write() {
    let user = User::new();
    let server = Serving::start(&user, SETTINGS);
    let address = server.address();
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let post = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n";
    let ends = load.run(&address, &mut ledger, |progress| {
        let mut answers = trickle(slow(&address, &format!("{post}content-length: 1000000\r\n\r\n")));
        assert!(answers.iter().all(|answer| *answer == Some((408, "request-timeout".to_owned()))), "{answers:?}");
        answers = trickle(slow(&address, &format!("{post}x-slow: ")));
        assert_eq!(answers, vec![None; WRITERS], "a head that does not come is no request");
        progress.wait_for(200);
    });
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    ledger.read(&address);
    assert_eq!(server.stop(), 0);
}

fn publish_large(connection: &mut Connection) {
    let data = "x".repeat(EVENT_BYTES);
    for first in (0..EVENTS).step_by(BATCH) {
        let event = |id: usize| {
            json!({
                "specversion": "1.0", "id": id.to_string(), "source": SOURCE, "type": "large", "subject": STREAM, "data": data,
            })
        };
        let events: Vec<Value> = (first..first + BATCH).map(event).collect();
        connection.post("/v1/append", &json!({"events": events})).unwrap().ok();
    }
}

/// Reads what a tail sends up to this position; all of it must come, in order.
fn catch_up(reader: &mut Connection, last: u64) {
    let mut expected = 1;
    for line in (&mut reader.input).lines() {
        let line = line.unwrap();
        let Some(position) = line.strip_prefix("id: ") else { continue };
        let position: u64 = position.parse().unwrap();
        if position == 0 {
            continue;
        }
        assert_eq!(position, expected);
        if position == last {
            return;
        }
        expected += 1;
    }
    panic!("expected {last} events, the tail ended before {expected}");
}

/// Reads a tail's head, and nothing behind it.
fn tail(address: &str) -> Connection {
    let mut reader = Connection::open(address).unwrap();
    let target = format!("/v1/tail?from=start&subject={}", STREAM.replace('/', "%2F"));
    reader.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(reader.head().unwrap().0, 200);
    reader
}

#[test]
fn readers_that_do_not_read_cost_a_few_pages_each_and_find_everything_when_they_do() {
    let user = User::new();
    let server = Serving::start(&user, &[]);
    let address = server.address();
    publish_large(&mut Connection::open(&address).unwrap());
    let (mut ledger, mut load) = (Ledger::beside(SOURCE), Load::default());
    let mut readers = Vec::new();
    let mut work = |more: usize, events: u64| {
        readers.extend((0..more).map(|_| tail(&address)));
        // Until all sockets are full.
        server.rests();
        let ends = load.run(&address, &mut ledger, |progress| progress.wait_for(events));
        assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
        server.resident_kib()
    };
    // What the server and its allocator keep of any work is there before: only what more readers cost is counted.
    let before = work(1, 1_000);
    let grown = work(READERS, 1_000).saturating_sub(before);
    println!("{READERS} readers more that do not read, {grown} KiB more in memory");
    assert!(grown < READER_KIB_MAX * READERS as u64, "{grown} KiB for {READERS} readers");
    for reader in &mut readers {
        catch_up(reader, EVENTS as u64);
    }
    ledger.read(&address);
    assert!(ledger.acknowledged() >= 2_000, "{} were acknowledged", ledger.acknowledged());
    assert_eq!(server.stop(), 0);
}
