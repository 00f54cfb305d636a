//! A tenant with a shop in it, and its projections.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use quipu_domain::projection::Projection;
use quipu_domain::{Event, Timestamp};
use quipu_engine::{Clock, Engine, Options, Random, Tenant, World};
use quipu_projections::{Pool, ProjectionStatus, Projections, ReleaseStatus, TableDigest, TableQuery};
use quipu_store::DiskStorage;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Long enough for two loaded cores; a test that waits so long fails.
pub const LONG: Duration = Duration::from_secs(60);

/// Moves by a second whenever it is asked.
#[derive(Default)]
struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1_000_000, Ordering::Relaxed))
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

pub fn engine(folder: &Path) -> Engine {
    let world = World {
        storage: Arc::new(DiskStorage::new(folder)),
        clock: Arc::new(Ticks::default()),
        random: Arc::new(Counter(AtomicI64::new(0))),
    };
    Engine::open(world, Options { segment_bytes: 64 << 10, run_events: 200, ..Options::default() }).unwrap()
}

/// A shop, its projections, and everything that they need.
pub struct Shop {
    pub projections: Projections,
    pub tenant: Arc<Tenant>,
    pub engine: Engine,
    pub pool: Arc<Pool>,
    pub folder: Arc<TempDir>,
}

impl Shop {
    pub fn open() -> Self {
        Self::open_in(Arc::new(TempDir::new().unwrap()))
    }

    pub fn open_in(folder: Arc<TempDir>) -> Self {
        let engine = engine(folder.path());
        let tenant = engine.tenant("shop").unwrap();
        engine.adopt_tenants().unwrap();
        let pool = Arc::new(Pool::new(2).unwrap());
        let at = folder.path().join("tenants/shop");
        let projections = Projections::open(Arc::clone(&tenant), Some(&at), Arc::clone(&pool), || {}).unwrap();
        Self { projections, tenant, engine, pool, folder }
    }

    /// Stops it, and leaves its folder.
    pub fn close(self) -> Arc<TempDir> {
        let Self { projections, tenant, engine, pool, folder } = self;
        projections.close();
        drop((projections, tenant, pool));
        engine.close().unwrap();
        folder
    }

    pub fn reopen(self) -> Self {
        Self::open_in(self.close())
    }

    pub fn publish(&self, events: &[Event<'_>]) -> u64 {
        let prepared = events.iter().map(|event| self.tenant.prepare(event, None).unwrap()).collect();
        self.tenant.publish_wait(prepared).unwrap();
        self.tenant.position()
    }

    /// Publishes, and waits until the projections have seen it.
    pub fn publish_and_wait(&self, events: &[Event<'_>]) {
        let position = self.publish(events);
        for status in self.projections.list() {
            self.projections.wait(&status.name, position, LONG).unwrap();
        }
    }

    pub fn rows(&self, name: &str, table: &str) -> Vec<Map<String, Value>> {
        let query = TableQuery { limit: 1_000, ..TableQuery::default() };
        self.projections.rows(name, table, &query).unwrap().rows
    }

    pub fn digests(&self, name: &str) -> Vec<TableDigest> {
        self.projections.digests(name).unwrap().1
    }

    /// Waits until something holds of the live release.
    pub fn until(&self, name: &str, holds: impl Fn(&ReleaseStatus) -> bool) -> ReleaseStatus {
        self.until_of(name, |status| status.releases.iter().find(|of| of.number == status.live).cloned(), holds)
    }

    /// Waits until something holds of the release that comes next.
    pub fn until_next(&self, name: &str, holds: impl Fn(&ReleaseStatus) -> bool) -> ReleaseStatus {
        self.until_of(name, |status| status.releases.iter().find(|of| of.number > status.live).cloned(), holds)
    }

    fn until_of(
        &self,
        name: &str,
        of: impl Fn(&ProjectionStatus) -> Option<ReleaseStatus>,
        holds: impl Fn(&ReleaseStatus) -> bool,
    ) -> ReleaseStatus {
        let until = Instant::now() + LONG;
        loop {
            let status = self.projections.status(name).unwrap();
            match of(&status) {
                Some(release) if holds(&release) => return release,
                release => assert!(Instant::now() < until, "{release:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn file(&self, name: &str, release: u64) -> PathBuf {
        self.folder.path().join(format!("tenants/shop/read-models/{name}/{release}.sqlite"))
    }

    /// What a read model is if it is built from the beginning, in a place of its own.
    pub fn scratch_build(&self, declaration: Projection) -> Vec<TableDigest> {
        let elsewhere = TempDir::new().unwrap();
        let pool = Arc::new(Pool::new(1).unwrap());
        let name = declaration.name.clone();
        // A tenant of its own knows none of this one's skipped events: whoever asks has none.
        let projections = Projections::open(Arc::clone(&self.tenant), Some(elsewhere.path()), pool, || {}).unwrap();
        projections.wait(&name, self.tenant.position(), LONG).unwrap();
        projections.digests(&name).unwrap().1
    }
}

/// The log of the shop as a backup has it.
pub struct SavedLog(Vec<(Vec<u8>, PathBuf)>);

impl SavedLog {
    pub fn of(folder: &TempDir) -> Self {
        let files = fs::read_dir(folder.path().join("tenants/shop/log")).unwrap().map(|file| file.unwrap().path());
        Self(files.filter(|path| path.is_file()).map(|path| (fs::read(&path).unwrap(), path)).collect())
    }

    /// Puts it in the place of the log that is there.
    pub fn put_back(&self, folder: &TempDir) {
        let tenant = folder.path().join("tenants/shop");
        for other in ["index", "snapshots", "catalog"] {
            drop(fs::remove_dir_all(tenant.join(other)));
        }
        fs::remove_dir_all(tenant.join("log")).unwrap();
        fs::create_dir(tenant.join("log")).unwrap();
        self.0.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
        drop(fs::remove_file(tenant.join("heads")));
    }
}

pub fn declared(value: Value) -> Projection {
    serde_json::from_value::<Value>(value).map(|value| serde_json::from_str(&value.to_string()).unwrap()).unwrap()
}

/// The example of the documentation.
pub fn orders() -> Projection {
    declared(json!({
        "projection": "orders",
        "tables": "create table orders (id text primary key, customer text, status text, total real, placed_at text);
                   create index by_customer on orders (customer)",
        "on": {
            "order.placed": "insert into orders values (:subject, :data.customerId, 'placed', :data.total, :time)",
            "order.shipped": "update orders set status = 'shipped' where id = :subject"
        }
    }))
}

pub fn event(kind: &str, id: u64, order: u64, data: Value) -> Event<'static> {
    Event::builder(format!("{kind}-{id}"), "/shop", kind.to_owned())
        .subject(format!("order/{order}"))
        .time("2026-01-31T09:30:00Z")
        .json(data.to_string())
        .build()
        .unwrap()
        .into_owned()
}

pub fn placed(order: u64) -> Event<'static> {
    event("order.placed", order, order, json!({"customerId": format!("c{}", order % 3), "total": order as f64 + 0.5}))
}

pub fn shipped(order: u64) -> Event<'static> {
    event("order.shipped", order, order, json!({}))
}
