//! Deliveries in process: how many are pulled in batches of 100 and acknowledged a second, and how long an event takes
//! from its publication to its acknowledgement.
//!
//! `cargo bench -p quipu --bench delivery -- [NAME…] [--events N]` prints a table to stderr and one JSON object a line
//! to stdout. Beside the backlog stands, in the same run, a plain read of the same events by the same threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu::{Answer, Direction, Event, Filter, Quipu, StartAt, Subscription};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 10_000;
const BATCH: usize = 100;
const CONSUMERS: usize = 2;

/// An event whose stored form, envelope and all, has about 256 bytes.
fn event(n: u64) -> Event {
    let data = format!("{{\"order\":{n:012},\"note\":\"{}\"}}", "x".repeat(90));
    let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
    let builder = Event::builder(format!("{n:016x}"), "/bench/orders", "order.placed");
    builder.subject(format!("order/{key:010}")).json(data).build().expect("a valid event")
}

fn store() -> (tempfile::TempDir, Quipu) {
    let folder = tempfile::tempdir_in(".").expect("the folder is writable");
    let quipu = Quipu::open(folder.path()).expect("opened");
    (folder, quipu)
}

fn subscribe(quipu: &Quipu, pattern: Option<&str>) {
    let pattern = pattern.map(|text| serde_json::value::RawValue::from_string(text.into()).expect("JSON"));
    let definition =
        Subscription { pattern, start: StartAt::Beginning, max_in_flight: 10_000, ..Subscription::default() };
    quipu.create_subscription("bench", definition).expect("a valid definition");
}

fn publish(quipu: &Quipu, range: std::ops::Range<u64>) {
    for first in range.clone().step_by(1_000) {
        let events: Vec<_> = (first..(first + 1_000).min(range.end)).map(event).collect();
        quipu.publish_each(&events).expect("recorded");
    }
}

/// Pulls and acknowledges until `until` are acknowledged.
fn consume(quipu: &Quipu, acked: &AtomicU64, until: u64) {
    while acked.load(Ordering::Relaxed) < until {
        let deliveries = quipu.pull("bench", BATCH, Duration::from_millis(20)).expect("pulled");
        let answers = deliveries.iter().map(|delivery| (delivery, Answer::Ack)).collect();
        let refused = quipu.answer_each("bench", answers).expect("answered").iter().filter(|it| it.is_err()).count();
        assert_eq!(refused, 0, "an answer in time and in order is taken");
        acked.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
    }
}

fn rate(events: u64, work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    events as f64 / begin.elapsed().as_secs_f64()
}

fn report(name: &str, fields: &[(&str, f64)]) {
    let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    eprintln!("{name:<24} {}", text.join("   "));
    let json: Vec<String> = fields.iter().map(|(name, value)| format!(",\"{name}\":{value:.3}")).collect();
    println!("{{\"bench\":\"{name}\"{}}}", json.concat());
}

/// What lies in the log already, read by two consumers.
fn backlog(events: u64) {
    let (_folder, quipu) = store();
    publish(&quipu, 0..events);
    subscribe(&quipu, None);
    let acked = AtomicU64::new(0);
    let acked_s = rate(events, || {
        std::thread::scope(|scope| {
            for _ in 0..CONSUMERS {
                scope.spawn(|| consume(&quipu, &acked, events));
            }
        });
    });
    let read_s = rate(events, || {
        let mut from = Some(1);
        while let Some(position) = from {
            let page = quipu.read(&Filter::default(), Direction::Forward, Some(position), BATCH).expect("read");
            from = page.next;
        }
    });
    report("backlog_pull_100", &[("acked_s", acked_s), ("read_s", read_s), ("share_of_read", acked_s / read_s)]);
}

/// What is published meanwhile, by one thread in batches of 1,000; two consumers, a pattern that takes all.
fn live(events: u64) {
    let (_folder, quipu) = store();
    subscribe(&quipu, Some(r#"{"type":[{"prefix":"order."}]}"#));
    let acked = AtomicU64::new(0);
    let acked_s = rate(events, || {
        std::thread::scope(|scope| {
            for _ in 0..CONSUMERS {
                scope.spawn(|| consume(&quipu, &acked, events));
            }
            publish(&quipu, 0..events);
        });
    });
    report("live_pull_100", &[("acked_s", acked_s)]);
}

/// 1,000 events a second, one at a time; a consumer that waits.
fn latency(events: u64) {
    let (_folder, quipu) = store();
    subscribe(&quipu, None);
    let begun = Instant::now();
    let sent: Vec<AtomicU64> = (0..events).map(|_| AtomicU64::new(0)).collect();
    let is_done = AtomicBool::new(false);
    let mut times = Vec::with_capacity(events as usize);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..events {
                let due = Duration::from_millis(n);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
                sent[n as usize].store(begun.elapsed().as_nanos() as u64, Ordering::Release);
                quipu.publish(&event(n)).expect("recorded");
            }
            is_done.store(true, Ordering::Release);
        });
        while times.len() < events as usize {
            for delivery in quipu.pull("bench", BATCH, Duration::from_secs(1)).expect("pulled") {
                quipu.answer(&delivery, Answer::Ack).expect("in time");
                let sent = sent[delivery.stamp().position as usize - 1].load(Ordering::Acquire);
                times.push((begun.elapsed().as_nanos() as u64 - sent) as f64 / 1e6);
            }
        }
    });
    times.sort_by(f64::total_cmp);
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    report("publish_to_ack", &[("p50_ms", quantile(0.5)), ("p99_ms", quantile(0.99)), ("max_ms", quantile(1.0))]);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let events = arguments.iter().position(|argument| argument == "--events");
    let events = events.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(300_000);
    let is_asked = |name: &str| {
        let mut names = arguments.iter().filter(|it| ["backlog", "live", "latency"].contains(&it.as_str())).peekable();
        names.peek().is_none() || names.any(|it| it == name)
    };
    if is_asked("backlog") {
        backlog(events);
    }
    if is_asked("live") {
        live(events);
    }
    if is_asked("latency") {
        latency(5_000);
    }
}
