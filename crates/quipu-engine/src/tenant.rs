//! One tenant: a log, what memory knows of it, and the loop.
//!
//! An input goes through the mailbox and two stages (see `stages`), each run by one thread at a time (see `drive`).

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};
use quipu_domain::limits::TIMER_AHEAD_MS_MAX;
use quipu_domain::{Condition, Event, InvalidEvent, Quotas, Timestamp};
use quipu_store::{
    Expr, Fault, FileLog, FileLogOptions, Index, Log, Payloads, Record, Term, TermHasher, TornTail, snapshot,
};

use crate::append::{Append, Appended, NotAppended, Prepared, Published};
use crate::audit::{Audit, Head};
use crate::catalog::Catalog;
use crate::decide::{Checked, Window};
use crate::fold::Fold;
use crate::keys::Keys;
use crate::mailbox::{Input, Mailbox, Slot};
use crate::opening;
use crate::operations::Operations;
use crate::options::{Options, World};
use crate::projections::Projections;
use crate::query::{expr_of_query, first_match};
use crate::sagas::Sagas;
use crate::schedules::Schedules;
use crate::schemas::{SCHEMA_MARK, Schemas, has_mark};
use crate::stages::Written;
use crate::subscriptions::Subscriptions;
use crate::tenants::{Register, TENANT_SYSTEM};
use crate::threads::Threads;
use crate::timers::{AHEAD_DAYS, DELIVER_AT, Timers, Waits};

type Watcher = Arc<dyn Fn(u64) + Send + Sync>;

/// One log with all that follows from it.
pub struct Tenant {
    folder: String,
    pub(crate) world: World,
    pub(crate) options: Options,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) index: Index,
    pub(crate) payloads: Arc<Payloads>,
    pub(crate) hasher: TermHasher,
    /// Tells this log from all others: made with it, and kept by copies and moves of it.
    pub(crate) log_name: u64,
    torn: Option<TornTail>,
    pub(crate) mailbox: Mutex<Mailbox>,
    pub(crate) decider: Mutex<Fold>,
    /// Those of the fold that are durable.
    pub(crate) checkpoints: Mutex<BTreeMap<String, u64>>,
    pub(crate) written: Mutex<VecDeque<Written>>,
    /// Serializes flushes, so that replies are sent in order.
    pub(crate) flusher: Mutex<()>,
    /// Serializes maintenance: two threads must not write one snapshot.
    pub(crate) maintainer: Mutex<()>,
    /// Serializes the writing of states of aggregates.
    pub(crate) keeper: Mutex<()>,
    pub(crate) durable_position: AtomicU64,
    pub(crate) durable_commit: AtomicU64,
    pub(crate) durable_head: Mutex<Head>,
    pub(crate) streams: AtomicU64,
    pub(crate) poison: OnceLock<Fault>,
    /// Why index runs cannot be written, if more memtables wait for it than memory should hold.
    pub(crate) stuck: Mutex<Option<Fault>>,
    pub(crate) watchers: RwLock<Vec<(u64, Watcher)>>,
    next_watcher: AtomicU64,
    /// Which stages have a thread; see `drive`.
    pub(crate) deciding: AtomicBool,
    pub(crate) flushing: AtomicBool,
    pub(crate) routing: AtomicBool,
    pub(crate) maintaining: AtomicBool,
    /// Something was appended since the housekeeper last looked.
    pub(crate) is_active: AtomicBool,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) operations: Mutex<Operations>,
    /// Serializes cancellations of operations: one that is held is let go on by whoever held it.
    pub(crate) cancelling: Mutex<()>,
    pub(crate) keys: Keys,
    pub(crate) schemas: Schemas,
    pub(crate) catalog: Catalog,
    pub(crate) projections: Projections,
    pub(crate) timers: Timers,
    pub(crate) sagas: Sagas,
    pub(crate) schedules: Schedules,
    pub(crate) audit: Audit,
    /// The tenants of the folder, if this is `system`.
    pub(crate) register: Register,
    quotas: RwLock<Quotas>,
    /// The log has as many bytes as its quota says.
    pub(crate) is_full: AtomicBool,
    pub(crate) threads: Option<Weak<Threads>>,
    _lock: Option<Box<dyn Send + Sync>>,
    /// There until all of the above is taken apart: fields go in their order, and an `Arc` of the whole counts nobody before.
    pub(crate) presence: Arc<()>,
}

impl Tenant {
    /// Opens or makes the tenant in a folder, without threads of its own: whoever holds it drives it with
    /// [`Tenant::decide`], [`Tenant::flush`], [`Tenant::maintain`] and [`Tenant::idle`].
    ///
    /// # Errors
    /// [`Fault::Locked`] if another process has the folder, [`Fault::Damaged`] if what was acknowledged cannot be
    /// read; nothing is changed then.
    pub fn open(world: &World, folder: &str, options: Options) -> Result<Arc<Self>, Fault> {
        Self::in_folder(world, folder, options).map(Arc::new)
    }

    /// As [`Tenant::open`]; the threads drive it.
    pub(crate) fn open_driven(
        world: &World,
        folder: &str,
        options: Options,
        threads: Weak<Threads>,
    ) -> Result<Arc<Self>, Fault> {
        let mut tenant = Self::in_folder(world, folder, options)?;
        tenant.threads = Some(threads);
        Ok(Arc::new(tenant))
    }

    /// Opens the tenant of any log, without threads; indexes and snapshots are kept in a folder of the world's storage.
    /// The log sees to it that it has one owner.
    ///
    /// # Errors
    /// As [`Tenant::open`].
    pub fn open_on(log: Arc<dyn Log>, world: &World, folder: &str, options: Options) -> Result<Arc<Self>, Fault> {
        Self::on_log(log, world, folder, options).map(Arc::new)
    }

    fn in_folder(world: &World, folder: &str, options: Options) -> Result<Self, Fault> {
        let storage = &world.storage;
        storage.create_dir(folder).map_err(|e| Fault::io("create", storage.display(folder), e))?;
        let lock = opening::lock(storage.as_ref(), folder)?;
        let random = Arc::clone(&world.random);
        let nonce = move || {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        let log_options = FileLogOptions { segment_bytes: options.segment_bytes };
        let log_folder = format!("{folder}/log");
        let (log, torn) = FileLog::open(Arc::clone(storage), &log_folder, log_options, world.clock.now(), nonce)?;
        let mut tenant = Self::on_log(Arc::new(log), world, folder, options)?;
        (tenant.torn, tenant._lock) = (torn, Some(lock));
        Ok(tenant)
    }

    fn on_log(log: Arc<dyn Log>, world: &World, folder: &str, options: Options) -> Result<Self, Fault> {
        let hasher = TermHasher::new(opening::begin(log.as_ref(), world.clock.now(), world.random.as_ref())?);
        let index = Index::open(
            Arc::clone(&world.storage),
            &format!("{folder}/index"),
            Arc::clone(&log),
            hasher,
            options.run_events,
            log.tail_at_opening().next_position,
        )?;
        let payloads = Payloads::open(Arc::clone(&world.storage), folder)?;
        let snapshots = format!("{folder}/snapshots");
        let mut fold = opening::replay(world.storage.as_ref(), &snapshots, log.as_ref(), &index, &hasher)?;
        // The window ends with the newest event, not with the clock, which may have jumped ahead.
        let window = Window::of(&options);
        index.load_pairs(|position| opening::is_in_window(&index, log.as_ref(), window, &fold.tail, position))?;
        let position = fold.tail.next_position - 1;
        let subscriptions = Subscriptions::new(&fold.subscriptions, position, world.random.as_ref());
        subscriptions.restore_replays(&fold.operations);
        let operations = Operations::new(&fold.operations);
        let keys = Keys::new(&fold.keys);
        let schemas = Schemas::new(&fold.schemas);
        let catalog = Catalog::new(&fold.catalog);
        let projections = Projections::new(&fold.projections);
        let register = Register::new(&fold.tenants);
        let sagas = Sagas::new(&fold.sagas, world.clock.now(), position);
        let schedules = Schedules::new(&fold.schedules);
        let timers = Timers::new(&mut fold.timers, world.clock.now());
        Ok(Self {
            folder: folder.to_owned(),
            world: world.clone(),
            options,
            log,
            index,
            payloads,
            hasher,
            // The key of the log itself stays unknown.
            log_name: (hasher.stream("idempotency keys") >> 64) as u64,
            torn: None,
            mailbox: Mutex::default(),
            durable_position: AtomicU64::new(position),
            durable_commit: AtomicU64::new(fold.tail.number),
            durable_head: Mutex::new(Head { commit: fold.tail.number, chain: fold.tail.chain }),
            streams: AtomicU64::new(fold.streams.len() as u64),
            checkpoints: Mutex::new(fold.checkpoints.clone()),
            decider: Mutex::new(fold),
            written: Mutex::default(),
            flusher: Mutex::new(()),
            maintainer: Mutex::new(()),
            keeper: Mutex::new(()),
            poison: OnceLock::new(),
            stuck: Mutex::default(),
            watchers: RwLock::default(),
            next_watcher: AtomicU64::new(0),
            deciding: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            routing: AtomicBool::new(false),
            maintaining: AtomicBool::new(false),
            is_active: AtomicBool::new(true),
            subscriptions,
            operations: Mutex::new(operations),
            cancelling: Mutex::default(),
            keys,
            schemas,
            catalog,
            projections,
            timers,
            sagas,
            schedules,
            audit: Audit::default(),
            register,
            quotas: RwLock::default(),
            is_full: AtomicBool::new(false),
            threads: None,
            _lock: None,
            presence: Arc::default(),
        })
    }

    /// What opening cut off, if the log ended in the middle of a write.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// Checks an event against the schema of its type and its size, encodes and hashes it, on the caller's thread.
    /// `stream_version` is the version that the event claims to become, if it does. What the schema refuses is refused when it is
    /// decided: it may be a repeat of what was recorded before there was a schema.
    ///
    /// # Errors
    /// [`InvalidEvent::TooLarge`], or JSON data that is nested too deeply.
    pub fn prepare(&self, event: &Event<'_>, stream_version: Option<u64>) -> Result<Prepared, InvalidEvent> {
        let prepared = self.prepare_now(event, stream_version)?;
        let Some(due) = event.attribute(DELIVER_AT).and_then(Timestamp::parse) else { return Ok(prepared) };
        let now = self.world.clock.now();
        if due <= now {
            return Ok(prepared);
        }
        let found = |expected: String| InvalidEvent::InvalidAttribute {
            name: DELIVER_AT.into(),
            expected,
            found: due.to_string(),
        };
        if due > now.plus_ms(TIMER_AHEAD_MS_MAX) {
            return Err(found(format!("a time at most {AHEAD_DAYS} days ahead")));
        }
        if let Some(version) = stream_version {
            return Err(found(format!(
                "a time that is past beside streamversion {version}: nobody knows the version of a later time"
            )));
        }
        if event.attribute("expirytime").and_then(Timestamp::parse).is_some_and(|expires| expires <= due) {
            return Err(found("a time before its expirytime".into()));
        }
        let waits = Waits::of(&prepared, due, None, None, false);
        Ok(Prepared { waits: Some(Box::new(waits)), ..prepared })
    }

    /// As [`Tenant::prepare`], for what is not delayed by itself. Also what is made here, of answers of endpoints and by jq, is held to
    /// what publishers are held to: what is exported can be imported.
    pub(crate) fn prepare_now(&self, event: &Event<'_>, stream_version: Option<u64>) -> Result<Prepared, InvalidEvent> {
        event.data().check_depth()?;
        let schemas = self.schemas.current();
        let (mark, refused) = schemas.hold(event);
        let is_other = mark.is_some() || has_mark(event);
        let marked = is_other.then(|| event.clone().with_attribute(SCHEMA_MARK, mark));
        let event = marked.as_ref().unwrap_or(event);
        let prepared = Prepared::new(event, stream_version, &self.hasher, &self.options)?;
        let is_marked = has_mark(event);
        Ok(Prepared { schemas: schemas.revision, refused, is_marked, ..prepared })
    }

    /// Publishes events, each for itself. Never blocks on the disk's writing; the reply comes, on another thread,
    /// once everything that it rests on is durable.
    pub fn publish(
        self: &Arc<Self>,
        events: Vec<Prepared>,
        reply: impl FnOnce(Result<Vec<Published>, Fault>) + Send + 'static,
    ) {
        if self.submit_events(events, reply) {
            self.drive_elsewhere();
        }
    }

    /// Appends events all or nothing; like [`Tenant::publish`] otherwise.
    pub fn append(
        self: &Arc<Self>,
        append: Append,
        reply: impl FnOnce(Result<Appended, NotAppended>) + Send + 'static,
    ) {
        if self.submit_append(append, reply) {
            self.drive_elsewhere();
        }
    }

    /// Publishes and waits. The calling thread does the work itself if nobody else is at it, which saves two changes
    /// of threads: a lone appender is as fast as the disk.
    pub fn publish_wait(self: &Arc<Self>, events: Vec<Prepared>) -> Result<Vec<Published>, Fault> {
        let (slot, answer) = Slot::pair();
        if self.submit_events(events, move |result| slot.put(result)) {
            self.drive_here();
        }
        answer.take()
    }

    /// Appends and waits; like [`Tenant::publish_wait`].
    pub fn append_wait(self: &Arc<Self>, append: Append) -> Result<Appended, NotAppended> {
        let (slot, answer) = Slot::pair();
        if self.submit_append(append, move |result| slot.put(result)) {
            self.drive_here();
        }
        answer.take()
    }

    /// Writes system records in one commit and waits; like [`Tenant::publish_wait`].
    pub(crate) fn write_records_wait(self: &Arc<Self>, records: Vec<Record>) -> Result<(), Fault> {
        let (slot, answer) = Slot::pair();
        let bytes = records.iter().map(Record::bytes).sum();
        if self.enqueue(bytes, Input::Records(records, Box::new(move |result| slot.put(result)))) {
            self.drive_here();
        }
        answer.take()
    }

    /// Whether the events wait in the mailbox now; if not, the reply was sent.
    fn submit_events(
        &self,
        mut events: Vec<Prepared>,
        reply: impl FnOnce(Result<Vec<Published>, Fault>) + Send + 'static,
    ) -> bool {
        if let Err(fault) = self.look_up(&mut events).and_then(|()| self.take_payloads(&mut events)) {
            reply(Err(fault));
            return false;
        }
        let bytes = events.iter().map(Prepared::bytes_held).sum();
        self.enqueue(bytes, Input::Publish(events, Box::new(reply)))
    }

    /// As [`Tenant::submit_events`].
    fn submit_append(
        &self,
        mut append: Append,
        reply: impl FnOnce(Result<Appended, NotAppended>) + Send + 'static,
    ) -> bool {
        match self.pre_check(&mut append) {
            Ok(checked) => {
                let bytes = append.events.iter().chain(&append.timers).map(Prepared::bytes_held).sum();
                self.enqueue(bytes, Input::Append(append, checked, Box::new(reply)))
            }
            Err(refused) => {
                reply(Err(refused));
                false
            }
        }
    }

    /// Looks for repeats in index files before the mailbox, so that the loop need not.
    pub(crate) fn look_up(&self, events: &mut [Prepared]) -> Result<(), Fault> {
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
        self.look_up(&mut append.timers)?;
        let conditions = append.conditions.iter().map(|condition| self.check_condition(condition));
        let checked = conditions.collect::<Result<_, _>>()?;
        self.take_payloads(&mut append.events)?;
        self.take_payloads(&mut append.timers)?;
        Ok(checked)
    }

    /// Writes the payloads of events, unless they would be refused at once: each that is refused later has to be removed.
    pub(crate) fn take_payloads(&self, events: &mut [Prepared]) -> Result<(), Fault> {
        if events.iter().all(|event| !event.has_payload()) {
            return Ok(());
        }
        self.refuses_events().map_or(Ok(()), Err)?;
        self.keep_payloads(events)
    }

    /// Why events are refused before anybody looks at them, if they are.
    fn refuses_events(&self) -> Option<Fault> {
        let quota = || Fault::StorageQuota { limit: self.quotas().storage_bytes.map_or(0, NonZeroU64::get) };
        self.refuses_appends().or_else(|| self.is_full.load(Ordering::Relaxed).then(quota))
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
    pub(crate) fn enqueue(&self, bytes: usize, input: Input) -> bool {
        let mut mailbox = self.mailbox.lock();
        let limit = self.options.mailbox_bytes_max;
        let refused = if input.has_events() { self.refuses_events() } else { self.refuses_appends() };
        let refusal = if mailbox.is_closed {
            Some(self.refuses_appends().unwrap_or(Fault::Closed))
        } else if refused.is_some() {
            refused
        } else if mailbox.bytes > 0 && mailbox.bytes + bytes > limit && !input.is_urgent() {
            Some(Fault::Overloaded { waiting: mailbox.bytes, limit })
        } else {
            input.too_large()
        };
        let Some(fault) = refusal else {
            mailbox.bytes += bytes;
            match input.is_urgent() {
                true => mailbox.urgent.push_back((bytes, input)),
                false => mailbox.inputs.push_back((bytes, input)),
            }
            return true;
        };
        drop(mailbox);
        input.fail(fault);
        false
    }

    /// Why appends are refused, if they are: until a restart, or until index runs can be written again.
    pub fn refuses_appends(&self) -> Option<Fault> {
        let stuck = || {
            self.stuck.lock().as_ref().map(|fault| match fault {
                Fault::DiskFull { path } => Fault::DiskFull { path: path.clone() },
                fault => Fault::Unindexed { cause: fault.to_string() },
            })
        };
        self.poison().or_else(stuck)
    }

    /// Why appends are refused until a restart, if they are.
    pub(crate) fn poison(&self) -> Option<Fault> {
        self.poison.get().map(|fault| match fault {
            Fault::DiskFull { path } => Fault::DiskFull { path: path.clone() },
            fault => Fault::Poisoned { cause: fault.to_string() },
        })
    }

    /// The position of the newest durable event; 0 for an empty log.
    pub fn position(&self) -> u64 {
        self.durable_position.load(Ordering::Acquire)
    }

    /// The number of the newest durable commit.
    pub(crate) fn commit(&self) -> u64 {
        self.durable_commit.load(Ordering::Acquire)
    }

    /// What it may use, its own quotas and those of all tenants taken together.
    pub fn quotas(&self) -> Quotas {
        *self.quotas.read()
    }

    pub(crate) fn set_quotas(&self, quotas: Quotas) {
        *self.quotas.write() = quotas;
        self.weigh();
    }

    /// Looks whether the log and its payloads have as many bytes as they may: after each turn of the loop, so it ends up larger by what was on its
    /// way.
    pub(crate) fn weigh(&self) {
        let limit = self.quotas().storage_bytes;
        self.is_full.store(limit.is_some_and(|limit| self.stored_bytes() >= limit.get()), Ordering::Relaxed);
    }

    /// Whether this is the tenant that has the records of all of them.
    pub(crate) fn is_system(&self) -> bool {
        self.folder.strip_prefix("tenants/") == Some(TENANT_SYSTEM)
    }

    /// How many streams there are.
    pub(crate) fn stream_count(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot_bytes(&self) -> u64 {
        snapshot::folder_bytes(self.world.storage.as_ref(), &self.snapshots())
    }

    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Its folder on a disk of this machine, for what keeps files of another kind there; nothing if it is on none.
    pub fn folder_on_disk(&self) -> Option<std::path::PathBuf> {
        self.world.storage.on_disk(&self.folder)
    }

    pub(crate) fn snapshots(&self) -> String {
        format!("{}/snapshots", self.folder)
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

    /// What matches an expression is only known after reading: this is the index' part of the question.
    pub(crate) fn term(&self, term: Term<'_>) -> Expr {
        Expr::Has(self.hasher.term(term))
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
