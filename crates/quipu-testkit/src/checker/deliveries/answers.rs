//! What becomes of deliveries: answers that are in time, answers that are not, and deadlines that pass.

use quipu_domain::Timestamp;
use quipu_domain::delivery::{DeliveryId, NotInFlight, Reason};

use super::book::Book;
use super::owed::{State, Try};
use crate::checker::{Verdict, violated};

/// What a consumer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is done.
    Ack,
    /// It failed with this error; the next attempt after that many milliseconds, or as the terms say.
    Nack(String, Option<u64>),
    /// It needs that many milliseconds from now on.
    Extend(u64),
    /// It goes back without having been tried.
    Release,
    /// It will never succeed.
    GiveUp(String),
}

/// An answer, and what the consumer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The delivery.
    pub id: DeliveryId,
    /// The attempt.
    pub token: u64,
    /// What it says.
    pub said: Said,
    /// Whether it was taken.
    pub taken: Result<(), NotInFlight>,
}

impl Book {
    /// A consumer answered. What is refused that should not be, or taken that should not be, is wrong.
    pub fn answered(&mut self, now: Timestamp, answer: &Answered) -> Verdict {
        let id = answer.id;
        let is_loose = self.owed.get(&id).is_some_and(|owed| owed.is_loose);
        let expected = self.expected(answer);
        if is_loose && expected.is_ok() {
            match answer.taken {
                Ok(()) => {}
                Err(NotInFlight::OutOfOrder { .. }) => return Ok(()),
                Err(NotInFlight::Late) => {
                    let owed = self.owed.get_mut(&id).expect("it is loose");
                    owed.state = State::Open;
                    return Ok(());
                }
            }
        } else if expected != answer.taken {
            return self.wrong(id, &format!("{answer:?}: expected {expected:?}"));
        }
        if answer.taken.is_err() {
            return Ok(());
        }
        if !matches!(answer.said, Said::Ack | Said::Release) {
            self.time_is(now);
        }
        match &answer.said {
            Said::Ack => {
                let session = self.session;
                let owed = self.owed.get_mut(&id).expect("it is in flight");
                owed.state = State::Done { session, is_durable: false, is_acknowledged: true };
            }
            Said::Nack(error, delay_ms) => self.fail(id, error, *delay_ms, now),
            Said::Extend(ms) => {
                let state = self.owed.get_mut(&id).map(|owed| &mut owed.state);
                if let Some(State::InFlight { asked, deadline, .. }) = state {
                    (*asked, *deadline) = (now, now.plus_ms(*ms as i64));
                }
            }
            Said::Release => self.release(id, now),
            Said::GiveUp(error) => {
                self.end_attempt(id, error, now);
                self.give_up(id, Reason::GivenUpByConsumer, true);
            }
        }
        Ok(())
    }

    fn expected(&self, answer: &Answered) -> Result<(), NotInFlight> {
        if self.owed.get(&answer.id).and_then(|owed| owed.token()) != Some(answer.token) {
            return Err(NotInFlight::Late);
        }
        let first = self.first_of_run(answer.id);
        match matches!(answer.said, Said::Extend(_) | Said::Release) || first == answer.id {
            true => Ok(()),
            false => Err(NotInFlight::OutOfOrder { first: first.position }),
        }
    }

    /// It was no attempt, and neither was what was handed out behind it in its run.
    fn release(&mut self, id: DeliveryId, now: Timestamp) {
        let in_flight = |book: &Self| book.owed.values().filter(|owed| owed.is_in_flight()).count();
        let before = in_flight(self);
        let owed = self.owed.get_mut(&id).expect("it was in flight");
        owed.take_back();
        if owed.is_loose {
            // What was behind it by the key that it had is not known.
            self.handings.clear();
        } else {
            self.take_back_after(id);
            let count = before - in_flight(self);
            self.handings.push((self.steady(now), -(count as i64)));
        }
    }

    /// The engine looked at the time: attempts whose deadline is over have failed.
    pub fn ticked(&mut self, now: Timestamp) {
        self.time_is(now);
        let due = |(id, owed): (&DeliveryId, &super::owed::Owed)| match owed.state {
            State::InFlight { since, deadline, .. } if deadline <= now => Some((deadline, *id, since)),
            _ => None,
        };
        let mut all: Vec<_> = self.owed.iter().filter_map(due).collect();
        all.sort_unstable();
        for (deadline, id, since) in all {
            let owed = self.owed.get_mut(&id).expect("it was just there");
            if !owed.is_in_flight() {
                continue;
            }
            if owed.is_loose {
                owed.state = State::Open;
            } else if self.first_of_run(id) != id {
                self.owed.get_mut(&id).expect("it was just there").take_back();
                self.take_back_after(id);
            } else {
                let waited_ms = (deadline.0 - since.0) / 1_000;
                self.fail(id, &format!("no acknowledgement within {waited_ms} ms"), None, now);
            }
        }
    }

    fn fail(&mut self, id: DeliveryId, error: &str, delay_ms: Option<u64>, now: Timestamp) {
        self.end_attempt(id, error, now);
        let (terms, steady) = (self.terms.clone(), self.steady(now));
        let owed = self.owed.get_mut(&id).expect("it was in flight");
        let attempts = owed.attempts.1;
        let (earliest, latest) = owed.first.unwrap_or((now, now));
        // The next attempt comes between these two.
        let pause_ms = delay_ms.unwrap_or_else(|| terms.pause_ms_min(attempts)) as i64;
        let soonest = now.plus_ms(pause_ms);
        let last = now.plus_ms(delay_ms.unwrap_or_else(|| terms.pause_ms_max()) as i64);
        owed.not_before = Some(steady.plus_ms(pause_ms));
        owed.promised = attempts + 1;
        if attempts >= terms.max_attempts {
            self.give_up(id, Reason::AttemptsExhausted, true);
        } else if terms.is_too_late(earliest, last) {
            self.give_up(id, Reason::TooOld, terms.is_too_late(latest, soonest));
        }
    }

    fn end_attempt(&mut self, id: DeliveryId, error: &str, now: Timestamp) {
        let owed = self.owed.get_mut(&id).expect("it was in flight");
        if let State::InFlight { since, .. } = owed.state {
            owed.tries.push(Try {
                number: owed.attempts.1,
                time: since,
                duration_ms: ((now.0 - since.0) / 1_000) as u64,
                error: error.to_owned(),
                is_durable: false,
                is_sure: true,
            });
        }
        owed.state = State::Open;
        if !owed.is_loose {
            self.take_back_after(id);
        }
    }

    fn give_up(&mut self, id: DeliveryId, reason: Reason, is_sure: bool) {
        let parks = self.terms.parks && id.dead_letter == 0;
        let owed = self.owed.get_mut(&id).expect("it was in flight");
        let blocks = parks && owed.key.is_some();
        owed.state = State::GivenUp { reason, blocks, is_sure: is_sure && !owed.is_loose };
    }

    /// Everything was written down, and the dead letters that came were shown.
    pub fn saved(&mut self) -> Verdict {
        let missing = self.owed.iter().find(|(_, owed)| matches!(owed.state, State::GivenUp { is_sure: true, .. }));
        if let Some((id, _)) = missing {
            return self.wrong(*id, "given up, and it has no dead letter");
        }
        for owed in self.owed.values_mut() {
            if matches!(owed.state, State::GivenUp { .. }) {
                owed.state = State::Open;
            }
            owed.saved();
        }
        self.settle();
        Ok(())
    }

    /// Nothing more will happen. With `parked` keys that wait may be there.
    pub fn ended(&self, now: Timestamp, parked: bool) -> Verdict {
        let parked_at = |key: &Option<String>| {
            let is_parked = |owed: &&super::owed::Owed| matches!(owed.state, State::Parked { .. }) && owed.key == *key;
            key.is_some() && self.owed.values().any(|owed| is_parked(&owed))
        };
        for (id, owed) in self.owed.iter().filter(|(_, owed)| owed.must && owed.is_unfinished()) {
            let may_wait = parked && id.dead_letter == 0 && (owed.is_loose || parked_at(&owed.key));
            if !(may_wait || id.dead_letter == 0 && owed.is_expired(now)) {
                return self.wrong(*id, "never finished");
            }
        }
        match self.owed.values().filter(|owed| owed.is_in_flight()).count() {
            0 => Ok(()),
            count => Err(violated(super::book::NAME, format!("{}: {count} are in flight in the end", self.name))),
        }
    }
}
