//! The server over sockets, and beside it, in the same run, what the same server does with a route that does nothing.
//! The load comes from this process over the loopback interface, so client and server share the machine's cores.
//!
//! `cargo bench -p quipu-server --bench http -- [NAME…] [--rounds N] [--seconds S]` prints a table to stderr and one
//! JSON object a line to stdout. The clients write requests that differ in a few digits and read no more of an answer
//! than they have to: what they cost is taken from the server.

mod flood;
mod load;
#[path = "../loopback/mod.rs"]
mod loopback;

use std::path::Path;
use std::time::Duration;

use load::{Numbers, Reader, Route};
use loopback::arguments::{self, Part};
use loopback::host::Host;
use loopback::report::{quantile, report};

/// Runs a load and holds it to what the store says; events a second.
fn recording(host: &Host, load: impl FnOnce() -> load::Done) -> f64 {
    let before = host.tenant.position();
    let done = load();
    assert_eq!(host.tenant.position() - before, done.events, "every acknowledged event is in the store");
    done.per_second()
}

/// How much of everything.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    time: Duration,
}

/// 64 connections with one event a request, beside as many with the same body for the route that does nothing.
fn single(folder: &Path, size: Size) {
    let host = Host::start(&folder.join("single"));
    let mut numbers = Numbers::default();
    let mut run = |route, time| load::singles(host.address, route, 64, time, &mut numbers);
    run(Route::Noop, size.time / 4);
    run(Route::Publish, size.time / 4);
    let (mut noop, mut ours, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let limit = run(Route::Noop, size.time).per_second();
        let rate = recording(&host, || run(Route::Publish, size.time));
        noop.push(limit);
        ours.push(rate);
        shares.push(rate / limit);
    }
    let (ours, noop, share) = (quantile(&mut ours, 0.5), quantile(&mut noop, 0.5), quantile(&mut shares, 0.5));
    report("http_single_64", &[("events_s", ours), ("noop_s", noop), ("share_of_noop", share)]);
}

/// Batches of 100 over a few connections.
fn batch(folder: &Path, size: Size) {
    for connections in [1, 4, 16] {
        let host = Host::start(&folder.join(format!("batch{connections}")));
        let mut numbers = Numbers::default();
        let mut run = |time| load::batches(host.address, connections, 100, time, &mut numbers);
        run(size.time / 4);
        let mut rates: Vec<f64> = (0..size.rounds).map(|_| recording(&host, || run(size.time))).collect();
        report(&format!("http_batch_100_by_{connections}"), &[("events_s", quantile(&mut rates, 0.5))]);
    }
}

/// One WebSocket with so many events in flight.
fn websocket(folder: &Path, size: Size) {
    for in_flight in [64, 512] {
        let host = Host::start(&folder.join(format!("websocket{in_flight}")));
        let mut numbers = Numbers::default();
        let mut run = |time| load::websocket(host.address, in_flight, time, &mut numbers);
        run(size.time / 4);
        let mut rates: Vec<f64> = (0..size.rounds).map(|_| recording(&host, || run(size.time))).collect();
        report(&format!("websocket_in_flight_{in_flight}"), &[("events_s", quantile(&mut rates, 0.5))]);
    }
}

/// Bulk loads: every result read, and a summary only.
fn lines(folder: &Path, size: Size) {
    for (name, is_minimal) in [("ndjson", false), ("ndjson_minimal", true)] {
        let host = Host::start(&folder.join(name));
        let mut numbers = Numbers::default();
        // About as long as the other loads take.
        let count = (size.time.as_secs_f64() * 200_000.0) as u64;
        let mut run = || load::lines(host.address, count, is_minimal, &mut numbers);
        let mut rates: Vec<f64> = (0..size.rounds).map(|_| recording(&host, &mut run)).collect();
        report(name, &[("events_s", quantile(&mut rates, 0.5))]);
    }
}

/// From the time at which an event should be sent, a thousand a second, to its delivery at a reader that follows.
fn delivery(folder: &Path, size: Size) {
    for (name, reader) in [("delivery_sse", Reader::Sse), ("delivery_websocket", Reader::WebSocket)] {
        let host = Host::start(&folder.join(name));
        let (mut p50, mut p99, mut max) = (Vec::new(), Vec::new(), Vec::new());
        let mut numbers = Numbers::default();
        for _ in 0..size.rounds {
            let count = (size.time.as_secs_f64() * 2_000.0) as u64;
            let mut times = load::deliveries(host.address, reader, 1_000, count, &mut numbers);
            p50.push(quantile(&mut times, 0.5));
            p99.push(quantile(&mut times, 0.99));
            max.push(quantile(&mut times, 1.0));
        }
        let (worst, max) = (quantile(&mut p99.clone(), 1.0), quantile(&mut max, 1.0));
        let (p50, p99) = (quantile(&mut p50, 0.5), quantile(&mut p99, 0.5));
        report(name, &[("p50_ms", p50), ("p99_ms", p99), ("p99_worst_round_ms", worst), ("max_ms", max)]);
    }
}

/// What counting costs: the same load without quotas and with some that are never reached, in turn.
fn quota(folder: &Path, size: Size) {
    let host = Host::start(&folder.join("quota"));
    let mut numbers = Numbers::default();
    let mut run = |time, quotas: &str| {
        flood::limit(host.address, "default", quotas);
        load::singles(host.address, Route::Publish, 64, time, &mut numbers).per_second()
    };
    let all = r#"{"eventspersecond":1000000000,"bytespersecond":1000000000000,"connections":1000000,"storagebytes":1000000000000}"#;
    run(size.time / 2, all);
    let (mut without, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds.max(10) {
        let rate = run(size.time, "{}");
        shares.push(run(size.time, all) / rate);
        without.push(rate);
    }
    report(
        "quota_cost",
        &[("events_s", quantile(&mut without, 0.5)), ("share_with_quotas", quantile(&mut shares, 0.5))],
    );
}

/// What a tenant that floods makes of the times of its neighbour: with a quota, and without any.
fn flood(folder: &Path, size: Size) {
    for (name, quota) in [("flood_quota_1000", Some(1_000)), ("flood_no_quota", None)] {
        let host = Host::start(&folder.join(name));
        let mut flooded = flood::Flood::new(&host, quota);
        flooded.round(size.time / 2, false);
        flooded.round(size.time / 2, true);
        let (mut p50, mut p99, mut quiet, mut loud) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for _ in 0..size.rounds.max(10) {
            let (mut before, _) = flooded.round(size.time, false);
            let (mut during, counts) = flooded.round(size.time, true);
            let [a, b] = [&mut before, &mut during].map(|times| (quantile(times, 0.5), quantile(times, 0.99)));
            p50.push(b.0 / a.0);
            p99.push(b.1 / a.1);
            quiet.push(a.1);
            loud.push(b.1);
            taken.push(counts.taken as f64 / size.time.as_secs_f64());
            refused.push(counts.refused as f64 / size.time.as_secs_f64());
        }
        let [p50, p99, quiet, loud, taken, refused] =
            [p50, p99, quiet, loud, taken, refused].map(|mut all| quantile(&mut all, 0.5));
        let figures = [
            ("p99_ratio", p99),
            ("p50_ratio", p50),
            ("quiet_p99_ms", quiet),
            ("flooded_p99_ms", loud),
            ("taken_s", taken),
            ("refused_s", refused),
        ];
        report(name, &figures);
    }
}

const PARTS: [Part<Size>; 7] = [
    ("single", single),
    ("batch", batch),
    ("websocket", websocket),
    ("ndjson", lines),
    ("delivery", delivery),
    ("quota", quota),
    ("flood", flood),
];

fn main() {
    arguments::run(&PARTS, Size { rounds: 5, time: Duration::from_secs(1) }, |size, flag, number| {
        match flag {
            "--rounds" => size.rounds = (number as usize).max(1),
            "--seconds" => size.time = Duration::from_secs_f64(number),
            _ => return false,
        }
        true
    });
}
