//! Why a subscription is not moving, in one sentence and in data. What is not known is said to be unknown, never zero.

use std::sync::atomic::Ordering;

use quipu_domain::Timestamp;
use quipu_domain::delivery::{Delivery, DeliveryId, Phase};
use quipu_store::Fault;

use super::refusal::NotDone;
use super::running::{Inner, Running};
use crate::tenant::Tenant;

/// Deliveries that are named.
const NAMED_MAX: usize = 10;

/// Why it stands still, the first reason that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// Somebody paused it.
    Paused,
    /// It is paused because its stored definition is not accepted any more.
    DefinitionRefused {
        /// Which member, and why.
        reason: String,
    },
    /// As many of its dead letters are open as may be: nothing is delivered before somebody decides about some.
    TooManyDeadLetters {
        /// How many are open.
        open: u64,
        /// How many may be.
        limit: u64,
    },
    /// Nothing waits: no event that was looked at is unfinished, and all were looked at.
    NoMatchSince {
        /// The newest position that was looked at.
        position: u64,
    },
    /// As many are in flight as may be; none of its own while an endpoint has all it may have from others.
    WaitingForAcks {
        /// The oldest of them, and when their answers are due.
        deliveries: Vec<(u64, Timestamp)>,
        /// How many there are.
        count: usize,
    },
    /// Every event that waits belongs to a key that waits for a decision.
    KeyParked {
        /// The event that parks it.
        position: u64,
        /// Its dead letter.
        dead_letter: u64,
    },
    /// What waits is due later.
    WaitingForRetry {
        /// The next event.
        position: u64,
        /// When.
        until: Timestamp,
        /// How many wait.
        count: usize,
    },
    /// The rate limit lets nothing go before this time.
    RateLimited {
        /// When the next may go.
        until: Timestamp,
    },
    /// It looks at events that it has not seen yet.
    CatchingUp {
        /// How many there are.
        events: u64,
        /// How many it looks at in a second, if that is known.
        per_second: Option<u64>,
    },
    /// There is something to do, and no consumer waits for it.
    NobodyAsks {
        /// Deliveries that are ready.
        ready: usize,
        /// Events that nobody has looked at, and that may match.
        unseen: u64,
    },
}

/// How far it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Matching events that are not finished; not known while there are events that nobody has looked at, or more behind
    /// a blocked key than are remembered.
    pub events: Option<u64>,
    /// Events that nobody has looked at.
    pub unseen: u64,
    /// Age of the oldest event that is unfinished or unseen, milliseconds; none if there is none.
    pub age_ms: Option<u64>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Why.
    pub standstill: Standstill,
    /// How far behind.
    pub lag: Lag,
    /// What is in flight, whatever the reason is: the oldest deliveries, and when their answers are due.
    pub in_flight: Vec<(u64, Timestamp)>,
    /// How many deliveries are in flight.
    pub in_flight_count: usize,
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
        let (unseen, oldest) = self.unseen(&inner);
        let standstill = match open.filter(|_| !running.compiled().definition.paused) {
            Some(open) => Standstill::TooManyDeadLetters { open, limit: self.options.dead_letters_max },
            None => standstill(&running, &mut inner, unseen, now),
        };
        let unfinished = inner.deliveries.iter().count() + inner.queue.len();
        let (in_flight, in_flight_count) = (in_flight(&inner), inner.deliveries.summary().in_flight);
        // What waits behind a blocked key is not finished either.
        let unfinished = inner.deliveries.waiting_behind().map(|behind| (unfinished + behind) as u64);
        drop(inner);
        let age_ms = self.age_ms(oldest, now)?;
        let lag = Lag { events: unfinished.filter(|_| unseen == 0), unseen, age_ms };
        Ok(Explained { standstill, lag, in_flight, in_flight_count })
    }

    /// How many events nobody has looked at, and the position of the oldest that is not finished.
    fn unseen(&self, inner: &Inner) -> (u64, Option<u64>) {
        let looked_at = match inner.is_attached {
            true => self.subscriptions.routed_to.load(Ordering::Acquire).max(inner.deliveries.scan()),
            false => inner.deliveries.scan(),
        };
        let unseen = self.position().saturating_sub(looked_at);
        let first = inner.deliveries.iter().next().map(|(id, _)| id.position);
        let queued = inner.queue.front().map(|matched| matched.position);
        let next = (unseen > 0).then_some(looked_at + 1);
        (unseen, [first, queued, next].into_iter().flatten().min())
    }

    fn age_ms(&self, position: Option<u64>, now: Timestamp) -> Result<Option<u64>, Fault> {
        let Some(position) = position else { return Ok(None) };
        let recorded = self.event_at(position)?;
        Ok(recorded.map(|recorded| (now.0.saturating_sub(recorded.stamp.recorded_time.0) / 1_000).max(0) as u64))
    }
}

fn in_flight(inner: &Inner) -> Vec<(u64, Timestamp)> {
    let due = |(id, delivery): (DeliveryId, &Delivery)| match delivery.phase {
        Phase::InFlight { deadline, .. } => Some((id.position, deadline)),
        _ => None,
    };
    inner.deliveries.iter().filter_map(due).take(NAMED_MAX).collect()
}

fn standstill(running: &Running, inner: &mut Inner, unseen: u64, now: Timestamp) -> Standstill {
    let compiled = running.compiled();
    let summary = inner.deliveries.summary();
    if let Some(refused) = &compiled.refused {
        return Standstill::DefinitionRefused { reason: refused.refusal.at_its_place() };
    }
    if compiled.definition.paused {
        return Standstill::Paused;
    }
    if inner.deliveries.is_available(&compiled.rules) {
        if let Some(limit) = compiled.definition.rate_limit
            && inner.bucket.available(limit, now) == 0
            && let Some(until) = inner.bucket.next(limit)
        {
            return Standstill::RateLimited { until };
        }
        return Standstill::NobodyAsks { ready: summary.ready, unseen };
    }
    if unseen > 0 && inner.deliveries.has_room(&compiled.rules) {
        // Whoever asks looks at the log first: without anybody it does not catch up.
        return match running.watchers.lock().is_empty() {
            true => Standstill::NobodyAsks { ready: summary.ready, unseen },
            false => {
                let per_second = inner.pace.per_second().map(|pace| pace.ceil() as u64);
                Standstill::CatchingUp { events: unseen, per_second }
            }
        };
    }
    if !inner.queue.is_empty() && inner.deliveries.has_room(&compiled.rules) {
        return Standstill::NobodyAsks { ready: inner.queue.len(), unseen };
    }
    if summary.in_flight > 0 {
        return Standstill::WaitingForAcks { deliveries: in_flight(inner), count: summary.in_flight };
    }
    let waiting = inner.deliveries.iter().filter_map(|(id, delivery)| match delivery.phase {
        Phase::Waiting { until } => Some((until, id.position)),
        _ => None,
    });
    if let Some((until, position)) = waiting.min() {
        return Standstill::WaitingForRetry { position, until, count: summary.waiting };
    }
    let parked = inner.deliveries.iter().find_map(|(id, delivery)| match delivery.phase {
        Phase::Parked { dead_letter } => Some((id.position, dead_letter)),
        _ => None,
    });
    match parked {
        Some((position, dead_letter)) => Standstill::KeyParked { position, dead_letter },
        None => Standstill::NoMatchSince { position: inner.deliveries.scan() },
    }
}

impl std::fmt::Display for Standstill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paused => f.write_str("It is paused; resume it."),
            Self::DefinitionRefused { reason } => {
                write!(f, "It is paused, since its definition is not accepted any more; change it: {reason}.")
            }
            Self::TooManyDeadLetters { open, limit } => write!(
                f,
                "{open} of its dead letters {} open, and at most {limit} may be; redrive or discard some, and it goes on.",
                if *open == 1 { "is" } else { "are" }
            ),
            Self::NoMatchSince { position } => {
                write!(
                    f,
                    "Idle: every event up to position {position} was looked at, and none that matches is unfinished."
                )
            }
            Self::WaitingForAcks { count: 0, .. } => {
                f.write_str("Waiting for others: as many webhooks are on their way to its endpoint as may be.")
            }
            Self::WaitingForAcks { deliveries, count } => {
                let (position, due) = deliveries.first().copied().unwrap_or_default();
                let count = counted(*count);
                write!(f, "Waiting for answers to {count}, the oldest of position {position}, due {due}.")
            }
            Self::KeyParked { position, dead_letter } => write!(
                f,
                "A key is parked by the event at position {position}; redrive or discard dead letter {dead_letter}."
            ),
            Self::WaitingForRetry { position, until, count: 1 } => {
                write!(f, "1 delivery waits for its next attempt; position {position} is tried at {until}.")
            }
            Self::WaitingForRetry { position, until, count } => {
                write!(f, "{count} deliveries wait for their next attempt; position {position} is tried at {until}.")
            }
            Self::RateLimited { until } => write!(f, "The rate limit lets the next delivery go at {until}."),
            Self::CatchingUp { events, per_second: None } => {
                let events = are(*events, "event", "events");
                write!(f, "Catching up: {events} still to be looked at; how fast is not known yet.")
            }
            Self::CatchingUp { events, per_second: Some(pace) } => {
                let (seconds, events) = (events.div_ceil(*pace), are(*events, "event", "events"));
                write!(f, "Catching up: {events} still to be looked at, at {pace} a second: about {seconds} s.")
            }
            Self::NobodyAsks { ready, unseen: 0 } => {
                let them = if *ready == 1 { "it" } else { "them" };
                write!(f, "{} ready, and no consumer asks for {them}.", are(*ready as u64, "delivery", "deliveries"))
            }
            Self::NobodyAsks { ready: 0, unseen } => write!(f, "No consumer asks; {}.", not_looked_at(*unseen)),
            Self::NobodyAsks { ready, unseen } => {
                let (ready, unseen) = (are(*ready as u64, "delivery", "deliveries"), not_looked_at(*unseen));
                write!(f, "{ready} ready and {unseen}, and no consumer asks for them.")
            }
        }
    }
}

/// So many of something and their verb, in words.
fn are(count: u64, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one} is"),
        count => format!("{count} {more} are"),
    }
}

fn not_looked_at(events: u64) -> String {
    match events {
        1 => "1 event was not looked at yet".into(),
        events => format!("{events} events were not looked at yet"),
    }
}

/// So many deliveries, in words.
fn counted(count: usize) -> String {
    match count {
        1 => "1 delivery".into(),
        count => format!("{count} deliveries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_something_is_said_in_the_singular() {
        let until = Timestamp(0);
        for (standstill, expected) in [
            (
                Standstill::TooManyDeadLetters { open: 1, limit: 1 },
                "1 of its dead letters is open, and at most 1 may be",
            ),
            (Standstill::TooManyDeadLetters { open: 2, limit: 2 }, "2 of its dead letters are open"),
            (
                Standstill::WaitingForAcks { deliveries: vec![(7, until)], count: 1 },
                "Waiting for answers to 1 delivery,",
            ),
            (Standstill::WaitingForRetry { position: 7, until, count: 1 }, "1 delivery waits for its next attempt"),
            (Standstill::CatchingUp { events: 1, per_second: None }, "Catching up: 1 event is still"),
            (Standstill::CatchingUp { events: 2, per_second: None }, "Catching up: 2 events are still"),
            (
                Standstill::CatchingUp { events: 1, per_second: Some(5) },
                "1 event is still to be looked at, at 5 a second",
            ),
            (Standstill::NobodyAsks { ready: 1, unseen: 0 }, "1 delivery is ready, and no consumer asks for it."),
            (Standstill::NobodyAsks { ready: 2, unseen: 0 }, "2 deliveries are ready, and no consumer asks for them."),
            (Standstill::NobodyAsks { ready: 0, unseen: 1 }, "No consumer asks; 1 event was not looked at yet."),
            (
                Standstill::NobodyAsks { ready: 1, unseen: 1 },
                "1 delivery is ready and 1 event was not looked at yet, and no consumer asks for them.",
            ),
            (Standstill::NobodyAsks { ready: 0, unseen: 3 }, "No consumer asks; 3 events were not looked at yet."),
        ] {
            let said = standstill.to_string();
            assert!(said.contains(expected), "expected {expected}, found {said}");
        }
    }
}
