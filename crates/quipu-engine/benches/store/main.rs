//! The store in process, beside the machine's own limit measured in the same run: a bare loop that writes the same
//! bytes with one fdatasync a batch.
//!
//! `cargo bench -p quipu-engine --bench store -- [NAME…] [--events N] [--dir DIR]` prints a table to stderr and one
//! JSON object a line to stdout. Without names everything runs but the large store (`large`, up to 30 million events).

mod audit;
mod catalog;
mod keys;
mod sagas;
mod timers;
mod upcast;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quipu_domain::{Direction, Event, Filter, Timestamp};
use quipu_engine::{Clock, Engine, Options, Prepared, Random, Tenant, World};
use quipu_store::DiskStorage;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64)
    }
}

/// Nothing here has to be a secret.
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8;
        }
    }
}

fn engine(folder: &Path) -> Engine {
    let storage = Arc::new(DiskStorage::new(folder));
    let (clock, random) = (Arc::new(SystemClock), Arc::new(Counter(AtomicU64::new(1))));
    Engine::open(World { storage, clock, random }, Options::default()).expect("the folder is writable")
}

/// An event whose stored form, envelope and all, has 256 bytes.
fn event(n: u64, streams: u64) -> Event<'static> {
    let stream = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % streams;
    let data =
        format!("{{\"orderId\":\"{stream:010}\",\"total\":{:08},\"note\":\"{}\"}}", n % 100_000_000, "x".repeat(73));
    Event::builder(format!("{n:016x}-{n:011}"), "/bench/orders", "order.placed")
        .subject(format!("order/{stream:010}"))
        .time("2026-01-01T00:00:00.000Z")
        .data_content_type("application/json")
        .json(data)
        .build()
        .expect("a valid event")
}

fn prepare(tenant: &Tenant, n: u64, streams: u64) -> Prepared {
    tenant.prepare(&event(n, streams), None).expect("small enough")
}

struct Report {
    lines: Vec<String>,
}

impl Report {
    fn add(&mut self, name: &str, figures: &[(&str, f64)]) {
        let json: Vec<String> = figures.iter().map(|(key, value)| format!("\"{key}\":{value:.3}")).collect();
        let text: Vec<String> = figures.iter().map(|(key, value)| format!("{key} {}", human(*value))).collect();
        eprintln!("{name:<34} {}", text.join("   "));
        println!("{{\"bench\":\"{name}\",{}}}", json.join(","));
        self.lines.push(name.to_owned());
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

/// Bare writes of `bytes` with one fdatasync each; seconds for one.
fn bare(folder: &Path, bytes: usize, count: usize) -> f64 {
    let path = folder.join("bare");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("writable");
    let buffer = vec![7; bytes];
    let start = Instant::now();
    for i in 0..count {
        file.write_all_at(&buffer, (i * bytes) as u64).expect("written");
        file.sync_data().expect("synced");
    }
    let seconds = start.elapsed().as_secs_f64() / count as f64;
    fs::remove_file(path).expect("removed");
    seconds
}

fn quantile(times: &mut [f64], q: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * q) as usize]
}

/// One appender, one event at a time, beside a bare write and sync; interleaved, medians.
fn sequential(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("sequential"));
    let tenant = engine.tenant("default").expect("opened");
    let (mut ours, mut limit, mut n) = (Vec::new(), Vec::new(), 0);
    for _ in 0..10 {
        let bytes = bare(folder, 330, 500);
        limit.push(bytes);
        let start = Instant::now();
        for _ in 0..500 {
            n += 1;
            tenant.publish_wait(vec![prepare(&tenant, n, 1_000)]).expect("appended");
        }
        ours.push(start.elapsed().as_secs_f64() / 500.0);
    }
    let (ours, limit) = (quantile(&mut ours, 0.5), quantile(&mut limit, 0.5));
    report.add(
        "sequential_single",
        &[("us", ours * 1e6), ("bare_us", limit * 1e6), ("times_bare", ours / limit), ("events_s", 1.0 / ours)],
    );
}

/// Two appenders of batches of 1,000, each with two batches in flight, beside bare writes of the same bytes.
fn batches(folder: &Path, events: u64, report: &mut Report) {
    let engine = engine(&folder.join("batches"));
    let tenant = engine.tenant("default").expect("opened");
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    let rounds = 7;
    for round in 0..rounds {
        limit.push(1_000.0 / bare(folder, 268 * 1_000, 300));
        let each = events / rounds / 2_000 * 1_000;
        // The events are made beforehand: they are the caller's. Encoding and hashing them is ours.
        let made: [Vec<Event<'_>>; 2] =
            [0, 1].map(|half| (0..each).map(|i| event((round * 2 + half) * each + i, 100_000)).collect());
        let start = Instant::now();
        std::thread::scope(|scope| {
            made.iter().for_each(|events| _ = scope.spawn(|| publish_in_batches(&tenant, events)));
        });
        ours.push(2.0 * each as f64 / start.elapsed().as_secs_f64());
    }
    let (ours, limit) = (quantile(&mut ours, 0.5), quantile(&mut limit, 0.5));
    report.add("batches_of_1000", &[("events_s", ours), ("bare_events_s", limit), ("share_of_bare", ours / limit)]);
}

fn publish_in_batches(tenant: &Arc<Tenant>, events: &[Event<'_>]) {
    let (sender, done) = mpsc::sync_channel(2);
    let mut waiting = 0;
    for batch in events.chunks(1_000) {
        if waiting == 2 {
            let _: bool = done.recv().expect("a reply");
            waiting -= 1;
        }
        let prepared = batch.iter().map(|event| tenant.prepare(event, None).expect("small enough")).collect();
        let sender = sender.clone();
        tenant.publish(prepared, move |answer| sender.send(answer.is_ok()).expect("room"));
        waiting += 1;
    }
    (0..waiting).for_each(|_| assert!(done.recv().expect("a reply")));
}

/// What a caller's thread pays for an event before the mailbox: encoding, hashing, look-ups.
fn preparing(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("preparing"));
    let tenant = engine.tenant("default").expect("opened");
    let made: Vec<Event<'_>> = (0..200_000).map(|i| event(i, 100_000)).collect();
    let start = Instant::now();
    for batch in made.chunks(1_000) {
        let prepared: Vec<Prepared> =
            batch.iter().map(|event| tenant.prepare(event, None).expect("small enough")).collect();
        assert_eq!(std::hint::black_box(prepared).len(), 1_000);
    }
    report.add("prepare", &[("ns", start.elapsed().as_secs_f64() / 200_000.0 * 1e9)]);
}

/// 64 appenders of one event at a time: as threads that wait, and as callbacks in flight.
fn concurrent(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("concurrent"));
    let tenant = engine.tenant("default").expect("opened");
    let next = AtomicU64::new(0);
    let start = Instant::now();
    for _ in 0..2_000 {
        tenant.publish_wait(vec![prepare(&tenant, next.fetch_add(1, Ordering::Relaxed), 1_000)]).expect("appended");
    }
    let one = 2_000.0 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let events = 200_000;
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..events / 64 {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    tenant.publish_wait(vec![prepare(&tenant, n, 1_000)]).expect("appended");
                }
            });
        }
    });
    let threads = events as f64 / start.elapsed().as_secs_f64();
    report.add("concurrent_64_threads", &[("events_s", threads), ("one_events_s", one), ("times_one", threads / one)]);
    let (sender, free) = mpsc::channel();
    (0..64).for_each(|client| sender.send(client).expect("open"));
    let events = 600_000;
    let start = Instant::now();
    for _ in 0..events {
        let client: u32 = free.recv().expect("a free client");
        let n = next.fetch_add(1, Ordering::Relaxed);
        let sender = sender.clone();
        tenant.publish(vec![prepare(&tenant, n, 1_000)], move |answer| {
            assert!(answer.is_ok());
            sender.send(client).expect("open");
        });
    }
    (0..64).for_each(|_| _ = free.recv().expect("a free client"));
    let callbacks = events as f64 / start.elapsed().as_secs_f64();
    report.add(
        "concurrent_64_callbacks",
        &[("events_s", callbacks), ("one_events_s", one), ("times_one", callbacks / one)],
    );
    // Every event is a commit of its own here: the most that framing can take.
    drop(tenant);
    engine.close().expect("closed");
    let all = next.load(Ordering::Relaxed);
    let overhead = disk_bytes(&folder.join("concurrent")) as f64 / (all as f64 * 256.0) - 1.0;
    report.add("disk_of_single_event_commits", &[("overhead_share", overhead), ("events", all as f64)]);
}

/// The same load over 1, 100 and 1,000 active tenants, 256 appends in flight.
fn tenants(folder: &Path, report: &mut Report) {
    for count in [1usize, 100, 1_000] {
        let engine = engine(&folder.join(format!("tenants{count}")));
        let tenants: Vec<_> = (0..count).map(|i| engine.tenant(&format!("t{i}")).expect("opened")).collect();
        let (sender, free) = mpsc::channel();
        (0..256).for_each(|client| sender.send(client).expect("open"));
        let start = Instant::now();
        let mut n = 0u64;
        while start.elapsed() < Duration::from_secs(4) {
            let client: u32 = free.recv().expect("a free client");
            n += 1;
            let tenant = &tenants[n as usize % count];
            let sender = sender.clone();
            tenant.publish(vec![prepare(tenant, n, 1_000)], move |answer| {
                assert!(answer.is_ok());
                sender.send(client).expect("open");
            });
        }
        (0..256).for_each(|_| _ = free.recv().expect("a free client"));
        let rate = n as f64 / start.elapsed().as_secs_f64();
        report.add(&format!("tenants_{count}"), &[("events_s", rate)]);
    }
}

fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1_024.0
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { disk_bytes(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}

/// CPU time of this process so far, its own and the kernel's for it. Counted in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Calls that read, of this process so far: an append that looks into files shows here.
fn reads() -> f64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let count = io.lines().find_map(|line| line.strip_prefix("syscr: "));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// What the last million appends took.
struct Filled {
    events_s: f64,
    /// Unlike the rate, nearly the same on a machine that does other things too.
    cpu_us: f64,
    /// For one event.
    reads: f64,
}

/// Fills a store in batches of 1,000 over 1 million streams.
fn fill(tenant: &Arc<Tenant>, from: u64, to: u64) -> Filled {
    let (sender, done) = mpsc::sync_channel(4);
    let mut waiting = 0;
    let mut begin = (Instant::now(), cpu_seconds(), reads());
    for start in (from..to).step_by(1_000) {
        if start + 1_000_000 == to {
            begin = (Instant::now(), cpu_seconds(), reads());
        }
        if waiting == 4 {
            let _: bool = done.recv().expect("a reply");
            waiting -= 1;
        }
        let prepared = (start..start + 1_000).map(|n| prepare(tenant, n, 1_000_000)).collect();
        let sender = sender.clone();
        tenant.publish(prepared, move |answer| sender.send(answer.is_ok()).expect("room"));
        waiting += 1;
    }
    (0..waiting).for_each(|_| assert!(done.recv().expect("a reply")));
    let count = (to - from).min(1_000_000) as f64;
    Filled {
        events_s: count / begin.0.elapsed().as_secs_f64(),
        cpu_us: (cpu_seconds() - begin.1) / count * 1e6,
        reads: (reads() - begin.2) / count,
    }
}

/// A large store: appends at 1, 10 and 30 million events, opening, memory, reading. `--events` sets the last mark.
fn large(folder: &Path, events: u64, report: &mut Report) {
    let path = folder.join("large");
    let mut at = 0;
    for mark in [1_000_000, 10_000_000, 30_000_000].into_iter().filter(|mark| *mark <= events) {
        let engine = engine(&path);
        let tenant = engine.tenant("default").expect("opened");
        let filled = fill(&tenant, at, mark);
        at = mark;
        let single = {
            let start = Instant::now();
            for i in 0..2_000 {
                tenant.publish_wait(vec![prepare(&tenant, u64::MAX - mark - i, 1_000_000)]).expect("appended");
            }
            start.elapsed().as_secs_f64() / 2_000.0 * 1e6
        };
        let stats = tenant.stats().expect("read");
        report.add(
            &format!("append_at_{}_million", mark / 1_000_000),
            &[
                ("events_s", filled.events_s),
                ("cpu_us", filled.cpu_us),
                ("reads", filled.reads),
                ("single_us", single),
                ("resident_mb", resident_mb()),
                ("streams", stats.streams as f64),
            ],
        );
        drop(tenant);
        engine.close().expect("closed");
        drop(engine);
        let overhead = disk_bytes(&path) as f64 / (mark as f64 * 256.0) - 1.0;
        report.add(&format!("disk_at_{}_million", mark / 1_000_000), &[("overhead_share", overhead)]);
        open_and_read(&path, mark, report);
        open_after_a_kill(&path, mark, report);
    }
}

/// A child process appends and dies without closing; its parent measures the next opening.
fn open_after_a_kill(path: &Path, events: u64, report: &mut Report) {
    let myself = std::env::current_exe().expect("a path");
    let died = std::process::Command::new(myself).arg("die").arg("--dir").arg(path).status().expect("started");
    assert!(!died.success(), "the child was to die");
    let start = Instant::now();
    let engine = engine(path);
    let tenant = engine.tenant("default").expect("opened");
    let seconds = start.elapsed().as_secs_f64();
    assert!(tenant.position() >= events + 400_000, "what was acknowledged is there");
    report.add(&format!("open_killed_{}_million", events / 1_000_000), &[("seconds", seconds)]);
}

fn die(path: &Path) -> ! {
    let engine = engine(path);
    let tenant = engine.tenant("default").expect("opened");
    let from = tenant.position() + (1 << 40);
    fill(&tenant, from, from + 400_000);
    std::process::abort();
}

fn open_and_read(path: &Path, events: u64, report: &mut Report) {
    let million = events / 1_000_000;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let engine = engine(path);
    let tenant = engine.tenant("default").expect("opened");
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    report.add(
        &format!("open_clean_{million}_million"),
        &[("seconds", seconds), ("cpu_seconds", cpu), ("resident_mb", resident_mb())],
    );
    sequential_read(&tenant, million, report);
    let (mut times, mut found) = (Vec::new(), 0);
    for i in 0..3_000u64 {
        let stream = format!("order/{:010}", i.wrapping_mul(7_919) % 1_000_000);
        let start = Instant::now();
        let page = tenant.read_stream(&stream, Direction::Backward, None, 100).expect("read");
        found += page.events.len();
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    assert!(found > 1_000, "streams have events");
    report.add(&format!("stream_read_all_{million}_million"), &[("p50_us", p50), ("p99_us", p99)]);
    // Streams of 100 events, spread over the newest part of the log.
    for i in 0..20_000u64 {
        let event =
            Event::builder(format!("h{million}-{i}"), "/bench", "order.noted").subject(format!("hundred/{}", i % 200));
        let prepared = tenant.prepare(&event.build().expect("valid"), None).expect("small");
        tenant.publish(vec![prepared], |_| {});
    }
    tenant.publish_wait(Vec::new()).expect("all are written");
    let mut times = Vec::new();
    for i in 0..2_000u64 {
        let start = Instant::now();
        let page = tenant.read_stream(&format!("hundred/{}", i % 200), Direction::Forward, None, 100).expect("read");
        assert_eq!(page.events.len(), 100);
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    report.add(&format!("stream_read_100_{million}_million"), &[("p50_us", p50), ("p99_us", p99)]);
}

fn sequential_read(tenant: &Arc<Tenant>, million: u64, report: &mut Report) {
    let start = Instant::now();
    let (mut from, mut count, mut bytes) = (None, 0u64, 0usize);
    while count < 5_000_000 {
        let page = tenant.read(&Filter::default(), Direction::Forward, from, 10_000).expect("read");
        for recorded in &page.events {
            bytes += recorded.event().id().len();
        }
        count += page.events.len() as u64;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert!(bytes > 0);
    report.add(
        &format!("sequential_read_{million}_million"),
        &[("events_s", count as f64 / start.elapsed().as_secs_f64())],
    );
}

fn main() {
    let mut names = Vec::new();
    let mut events = 2_000_000;
    let mut folder: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--events" => events = arguments.next().and_then(|n| n.parse().ok()).expect("--events takes a number"),
            "--dir" => folder = arguments.next().map(PathBuf::from),
            name => names.push(name.to_owned()),
        }
    }
    let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("this folder is writable");
    let folder = folder.unwrap_or_else(|| temporary.path().to_owned());
    if names == ["die"] {
        die(&folder);
    }
    let wants = |name: &str| (names.is_empty() && name != "large") || names.iter().any(|n| n == name);
    let mut report = Report { lines: Vec::new() };
    if wants("sequential") {
        sequential(&folder, &mut report);
    }
    if wants("prepare") {
        preparing(&folder, &mut report);
    }
    if wants("batches") {
        batches(&folder, events, &mut report);
    }
    if wants("concurrent") {
        concurrent(&folder, &mut report);
    }
    if wants("tenants") {
        tenants(&folder, &mut report);
    }
    if wants("keys") {
        keys::run(&folder, &mut report);
    }
    if wants("upcast") {
        upcast::run(&folder, &mut report);
    }
    if wants("catalog") {
        catalog::run(&folder, &mut report);
    }
    if wants("audit") {
        audit::run(&folder, &mut report);
    }
    if wants("timers") {
        timers::run(&folder, &mut report);
    }
    if wants("sagas") {
        sagas::run(&folder, &mut report);
    }
    if wants("large") {
        large(&folder, events, &mut report);
    }
    assert!(!report.lines.is_empty(), "no benchmark of that name");
}
