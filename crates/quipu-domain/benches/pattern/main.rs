//! Events a second against sets of patterns, on one core, from the bytes of the event to the keys that match.
//!
//! `cargo bench -p quipu-domain --bench pattern -- [NAME…]` prints a table to stderr and one JSON object a line to
//! stdout. A name is the beginning of a row's; without names everything runs. A rate is that of the best of nine rounds, by
//! the CPU time of the one thread, so that other work on the machine disturbs it little; `median_s` is that of the
//! median. `of_serde` is the rate against that of serde_json which checks the same bytes in the same run and keeps nothing.
//!
//! Before it is timed, a set says of some events what each of its patterns says alone, and a mixed set matches at most
//! ten patterns an event. A unit test holds smaller sets of the same patterns to the naive matcher.

mod workload;

use std::hint::black_box;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;

use quipu_domain::{Incoming, Pattern, PatternSet, Scratch, Snapshot, parse_event};
use workload::{GITHUB_KINDS, SMALL_KINDS, github_events, github_pattern, small_events, small_pattern};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 4] = [1, 100, 10_000, 100_000];
const ROUNDS: usize = 9;
const ROUND_SECONDS: f64 = 0.05;
/// Most patterns of a mixed set that match one event: with more, the rate would be that of writing down matches.
const MATCHES_MAX: usize = 10;
/// Events that every pattern of a set is tested against alone, in sets up to [`ALONE_PATTERNS_MAX`].
const ALONE_EVENTS: usize = 20;
const ALONE_PATTERNS_MAX: usize = 10_000;

/// Seconds of CPU that this thread has used.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

struct Report {
    names: Vec<String>,
}

impl Report {
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| name.starts_with(wanted.as_str()))
    }

    /// Whether any row is wanted whose name begins so.
    fn wants_some(&self, prefix: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted.starts_with(prefix))
    }

    fn add(&self, name: &str, figures: &[(&str, f64)]) {
        let json: Vec<String> = figures.iter().map(|(key, value)| format!("\"{key}\":{value:.3}")).collect();
        let text: Vec<String> = figures.iter().map(|(key, value)| format!("{key} {}", human(*value))).collect();
        eprintln!("{name:<34} {}", text.join("   "));
        println!("{{\"bench\":\"{name}\",{}}}", json.join(","));
    }
}

fn human(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

fn parsed(text: &str) -> Pattern {
    Pattern::parse(text).expect("a valid pattern")
}

fn compiled(patterns: impl Iterator<Item = String>) -> PatternSet<u32> {
    (0..).zip(patterns.map(|text| parsed(&text))).collect()
}

/// Events of one kind, and what a bare parser makes of them.
struct Workload {
    prefix: &'static str,
    events: Vec<String>,
    serde: Rate,
}

impl Workload {
    fn new(prefix: &'static str, events: Vec<String>, report: &Report) -> Workload {
        let check = |event: &String| serde_json::from_slice::<IgnoredAny>(event.as_bytes()).is_ok();
        let scan = |event: &String| memchr::memchr_iter(b'"', event.as_bytes()).count() > 0;
        let (serde, quotes) = (rate(&events, check), rate(&events, scan));
        let bytes = events.iter().map(String::len).sum::<usize>() as f64 / events.len() as f64;
        report.add(&format!("{prefix}_bare_serde_json"), &[("events_s", serde.best), ("bytes", bytes)]);
        report.add(&format!("{prefix}_bare_count_of_quotes"), &[("events_s", quotes.best), ("bytes", bytes)]);
        Workload { prefix, events, serde }
    }

    /// A row for a set, from the bytes of events.
    fn row(&self, name: &str, snapshot: &Snapshot<u32>, report: &Report) {
        let mut scratch = Scratch::default();
        let counts = self.events.iter().map(|event| snapshot.matches(event.as_bytes(), &mut scratch).len());
        let (sum, most) = counts.fold((0, 0), |(sum, most), count| (sum + count, count.max(most)));
        assert!(!name.contains("mixed") || most <= MATCHES_MAX, "{name} matches {most} patterns");
        let matches = sum as f64 / self.events.len() as f64;
        let mut scratch = Scratch::default();
        let rate = rate(&self.events, |event| snapshot.matches(event.as_bytes(), &mut scratch).len());
        let mut figures = rate.figures();
        figures.extend([("of_serde", rate.best / self.serde.best), ("matches", matches), ("most", most as f64)]);
        report.add(name, &figures);
    }

    fn grid(&self, kinds: &[&str], pattern: fn(&str, u64) -> String, report: &Report) {
        for kind in kinds {
            for size in SIZES {
                let name = format!("{}_{kind}_{size}", self.prefix);
                if report.wants(&name) {
                    let patterns: Vec<Pattern> = (0..size as u64).map(|n| parsed(&pattern(kind, n))).collect();
                    let snapshot = (0..).zip(patterns.iter().cloned()).collect::<PatternSet<u32>>().snapshot();
                    self.check(&patterns, &snapshot);
                    self.row(&name, &snapshot, report);
                }
            }
        }
    }

    /// That a set says of events what its patterns say alone.
    fn check(&self, patterns: &[Pattern], snapshot: &Snapshot<u32>) {
        if patterns.len() > ALONE_PATTERNS_MAX {
            return;
        }
        let mut scratch = Scratch::default();
        for event in self.events.iter().step_by(self.events.len() / ALONE_EVENTS) {
            let mut found: Vec<u32> = snapshot.matches(event.as_bytes(), &mut scratch).copied().collect();
            found.sort_unstable();
            let alone = |pattern: &Pattern| pattern.matches(event.as_bytes()).expect("an event is JSON");
            let wanted = (0..).zip(patterns).filter(|(_, pattern)| alone(pattern)).map(|(key, _)| key);
            assert_eq!(found, wanted.collect::<Vec<u32>>(), "{event}");
        }
    }
}

/// Events a second.
#[derive(Clone, Copy)]
struct Rate {
    best: f64,
    median: f64,
}

impl Rate {
    fn figures(self) -> Vec<(&'static str, f64)> {
        vec![("events_s", self.best), ("us", 1e6 / self.best), ("median_s", self.median)]
    }
}

/// How many events `one` gets through in a second.
fn rate<T, R>(events: &[T], mut one: impl FnMut(&T) -> R) -> Rate {
    // Reading the clock costs about as much as an event.
    let times = 500_usize.div_ceil(events.len());
    let mut round = || {
        let (start, mut done) = (cpu_seconds(), 0);
        while cpu_seconds() - start < ROUND_SECONDS {
            for _ in 0..times {
                events.iter().for_each(|event| _ = black_box(one(black_box(event))));
            }
            done += times * events.len();
        }
        done as f64 / (cpu_seconds() - start)
    };
    let mut rates: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rates.sort_by(f64::total_cmp);
    Rate { best: rates[ROUNDS - 1], median: rates[ROUNDS / 2] }
}

/// Five exact patterns, the figure that matchers are usually stated with; also as an event that was decoded before.
fn five(small: &Workload, report: &Report) {
    let texts = [
        r#"{"type":["order.placed"]}"#,
        r#"{"source":["/shop/DE"],"type":["order.paid"]}"#,
        r#"{"data":{"state":["cancelled"],"customer":{"id":["c-000017"]}}}"#,
        r#"{"data":{"tags":["t7"]}}"#,
        r#"{"subject":["order/0000000001"],"data":{"total":[5.5]}}"#,
    ];
    let snapshot = compiled(texts.iter().map(|text| (*text).to_owned())).snapshot();
    if report.wants("small_five_exact") {
        small.row("small_five_exact", &snapshot, report);
    }
    if report.wants("small_five_exact_decoded") {
        let decode = |event| parse_event(str::as_bytes(event)).expect("a valid event");
        let decoded: Vec<Incoming<'_>> = small.events.iter().map(|event| decode(event)).collect();
        let mut scratch = Scratch::default();
        let rate = rate(&decoded, |incoming| snapshot.matches_event(&incoming.event, None, &mut scratch).len());
        report.add("small_five_exact_decoded", &rate.figures());
    }
}

/// Wildcards of one and of a hundred stars, on a value of 600 bytes that matches up to the last literal.
fn stars(report: &Report) {
    let event = vec![format!(r#"{{"type":"t","data":{{"value":"{}"}}}}"#, "ab".repeat(300))];
    let workload = Workload::new("stars", event, report);
    for (stars, count) in [(1, 1), (10, 1), (100, 1), (100, 1_000)] {
        let name = format!("stars_{stars}_patterns_{count}");
        if report.wants(&name) {
            let literals = "*a".repeat(stars - 1);
            let set =
                compiled((0..count).map(|n| format!(r#"{{"data":{{"value":[{{"wildcard":"{literals}*x{n}"}}]}}}}"#)));
            workload.row(&name, &set.snapshot(), report);
            // With a last literal that is there every hundredth time.
            let set = compiled(
                (0..count).map(|n| format!(r#"{{"data":{{"value":[{{"wildcard":"a*b{literals}*{n}b*"}}]}}}}"#)),
            );
            workload.row(&format!("{name}_looked_at"), &set.snapshot(), report);
        }
    }
}

/// Building a set, and adding and removing single patterns while 100,000 are there; a snapshot is taken after each.
fn changes(small: &Workload, report: &Report) {
    let patterns: Vec<Pattern> = (0..110_000).map(|n| parsed(&small_pattern("mixed", n))).collect();
    let start = cpu_seconds();
    let mut set: PatternSet<u32> = (0..).zip(patterns[..100_000].iter().cloned()).collect();
    report.add("changes_build_100000", &[("ms", (cpu_seconds() - start) * 1e3)]);
    let mut kept = set.snapshot();
    for what in ["insert", "remove"] {
        let mut times: Vec<f64> = (100_000..110_000u32)
            .map(|key| {
                let pattern = patterns[key as usize].clone();
                let start = Instant::now();
                match what {
                    "insert" => set.insert(key, pattern),
                    _ => _ = set.remove(&(key - 50_000)),
                }
                kept = set.snapshot();
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let figures = [
            ("mean_us", mean),
            ("p50_us", at(0.5)),
            ("p99_us", at(0.99)),
            ("max_us", at(1.0)),
            ("patterns", kept.len() as f64),
        ];
        report.add(&format!("changes_{what}_one_at_100000"), &figures);
        small.row(&format!("changes_matching_after_{what}"), &kept, report);
    }
}

fn main() {
    let names = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let report = Report { names };
    let small = Workload::new("small", small_events(), &report);
    assert!(small.events.iter().all(|event| (300..=900).contains(&event.len())), "small events have 300 to 900 bytes");
    five(&small, &report);
    small.grid(&SMALL_KINDS, small_pattern, &report);
    if report.wants_some("github") {
        Workload::new("github", github_events(), &report).grid(&GITHUB_KINDS, github_pattern, &report);
    }
    if report.wants_some("stars") {
        stars(&report);
    }
    if report.wants_some("changes") {
        changes(&small, &report);
    }
}
