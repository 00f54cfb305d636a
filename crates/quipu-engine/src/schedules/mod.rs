//! Schedules: events that are published again and again. What a tick publishes and how far its schedule has come are in one
//! commit, so no crash publishes a tick twice or loses it.
//!
//! Whoever sees to ticks is beside the loop ([`tick`]): it asks the rules of the domain which have come, makes their events, and
//! hands them over with the place that they were made from. The loop takes them if the schedule is still there, so whoever makes
//! them may be late, repeat itself or be started anew and can do no harm. When the next tick is, is computed and not stored.

mod define;
mod list;
mod records;
mod refusal;
mod tick;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use quipu_domain::Timestamp;
use quipu_domain::schedule::{Schedule, Timetable};

use crate::transform::Jq;
pub use define::AppliedSchedule;
pub use list::{ScheduleInfo, SchedulePage, ScheduleState};
pub use records::TickError;
pub(crate) use records::{FoldedSchedule, FoldedSchedules, ScheduleRecord, Ticked};
pub use refusal::ScheduleRefusal;
pub(crate) use tick::{Come, Tick};

/// Most schedules of a tenant: each is held in memory with its data, 20 KB at most.
pub const SCHEDULES_MAX: usize = 1_000;

/// What memory knows of schedules beside the fold.
pub(crate) struct Schedules {
    /// Locked after the decider.
    book: Mutex<Book>,
    /// When the next tick is, microseconds.
    next: AtomicI64,
    /// Ticks are on their way to the loop.
    is_ticking: AtomicBool,
    /// Serializes declarations.
    defining: Mutex<()>,
    /// Why ticks that have come could not be written when that was tried last.
    stuck: Mutex<Option<String>>,
}

/// All schedules, and when each is looked at.
#[derive(Default)]
struct Book {
    entries: HashMap<String, (Arc<Ready>, Option<Timestamp>)>,
    due: BTreeSet<(Timestamp, String)>,
}

/// A schedule that can tick.
struct Ready {
    declaration: Arc<Schedule>,
    timetable: Timetable,
    /// Compiled when it is asked first: an opening need not wait for a thousand of them.
    jq: OnceLock<Result<Jq, String>>,
}

impl Ready {
    /// Nothing if its times are none, which nobody could have declared: an older version may have known a zone that is gone.
    fn new(folded: &FoldedSchedule) -> Option<Self> {
        let timetable = folded.declaration.timetable(folded.anchor).ok()?;
        Some(Self { declaration: Arc::clone(&folded.declaration), timetable, jq: OnceLock::new() })
    }
}

impl Book {
    /// Takes in how a schedule is now, or that it is gone.
    fn enter(&mut self, name: &str, folded: Option<&FoldedSchedule>) {
        self.set(name, None);
        self.entries.remove(name);
        let Some((folded, ready)) = folded.and_then(|folded| Some((folded, Ready::new(folded)?))) else { return };
        let next = (!folded.declaration.paused).then(|| ready.timetable.next_after(folded.last)).flatten();
        self.entries.insert(name.to_owned(), (Arc::new(ready), None));
        self.set(name, next);
    }

    /// Sets when a schedule is looked at, in place of what was set.
    fn set(&mut self, name: &str, at: Option<Timestamp>) {
        let Some((_, set)) = self.entries.get_mut(name) else { return };
        if let Some(before) = set.take() {
            self.due.remove(&(before, name.to_owned()));
        }
        *set = at;
        at.into_iter().for_each(|at| _ = self.due.insert((at, name.to_owned())));
    }
}

impl Schedules {
    /// Those of a log that was opened.
    pub fn new(folded: &FoldedSchedules) -> Self {
        let mut book = Book::default();
        folded.all.iter().for_each(|(name, folded)| book.enter(name, Some(folded)));
        let schedules = Self {
            book: Mutex::default(),
            next: AtomicI64::new(i64::MAX),
            is_ticking: AtomicBool::new(false),
            defining: Mutex::default(),
            stuck: Mutex::default(),
        };
        schedules.turned(&book);
        *schedules.book.lock() = book;
        schedules
    }

    /// When the next tick is.
    pub fn next(&self) -> Option<Timestamp> {
        let next = self.next.load(Ordering::Acquire);
        (next < i64::MAX).then_some(Timestamp(next))
    }

    /// Notes when the next tick is.
    fn turned(&self, book: &Book) {
        self.next.store(book.due.first().map_or(i64::MAX, |(at, _)| at.0), Ordering::Release);
    }
}
