//! The events that somebody may publish or read.

use std::cell::RefCell;
use std::fmt;

use super::{Grant, Permission};
use crate::pattern::{Pattern, PatternSet, Scratch, Snapshot};
use crate::{Event, Stamp};

thread_local! {
    /// One for each thread, so that asking allocates nothing.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Events that match one of some patterns, and are those of one user.
pub struct Visible {
    /// None for any event.
    patterns: Option<Snapshot<usize>>,
    user: Option<String>,
    looks_at_data: bool,
    /// What it was made from, for comparisons.
    texts: Vec<String>,
}

impl Visible {
    /// The events for which the grants, of which each has its pattern or none, have a permission; nothing if these are all.
    pub(super) fn of(
        grants: &[Grant],
        patterns: &[Option<Pattern>],
        permission: Permission,
        user: Option<&str>,
    ) -> Option<Self> {
        let given = grants.iter().zip(patterns).filter(|(grant, _)| grant.permissions.contains(&permission));
        // One without a pattern is for all events.
        let patterns: Option<Vec<Pattern>> = given.map(|(_, pattern)| pattern.clone()).collect();
        if patterns.is_none() && user.is_none() {
            return None;
        }
        let texts = patterns.iter().flatten().map(|pattern| pattern.text().to_owned()).collect();
        let looks_at_data = patterns.iter().flatten().any(Pattern::looks_at_data);
        let patterns = patterns.map(|patterns| PatternSet::from_iter(patterns.into_iter().enumerate()).snapshot());
        Some(Self { patterns, user: user.map(str::to_owned), looks_at_data, texts })
    }

    /// The user whose events these are, if they are of one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether that depends on the data of an event: of one that keeps it beside the log it has to be read first.
    pub fn looks_at_data(&self) -> bool {
        self.looks_at_data
    }

    /// Whether an event is one of them.
    pub fn shows(&self, event: &Event<'_>, stamp: Option<&Stamp>) -> bool {
        if self.user.is_some() && event.attribute("userid") != self.user.as_deref() {
            return false;
        }
        let matches = |patterns: &Snapshot<usize>| {
            SCRATCH.with_borrow_mut(|scratch| patterns.surely_matches_event(event, stamp, scratch))
        };
        self.patterns.as_ref().is_none_or(matches)
    }
}

impl PartialEq for Visible {
    fn eq(&self, other: &Self) -> bool {
        (self.patterns.is_some(), &self.user, &self.texts) == (other.patterns.is_some(), &other.user, &other.texts)
    }
}

impl Eq for Visible {}

impl fmt::Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Visible({:?}, {:?})", self.texts, self.user)
    }
}
