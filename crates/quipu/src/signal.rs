//! Tells followers that something was recorded: the newest durable position, which threads and futures wait to pass.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    position: u64,
    is_closed: bool,
    wakers: Vec<Waker>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Passed,
    TimedOut,
    Closed,
}

impl Signal {
    pub(crate) fn reached(&self, position: u64) {
        self.change(|state| state.position = state.position.max(position));
    }

    pub(crate) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until the newest position is above `position`; without a deadline for as long as it takes.
    pub(crate) fn wait(&self, position: u64, deadline: Option<Instant>) -> Waited {
        let mut state = self.lock();
        loop {
            if state.position > position {
                return Waited::Passed;
            }
            if state.is_closed {
                return Waited::Closed;
            }
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Waited::TimedOut,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    pub(crate) fn poll(&self, position: u64, context: &Context<'_>) -> Poll<Waited> {
        let mut state = self.lock();
        if state.position > position {
            return Poll::Ready(Waited::Passed);
        }
        if state.is_closed {
            return Poll::Ready(Waited::Closed);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_position_is_passed_or_the_store_is_closed() {
        let signal = Signal::default();
        assert_eq!(signal.wait(0, Some(Instant::now())), Waited::TimedOut);
        signal.reached(3);
        assert_eq!(signal.wait(2, None), Waited::Passed);
        assert!(signal.poll(3, &Context::from_waker(Waker::noop())).is_pending());
        signal.close();
        assert_eq!(signal.wait(3, None), Waited::Closed);
    }
}
