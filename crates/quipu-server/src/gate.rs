//! The gate of an endpoint: whether something may be sent there now. One for each scheme, host and port, shared by all
//! subscriptions that push there and all sagas that call it: what one learns about the endpoint, the others need not find out.
//!
//! It knows neither deliveries nor requests: what may not go now waits, and is no attempt.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use quipu_domain::Timestamp;
use quipu_domain::delivery::{Circuit, CircuitState, RateLimit, TokenBucket};
use tokio::sync::watch;

/// All gates that somebody uses.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Weak<Gate>>>);

/// One endpoint.
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Tells those who wait that it opened or closed.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    circuit: Circuit,
    bucket: TokenBucket,
    /// The limits that subscriptions know of, by their seats.
    limits: BTreeMap<u64, RateLimit>,
    next_seat: u64,
}

/// How many may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// So many, now.
    Now(usize),
    /// None before this time.
    At(Timestamp),
    /// None before it is known what becomes of a probe.
    Probing,
}

/// What an answer says about the endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// It works, whatever it thinks of what was sent.
    Works,
    /// It does not, and may have said until when.
    Fails(Option<Timestamp>),
}

impl Verdict {
    /// By the status of an answer, or that there was none. A status from 400 on is about what was sent, but for those that say that the
    /// endpoint is busy.
    pub fn of_status(status: Option<u16>, retry_after: Option<Timestamp>) -> Self {
        match status {
            Some(408 | 429 | 500..=599) | None => Self::Fails(retry_after),
            Some(_) => Self::Works,
        }
    }
}

/// Whoever calls an endpoint, at its gate.
pub(crate) struct Seat {
    gate: Arc<Gate>,
    number: u64,
}

/// One request on its way. Dropped without a verdict, it says nothing.
pub(crate) struct Entry {
    gate: Arc<Gate>,
    since: Timestamp,
    /// It is a probe, and what became of it is not known yet.
    is_open_probe: bool,
}

impl Gates {
    /// A seat at the gate of an endpoint.
    pub fn seat(&self, origin: &str, limit: Option<RateLimit>) -> Seat {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.get(origin).and_then(Weak::upgrade).unwrap_or_else(|| {
            gates.retain(|_, gate| gate.strong_count() > 0);
            let gate = Arc::new(Gate { state: Mutex::default(), changed: watch::Sender::new(()) });
            gates.insert(origin.to_owned(), Arc::downgrade(&gate));
            gate
        });
        let number = {
            let mut state = gate.state();
            state.next_seat += 1;
            let number = state.next_seat;
            state.limits.extend(limit.map(|limit| (number, limit)));
            number
        };
        Seat { gate, number }
    }

    /// The circuit of an endpoint, if somebody pushes there.
    pub fn circuit(&self, origin: &str) -> Option<CircuitState> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.get(origin).and_then(Weak::upgrade).map(|gate| gate.circuit())
    }
}

impl Seat {
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.state().limits.remove(&self.number);
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the endpoint is tried.
    pub fn circuit(&self) -> CircuitState {
        self.state().circuit.state()
    }

    /// When the rate limit lets the next one go, if it holds one back now.
    pub fn limited(&self, now: Timestamp) -> Option<Timestamp> {
        let state = &mut *self.state();
        let limit = state.limit()?;
        (state.bucket.available(limit, now) == 0).then(|| state.bucket.next(limit)).flatten()
    }

    /// How many may go now; none of them has gone yet.
    pub fn room(&self, now: Timestamp) -> Room {
        let state = &mut *self.state();
        state.circuit.time_is(now);
        let most = match state.circuit.state() {
            CircuitState::Closed => usize::MAX,
            CircuitState::Probing => return Room::Probing,
            CircuitState::Open { until } if now < until => return Room::At(until),
            CircuitState::Open { .. } => 1,
        };
        let Some(limit) = state.limit() else { return Room::Now(most) };
        match (state.bucket.available(limit, now), state.bucket.next(limit)) {
            (0, Some(next)) => Room::At(next.max(now)),
            (available, _) => Room::Now(available.min(most)),
        }
    }

    /// Lets one go, if one may.
    pub fn enter(self: &Arc<Self>, now: Timestamp) -> Option<Entry> {
        let state = &mut *self.state();
        let limit = state.limit();
        let was_open = state.circuit.state() != CircuitState::Closed;
        if limit.is_some_and(|limit| state.bucket.available(limit, now) == 0) || !state.circuit.lets_through(now) {
            return None;
        }
        state.bucket.take(usize::from(limit.is_some()));
        Some(Entry { gate: Arc::clone(self), since: now, is_open_probe: was_open })
    }

    /// Tells when it opens or closes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Circuit)) {
        let is_other = {
            let circuit = &mut self.state().circuit;
            let before = circuit.state();
            change(circuit);
            circuit.state() != before
        };
        if is_other {
            self.changed.send_replace(());
        }
    }
}

impl State {
    /// The slowest: the endpoint is one, however many push there.
    fn limit(&self) -> Option<RateLimit> {
        self.limits.values().copied().min_by(|a, b| a.per_second.total_cmp(&b.per_second))
    }
}

impl Entry {
    /// What became of it, at a time. While the circuit is not closed only its probe has a say: one that was sent before
    /// knows nothing of what the endpoint asked for since.
    pub fn settle(mut self, verdict: Verdict, now: Timestamp) {
        let was_probe = std::mem::take(&mut self.is_open_probe);
        self.gate.change(|circuit| match verdict {
            _ if !was_probe && circuit.state() != CircuitState::Closed => {}
            Verdict::Works => circuit.succeeded(),
            Verdict::Fails(until) => circuit.failed(now, until),
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_open_probe {
            let since = self.since;
            self.gate.change(|circuit| circuit.abandoned(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://a.example:443";

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn fail(gate: &Arc<Gate>, now: Timestamp, until: Option<Timestamp>) {
        gate.enter(now).unwrap().settle(Verdict::Fails(until), now);
    }

    #[test]
    fn subscriptions_share_the_circuit_of_an_endpoint_for_as_long_as_one_of_them_is_there() {
        let gates = Gates::default();
        let (one, other) = (gates.seat(ORIGIN, None), gates.seat(ORIGIN, None));
        let elsewhere = gates.seat("https://a.example:444", None);
        (0..5).for_each(|_| fail(one.gate(), at(0), None));
        assert_eq!(other.gate().room(at(0)), Room::At(at(5_000)));
        assert!(other.gate().enter(at(4_999)).is_none());
        assert_eq!(elsewhere.gate().room(at(0)), Room::Now(usize::MAX));
        drop(one);
        assert_eq!(gates.circuit(ORIGIN), Some(CircuitState::Open { until: at(5_000) }));
        drop(other);
        assert_eq!(gates.circuit(ORIGIN), None);
    }

    #[test]
    fn one_probe_goes_and_decides_and_those_who_wait_are_told() {
        let gates = Gates::default();
        let seat = gates.seat(ORIGIN, None);
        let gate = seat.gate();
        fail(gate, at(0), Some(at(1_000)));
        let mut changes = gate.changes();
        assert_eq!(gate.room(at(1_000)), Room::Now(1));
        let probe = gate.enter(at(1_000)).unwrap();
        assert!(gate.enter(at(1_000)).is_none());
        assert_eq!(gate.room(at(1_000)), Room::Probing);
        // The request was stopped before it had an answer.
        drop(probe);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let probe = gate.enter(at(1_001)).unwrap();
        probe.settle(Verdict::Works, at(1_002));
        assert!(changes.has_changed().unwrap());
        assert_eq!(gate.room(at(1_002)), Room::Now(usize::MAX));
    }

    #[test]
    fn an_answer_to_what_was_sent_before_does_not_close_a_circuit_or_keep_it_open() {
        let gates = Gates::default();
        let seat = gates.seat(ORIGIN, None);
        let gate = seat.gate();
        let before: Vec<_> = (0..4).map(|_| gate.enter(at(0)).unwrap()).collect();
        fail(gate, at(0), Some(at(60_000)));
        let mut before = before.into_iter();
        before.next().unwrap().settle(Verdict::Works, at(1));
        assert_eq!(gate.room(at(1)), Room::At(at(60_000)));
        before.next().unwrap().settle(Verdict::Fails(None), at(2));
        let probe = gate.enter(at(60_000)).unwrap();
        before.next().unwrap().settle(Verdict::Fails(None), at(60_001));
        drop(before);
        assert_eq!(gate.room(at(60_001)), Room::Probing);
        probe.settle(Verdict::Works, at(60_002));
        assert_eq!(gate.circuit(), CircuitState::Closed);
    }

    #[test]
    fn the_slowest_limit_of_an_endpoint_holds_for_all_while_it_is_there() {
        let limit = |per_second| Some(RateLimit { per_second, burst: 2 });
        let gates = Gates::default();
        let (fast, slow) = (gates.seat(ORIGIN, limit(1_000.0)), gates.seat(ORIGIN, limit(1.0)));
        let free = gates.seat(ORIGIN, None);
        assert_eq!(free.gate().room(at(0)), Room::Now(2));
        for _ in 0..2 {
            free.gate().enter(at(0)).unwrap().settle(Verdict::Works, at(0));
        }
        assert!(fast.gate().enter(at(0)).is_none());
        assert_eq!(fast.gate().room(at(0)), Room::At(at(1_000)));
        assert_eq!(fast.gate().limited(at(0)), Some(at(1_000)));
        drop(slow);
        assert_eq!(fast.gate().room(at(2)), Room::Now(2));
        drop(fast);
        assert_eq!(free.gate().room(at(2)), Room::Now(usize::MAX));
    }
}
