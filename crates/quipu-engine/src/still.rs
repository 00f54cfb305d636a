//! A tenant in a world that stands still, for tests beside the code: its clock stays where it is, and its randomness
//! counts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::{Event, Timestamp};
use quipu_store::{DiskStorage, Fault};

use crate::options::{Clock, Options, Random, World};
use crate::tenant::Tenant;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1)
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
    let storage = Arc::new(DiskStorage::new(folder));
    let world = World { storage, clock: Arc::new(Still), random: Arc::new(Counter::default()) };
    Tenant::open(&world, "t", options).unwrap()
}

/// Publishes one event, whose subject is its id.
pub(crate) fn publish(tenant: &Arc<Tenant>, kind: &str, id: &str) -> Result<(), Fault> {
    let event = Event::builder(id, "/test", kind).subject(id).json("1").build().unwrap();
    tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).map(|_| ())
}
