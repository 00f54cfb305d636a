//! What waits for the loop, and where its answers go.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use quipu_store::{Fault, PAYLOAD_BYTES_MAX, Record};

use crate::append::{Append, Appended, NotAppended, Prepared, Published};
use crate::decide::{COMMIT_BYTES, Checked};
use crate::sagas::StepCommit;
use crate::schedules::Come;

/// What stands in a frame before its records, and what ends of timers add to an append, at most.
const COMMIT_HEAD_BYTES: usize = 1 << 20;

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

    /// The next inputs: so many bytes of those that go first, and as many of the others; one of each, if there is one.
    pub fn take(&mut self, bytes: usize) -> Vec<Input> {
        let mut inputs = Vec::with_capacity(self.inputs.len() + self.urgent.len());
        for queue in [&mut self.urgent, &mut self.inputs] {
            let mut taken = 0;
            while taken < bytes
                && let Some((size, input)) = queue.pop_front()
            {
                taken += size;
                inputs.push(input);
            }
            self.bytes -= taken;
        }
        inputs
    }
}

impl Input {
    /// Whether it goes before what others want: each tenant has a few at most.
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

    /// A commit of it that no frame has room for. Whoever makes a commit has limits that keep it well below: this is for what
    /// escapes them, so that it is refused and ends nothing else.
    pub fn too_large(&self) -> Option<Fault> {
        let limit = PAYLOAD_BYTES_MAX - COMMIT_HEAD_BYTES;
        let bytes = match self {
            // Closed behind the event that fills it.
            Self::Publish(events, _) => COMMIT_BYTES + events.iter().map(Prepared::bytes_taken).max().unwrap_or(0),
            Self::Append(append, ..) => append.events.iter().chain(&append.timers).map(Prepared::bytes_taken).sum(),
            Self::Records(records, _) => records.iter().map(Record::bytes).sum(),
            Self::Fire(fires, _) => fires.iter().map(|(_, event)| event.bytes()).sum(),
            Self::Tick(come, _) => come.iter().map(Come::bytes).sum(),
            Self::Step(commit, _) => commit.bytes(),
        };
        (bytes > limit).then_some(Fault::CommitTooLarge { bytes, limit })
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

#[cfg(test)]
mod tests {
    use quipu_store::RecordKind;

    use super::*;
    use crate::options::Options;
    use crate::still;

    #[test]
    fn what_no_frame_has_room_for_is_refused_and_ends_nothing_else() {
        let records = |mib: usize| (0..mib).map(|_| Record::new(RecordKind::DeadLetter, vec![0; 1 << 20])).collect();
        let input = |mib| Input::Records(records(mib), Box::new(|_| ()));
        assert_eq!(input(126).too_large().map(|fault| fault.to_string()), None);
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options::default());
        let refused = "expected a commit of at most 133169152 bytes, found one of 133185408: nothing of it was written";
        assert_eq!(tenant.write_records_wait(records(127)).map_err(|fault| fault.to_string()), Err(refused.into()));
        still::publish(&tenant, "a.b", "1").unwrap();
    }

    #[test]
    fn neither_what_is_due_nor_what_others_want_waits_until_the_other_is_done() {
        let mut mailbox = Mailbox::default();
        let input = |is_due: bool| match is_due {
            true => Input::Fire(Vec::new(), Box::new(|_| ())),
            false => Input::Records(Vec::new(), Box::new(|_| ())),
        };
        for _ in 0..4 {
            mailbox.urgent.push_back((70, input(true)));
            mailbox.inputs.push_back((30, input(false)));
        }
        mailbox.bytes = 400;
        let mut take = || {
            let is_due: Vec<bool> = mailbox.take(60).iter().map(Input::is_urgent).collect();
            (is_due, mailbox.bytes)
        };
        assert_eq!(take(), (vec![true, false, false], 270));
        assert_eq!(take(), (vec![true, false, false], 140));
        assert_eq!(take(), (vec![true], 70));
        assert_eq!([take(), take()], [(vec![true], 0), (vec![], 0)]);
    }
}
