//! Runs many seeds on all cores, and says how many and how fast. It stops at the first failure, with the seed.
//!
//! `simulate [--deliveries] [--seeds N] [--from N] [--seed N] [-v]`; with `--deliveries` subscriptions are simulated and
//! not appends.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quipu_testkit::{DeliverySimulation, Failure, Simulation, Voice};

struct Arguments {
    from: u64,
    seeds: u64,
    of_deliveries: bool,
    voice: Voice,
}

/// What all seeds did together.
#[derive(Default)]
struct Sums {
    events: AtomicU64,
    deliveries: AtomicU64,
    power_cuts: AtomicU64,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(arguments) => run(&arguments),
        Err(message) => {
            eprintln!("{message}\nusage: simulate [--deliveries] [--seeds N] [--from N] [--seed N] [-v]");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    // Fresh seeds unless asked otherwise: every run then looks somewhere new.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut arguments = Arguments { from: now * 1_000_000, seeds: 100, of_deliveries: false, voice: Voice::Quiet };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("expected a number after {word}"))?;
            text.parse().map_err(|_| format!("expected a number after {word}, found {text}"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => (arguments.from, arguments.seeds) = (number()?, 1),
            "--deliveries" => arguments.of_deliveries = true,
            "-v" => arguments.voice = Voice::Verbose,
            _ => return Err(format!("expected an option, found {word}")),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> ExitCode {
    let begin = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done, sums) = (AtomicU64::new(0), AtomicU64::new(0), Sums::default());
    let has_failed = AtomicBool::new(false);
    let work = || {
        while !has_failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= arguments.seeds {
                return;
            }
            match one(arguments.from + index, arguments, &sums) {
                Ok(()) => _ = done.fetch_add(1, Ordering::Relaxed),
                Err(failure) => {
                    has_failed.store(true, Ordering::Relaxed);
                    eprintln!("{failure}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let done = done.into_inner();
    println!(
        "{done} of {} seeds from {} passed in {seconds:.1} s ({:.1} a second): {} events, {} deliveries, {} power cuts",
        arguments.seeds,
        arguments.from,
        done as f64 / seconds,
        sums.events.into_inner(),
        sums.deliveries.into_inner(),
        sums.power_cuts.into_inner()
    );
    if has_failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn one(seed: u64, arguments: &Arguments, sums: &Sums) -> Result<(), Failure> {
    let (events, deliveries, power_cuts) = if arguments.of_deliveries {
        let report = DeliverySimulation::run(seed, arguments.voice)?;
        (report.events, report.deliveries, report.power_cuts)
    } else {
        let report = Simulation::run(seed, arguments.voice)?;
        (report.events, 0, report.power_cuts)
    };
    sums.events.fetch_add(events, Ordering::Relaxed);
    sums.deliveries.fetch_add(deliveries, Ordering::Relaxed);
    sums.power_cuts.fetch_add(power_cuts, Ordering::Relaxed);
    Ok(())
}
