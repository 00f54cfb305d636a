//! Runs many seeds on all cores, and says how many and how fast. It stops at the first failure, with the seed.
//!
//! `simulate [--appends | --deliveries | --timers | --sagas] [--seeds N] [--from N] [--seed N] [--record FILE] [-v]` simulates appends, then
//! subscriptions, then timers, then sagas, or only one of them. `--record` writes what a run came to into that file's sections, which have the
//! names of what is simulated, and wants all that was run to be committed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use quipu_testkit::{DeliverySimulation, Failure, SagaSimulation, Simulation, TimerSimulation, Voice, proof};

/// A seed makes and drops what it knows thousands of times: a third of its time, with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
const USAGE: &str = "usage: simulate [--appends | --deliveries | --timers | --sagas] [--seeds N] [--from N] [--seed N] [--record FILE] [-v]";

/// What is simulated.
#[derive(Clone, Copy)]
enum World {
    Appends,
    Deliveries,
    Timers,
    Sagas,
}

struct Arguments {
    worlds: &'static [World],
    from: u64,
    seeds: u64,
    record: Option<PathBuf>,
    voice: Voice,
}

/// What all seeds did together.
#[derive(Default)]
struct Sums {
    events: AtomicU64,
    operations: AtomicU64,
    deliveries: AtomicU64,
    timers: AtomicU64,
    instances: AtomicU64,
    commands: AtomicU64,
    opens: AtomicU64,
    power_cuts: AtomicU64,
    faults: AtomicU64,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(arguments) => match run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        },
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    // Fresh seeds unless asked otherwise: every run then looks somewhere new.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let from = now * 1_000_000;
    let worlds = &[World::Appends, World::Deliveries, World::Timers, World::Sagas];
    let mut arguments = Arguments { worlds, from, seeds: 100, record: None, voice: Voice::Quiet };
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
            "--appends" => arguments.worlds = &[World::Appends],
            "--deliveries" => arguments.worlds = &[World::Deliveries],
            "--timers" => arguments.worlds = &[World::Timers],
            "--sagas" => arguments.worlds = &[World::Sagas],
            "-v" => arguments.voice = Voice::Verbose,
            _ => return Err(format!("expected an option, found {word}")),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> io::Result<()> {
    // Before anything is run: it may take hours.
    let commit = arguments.record.as_deref().map(proof::commit).transpose()?;
    for world in arguments.worlds {
        let summary = simulate(*world, arguments)?;
        if let (Some(file), Some(commit)) = (&arguments.record, &commit) {
            proof::record(file, &world.to_string(), &format!("{summary} Commit {commit}."))?;
        }
    }
    Ok(())
}

/// Runs all seeds. What they came to, or that one failed.
fn simulate(world: World, arguments: &Arguments) -> io::Result<String> {
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
            match world.run(arguments.from + index, arguments.voice, &sums) {
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
                eprintln!("{world}: {done} of {} seeds in {seconds} s", arguments.seeds);
            }
        }
    });
    let (done, seconds) = (done.into_inner(), begin.elapsed().as_secs_f64());
    let summary = format!(
        "{world}: {done} of {} seeds from {} passed in {seconds:.1} s ({:.1} a second): {sums}.",
        arguments.seeds,
        arguments.from,
        done as f64 / seconds
    );
    println!("{summary}");
    if has_failed.into_inner() { Err(io::Error::other(format!("{world}: a seed failed"))) } else { Ok(summary) }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Appends => "appends",
            Self::Deliveries => "deliveries",
            Self::Timers => "timers",
            Self::Sagas => "sagas",
        })
    }
}

impl World {
    fn run(self, seed: u64, voice: Voice, sums: &Sums) -> Result<(), Failure> {
        let add = |sum: &AtomicU64, count| _ = sum.fetch_add(count, Ordering::Relaxed);
        let (opens, power_cuts, faults) = match self {
            Self::Appends => {
                let report = Simulation::run(seed, voice)?;
                add(&sums.operations, report.operations);
                add(&sums.events, report.events);
                (report.opens, report.power_cuts, report.faults)
            }
            Self::Deliveries => {
                let report = DeliverySimulation::run(seed, voice)?;
                add(&sums.deliveries, report.deliveries);
                add(&sums.events, report.events);
                (report.opens, report.power_cuts, report.faults)
            }
            Self::Timers => {
                let report = TimerSimulation::run(seed, voice)?;
                add(&sums.timers, report.set);
                add(&sums.events, report.events);
                (report.opens, report.power_cuts, report.faults)
            }
            Self::Sagas => {
                let report = SagaSimulation::run(seed, voice)?;
                add(&sums.instances, report.instances);
                add(&sums.commands, report.commands);
                add(&sums.events, report.events);
                (report.opens, report.power_cuts, report.faults)
            }
        };
        add(&sums.opens, opens);
        add(&sums.power_cuts, power_cuts);
        add(&sums.faults, faults);
        Ok(())
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (&self.events, "events"),
            (&self.operations, "operations"),
            (&self.deliveries, "deliveries"),
            (&self.timers, "timers"),
            (&self.instances, "instances of sagas"),
            (&self.commands, "commands"),
            (&self.opens, "starts"),
            (&self.power_cuts, "power cuts"),
            (&self.faults, "injected errors"),
        ];
        // What a world does not have is not told.
        let told = all.map(|(sum, what)| (sum.load(Ordering::Relaxed), what)).into_iter().filter(|(sum, _)| *sum > 0);
        f.write_str(&told.map(|(sum, what)| format!("{sum} {what}")).collect::<Vec<_>>().join(", "))
    }
}
