//! The two stages of the loop, and the work beside them. *Decide* takes everything that waits, decides it in order on
//! the pending state and writes it. *Flush* makes what is written durable with one sync and sends the replies. While
//! one batch syncs, the next is decided. *Maintain* writes index runs and snapshots.

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use quipu_store::{Commit, Fault, Record, RecordKind, snapshot};

use crate::audit::Head;
use crate::decide::{Turn, Window};
use crate::fold::Fold;
use crate::mailbox::Input;
use crate::opening::is_in_window;
use crate::tenant::Tenant;
use crate::timers::TimerRecord;

/// What one turn of the loop takes at most: longer turns would make the first of them wait for the last.
const TURN_BYTES: usize = 1 << 20;
/// What it takes of what is due, and beside that of all else: neither waits for the other to be done.
const TURN_DUE_BYTES: usize = 64 << 10;
/// Full memtables that may wait for their run before the loop writes one itself.
const SEALING_MAX: usize = 2;

/// Sends an answer, or the fault that befell the batch it stood in.
type Answer = Box<dyn FnOnce(Option<&Fault>) + Send>;

/// Answers that wait until a commit, and with it all before, is durable.
pub(crate) struct Written {
    pub head: Head,
    pub position: u64,
    pub checkpoints: Vec<(String, u64)>,
    pub replies: Vec<Answer>,
}

impl Tenant {
    /// Decides what waits, as much as one turn takes, and writes it, not synced. Returns how many inputs it decided.
    pub fn decide(&self) -> usize {
        let mut fold = self.decider.lock();
        let inputs = self.take_inputs();
        if inputs.is_empty() {
            return 0;
        }
        let count = inputs.len();
        self.is_active.store(true, Ordering::Relaxed);
        let expected_tail = fold.tail.number;
        let first_position = fold.tail.next_position;
        let now = self.world.clock.now().max(fold.tail.recorded_time);
        let window = Window::of(&self.options);
        let schemas = self.schemas.current();
        let timers_before = fold.timers.last;
        let due_before = self.timers.next();
        let mut turn = Turn {
            fold: &mut fold,
            index: &self.index,
            log: self.log.as_ref(),
            payloads: &self.payloads,
            hasher: &self.hasher,
            now,
            window,
            schemas: &schemas,
            timers: &self.timers,
            timers_before,
            first_position,
            commits: Vec::with_capacity(count),
        };
        let mut replies: Vec<Answer> = Vec::with_capacity(count);
        for input in inputs {
            // A fault in deciding (an index or the log cannot be read) touches this input only.
            match input {
                Input::Publish(events, reply) => {
                    let answer = turn.publish(events);
                    replies.push(Box::new(move |fault| reply(fault.map_or(answer, |fault| Err(fault.clone())))));
                }
                Input::Records(records, reply) => {
                    turn.take_records(records);
                    replies.push(Box::new(move |fault| reply(fault.map_or(Ok(()), |fault| Err(fault.clone())))));
                }
                Input::Fire(fires, reply) => {
                    turn.fire(fires);
                    replies.push(Box::new(move |fault| reply(fault.map_or(Ok(()), |fault| Err(fault.clone())))));
                }
                Input::Tick(come, reply) => {
                    let answer = turn.tick(come);
                    replies.push(Box::new(move |fault| reply(fault.map_or(answer, |fault| Err(fault.clone())))));
                }
                Input::Step(step, reply) => {
                    turn.step(*step);
                    replies.push(Box::new(move |fault| reply(fault.map_or(Ok(()), |fault| Err(fault.clone())))));
                }
                Input::Append(append, checked, reply) => {
                    let answer = turn.append(append, &checked);
                    replies.push(Box::new(move |fault| reply(fault.map_or(answer, |fault| Err(fault.clone().into())))));
                }
            }
        }
        let commits = turn.commits;
        let head = Head { commit: fold.tail.number, chain: fold.tail.chain };
        let position = fold.tail.next_position - 1;
        if let Err(fault) = self.write(&mut fold, expected_tail, first_position, &commits) {
            let fault = self.poisoned(fault);
            drop(fold);
            replies.into_iter().for_each(|reply| reply(Some(&fault)));
            return count;
        }
        self.streams.store(fold.streams.len() as u64, Ordering::Relaxed);
        self.weigh();
        // Under the decider's lock, so that batches stand in order.
        let checkpoints = checkpoints_of(&commits);
        self.written.lock().push_back(Written { head, position, checkpoints, replies });
        // Whoever waits to look something up is not kept for another turn.
        MutexGuard::unlock_fair(fold);
        if self.timers.next() != due_before {
            self.wake_timers();
        }
        self.write_runs_that_wait();
        self.sweep_payloads();
        count
    }

    /// Appending is faster than writing index runs, or they cannot be written: the loop helps out, or appends stop.
    fn write_runs_that_wait(&self) {
        while self.index.sealing() > SEALING_MAX && self.poison().is_none() {
            self.flush();
            // Not a snapshot: it is no memory that waits.
            if !matches!(self.write_run(), Ok(true)) {
                return;
            }
        }
    }

    /// Writes the index run of the oldest full memtable. Returns whether there was one. While too many wait because they
    /// cannot be written, appends are refused.
    fn write_run(&self) -> Result<bool, Fault> {
        let written = self.index.maintain(self.position());
        let mut stuck = self.stuck.lock();
        // Counted under the lock, since another thread may have written those that this one could not: whoever writes
        // the last that is too many comes here after that.
        match &written {
            _ if self.index.sealing() <= SEALING_MAX => *stuck = None,
            Err(fault) => *stuck = Some(fault.clone()),
            Ok(_) => {}
        }
        written
    }

    fn take_inputs(&self) -> Vec<Input> {
        let mut mailbox = self.mailbox.lock();
        let most = if mailbox.urgent.is_empty() { TURN_BYTES } else { TURN_DUE_BYTES };
        mailbox.take(most)
    }

    fn write(&self, fold: &mut Fold, expected_tail: u64, first_position: u64, commits: &[Commit]) -> Result<(), Fault> {
        if commits.is_empty() {
            return Ok(());
        }
        let mut locators = Vec::new();
        self.log.submit(expected_tail, commits, &mut locators)?;
        let records = || commits.iter().flat_map(|commit| &commit.records).zip(locators.iter().copied());
        for (record, locator) in records().filter(|(record, _)| record.kind == RecordKind::DeadLetter) {
            fold.subscriptions.place(&record.body, locator);
        }
        let is_set = |record: &Record| record.kind == RecordKind::Timer && TimerRecord::is_set(&record.body);
        for (_, locator) in records().filter(|(record, _)| is_set(record)) {
            fold.timers.place(locator);
        }
        let events = records().filter(|(record, _)| record.kind == RecordKind::Event).map(|(_, locator)| locator);
        self.index.place(first_position, events);
        Ok(())
    }

    /// Makes durable what is written and sends the replies. Returns how many.
    pub fn flush(&self) -> usize {
        let _one_at_a_time = self.flusher.lock();
        let mut batches = std::mem::take(&mut *self.written.lock());
        let Some(last) = batches.back() else { return 0 };
        let mut fault = None;
        if last.head.commit > self.durable_commit.load(Ordering::Acquire) {
            match self.log.complete() {
                Ok(durable) => {
                    // A log may be late with a part of what it was asked for: that part waits for the next flush.
                    let is_durable = batches.partition_point(|batch| batch.head.commit <= durable);
                    let late = batches.split_off(is_durable);
                    let mut written = self.written.lock();
                    late.into_iter().rev().for_each(|batch| written.push_front(batch));
                }
                Err(failed) => fault = Some(self.poisoned(failed)),
            }
        }
        let Some(last) = batches.back() else { return 0 };
        let position = last.position;
        if fault.is_none() {
            *self.durable_head.lock() = last.head;
            self.durable_commit.store(last.head.commit, Ordering::Release);
            self.durable_position.store(position, Ordering::Release);
        }
        let mut count = 0;
        for batch in batches {
            count += batch.replies.len();
            if fault.is_none() {
                self.checkpoints.lock().extend(batch.checkpoints);
            }
            batch.replies.into_iter().for_each(|reply| reply(fault.as_ref()));
        }
        if fault.is_none() {
            let watchers = self.watchers.read();
            watchers.iter().for_each(|(_, watcher)| watcher(position));
        }
        count
    }

    /// After a failed write or sync it is not known what the disk holds: no more appends until a restart.
    fn poisoned(&self, fault: Fault) -> Fault {
        self.poison.get_or_init(|| fault.clone());
        match fault {
            Fault::DiskFull { .. } | Fault::Poisoned { .. } | Fault::Fenced { .. } => fault,
            fault => Fault::Poisoned { cause: fault.to_string() },
        }
    }

    /// Background work: writes the index run of a full memtable and a snapshot. Returns whether there was any.
    ///
    /// # Errors
    /// The disk refused. Nothing is lost: both are caches. A run stays to be written, and too many of them stop
    /// appends; a snapshot is written with the next run, and until then opening reads more of the log.
    pub fn maintain(&self) -> Result<bool, Fault> {
        let _one_at_a_time = self.maintainer.lock();
        if !self.write_run()? {
            return Ok(false);
        }
        let fold = self.decider.lock().clone();
        let window = Window::of(&self.options);
        self.index
            .forget_pairs(|position| is_in_window(&self.index, self.log.as_ref(), window, &fold.tail, position))?;
        // The copy may rest on commits that are not durable yet; the snapshot must not.
        if self.log.complete()? >= fold.tail.number {
            snapshot::write(self.world.storage.as_ref(), &self.snapshots(), fold.tail.number, |sink| fold.write(sink))?;
        }
        Ok(true)
    }

    /// Writes the mark that says that everything is durable, if the log has none at its end.
    pub fn idle(&self) {
        let _one_at_a_time = self.flusher.lock();
        if self.written.lock().is_empty()
            && self.poison().is_none()
            && let Err(fault) = self.log.rest()
        {
            self.poisoned(fault);
        }
    }

    /// Finishes what waits and closes the log. Appends are refused from now on; reads go on.
    ///
    /// # Errors
    /// The disk refused; opening will then recover as after a crash.
    pub fn close(&self) -> Result<(), Fault> {
        self.mailbox.lock().is_closed = true;
        while self.decide() > 0 {}
        while self.flush() > 0 || (!self.written.lock().is_empty() && self.poison().is_none()) {}
        self.fail_asked_if_closed();
        match self.poison() {
            Some(_) => Ok(()),
            None => self.log.close(),
        }
    }
}

fn checkpoints_of(commits: &[Commit]) -> Vec<(String, u64)> {
    let records = commits.iter().flat_map(|commit| &commit.records);
    let checkpoints = records.filter(|record| record.kind == RecordKind::Checkpoint);
    let read = checkpoints.filter_map(|record| Record::read_checkpoint(&record.body));
    read.map(|(source, number)| (source.to_owned(), number)).collect()
}
