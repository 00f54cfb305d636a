//! The patterns of a set as they were at one time, and matching against them.

use std::fmt;
use std::sync::Arc;

use super::automaton::{Automaton, Search};
use super::check::Read;
use super::effort::Effort;
use super::leaves::Leaves;
use super::names::Names;
use super::walk::{Unreadable, input, read_event, read_object};
use crate::event::Event;
use crate::json::Stamp;

/// Steps of the search among elements for one pattern where a match that is not found out is none: about 2 ms, since whoever
/// asks that way serves others too.
const SURE_STEPS_MAX: usize = 100_000;

/// The patterns of a [`PatternSet`](super::PatternSet) as they were when it was taken. Cheap to clone; never changes.
pub struct Snapshot<K> {
    pub(super) names: Arc<Names>,
    pub(super) levels: Vec<Level<K>>,
}

/// Patterns that were compiled together, without those that were removed since.
pub(super) struct Level<K> {
    pub(super) segment: Arc<Segment<K>>,
    /// A bit for each pattern that was removed; none while there is none.
    pub(super) removed: Option<Arc<[u64]>>,
}

/// An automaton and the key of each of its patterns.
pub(super) struct Segment<K> {
    pub(super) keys: Vec<K>,
    pub(super) automaton: Automaton,
}

/// The memory that matching works in. One for each thread, used again for each event: matching then allocates nothing.
#[derive(Default)]
pub struct Scratch {
    leaves: Leaves,
    search: Search,
    /// The level and the number in it of each pattern that matched.
    matched: Vec<(u32, u32)>,
}

/// The keys of the patterns that matched an event, each once, in no particular order.
pub struct Matches<'a, K> {
    levels: &'a [Level<K>],
    matched: std::slice::Iter<'a, (u32, u32)>,
}

impl<K> Snapshot<K> {
    /// The patterns that match a JSON object, of which the CloudEvents JSON format is one.
    ///
    /// The bytes must be JSON: what a store has recorded is, what comes from outside is checked by
    /// [`Pattern::matches`](super::super::Pattern::matches) or a parser. Other bytes match nothing or something; they never cause a panic.
    ///
    /// ```
    /// use quipu_domain::{Pattern, PatternSet, Scratch};
    /// let mut set = PatternSet::new();
    /// set.insert("placed", Pattern::parse(r#"{"type": ["order.placed"]}"#)?);
    /// let (snapshot, mut scratch) = (set.snapshot(), Scratch::default());
    /// let keys: Vec<_> = snapshot.matches(br#"{"type": "order.placed"}"#, &mut scratch).collect();
    /// assert_eq!(keys, [&"placed"]);
    /// # Ok::<(), quipu_domain::InvalidPattern>(())
    /// ```
    pub fn matches<'a>(&'a self, json: &[u8], scratch: &'a mut Scratch) -> Matches<'a, K> {
        let read = read_object(json, &self.names, &mut scratch.leaves);
        self.find(json, read, scratch)
    }

    /// The patterns that match an event: the same as for its CloudEvents JSON document, with what the server added if
    /// that is given.
    pub fn matches_event<'a>(
        &'a self,
        event: &Event<'_>,
        stamp: Option<&Stamp>,
        scratch: &'a mut Scratch,
    ) -> Matches<'a, K> {
        let read = read_event(event, stamp, &self.names, &mut scratch.leaves);
        self.find(input(event), read, scratch)
    }

    fn find<'a>(&'a self, input: &[u8], read: Result<(), Unreadable>, scratch: &'a mut Scratch) -> Matches<'a, K> {
        let Scratch { leaves, search, matched } = scratch;
        matched.clear();
        if read.is_ok() {
            let mut effort = Effort::new(Read { input, leaves, is_cloud_event: leaves.is_cloud_event() });
            for (number, level) in self.levels.iter().enumerate() {
                level.find(&mut effort, search, |pattern, _| matched.push((number as u32, pattern)));
            }
        }
        Matches { levels: &self.levels, matched: matched.iter() }
    }

    /// Whether a pattern matches an event, for whoever decides by it who may do what: a match that only stands because
    /// finding out would have taken too long is none here.
    pub fn surely_matches_event(&self, event: &Event<'_>, stamp: Option<&Stamp>, scratch: &mut Scratch) -> bool {
        let Scratch { leaves, search, .. } = scratch;
        if read_event(event, stamp, &self.names, leaves).is_err() {
            return false;
        }
        let is_cloud_event = leaves.is_cloud_event();
        let mut effort = Effort::of_steps(Read { input: input(event), leaves, is_cloud_event }, SURE_STEPS_MAX);
        let mut is_sure = false;
        for level in &self.levels {
            level.find(&mut effort, search, |_, is_found_out| is_sure |= is_found_out);
        }
        is_sure
    }

    /// How many patterns it has.
    pub fn len(&self) -> usize {
        self.levels.iter().map(Level::len).sum()
    }

    /// Whether it has no pattern, and so matches nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K> Level<K> {
    pub(super) fn len(&self) -> usize {
        self.segment.keys.len() - self.removed_count()
    }

    pub(super) fn removed_count(&self) -> usize {
        self.removed.iter().flat_map(|bits| bits.iter()).map(|bits| bits.count_ones() as usize).sum()
    }

    pub(super) fn is_removed(&self, pattern: u32) -> bool {
        self.removed.as_ref().is_some_and(|bits| bits[pattern as usize / 64] & 1 << (pattern % 64) != 0)
    }

    /// Tells of each pattern that matches, and whether that was found out.
    fn find(&self, effort: &mut Effort<'_>, search: &mut Search, mut matched: impl FnMut(u32, bool)) {
        let automaton = &self.segment.automaton;
        automaton.find(effort.event.input, effort.event.leaves, search);
        effort.begin_automaton();
        // The branches of a pattern follow each other, and one that matches is enough.
        let (mut last, mut is_decided) = (None, false);
        for &candidate in &search.candidates {
            let conjunction = &automaton.conjunctions[candidate as usize];
            let pattern = conjunction.pattern;
            if last.replace(pattern) != Some(pattern) {
                is_decided = self.is_removed(pattern);
                effort.begin_pattern();
            }
            if !is_decided && automaton.satisfies(effort, conjunction) {
                is_decided = true;
                matched(pattern, effort.steps_left > 0);
            }
        }
    }
}

impl<K> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Snapshot { names: self.names.clone(), levels: self.levels.clone() }
    }
}

impl<K> Clone for Level<K> {
    fn clone(&self) -> Self {
        Level { segment: self.segment.clone(), removed: self.removed.clone() }
    }
}

impl<K> fmt::Debug for Snapshot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("patterns", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl<'a, K> Iterator for Matches<'a, K> {
    type Item = &'a K;

    fn next(&mut self) -> Option<&'a K> {
        let &(level, pattern) = self.matched.next()?;
        Some(&self.levels[level as usize].segment.keys[pattern as usize])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.matched.size_hint()
    }
}

impl<K> ExactSizeIterator for Matches<'_, K> {}

impl<K> fmt::Debug for Matches<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matches").field("left", &self.matched.len()).finish_non_exhaustive()
    }
}
