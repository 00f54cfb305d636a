//! The index of a log: runs for the older events, memtables for the newest. It answers which positions may match and
//! where an event is; it never decides what matches.
//!
//! Runs are caches of the log: those that are missing, damaged or from another time are rebuilt, at opening or when
//! the damage is met.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::RwLock;
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
    layers: RwLock<Layers>,
    filter: RwLock<DedupFilter>,
}

struct Layers {
    runs: Vec<Arc<Run>>,
    /// Full memtables whose runs are not written yet, oldest first.
    sealing: Vec<Arc<Memtable>>,
    open: Memtable,
}

/// A layer that holds a position.
enum Layer<'a> {
    Run(Arc<Run>),
    Table(&'a Memtable),
}

impl Layers {
    fn layer(&self, position: u64) -> Option<Layer<'_>> {
        if position >= self.open.first_position() {
            return (position < self.open.end_position()).then_some(Layer::Table(&self.open));
        }
        if let Some(table) = self.sealing.iter().find(|table| position < table.end_position()) {
            if position >= table.first_position() {
                return Some(Layer::Table(table));
            }
        }
        let at = self.runs.partition_point(|run| run.end_position() <= position);
        self.runs.get(at).filter(|run| run.first_position() <= position).map(|run| Layer::Run(Arc::clone(run)))
    }

    fn tables(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&self.open).chain(self.sealing.iter().rev().map(AsRef::as_ref))
    }
}

impl Index {
    /// Opens the runs of a folder. Files that are no run of this log are removed; gaps are rebuilt. Events after the
    /// last run are to be inserted by whoever replays the log.
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
            layers: RwLock::new(Layers { runs: Vec::new(), sealing: Vec::new(), open: Memtable::new(1) }),
            filter: RwLock::new(DedupFilter::default()),
        };
        let mut found = Vec::new();
        for name in index.run_names()? {
            let path = format!("{folder}/{name}");
            let range = run::parse_name(&name).filter(|(first, last)| first <= last && *last < end_position);
            match range.map(|range| (range, Run::open(index.storage.as_ref(), &path))) {
                Some(((first, last), Ok(run))) if (run.first_position(), run.end_position()) == (first, last + 1) => {
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
            index.add_run(run)?;
        }
        let end = index.covered_to();
        index.layers.write().open = Memtable::new(end);
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
        self.layers.read().runs.last().map_or(1, |run| run.end_position())
    }

    /// The position after the last event inserted.
    pub fn end_position(&self) -> u64 {
        self.layers.read().open.end_position()
    }

    /// Adds a run behind the others, and its pairs to the filter.
    fn add_run(&self, run: Arc<Run>) -> Result<(), Fault> {
        let mut keys = Vec::new();
        match run.each_pair(|key| keys.push(key)) {
            Ok(()) => {}
            Err(Fault::Damaged { .. }) => return self.rebuild(run.first_position(), run.end_position()),
            Err(fault) => return Err(fault),
        }
        self.filter.write().add(run.end_position(), keys);
        self.layers.write().runs.push(run);
        Ok(())
    }

    /// Writes runs for a stretch of the log behind the runs that there are.
    fn rebuild(&self, from: u64, end: u64) -> Result<(), Fault> {
        let mut from = from;
        while from < end {
            let table = self.table_of(from, end.min(from + self.run_events as u64))?;
            from = table.end_position();
            self.add_run(Arc::new(run::write(self.storage.as_ref(), &self.folder, &table)?))?;
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
                    let event = body::decode(&record.body).ok_or_else(|| self.undecodable(position))?;
                    terms.clear();
                    self.terms_of(&event, record.stream_version, &mut terms);
                    table.insert(self.hasher.pair(event.source(), event.id()), &terms);
                    table.place(position, [locator]);
                }
            }
        }
        Ok(table)
    }

    fn undecodable(&self, position: u64) -> Fault {
        Fault::Damaged {
            path: self.storage.display(&self.folder),
            offset: 0,
            detail: format!("the event at position {position} has a checksum that fits and cannot be decoded"),
        }
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
        self.layers.write().open.insert(pair, terms);
    }

    /// Says where events that were inserted are. A memtable that is full then waits for [`Index::maintain`].
    pub fn place(&self, first: u64, locators: impl IntoIterator<Item = Locator>) {
        let mut layers = self.layers.write();
        layers.open.place(first, locators);
        if layers.open.len() >= self.run_events && layers.open.is_placed() {
            let next = Memtable::new(layers.open.end_position());
            let full = std::mem::replace(&mut layers.open, next);
            layers.sealing.push(Arc::new(full));
        }
    }

    /// How many full memtables wait to be written.
    pub fn sealing(&self) -> usize {
        self.layers.read().sealing.len()
    }

    /// Writes the run of the oldest full memtable, if all of it is durable. Returns whether there was one.
    pub fn maintain(&self, durable_position: u64) -> Result<bool, Fault> {
        let Some(table) = self.layers.read().sealing.first().cloned() else { return Ok(false) };
        if table.end_position() > durable_position + 1 {
            return Ok(false);
        }
        let run = Arc::new(run::write(self.storage.as_ref(), &self.folder, &table)?);
        let mut keys = Vec::with_capacity(table.len());
        keys.extend(table.ids().sorted().iter().map(|pair| pair.0));
        // The filter first: whoever sees the run must see its keys.
        self.filter.write().add(run.end_position(), keys);
        let mut layers = self.layers.write();
        layers.runs.push(run);
        layers.sealing.remove(0);
        Ok(true)
    }

    /// Drops from the filter what lies before a position: pairs there are outside of the deduplication window.
    pub fn forget_pairs_before(&self, position: u64) {
        self.filter.write().forget_before(position);
    }

    /// Runs a look-up in a run; a damaged run is rebuilt first and asked again.
    fn ask<T>(&self, run: &Arc<Run>, look_up: impl Fn(&Run) -> Result<T, Fault>) -> Result<T, Fault> {
        match look_up(run) {
            Err(Fault::Damaged { .. }) => {}
            answer => return answer,
        }
        let table = self.table_of(run.first_position(), run.end_position())?;
        let rebuilt = Arc::new(run::write(self.storage.as_ref(), &self.folder, &table)?);
        let mut layers = self.layers.write();
        if let Some(old) = layers.runs.iter_mut().find(|old| old.path() == rebuilt.path()) {
            *old = Arc::clone(&rebuilt);
        }
        drop(layers);
        look_up(&rebuilt)
    }

    /// Where an event is; nothing if there is none at that position, or it is not written yet.
    pub fn locator(&self, position: u64) -> Result<Option<Locator>, Fault> {
        let layers = self.layers.read();
        match layers.layer(position) {
            None => Ok(None),
            Some(Layer::Table(table)) => Ok(table.locator(position)),
            Some(Layer::Run(run)) => {
                drop(layers);
                self.ask(&run, |run| run.locator(position))
            }
        }
    }

    /// Positions of events with this pair key that runs hold, newest first, and the position that runs end before.
    pub fn pairs_in_runs(&self, key: u64, from_position: u64) -> Result<(Vec<u64>, u64), Fault> {
        let covered = self.covered_to();
        let mut found = Vec::new();
        if self.filter.read().may_hold(key) {
            let runs = self.layers.read().runs.clone();
            for run in runs.iter().rev().filter(|run| run.end_position() > from_position) {
                found.extend(self.ask(run, |run| run.pairs_in(key..=key))?);
            }
        }
        Ok((found, covered))
    }

    /// Positions of events with this pair key from `from` on, newest first: the memtables, and runs newer than that.
    pub fn pairs_since(&self, key: u64, from: u64) -> Result<Vec<u64>, Fault> {
        let layers = self.layers.read();
        let mut found: Vec<u64> =
            layers.tables().flat_map(|table| table.pair(key)).take_while(|position| *position >= from).collect();
        let newer: Vec<_> = layers.runs.iter().rev().take_while(|run| run.end_position() > from).cloned().collect();
        drop(layers);
        for run in newer {
            found.extend(self.ask(&run, |run| run.pairs_in(key..=key))?);
        }
        Ok(found)
    }

    /// Positions that may hold an event with this id, whatever its source, newest first.
    pub fn ids(&self, id: &str) -> Result<Vec<u64>, Fault> {
        let keys = self.hasher.pairs_of_id(id);
        let layers = self.layers.read();
        let mut found: Vec<u64> = layers.tables().flat_map(|table| table.pairs_in(keys.clone())).collect();
        let runs = layers.runs.clone();
        drop(layers);
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
        let layers = self.layers.read();
        let end = layers.open.end_position();
        let (from, to) = ((*range.start()).max(1), (*range.end()).min(end.saturating_sub(1)));
        if from > to {
            return Ok(None);
        }
        let start = match direction {
            Direction::Forward => from,
            Direction::Backward => to,
        };
        let (first, stretch, found) = match layers.layer(start) {
            None => return Ok(None),
            Some(Layer::Table(table)) => {
                let stretch = from.max(table.first_position())..=to.min(table.end_position() - 1);
                (table.first_position(), stretch.clone(), table.select(expr, *stretch.start()))
            }
            Some(Layer::Run(run)) => {
                drop(layers);
                let stretch = from.max(run.first_position())..=to.min(run.end_position() - 1);
                (run.first_position(), stretch, self.ask(&run, |run| run.select(expr))?)
            }
        };
        Ok(Some(match found {
            None => Selection { positions: None, stretch },
            Some(found) => cut(&found, first, stretch, direction, limit),
        }))
    }

    /// How many bytes the runs take on disk.
    pub fn run_bytes(&self) -> u64 {
        self.layers.read().runs.iter().map(|run| run.bytes()).sum()
    }

    /// Roughly how many bytes the memtables take in memory.
    pub fn memory_bytes(&self) -> usize {
        self.layers.read().tables().map(Memtable::bytes).sum()
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
