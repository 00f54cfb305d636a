//! What one subscription owes, and the rules of handing out: nothing twice, nothing too early, nothing past an earlier
//! event of its key, no more at once and no faster than its terms say.

use std::collections::BTreeMap;

use quipu_domain::Timestamp;
use quipu_domain::delivery::{DeliveryId, Reason};

use super::accounted::Figures;
use super::owed::{Owed, State};
use super::settled::Settled;
use super::terms::{Fact, Terms};
use crate::checker::{Verdict, violated};

pub(super) const NAME: &str = "deliveries";
const NOT_TO_BE: &str = "handed out, and it is not to be";
/// Hand-outs that the rate is checked over.
const RATE_WINDOW: usize = 300;

/// A delivery as a consumer was handed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handing {
    /// The event, and the dead letter it was redriven from.
    pub id: DeliveryId,
    /// Names the attempt.
    pub token: u64,
    /// Which one.
    pub attempt: u32,
    /// When the answer is due.
    pub deadline: Timestamp,
    /// The id of the event that came.
    pub event: String,
    /// The edited copy that came instead.
    pub edited: Option<String>,
}

#[derive(Debug)]
pub(super) struct Book {
    pub name: String,
    pub terms: Terms,
    /// Events up to here are not owed.
    pub after: u64,
    /// What is not settled.
    pub owed: BTreeMap<DeliveryId, Owed>,
    pub settled: Settled,
    /// What the subscription said of itself when this began.
    pub before: Figures,
    /// Dead letters.
    pub letters: u64,
    /// How many were handed out, or went back unused if that is below zero. In steady time.
    pub handings: Vec<(Timestamp, i64)>,
    pub session: u64,
    /// By how many microseconds the clock was set back so far.
    pub back_us: i64,
    /// Whether it was since this subscription looked at the time.
    pub is_set_back: bool,
}

pub(super) fn original(position: u64) -> DeliveryId {
    DeliveryId::routed(position)
}

impl Book {
    pub fn new(name: &str, terms: Terms, after: u64, session: u64) -> Self {
        let (owed, settled) = (BTreeMap::new(), Settled::default());
        let (before, letters) = (Figures::default(), 0);
        let (name, handings, back_us, is_set_back) = (name.into(), Vec::new(), 0, false);
        Self { name, terms, after, owed, settled, before, letters, handings, session, back_us, is_set_back }
    }

    pub fn wrong(&self, id: DeliveryId, detail: &str) -> Verdict {
        let state = self.owed.get(&id);
        Err(violated(
            NAME,
            format!("{}: position {} (dead letter {}): {detail}: {state:?}", self.name, id.position, id.dead_letter),
        ))
    }

    /// An event is in the log.
    pub fn published(&mut self, fact: &Fact) {
        if fact.position <= self.after || !self.terms.wants(fact) {
            return;
        }
        let mut owed = Owed::new(self.terms.key_of(fact), fact.expires);
        // One that only the new terms want may come before it too, and belong to its key.
        let may_come = |other: &Owed| other.is_unfinished() || matches!(other.state, State::Perhaps);
        owed.is_loose = self.owed.values().any(|other| other.is_loose && may_come(other));
        self.owed.insert(original(fact.position), owed);
    }

    /// The terms changed. What no longer fits need not come; what fits now may.
    pub fn updated(&mut self, terms: Terms, log: &[Fact]) {
        let is_rekeyed = terms.key != self.terms.key;
        for fact in log.iter().filter(|fact| fact.position > self.after) {
            let id = original(fact.position);
            match self.owed.get_mut(&id) {
                Some(owed) if !terms.wants(fact) => owed.must = false,
                Some(_) => {}
                None if terms.wants(fact) && !self.settled.has(id) => {
                    let owed =
                        Owed { must: false, state: State::Perhaps, ..Owed::new(terms.key_of(fact), fact.expires) };
                    self.owed.insert(id, owed);
                }
                None => {}
            }
        }
        if is_rekeyed {
            self.owed.values_mut().for_each(|owed| owed.is_loose = true);
            self.settled.forget_order();
        }
        self.terms = terms;
        self.handings.clear();
    }

    /// It goes on after that position, whatever was done before.
    pub fn sought(&mut self, after: u64, log: &[Fact]) {
        let begun = Self::new(&self.name, self.terms.clone(), after, self.session);
        *self = Self { back_us: self.back_us, ..begun };
        log.iter().for_each(|fact| self.published(fact));
    }

    pub fn restarted(&mut self, session: u64) {
        self.session = session;
        self.handings.clear();
        self.owed.values_mut().for_each(Owed::restarted);
        self.settled.forget_order();
    }

    /// Puts aside what is finished for good.
    pub fn settle(&mut self) {
        for (id, owed) in self.owed.extract_if(.., |_, owed| Settled::takes(owed)) {
            self.settled.take(id, owed, self.session);
        }
    }

    /// A consumer was handed these at once.
    pub fn handed(&mut self, now: Timestamp, batch: &[Handing], log: &[Fact]) -> Verdict {
        if self.terms.is_paused && !batch.is_empty() {
            return Err(violated(NAME, format!("{}: it is paused, and handed out {batch:?}", self.name)));
        }
        self.time_is(now);
        self.too_late(now);
        for (at, handing) in batch.iter().enumerate() {
            self.hand(now, handing, &batch[..at], log)?;
        }
        if !batch.is_empty() {
            self.check_in_flight()?;
            self.check_rate(now, batch.len())?;
        }
        Ok(())
    }

    /// What may be too late for another attempt is perhaps given up when somebody asks.
    fn too_late(&mut self, now: Timestamp) {
        let parks = self.terms.parks;
        for (id, owed) in self.owed.iter_mut().filter(|(_, owed)| owed.state == State::Open) {
            if owed.first.is_some_and(|(earliest, _)| self.terms.is_too_late(earliest, now)) {
                let blocks = parks && id.dead_letter == 0 && owed.key.is_some();
                owed.state = State::GivenUp { reason: Reason::TooOld, blocks, is_sure: false };
            }
        }
    }

    fn hand(&mut self, now: Timestamp, handing: &Handing, before: &[Handing], log: &[Fact]) -> Verdict {
        let id = handing.id;
        let Some(owed) = self.owed.get(&id) else {
            let is_settled = self.settled.has(id);
            return self.wrong(id, if is_settled { NOT_TO_BE } else { "handed out, and nobody is owed it" });
        };
        if log.get(id.position as usize - 1).is_none_or(|fact| fact.id != handing.event) {
            return self.wrong(id, &format!("handed out with the event {}", handing.event));
        }
        match owed.state {
            State::Open | State::Perhaps => {}
            State::GivenUp { is_sure: false, .. } => {}
            State::InFlight { .. } if owed.is_loose => {}
            _ => return self.wrong(id, NOT_TO_BE),
        }
        if id.dead_letter == 0 && owed.has_passed(now) {
            return self.wrong(id, "handed out after its time");
        }
        if !owed.is_loose {
            if owed.not_before.is_some_and(|earliest| self.steady(now) < earliest) {
                return self.wrong(id, &format!("handed out before its pause is over, at {}", now.0));
            }
            if owed.attempts.0 > 0 && owed.first.is_some_and(|(_, latest)| self.terms.is_too_late(latest, now)) {
                return self.wrong(id, "handed out after its greatest age");
            }
            if !(owed.attempts.0 + 1..=owed.attempts.1 + 1).contains(&handing.attempt) {
                return self.wrong(id, &format!("handed out as attempt {}", handing.attempt));
            }
            if handing.attempt > self.terms.max_attempts.max(owed.promised) + owed.restarts {
                return self.wrong(id, &format!("attempt {} of {}", handing.attempt, self.terms.max_attempts));
            }
            self.check_order(id, now, before)?;
        }
        if handing.deadline != now.plus_ms(self.terms.ack_deadline_ms as i64) {
            return self.wrong(id, &format!("its deadline is {}", handing.deadline.0));
        }
        let owed = self.owed.get_mut(&id).expect("it was found above");
        owed.begin(handing.attempt, now);
        owed.state = State::InFlight { token: handing.token, since: now, asked: now, deadline: handing.deadline };
        Ok(())
    }

    /// Nothing overtakes an earlier event of its key.
    fn check_order(&self, id: DeliveryId, now: Timestamp, before: &[Handing]) -> Verdict {
        let Some(key) = self.owed[&id].key.as_ref().filter(|_| id.dead_letter == 0) else { return Ok(()) };
        if let Some(newest) = self.settled.newest_of(key).filter(|newest| *newest > id.position) {
            return self.wrong(id, &format!("position {newest} of its key came before, and is finished"));
        }
        for (other, owed) in &self.owed {
            if *other == id || other.dead_letter > 0 || owed.is_loose || owed.key.as_ref() != Some(key) {
                continue;
            }
            let is_earlier = other.position < id.position;
            let is_with_it = before.iter().any(|handing| handing.id == *other);
            let is_done_now = matches!(owed.state, State::Done { session, .. } if session == self.session);
            if is_earlier && owed.blocks(now) && !is_with_it {
                return self.wrong(id, &format!("it overtakes position {} of its key: {owed:?}", other.position));
            }
            if !is_earlier && (is_done_now || owed.is_in_flight()) {
                return self.wrong(id, &format!("position {} of its key came before: {owed:?}", other.position));
            }
        }
        Ok(())
    }

    fn check_in_flight(&self) -> Verdict {
        let count = self.owed.values().filter(|owed| owed.is_in_flight() && !owed.is_loose).count();
        if count > self.terms.max_in_flight {
            let limit = self.terms.max_in_flight;
            return Err(violated(NAME, format!("{}: {count} in flight, expected at most {limit}", self.name)));
        }
        Ok(())
    }

    fn check_rate(&mut self, now: Timestamp, count: usize) -> Verdict {
        let Some((per_second, burst)) = self.terms.rate else { return Ok(()) };
        let now = self.steady(now);
        self.handings.push((now, count as i64));
        if self.handings.len() > RATE_WINDOW {
            self.handings.remove(0);
        }
        let mut sum = 0;
        for (time, count) in self.handings.iter().rev() {
            sum += count;
            let seconds = (now.0 - time.0) as f64 / 1e6;
            let most = f64::from(burst) + seconds * f64::from(per_second) + 1e-6;
            if sum as f64 > most {
                let detail = format!("{}: {sum} handed out in {seconds} s, expected at most {most}", self.name);
                return Err(violated(NAME, detail));
            }
        }
        Ok(())
    }

    /// The earliest in flight of the same key: its answer comes first.
    pub fn first_of_run(&self, id: DeliveryId) -> DeliveryId {
        let Some(key) = self.owed.get(&id).and_then(|owed| owed.key.as_ref()).filter(|_| id.dead_letter == 0) else {
            return id;
        };
        let is_of_run = |(other, owed): &(&DeliveryId, &Owed)| {
            other.dead_letter == 0 && owed.is_in_flight() && !owed.is_loose && owed.key.as_ref() == Some(key)
        };
        self.owed.range(..=id).find(is_of_run).map_or(id, |(first, _)| *first)
    }

    /// Those in flight behind it in its run never had their turn. With it: neither had it.
    pub fn take_back_after(&mut self, id: DeliveryId) {
        let Some(key) = self.owed.get(&id).and_then(|owed| owed.key.clone()).filter(|_| id.dead_letter == 0) else {
            return;
        };
        for (other, owed) in self.owed.range_mut(id..) {
            if *other != id && other.dead_letter == 0 && owed.is_in_flight() && owed.key.as_ref() == Some(&key) {
                owed.take_back();
            }
        }
    }
}
