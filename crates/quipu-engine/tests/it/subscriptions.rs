//! Subscriptions deliver each matching event, in order per key, across restarts, and say why they do not move.

mod definitions;
mod delivery;
mod effects;
mod giving_up;
mod seeks;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu_domain::delivery::{Failure, NotInFlight, Reason};
use quipu_domain::{Event, StartAt, Subscription, Timestamp, Value};
use quipu_engine::{
    Answer, DeadLetterFilter, DeadLetterState, Handed, NotDone, Options, Standstill, SubscriptionRefusal, Tenant,
};
use quipu_store::DiskStorage;
use tempfile::TempDir;

use crate::support::*;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    tenant: Option<Arc<Tenant>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { folder: TempDir::new().unwrap(), clock: Arc::default(), tenant: None };
        world.open();
        world
    }

    fn open(&mut self) {
        self.tenant = Some(open_at(self.folder.path(), small(), Arc::clone(&self.clock)).unwrap());
    }

    fn tenant(&self) -> &Arc<Tenant> {
        self.tenant.as_ref().unwrap()
    }

    /// As a crash would leave it: nothing is written down that is not yet.
    fn crash(&mut self) {
        self.tenant = None;
        self.open();
    }

    fn wait_ms(&self, ms: i64) {
        self.clock.0.fetch_add(ms * 1_000, Ordering::Relaxed);
        self.tenant().deliver().unwrap();
    }

    fn subscribe(&self, name: &str, definition: &str) {
        assert!(self.tenant().create_subscription(name, definition_of(definition)).unwrap());
    }

    fn publish(&self, kind: &str, id: &str, subject: &str) -> u64 {
        match publish(self.tenant(), &event_of(kind, id, subject, "{\"n\":1}")) {
            quipu_engine::Published::Recorded(place) => place.position,
            other => panic!("{other:?}"),
        }
    }

    fn pull(&self, name: &str) -> Vec<Handed> {
        self.tenant().pull(name, 100).unwrap()
    }

    fn positions(&self, name: &str) -> Vec<u64> {
        positions(&self.pull(name))
    }

    fn answer(&self, name: &str, handed: &Handed, answer: Answer) -> Result<(), SubscriptionRefusal> {
        self.tenant().answer(name, vec![(handed.id, handed.token, answer)]).unwrap().remove(0)
    }

    fn ack(&self, name: &str, handed: &[Handed]) {
        handed.iter().for_each(|one| self.answer(name, one, Answer::Ack).unwrap());
    }

    fn nack(&self, name: &str, handed: &Handed, error: &str) {
        self.answer(name, handed, Answer::Nack { failure: Failure::new(error), delay_ms: None }).unwrap();
    }

    fn standstill(&self, name: &str) -> Standstill {
        self.tenant().explain_subscription(name).unwrap().standstill
    }

    fn dead_letters(&self) -> Vec<u64> {
        self.tenant().dead_letters(&DeadLetterFilter::default(), 0, 100).iter().map(|line| line.id).collect()
    }
}

fn definition_of(text: &str) -> Subscription {
    serde_json::from_str(text).unwrap()
}

fn positions(handed: &[Handed]) -> Vec<u64> {
    handed.iter().map(|handed| handed.id.position).collect()
}

const FROM_BEGINNING: &str = r#"{"start":"beginning"}"#;
