//! One tenant: a log, what memory knows of it, and the loop.
//!
//! An input goes through two stages. *Decide* takes everything that waits, decides it in order on the pending state
//! and writes it. *Flush* makes what is written durable with one sync and sends the replies. The stages run beside
//! each other: while one batch syncs, the next is decided. Each stage is run by one thread at a time, whoever that
//! is: a thread of the engine, a caller that waits for its own append, or the simulator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex, RwLock};
use quipu_domain::{Condition, Event, InvalidEvent, Timestamp};
use quipu_store::{
    Commit, Expr, Fault, FileLog, FileLogOptions, Index, Log, Record, RecordKind, Storage, Term, TermHasher, TornTail,
    body, snapshot,
};

use crate::append::{Append, Appended, NotAppended, Prepared, Published};
use crate::decide::{Checked, Turn, Window};
use crate::fold::Fold;
use crate::options::{Clock, Options, Random};
use crate::query::{expr_of_query, first_match};
use crate::threads::{AbortOnPanic, Job, Threads};

/// What one turn of the loop takes at most: longer turns would make the first of them wait for the last.
const TURN_BYTES: usize = 8 << 20;
/// Full memtables that may wait for their run before the loop writes one itself.
const SEALING_MAX: usize = 2;
/// How much of the log is read at once when it is replayed.
const REPLAY_BYTES: usize = 4 << 20;

type Reply<T> = Box<dyn FnOnce(T) + Send>;
/// Sends an answer, or the fault that befell the batch it stood in.
type Answer = Box<dyn FnOnce(Option<&Fault>) + Send>;
type Watcher = Arc<dyn Fn(u64) + Send + Sync>;

/// One log with all that follows from it.
pub struct Tenant {
    folder: String,
    storage: Arc<dyn Storage>,
    options: Options,
    clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) index: Index,
    pub(crate) hasher: TermHasher,
    torn: Option<TornTail>,
    mailbox: Mutex<Mailbox>,
    decider: Mutex<Fold>,
    /// Those of the fold that are durable.
    checkpoints: Mutex<BTreeMap<String, u64>>,
    written: Mutex<VecDeque<Written>>,
    /// Serializes flushes, so that replies are sent in order.
    flusher: Mutex<()>,
    durable_position: AtomicU64,
    durable_commit: AtomicU64,
    streams: AtomicU64,
    poison: OnceLock<Fault>,
    watchers: RwLock<Vec<(u64, Watcher)>>,
    next_watcher: AtomicU64,
    /// Which stages have a thread; see `drive`.
    pub(crate) deciding: AtomicBool,
    pub(crate) flushing: AtomicBool,
    pub(crate) maintaining: AtomicBool,
    /// Something was appended since the housekeeper last looked.
    pub(crate) is_active: AtomicBool,
    pub(crate) threads: Option<Weak<Threads>>,
    _lock: Option<Box<dyn Send + Sync>>,
}

#[derive(Default)]
struct Mailbox {
    inputs: VecDeque<(usize, Input)>,
    bytes: usize,
    is_closed: bool,
}

enum Input {
    Publish(Vec<Prepared>, Reply<Result<Vec<Published>, Fault>>),
    Append(Append, Vec<Checked>, Reply<Result<Appended, NotAppended>>),
}

/// Answers that wait until a commit, and with it all before, is durable.
struct Written {
    commit: u64,
    position: u64,
    checkpoints: Vec<(String, u64)>,
    replies: Vec<Answer>,
}

impl Tenant {
    /// Opens or makes the tenant in a folder, without threads of its own: whoever holds it drives it with
    /// [`Tenant::decide`], [`Tenant::flush`], [`Tenant::maintain`] and [`Tenant::idle`].
    ///
    /// # Errors
    /// [`Fault::Locked`] if another process has the folder, [`Fault::Damaged`] if what was acknowledged cannot be
    /// read; nothing is changed then.
    pub fn open(
        storage: Arc<dyn Storage>,
        folder: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> Result<Arc<Self>, Fault> {
        Self::open_driven(storage, folder, clock, random, options, None)
    }

    pub(crate) fn open_driven(
        storage: Arc<dyn Storage>,
        folder: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
        threads: Option<Weak<Threads>>,
    ) -> Result<Arc<Self>, Fault> {
        storage.create_dir(folder).map_err(|e| Fault::io("create", storage.display(folder), e))?;
        let lock = lock(storage.as_ref(), folder)?;
        let number = {
            let random = Arc::clone(&random);
            move || {
                let mut bytes = [0; 8];
                random.fill(&mut bytes);
                u64::from_le_bytes(bytes)
            }
        };
        let log_options = FileLogOptions { segment_bytes: options.segment_bytes };
        let (log, torn) =
            FileLog::open(Arc::clone(&storage), &format!("{folder}/log"), log_options, clock.now(), number)?;
        let mut tenant = Self::on_log(Arc::new(log), storage, folder, clock, random, options)?;
        (tenant.torn, tenant.threads, tenant._lock) = (torn, threads, Some(lock));
        Ok(Arc::new(tenant))
    }

    /// Opens the tenant of any log, without threads; indexes and snapshots are kept in a folder of `storage`. The log
    /// sees to it that it has one owner.
    pub fn open_on(
        log: Arc<dyn Log>,
        storage: Arc<dyn Storage>,
        folder: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> Result<Arc<Self>, Fault> {
        Self::on_log(log, storage, folder, clock, random, options).map(Arc::new)
    }

    fn on_log(
        log: Arc<dyn Log>,
        storage: Arc<dyn Storage>,
        folder: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> Result<Self, Fault> {
        let hasher = TermHasher::new(begin(log.as_ref(), clock.now(), random.as_ref())?);
        let tail = log.tail_at_opening();
        let index = Index::open(
            Arc::clone(&storage),
            &format!("{folder}/index"),
            Arc::clone(&log),
            hasher,
            options.run_events,
            tail.next_position,
        )?;
        let fold = replay(storage.as_ref(), &format!("{folder}/snapshots"), log.as_ref(), &index, &hasher)?;
        let position = fold.tail.next_position - 1;
        Ok(Self {
            folder: folder.to_owned(),
            storage,
            options,
            clock,
            log,
            index,
            hasher,
            torn: None,
            mailbox: Mutex::default(),
            durable_position: AtomicU64::new(position),
            durable_commit: AtomicU64::new(fold.tail.number),
            streams: AtomicU64::new(fold.streams.len() as u64),
            checkpoints: Mutex::new(fold.checkpoints.clone()),
            decider: Mutex::new(fold),
            written: Mutex::default(),
            flusher: Mutex::new(()),
            poison: OnceLock::new(),
            watchers: RwLock::default(),
            next_watcher: AtomicU64::new(0),
            deciding: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            maintaining: AtomicBool::new(false),
            is_active: AtomicBool::new(true),
            threads: None,
            _lock: None,
        })
    }

    /// What opening cut off, if the log ended in the middle of a write.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// Checks the size of an event, encodes and hashes it, on the caller's thread. `stream_version` is the version
    /// that the event claims to become, if it does.
    ///
    /// # Errors
    /// [`InvalidEvent::TooLarge`].
    pub fn prepare(&self, event: &Event<'_>, stream_version: Option<u64>) -> Result<Prepared, InvalidEvent> {
        Prepared::new(event, stream_version, &self.hasher, self.options.event_bytes_max)
    }

    /// Publishes events, each for itself. Never blocks on the disk's writing; the reply comes, on another thread,
    /// once everything that it rests on is durable.
    pub fn publish(
        self: &Arc<Self>,
        mut events: Vec<Prepared>,
        reply: impl FnOnce(Result<Vec<Published>, Fault>) + Send + 'static,
    ) {
        if let Err(fault) = self.look_up(&mut events) {
            return reply(Err(fault));
        }
        let bytes = events.iter().map(Prepared::bytes).sum();
        if self.enqueue(bytes, Input::Publish(events, Box::new(reply))) {
            self.drive_elsewhere();
        }
    }

    /// Appends events all or nothing; like [`Tenant::publish`] otherwise.
    pub fn append(
        self: &Arc<Self>,
        mut append: Append,
        reply: impl FnOnce(Result<Appended, NotAppended>) + Send + 'static,
    ) {
        match self.pre_check(&mut append) {
            Err(refused) => reply(Err(refused)),
            Ok(checked) => {
                let bytes = append.events.iter().map(Prepared::bytes).sum();
                if self.enqueue(bytes, Input::Append(append, checked, Box::new(reply))) {
                    self.drive_elsewhere();
                }
            }
        }
    }

    /// Publishes and waits. The calling thread does the work itself if nobody else is at it, which saves two changes
    /// of threads: a lone appender is as fast as the disk.
    pub fn publish_wait(self: &Arc<Self>, mut events: Vec<Prepared>) -> Result<Vec<Published>, Fault> {
        self.look_up(&mut events)?;
        let bytes = events.iter().map(Prepared::bytes).sum();
        let answer = Arc::new(Slot::default());
        let slot = Arc::clone(&answer);
        if self.enqueue(bytes, Input::Publish(events, Box::new(move |result| slot.put(result)))) {
            self.drive_here();
        }
        answer.take()
    }

    /// Appends and waits; like [`Tenant::publish_wait`].
    pub fn append_wait(self: &Arc<Self>, mut append: Append) -> Result<Appended, NotAppended> {
        let checked = self.pre_check(&mut append)?;
        let bytes = append.events.iter().map(Prepared::bytes).sum();
        let answer = Arc::new(Slot::default());
        let slot = Arc::clone(&answer);
        if self.enqueue(bytes, Input::Append(append, checked, Box::new(move |result| slot.put(result)))) {
            self.drive_here();
        }
        answer.take()
    }

    /// Looks for repeats in index files before the mailbox, so that the loop need not.
    fn look_up(&self, events: &mut [Prepared]) -> Result<(), Fault> {
        // Runs that end before the window by count may still be in it by time: the loop decides by the event.
        let keys: Vec<u64> = events.iter().map(|event| event.pair).collect();
        let (found, known_to) = self.index.pairs_in_runs(&keys)?;
        for (event, known) in events.iter_mut().zip(found) {
            (event.known, event.known_to) = (known, known_to);
        }
        Ok(())
    }

    fn pre_check(&self, append: &mut Append) -> Result<Vec<Checked>, NotAppended> {
        append.check_size()?;
        self.look_up(&mut append.events)?;
        Ok(append.conditions.iter().map(|condition| self.check_condition(condition)).collect::<Result<_, _>>()?)
    }

    /// Looks for a match in what is durable, on the caller's thread: the loop then looks at what is newer.
    fn check_condition(&self, condition: &Condition) -> Result<Checked, Fault> {
        let Condition::NoneAfter { position, query } = condition else { return Ok(Checked::default()) };
        let to = self.position();
        let expr = expr_of_query(query, &self.hasher);
        let found = first_match(&self.index, &expr, position.saturating_add(1)..=to, |position| {
            Ok(self.event_at(position)?.is_some_and(|recorded| query.matches(&recorded.event())))
        })?;
        Ok(Checked { found, to })
    }

    /// Puts an input into the mailbox, or refuses it at once. Returns whether it was put there.
    fn enqueue(&self, bytes: usize, input: Input) -> bool {
        let mut mailbox = self.mailbox.lock();
        let limit = self.options.mailbox_bytes_max;
        let refusal = if let Some(fault) = self.refuses_appends() {
            Some(fault)
        } else if mailbox.is_closed {
            Some(Fault::Closed)
        } else if mailbox.bytes > 0 && mailbox.bytes + bytes > limit {
            Some(Fault::Overloaded { waiting: mailbox.bytes, limit })
        } else {
            None
        };
        let Some(fault) = refusal else {
            mailbox.bytes += bytes;
            mailbox.inputs.push_back((bytes, input));
            return true;
        };
        drop(mailbox);
        input.fail(fault);
        false
    }

    /// Why appends are refused, if they are.
    pub fn refuses_appends(&self) -> Option<Fault> {
        self.poison.get().map(|fault| match fault {
            Fault::DiskFull { path } => Fault::DiskFull { path: path.clone() },
            fault => Fault::Poisoned { cause: fault.to_string() },
        })
    }

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
        let now = self.clock.now().max(fold.tail.recorded_time);
        let window = Window { ms: self.options.dedup_window_ms, events: self.options.dedup_window_events };
        let mut turn = Turn {
            fold: &mut fold,
            index: &self.index,
            log: self.log.as_ref(),
            hasher: &self.hasher,
            now,
            window,
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
                Input::Append(append, checked, reply) => {
                    let answer = turn.append(append, &checked);
                    replies.push(Box::new(move |fault| reply(fault.map_or(answer, |fault| Err(fault.clone().into())))));
                }
            }
        }
        let commits = turn.commits;
        let (commit, position) = (fold.tail.number, fold.tail.next_position - 1);
        if let Err(fault) = self.write(expected_tail, first_position, &commits) {
            let fault = self.poisoned(fault);
            drop(fold);
            replies.into_iter().for_each(|reply| reply(Some(&fault)));
            return count;
        }
        self.streams.store(fold.streams.len() as u64, Ordering::Relaxed);
        // Under the decider's lock, so that batches stand in order.
        let checkpoints = checkpoints_of(&commits);
        self.written.lock().push_back(Written { commit, position, checkpoints, replies });
        drop(fold);
        while self.index.sealing() > SEALING_MAX && self.refuses_appends().is_none() {
            self.flush();
            if !matches!(self.maintain(), Ok(true)) {
                break;
            }
        }
        count
    }

    fn take_inputs(&self) -> Vec<Input> {
        let mut mailbox = self.mailbox.lock();
        let mut inputs = Vec::with_capacity(mailbox.inputs.len());
        let mut taken = 0;
        while taken < TURN_BYTES
            && let Some((bytes, input)) = mailbox.inputs.pop_front()
        {
            taken += bytes;
            inputs.push(input);
        }
        mailbox.bytes -= taken;
        inputs
    }

    fn write(&self, expected_tail: u64, first_position: u64, commits: &[Commit]) -> Result<(), Fault> {
        if commits.is_empty() {
            return Ok(());
        }
        let mut locators = Vec::new();
        self.log.submit(expected_tail, commits, &mut locators)?;
        let kinds = commits.iter().flat_map(|commit| commit.records.iter().map(|record| record.kind));
        let events = kinds.zip(locators).filter(|(kind, _)| *kind == RecordKind::Event).map(|(_, locator)| locator);
        self.index.place(first_position, events);
        Ok(())
    }

    /// Makes durable what is written and sends the replies. Returns how many.
    pub fn flush(&self) -> usize {
        let _one_at_a_time = self.flusher.lock();
        let mut batches = std::mem::take(&mut *self.written.lock());
        let Some(last) = batches.back() else { return 0 };
        let mut fault = None;
        if last.commit > self.durable_commit.load(Ordering::Acquire) {
            match self.log.complete() {
                Ok(durable) => {
                    // A log may be late with a part of what it was asked for: that part waits for the next flush.
                    let is_durable = batches.partition_point(|batch| batch.commit <= durable);
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
            self.durable_commit.store(last.commit, Ordering::Release);
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
    /// The disk refused. Nothing is lost: both are caches, and the work stays to be done.
    pub fn maintain(&self) -> Result<bool, Fault> {
        let window = self.position().saturating_sub(self.options.dedup_window_events);
        if !self.index.maintain(self.position())? {
            return Ok(false);
        }
        self.forget_old_pairs(window)?;
        let fold = self.decider.lock().clone();
        // The copy may rest on commits that are not durable yet; the snapshot must not.
        if self.log.complete()? >= fold.tail.number {
            snapshot::write(self.storage.as_ref(), &self.snapshots(), fold.tail.number, &fold.encode())?;
        }
        Ok(true)
    }

    fn snapshots(&self) -> String {
        format!("{}/snapshots", self.folder)
    }

    /// Moves the filter's window, if the oldest event that the count alone would drop is old enough.
    fn forget_old_pairs(&self, position: u64) -> Result<(), Fault> {
        let Some(recorded) = self.event_at(position)? else { return Ok(()) };
        let age_end = recorded.stamp.recorded_time.plus_ms(self.options.dedup_window_ms);
        if age_end < self.clock.now() {
            self.index.forget_pairs_before(position);
        }
        Ok(())
    }

    /// Writes the mark that says that everything is durable, if the log has none at its end.
    pub fn idle(&self) {
        let _one_at_a_time = self.flusher.lock();
        if self.written.lock().is_empty()
            && self.refuses_appends().is_none()
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
        while self.flush() > 0 || (!self.written.lock().is_empty() && self.refuses_appends().is_none()) {}
        match self.refuses_appends() {
            Some(_) => Ok(()),
            None => self.log.close(),
        }
    }

    /// The position of the newest durable event; 0 for an empty log.
    pub fn position(&self) -> u64 {
        self.durable_position.load(Ordering::Acquire)
    }

    /// The number of the newest durable commit.
    pub(crate) fn commit(&self) -> u64 {
        self.durable_commit.load(Ordering::Acquire)
    }

    /// How many streams there are.
    pub(crate) fn stream_count(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot_bytes(&self) -> u64 {
        snapshot::folder_bytes(self.storage.as_ref(), &self.snapshots())
    }

    /// The number durably recorded for an outside source.
    pub fn checkpoint(&self, source: &str) -> Option<u64> {
        self.checkpoints.lock().get(source).copied()
    }

    /// Calls `woken` with the newest durable position after every batch, until the guard is dropped. It runs on the
    /// thread that flushes: it must be quick and must not append.
    pub fn on_commit(self: &Arc<Self>, woken: impl Fn(u64) + Send + Sync + 'static) -> CommitGuard {
        let id = self.next_watcher.fetch_add(1, Ordering::Relaxed);
        self.watchers.write().push((id, Arc::new(woken)));
        CommitGuard { tenant: Arc::downgrade(self), id }
    }

    fn threads(&self) -> Option<Arc<Threads>> {
        self.threads.as_ref().and_then(Weak::upgrade)
    }

    /// Has a thread of the engine decide, unless one is at it.
    fn drive_elsewhere(self: &Arc<Self>) {
        let Some(threads) = self.threads() else { return };
        if !self.deciding.swap(true, Ordering::AcqRel) {
            threads.push(Job::Decide(Arc::clone(self)));
        }
    }

    /// Decides and flushes on this thread, unless another is at it.
    fn drive_here(self: &Arc<Self>) {
        let Some(threads) = self.threads() else {
            // Without threads nobody else drives: the caller does both stages.
            self.decide();
            self.flush();
            return;
        };
        if !self.deciding.swap(true, Ordering::AcqRel) {
            self.decide_while_waiting(&threads);
        }
    }

    /// Runs the decide stage until nothing waits, starting the flush stage as batches are written. The caller has
    /// set `deciding`.
    pub(crate) fn decide_while_waiting(self: &Arc<Self>, threads: &Threads) {
        let _bug = AbortOnPanic;
        loop {
            self.decide();
            self.deciding.store(false, Ordering::SeqCst);
            // Whoever enqueued before the line above saw `deciding` and left; whoever does after it comes himself.
            let is_more = !self.mailbox.lock().inputs.is_empty() && !self.deciding.swap(true, Ordering::AcqRel);
            if !self.flushing.swap(true, Ordering::AcqRel) {
                match is_more {
                    true => threads.push(Job::Flush(Arc::clone(self))),
                    false => self.flush_while_written(threads, 1),
                }
            }
            if !is_more {
                return;
            }
        }
    }

    /// Runs the flush stage until nothing is written, at most `rounds` times on this thread. The caller has set
    /// `flushing`.
    pub(crate) fn flush_while_written(self: &Arc<Self>, threads: &Threads, rounds: usize) {
        let _bug = AbortOnPanic;
        for round in 1.. {
            self.flush();
            self.flushing.store(false, Ordering::SeqCst);
            if self.written.lock().is_empty() || self.flushing.swap(true, Ordering::AcqRel) {
                break;
            }
            if round == rounds {
                // A caller that waits for its own append must not be kept by those of others.
                threads.push(Job::Flush(Arc::clone(self)));
                break;
            }
        }
        if self.index.sealing() > 0 && !self.maintaining.swap(true, Ordering::AcqRel) {
            threads.push(Job::Maintain(Arc::clone(self)));
        }
    }
}

impl Input {
    fn fail(self, fault: Fault) {
        match self {
            Self::Publish(_, reply) => reply(Err(fault)),
            Self::Append(_, _, reply) => reply(Err(fault.into())),
        }
    }
}

/// Ends a watch when it is dropped.
pub struct CommitGuard {
    tenant: Weak<Tenant>,
    id: u64,
}

impl Drop for CommitGuard {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant.upgrade() {
            tenant.watchers.write().retain(|(id, _)| *id != self.id);
        }
    }
}

/// Where a waiting caller finds its answer.
struct Slot<T> {
    value: Mutex<Option<T>>,
    is_there: Condvar,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), is_there: Condvar::new() }
    }
}

impl<T> Slot<T> {
    fn put(&self, value: T) {
        *self.value.lock() = Some(value);
        self.is_there.notify_one();
    }

    fn take(&self) -> T {
        let mut value = self.value.lock();
        loop {
            match value.take() {
                Some(value) => return value,
                None => self.is_there.wait(&mut value),
            }
        }
    }
}

fn checkpoints_of(commits: &[Commit]) -> Vec<(String, u64)> {
    let records = commits.iter().flat_map(|commit| &commit.records);
    let checkpoints = records.filter(|record| record.kind == RecordKind::Checkpoint);
    let read = checkpoints.filter_map(|record| Record::read_checkpoint(&record.body));
    read.map(|(source, number)| (source.to_owned(), number)).collect()
}

fn lock(storage: &dyn Storage, folder: &str) -> Result<Box<dyn Send + Sync>, Fault> {
    let path = format!("{folder}/lock");
    storage.lock(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => Fault::Locked { path: storage.display(&path) },
        _ => Fault::io("lock", storage.display(&path), e),
    })
}

/// The key that terms are hashed with: the log's first record, written here if the log is new.
fn begin(log: &dyn Log, now: Timestamp, random: &dyn Random) -> Result<[u8; 16], Fault> {
    let damaged = |detail: &str| Fault::Damaged { path: "log".into(), offset: 0, detail: detail.into() };
    if log.tail_at_opening().number == 0 {
        let mut key = [0; 16];
        random.fill(&mut key);
        let records = vec![Record::new(RecordKind::Genesis, key.to_vec())];
        let commit =
            Commit { number: 1, epoch: 1, recorded_time: now, first_position: 1, chain_before: [0; 32], records };
        log.submit(0, &[commit], &mut Vec::new())?;
        log.complete()?;
        return Ok(key);
    }
    let chunk = log.scan(log.seek(1), 4_096)?;
    let first = chunk.commits.first().and_then(|(_, commit)| commit.records.first());
    let genesis = first.filter(|record| record.kind == RecordKind::Genesis);
    let genesis = genesis.ok_or_else(|| damaged("the log does not begin with its first commit"))?;
    genesis.body.as_ref().try_into().map_err(|_| damaged("the log's first commit has no key"))
}

/// Brings the fold and the index to the log's end: from the newest snapshot that fits the log, and from where index
/// runs end.
fn replay(
    storage: &dyn Storage,
    snapshots: &str,
    log: &dyn Log,
    index: &Index,
    hasher: &TermHasher,
) -> Result<Fold, Fault> {
    let tail = log.tail_at_opening();
    for number in snapshot::list(storage, snapshots)?.into_iter().rev() {
        let fold = snapshot::read(storage, snapshots, number)?.and_then(|body| Fold::decode(&body));
        if number > tail.number && fold.is_some() {
            // A snapshot is written of what is durable only: the log has lost its end.
            return Err(Fault::Damaged {
                path: storage.display(&snapshots.replace("snapshots", "log")),
                offset: 0,
                detail: format!(
                    "it ends with commit {}, and a snapshot has commit {number}: the end of the log is missing",
                    tail.number
                ),
            });
        }
        if let Some(fold) = fold.filter(|fold| fold.tail.number == number)
            && let Some(fold) = replay_from(fold, log, index, hasher)?
        {
            return Ok(fold);
        }
    }
    match replay_from(Fold::empty(), log, index, hasher)? {
        Some(fold) => Ok(fold),
        None => Err(Fault::Damaged {
            path: storage.display(snapshots),
            offset: 0,
            detail: "the log's hash chain does not begin with its first commit".into(),
        }),
    }
}

/// Nothing if the log does not continue the snapshot.
fn replay_from(mut fold: Fold, log: &dyn Log, index: &Index, hasher: &TermHasher) -> Result<Option<Fold>, Fault> {
    let mut at = log.seek(fold.tail.number + 1).min(index.scan_start(index.end_position())?);
    let mut terms = Vec::new();
    loop {
        let chunk = log.scan(at, REPLAY_BYTES)?;
        if chunk.commits.is_empty() {
            break;
        }
        at = chunk.next;
        for (start, commit) in &chunk.commits {
            let is_new = commit.number > fold.tail.number;
            if is_new && (commit.number != fold.tail.number + 1 || commit.chain_before != fold.tail.chain) {
                return Ok(None);
            }
            let mut position = commit.first_position;
            for record in &commit.records {
                match record.kind {
                    RecordKind::Event => {
                        let event = body::decode(&record.body).ok_or_else(|| undecodable(position))?;
                        if is_new {
                            fold.record(event.subject().map(|subject| hasher.stream(subject)), position);
                        }
                        if position == index.end_position() {
                            terms.clear();
                            index.terms_of(&event, record.stream_version, &mut terms);
                            index.insert(hasher.pair(event.source(), event.id()), &terms);
                            index.place(position, [start + u64::from(record.offset)]);
                        }
                        position += 1;
                    }
                    RecordKind::Checkpoint => {
                        if let Some((source, number)) = Record::read_checkpoint(&record.body).filter(|_| is_new) {
                            fold.checkpoints.insert(source.to_owned(), number);
                        }
                    }
                    RecordKind::Genesis => {}
                }
            }
            if is_new {
                fold.tail.number = commit.number;
                fold.tail.next_position = position;
                fold.tail.recorded_time = commit.recorded_time;
                fold.tail.epoch = commit.epoch;
                fold.tail.chain = commit.chain_after();
            }
        }
        // Everything that was read at opening is durable.
        while index.sealing() > 0 && index.maintain(u64::MAX - 1)? {}
    }
    Ok(Some(fold))
}

fn undecodable(position: u64) -> Fault {
    Fault::Damaged {
        path: "log".into(),
        offset: 0,
        detail: format!("the event at position {position} has a checksum that fits and cannot be decoded"),
    }
}

impl Tenant {
    /// What matches an expression is only known after reading: this is the index' part of the question.
    pub(crate) fn term(&self, term: Term<'_>) -> Expr {
        Expr::Has(self.hasher.term(term))
    }
}
