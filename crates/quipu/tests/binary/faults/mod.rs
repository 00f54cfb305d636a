//! Faults on the real binary: `quipu serve` runs on a real file system, as users run it, under load, and something
//! happens to it. One file a fault; what all of them share is the load, the ledger of what was acknowledged, and the
//! server process.
//!
//! A machine that cannot do what a fault needs (mount namespaces, open files) fails the test and says what is missing.
//! Faults that come at random moments are repeated: `QUIPU_KILL_ROUNDS=500` and `QUIPU_DRAIN_ROUNDS=500` do it more
//! often than the test command has time for. (nextest would end a test that takes so long; `cargo test` does not.) With
//! `QUIPU_RECORD=1` what they came to is written into `docs/proof.md`, if all that was run is committed.

mod backup;
mod drain;
mod full_disk;
mod kill;
mod ledger;
mod load;
mod many;
mod mounted;
mod read_only;
mod server;
mod slow;
mod stopped;

use std::path::Path;

use quipu_testkit::proof;

/// How often to do it: what the variable says, or what the test command has time for.
fn rounds(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |rounds| rounds.parse().unwrap())
}

/// Prints what rounds came to, and writes it into the section of this name if that was asked for.
fn tell(section: &str, outcome: &str) {
    println!("{outcome}");
    if std::env::var_os("QUIPU_RECORD").is_some() {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/proof.md"));
        let commit = proof::commit(file).unwrap();
        proof::record(file, section, &format!("{outcome}. Commit {commit}.")).unwrap();
    }
}
