//! Timers: what setting, cancelling and firing cost while few or many wait, and how late they are beside a publisher that takes all
//! that the machine gives.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quipu_domain::{Direction, Event, Filter, Timestamp, TypeMatch};
use quipu_engine::{Append, Clock, FireAt, Prepared, Tenant, TimerName};

use super::{Report, SystemClock, engine, prepare, quantile};

/// Timers that one append sets.
const BATCH: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;

fn timer(tenant: &Tenant, n: u64, fires: FireAt, key: Option<String>) -> Prepared {
    let event = Event::builder(format!("timer-{n}"), "/bench/timers", "order.expired")
        .subject(format!("order/{}", n % 100_000));
    let event = event.json("{\"reason\":\"nobody paid\"}").build().expect("a valid event");
    tenant.prepare_timer(&event, fires, key, false).expect("a valid timer")
}

fn set(tenant: &Arc<Tenant>, numbers: std::ops::Range<u64>, fires: impl Fn(u64) -> FireAt, with_key: bool) {
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let of = |n| timer(tenant, n, fires(n), with_key.then(|| n.to_string()));
        let timers = numbers.by_ref().take(BATCH as usize).map(of).collect();
        tenant.append_wait(Append { timers, ..Append::default() }).expect("set");
    }
}

fn in_a_day(n: u64) -> FireAt {
    FireAt::AfterMs(HOUR_MS + n.wrapping_mul(0x9E37_79B9) % (24 * HOUR_MS))
}

fn cost(folder: &Path, report: &mut Report) {
    for waiting in [1_000, 100_000, 1_000_000] {
        let engine = engine(&folder.join(format!("timers-{waiting}")));
        let tenant = engine.tenant("default").expect("opened");
        // Spread over a day.
        set(&tenant, 0..waiting, in_a_day, false);
        let count = 50_000;
        let start = Instant::now();
        set(&tenant, waiting..waiting + count, in_a_day, true);
        let set_s = count as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for first in (0..count).step_by(BATCH as usize) {
            let cancels = (first..first + BATCH).map(|n| TimerName::Key((waiting + n).to_string())).collect();
            tenant.append_wait(Append { cancels, ..Append::default() }).expect("cancelled");
        }
        let cancel_s = count as f64 / start.elapsed().as_secs_f64();
        let before = tenant.position();
        set(&tenant, 2 * waiting..2 * waiting + count, |_| FireAt::AfterMs(1), false);
        let start = Instant::now();
        let already = tenant.position() - before;
        while tenant.position() < before + count {
            std::thread::sleep(Duration::from_micros(200));
        }
        let fire_s = (count - already) as f64 / start.elapsed().as_secs_f64();
        report.add(
            &format!("timers_{waiting}_waiting"),
            &[("set_s", set_s), ("cancel_s", cancel_s), ("fire_s_after_set", fire_s)],
        );
        engine.close().expect("closed");
    }
}

/// How late events are on disk, milliseconds after their time: 5,000 come each second, a million wait beside them, and somebody publishes
/// as fast as he can, or `pace` events a second.
fn lateness(folder: &Path, pace: Option<u64>, report: &mut Report) {
    let name =
        pace.map_or("timers_late_beside_all_that_goes".to_owned(), |pace| format!("timers_late_beside_{pace}_s"));
    let engine = engine(&folder.join(&name));
    let tenant = engine.tenant("default").expect("opened");
    set(&tenant, 0..1_000_000, in_a_day, false);
    let durable: Arc<Mutex<Vec<(u64, Timestamp)>>> = Arc::default();
    let seen = Arc::clone(&durable);
    let _guard = tenant.on_commit(move |position| seen.lock().expect("no panic").push((position, SystemClock.now())));
    let seconds = 8;
    let fires = 5_000 * seconds;
    let first = SystemClock.now().plus_ms(4_000);
    let due = |n: u64| first.plus_ms((n * 1_000 / 5_000) as i64);
    set(&tenant, 1_000_000..1_000_000 + fires, |n| FireAt::Time(due(n - 1_000_000)), false);
    let is_over = AtomicBool::new(false);
    let published = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let (start, mut n) = (Instant::now(), 0u64);
            while !is_over.load(Ordering::Relaxed) {
                if pace.is_some_and(|pace| n as f64 > start.elapsed().as_secs_f64() * pace as f64) {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                }
                let batch = (n..n + 1_000).map(|n| prepare(&tenant, n, 100_000)).collect();
                tenant.publish(batch, |answer| assert!(answer.is_ok()));
                n += 1_000;
                // Two batches wait at most, as with a client that is told.
                while tenant.position() + 3_000 < n {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
            n as f64 / start.elapsed().as_secs_f64()
        });
        std::thread::sleep(Duration::from_secs(seconds + 6));
        is_over.store(true, Ordering::Relaxed);
        publisher.join().expect("no panic")
    });
    let durable = durable.lock().expect("no panic");
    let filter = Filter { types: vec![TypeMatch::Is("order.expired".into())], ..Filter::default() };
    let (mut late, mut from) = (Vec::new(), Some(1));
    let mut there_at = std::collections::HashMap::new();
    while let Some(at) = from {
        let page = tenant.read(&filter, Direction::Forward, Some(at), 10_000).expect("read");
        for recorded in &page.events {
            let there = durable.partition_point(|(position, _)| *position < recorded.stamp.position);
            there_at.insert(recorded.event().id().to_owned(), durable[there].1);
        }
        from = page.next;
    }
    assert_eq!(there_at.len() as u64, fires, "every timer fires");
    for n in 0..fires {
        late.push((there_at[&format!("timer-{}", 1_000_000 + n)].0 - due(n).0) as f64 / 1e3);
    }
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&mut late, q));
    report.add(&name, &[("p50_ms", p50), ("p99_ms", p99), ("max_ms", max), ("published_s", published)]);
    drop(durable);
    engine.close().expect("closed");
}

pub(super) fn run(folder: &Path, report: &mut Report) {
    cost(folder, report);
    lateness(folder, Some(100_000), report);
    lateness(folder, None, report);
}
