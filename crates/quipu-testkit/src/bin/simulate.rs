//! Runs many seeds on all cores, and says how many and how fast. It stops at the first failure, with the seed.
//!
//! `simulate [--deliveries] [--seeds N] [--from N] [--seed N] [--record FILE] [-v]`; with `--deliveries` subscriptions are
//! simulated and not appends. `--record` writes what a run came to into that file's section `simulation`, or `deliveries`.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quipu_testkit::{DeliverySimulation, Failure, Simulation, Voice, proof};

/// A seed makes and drops what it knows thousands of times: a third of its time, with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

struct Arguments {
    from: u64,
    seeds: u64,
    of_deliveries: bool,
    record: Option<PathBuf>,
    voice: Voice,
}

/// What all seeds did together.
#[derive(Default)]
struct Sums {
    events: AtomicU64,
    operations: AtomicU64,
    deliveries: AtomicU64,
    opens: AtomicU64,
    power_cuts: AtomicU64,
    faults: AtomicU64,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(arguments) => run(&arguments),
        Err(message) => {
            eprintln!(
                "{message}\nusage: simulate [--deliveries] [--seeds N] [--from N] [--seed N] [--record FILE] [-v]"
            );
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    // Fresh seeds unless asked otherwise: every run then looks somewhere new.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let from = now * 1_000_000;
    let mut arguments = Arguments { from, seeds: 100, of_deliveries: false, record: None, voice: Voice::Quiet };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("expected a value after {word}"));
        let mut number = || {
            let text = value()?;
            text.parse().map_err(|_| format!("expected a number after {word}, found {text}"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => (arguments.from, arguments.seeds) = (number()?, 1),
            "--record" => arguments.record = Some(value()?.into()),
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
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut told = begin;
        while !workers.iter().all(ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(20));
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                let (done, seconds) = (done.load(Ordering::Relaxed), begin.elapsed().as_secs());
                eprintln!("{done} of {} seeds in {seconds} s", arguments.seeds);
            }
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let done = done.into_inner();
    let summary = format!(
        "{done} of {} seeds from {} passed in {seconds:.1} s ({:.1} a second): {sums}",
        arguments.seeds,
        arguments.from,
        done as f64 / seconds
    );
    println!("{summary}");
    if has_failed.into_inner() {
        return ExitCode::FAILURE;
    }
    if let Some(file) = &arguments.record {
        let section = if arguments.of_deliveries { "deliveries" } else { "simulation" };
        if let Err(error) = proof::record(file, section, &format!("{summary}. Commit {}.", commit())) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What was run, as far as git knows it.
fn commit() -> String {
    let said = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    said.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [events, operations, deliveries, opens, power_cuts, faults] =
            [&self.events, &self.operations, &self.deliveries, &self.opens, &self.power_cuts, &self.faults]
                .map(|sum| sum.load(Ordering::Relaxed));
        write!(
            f,
            "{events} events of {operations} operations, {deliveries} deliveries, {opens} starts, {power_cuts} power \
             cuts, {faults} injected errors"
        )
    }
}

fn one(seed: u64, arguments: &Arguments, sums: &Sums) -> Result<(), Failure> {
    let add = |sum: &AtomicU64, count| _ = sum.fetch_add(count, Ordering::Relaxed);
    if arguments.of_deliveries {
        let report = DeliverySimulation::run(seed, arguments.voice)?;
        add(&sums.events, report.events);
        add(&sums.deliveries, report.deliveries);
        add(&sums.opens, report.opens);
        add(&sums.power_cuts, report.power_cuts);
        add(&sums.faults, report.faults);
    } else {
        let report = Simulation::run(seed, arguments.voice)?;
        add(&sums.events, report.events);
        add(&sums.operations, report.operations);
        add(&sums.opens, report.opens);
        add(&sums.power_cuts, report.power_cuts);
        add(&sums.faults, report.faults);
    }
    Ok(())
}
