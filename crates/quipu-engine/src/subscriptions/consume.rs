//! What consumers do: they are handed deliveries and say what became of them.

use std::collections::HashSet;
use std::sync::Arc;

use quipu_domain::delivery::{DeliveryId, Failure, Key, Moment, NotInFlight, Outcome, Phase, Reason};
use quipu_domain::{Direction, Filter, Range, Timestamp};
use quipu_store::Fault;

use super::key::expiry;
use super::refusal::{NotDone, SubscriptionRefusal};
use super::running::{Compiled, Inner, Running};
use crate::read::Recorded;
use crate::tenant::Tenant;
use crate::transform::{Format, Transformer};

/// A delivery that a consumer has.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The event and, for a redriven one, its dead letter.
    pub id: DeliveryId,
    /// Names the attempt; the answer carries it.
    pub token: u64,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When the answer is due.
    pub deadline: Timestamp,
    /// What it has in common with those that it comes before: they are to be answered in order.
    pub key: Option<Key>,
    /// The event.
    pub recorded: Recorded,
    /// What the subscription's transformation made of it, if it has one.
    pub transformed: Option<Transformed>,
    /// The edited copy that is delivered instead, if it is one.
    pub edited: Option<Box<serde_json::value::RawValue>>,
}

/// What a transformation made of an event.
#[derive(Clone, Debug)]
pub struct Transformed {
    /// JSON or text.
    pub body: Vec<u8>,
    /// Which.
    pub format: Format,
}

/// What was handed out, before its event is read.
struct Taken {
    id: DeliveryId,
    token: u64,
    attempt: u32,
    deadline: Timestamp,
    key: Option<Key>,
}

/// What a consumer says of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was processed.
    Ack,
    /// It was not, and is to be tried again: after this many milliseconds, or as the policy says.
    Nack {
        /// What went wrong.
        failure: Failure,
        /// Milliseconds; the policy's delay without it.
        delay_ms: Option<u64>,
    },
    /// It needs this many milliseconds more from now on.
    Extend {
        /// Milliseconds.
        ms: u64,
    },
    /// Trying again is of no use.
    GiveUp {
        /// What went wrong.
        failure: Failure,
        /// Why.
        reason: Reason,
    },
}

impl Tenant {
    /// Hands out at most `limit` deliveries without waiting. Empty if there is none right now.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`]; [`Fault`] if the log cannot be read.
    pub fn pull(&self, name: &str, limit: usize) -> Result<Vec<Handed>, NotDone> {
        let running = self.running(name)?;
        self.route_unless_busy()?;
        let compiled = running.compiled();
        if compiled.definition.paused {
            return Ok(Vec::new());
        }
        loop {
            let (taken, due, is_behind) = {
                let mut inner = running.inner.lock();
                let is_behind = self.fill(&compiled, &mut inner)?;
                let now = self.world.clock.now();
                let taken = self.hand_out(&compiled, &mut inner, limit, now);
                (taken, (inner.next_due(&compiled, now), now), is_behind)
            };
            self.due_at(due.0, due.1);
            let is_behind = is_behind || !self.attach(&running, &compiled);
            if taken.is_empty() && is_behind {
                continue;
            }
            let is_something = !taken.is_empty();
            let mut handed = self.read_handed(&running, taken)?;
            if let Some(transformer) = &compiled.transformer {
                handed = self.transform(&running, transformer, handed)?;
            }
            if is_something && handed.is_empty() {
                // All of them ended here: whoever waits asks once more.
                running.wake();
            }
            return Ok(handed);
        }
    }

    /// Transforms what was handed out. What cannot be is given up; what was behind it in its key was taken back then.
    fn transform(
        &self,
        running: &Running,
        transformer: &Transformer,
        handed: Vec<Handed>,
    ) -> Result<Vec<Handed>, NotDone> {
        let mut taken_back = HashSet::new();
        let mut transformed: Vec<Handed> = Vec::with_capacity(handed.len());
        for mut one in handed {
            if one.key.is_some_and(|key| taken_back.contains(&key)) {
                continue;
            }
            let mut text = Vec::new();
            match &one.edited {
                Some(edited) => text.extend_from_slice(edited.get().as_bytes()),
                None => quipu_domain::write_event(&mut text, &one.recorded.event(), Some(&one.recorded.stamp)),
            }
            match transformer.apply(&text) {
                Ok(body) => {
                    one.transformed = Some(Transformed { body, format: transformer.format() });
                    transformed.push(one);
                }
                // One whose run has begun waits for it: it is looked at when its turn comes.
                Err(fault) => {
                    taken_back.extend(one.key);
                    let is_first = !transformed.iter().any(|before| before.key.is_some() && before.key == one.key);
                    if is_first {
                        let (failure, reason) = (Failure::new(fault.to_string()), Reason::TransformationFailed);
                        let answers = vec![(one.id, one.token, Answer::GiveUp { failure, reason })];
                        self.answer(&running.name, answers)?;
                    }
                }
            }
        }
        Ok(transformed)
    }

    /// Lets the router feed a subscription that has caught up. Whether it was behind still: something was routed since
    /// it looked.
    fn attach(&self, running: &Arc<Running>, compiled: &Compiled) -> bool {
        let is_candidate = {
            let inner = running.inner.lock();
            !inner.is_attached && inner.queue.is_empty() && inner.deliveries.has_room(&compiled.rules)
        };
        !is_candidate || self.subscriptions.router.lock().attach(running, &self.subscriptions.attached)
    }

    fn hand_out(&self, compiled: &Compiled, inner: &mut Inner, limit: usize, now: Timestamp) -> Vec<Taken> {
        let rate = compiled.definition.rate_limit;
        let limit = rate.map_or(limit, |rate| limit.min(inner.bucket.available(rate, now)));
        let mut token = || self.subscriptions.token();
        let (handed, expired) = inner.deliveries.hand_out(limit, now, &compiled.rules, &mut token);
        if rate.is_some() {
            inner.bucket.take(handed.len());
        }
        inner.counts.expired += expired.len() as u64;
        inner.counts.handed_out += handed.len() as u64;
        let taken = handed.into_iter().filter_map(|id| {
            let delivery = inner.deliveries.get(id)?;
            match delivery.phase {
                Phase::InFlight { token, deadline, .. } => {
                    Some(Taken { id, token, attempt: delivery.attempts, deadline, key: delivery.key })
                }
                _ => None,
            }
        });
        taken.collect()
    }

    /// Reads the events of what was handed out. One that has expired meanwhile is finished instead.
    fn read_handed(&self, running: &Running, taken: Vec<Taken>) -> Result<Vec<Handed>, Fault> {
        let mut events = self.events_at(&taken.iter().map(|taken| taken.id.position).collect::<Vec<_>>())?;
        let now = self.world.clock.now();
        let mut handed = Vec::with_capacity(taken.len());
        for Taken { id, token, attempt, deadline, key } in taken {
            let Some(recorded) = events.remove(&id.position) else { continue };
            if id.dead_letter == 0 && expiry(&recorded.event()).is_some_and(|expires| expires <= now) {
                let mut inner = running.inner.lock();
                inner.deliveries.expire(id);
                inner.counts.expired += 1;
                continue;
            }
            let edited = match id.dead_letter {
                0 => None,
                letter => self.edited_copy(letter)?,
            };
            handed.push(Handed { id, token, attempt, deadline, key, recorded, transformed: None, edited });
        }
        Ok(handed)
    }

    /// Events at positions. Neighbours are read together.
    fn events_at(&self, positions: &[u64]) -> Result<std::collections::HashMap<u64, Recorded>, Fault> {
        let mut events = std::collections::HashMap::with_capacity(positions.len());
        let mut sorted = positions.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        for near in sorted.chunk_by(|a, b| b - a <= 4) {
            let (first, last) = (near[0], near[near.len() - 1]);
            if near.len() < 3 {
                for position in near {
                    events.extend(self.event_at(*position)?.map(|recorded| (*position, recorded)));
                }
                continue;
            }
            let filter = Filter { positions: Range { from: Some(first), to: Some(last) }, ..Filter::default() };
            let mut from = Some(first);
            while from.is_some() {
                let page = self.read(&filter, Direction::Forward, from, (last - first + 1) as usize)?;
                from = page.next;
                events.extend(page.events.into_iter().map(|recorded| (recorded.stamp.position, recorded)));
            }
        }
        Ok(events)
    }

    /// Says what became of deliveries, in order. Each answer stands for itself.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`].
    pub fn answer(
        &self,
        name: &str,
        answers: Vec<(DeliveryId, u64, Answer)>,
    ) -> Result<Vec<Result<(), SubscriptionRefusal>>, NotDone> {
        let running = self.running(name)?;
        let compiled = running.compiled();
        let now = self.world.clock.now();
        let (results, is_available, due) = {
            let mut inner = running.inner.lock();
            let answer = |(id, token, answer): (DeliveryId, u64, Answer)| {
                let moment = Moment { rules: &compiled.rules, now, chance: self.subscriptions.chance() };
                take_answer(&mut inner, id, token, answer, moment)
                    .map_err(|why| SubscriptionRefusal::NotInFlight { position: id.position, why })
            };
            let results: Vec<_> = answers.into_iter().map(answer).collect();
            let has_more = inner.deliveries.is_available(&compiled.rules) || !inner.queue.is_empty();
            (results, has_more || !inner.is_attached, inner.next_due(&compiled, now))
        };
        self.due_at(due, now);
        if is_available {
            running.wake();
        }
        Ok(results)
    }

    /// What became due: deadlines that are over, and retries.
    pub(super) fn tick(&self, running: &Running, now: Timestamp) {
        let compiled = running.compiled();
        let is_available = {
            let mut inner = running.inner.lock();
            let moment = Moment { rules: &compiled.rules, now, chance: self.subscriptions.chance() };
            for (id, outcome) in inner.deliveries.tick(moment) {
                inner.counts.failed += 1;
                if let Outcome::GivenUp(given_up) = outcome {
                    inner.given_up.push_back((id, given_up));
                }
            }
            inner.deliveries.is_available(&compiled.rules)
        };
        if is_available {
            running.wake();
        }
    }
}

fn take_answer(
    inner: &mut Inner,
    id: DeliveryId,
    token: u64,
    answer: Answer,
    moment: Moment<'_>,
) -> Result<(), NotInFlight> {
    match answer {
        Answer::Ack => {
            inner.deliveries.ack(id, token)?;
            inner.counts.acknowledged += 1;
        }
        Answer::Nack { failure, delay_ms } => {
            let outcome = inner.deliveries.nack(id, token, failure, delay_ms, moment)?;
            inner.counts.failed += 1;
            if let Outcome::GivenUp(given_up) = outcome {
                inner.given_up.push_back((id, given_up));
            }
        }
        Answer::Extend { ms } => inner.deliveries.extend(id, token, moment.now.plus_ms(ms as i64))?,
        Answer::GiveUp { failure, reason } => {
            let given_up = inner.deliveries.give_up(id, token, failure, reason, moment)?;
            inner.counts.failed += 1;
            inner.given_up.push_back((id, given_up));
        }
    }
    Ok(())
}
