//! Aggregates: how long a load takes with a snapshot and without one, and how many commands one thread gets done in a second.
//!
//! `cargo bench -p quipu --bench aggregate -- [NAME…] [--events N]` prints a table to stderr and one JSON object a line to stdout. The
//! stream has so many events, the last 99 of them behind the newest snapshot, which is the most there can be; between each two of
//! its events are nine of other streams, so that they do not lie side by side.

use std::time::Instant;

use quipu::{Aggregate, Append, Event, Quipu};
use serde::{Deserialize, Serialize};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOADS: usize = 20_000;
const OTHERS: u64 = 9;

/// Some state: a hundred lines and their sum.
#[derive(Default, Serialize, Deserialize)]
struct Order {
    total: u64,
    lines: std::collections::BTreeMap<u64, u64>,
}

#[derive(Serialize, Deserialize)]
enum Happened {
    #[serde(rename = "order.added")]
    Added { line: u64, amount: u64, note: String },
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    type Command = u64;
    type Event = Happened;
    type Refusal = ();

    fn decide(&self, line: &u64) -> Result<Vec<Happened>, ()> {
        Ok(vec![Happened::Added { line: *line, amount: 1, note: "x".repeat(80) }])
    }

    fn evolve(&mut self, Happened::Added { line, amount, .. }: Happened) {
        self.total += amount;
        *self.lines.entry(line % 100).or_default() += amount;
    }
}

/// The same without snapshots.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Whole(Order);

impl Aggregate for Whole {
    const NAME: &'static str = Order::NAME;
    const SNAPSHOT_EVERY: u64 = 0;
    type Command = u64;
    type Event = Happened;
    type Refusal = ();

    fn decide(&self, line: &u64) -> Result<Vec<Happened>, ()> {
        self.0.decide(line)
    }

    fn evolve(&mut self, event: Happened) {
        self.0.evolve(event);
    }
}

/// A stream of so many events among others, and the 99 that follow the snapshot.
fn store(events: u64) -> (tempfile::TempDir, Quipu) {
    let folder = tempfile::tempdir_in(".").expect("the folder is writable");
    let quipu = Quipu::open(folder.path()).expect("opened");
    let event = |n: u64, stream: String| {
        let data = format!("{{\"line\":{n},\"amount\":1,\"note\":\"{}\"}}", "x".repeat(80));
        let event = Event::builder(format!("{n:016x}"), "/bench/orders", "order.added").subject(stream).json(data);
        event.build().expect("a valid event")
    };
    for n in 0..events {
        let first = n * (OTHERS + 1);
        let others = (1..=OTHERS).map(|other| event(first + other, format!("order/{}", (first + other) % 1_009)));
        let all: Vec<Event> = std::iter::once(event(first, "order/bench".into())).chain(others).collect();
        quipu.append(Append::of(all)).expect("recorded");
    }
    // Keeps the snapshot.
    load::<Order>(&quipu);
    for n in 0..Order::SNAPSHOT_EVERY - 1 {
        quipu.aggregates::<Order>().execute("bench", &n).expect("handled");
    }
    (folder, quipu)
}

fn load<A: Aggregate>(quipu: &Quipu) -> A {
    let Ok(loaded) = quipu.aggregates::<A>().load("bench") else { panic!("expected to load it") };
    loaded.state
}

/// Loads, one after the other: milliseconds at the median, the 99th percentile and the most.
fn loads<A: Aggregate>(name: &str, quipu: &Quipu, times: usize, total: impl Fn(A) -> u64, expected: u64) {
    let mut took: Vec<f64> = Vec::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        let state = load::<A>(quipu);
        took.push(begin.elapsed().as_secs_f64() * 1e3);
        assert_eq!(total(state), expected, "each load has all events");
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    report(name, &[("p50_ms", at(0.5)), ("p99_ms", at(0.99)), ("max_ms", at(1.0)), ("loads", times as f64)]);
}

fn report(name: &str, fields: &[(&str, f64)]) {
    let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    eprintln!("{name:<24} {}", text.join("   "));
    let json: Vec<String> = fields.iter().map(|(name, value)| format!(",\"{name}\":{value:.3}")).collect();
    println!("{{\"bench\":\"{name}\"{}}}", json.concat());
}

/// Commands to one aggregate, one after the other: each loads, decides, appends and syncs.
fn commands(quipu: &Quipu, times: u64) {
    let begin = Instant::now();
    for n in 0..times {
        quipu.aggregates::<Order>().execute("bench", &n).expect("handled");
    }
    report("commands", &[("commands_s", times as f64 / begin.elapsed().as_secs_f64())]);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let events = arguments.iter().position(|argument| argument == "--events").and_then(|at| arguments.get(at + 1));
    let events: u64 = events.map_or(10_000, |text| text.parse().expect("a number"));
    let names = ["snapshot", "whole", "commands"];
    let wants = |name: &str| {
        names.iter().all(|known| !arguments.iter().any(|a| a == known)) || arguments.iter().any(|a| a == name)
    };
    let (_folder, quipu) = store(events);
    let expected = events + Order::SNAPSHOT_EVERY - 1;
    if wants("snapshot") {
        loads::<Order>("load with a snapshot", &quipu, LOADS, |order| order.total, expected);
    }
    if wants("whole") {
        loads::<Whole>("load without a snapshot", &quipu, 50, |order| order.0.total, expected);
    }
    if wants("commands") {
        commands(&quipu, 5_000);
    }
    quipu.close().expect("closed");
}
