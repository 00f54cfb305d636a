//! The circuit breaker of an endpoint: after failures in a row it is left alone for a while, then one probe decides
//! (Nygard: "Release It!", 2007).

use crate::Timestamp;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long it stays open the first time, milliseconds, and at most: doubled by each probe that fails.
const OPEN_MS: (i64, i64) = (5_000, 300_000);

/// Whether an endpoint is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// It works: everything goes.
    Closed,
    /// It failed: nothing goes before this time.
    Open {
        /// When a probe may go.
        until: Timestamp,
    },
    /// One probe is on its way.
    Probing,
}

/// What an endpoint's answers say about it.
#[derive(Clone, Copy, Debug)]
pub struct Circuit {
    state: CircuitState,
    /// When it was opened, by the clock of now.
    since: Timestamp,
    failures: u32,
    open_ms: i64,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { state: CircuitState::Closed, since: Timestamp::default(), failures: 0, open_ms: OPEN_MS.0 }
    }
}

impl Circuit {
    /// What it is.
    pub fn state(&self) -> CircuitState {
        self.state
    }

    /// Takes note of the time before anything is judged by it: a clock that is set back leaves it open for no longer from
    /// now on than it was to be in all.
    pub fn time_is(&mut self, now: Timestamp) {
        let back_us = self.since.0.saturating_sub(now.0);
        if let CircuitState::Open { until } = &mut self.state
            && back_us > 0
        {
            until.0 = until.0.saturating_sub(back_us);
            self.since = now;
        }
    }

    /// Whether a request may go now; asking when the time has come makes it the probe.
    pub fn lets_through(&mut self, now: Timestamp) -> bool {
        self.time_is(now);
        match self.state {
            CircuitState::Closed => true,
            CircuitState::Probing => false,
            CircuitState::Open { until } if now < until => false,
            CircuitState::Open { .. } => {
                self.state = CircuitState::Probing;
                true
            }
        }
    }

    /// The endpoint answered as it should.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The endpoint failed, or asks to be left alone until a time (`Retry-After`).
    pub fn failed(&mut self, now: Timestamp, retry_after: Option<Timestamp>) {
        self.failures = self.failures.saturating_add(1);
        let is_probe = self.state == CircuitState::Probing;
        if is_probe {
            self.open_ms = (self.open_ms * 2).min(OPEN_MS.1);
        }
        let pause = (is_probe || self.failures >= FAILURES_MAX).then(|| now.plus_ms(self.open_ms));
        if let Some(until) = pause.max(retry_after) {
            (self.state, self.since) = (CircuitState::Open { until }, now);
        }
    }

    /// The probe ended without an outcome: another one may go at once.
    pub fn abandoned(&mut self, now: Timestamp) {
        if self.state == CircuitState::Probing {
            (self.state, self.since) = (CircuitState::Open { until: now }, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_probe_decides() {
        let mut circuit = Circuit::default();
        for _ in 0..4 {
            circuit.failed(at(0), None);
        }
        circuit.succeeded();
        for _ in 0..4 {
            circuit.failed(at(0), None);
            assert!(circuit.lets_through(at(0)));
        }
        circuit.failed(at(0), None);
        assert_eq!(circuit.state(), CircuitState::Open { until: at(5_000) });
        assert!(!circuit.lets_through(at(4_999)));
        assert!(circuit.lets_through(at(5_000)));
        assert!(!circuit.lets_through(at(5_000)), "one probe at a time");
        circuit.failed(at(5_100), None);
        assert_eq!(circuit.state(), CircuitState::Open { until: at(15_100) });
        assert!(circuit.lets_through(at(15_100)));
        circuit.succeeded();
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[test]
    fn an_endpoint_that_asks_to_wait_is_left_alone_at_once() {
        let mut circuit = Circuit::default();
        circuit.failed(at(0), Some(at(60_000)));
        assert_eq!(circuit.state(), CircuitState::Open { until: at(60_000) });
        let mut circuit = Circuit::default();
        circuit.failed(at(0), Some(at(1_000)));
        assert_eq!(circuit.state(), CircuitState::Open { until: at(1_000) }, "no longer than it asks");
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_it_open_for_no_longer_than_it_was_to_be() {
        let mut circuit = Circuit::default();
        circuit.failed(at(3_600_000), Some(at(3_660_000)));
        assert!(!circuit.lets_through(at(10)));
        assert_eq!(circuit.state(), CircuitState::Open { until: at(60_010) });
        assert!(!circuit.lets_through(at(60_009)));
        assert!(circuit.lets_through(at(60_010)));
    }

    #[test]
    fn a_probe_without_an_outcome_makes_room_for_another() {
        let mut circuit = Circuit::default();
        circuit.failed(at(0), Some(at(1_000)));
        assert!(circuit.lets_through(at(1_000)));
        circuit.abandoned(at(2_000));
        assert!(circuit.lets_through(at(2_000)));
        circuit.succeeded();
        circuit.abandoned(at(3_000));
        assert_eq!(circuit.state(), CircuitState::Closed);
    }
}
