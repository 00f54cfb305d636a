//! The index of a log: runs for the older events, memtables for the newest. It answers which positions may match and
//! where an event is; it never decides what matches.
//!
//! Runs are caches of the log: those that are missing, damaged or from another time are rebuilt, at opening or when
//! the damage is met.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use quipu_domain::{Direction, Event};
use roaring::RoaringBitmap;

use crate::body;
use crate::commit::RecordKind;
use crate::dedup_filter::DedupFilter;
use crate::log::{Locator, Log};
use crate::memtable::Memtable;
use crate::run::{self, Run};
use crate::storage::{Fault, Storage};
use crate::terms::{Expr, Term, TermHasher};

/// How much of the log is read at once for a rebuild.
const SCAN_BYTES: usize = 4 << 20;
/// Keys that are added to the filter while appends wait: some 50 µs.
const KEYS_ADDED: usize = 4_096;

/// Which positions may match, in one stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The positions, in the direction asked for; nothing means every position of the stretch.
    pub positions: Option<Vec<u64>>,
    /// The stretch that was looked at, both ends included.
    pub stretch: RangeInclusive<u64>,
}

/// Term → positions, and position → place, for a whole log.
pub struct Index {
    storage: Arc<dyn Storage>,
    folder: String,
    log: Arc<dyn Log>,
    hasher: TermHasher,
    /// A memtable becomes a run at this many events.
    run_events: usize,
    /// The runs have a lock of their own: appenders look into them while the loop writes to the memtable. Whoever takes
    /// both takes the tables first.
    tables: RwLock<Tables>,
    runs: RwLock<Vec<Arc<Run>>>,
    filter: RwLock<DedupFilter>,
    /// One memtable is written at a time: the loop may help out the thread whose business it is.
    maintenance: Mutex<()>,
}

struct Tables {
    /// Full memtables whose runs are not written yet, oldest first.
    sealing: Vec<Arc<Memtable>>,
    open: Memtable,
    /// The memory of a memtable whose run is written.
    spare: Option<Memtable>,
}

impl Tables {
    /// The memtable that holds a position.
    fn table(&self, position: u64) -> Option<&Memtable> {
        self.newest_first().find(|table| (table.first_position()..table.end_position()).contains(&position))
    }

    fn newest_first(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&self.open).chain(self.sealing.iter().rev().map(AsRef::as_ref))
    }
}

impl Index {
    /// Opens the runs of a folder. Files that are no run of this log are removed; gaps are rebuilt. Events after the
    /// last run are to be inserted by whoever replays the log; repeats are found in runs after [`Index::load_pairs`].
    ///
    /// `end_position` is the position after the log's last event.
    pub fn open(
        storage: Arc<dyn Storage>,
        folder: &str,
        log: Arc<dyn Log>,
        hasher: TermHasher,
        run_events: usize,
        end_position: u64,
    ) -> Result<Self, Fault> {
        let index = Self {
            storage,
            folder: folder.to_owned(),
            log,
            hasher,
            run_events: run_events.max(1),
            tables: RwLock::new(Tables { sealing: Vec::new(), open: Memtable::new(1), spare: None }),
            runs: RwLock::default(),
            filter: RwLock::new(DedupFilter::default()),
            maintenance: Mutex::new(()),
        };
        let mut found = Vec::new();
        for name in index.run_names()? {
            let path = format!("{folder}/{name}");
            let range = run::parse_name(&name).filter(|(first, last)| first <= last);
            match range.map(|range| (range, Run::open(index.storage.as_ref(), &path))) {
                Some(((first, last), Ok(run)))
                    if (run.first_position(), Some(run.end_position())) == (first, last.checked_add(1)) =>
                {
                    if last >= end_position {
                        // A run is written of what is durable only: the log has lost its end.
                        return Err(Fault::Damaged {
                            path: index.log.name(),
                            offset: 0,
                            detail: format!(
                                "it ends before position {end_position}, and an index has positions to {last}: the end of the log is missing"
                            ),
                        });
                    }
                    found.push(Arc::new(run));
                }
                Some((_, Err(fault @ Fault::Io { .. }))) => return Err(fault),
                _ => index.remove(&path)?,
            }
        }
        found.sort_by_key(|run| run.first_position());
        for run in found {
            let covered = index.covered_to();
            if run.first_position() < covered {
                index.remove(run.path())?;
                continue;
            }
            if run.first_position() > covered {
                index.rebuild(covered, run.first_position())?;
            }
            index.runs.write().push(run);
        }
        let end = index.covered_to();
        index.tables.write().open = Memtable::new(end);
        Ok(index)
    }

    fn run_names(&self) -> Result<Vec<String>, Fault> {
        match self.storage.list(&self.folder) {
            Ok(names) => Ok(names.into_iter().filter(|name| name.contains(".run")).collect()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Fault::io("list", self.storage.display(&self.folder), e)),
        }
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        self.storage.remove(path).map_err(|e| Fault::io("remove", self.storage.display(path), e))
    }

    /// The position after the last event that runs cover.
    pub fn covered_to(&self) -> u64 {
        self.runs.read().last().map_or(1, |run| run.end_position())
    }

    /// The position after the last event inserted.
    pub fn end_position(&self) -> u64 {
        self.tables.read().open.end_position()
    }

    /// Puts the pairs of the newest runs into the filter: of those whose last position is in the deduplication window.
    pub fn load_pairs(&self, is_in_window: impl Fn(u64) -> Result<bool, Fault>) -> Result<(), Fault> {
        let runs = self.runs.read().clone();
        let mut first = runs.len();
        while first > 0 && is_in_window(runs[first - 1].end_position() - 1)? {
            first -= 1;
        }
        // Anew, in the order of positions: the runs that replaying the log has written are in it already.
        let mut filter = DedupFilter::default();
        for run in &runs[first..] {
            filter.add(run.first_position()..run.end_position(), &self.ask(run, Run::pairs)?);
        }
        *self.filter.write() = filter;
        Ok(())
    }

    /// Writes runs for a stretch of the log behind the runs that there are.
    fn rebuild(&self, from: u64, end: u64) -> Result<(), Fault> {
        let mut from = from;
        while from < end {
            let table = self.table_of(from, end.min(from + self.run_events as u64))?;
            from = table.end_position();
            let run = run::write_or_hold(self.storage.as_ref(), &self.folder, &table)?;
            self.runs.write().push(Arc::new(run));
        }
        Ok(())
    }

    /// Where to scan from so that a position comes.
    pub fn scan_start(&self, position: u64) -> Result<Locator, Fault> {
        match position.checked_sub(1).filter(|before| *before > 0) {
            None => Ok(self.log.seek(1)),
            Some(before) => match self.locator(before)? {
                Some(locator) => self.log.commit_of(locator),
                None => Ok(self.log.seek(1)),
            },
        }
    }

    /// Reads a stretch of the log into a memtable.
    fn table_of(&self, from: u64, end: u64) -> Result<Memtable, Fault> {
        let mut table = Memtable::new(from);
        let mut at = self.scan_start(from)?;
        let mut terms = Vec::new();
        while table.end_position() < end {
            let chunk = self.log.scan(at, SCAN_BYTES)?;
            if chunk.commits.is_empty() {
                break;
            }
            at = chunk.next;
            for (start, commit) in &chunk.commits {
                let events = commit.records.iter().filter(|record| record.kind == RecordKind::Event);
                for (position, record) in (commit.first_position..).zip(events) {
                    if position != table.end_position() || position >= end {
                        continue;
                    }
                    let locator = start + u64::from(record.offset);
                    let event = body::decode_at(&record.body, position, self.log.as_ref())?;
                    terms.clear();
                    self.terms_of(&event, record.stream_version, &mut terms);
                    table.insert(self.hasher.pair(event.source(), event.id()), &terms);
                    table.place(position, [locator]);
                }
            }
        }
        Ok(table)
    }

    /// The keys of all terms of an event.
    pub fn terms_of(&self, event: &Event<'_>, stream_version: u64, out: &mut Vec<u64>) {
        self.hasher.terms_of(event, out);
        if stream_version == 1 {
            out.push(self.hasher.term(Term::StreamStart));
        }
    }

    /// Adds the next event, decided and not yet written.
    pub fn insert(&self, pair: u64, terms: &[u64]) {
        self.tables.write().open.insert(pair, terms);
    }

    /// Says where events that were inserted are. A memtable that is full then waits for [`Index::maintain`].
    pub fn place(&self, first: u64, locators: impl IntoIterator<Item = Locator>) {
        let mut tables = self.tables.write();
        tables.open.place(first, locators);
        if tables.open.len() >= self.run_events && tables.open.is_placed() {
            let end = tables.open.end_position();
            let next = tables.spare.take().map_or_else(|| Memtable::new(end), |spare| spare.reset(end));
            let full = std::mem::replace(&mut tables.open, next);
            tables.sealing.push(Arc::new(full));
        }
    }

    /// How many full memtables wait to be written.
    pub fn sealing(&self) -> usize {
        self.tables.read().sealing.len()
    }

    /// Writes the run of the oldest full memtable, if all of it is durable. Returns whether there was one.
    pub fn maintain(&self, durable_position: u64) -> Result<bool, Fault> {
        let _one_at_a_time = self.maintenance.lock();
        let Some(table) = self.tables.read().sealing.first().cloned() else { return Ok(false) };
        if table.end_position() > durable_position + 1 {
            return Ok(false);
        }
        let run = Arc::new(run::write(self.storage.as_ref(), &self.folder, &table)?);
        let mut keys: Vec<u64> = table.ids().keys().collect();
        keys.sort_unstable();
        // The filter first: whoever sees the run must see its keys. Until then they are looked up in the memtable, so appends need not
        // wait until all are there.
        self.filter.write().reserve(run.first_position()..run.end_position(), keys.len());
        for some in keys.chunks(KEYS_ADDED) {
            let mut filter = self.filter.write();
            filter.add_some(some);
            RwLockWriteGuard::unlock_fair(filter);
        }
        let mut tables = self.tables.write();
        self.runs.write().push(run);
        tables.sealing.remove(0);
        tables.spare = tables.spare.take().or_else(|| Arc::into_inner(table));
        Ok(true)
    }

    /// Drops from the filter what has left the deduplication window, by its last position.
    pub fn forget_pairs(&self, is_in_window: impl Fn(u64) -> Result<bool, Fault>) -> Result<(), Fault> {
        loop {
            let oldest_end = self.filter.read().oldest_end();
            match oldest_end {
                Some(end) if !is_in_window(end - 1)? => {
                    // Not while keys of a run are added.
                    let _one_at_a_time = self.maintenance.lock();
                    self.filter.write().forget_before(end);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Runs a look-up in a run; a damaged run is rebuilt first and asked again.
    fn ask<T>(&self, run: &Arc<Run>, look_up: impl Fn(&Run) -> Result<T, Fault>) -> Result<T, Fault> {
        match look_up(run) {
            Err(Fault::Damaged { .. }) => {}
            answer => return answer,
        }
        // Reading may meet another damaged run and come here again: only the writing is one at a time.
        let table = self.table_of(run.first_position(), run.end_position())?;
        let _one_at_a_time = self.maintenance.lock();
        let rebuilt = Arc::new(run::write_or_hold(self.storage.as_ref(), &self.folder, &table)?);
        if let Some(old) = self.runs.write().iter_mut().find(|old| old.path() == rebuilt.path()) {
            *old = Arc::clone(&rebuilt);
        }
        look_up(&rebuilt)
    }

    /// The run that holds a position. Look into the tables first: an event moves from there to a run, never back.
    fn run(&self, position: u64) -> Option<Arc<Run>> {
        let runs = self.runs.read();
        let at = runs.partition_point(|run| run.end_position() <= position);
        runs.get(at).filter(|run| run.first_position() <= position).cloned()
    }

    /// Where an event is; nothing if there is none at that position, or it is not written yet.
    pub fn locator(&self, position: u64) -> Result<Option<Locator>, Fault> {
        if let Some(table) = self.tables.read().table(position) {
            return Ok(table.locator(position));
        }
        match self.run(position) {
            Some(run) => self.ask(&run, |run| run.locator(position)),
            None => Ok(None),
        }
    }

    /// For each key, the positions of events with it that runs hold, newest first; and the position that runs end
    /// before.
    pub fn pairs_in_runs(&self, keys: &[u64]) -> Result<(Vec<Vec<u64>>, u64), Fault> {
        // In this order: keys are in the filter before their run is seen.
        let covered = self.covered_to();
        let may_hold = self.filter.read().find(keys);
        let mut all = vec![Vec::new(); keys.len()];
        for (index, positions) in may_hold {
            all[index].extend(self.pairs_between(keys[index], positions)?);
        }
        Ok((all, covered))
    }

    /// Positions of events with this pair key, newest first, in the runs that hold any of some positions.
    fn pairs_between(&self, key: u64, positions: Range<u64>) -> Result<Vec<u64>, Fault> {
        let runs: Vec<Arc<Run>> = {
            let runs = self.runs.read();
            let first = runs.partition_point(|run| run.end_position() <= positions.start);
            let end = runs.partition_point(|run| run.first_position() < positions.end);
            runs.get(first..end).unwrap_or_default().to_vec()
        };
        let mut found = Vec::new();
        for run in runs.iter().rev() {
            found.extend(self.ask(run, |run| run.pairs_in(key..=key))?);
        }
        Ok(found)
    }

    /// Positions of events with this pair key from `from` on, newest first, in the deduplication window at least: the
    /// memtables, and runs newer than that.
    pub fn pairs_since(&self, key: u64, from: u64) -> Result<Vec<u64>, Fault> {
        let tables = self.tables.read();
        let mut found = Vec::new();
        for table in tables.newest_first() {
            found.extend(table.pair(key).take_while(|position| *position >= from));
        }
        let oldest = tables.sealing.first().map_or(tables.open.first_position(), |table| table.first_position());
        drop(tables);
        if oldest > from {
            // A memtable is taken away after its keys are in the filter.
            let may_hold = self.filter.read().find(&[key]);
            for (_, positions) in may_hold {
                found.extend(self.pairs_between(key, positions.start.max(from)..positions.end.min(oldest))?);
            }
        }
        Ok(found)
    }

    /// Positions that may hold an event with this id, whatever its source, newest first.
    pub fn ids(&self, id: &str) -> Result<Vec<u64>, Fault> {
        self.pairs_in(self.hasher.pairs_of_id(id))
    }

    /// Positions that may hold an event with this pair key, however old, newest first.
    pub fn pairs(&self, key: u64) -> Result<Vec<u64>, Fault> {
        self.pairs_in(key..=key)
    }

    /// In all runs: the filter knows no more than the deduplication window.
    fn pairs_in(&self, keys: RangeInclusive<u64>) -> Result<Vec<u64>, Fault> {
        let mut found: Vec<u64> =
            self.tables.read().newest_first().flat_map(|table| table.pairs_in(keys.clone())).collect();
        let runs = self.runs.read().clone();
        for run in runs {
            found.extend(self.ask(&run, |run| run.pairs_in(keys.clone()))?);
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        Ok(found)
    }

    /// Positions that may match, in the stretch of the log around the first of `range` (the last, backward): at most
    /// `limit` of them. Go on behind the returned stretch. Nothing if the range is empty or beyond the end.
    pub fn select(
        &self,
        expr: &Expr,
        range: RangeInclusive<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<Selection>, Fault> {
        let tables = self.tables.read();
        let end = tables.open.end_position();
        let (from, to) = ((*range.start()).max(1), (*range.end()).min(end.saturating_sub(1)));
        if from > to {
            return Ok(None);
        }
        let start = match direction {
            Direction::Forward => from,
            Direction::Backward => to,
        };
        let (first, stretch, found) = if let Some(table) = tables.table(start) {
            let stretch = from.max(table.first_position())..=to.min(table.end_position() - 1);
            (table.first_position(), stretch.clone(), table.select(expr, *stretch.start()))
        } else {
            drop(tables);
            let Some(run) = self.run(start) else { return Ok(None) };
            let stretch = from.max(run.first_position())..=to.min(run.end_position() - 1);
            (run.first_position(), stretch, self.ask(&run, |run| run.select(expr))?)
        };
        Ok(Some(match found {
            None => Selection { positions: None, stretch },
            Some(found) => cut(&found, first, stretch, direction, limit),
        }))
    }

    /// How many bytes the runs take on disk.
    pub fn run_bytes(&self) -> u64 {
        self.runs.read().iter().map(|run| run.bytes()).sum()
    }
}

/// The first `limit` positions of a stretch, and how far they reach.
fn cut(
    found: &RoaringBitmap,
    first: u64,
    stretch: RangeInclusive<u64>,
    direction: Direction,
    limit: usize,
) -> Selection {
    let (from, to) = ((stretch.start() - first) as u32, (stretch.end() - first) as u32);
    let mut inside = found.range(from..=to);
    let position = |at: u32| first + u64::from(at);
    let positions: Vec<u64> = match direction {
        Direction::Forward => inside.by_ref().take(limit).map(position).collect(),
        Direction::Backward => inside.by_ref().rev().take(limit).map(position).collect(),
    };
    let stretch = match (positions.last(), positions.len() < limit) {
        (Some(last), false) if direction == Direction::Forward => *stretch.start()..=*last,
        (Some(last), false) => *last..=*stretch.end(),
        _ => stretch,
    };
    Selection { positions: Some(positions), stretch }
}
