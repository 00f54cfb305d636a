//! Keeps the deliveries that a worker has: moves their deadlines while it is at work, and knows which keys are being
//! worked on. A thread of its own, since a handler may keep the worker's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quipu_domain::delivery::{DeliveryId, Key};
use quipu_engine::{Answer, Tenant};

use crate::Delivery;
use crate::wakeup::Wakeup;

/// The longest time between two looks.
const LOOK_MS_MAX: u64 = 1_000;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    keys: HashSet<Key>,
}

struct Shared {
    state: Mutex<State>,
    is_stopped: Condvar,
}

#[derive(Default)]
struct State {
    kept: HashMap<DeliveryId, u64>,
    to_wake: Vec<Arc<Wakeup>>,
    is_stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    pub fn start(tenant: Arc<Tenant>, subscription: &str) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), is_stopped: Condvar::new() });
        let (name, thread) = (subscription.to_owned(), Arc::clone(&shared));
        std::thread::spawn(move || look(&thread, &tenant, &name));
        Self { shared, keys: HashSet::new() }
    }

    /// Moves the deadline of a delivery until it is ended or forgotten.
    pub fn keep(&self, delivery: &Delivery) {
        self.shared.lock().kept.insert(delivery.id(), delivery.token());
    }

    /// Whether it may be begun: nothing of its key is being worked on.
    pub fn begin(&mut self, delivery: &Delivery) -> bool {
        delivery.key().is_none_or(|key| self.keys.insert(key))
    }

    pub fn end(&mut self, delivery: &Delivery) {
        self.forget(delivery);
        if let Some(key) = delivery.key() {
            self.keys.remove(&key);
        }
    }

    pub fn forget(&self, delivery: &Delivery) {
        self.shared.lock().kept.remove(&delivery.id());
    }

    /// Sets a flag at the next look.
    pub fn wake_later(&self, wakeup: Arc<Wakeup>) {
        self.shared.lock().to_wake.push(wakeup);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.is_stopped.notify_all();
    }
}

fn look(shared: &Shared, tenant: &Tenant, name: &str) {
    let mut state = shared.lock();
    while !state.is_stopped {
        let deadline_ms = tenant.definition(name).map_or(LOOK_MS_MAX, |definition| definition.ack_deadline_ms);
        let look = Duration::from_millis((deadline_ms / 3).clamp(1, LOOK_MS_MAX));
        let waited = shared.is_stopped.wait_timeout(state, look);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.to_wake.drain(..).for_each(|wakeup| wakeup.set());
        let answers: Vec<_> =
            state.kept.iter().map(|(id, token)| (*id, *token, Answer::Extend { ms: deadline_ms })).collect();
        if !answers.is_empty() {
            drop(state);
            // One that is too late is found out when it is answered.
            _ = tenant.answer(name, answers);
            state = shared.lock();
        }
    }
}
