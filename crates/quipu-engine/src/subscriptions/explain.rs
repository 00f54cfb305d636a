//! Why a subscription is not moving, in one sentence and in data. What is not known is said to be unknown, never zero.

use std::sync::atomic::Ordering;

use quipu_domain::Timestamp;
use quipu_domain::delivery::{Delivery, DeliveryId, Phase};
use quipu_store::Fault;

use super::refusal::NotDone;
use super::running::{Compiled, Inner, Running};
use super::standstill::Standstill;
use crate::tenant::Tenant;

/// Deliveries that are named.
const NAMED_MAX: usize = 10;

/// How far it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Matching events that are not finished; not known while there are events that nobody has looked at, or while the
    /// log would have to be read to know how many wait behind a key, as after a restart.
    pub events: Option<u64>,
    /// Events that nobody has looked at.
    pub unseen: u64,
    /// Age of the oldest event that is unfinished or unseen, milliseconds; none if there is none.
    pub age_ms: Option<u64>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Why.
    pub standstill: Standstill,
    /// How far behind.
    pub lag: Lag,
    /// What is in flight, whatever the reason is: the oldest deliveries, and when their answers are due.
    pub in_flight: Vec<(u64, Timestamp)>,
    /// How many deliveries are in flight.
    pub in_flight_count: usize,
    /// Whether an event was done with lately.
    pub is_moving: bool,
}

impl Tenant {
    /// Why a subscription is not moving.
    ///
    /// # Errors
    /// [`super::SubscriptionRefusal::NotFound`]; [`Fault`].
    pub fn explain_subscription(&self, name: &str) -> Result<Explained, NotDone> {
        let running = self.running(name)?;
        self.route()?;
        let now = self.world.clock.now();
        let open = self.too_many_dead_letters(name);
        let mut inner = running.inner.lock();
        let (looked_at, oldest) = self.looked_at(&inner, running.compiled().definition.shadow);
        let unseen = self.position().saturating_sub(looked_at);
        let left = left(&inner);
        let standstill = match open.filter(|_| !running.compiled().definition.paused) {
            Some(open) => Standstill::TooManyDeadLetters { open, limit: self.options.dead_letters_max },
            None => standstill(&running, &mut inner, Events { looked_at, unseen, left }, now),
        };
        let (in_flight, in_flight_count) = (in_flight(&inner), inner.deliveries.in_flight_count());
        let is_moving = inner.pace.is_moving(now);
        drop(inner);
        let age_ms = self.age_ms(oldest, now)?;
        let lag = Lag { events: left.filter(|_| unseen == 0), unseen, age_ms };
        Ok(Explained { standstill, lag, in_flight, in_flight_count, is_moving })
    }

    /// The newest position that was looked at, and the position of the oldest event that is not finished.
    fn looked_at(&self, inner: &Inner, is_shadow: bool) -> (u64, Option<u64>) {
        let looked_at = match inner.is_attached {
            // It has nothing to look at.
            _ if is_shadow => self.position(),
            true => self.subscriptions.routed_to.load(Ordering::Acquire).max(inner.deliveries.scan()),
            false => inner.deliveries.scan(),
        };
        let first = inner.deliveries.iter().next().map(|(id, _)| id.position);
        let queued = inner.queue.front().map(|matched| matched.position);
        let next = (self.position() > looked_at).then_some(looked_at + 1);
        (looked_at, [first, queued, next].into_iter().flatten().min())
    }

    fn age_ms(&self, position: Option<u64>, now: Timestamp) -> Result<Option<u64>, Fault> {
        let Some(position) = position else { return Ok(None) };
        let recorded = self.event_at(position)?;
        Ok(recorded.map(|recorded| (now.0.saturating_sub(recorded.stamp.recorded_time.0) / 1_000).max(0) as u64))
    }
}

/// What is known of the events that a subscription has before it.
#[derive(Clone, Copy)]
struct Events {
    /// The newest position that was looked at.
    looked_at: u64,
    /// How many nobody has looked at.
    unseen: u64,
    /// How many match and are not finished, if that is known.
    left: Option<u64>,
}

/// Matching events that are not finished, among them what waits behind a blocked key.
fn left(inner: &Inner) -> Option<u64> {
    let unfinished = inner.deliveries.iter().count() + inner.queue.len();
    inner.deliveries.waiting_behind().map(|behind| (unfinished + behind) as u64)
}

fn in_flight(inner: &Inner) -> Vec<(u64, Timestamp)> {
    let due = |(id, delivery): (DeliveryId, &Delivery)| match delivery.phase {
        Phase::InFlight { deadline, .. } => Some((id.position, deadline)),
        _ => None,
    };
    inner.deliveries.iter().filter_map(due).take(NAMED_MAX).collect()
}

fn standstill(running: &Running, inner: &mut Inner, events: Events, now: Timestamp) -> Standstill {
    let compiled = running.compiled();
    if let Some(refused) = &compiled.refused {
        return Standstill::DefinitionRefused { reason: refused.refusal.at_its_place() };
    }
    if compiled.definition.paused {
        return Standstill::Paused { reason: compiled.definition.paused_reason.clone() };
    }
    if inner.has_too_much_to_bury() {
        return Standstill::DeadLettersUnwritten { count: inner.given_up.len() };
    }
    let is_available = inner.deliveries.is_available(&compiled.rules);
    if is_available && let Some(until) = limited(&compiled, inner, now) {
        return Standstill::RateLimited { until };
    }
    let summary = inner.deliveries.summary();
    let is_unseen = events.unseen > 0 || !inner.queue.is_empty();
    let is_work = is_available || is_unseen && inner.deliveries.has_room(&compiled.rules);
    // What waits behind a key goes on with it, unless the key waits for something else itself.
    let is_held = summary.waiting + summary.parked > 0;
    let is_behind = is_unseen || summary.ready > 0 || inner.deliveries.has_waiting() && !is_held;
    inner.measure(now);
    let is_watched = !running.watchers.lock().is_empty();
    // Whoever waits and does not take what is there has its hands full with what it has.
    let is_taken = inner.pace.is_asked(now) || is_watched && summary.in_flight == 0;
    if is_behind && inner.pace.is_moving(now) || is_work && is_taken {
        return catching_up(inner, events, summary.parked as u64);
    }
    if is_work && !is_watched {
        return Standstill::NobodyAsks { ready: summary.ready + inner.queue.len(), unseen: events.unseen };
    }
    if summary.in_flight > 0 {
        return Standstill::WaitingForAcks { deliveries: in_flight(inner), count: summary.in_flight };
    }
    held(inner, summary.waiting).unwrap_or(match inner.matched_to {
        position if position < events.looked_at => Standstill::NoMatchSince { position, looked_at: events.looked_at },
        _ => Standstill::Idle { position: events.looked_at },
    })
}

/// When the rate limit lets the next one go, if it lets none go now.
fn limited(compiled: &Compiled, inner: &mut Inner, now: Timestamp) -> Option<Timestamp> {
    let limit = compiled.definition.rate_limit?;
    (inner.bucket.available(limit, now) == 0).then(|| inner.bucket.next(limit)).flatten()
}

/// What is parked is not done with by going on.
fn catching_up(inner: &Inner, events: Events, parked: u64) -> Standstill {
    // What waits behind a parked key does not go on either.
    let behind = inner.deliveries.waiting_behind_parked().map(|behind| behind as u64);
    let left = events.left.zip(behind).map(|(left, behind)| (left + events.unseen).saturating_sub(parked + behind));
    let per_second = inner.pace.per_second();
    let eta_s = left.zip(per_second).map(|(left, pace)| (left as f64 / pace).ceil() as u64);
    Standstill::CatchingUp { events: left, per_second, eta_s }
}

/// What deliveries wait for that nobody has.
fn held(inner: &Inner, count: usize) -> Option<Standstill> {
    let waiting = inner.deliveries.iter().filter_map(|(id, delivery)| match delivery.phase {
        Phase::Waiting { until, .. } => Some((until, id.position)),
        _ => None,
    });
    if let Some((until, position)) = waiting.min() {
        return Some(Standstill::WaitingForRetry { position, until, count });
    }
    inner.deliveries.iter().find_map(|(id, delivery)| match delivery.phase {
        Phase::Parked { dead_letter } => Some(Standstill::KeyParked { position: id.position, dead_letter }),
        _ => None,
    })
}
