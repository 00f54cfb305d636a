//! What the ticks of schedules cost: `cargo bench -p quipu-domain --bench schedule`.
//!
//! The next tick of an expression in a zone, asked again and again from each tick; what a month of missed minutes takes; and the time and
//! the memory that a zone takes. CPU time of the one thread, the best of five rounds.

use std::hint::black_box;

use quipu_domain::Timestamp;
use quipu_domain::schedule::{Cron, Schedule, Zone};
use rustix::time::{ClockId, clock_gettime};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 5;
const CALLS: u32 = 20_000;
const ZONES: usize = 10_000;

fn main() {
    println!("{:>22} {:>18} {:>12}", "", "", "next tick ns");
    for name in ["UTC", "Europe/Berlin"] {
        let zone = Zone::parse(name).expect("a known zone");
        for text in ["30 2 * * *", "*/5 * * * *", "0 9 * * mon-fri", "0 0 29 2 *"] {
            let cron = Cron::parse(text).expect("an expression");
            let start = Timestamp::parse("2026-01-01T00:00:00Z").expect("a time");
            let mut at = start;
            let ns = best(CALLS, || {
                // The year 2040 has no list of changes, but a rule.
                at = cron.next_after(&zone, at).filter(|at| at.0 < 2_208_988_800_000_000).unwrap_or(start);
            });
            println!("{text:>22} {name:>18} {ns:>12.0}");
        }
    }

    let text = r#"{"schedule":"s","cron":"* * * * *","zone":"Europe/Berlin","event":{"type":"a.b"},"catchup":"31d"}"#;
    let schedule: Schedule = serde_json::from_str(text).expect("a schedule");
    let declared = Timestamp::parse("2026-03-01T00:00:00Z").expect("a time");
    let timetable = schedule.timetable(declared).expect("a schedule");
    let now = declared.plus_ms(31 * 86_400_000);
    let ns = best(1, || assert!(schedule.due(&timetable, black_box(declared), now).dropped > 44_000));
    println!("31 days of minutes: {:.1} ms", ns / 1e6);

    let ns = best(1_000, || drop(black_box(Zone::parse(black_box("Europe/Berlin")))));
    let before = resident_bytes();
    let zones: Vec<_> = (0..ZONES).map(|_| Zone::parse("Europe/Berlin")).collect();
    let bytes = resident_bytes().saturating_sub(before) / zones.len();
    println!("a zone: {:.1} µs, {bytes} bytes", ns / 1e3);
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}

/// ns of CPU of this thread for one call.
fn best(calls: u32, mut call: impl FnMut()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    (0..ROUNDS).fold(f64::MAX, |best, _| {
        let before = now();
        (0..calls).for_each(|_| call());
        best.min((now() - before) / f64::from(calls))
    })
}
