//! Acknowledgements, dead letters and what expired are together as many as the deliveries, by what a subscription says of
//! itself as by what happened to it.
//!
//! It counts a delivery once, however often it was attempted. What is redriven is one more, for its dead letter ended the
//! one before. Of an event whose subscription was changed while it was underway either is right.

use std::ops::RangeInclusive;

use super::book::Book;
use super::owed::{Owed, State};
use crate::checker::{Verdict, violated};

const NAME: &str = "accounted";

/// What a subscription says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Deliveries that were acknowledged.
    pub acknowledged: u64,
    /// Dead letters.
    pub dead_lettered: u64,
    /// Deliveries whose time was over.
    pub expired: u64,
    /// What is neither of these yet.
    pub unfinished: u64,
}

/// What happened to it.
#[derive(Debug, Default)]
struct Count {
    acknowledged: u64,
    dead_lettered: u64,
    expired: u64,
    /// Acknowledged, and that was perhaps forgotten; its time may have been over then.
    either: u64,
    /// These need not be deliveries.
    perhaps: u64,
}

impl Book {
    /// Nothing more will happen, and this is what the subscription says.
    pub fn accounted(&self, found: &Figures) -> Verdict {
        let before = &self.before;
        // Of what was delivered while its key was another one it is not known how often it was.
        let is_loose = self.owed.values().any(|owed| owed.is_loose);
        let count = self.count();
        let Count { acknowledged, dead_lettered, expired, either, perhaps } = count;
        let unsure = either + perhaps;
        let sum = acknowledged + dead_lettered + expired + either;
        let letters = found.dead_lettered - before.dead_lettered;
        let (acks, over) = (found.acknowledged - before.acknowledged, found.expired - before.expired);
        let fits = |count: u64, expected: RangeInclusive<u64>| is_loose || expected.contains(&count);
        let is_right = letters == dead_lettered
            && found.unfinished == 0
            && fits(acks, acknowledged..=acknowledged + unsure)
            && fits(over, expired..=expired + unsure)
            && fits(acks + letters + over, sum..=sum + perhaps);
        match is_right {
            true => Ok(()),
            false => Err(violated(NAME, format!("{}: {found:?} after {before:?}, expected {count:?}", self.name))),
        }
    }

    fn count(&self) -> Count {
        let (acknowledged, dead_lettered) = (self.settled.acknowledged, self.letters);
        let mut count = Count { acknowledged, dead_lettered, ..Count::default() };
        for owed in self.owed.values() {
            match owed {
                Owed { state: State::Done { is_acknowledged, .. }, .. } => {
                    count.acknowledged += u64::from(*is_acknowledged);
                }
                Owed { must: false, .. } => count.perhaps += 1,
                Owed { state: State::Perhaps, .. } => count.either += 1,
                // It would not have ended otherwise.
                _ => count.expired += 1,
            }
        }
        count
    }
}
