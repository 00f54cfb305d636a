//! Every matching event is acknowledged, dead-lettered or expired in the end, in order per key, within the limits.
//!
//! A [`Ledger`] is told what happened, step by step, and says the first thing that must not have. What the process did
//! since its last checkpoint may be forgotten at a restart: the ledger then takes either for right, and no more.

mod accounted;
mod answers;
mod book;
mod letters;
mod owed;
mod set_back;
mod settled;
mod terms;

use std::collections::BTreeMap;

use quipu_domain::Timestamp;

pub use accounted::Figures;
pub use answers::{Answered, Said};
pub use book::Handing;
pub use letters::{Letter, Story};
pub use terms::{Choice, Fact, KeyChoice, Pause, Terms};

use book::{Book, NAME};
use letters::Known;

use crate::checker::{Verdict, violated};

/// What all subscriptions of a tenant owe.
#[derive(Debug, Default)]
pub struct Ledger {
    log: Vec<Fact>,
    books: BTreeMap<String, Book>,
    letters: BTreeMap<u64, Known>,
    /// Processes so far.
    session: u64,
    /// By how many microseconds the clock was set back so far.
    back_us: i64,
}

impl Ledger {
    /// The events that are known, from position 1.
    pub fn log(&self) -> &[Fact] {
        &self.log
    }

    /// The next event is in the log.
    pub fn published(&mut self, fact: Fact) {
        self.books.values_mut().for_each(|book| book.published(&fact));
        self.log.push(fact);
    }

    /// A subscription was made; it owes what comes after a position.
    pub fn defined(&mut self, name: &str, terms: Terms, after: u64) {
        let mut book = Book { back_us: self.back_us, ..Book::new(name, terms, after, self.session) };
        self.log.iter().for_each(|fact| book.published(fact));
        self.books.insert(name.to_owned(), book);
    }

    /// Its terms were changed.
    pub fn updated(&mut self, name: &str, terms: Terms) {
        if let Some(book) = self.books.get_mut(name) {
            book.updated(terms, &self.log);
        }
    }

    /// It was deleted. What was given up has its dead letter all the same.
    ///
    /// # Errors
    /// It has not.
    pub fn deleted(&mut self, name: &str) -> Verdict {
        self.books.remove(name).map_or(Ok(()), |mut book| book.saved())
    }

    /// It was moved: it owes what comes after a position, and nothing else. What it says of itself now it did before.
    ///
    /// # Errors
    /// Something that was given up has no dead letter.
    pub fn sought(&mut self, name: &str, after: u64, figures: Figures) -> Verdict {
        let Some(book) = self.books.get_mut(name) else { return Ok(()) };
        book.saved()?;
        book.sought(after, &self.log);
        book.before = figures;
        Ok(())
    }

    /// The terms of a subscription.
    pub fn terms(&self, name: &str) -> Option<&Terms> {
        self.books.get(name).map(|book| &book.terms)
    }

    /// Every subscription there is.
    pub fn names(&self) -> Vec<String> {
        self.books.keys().cloned().collect()
    }

    /// A consumer was handed these at once.
    ///
    /// # Errors
    /// One of them should not have been.
    pub fn handed(&mut self, name: &str, now: Timestamp, batch: &[Handing]) -> Verdict {
        for handing in batch {
            let expected = self.edited_for(name, handing.id.dead_letter);
            if handing.edited.as_deref() != expected {
                let detail = format!("{name}: expected the edited copy {expected:?}, found {handing:?}");
                return Err(violated(NAME, detail));
            }
        }
        let missing = || violated(NAME, format!("{name} hands out, and does not exist"));
        self.books.get_mut(name).ok_or_else(missing)?.handed(now, batch, &self.log)
    }

    /// A consumer answered.
    ///
    /// # Errors
    /// It was told the wrong thing.
    pub fn answered(&mut self, name: &str, now: Timestamp, answer: &Answered) -> Verdict {
        let missing = || violated(NAME, format!("{name} took an answer, and does not exist"));
        self.books.get_mut(name).ok_or_else(missing)?.answered(now, answer)
    }

    /// The clock is set back by so many milliseconds, from what it shows now.
    pub fn set_back(&mut self, now: Timestamp, ms: i64) {
        self.back_us += ms * 1_000;
        self.books.values_mut().for_each(|book| book.set_back(now, self.back_us));
        self.letters.values_mut().for_each(|known| known.set_back(now));
    }

    /// Whether the clock was set back since a subscription looked at the time.
    pub fn is_set_back(&self, name: &str) -> bool {
        self.books.get(name).is_some_and(|book| book.is_set_back)
    }

    /// The engine was made to look at the time.
    pub fn ticked(&mut self, now: Timestamp) {
        self.books.values_mut().for_each(|book| book.ticked(now));
    }

    /// Everything was written down, and every new dead letter was shown to the ledger.
    ///
    /// # Errors
    /// Something that was given up has none.
    pub fn saved(&mut self) -> Verdict {
        self.books.values_mut().try_for_each(Book::saved)
    }

    /// The process ended, and another one opened the tenant.
    pub fn restarted(&mut self) {
        self.session += 1;
        self.books.values_mut().for_each(|book| book.restarted(self.session));
    }

    /// Nothing more will happen; keys may wait for a decision.
    ///
    /// # Errors
    /// Something else is not finished.
    pub fn ended_but_parked(&self, now: Timestamp) -> Verdict {
        self.books.values().try_for_each(|book| book.ended(now, true))
    }

    /// Nothing more will happen.
    ///
    /// # Errors
    /// Something is not finished.
    pub fn ended(&self, now: Timestamp) -> Verdict {
        self.books.values().try_for_each(|book| book.ended(now, false))
    }

    /// Nothing more will happen, and this is what a subscription says of itself.
    ///
    /// # Errors
    /// It is not what happened.
    pub fn accounted(&self, name: &str, figures: &Figures) -> Verdict {
        self.books.get(name).map_or(Ok(()), |book| book.accounted(figures))
    }

    /// What is not finished, in words.
    pub fn unfinished(&self) -> Vec<String> {
        let lines = self.books.values().flat_map(|book| {
            let open = book.owed.iter().filter(|(_, owed)| owed.must && owed.is_unfinished());
            open.map(|(id, owed)| format!("{} {id:?} {owed:?}", book.name))
        });
        lines.collect()
    }
}
