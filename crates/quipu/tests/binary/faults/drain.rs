//! SIGTERM under load: what the server has taken in is answered before it ends, and nothing is recorded that nobody is
//! told about.
//!
//! `QUIPU_DRAIN_ROUNDS=500 cargo test --release -p quipu --test binary drains -- --nocapture` runs more rounds.

use std::time::Instant;

use rustix::process::Signal;

use super::ledger::Ledger;
use super::load::{Connection, End, Load, Sent};
use super::server::Serving;
use super::{rounds, tell};
use crate::process::User;

/// Requests that have begun when the signal comes, and end after it.
const BEGUN: usize = 20;
/// The first of the writers of these, beyond those of the load; each sends one event.
const WRITER: usize = 100;

/// A request whose head the server has read, and which waits for its body: the server says so.
fn begin(address: &str, sent: Sent) -> Connection {
    let mut connection = Connection::open(address).unwrap();
    let (path, media_type, body) = sent.request();
    let length = body.to_string().len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\ncontent-length: {length}");
    connection.send(format!("{head}\r\nexpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(connection.head().unwrap().0, 100);
    connection
}

#[test]
fn a_server_that_drains_answers_what_it_has_taken_in_and_records_nothing_else() {
    let (rounds, began) = (rounds("QUIPU_DRAIN_ROUNDS", 5), Instant::now());
    let user = User::new();
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    for round in 0..rounds {
        let server = Serving::start(&user, &[]);
        let address = server.address();
        ledger.read(&address);
        let unanswered = ledger.unanswered();
        assert!(unanswered.is_empty(), "recorded before the end and not answered: {unanswered:?}");
        let begun = (0..BEGUN).map(|index| Sent { writer: WRITER + 4 * index, number: round });
        let begun: Vec<(Sent, Connection)> = begun.map(|sent| (sent, begin(&address, sent))).collect();
        let ends = load.run(&address, &mut ledger, |progress| {
            progress.wait_for(200);
            server.signal(Signal::TERM);
            server.waits_for("stopping");
            progress.until_the_end();
        });
        assert!(ends.iter().all(|end| matches!(end, End::Gone)), "writers are let go, not refused: {ends:?}");
        for (sent, mut connection) in begun {
            connection.send(sent.request().2.to_string().as_bytes()).unwrap();
            let answer = connection.answer().expect("what has begun is answered").ok();
            ledger.acknowledge(sent, sent.places(&answer));
        }
        assert_eq!(server.ends(), 0);
        assert!(Connection::open(&address).is_err(), "nobody listens any more");
        assert!(user.files_in("data/tenants/default/log", "torn").is_empty(), "a clean stop leaves no torn tail");
    }
    let server = Serving::start(&user, &[]);
    ledger.read_again(&server.address());
    assert_eq!(server.stop(), 0);
    assert!(ledger.unanswered().is_empty());
    user.run(&["store", "check", &user.path("data")]).ok();
    let outcome =
        format!("{rounds} drains, {} events acknowledged, none lost, {:.0?}", ledger.acknowledged(), began.elapsed());
    tell("drains", &outcome);
}
