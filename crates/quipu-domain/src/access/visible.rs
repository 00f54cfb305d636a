//! The events that somebody may publish or read.

use std::cell::RefCell;
use std::fmt;

use super::{Grant, InvalidGrant, Permission};
use crate::pattern::{PatternSet, Scratch, Snapshot};
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
    /// What it was made from, for comparisons.
    texts: Vec<String>,
}

impl Visible {
    /// The events for which the grants have a permission; nothing if these are all.
    pub(super) fn of(
        grants: &[Grant],
        permission: Permission,
        user: Option<&str>,
    ) -> Result<Option<Self>, InvalidGrant> {
        let mut patterns = Vec::new();
        let mut is_whole = false;
        for (index, grant) in grants.iter().enumerate() {
            let pattern = grant.pattern(index)?;
            if grant.permissions.contains(&permission) {
                is_whole |= pattern.is_none();
                patterns.extend(pattern);
            }
        }
        if is_whole && user.is_none() {
            return Ok(None);
        }
        let texts = if is_whole { Vec::new() } else { patterns.iter().map(|one| one.text().to_owned()).collect() };
        let patterns = (!is_whole).then(|| PatternSet::from_iter(patterns.into_iter().enumerate()).snapshot());
        Ok(Some(Self { patterns, user: user.map(str::to_owned), texts }))
    }

    /// The user whose events these are, if they are of one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
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
