//! Dead letters: each has its reason, tells every attempt, and is decided about once.

use quipu_domain::Timestamp;
use quipu_domain::delivery::{Attempt, DeliveryId, Reason};

use super::Ledger;
use super::book::{Book, NAME, original};
use super::owed::{Owed, State, Try};
use crate::checker::{Verdict, violated};

/// A dead letter as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its number.
    pub number: u64,
    /// Whose delivery it was.
    pub subscription: String,
    /// The event.
    pub position: u64,
    /// The dead letter that it was redriven from.
    pub redriven_from: Option<u64>,
    /// Why.
    pub reason: Reason,
    /// Its key waits.
    pub parks_key: bool,
    /// The dead letter that it is an edited copy of.
    pub copy_of: Option<u64>,
    /// When.
    pub time: Timestamp,
}

/// What a dead letter tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Its number.
    pub number: u64,
    /// How many attempts there were.
    pub attempts: u32,
    /// Those that failed.
    pub history: Vec<Attempt>,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    letter: Letter,
    edited: Option<String>,
    /// What it has to tell: the fewest and the most attempts, and those that failed.
    expected: Option<((u32, u32), Vec<Try>)>,
    is_decided: bool,
    /// The latest that the clock showed since, before it was set back.
    latest: Timestamp,
}

impl Known {
    /// The clock is set back from there.
    pub fn set_back(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now);
    }
}

impl Ledger {
    /// The delivery that became a dead letter: one that was redriven in the order of its key is the same as before.
    fn delivery(&self, letter: &Letter) -> DeliveryId {
        let beside =
            letter.redriven_from.map(|from| DeliveryId { dead_letter: from, ..DeliveryId::routed(letter.position) });
        let has = |book: &Book, id: DeliveryId| book.owed.contains_key(&id) || book.settled.has(id);
        let is_owed = |id: &DeliveryId| self.books.get(&letter.subscription).is_some_and(|book| has(book, *id));
        beside.filter(is_owed).unwrap_or(DeliveryId::routed(letter.position))
    }

    /// The edited copy that a redriven delivery has to bring to a subscription.
    pub(super) fn edited_for(&self, name: &str, letter: u64) -> Option<&str> {
        self.letters.get(&letter).filter(|known| known.letter.subscription == name)?.edited.as_deref()
    }

    /// Whether a dead letter was shown before.
    pub fn knows(&self, number: u64) -> bool {
        self.letters.contains_key(&number)
    }

    /// Those that wait for a decision.
    pub fn undecided(&self) -> Vec<Letter> {
        let open = self.letters.values().filter(|known| !known.is_decided);
        open.map(|known| known.letter.clone()).collect()
    }

    /// A new dead letter is listed.
    ///
    /// # Errors
    /// There was no reason for it.
    pub fn lettered(&mut self, letter: &Letter) -> Verdict {
        let wrong = |detail: &str| Err(violated(NAME, format!("{letter:?}: {detail}")));
        let edited = letter.redriven_from.and_then(|from| self.edited_for(&letter.subscription, from));
        let edited = edited.map(str::to_owned);
        let session = self.session;
        let (latest, is_decided) = (letter.time, false);
        let mut known = Known { letter: letter.clone(), edited, expected: None, is_decided, latest };
        let id = self.delivery(letter);
        let book = self.books.get_mut(&letter.subscription);
        if book.as_ref().is_some_and(|book| book.settled.has(id)) {
            return wrong("its delivery is finished");
        }
        let owed = book.and_then(|book| book.owed.get_mut(&id));
        let Some(owed) = owed else { return wrong("of a delivery that nobody is owed") };
        match owed.state {
            State::GivenUp { reason, blocks, is_sure } => {
                if is_sure && (reason, blocks) != (letter.reason, letter.parks_key) {
                    return wrong(&format!("expected {reason:?}, parking: {blocks}"));
                }
            }
            _ if owed.is_loose => {}
            // Its acknowledgement was forgotten, and it was too late to try again, by the terms that held then.
            State::Perhaps if letter.reason == Reason::TooOld && owed.first.is_some() => {}
            _ => return wrong(&format!("its delivery was not given up: {owed:?}")),
        }
        if !owed.is_loose {
            known.expected = Some((owed.attempts, owed.tries.clone()));
        }
        owed.state = match letter.parks_key {
            true => State::Parked { letter: letter.number },
            false => State::Done { session, is_durable: true, is_acknowledged: false },
        };
        self.letters.insert(letter.number, known);
        self.books.get_mut(&letter.subscription).into_iter().for_each(|book| book.letters += 1);
        Ok(())
    }

    /// A dead letter was read.
    ///
    /// # Errors
    /// It does not tell what happened.
    pub fn told(&self, story: &Story) -> Verdict {
        let expected = self.letters.get(&story.number).and_then(|known| known.expected.as_ref());
        let Some(((fewest, most), tries)) = expected else { return Ok(()) };
        let wrong = |detail: String| {
            Err(violated(NAME, format!("dead letter {}: {detail}: {story:?}, expected {tries:?}", story.number)))
        };
        if !(*fewest..=*most).contains(&story.attempts) {
            return wrong(format!("expected {fewest} to {most} attempts"));
        }
        let is_it = |one: &Try, attempt: &Attempt| {
            (one.number, one.time, one.duration_ms) == (attempt.number, attempt.time, attempt.duration_ms)
                && one.error == attempt.failure.error
        };
        for attempt in &story.history {
            if !tries.iter().any(|one| is_it(one, attempt)) {
                return wrong(format!("attempt {} was none", attempt.number));
            }
        }
        for one in tries.iter().filter(|one| one.is_sure) {
            if !story.history.iter().any(|attempt| is_it(one, attempt)) {
                return wrong(format!("attempt {} is missing", one.number));
            }
        }
        Ok(())
    }

    /// It was delivered once more, to that subscription.
    ///
    /// # Errors
    /// It was decided about before.
    pub fn redriven(&mut self, number: u64, to: &str) -> Verdict {
        let letter = self.decided(number)?;
        let id = self.delivery(&letter);
        let own = self.books.get_mut(&letter.subscription).and_then(|book| book.owed.get_mut(&id));
        let parked = own.filter(|owed| owed.state == State::Parked { letter: number });
        if to == letter.subscription
            && let Some(owed) = parked
        {
            owed.begin_anew();
            return Ok(());
        }
        self.release(&letter);
        self.owe_again(to, letter.position, number);
        Ok(())
    }

    /// An edited copy of it was delivered to its own subscription.
    ///
    /// # Errors
    /// It was decided about before.
    pub fn edited(&mut self, number: u64, copy: u64, text: &str) -> Verdict {
        let letter = self.decided(number)?;
        self.release(&letter);
        self.owe_again(&letter.subscription, letter.position, copy);
        let letter = Letter { number: copy, copy_of: Some(number), parks_key: false, ..letter };
        let latest = letter.time;
        let known = Known { letter, edited: Some(text.to_owned()), expected: None, is_decided: true, latest };
        self.letters.insert(copy, known);
        Ok(())
    }

    /// Somebody decided that it need not be delivered.
    ///
    /// # Errors
    /// It was decided about before.
    pub fn discarded(&mut self, number: u64) -> Verdict {
        let letter = self.decided(number)?;
        self.release(&letter);
        Ok(())
    }

    /// It was kept long enough and is gone.
    ///
    /// # Errors
    /// It was not, or a key waits for it.
    pub fn forgotten(&mut self, number: u64, now: Timestamp, retention_ms: u64) -> Verdict {
        let Some(known) = self.letters.get_mut(&number) else { return Ok(()) };
        if known.letter.time.plus_ms(retention_ms as i64) > now.max(known.latest) {
            return Err(violated(NAME, format!("dead letter {number} is gone before its time: {:?}", known.letter)));
        }
        known.is_decided = true;
        let letter = known.letter.clone();
        let id = self.delivery(&letter);
        let owed = self.books.get(&letter.subscription).and_then(|book| book.owed.get(&id));
        match owed.filter(|owed| owed.state == State::Parked { letter: number }) {
            Some(_) => Err(violated(NAME, format!("dead letter {number} is gone, and its key waits for it"))),
            None => Ok(()),
        }
    }

    fn decided(&mut self, number: u64) -> Result<Letter, crate::checker::Violation> {
        match self.letters.get_mut(&number) {
            Some(known) if !known.is_decided => {
                known.is_decided = true;
                Ok(known.letter.clone())
            }
            found => Err(violated(NAME, format!("dead letter {number} was decided about once more: {found:?}"))),
        }
    }

    /// Its key goes on, if it waits for this one.
    fn release(&mut self, letter: &Letter) {
        let session = self.session;
        let id = self.delivery(letter);
        let own = self.books.get_mut(&letter.subscription).and_then(|book| book.owed.get_mut(&id));
        if let Some(owed) = own.filter(|owed| owed.state == State::Parked { letter: letter.number }) {
            owed.state = State::Done { session, is_durable: true, is_acknowledged: false };
        }
    }

    fn owe_again(&mut self, to: &str, position: u64, number: u64) {
        let id = DeliveryId { dead_letter: number, ..DeliveryId::routed(position) };
        if let Some(book) = self.books.get_mut(to) {
            book.owed.insert(id, Owed::new(None, None));
        }
    }

    /// Whether an event's key waits for a decision about one of its events.
    pub fn is_parked(&self, name: &str, position: u64) -> bool {
        let owed = self.books.get(name).and_then(|book| book.owed.get(&original(position)));
        owed.is_some_and(|owed| matches!(owed.state, State::Parked { .. }))
    }
}
