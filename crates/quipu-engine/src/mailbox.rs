//! What waits for the loop, and where its answers go.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use quipu_store::{Fault, Record};

use crate::append::{Append, Appended, NotAppended, Prepared, Published};
use crate::decide::Checked;
use crate::sagas::StepCommit;
use crate::schedules::Come;

pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// Inputs in the order in which they are decided.
#[derive(Default)]
pub(crate) struct Mailbox {
    pub inputs: VecDeque<(usize, Input)>,
    /// Those that go first: what is due may not wait behind 64 MiB of appends. See [`Input::is_urgent`].
    pub urgent: VecDeque<(usize, Input)>,
    pub bytes: usize,
    pub is_closed: bool,
}

pub(crate) enum Input {
    Publish(Vec<Prepared>, Reply<Result<Vec<Published>, Fault>>),
    Append(Append, Vec<Checked>, Reply<Result<Appended, NotAppended>>),
    /// System records, one commit.
    Records(Vec<Record>, Reply<Result<(), Fault>>),
    /// The events of timers whose time has come.
    Fire(Vec<(u64, Prepared)>, Reply<Result<(), Fault>>),
    /// The ticks of schedules that have come.
    Tick(Vec<Come>, Reply<Result<(), Fault>>),
    /// What a round of sagas came to.
    Step(Box<StepCommit>, Reply<Result<(), Fault>>),
}

impl Mailbox {
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.urgent.is_empty()
    }

    /// The next input, and its bytes.
    pub fn pop(&mut self) -> Option<(usize, Input)> {
        let next = self.urgent.pop_front().or_else(|| self.inputs.pop_front())?;
        self.bytes -= next.0;
        Some(next)
    }
}

impl Input {
    /// Whether it goes before what others want: each tenant has one of a kind at most.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Fire(..) | Self::Tick(..) | Self::Step(..))
    }

    /// Whether somebody wants events to be recorded, and not the engine a record of its own.
    pub fn has_events(&self) -> bool {
        match self {
            Self::Publish(..) | Self::Tick(..) => true,
            // Whoever only cancels timers wants less to be recorded.
            Self::Append(append, ..) => {
                !append.events.is_empty() || !append.timers.is_empty() || append.checkpoint.is_some()
            }
            // Those of timers were taken when they were set.
            Self::Records(..) | Self::Fire(..) | Self::Step(..) => false,
        }
    }

    /// Answers that it was not taken.
    pub fn fail(self, fault: Fault) {
        match self {
            Self::Publish(_, reply) => reply(Err(fault)),
            Self::Append(_, _, reply) => reply(Err(fault.into())),
            Self::Records(_, reply) | Self::Fire(_, reply) | Self::Tick(_, reply) | Self::Step(_, reply) => {
                reply(Err(fault));
            }
        }
    }
}

/// Where a waiting caller finds its answer.
pub(crate) struct Slot<T> {
    value: Mutex<Option<T>>,
    is_there: Condvar,
}

impl<T> Slot<T> {
    /// One for who answers, one for who waits.
    pub fn pair() -> (Arc<Self>, Arc<Self>) {
        let slot = Arc::new(Self { value: Mutex::new(None), is_there: Condvar::new() });
        (Arc::clone(&slot), slot)
    }

    pub fn put(&self, value: T) {
        *self.value.lock() = Some(value);
        self.is_there.notify_one();
    }

    pub fn is_there(&self) -> bool {
        self.value.lock().is_some()
    }

    /// Waits until it is there.
    pub fn wait(&self) {
        self.is_there.wait_while(&mut self.value.lock(), |value| value.is_none());
    }

    pub fn take(&self) -> T {
        let mut value = self.value.lock();
        loop {
            match value.take() {
                Some(value) => return value,
                None => self.is_there.wait(&mut value),
            }
        }
    }
}
