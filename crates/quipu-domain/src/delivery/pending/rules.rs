//! What deliveries are judged by: the subscription's policy, and the time and chance of one decision.

use super::super::retry::RetryPolicy;
use crate::Timestamp;

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
