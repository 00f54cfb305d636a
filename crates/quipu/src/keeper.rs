//! Keeps the deliveries that a worker has: moves their deadlines while it is at work, and knows which keys are being
//! worked on. A thread of its own, since a handler may keep the worker's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use quipu_domain::delivery::{DeliveryId, Key};

use crate::Delivery;
use crate::wakeup::Wakeup;
use crate::worker::source::Source;

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
    pub fn start(source: Arc<dyn Source>) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), is_stopped: Condvar::new() });
        let thread = Arc::clone(&shared);
        std::thread::spawn(move || look(&thread, source.as_ref()));
        Self { shared, keys: HashSet::new() }
    }

    /// Moves the deadline of a delivery until it is forgotten.
    pub fn keep(&self, delivery: &Delivery) {
        self.shared.lock().kept.insert(delivery.id(), delivery.token());
    }

    /// Whether it may be begun: nothing of its key is being worked on.
    pub fn begin(&mut self, delivery: &Delivery) -> bool {
        delivery.key().is_none_or(|key| self.keys.insert(key))
    }

    /// The next of its key may be begun. Its deadline is moved until its answer was given.
    pub fn end(&mut self, delivery: &Delivery) {
        if let Some(key) = delivery.key() {
            self.keys.remove(&key);
        }
    }

    /// It may be here once more under a later attempt, which stays.
    pub fn forget(&self, delivery: &Delivery) {
        let mut state = self.shared.lock();
        if state.kept.get(&delivery.id()) == Some(&delivery.token()) {
            state.kept.remove(&delivery.id());
        }
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

fn look(shared: &Shared, source: &dyn Source) {
    let mut state = shared.lock();
    while !state.is_stopped {
        let waited = shared.is_stopped.wait_timeout(state, source.look());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.to_wake.drain(..).for_each(|wakeup| wakeup.set());
        let attempts: Vec<_> = state.kept.iter().map(|(id, token)| (*id, *token)).collect();
        if !attempts.is_empty() && !state.is_stopped {
            drop(state);
            source.extend(attempts);
            state = shared.lock();
        }
    }
}
