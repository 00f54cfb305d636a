//! A tenant in a world that stands still, for tests beside the code: its clock stays where it is, and its randomness
//! counts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use quipu_domain::{Event, Timestamp};
use quipu_store::{DiskStorage, Fault};

use crate::options::{Clock, Options, Random, World};
use crate::tenant::Tenant;

/// A clock that a test moves.
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub fn wait_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.0.fetch_add(7, Ordering::Relaxed) as u8);
    }
}

/// The tenant `t` of a folder.
pub(crate) fn tenant(folder: &Path, options: Options) -> Arc<Tenant> {
    tenant_with_clock(folder, options).0
}

/// The same, and its clock.
pub(crate) fn tenant_with_clock(folder: &Path, options: Options) -> (Arc<Tenant>, Arc<Hands>) {
    let (world, clock) = world(folder);
    (Tenant::open(&world, "t", options).unwrap(), clock)
}

/// The world of a folder, and its clock.
pub(crate) fn world(folder: &Path) -> (World, Arc<Hands>) {
    let (storage, clock) = (Arc::new(DiskStorage::new(folder)), Arc::new(Hands(AtomicI64::new(1))));
    let world = World { storage, clock: Arc::clone(&clock) as Arc<dyn Clock>, random: Arc::new(Counter::default()) };
    (world, clock)
}

/// Publishes one event, whose subject is its id.
pub(crate) fn publish(tenant: &Arc<Tenant>, kind: &str, id: &str) -> Result<(), Fault> {
    let event = Event::builder(id, "/test", kind).subject(id).json("1").build().unwrap();
    tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).map(|_| ())
}
