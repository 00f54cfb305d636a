//! What consumers do: they are handed deliveries and say what became of them.

use std::collections::HashSet;
use std::sync::Arc;

use quipu_domain::delivery::{DeliveryId, Failure, HandedOut, Key, Moment, NotInFlight, Outcome, Phase, Reason};
use quipu_domain::{DataForm, Event, InvalidEvent, Timestamp, parse_event_text};
use quipu_store::Fault;

use super::key::expiry;
use super::outcome::OutcomeWord;
use super::refusal::{NotDone, SubscriptionRefusal};
use super::running::{Compiled, Inner, Running};
use crate::read::Recorded;
use crate::schemas::Registry;
use crate::tenant::Tenant;
use crate::transform::Format;

/// How often a pull looks on in the log, so that whoever waits a given time is not kept: about 200,000 events.
const LOOKS_MAX: usize = 10;
/// Deliveries whose events are read together: of large events few go out at once, and the rest is not read.
const READ_TOGETHER: usize = 64;

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
    /// The tenant's log, as keys name it.
    pub log: u64,
    /// The edited copy that is delivered instead, if it is one.
    pub edited: Option<Box<serde_json::value::RawValue>>,
}

impl Handed {
    /// The event that is delivered: as it was recorded, or the edited copy of it.
    ///
    /// # Errors
    /// The edited copy is no event.
    pub fn event(&self) -> Result<Event<'_>, InvalidEvent> {
        match &self.edited {
            None => Ok(self.recorded.event()),
            Some(copy) => Ok(parse_event_text(copy.get())?.event),
        }
    }

    /// Bytes of what is delivered, or more.
    fn bytes(&self) -> usize {
        self.recorded.bytes().max(self.edited.as_ref().map_or(0, |copy| copy.get().len()))
    }

    /// As it is delivered: in the version of its schema that is asked for, and transformed. An edited copy is in the version that
    /// its editor wrote.
    fn changed(mut self, registry: &Registry, compiled: &Compiled) -> Result<Self, (Failure, Reason)> {
        if self.edited.is_none() {
            let turned = registry.upcast(&self.recorded.event(), compiled.definition.schema_version);
            let turned = turned.map_err(|error| (Failure::new(error.to_string()), Reason::UpcasterFailed))?;
            if let Some(event) = turned {
                self.recorded = self.recorded.with_event(&event);
            }
        }
        if let Some(transformer) = &compiled.transformer {
            let mut text = Vec::new();
            match &self.edited {
                Some(edited) => text.extend_from_slice(edited.get().as_bytes()),
                None => quipu_domain::write_event(&mut text, &self.recorded.event(), Some(&self.recorded.stamp)),
            }
            let body = transformer.apply(&text);
            let body = body.map_err(|fault| (Failure::new(fault.to_string()), Reason::TransformationFailed))?;
            self.transformed = Some(Transformed { body, format: transformer.format() });
        }
        Ok(self)
    }

    /// See [`DeliveryId::idempotency_key`].
    pub fn idempotency_key(&self, subscription: &str) -> String {
        self.id.idempotency_key(subscription, self.log, self.edited.is_some())
    }
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
    /// Whether it is delivered whatever its event says of its time.
    is_repeated: bool,
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
        /// Milliseconds, at most 7 days count; the policy's delay without it.
        delay_ms: Option<u64>,
    },
    /// It needs this many milliseconds more from now on.
    Extend {
        /// Milliseconds; at most an hour counts.
        ms: u64,
    },
    /// It goes back without having been tried, with what was handed out behind it in its run: no attempt is counted.
    Release,
    /// Trying again is of no use.
    GiveUp {
        /// What went wrong.
        failure: Failure,
        /// Why.
        reason: Reason,
    },
}

impl Tenant {
    /// Hands out at most `limit` deliveries without waiting. Empty if there is none right now, or if the log was looked at
    /// long enough: consumers are told to ask again then.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`]; [`Fault`] if the log cannot be read.
    pub fn pull(&self, name: &str, limit: usize) -> Result<Vec<Handed>, NotDone> {
        self.pull_within(name, limit, usize::MAX)
    }

    /// As [`Tenant::pull`], and no more than this many bytes of events; but one, if there is one, whatever its size.
    ///
    /// # Errors
    /// As [`Tenant::pull`].
    pub fn pull_within(&self, name: &str, limit: usize, bytes: usize) -> Result<Vec<Handed>, NotDone> {
        let running = self.running(name)?;
        self.route_unless_busy()?;
        let mut looks = 0;
        loop {
            let compiled;
            // Looked at before the deliveries are locked: whoever looks for old dead letters locks in that order.
            let is_full = self.too_many_dead_letters(name).is_some();
            let (taken, due, is_behind) = {
                let mut inner = running.inner.lock();
                // In each turn: it may have been changed since the last one.
                compiled = running.compiled();
                if compiled.definition.paused || is_full || inner.is_deleted || inner.has_too_much_to_bury() {
                    return Ok(Vec::new());
                }
                let is_behind = self.fill(&compiled, &mut inner)?;
                let now = self.world.clock.now();
                inner.pace.ask(now);
                let taken = self.hand_out(&compiled, &mut inner, limit, now);
                // What expired just now may have let a key go whose next events are to be read, or made room.
                let has_room = !inner.queue.is_empty() && inner.deliveries.has_room(&compiled.rules);
                let is_behind = !inner.is_changing && (is_behind || has_room || inner.deliveries.has_reads());
                (taken, (inner.next_due(&compiled, now), now), is_behind)
            };
            self.due_at(due.0, due.1);
            let is_behind = is_behind || !self.attach(&running, &compiled);
            let is_something = !taken.is_empty();
            if !is_something && is_behind {
                looks += 1;
                if looks == LOOKS_MAX {
                    // Whoever waits asks once more, if there is time.
                    running.wake();
                    return Ok(Vec::new());
                }
                continue;
            }
            let mut handed = self.read_or_give_back(&running, &compiled, taken, bytes)?;
            if compiled.changes_events() && !handed.is_empty() {
                handed = self.change_events(&running, &compiled, handed, bytes)?;
                if handed.is_empty() {
                    // None could be changed, which may have taken long: whoever waits asks once more.
                    running.wake();
                    return Ok(handed);
                }
            }
            // All that was taken may have expired: there is more behind it.
            if !handed.is_empty() || !is_something {
                return Ok(handed);
            }
        }
    }

    /// Upcasts and transforms what was handed out, to about so many bytes; the rest is taken back. What cannot be is given up; what was behind it in its key was taken back then.
    fn change_events(
        &self,
        running: &Running,
        compiled: &Compiled,
        handed: Vec<Handed>,
        bytes: usize,
    ) -> Result<Vec<Handed>, NotDone> {
        let registry = self.schemas.current();
        let (mut taken_back, mut released) = (HashSet::new(), Vec::new());
        let mut changed: Vec<Handed> = Vec::with_capacity(handed.len());
        let mut sum = 0usize;
        for one in handed {
            // What becomes of an event may be larger than it was.
            if sum > bytes {
                released.push((one.id, one.token));
                continue;
            }
            if one.key.is_some_and(|key| taken_back.contains(&key)) {
                released.push((one.id, one.token));
                continue;
            }
            let (id, token, key) = (one.id, one.token, one.key);
            match one.changed(&registry, compiled) {
                Ok(one) => {
                    let transformed = one.transformed.as_ref().map_or(0, |transformed| transformed.body.len());
                    sum = sum.saturating_add(one.bytes().max(transformed));
                    changed.push(one);
                }
                // One whose run has begun waits for it: it is looked at when its turn comes.
                Err((failure, reason)) => {
                    taken_back.extend(key);
                    let is_first = !changed.iter().any(|before| before.key.is_some() && before.key == key);
                    if is_first {
                        let answers = vec![(id, token, Answer::GiveUp { failure, reason })];
                        self.answer(&running.name, answers)?;
                    } else {
                        released.push((id, token));
                    }
                }
            }
        }
        take_back(&mut running.inner.lock(), &released);
        Ok(changed)
    }

    /// Takes back what was handed out and reached nobody: the attempts count for nothing. What is not in flight any more
    /// is passed over.
    pub fn give_back(&self, name: &str, handed: &[(DeliveryId, u64)]) {
        // Of a subscription that was deleted meanwhile nothing is in flight.
        let Ok(running) = self.running(name) else { return };
        take_back(&mut running.inner.lock(), handed);
        running.wake();
    }

    /// Lets the router feed a subscription that has caught up. Whether it was behind still: something was routed since
    /// it looked.
    fn attach(&self, running: &Arc<Running>, compiled: &Compiled) -> bool {
        let is_candidate = {
            let inner = running.inner.lock();
            // Nothing is routed to a shadow.
            let is_fed = inner.is_attached || compiled.definition.shadow;
            !is_fed && inner.queue.is_empty() && inner.deliveries.has_room(&compiled.rules)
        };
        !is_candidate || self.subscriptions.router.lock().attach(running, &self.subscriptions.attached)
    }

    fn hand_out(&self, compiled: &Compiled, inner: &mut Inner, limit: usize, now: Timestamp) -> Vec<Taken> {
        let rate = compiled.definition.rate_limit;
        let limit = rate.map_or(limit, |rate| limit.min(inner.bucket.available(rate, now)));
        let mut token = || self.subscriptions.token();
        let HandedOut { handed, expired, given_up } =
            inner.deliveries.hand_out(limit, now, &compiled.rules, &mut token);
        inner.given_up.extend(given_up);
        if rate.is_some() {
            inner.bucket.take(handed.len());
        }
        inner.counts.expired += expired.len() as u64;
        expired.iter().for_each(|id| inner.note(OutcomeWord::Expired, *id, 0, None, now));
        inner.counts.handed_out += handed.len() as u64;
        let taken = handed.into_iter().filter_map(|id| {
            let delivery = inner.deliveries.get(id)?;
            match delivery.phase {
                Phase::InFlight { token, deadline, .. } => {
                    let (attempt, key) = (delivery.attempts, delivery.key);
                    let is_repeated = id.replay > 0 || delivery.redriven_from(id).is_some();
                    Some(Taken { id, token, attempt, deadline, key, is_repeated })
                }
                _ => None,
            }
        });
        taken.collect()
    }

    /// As [`Tenant::read_handed`], and no more than this many bytes; what is over is given back, and not all of it is read.
    /// What nobody gets because the log cannot be read was never attempted either.
    fn read_or_give_back(
        &self,
        running: &Running,
        compiled: &Compiled,
        taken: Vec<Taken>,
        bytes: usize,
    ) -> Result<Vec<Handed>, Fault> {
        let is_resolved = compiled.changes_events() || compiled.definition.data == DataForm::Resolved;
        let attempts: Vec<_> = taken.iter().map(|taken| (taken.id, taken.token)).collect();
        let give_back = |over: &[(DeliveryId, u64)]| take_back(&mut running.inner.lock(), over);
        let (mut handed, mut over) = (Vec::with_capacity(taken.len()), Vec::new());
        let (mut sum, mut read, mut cut) = (0usize, 0, HashSet::new());
        for together in taken.chunks(READ_TOGETHER) {
            if sum > bytes {
                break;
            }
            read += together.len();
            for mut one in self.read_handed(running, together, &mut cut).inspect_err(|_| give_back(&attempts))? {
                // An edited copy is delivered as it is.
                let payload = one.recorded.event().payload().filter(|_| is_resolved && one.edited.is_none());
                let payload_bytes = payload.map_or(0, |payload| usize::try_from(payload.bytes).unwrap_or(usize::MAX));
                sum = sum.saturating_add(one.bytes()).saturating_add(payload_bytes);
                if sum > bytes && !handed.is_empty() {
                    over.push((one.id, one.token));
                    continue;
                }
                if payload.is_some() {
                    one.recorded = self.resolve(one.recorded).inspect_err(|_| give_back(&attempts))?;
                }
                handed.push(one);
            }
        }
        over.extend(&attempts[read..]);
        if !over.is_empty() {
            give_back(&over);
        }
        Ok(handed)
    }

    /// Reads the events of what was handed out. One that has expired meanwhile is finished instead, unless somebody
    /// decided that it is to be delivered once more. Behind others of its key it cuts their run, which has to be in `cut` then.
    fn read_handed(&self, running: &Running, taken: &[Taken], cut: &mut HashSet<Key>) -> Result<Vec<Handed>, Fault> {
        let events = self.events_at(&taken.iter().map(|taken| taken.id.position).collect::<Vec<_>>())?;
        let now = self.world.clock.now();
        let mut handed = Vec::with_capacity(taken.len());
        for &Taken { id, token, attempt, deadline, key, is_repeated } in taken {
            // A redriven one and the original may come together.
            let Some(recorded) = events.get(&id.position).cloned() else { continue };
            if key.is_some_and(|key| cut.contains(&key)) {
                continue;
            }
            let expires = expiry(&recorded.event()).filter(|expires| !is_repeated && *expires <= now);
            if let Some(expires) = expires {
                let mut inner = running.inner.lock();
                let in_flight = inner.deliveries.in_flight_count();
                let Ok(has_ended) = inner.deliveries.expire(id, token, expires) else {
                    // Its time to be acknowledged was over, or it was forgotten by a seek, while it was read.
                    continue;
                };
                let unused = inner.uncount(in_flight);
                inner.bucket.put_back(unused);
                if has_ended {
                    inner.counts.expired += 1;
                    inner.note(OutcomeWord::Expired, id, attempt, None, now);
                } else {
                    cut.extend(key);
                }
                continue;
            }
            let edited = match id.dead_letter {
                0 => None,
                letter => self.edited_copy(&running.name, letter)?,
            };
            let log = self.log_name;
            handed.push(Handed { id, token, attempt, deadline, key, recorded, transformed: None, log, edited });
        }
        Ok(handed)
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
        let is_replayed = answers.iter().any(|(id, ..)| id.replay > 0);
        let (results, is_available, (due, now)) = {
            let mut inner = running.inner.lock();
            // Looked at while nobody else is: what one sees after another is no clock that was set back.
            let now = self.world.clock.now();
            if inner.is_deleted {
                // Since it was looked up: nobody would write down what becomes of it.
                return Err(SubscriptionRefusal::NotFound { name: name.to_owned() }.into());
            }
            let answer = |(id, token, answer): (DeliveryId, u64, Answer)| {
                let moment = Moment { rules: &compiled.rules, now, chance: self.subscriptions.chance() };
                take_answer(&mut inner, id, token, answer, moment)
                    .map_err(|why| SubscriptionRefusal::NotInFlight { position: id.position, why })
            };
            let results: Vec<_> = answers.into_iter().map(answer).collect();
            inner.measure(now);
            let is_available = inner.deliveries.is_available(&compiled.rules) || inner.may_have_more();
            // A replay that goes as fast as it can goes on when what it delivered is finished.
            let replays_now = (is_replayed && inner.wants_replays()).then_some(now);
            (results, is_available, (replays_now.or_else(|| inner.next_due(&compiled, now)), now))
        };
        self.due_at(due, now);
        if is_available {
            running.wake();
        }
        Ok(results)
    }

    /// Whether an attempt could be acknowledged now: whoever appends what a delivery has led to asks before, so that one whose time is
    /// over appends nothing.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`] and [`SubscriptionRefusal::NotInFlight`].
    pub fn may_acknowledge(&self, name: &str, id: DeliveryId, token: u64) -> Result<(), NotDone> {
        let running = self.running(name)?;
        let inner = running.inner.lock();
        if inner.is_deleted {
            return Err(SubscriptionRefusal::NotFound { name: name.to_owned() }.into());
        }
        let checked = inner.deliveries.first_in_flight(id, token);
        Ok(checked.map_err(|why| SubscriptionRefusal::NotInFlight { position: id.position, why })?)
    }

    /// Whether an event says by its id that a delivery led to it: the delivery's idempotency key, `/` and a word. So another answer to
    /// the same delivery, whatever it is, meets the first.
    pub fn is_of_delivery(&self, name: &str, id: DeliveryId, event_id: &str) -> bool {
        let key = id.idempotency_key(name, self.log_name, false);
        event_id.strip_prefix(&key).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    }

    /// What became due: deadlines that are over, and retries.
    pub(super) fn tick(&self, running: &Running) {
        let compiled = running.compiled();
        let is_held = compiled.definition.paused || self.too_many_dead_letters(&running.name).is_some();
        let is_available = {
            let mut inner = running.inner.lock();
            if inner.is_deleted {
                return;
            }
            // As in an answer.
            let now = self.world.clock.now();
            let moment = Moment { rules: &compiled.rules, now, chance: self.subscriptions.chance() };
            inner.bucket.turn_back(now);
            inner.measure(now);
            let in_flight = inner.deliveries.in_flight_count();
            let outcomes = inner.deliveries.tick(moment);
            inner.uncount(in_flight - outcomes.len());
            // What was given up makes room, or lets a key go whose next events are to be read.
            let may_go_on = !outcomes.is_empty() && inner.may_have_more() || inner.deliveries.has_reads();
            for (id, outcome) in outcomes {
                inner.counts.failed += 1;
                let attempt = match &outcome {
                    Outcome::GivenUp(given_up) => given_up.attempts,
                    Outcome::Retried(_) => inner.attempt(id),
                };
                inner.note(OutcomeWord::Failed, id, attempt, Some("no acknowledgement in time"), now);
                if let Outcome::GivenUp(given_up) = outcome {
                    inner.given_up.push_back((id, given_up));
                }
            }
            // Whoever waits is woken in vain if it could be handed nothing all the same.
            !is_held && !inner.has_too_much_to_bury() && (inner.may_hand_out(&compiled, now) || may_go_on)
        };
        if is_available {
            running.wake();
        }
    }
}

fn take_back(inner: &mut Inner, handed: &[(DeliveryId, u64)]) {
    let in_flight = inner.deliveries.in_flight_count();
    // The last of a run first: giving back one takes those behind it along. What is late is passed over.
    handed.iter().rev().for_each(|(id, token)| _ = inner.deliveries.release(*id, *token));
    let unused = inner.uncount(in_flight);
    inner.bucket.put_back(unused);
}

fn take_answer(
    inner: &mut Inner,
    id: DeliveryId,
    token: u64,
    answer: Answer,
    moment: Moment<'_>,
) -> Result<(), NotInFlight> {
    let (attempt, now) = (inner.attempt(id), moment.now);
    let in_flight = inner.deliveries.in_flight_count();
    match answer {
        Answer::Ack => {
            inner.deliveries.ack(id, token)?;
            inner.counts.acknowledged += 1;
            inner.replays.finished(id, |counts| counts.acknowledged += 1);
            inner.note(OutcomeWord::Acknowledged, id, attempt, None, now);
        }
        Answer::Nack { failure, delay_ms } => {
            let failure = failure.cut();
            let error = failure.error.clone();
            let outcome = inner.deliveries.nack(id, token, failure, delay_ms, moment)?;
            inner.uncount(in_flight - 1);
            inner.counts.failed += 1;
            inner.note(OutcomeWord::Failed, id, attempt, Some(&error), now);
            if let Outcome::GivenUp(given_up) = outcome {
                inner.given_up.push_back((id, given_up));
            }
        }
        Answer::Release => {
            inner.deliveries.release(id, token)?;
            let unused = inner.uncount(in_flight);
            inner.bucket.put_back(unused);
        }
        Answer::Extend { ms } => inner.deliveries.extend(id, token, ms, now)?,
        Answer::GiveUp { failure, reason } => {
            let failure = failure.cut();
            let error = failure.error.clone();
            let given_up = inner.deliveries.give_up(id, token, failure, reason, moment)?;
            inner.uncount(in_flight - 1);
            inner.counts.failed += 1;
            inner.note(OutcomeWord::Failed, id, attempt, Some(&error), now);
            inner.given_up.push_back((id, given_up));
        }
    }
    Ok(())
}
