//! The unfinished deliveries of one subscription. Events are offered in the order of the log; whoever consumes is handed
//! what may go now, and says what became of it. Events of one key go one run after the other: while one of them is on its
//! way or waits for its retry, later ones wait, and other keys go on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Failure, GivenUp, Reason, bytes, remember};
use super::lines::{Key, Lines, RUN_MAX};
use super::retry::RetryPolicy;
use crate::Timestamp;

/// Keys that may be blocked at once: about 100 bytes each. With more the scan waits.
const KEYS_MAX: usize = 10_000;
/// Unfinished deliveries beside those that may be in flight: waiting for a retry, or behind their key.
const WAITING_MAX: usize = 1_000;

/// What the attempts of all unfinished deliveries may take before only the first and the newest of each are kept: they
/// are written down together, and a consumer that fails with long errors must not fill memory or a commit.
const HISTORY_BYTES_MAX: usize = if cfg!(test) { 2_000 } else { 16 << 20 };

/// One event on its way to one subscription. A redriven one is another delivery of the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The event.
    pub position: u64,
    /// 0; or the dead letter that it was redriven from.
    pub dead_letter: u64,
}

impl DeliveryId {
    /// The same for every attempt at this event for this subscription, redriven ones included; an edited copy is
    /// another event and has another key. Whoever keeps it together with the effect has the effect once.
    ///
    /// ```
    /// let id = quipu_domain::delivery::DeliveryId { position: 17, dead_letter: 0 };
    /// assert_eq!(id.idempotency_key("billing", false), "billing/17");
    /// ```
    pub fn idempotency_key(self, subscription: &str, is_edited: bool) -> String {
        match is_edited {
            false => format!("{subscription}/{}", self.position),
            true => format!("{subscription}/{}/{}", self.position, self.dead_letter),
        }
    }
}

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its turn.
    Ready,
    /// An answer of the consumer that has the token.
    InFlight {
        /// Names the attempt.
        token: u64,
        /// When it was handed out.
        since: Timestamp,
        /// When it is taken for failed.
        deadline: Timestamp,
    },
    /// Its next attempt.
    Waiting {
        /// When that is.
        until: Timestamp,
    },
    /// Somebody to decide: it was given up, and its key waits.
    Parked {
        /// The dead letter that it became.
        dead_letter: u64,
    },
}

/// An unfinished delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The key whose events wait for it; none if none do.
    pub key: Option<Key>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the first one began.
    pub first_attempt: Option<Timestamp>,
    /// The failed ones that are kept, oldest first.
    pub history: Vec<Attempt>,
    /// After this time it is not delivered any more.
    pub expires: Option<Timestamp>,
    /// What it waits for.
    pub phase: Phase,
}

/// What the subscription's policy says.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Deliveries that may be in flight at once.
    pub max_in_flight: usize,
    /// How long a consumer has.
    pub ack_deadline_ms: u64,
    /// When failed ones are tried again.
    pub retry: RetryPolicy,
    /// All events wait for each other, whatever their key.
    pub is_strict: bool,
    /// A key waits for somebody to decide when one of its events was given up; otherwise it goes on.
    pub parks_keys: bool,
}

/// What a failure is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The subscription's policy.
    pub rules: &'a Rules,
    /// The time.
    pub now: Timestamp,
    /// Uniform in 0 to 1.
    pub chance: f64,
}

/// The answer of a consumer that is not in time, or not about its own delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInFlight {
    /// The token is not that of an attempt that is in flight: it came too late, or was answered before.
    Late,
    /// An earlier event of the same run has to be answered first.
    OutOfOrder {
        /// The event that is first.
        first: u64,
    },
}

/// What became of a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is tried again at this time.
    Retried(Timestamp),
    /// It is given up: a dead letter is to be recorded, and if the key is parked, [`Deliveries::park`] called.
    GivenUp(GivenUp),
}

/// An event whose time was over before it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired(pub DeliveryId);

/// How many deliveries wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// May be handed out now, or as soon as their key is free.
    pub ready: usize,
    /// Are with a consumer.
    pub in_flight: usize,
    /// Wait for their next attempt.
    pub waiting: usize,
    /// Are parked.
    pub parked: usize,
    /// Keys with unfinished deliveries.
    pub keys: usize,
}

/// All unfinished deliveries of a subscription, and how far the log was looked at.
#[derive(Debug, Default)]
pub struct Deliveries {
    pub(super) scan: u64,
    pub(super) unfinished: BTreeMap<DeliveryId, Delivery>,
    pub(super) lines: Lines,
    /// Those that may be handed out now: the first of their line, or without one.
    available: BTreeSet<DeliveryId>,
    /// Deadlines and retries.
    timers: BTreeSet<(Timestamp, DeliveryId)>,
    in_flight: usize,
    /// What the attempts of all unfinished deliveries take.
    history_bytes: usize,
    /// Keys whose next events have to be read from the log.
    reads: BTreeSet<Key>,
    /// What changed since it was last saved.
    pub(super) dirty: HashSet<DeliveryId>,
    pub(super) dirty_keys: HashSet<Key>,
    pub(super) saved_ids: HashSet<DeliveryId>,
    pub(super) saved_keys: HashSet<Key>,
    pub(super) saved_scan: u64,
}

impl Deliveries {
    /// Nothing unfinished; the next event that counts comes after `scan`.
    pub fn after(scan: u64) -> Self {
        Self { scan, saved_scan: scan, ..Self::default() }
    }

    /// Every event up to here was looked at.
    pub fn scan(&self) -> u64 {
        self.scan
    }

    /// One unfinished delivery.
    pub fn get(&self, id: DeliveryId) -> Option<&Delivery> {
        self.unfinished.get(&id)
    }

    /// Every unfinished delivery, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (DeliveryId, &Delivery)> {
        self.unfinished.iter().map(|(id, delivery)| (*id, delivery))
    }

    /// How many deliveries wait for what.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { keys: self.lines.len(), ..Summary::default() };
        for delivery in self.unfinished.values() {
            *match delivery.phase {
                Phase::Ready => &mut summary.ready,
                Phase::InFlight { .. } => &mut summary.in_flight,
                Phase::Waiting { .. } => &mut summary.waiting,
                Phase::Parked { .. } => &mut summary.parked,
            } += 1;
        }
        summary
    }

    /// Whether another event may be offered. What cannot be offered waits in the log.
    pub fn has_room(&self, rules: &Rules) -> bool {
        let is_stopped = rules.is_strict
            && self.lines.iter().any(|(_, line)| line.order.len() >= RUN_MAX || line.waits_from().is_some());
        !is_stopped && self.unfinished.len() < rules.max_in_flight + WAITING_MAX && self.lines.len() < KEYS_MAX
    }

    /// Takes note of the next event that matches.
    pub fn offer(&mut self, position: u64, key: Option<Key>, expires: Option<Timestamp>) {
        assert!(position > self.scan, "events are offered in order");
        self.scan = position;
        let Some(key) = key else {
            return self.insert(position, None, expires);
        };
        let joins = self.lines.get(key).is_none_or(|line| {
            let is_moving = line
                .order
                .front()
                .is_none_or(|first| matches!(self.unfinished[first].phase, Phase::Ready | Phase::InFlight { .. }));
            is_moving && line.waits_from().is_none() && line.order.len() < RUN_MAX
        });
        if joins {
            self.insert(position, Some(key), expires);
        } else {
            self.lines.wait(key, position);
            self.dirty_keys.insert(key);
        }
    }

    /// Takes note that no event up to here matches.
    pub fn looked_to(&mut self, position: u64) {
        self.scan = self.scan.max(position);
    }

    /// A key whose next events have to be read from the log, the position to begin at, and the last one to look at.
    pub fn reads(&self) -> Option<(Key, u64, u64)> {
        let key = *self.reads.first()?;
        Some((key, self.lines.reads_from(key)?, self.scan))
    }

    /// Whether events wait behind others of their key that are not deliveries yet.
    pub fn has_waiting(&self) -> bool {
        self.lines.iter().any(|(_, line)| line.waits_from().is_some())
    }

    /// The log was read for a key: these are its events up to position `to`.
    pub fn found(&mut self, key: Key, positions: &[u64], to: u64) {
        self.reads.remove(&key);
        // Events that were offered meanwhile are not among them.
        let more_from = (to < self.scan).then_some(to + 1);
        self.lines.found(key, positions, more_from);
        self.dirty_keys.insert(key);
        self.move_up(key);
    }

    fn insert(&mut self, position: u64, key: Option<Key>, expires: Option<Timestamp>) {
        let id = DeliveryId { position, dead_letter: 0 };
        let delivery =
            Delivery { key, attempts: 0, first_attempt: None, history: Vec::new(), expires, phase: Phase::Ready };
        self.unfinished.insert(id, delivery);
        self.dirty.insert(id);
        let is_first = key.is_none_or(|key| {
            let order = &mut self.lines.line(key).order;
            order.push_back(id);
            order.len() == 1
        });
        if is_first {
            self.available.insert(id);
        }
    }

    /// Hands out at most `limit` deliveries, oldest first, with the attempt's token each; a run of one key stays
    /// together. Events whose time is over are finished and reported instead.
    pub fn hand_out(
        &mut self,
        limit: usize,
        now: Timestamp,
        rules: &Rules,
        token: &mut dyn FnMut() -> u64,
    ) -> (Vec<DeliveryId>, Vec<Expired>) {
        let (mut handed, mut expired) = (Vec::new(), Vec::new());
        let limit = limit.min(rules.max_in_flight.saturating_sub(self.in_flight));
        while handed.len() < limit
            && let Some(first) = self.available.pop_first()
        {
            let mut next = Some(first);
            while let Some(id) = next.filter(|_| handed.len() < limit) {
                let delivery = self.unfinished.get_mut(&id).expect("what is available is unfinished");
                if delivery.expires.is_some_and(|expires| expires <= now) {
                    expired.push(Expired(id));
                    let key = delivery.key;
                    self.remove(id);
                    // The next of the line is available now, if it was the first.
                    next = key.and_then(|key| self.next_in_run(key));
                    next.iter().for_each(|id| _ = self.available.remove(id));
                    continue;
                }
                let deadline = now.plus_ms(rules.ack_deadline_ms as i64);
                delivery.attempts += 1;
                delivery.first_attempt.get_or_insert(now);
                delivery.phase = Phase::InFlight { token: token(), since: now, deadline };
                let key = delivery.key;
                self.timers.insert((deadline, id));
                self.in_flight += 1;
                self.dirty.insert(id);
                handed.push(id);
                next = key.and_then(|key| self.next_in_run(key));
            }
            // The limit cut the run before its first.
            if let Some(id) = next.filter(|id| self.is_first(*id)) {
                self.available.insert(id);
            }
        }
        (handed, expired)
    }

    /// The first of a line that is ready, if all before it are in flight.
    fn next_in_run(&self, key: Key) -> Option<DeliveryId> {
        let order = &self.lines.get(key)?.order;
        let next = order.iter().find(|id| !matches!(self.unfinished[id].phase, Phase::InFlight { .. }))?;
        (self.unfinished[next].phase == Phase::Ready).then_some(*next)
    }

    fn is_first(&self, id: DeliveryId) -> bool {
        let key = self.unfinished.get(&id).and_then(|delivery| delivery.key);
        key.and_then(|key| self.lines.get(key)).is_none_or(|line| line.order.front() == Some(&id))
    }

    /// The consumer has processed it.
    ///
    /// # Errors
    /// [`NotInFlight`]: the attempt is over, or an earlier event of the key is not answered yet.
    pub fn ack(&mut self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        self.first_in_flight(id, token)?;
        self.remove(id);
        Ok(())
    }

    /// The consumer could not process it. `delay_ms` replaces the policy's delay. What was handed out behind it in its
    /// run is taken back.
    ///
    /// # Errors
    /// As [`Deliveries::ack`].
    pub fn nack(
        &mut self,
        id: DeliveryId,
        token: u64,
        failure: Failure,
        delay_ms: Option<u64>,
        moment: Moment<'_>,
    ) -> Result<Outcome, NotInFlight> {
        self.first_in_flight(id, token)?;
        Ok(self.fail(id, failure, delay_ms, moment))
    }

    /// The consumer or the endpoint says that trying again is of no use.
    ///
    /// # Errors
    /// As [`Deliveries::ack`].
    pub fn give_up(
        &mut self,
        id: DeliveryId,
        token: u64,
        failure: Failure,
        reason: Reason,
        moment: Moment<'_>,
    ) -> Result<GivenUp, NotInFlight> {
        self.first_in_flight(id, token)?;
        self.end_attempt(id, failure, moment.now);
        Ok(self.given_up(id, reason, moment.rules))
    }

    /// The consumer gives it back without having tried: it was no attempt. So is what was handed out behind it in its run.
    ///
    /// # Errors
    /// [`NotInFlight::Late`].
    pub fn release(&mut self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        self.in_flight(id, token)?;
        if self.unfinished[&id].key.is_some() {
            self.take_back_from(id);
        } else {
            self.take_back(id);
        }
        if self.is_first(id) {
            self.available.insert(id);
        }
        Ok(())
    }

    /// The event's time is over, as was found when it was read.
    pub fn expire(&mut self, id: DeliveryId) {
        self.remove(id);
    }

    /// Moves the deadline of an attempt.
    ///
    /// # Errors
    /// [`NotInFlight::Late`].
    pub fn extend(&mut self, id: DeliveryId, token: u64, deadline: Timestamp) -> Result<(), NotInFlight> {
        self.in_flight(id, token)?;
        if let Some(delivery) = self.unfinished.get_mut(&id)
            && let Phase::InFlight { deadline: before, .. } = &mut delivery.phase
        {
            self.timers.remove(&(*before, id));
            self.timers.insert((deadline, id));
            *before = deadline;
        }
        Ok(())
    }

    /// Events that wait behind the unfinished ones of their key; none if the log would have to be read to know.
    pub fn waiting_behind(&self) -> Option<usize> {
        self.lines.waiting_behind()
    }

    fn in_flight(&self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        match self.unfinished.get(&id).map(|delivery| delivery.phase) {
            Some(Phase::InFlight { token: current, .. }) if current == token => Ok(()),
            _ => Err(NotInFlight::Late),
        }
    }

    /// Answers for a run come in its order, or its key would not have one.
    fn first_in_flight(&self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        self.in_flight(id, token)?;
        let line = self.unfinished[&id].key.and_then(|key| self.lines.get(key));
        match line.and_then(|line| line.order.front()) {
            Some(first) if *first != id => Err(NotInFlight::OutOfOrder { first: first.position }),
            _ => Ok(()),
        }
    }

    /// What became due: attempts whose deadline is over fail, and retries may be handed out.
    pub fn tick(&mut self, moment: Moment<'_>) -> Vec<(DeliveryId, Outcome)> {
        let mut outcomes = Vec::new();
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= moment.now) {
            self.timers.pop_first();
            let is_first = self.is_first(id);
            match self.unfinished.get_mut(&id).map(|delivery| &mut delivery.phase) {
                // An earlier event of its run is still being worked on: it never had its turn.
                Some(Phase::InFlight { .. }) if !is_first => self.take_back_from(id),
                Some(Phase::InFlight { since, .. }) => {
                    let waited = due.0.saturating_sub(since.0) / 1_000;
                    let failure = Failure::new(format!("no acknowledgement within {waited} ms"));
                    outcomes.push((id, self.fail(id, failure, None, moment)));
                }
                Some(phase @ Phase::Waiting { .. }) => {
                    *phase = Phase::Ready;
                    self.dirty.insert(id);
                    if is_first {
                        self.available.insert(id);
                    }
                }
                _ => {}
            }
        }
        outcomes
    }

    /// When [`Deliveries::tick`] has something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Whether something may be handed out now.
    pub fn is_available(&self, rules: &Rules) -> bool {
        !self.available.is_empty() && self.in_flight < rules.max_in_flight
    }

    fn fail(&mut self, id: DeliveryId, failure: Failure, delay_ms: Option<u64>, moment: Moment<'_>) -> Outcome {
        let Moment { rules, now, chance } = moment;
        self.end_attempt(id, failure, now);
        let delivery = self.unfinished.get_mut(&id).expect("it was in flight");
        let first = delivery.first_attempt.unwrap_or(now);
        if let Some(reason) = rules.retry.gives_up(delivery.attempts, first, now) {
            return Outcome::GivenUp(self.given_up(id, reason, rules));
        }
        let delay = delay_ms.unwrap_or_else(|| rules.retry.backoff.delay_ms(delivery.attempts, chance));
        let until = now.plus_ms(delay as i64);
        delivery.phase = Phase::Waiting { until };
        self.timers.insert((until, id));
        Outcome::Retried(until)
    }

    /// Ends an attempt that failed, and takes back those that were handed out behind it in its run.
    fn end_attempt(&mut self, id: DeliveryId, failure: Failure, now: Timestamp) {
        let delivery = self.unfinished.get_mut(&id).expect("it was in flight");
        let Phase::InFlight { since, deadline, .. } = delivery.phase else { return };
        let duration_ms = (now.0.saturating_sub(since.0) / 1_000).max(0) as u64;
        let attempt = Attempt { number: delivery.attempts, time: since, duration_ms, failure: failure.cut() };
        self.history_bytes -= bytes(&delivery.history);
        remember(&mut delivery.history, attempt, self.history_bytes > HISTORY_BYTES_MAX);
        self.history_bytes += bytes(&delivery.history);
        delivery.phase = Phase::Ready;
        self.in_flight -= 1;
        self.timers.remove(&(deadline, id));
        self.dirty.insert(id);
        self.take_back_from(id);
    }

    /// Takes back this delivery and what was handed out behind it in its run.
    fn take_back_from(&mut self, id: DeliveryId) {
        let Some(line) = self.unfinished[&id].key.and_then(|key| self.lines.get(key)) else { return };
        let run: Vec<DeliveryId> = line.order.iter().copied().skip_while(|other| *other != id).collect();
        run.into_iter().for_each(|other| self.take_back(other));
    }

    /// An attempt that never was: what came before it failed.
    fn take_back(&mut self, id: DeliveryId) {
        let Some(delivery) = self.unfinished.get_mut(&id) else { return };
        if let Phase::InFlight { deadline, .. } = delivery.phase {
            delivery.phase = Phase::Ready;
            delivery.attempts -= 1;
            if delivery.attempts == 0 {
                delivery.first_attempt = None;
            }
            self.in_flight -= 1;
            self.timers.remove(&(deadline, id));
            self.dirty.insert(id);
        }
    }

    fn given_up(&mut self, id: DeliveryId, reason: Reason, rules: &Rules) -> GivenUp {
        let delivery = &self.unfinished[&id];
        let (attempts, history) = (delivery.attempts, delivery.history.clone());
        let redriven_from = (id.dead_letter > 0).then_some(id.dead_letter);
        // One that is parked stays until somebody decides, and its key with it.
        if rules.parks_keys && delivery.key.is_some() {
            self.set_phase(id, Phase::Parked { dead_letter: 0 });
        } else {
            self.remove(id);
        }
        GivenUp { reason, attempts, history, redriven_from }
    }

    fn set_phase(&mut self, id: DeliveryId, phase: Phase) {
        if let Some(delivery) = self.unfinished.get_mut(&id) {
            delivery.phase = phase;
            self.dirty.insert(id);
        }
    }

    /// Says which dead letter a delivery that was given up became, if its key is parked.
    pub fn park(&mut self, id: DeliveryId, dead_letter: u64) {
        if matches!(self.unfinished.get(&id).map(|delivery| delivery.phase), Some(Phase::Parked { .. })) {
            self.set_phase(id, Phase::Parked { dead_letter });
        }
    }

    /// Tries a parked delivery again from the start. Whether it was parked by this dead letter.
    pub fn unpark(&mut self, id: DeliveryId, dead_letter: u64) -> bool {
        if !self.is_parked_by(id, dead_letter) {
            return false;
        }
        self.set_phase(id, Phase::Ready);
        if let Some(delivery) = self.unfinished.get_mut(&id) {
            (delivery.attempts, delivery.first_attempt) = (0, None);
            self.history_bytes -= bytes(&delivery.history);
            delivery.history.clear();
        }
        if self.is_first(id) {
            self.available.insert(id);
        }
        true
    }

    /// Goes on with the key without a parked delivery. Whether it was parked by this dead letter.
    pub fn drop_parked(&mut self, id: DeliveryId, dead_letter: u64) -> bool {
        let is_parked = self.is_parked_by(id, dead_letter);
        if is_parked {
            self.remove(id);
        }
        is_parked
    }

    fn is_parked_by(&self, id: DeliveryId, dead_letter: u64) -> bool {
        self.unfinished.get(&id).is_some_and(|delivery| delivery.phase == Phase::Parked { dead_letter })
    }

    /// Delivers an event once more, whatever its key is doing. Whether it was not there already.
    pub fn redrive(&mut self, position: u64, dead_letter: u64) -> bool {
        let id = DeliveryId { position, dead_letter };
        if self.unfinished.contains_key(&id) {
            return false;
        }
        let phase = Phase::Ready;
        let delivery =
            Delivery { key: None, attempts: 0, first_attempt: None, history: Vec::new(), expires: None, phase };
        self.unfinished.insert(id, delivery);
        self.available.insert(id);
        self.dirty.insert(id);
        true
    }

    /// Finishes a delivery, and lets the next of its key go.
    fn remove(&mut self, id: DeliveryId) {
        let Some(delivery) = self.unfinished.remove(&id) else { return };
        self.history_bytes -= bytes(&delivery.history);
        match delivery.phase {
            Phase::InFlight { deadline, .. } => {
                self.in_flight -= 1;
                self.timers.remove(&(deadline, id));
            }
            Phase::Waiting { until } => _ = self.timers.remove(&(until, id)),
            Phase::Ready => _ = self.available.remove(&id),
            Phase::Parked { .. } => {}
        }
        self.dirty.insert(id);
        if let Some(key) = delivery.key {
            self.lines.line(key).order.retain(|other| *other != id);
            self.move_up(key);
        }
    }

    /// Lets the first of a line go, and fills the line from what waits behind it.
    fn move_up(&mut self, key: Key) {
        if self.lines.get(key).is_some_and(|line| line.order.is_empty()) {
            while self.lines.get(key).is_some_and(|line| line.order.len() < RUN_MAX)
                && let Some(position) = self.lines.next_waiting(key)
            {
                // Whether it has expired is found out again when it is read.
                self.insert(position, Some(key), None);
                self.dirty_keys.insert(key);
            }
            if self.lines.reads_from(key).is_some() && self.lines.get(key).is_some_and(|line| line.order.is_empty()) {
                self.reads.insert(key);
            }
        }
        if let Some(first) = self.lines.get(key).and_then(|line| line.order.front().copied())
            && self.unfinished[&first].phase == Phase::Ready
        {
            self.available.insert(first);
        }
        self.lines.forget_if_empty(key);
    }

    /// Puts back a delivery or what waits of a key, as it was saved.
    pub(super) fn restore(&mut self, id: DeliveryId, delivery: Delivery) {
        match (delivery.key, delivery.phase) {
            (Some(key), _) => self.lines.line(key).order.push_back(id),
            (None, Phase::Ready) => _ = self.available.insert(id),
            (None, _) => {}
        }
        if let Phase::Waiting { until } = delivery.phase {
            self.timers.insert((until, id));
        }
        self.history_bytes += bytes(&delivery.history);
        self.unfinished.insert(id, delivery);
    }

    pub(super) fn restore_waiting(&mut self, key: Key, from: u64) {
        self.lines.wait_from(key, from);
    }

    /// After everything was put back: what may go.
    pub(super) fn restored(&mut self) {
        let keys: Vec<Key> = self.lines.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.move_up(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Backoff;

    #[test]
    fn what_never_reached_its_consumer_was_no_attempt() {
        let retry = RetryPolicy { backoff: Backoff::Delays { delays_ms: vec![0] }, ..RetryPolicy::default() };
        let rules = Rules { max_in_flight: 9, ack_deadline_ms: 9, retry, is_strict: false, parks_keys: false };
        let mut deliveries = Deliveries::after(0);
        for (position, key) in [(1, Some(7)), (2, None), (3, Some(7))] {
            deliveries.offer(position, key, None);
        }
        let hand_out = |deliveries: &mut Deliveries| deliveries.hand_out(9, Timestamp(0), &rules, &mut || 5).0;
        let handed = hand_out(&mut deliveries);
        // One of an attempt that was answered meanwhile is left alone.
        assert_eq!(deliveries.release(handed[0], 4), Err(NotInFlight::Late));
        assert_eq!(deliveries.summary().in_flight, 3);
        handed.iter().rev().for_each(|id| deliveries.release(*id, 5).unwrap());
        assert_eq!(deliveries.summary().ready, 3);
        assert_eq!(hand_out(&mut deliveries), handed);
        assert!(handed.iter().all(|id| deliveries.get(*id).is_some_and(|delivery| delivery.attempts == 1)));
    }
}
