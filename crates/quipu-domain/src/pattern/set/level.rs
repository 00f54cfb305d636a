//! A set that changes: automata of growing size, as in a log-structured merge tree. A new pattern is compiled anew with
//! the newest few; when they are too many they are compiled together with the next larger lot, and so on. A removed
//! pattern gets a mark, and goes when its lot is next compiled.
//!
//! With 100,000 patterns and lots of 32, 512, 8,192 and the rest, an insert compiles 16 + 16 + 16 + 12 patterns on
//! average (the rest is at most 8,192 inserts old), the look-ups of an event are made in at most four automata, and
//! nobody who matches waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::Pattern;
use super::build::build;
use super::lower::{add_names, has_names};
use super::names::Names;
use super::snapshot::{Level, Segment, Snapshot};

/// Most patterns in each lot but the last: each compiling of a lot of 32 costs less than a tenth of a millisecond, and
/// a pattern is compiled sixteen times before it reaches the next.
const LOTS: [usize; 3] = [32, 512, 8_192];

/// Patterns by key.
///
/// ```
/// use quipu_domain::{Pattern, PatternSet, Scratch};
/// let mut set = PatternSet::new();
/// set.insert(7, Pattern::parse(r#"{"data": {"total": [{"numeric": [">", 100]}]}}"#)?);
/// let (before, mut scratch) = (set.snapshot(), Scratch::default());
/// set.remove(&7);
/// let event = br#"{"data": {"total": 250}}"#;
/// assert_eq!(before.matches(event, &mut scratch).collect::<Vec<_>>(), [&7]);
/// assert_eq!(set.snapshot().matches(event, &mut scratch).len(), 0);
/// # Ok::<(), quipu_domain::InvalidPattern>(())
/// ```
pub struct PatternSet<K> {
    names: Arc<Names>,
    /// A level for each of [`LOTS`], and one for the rest.
    levels: Vec<Level<K>>,
    /// The level and the number in it of each key's pattern.
    places: BTreeMap<K, (usize, u32)>,
}

impl<K: Ord + Clone> PatternSet<K> {
    /// A set without patterns.
    pub fn new() -> PatternSet<K> {
        let names = Arc::new(Names::new());
        let levels = (0..=LOTS.len()).map(|_| Level::compile(Vec::new(), &names)).collect();
        PatternSet { names, levels, places: BTreeMap::new() }
    }

    /// Adds a pattern, in the place of the one that the key had.
    pub fn insert(&mut self, key: K, pattern: Pattern) {
        self.extend([(key, pattern)]);
    }

    /// Removes a key's pattern; whether there was one.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some((level, number)) = self.places.remove(key) else { return false };
        self.levels[level].remove(number);
        if self.levels[level].is_wasteful() {
            self.merge(level, Vec::new());
        }
        true
    }

    /// Whether the key has a pattern.
    pub fn contains(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// The pattern of a key.
    pub fn get(&self, key: &K) -> Option<&Pattern> {
        let &(level, number) = self.places.get(key)?;
        Some(&self.levels[level].segment.automaton.patterns[number as usize])
    }

    /// How many patterns it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no pattern.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The patterns as they are now. Costs a few reference counts.
    pub fn snapshot(&self) -> Snapshot<K> {
        let levels = self.levels.iter().filter(|level| level.len() > 0).cloned().collect();
        Snapshot { names: self.names.clone(), levels }
    }

    /// Compiles the patterns of this level and all smaller ones together with new ones.
    fn merge(&mut self, target: usize, new: Vec<(K, Arc<Pattern>)>) {
        let mut patterns: Vec<(K, Arc<Pattern>)> = Vec::new();
        for level in self.levels[..=target].iter().rev() {
            patterns.extend(level.live());
        }
        patterns.extend(new);
        if target == LOTS.len() {
            // All patterns are here, so names that only removed ones used can go.
            self.names = Arc::new(Names::new());
        }
        if !patterns.iter().all(|(_, pattern)| has_names(pattern, &self.names)) {
            let names = Arc::make_mut(&mut self.names);
            patterns.iter().for_each(|(_, pattern)| add_names(pattern, names));
        }
        for (number, (key, _)) in patterns.iter().enumerate() {
            self.places.insert(key.clone(), (target, number as u32));
        }
        self.levels[target] = Level::compile(patterns, &self.names);
        for level in &mut self.levels[..target] {
            if !level.segment.keys.is_empty() {
                *level = Level::compile(Vec::new(), &self.names);
            }
        }
    }
}

impl<K: Ord + Clone> Extend<(K, Pattern)> for PatternSet<K> {
    /// Adds many patterns at the cost of compiling them once.
    fn extend<I: IntoIterator<Item = (K, Pattern)>>(&mut self, patterns: I) {
        // The last one of a key counts.
        let new: BTreeMap<K, Arc<Pattern>> = patterns.into_iter().map(|(key, p)| (key, Arc::new(p))).collect();
        if new.is_empty() {
            return;
        }
        for key in new.keys() {
            if let Some((level, number)) = self.places.remove(key) {
                self.levels[level].remove(number);
            }
        }
        let mut total = new.len();
        let fits = |(level, most): (&Level<K>, &usize)| {
            total += level.len();
            total <= *most
        };
        let target = self.levels.iter().zip(&LOTS).position(fits).unwrap_or(LOTS.len());
        self.merge(target, new.into_iter().collect());
    }
}

impl<K: Ord + Clone> FromIterator<(K, Pattern)> for PatternSet<K> {
    fn from_iter<I: IntoIterator<Item = (K, Pattern)>>(patterns: I) -> PatternSet<K> {
        let mut set = PatternSet::new();
        set.extend(patterns);
        set
    }
}

impl<K: Clone> Level<K> {
    fn compile(patterns: Vec<(K, Arc<Pattern>)>, names: &Names) -> Level<K> {
        let (keys, patterns) = patterns.into_iter().unzip();
        Level { segment: Arc::new(Segment { keys, automaton: build(patterns, names) }), removed: None }
    }

    fn live(&self) -> impl Iterator<Item = (K, Arc<Pattern>)> {
        let segment = &self.segment;
        let all = segment.keys.iter().zip(&segment.automaton.patterns).enumerate();
        let live = all.filter(|&(number, _)| !self.is_removed(number as u32));
        live.map(|(_, (key, pattern))| (key.clone(), pattern.clone()))
    }

    fn remove(&mut self, number: u32) {
        let mut bits = match &self.removed {
            Some(bits) => bits.to_vec(),
            None => vec![0; self.segment.keys.len().div_ceil(64)],
        };
        bits[number as usize / 64] |= 1 << (number % 64);
        self.removed = Some(bits.into());
    }

    /// Whether most of it was removed.
    fn is_wasteful(&self) -> bool {
        self.removed_count() * 2 > self.segment.keys.len()
    }
}

impl<K: Ord + Clone> Default for PatternSet<K> {
    fn default() -> PatternSet<K> {
        PatternSet::new()
    }
}

impl<K> fmt::Debug for PatternSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternSet").field("patterns", &self.places.len()).finish_non_exhaustive()
    }
}
