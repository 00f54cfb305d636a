//! Fixed seeds, so that what passed once goes on passing, and some fresh ones, so that every run looks somewhere new.

use std::time::{SystemTime, UNIX_EPOCH};

use quipu_testkit::{Simulation, Voice};

/// Seeds that once found something. Append, with a word on what it was.
const FOUND: [u64; 2] = [
    // A new segment's header was not written again after its sync had failed.
    1_795_257_380_588_730,
    // Two damaged index runs, each met while the other was rebuilt, locked each other.
    920_080,
];

fn run(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        if let Err(failure) = Simulation::run(seed, Voice::Quiet) {
            panic!("{failure}");
        }
    }
}

#[test]
fn fixed_seeds_pass() {
    run((0..20).chain(FOUND));
}

#[test]
fn fresh_seeds_pass() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = now.as_micros() as u64;
    run(first..first + 30);
}

#[test]
fn a_seed_decides_the_whole_run() {
    for seed in 0..3 {
        assert_eq!(Simulation::run(seed, Voice::Quiet).unwrap(), Simulation::run(seed, Voice::Quiet).unwrap());
    }
}
