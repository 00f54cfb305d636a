//! The end of a worker: a flag that threads between two tries wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Ending {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Ending {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_set(&self) -> bool {
        *self.lock()
    }

    pub fn set(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// Waits so long, or until it is set.
    pub fn wait(&self, most: Duration) {
        _ = self.changed.wait_timeout_while(self.lock(), most, |is_set| !*is_set);
    }
}
