//! What the projection of the documentation does a second: built again from a log that is there, and live, while events are
//! published as fast as the store takes them. `cargo bench -p quipu-projections --bench orders`; with the feature `postgres`, and the URL of
//! a database in `QUIPU_BENCH_POSTGRES`, in that.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use quipu_domain::projection::{PostgresUrl, Projection, ReadModelStore};
use quipu_domain::{Event, Timestamp};
use quipu_engine::{Clock, Engine, Options, Random, Tenant, World};
use quipu_projections::{Pool, Projections};
use quipu_store::DiskStorage;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 400_000;
const ROUNDS: usize = 3;
const BATCH: u64 = 1_000;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64)
    }
}

struct Counter(AtomicI64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9) >> 8) as u8;
        }
    }
}

fn engine(folder: &Path) -> Engine {
    let random = Arc::new(Counter(AtomicI64::new(0)));
    let world = World { storage: Arc::new(DiskStorage::new(folder)), clock: Arc::new(Wall), random };
    Engine::open(world, Options::default()).unwrap()
}

fn orders() -> Projection {
    let text = r#"{
        "projection": "orders",
        "tables": "create table orders (id text primary key, customer text, status text, total real, placed_at text)",
        "on": {
            "order.placed": "insert into orders values (:subject, :data.customerId, 'placed', :data.total, :time)",
            "order.shipped": "update orders set status = 'shipped' where id = :subject"
        }
    }"#;
    let mut orders: Projection = serde_json::from_str(text).unwrap();
    if let Ok(url) = std::env::var("QUIPU_BENCH_POSTGRES") {
        orders.store = ReadModelStore::Postgres(PostgresUrl::parse(&url).unwrap());
    }
    orders
}

/// Orders are placed, and each is shipped 1,000 events later; 256 bytes an event as it is stored.
fn event(number: u64) -> Event<'static> {
    let (pair, is_placed) = (number / (2 * BATCH) * BATCH + number % BATCH, (number / BATCH).is_multiple_of(2));
    let kind = if is_placed { "order.placed" } else { "order.shipped" };
    let note = "n".repeat(if is_placed { 60 } else { 100 });
    let data = match is_placed {
        true => format!(r#"{{"customerId":"c{}","total":{}.5,"note":"{note}"}}"#, pair % 1_000, pair % 100),
        false => format!(r#"{{"carrier":"post","note":"{note}"}}"#),
    };
    Event::builder(format!("{number:08}"), "/bench/shop", kind)
        .subject(format!("order/{pair:08}"))
        .time("2026-01-31T09:30:00Z")
        .json(data)
        .build()
        .unwrap()
}

fn publish(tenant: &Arc<Tenant>, first: u64) {
    let prepared = (first..first + BATCH).map(|number| tenant.prepare(&event(number), None).unwrap());
    tenant.publish_wait(prepared.collect()).unwrap();
}

fn open(tenant: &Arc<Tenant>, folder: &Path) -> Projections {
    Projections::open(Arc::clone(tenant), Some(folder), Arc::new(Pool::new(2).unwrap()), || {}).unwrap()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let long = Duration::from_secs(600);

    let live = engine.tenant("live").unwrap();
    let projections = open(&live, &folder.path().join("tenants/live"));
    projections.apply(orders()).unwrap();
    let begin = Instant::now();
    let mut lag = 0;
    for first in (0..EVENTS).step_by(BATCH as usize) {
        publish(&live, first);
        lag = lag.max(live.position() - projections.position("orders").unwrap().0);
    }
    let published = begin.elapsed().as_secs_f64();
    projections.wait("orders", EVENTS, long).unwrap();
    let followed = begin.elapsed().as_secs_f64();
    let bytes = live.event_at(1).unwrap().unwrap().bytes();
    println!("stored bytes of an event: {bytes}");
    println!(
        "live: {:.0} events/s published, {:.0}/s in the read model, largest lag {lag}",
        EVENTS as f64 / published,
        EVENTS as f64 / followed
    );
    drop(projections);

    for round in 0..ROUNDS {
        let elsewhere = tempfile::tempdir_in(folder.path()).unwrap();
        if std::env::var_os("QUIPU_BENCH_POSTGRES").is_some() {
            // What is there would be gone on with: a changed declaration is built from the beginning, beside it.
            let mut anew = orders();
            anew.tables += &";".repeat(round + 1);
            let begin = Instant::now();
            let projections = open(&live, elsewhere.path());
            projections.apply(anew).unwrap();
            let at_end = |of: &quipu_projections::ReleaseStatus| of.number > 1 && of.position == EVENTS;
            while !projections.status("orders").unwrap().releases.iter().any(at_end) {
                std::thread::sleep(Duration::from_millis(5));
            }
            println!("rebuild: {:.0} events/s", EVENTS as f64 / begin.elapsed().as_secs_f64());
            projections.drop_release("orders").unwrap();
            continue;
        }
        let begin = Instant::now();
        let projections = open(&live, elsewhere.path());
        projections.wait("orders", EVENTS, long).unwrap();
        println!("rebuild: {:.0} events/s", EVENTS as f64 / begin.elapsed().as_secs_f64());
    }
    engine.close().unwrap();
}
