//! SIGKILL at random moments under load and while it opens, over and over on one folder.
//!
//! `QUIPU_KILL_ROUNDS=500 cargo test --release -p quipu --test binary kills -- --nocapture` runs 500 rounds instead of 6,
//! and prints what they were. A round takes a second in a debug build and adds some thousand events.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::load::{End, Load};
use super::server::Serving;
use super::{rounds, tell};
use crate::process::User;

/// Segments are sealed and indexed every few rounds, so that kills meet that too, and a long log opens fast.
const SETTINGS: &[&str] = &["segment_bytes=2097152"];

/// Moments to kill at. They need not be the same the next time; nothing here makes threads run alike twice.
struct Dice;

impl Dice {
    fn below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes) % end
    }
}

#[test]
fn what_was_acknowledged_outlives_kills_under_load() {
    let (rounds, begun) = (rounds("QUIPU_KILL_ROUNDS", 6), Instant::now());
    let user = User::new();
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let (mut opening_took, mut while_opening) = (Duration::ZERO, 0);
    for _ in 0..rounds {
        // In the middle of opening, which a kill must not harm either: up to the time that the last opening took.
        let server = Serving::start(&user, SETTINGS);
        server.opens();
        let moment = Duration::from_micros(Dice.below(1 + opening_took.as_micros() as u64));
        match server.lines.recv_timeout(moment) {
            Err(RecvTimeoutError::Disconnected) => panic!("it ended by itself while it opened"),
            // How long opening takes is not known before the first time.
            Err(RecvTimeoutError::Timeout) if !moment.is_zero() => while_opening += 1,
            _ => {}
        }
        drop(server);

        let server = Serving::start(&user, SETTINGS);
        server.opens();
        let opens = Instant::now();
        let address = server.address();
        opening_took = opens.elapsed();
        ledger.read(&address);
        let ends = load.run(&address, &mut ledger, |progress| {
            progress.wait_for(1 + Dice.below(600));
            progress.wait_up_to(Duration::from_micros(Dice.below(1_000)));
            drop(server);
        });
        assert!(!ends.iter().any(|end| matches!(end, End::Refused(_))), "{ends:?}");
    }
    let server = Serving::start(&user, SETTINGS);
    ledger.read_again(&server.address());
    drop(server);
    assert!(ledger.acknowledged() as u64 > rounds, "there was a load");
    assert!(while_opening > 0, "of {rounds} kills in the middle of opening all came behind it");
    user.run(&["store", "check", &user.path("data")]).ok();
    let (acknowledged, took) = (ledger.acknowledged(), begun.elapsed());
    let outcome = format!(
        "{rounds} kills under load and {while_opening} while it opened, {acknowledged} events acknowledged, none lost, {took:.0?}"
    );
    tell("kills", &outcome);
}
