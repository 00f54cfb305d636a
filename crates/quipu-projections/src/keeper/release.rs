//! One release of a projection: its read model, and how far that is.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use quipu_domain::Timestamp;
use quipu_engine::{CommitFollower, Followed, Head};

use super::{BATCH_BYTES, Inner};
use crate::compare::{Comparison, TableDigest, compare, digests};
use crate::pool::{Job, Pool};
use crate::refusal::{NotDone, ReadModelRefusal};
use crate::status::{FailedEvent, Phase, ReleaseStatus};
use crate::step::Source;
use crate::store::{Broken, Model, NotTaken, Place, Reader, Wanted};

/// A batch is never smaller than so many halves of it; one commit is taken in as a whole all the same.
const HALVED_MAX: u32 = 10;
/// How long one has its turn while others wait.
const TURN: Duration = Duration::from_millis(100);
/// When a database that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often that time is doubled, while it goes on failing.
const DOUBLED_MAX: u32 = 5;
/// How many events one may be behind for whoever waits for it to catch up.
const BEHIND_MAX: u64 = 100_000;
/// How much the newest turn says about the rate.
const RATE_WEIGHT: f64 = 0.3;

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// It is running, and something has come meanwhile.
const WOKEN: u8 = 3;

pub(super) struct Release {
    inner: Weak<Inner>,
    name: String,
    number: u64,
    pub source: Source,
    at: Timestamp,
    pub place: Place,
    /// Whether others than us see that it answers.
    is_shown: AtomicBool,
    turn: AtomicU8,
    /// Taken by whoever changes it or compares it.
    open: Mutex<Open>,
    seen: Mutex<Seen>,
}

/// What is open of a release.
#[derive(Default)]
struct Open {
    /// How often a batch is halved: those that take longer than a turn are made smaller.
    halved: u32,
    kept: Option<(Model, CommitFollower)>,
    /// Which read model is opened next.
    wanted: Wanted,
    /// It was built from the beginning since this process began.
    is_new: bool,
    /// How often its database failed, one time after the other.
    failed: u32,
    /// It is not opened any more.
    is_closed: bool,
}

impl Open {
    /// What is there is of no use any more.
    fn begin_anew(&mut self) {
        (self.kept, self.wanted, self.is_new) = (None, Wanted::Anew, true);
    }
}

/// What others see of it without waiting.
#[derive(Default)]
struct Seen {
    phase: Phase,
    position: u64,
    rate: Option<f64>,
}

/// Why a release does not go on.
enum Halt {
    Event(Box<FailedEvent>),
    Store(String),
}

impl Release {
    pub fn new(inner: &Arc<Inner>, name: String, number: u64, source: Source, at: Timestamp, place: Place) -> Self {
        let seen = Mutex::new(Seen { phase: Phase::Building, ..Seen::default() });
        let inner = Arc::downgrade(inner);
        let (turn, is_shown) = (AtomicU8::new(IDLE), AtomicBool::new(false));
        Self { inner, name, number, source, at, place, is_shown, turn, open: Mutex::default(), seen }
    }

    /// There is something in the log that it has not seen, maybe.
    pub fn wake(self: &Arc<Self>, inner: &Inner) {
        let woken = self.turn.fetch_update(Ordering::AcqRel, Ordering::Acquire, |turn| match turn {
            IDLE => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        });
        if woken == Ok(IDLE) {
            self.pool(inner).put(Arc::clone(self) as Arc<dyn Job>);
        }
    }

    fn pool<'a>(&self, inner: &'a Inner) -> &'a Pool {
        if self.place.is_elsewhere() { inner.pool_for_elsewhere() } else { &inner.pool }
    }

    /// Another release answers by now, or did.
    pub fn show_anew(&self) {
        self.is_shown.store(false, Ordering::Release);
    }

    /// Goes on after it was stopped.
    pub fn resume(self: &Arc<Self>, inner: &Inner) {
        let mut seen = self.seen.lock();
        if matches!(seen.phase, Phase::Stopped(_)) {
            seen.phase = Phase::Building;
        }
        drop(seen);
        self.wake(inner);
    }

    /// Closes its file, for good.
    pub fn close(&self) {
        let mut open = self.open.lock();
        (open.kept, open.is_closed) = (None, true);
    }

    /// Up to where it is, and why it stands still.
    pub fn position(&self) -> (u64, Option<String>) {
        let seen = self.seen.lock();
        (seen.position, stopped(&seen.phase))
    }

    pub fn status(&self, end: u64) -> ReleaseStatus {
        let seen = self.seen.lock();
        let behind = end.saturating_sub(seen.position);
        let eta = |rate: f64| (behind as f64 / rate).ceil() as u64;
        let declaration = match &self.source {
            Source::Declared(declaration) => Some(Arc::clone(declaration)),
            Source::Code(_) => None,
        };
        ReleaseStatus {
            number: self.number,
            at: self.at,
            declaration,
            phase: seen.phase.clone(),
            position: seen.position,
            rate: seen.rate,
            eta_s: seen.rate.filter(|rate| behind > 0 && *rate >= 1.0 && stopped(&seen.phase).is_none()).map(eta),
            bytes: self.place.bytes(),
        }
    }

    /// Sees to it that there is a file that can be asked.
    pub fn make(&self, inner: &Arc<Inner>) -> Result<(), NotDone> {
        if self.place.is_there() && self.seen.lock().position > 0 {
            return Ok(());
        }
        let mut open = self.open.lock();
        self.opened(&mut open, inner).map(drop).map_err(|broken| self.failed(&broken))
    }

    /// Whether it is as far as the log, but for what has just come.
    pub fn is_built(&self, inner: &Inner) -> Result<(), NotDone> {
        let (position, stopped) = self.position();
        let end = inner.tenant.position();
        if stopped.is_none() && position + BEHIND_MAX >= end {
            return Ok(());
        }
        Err(ReadModelRefusal::NotBuilt { release: self.number, position, end, stopped }.into())
    }

    /// Sees to it that it is as far as the log, if it is near.
    pub fn get_ready(&self, inner: &Arc<Inner>) -> Result<(), NotDone> {
        self.is_built(inner)?;
        let mut open = self.open.lock();
        self.catch_up(&mut open, inner, inner.tenant.head())
    }

    pub fn digests(&self, inner: &Arc<Inner>) -> Result<(u64, Vec<TableDigest>), NotDone> {
        let (reader, position) = {
            let mut open = self.open.lock();
            let (model, _) = self.opened(&mut open, inner).map_err(|broken| self.failed(&broken))?;
            let position = model.position();
            (self.place.reader_of_now()?, position)
        };
        Ok((position, digests(reader.tables()).map_err(|broken| self.failed(&broken))?))
    }

    /// What differs between it and the release that is to come after it, both at one place.
    pub fn compare(&self, next: &Self, inner: &Arc<Inner>) -> Result<Comparison, NotDone> {
        self.is_built(inner)?;
        next.is_built(inner)?;
        let (live, other, position) = {
            // Always the live one first, or two that compare would wait for each other.
            let (mut live_open, mut next_open) = (self.open.lock(), next.open.lock());
            let end = inner.tenant.head();
            self.catch_up(&mut live_open, inner, end)?;
            next.catch_up(&mut next_open, inner, end)?;
            (self.place.reader_of_now()?, next.place.reader_of_now()?, self.position().0)
        };
        let tables = compare(live.tables(), other.tables()).map_err(|broken| self.failed(&broken))?;
        Ok(Comparison { live: self.number, next: next.number, position, tables })
    }

    /// What it has at the end of the log, and what `other` makes of the log up to the same place.
    pub fn read_beside<T, E: From<NotDone>>(
        &self,
        inner: &Arc<Inner>,
        other: impl FnOnce(Head) -> Result<T, E>,
    ) -> Result<(Reader, T), E> {
        self.is_built(inner)?;
        let mut open = self.open.lock();
        let end = inner.tenant.head();
        self.catch_up(&mut open, inner, end)?;
        let other = other(end)?;
        Ok((self.place.reader_of_now()?, other))
    }

    fn failed(&self, broken: &Broken) -> NotDone {
        self.place.failed(broken)
    }

    fn catch_up(&self, open: &mut MutexGuard<'_, Open>, inner: &Arc<Inner>, end: Head) -> Result<(), NotDone> {
        loop {
            match self.step(open, inner, end) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(halt) => {
                    let stopped = Some(self.halt(halt));
                    let (release, position, end) = (self.number, self.position().0, inner.tenant.position());
                    return Err(ReadModelRefusal::NotBuilt { release, position, end, stopped }.into());
                }
            }
        }
    }

    fn opened<'a>(&self, open: &'a mut Open, inner: &Arc<Inner>) -> Result<&'a mut (Model, CommitFollower), Broken> {
        if open.is_closed {
            return Err(Broken::saying("it is being closed"));
        }
        if open.kept.is_none() {
            let model = inner.open_model(&self.place, &self.source, open.wanted)?;
            open.wanted = Wanted::There;
            let follower = inner.tenant.follow_commits(model.head());
            open.is_new |= model.head() == Head::START;
            if model.head() == Head::START {
                // What was shown of it went with it.
                self.show_anew();
            }
            self.seen.lock().position = model.position();
            open.kept = Some((model, follower));
        }
        open.kept.as_mut().ok_or_else(|| Broken::saying("it is closed"))
    }

    /// Takes in a batch. Whether there may be more up to `end`.
    fn step(&self, open: &mut Open, inner: &Arc<Inner>, end: Head) -> Result<bool, Halt> {
        let stepped = self.try_step(open, inner, end);
        match &stepped {
            // What is open may be of no use any more: the next try looks anew where it is.
            Err(Halt::Store(_)) => (open.kept, open.failed) = (None, open.failed + 1),
            _ => open.failed = 0,
        }
        stepped
    }

    fn try_step(&self, open: &mut Open, inner: &Arc<Inner>, end: Head) -> Result<bool, Halt> {
        let (is_new, halved) = (open.is_new, open.halved);
        let (model, follower) = self.opened(open, inner).map_err(|broken| Halt::Store(broken.said))?;
        let commits = match follower.next(end, BATCH_BYTES >> halved).map_err(|fault| Halt::Store(fault.to_string()))? {
            Followed::Commits(commits) => commits,
            Followed::End => return Ok(false),
            Followed::Apart if is_new => {
                let commit = model.head().commit;
                return Err(Halt::Store(format!("the log does not go on behind commit {commit}; check the store")));
            }
            Followed::Apart => {
                tracing::warn!(
                    projection = self.name,
                    release = self.number,
                    "its read model is of another log and is built again"
                );
                open.begin_anew();
                let mut seen = self.seen.lock();
                (seen.phase, seen.position) = (Phase::Building, 0);
                return Ok(true);
            }
        };
        let skipped = inner.tenant.skipped_in_projection(&self.name);
        let began = Instant::now();
        let taken = match model.take(&inner.tenant, &commits, &skipped) {
            Ok(()) => Ok(true),
            // All before the commit that it is in can be.
            Err(NotTaken::Event { commit, event }) => {
                let before = model.take(&inner.tenant, &commits[..commit], &skipped);
                *follower = inner.tenant.follow_commits(model.head());
                match before {
                    Err(NotTaken::Store(broken)) => Err(Halt::Store(broken.said)),
                    _ => Err(Halt::Event(event)),
                }
            }
            Err(NotTaken::Store(broken)) => {
                if broken.is_ruined {
                    open.begin_anew();
                }
                return Err(Halt::Store(broken.said));
            }
        };
        self.seen.lock().position = model.position();
        open.halved = match began.elapsed() {
            took if took > TURN => (halved + 1).min(HALVED_MAX),
            _ => halved.saturating_sub(1),
        };
        taken
    }

    /// Shows others that it answers, if it does. Tried when it is as far as the log, or has its turn.
    fn show(&self, open: &mut Open, inner: &Arc<Inner>) -> Result<(), Halt> {
        let is_live = || inner.tenant.projection(&self.name).is_some_and(|info| info.live == self.number);
        if !self.place.is_elsewhere() || self.is_shown.load(Ordering::Acquire) || !is_live() {
            return Ok(());
        }
        // Before it is shown: whoever changes what is live meanwhile has it shown once more.
        self.is_shown.store(true, Ordering::Release);
        let shown = self.opened(open, inner).and_then(|(model, _)| model.show());
        shown.map_err(|broken| {
            self.is_shown.store(false, Ordering::Release);
            open.failed += 1;
            Halt::Store(broken.said)
        })
    }

    /// Notes why it does not go on.
    fn halt(&self, halt: Halt) -> String {
        let mut seen = self.seen.lock();
        let (phase, error) = match halt {
            Halt::Event(event) => {
                let error = event.to_string();
                (Phase::Stopped(*event), error)
            }
            Halt::Store(error) => (Phase::Failing { error: error.clone() }, error),
        };
        if seen.phase != phase {
            tracing::warn!(projection = self.name, release = self.number, error, "it stands still");
            seen.phase = phase;
        }
        error
    }

    fn stand(&self, open: &Open, halt: Halt) -> Next {
        let is_event = matches!(halt, Halt::Event(_));
        self.halt(halt);
        if is_event { Next::Idle } else { Next::Later(RETRY * (1 << open.failed.saturating_sub(1).min(DOUBLED_MAX))) }
    }

    /// Does what there is to do, for as long as a turn. Whether it is to have another.
    fn work(&self, inner: &Arc<Inner>) -> Next {
        if matches!(self.seen.lock().phase, Phase::Stopped(_)) {
            return Next::Idle;
        }
        let mut open = self.open.lock();
        if open.is_closed {
            return Next::Idle;
        }
        let (began, from) = (Instant::now(), self.seen.lock().position);
        let next = loop {
            match self.step(&mut open, inner, inner.tenant.head()) {
                Ok(true) if began.elapsed() < TURN => inner.tell(),
                Ok(true) => break Next::Again,
                Ok(false) => {
                    if let Err(halt) = self.show(&mut open, inner) {
                        break self.stand(&open, halt);
                    }
                    self.seen.lock().phase = Phase::Following;
                    break Next::Idle;
                }
                Err(halt) => break self.stand(&open, halt),
            }
        };
        let mut seen = self.seen.lock();
        let (events, seconds) = (seen.position.saturating_sub(from) as f64, began.elapsed().as_secs_f64());
        if events > 0.0 {
            let rate = events / seconds.max(1e-6);
            seen.rate = Some(seen.rate.map_or(rate, |before| before + (rate - before) * RATE_WEIGHT));
        }
        drop(seen);
        drop(open);
        inner.tell();
        next
    }
}

enum Next {
    Idle,
    Again,
    Later(Duration),
}

impl Job for Release {
    fn turn(self: Arc<Self>) {
        let Some(inner) = self.inner.upgrade() else { return };
        self.turn.store(RUNNING, Ordering::Release);
        let next = self.work(&inner);
        // Whoever came meanwhile is not forgotten.
        let was = self.turn.swap(if matches!(next, Next::Idle) { IDLE } else { QUEUED }, Ordering::AcqRel);
        match next {
            Next::Again => self.pool(&inner).put(Arc::clone(&self) as Arc<dyn Job>),
            Next::Later(after) => self.pool(&inner).put_later(Arc::clone(&self) as Arc<dyn Job>, after),
            Next::Idle if was == WOKEN => self.wake(&inner),
            Next::Idle => {}
        }
    }
}

fn stopped(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Stopped(event) => Some(event.to_string()),
        Phase::Failing { error } => Some(error.clone()),
        Phase::Following | Phase::Building => None,
    }
}
