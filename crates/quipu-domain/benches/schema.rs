//! What it costs to hold an event's data against its schema: `cargo bench -p quipu-domain --bench schema`.
//!
//! The data are GitHub's webhooks closest to 1, 3 and 8 KB, the schemas learned from all webhooks of the type, with
//! formats. The figures are those of the best of five rounds, by the CPU time of the one thread.

use std::hint::black_box;
use std::path::Path;

use quipu_domain::schema::{Document, Inference, InferenceLimits, Limits};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 5;
const CALLS: u32 = 20_000;

fn main() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/github-webhooks.ndjson");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("expected the recorded webhooks at {}, found no file", file.display());
        return;
    };
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    println!(
        "{:>7} {:>9} {:>12} {:>12} {:>12} {:>12}",
        "bytes", "cost", "compile µs", "is_valid µs", "1 error µs", "parse µs"
    );
    for target in [1_000, 3_000, 8_000] {
        let size = |event: &&Value| event["data"].to_string().len().abs_diff(target);
        let Some(event) = events.iter().min_by_key(size) else { return };
        let mut inference = Inference::new(InferenceLimits::default());
        let same = events.iter().filter(|other| other["type"] == event["type"]);
        // Often enough that formats are proposed also where there is one example.
        same.cycle().take(10).for_each(|event| inference.observe(&event["data"]));
        let schema = inference.schema("learned").to_string();
        let document = Document::parse(&schema, &Limits::default()).expect("a learned schema is accepted");
        let validator = document.validator();
        let data = &event["data"];
        let text = data.to_string();
        let mut spoiled = data.clone();
        spoiled["sender"] = json!(5);
        assert!(validator.is_valid(data) && !validator.is_valid(&spoiled));
        println!(
            "{:>7} {:>9} {:>12.0} {:>12.2} {:>12.2} {:>12.2}",
            text.len(),
            document.cost(),
            best(CALLS / 100, || drop(black_box(Document::parse(&schema, &Limits::default())))),
            best(CALLS, || assert!(validator.is_valid(black_box(data)))),
            best(CALLS, || drop(black_box(validator.violations(black_box(&spoiled), 10)))),
            best(CALLS, || drop(black_box(serde_json::from_str::<Value>(black_box(&text))))),
        );
    }
}

/// The µs of CPU that this thread has used.
fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// The µs of one call in the best round.
fn best(calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = cpu_micros();
        (0..calls).for_each(|_| call());
        (cpu_micros() - start) / f64::from(calls)
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}
