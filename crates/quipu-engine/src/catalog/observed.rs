//! What was published, type by type: a fold of the log that runs when somebody asks for it, so that appending pays nothing for it.
//! What it knows is kept in a file beside the snapshots, which is a cache: it is used if the log goes on where it ends, and made
//! again from the whole log if not.

use std::collections::{BTreeMap, VecDeque};

use quipu_domain::Timestamp;
use quipu_store::{Digest, Fault, RecordKind, body, snapshot};
use serde::{Deserialize, Serialize};

use crate::audit::Head;
use crate::schemas::SCHEMA_MARK;
use crate::tenant::Tenant;
use crate::walk::{Stretch, Walk};

/// Most types, each with its version, that are told apart; the events of all others are counted together.
const TYPES_MAX: usize = 10_000;
/// Most sources of a type that are told apart.
pub(super) const SOURCES_MAX: usize = 32;
/// Most bytes of all names of types and sources: they are in memory for as long as the tenant is open.
const NAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of the log that are read at once.
const STRETCH_BYTES: usize = 1 << 20;
/// After so many events more the file is written again, and not at each question: most ask again soon.
const UNSAVED_MAX: u64 = 100_000;
/// What the file begins with.
const FORMAT: u8 = 1;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

/// What was seen of all types up to a commit.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Observed {
    /// The last commit that was looked at, and the hash that the next one names.
    commit: u64,
    chain: Digest,
    /// The last event that was looked at.
    pub position: u64,
    /// By the type with its version, as events have it.
    pub types: BTreeMap<String, Seen>,
    /// Events of further types.
    pub others: u64,
    name_bytes: usize,
    /// How far the file is.
    #[serde(skip)]
    saved: u64,
}

/// What was seen of one type with its version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub events: u64,
    /// Those that were recorded although they break their schema.
    pub marked: u64,
    pub first: (u64, Timestamp),
    pub last: (u64, Timestamp),
    /// How many came from where.
    pub sources: BTreeMap<String, u64>,
    /// Events of further sources.
    pub other_sources: u64,
    minutes: Buckets,
    hours: Buckets,
}

/// Events by the stretch of time in which they were recorded, of the newest stretches only.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Buckets(VecDeque<(i64, u64)>);

impl Buckets {
    /// Events are counted in the order in which they were recorded.
    fn count(&mut self, stretch: i64, most: usize) {
        match self.0.back_mut() {
            Some((last, events)) if *last == stretch => *events += 1,
            _ => {
                if self.0.len() == most {
                    self.0.pop_front();
                }
                self.0.push_back((stretch, 1));
            }
        }
    }

    fn since(&self, stretch: i64) -> u64 {
        self.0.iter().filter(|(at, _)| *at >= stretch).map(|(_, events)| events).sum()
    }
}

impl Seen {
    fn new(position: u64, time: Timestamp) -> Self {
        Self {
            events: 0,
            marked: 0,
            first: (position, time),
            last: (position, time),
            sources: BTreeMap::new(),
            other_sources: 0,
            minutes: Buckets::default(),
            hours: Buckets::default(),
        }
    }

    /// Events of the last 60 minutes and of the last 24 hours, of which the ones in progress count.
    pub fn lately(&self, now: Timestamp) -> [u64; 2] {
        let (minute, hour) = (now.0.div_euclid(MINUTE_US), now.0.div_euclid(HOUR_US));
        [self.minutes.since(minute - 59), self.hours.since(hour - 23)]
    }
}

impl Observed {
    fn record(&mut self, kind: &str, source: &str, position: u64, time: Timestamp, is_marked: bool) {
        self.position = position;
        let mut room = NAME_BYTES_MAX.saturating_sub(self.name_bytes);
        if !self.types.contains_key(kind) {
            if self.types.len() >= TYPES_MAX || room < kind.len() {
                self.others += 1;
                return;
            }
            self.types.insert(kind.to_owned(), Seen::new(position, time));
            self.name_bytes += kind.len();
            room -= kind.len();
        }
        let seen = self.types.get_mut(kind).expect("it was just put there");
        seen.events += 1;
        seen.marked += u64::from(is_marked);
        seen.last = (position, time);
        seen.minutes.count(time.0.div_euclid(MINUTE_US), 60);
        seen.hours.count(time.0.div_euclid(HOUR_US), 24);
        if let Some(events) = seen.sources.get_mut(source) {
            *events += 1;
        } else if seen.sources.len() >= SOURCES_MAX || room < source.len() {
            seen.other_sources += 1;
        } else {
            seen.sources.insert(source.to_owned(), 1);
            self.name_bytes += source.len();
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend(postcard::to_allocvec(self).expect("it is plain data"));
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let read: Self = (*format == FORMAT).then(|| postcard::from_bytes(rest).ok())??;
        Some(Self { saved: read.position, ..read })
    }
}

impl Tenant {
    /// Asks for what was seen up to now. Whoever comes first reads what is new; others wait for it.
    pub(super) fn with_observed<T>(&self, ask: impl FnOnce(&Observed) -> T) -> Result<T, Fault> {
        let mut known = self.catalog.observed.lock();
        let mut observed = match known.take() {
            Some(observed) => observed,
            None => self.saved_observed(),
        };
        let read = match self.observe(&mut observed) {
            // What is known is not of this log: a cache that was left from another, or of an end that was lost.
            Ok(false) => {
                observed = Observed::default();
                self.observe(&mut observed)
            }
            read => read,
        };
        let observed = known.insert(observed);
        read?;
        if observed.position >= observed.saved + UNSAVED_MAX {
            self.save_observed(observed);
        }
        Ok(ask(observed))
    }

    /// Takes in what is durable and was not looked at. `false` if the log does not go on where that ends.
    fn observe(&self, observed: &mut Observed) -> Result<bool, Fault> {
        let end = self.head();
        let mut walk = Walk::from(self.log.as_ref(), Head { commit: observed.commit, chain: observed.chain });
        loop {
            let commits = match walk.next(self.log.as_ref(), end, STRETCH_BYTES)? {
                Stretch::Commits(commits) => commits,
                Stretch::End => return Ok(true),
                Stretch::Apart => return Ok(false),
            };
            for commit in commits {
                let events = commit.records.iter().filter(|record| record.kind == RecordKind::Event);
                for (position, record) in (commit.first_position..).zip(events) {
                    let event = body::decode_at(&record.body, position, self.log.as_ref())?;
                    let is_marked = event.attribute(SCHEMA_MARK).is_some();
                    observed.record(event.kind(), event.source(), position, commit.recorded_time, is_marked);
                }
            }
            let head = walk.head();
            (observed.commit, observed.chain) = (head.commit, head.chain);
        }
    }

    fn saved_observed(&self) -> Observed {
        let (storage, folder) = (self.world.storage.as_ref(), self.catalog_folder());
        // A cache that cannot be read is made again.
        let numbers = snapshot::list(storage, &folder).unwrap_or_default();
        let read = |number: &u64| snapshot::read(storage, &folder, *number).ok().flatten();
        numbers.iter().rev().find_map(|number| Observed::decode(&read(number)?)).unwrap_or_default()
    }

    fn save_observed(&self, observed: &mut Observed) {
        let body = |sink: &mut snapshot::Sink<'_>| sink.write(&observed.encode());
        let written = snapshot::write(self.world.storage.as_ref(), &self.catalog_folder(), observed.commit, body);
        // A cache that cannot be written is tried again after as many events.
        drop(written);
        observed.saved = observed.position;
    }

    fn catalog_folder(&self) -> String {
        format!("{}/catalog", self.folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_types_and_sources_than_are_told_apart_are_counted_together() {
        let mut observed = Observed::default();
        for number in 0..TYPES_MAX as u64 + 5 {
            observed.record(&format!("a.t{number}"), "/s", number + 1, Timestamp(0), false);
        }
        assert_eq!((observed.types.len(), observed.others, observed.position), (TYPES_MAX, 5, TYPES_MAX as u64 + 5));
        for number in 0..40 {
            observed.record("a.t0", &format!("/s{number}"), 20_000 + number, Timestamp(0), number % 2 == 0);
        }
        let seen = &observed.types["a.t0"];
        assert_eq!((seen.sources.len(), seen.other_sources, seen.events, seen.marked), (SOURCES_MAX, 9, 41, 20));
    }

    #[test]
    fn names_take_no_more_memory_than_they_may() {
        let mut observed = Observed::default();
        let long = "s".repeat(2_040);
        for number in 0..9_000u64 {
            observed.record(&format!("a.t{number}"), &format!("{long}{number}"), number + 1, Timestamp(0), false);
        }
        assert!(observed.name_bytes <= NAME_BYTES_MAX);
        let counted: u64 = observed.types.values().map(|seen| seen.events).sum();
        assert_eq!(counted + observed.others, 9_000);
        assert!(observed.types.values().any(|seen| seen.sources.is_empty() && seen.other_sources == 1));
    }

    #[test]
    fn what_is_late_is_of_the_last_hour_and_day_only() {
        let mut observed = Observed::default();
        let day = 24 * HOUR_US;
        for (position, time) in [(1, 0), (2, day - 2 * HOUR_US), (3, day - MINUTE_US), (4, day)] {
            observed.record("a.b", "/s", position, Timestamp(time), false);
        }
        let at = |time| observed.types["a.b"].lately(Timestamp(time));
        assert_eq!((at(day), at(day + HOUR_US), at(3 * day)), ([2, 3], [0, 3], [0, 0]));
    }

    #[test]
    fn the_file_is_read_back_and_damage_is_no_catalog() {
        let mut observed = Observed::default();
        observed.record("a.b", "/s", 7, Timestamp(-5), true);
        let bytes = observed.encode();
        let again = Observed::decode(&bytes).unwrap();
        assert_eq!((again.encode(), again.saved), (bytes.clone(), 7));
        assert!(Observed::decode(&bytes[1..]).is_none() && Observed::decode(&bytes[..bytes.len() - 1]).is_none());
    }
}
