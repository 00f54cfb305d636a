//! Timers under faults: fixed seeds, some fresh ones, and a power cut at every call.

use std::time::{SystemTime, UNIX_EPOCH};

use quipu_testkit::{TimerSimulation, Voice};

/// Seeds that once found something. Append, with a word on what it was.
const FOUND: [u64; 2] = [
    // A delayed event that was sent again when it was due was refused, as another one with its id.
    98,
    // The clock was set back while nothing had been due for a while: what waited for so long waited until the time it was set for.
    182,
];

fn run(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        if let Err(failure) = TimerSimulation::run(seed, Voice::Quiet) {
            panic!("{failure}");
        }
    }
}

#[test]
fn fixed_seeds_of_timers_pass() {
    run((0..12).chain(FOUND));
}

#[test]
fn fresh_seeds_of_timers_pass() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = now.as_micros() as u64;
    run(first..first + 20);
}

#[test]
fn a_seed_decides_a_whole_run_of_timers() {
    for seed in 0..2 {
        assert_eq!(
            TimerSimulation::run(seed, Voice::Quiet).unwrap(),
            TimerSimulation::run(seed, Voice::Quiet).unwrap()
        );
    }
}

/// Each run goes on behind the cut until nothing waits, so that what was set before it and not cancelled has fired once.
#[test]
fn a_power_cut_at_any_call_loses_no_timer_and_lets_none_fire_twice() {
    let mut fired = 0;
    for call in 1.. {
        let report =
            TimerSimulation::run_and_cut(1, call).unwrap_or_else(|failure| panic!("cut at call {call}: {failure}"));
        fired += report.fired;
        if report.calls < call {
            assert!(call > 150, "the script has {call} calls");
            break;
        }
    }
    assert!(fired > 1_000, "{fired} fired in all runs");
}
