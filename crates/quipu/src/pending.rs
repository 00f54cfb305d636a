//! A value that another thread will give: a future that needs no runtime. An async runtime's own channel would do
//! the same, and would make every embedder build that runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use quipu_store::Fault;

use crate::Error;

/// The outcome of an operation that was begun. Dropping it does not take the operation back.
///
/// If the store is closed before there is an outcome, that is the outcome: [`Fault::Closed`].
#[must_use = "a future does nothing for its caller unless it is awaited"]
pub struct Pending<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

/// The other end: gives the outcome once.
pub(crate) struct Promise<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

enum Slot<T> {
    Empty(Option<Waker>),
    Full(Result<T, Error>),
    Taken,
}

/// A promise and what awaits it.
pub(crate) fn pending<T>() -> (Promise<T>, Pending<T>) {
    let slot = Arc::new(Mutex::new(Slot::Empty(None)));
    (Promise { slot: slot.clone() }, Pending { slot })
}

impl<T> Pending<T> {
    /// An outcome that is known already.
    pub(crate) fn ready(outcome: Result<T, Error>) -> Self {
        Self { slot: Arc::new(Mutex::new(Slot::Full(outcome))) }
    }
}

impl<T> Promise<T> {
    pub(crate) fn keep(self, outcome: Result<T, Error>) {
        self.fill(outcome);
    }

    /// Whether anybody may still ask for the outcome.
    #[cfg(feature = "remote")]
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }

    fn fill(&self, outcome: Result<T, Error>) {
        let mut slot = lock(&self.slot);
        if let Slot::Empty(waker) = &mut *slot {
            let waker = waker.take();
            *slot = Slot::Full(outcome);
            // Woken outside the lock: a waker may poll at once.
            drop(slot);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.fill(Err(Error::Fault(Fault::Closed)));
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.slot);
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Full(outcome) => Poll::Ready(outcome),
            Slot::Empty(_) => {
                *slot = Slot::Empty(Some(context.waker().clone()));
                Poll::Pending
            }
            Slot::Taken => panic!("a future must not be polled after it was ready"),
        }
    }
}

/// A thread that panicked while it held the lock left a whole value: every change is one assignment.
fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_that_is_dropped_ends_as_closed() {
        let (promise, mut pending) = pending::<u8>();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        drop(promise);
        let outcome = Pin::new(&mut pending).poll(&mut context);
        assert!(matches!(outcome, Poll::Ready(Err(Error::Fault(Fault::Closed)))));
    }

    #[test]
    fn what_is_kept_arrives_from_another_thread() {
        let (promise, mut pending) = pending::<u8>();
        std::thread::spawn(move || promise.keep(Ok(7))).join().unwrap();
        let outcome = Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(outcome, Poll::Ready(Ok(7))));
    }
}
