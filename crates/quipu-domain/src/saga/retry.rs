//! How often a step is tried, on top of the waiting that deliveries know.

use serde::{Deserialize, Serialize};

use crate::delivery;
use crate::span::Span;

/// When a step is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Retry {
    /// Attempts in all, the first included; 1 to 100.
    pub max: u16,
    /// How long to wait between them.
    #[serde(default)]
    pub backoff: Backoff,
    /// After what; timeouts only unless said otherwise.
    #[serde(default = "timeouts", skip_serializing_if = "is_timeouts")]
    pub on: Vec<Cause>,
}

/// What another attempt is made after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Cause {
    /// Nobody answered in time.
    Timeout,
    /// It was refused: `fail_on`.
    Failure,
}

/// How long to wait between attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected exponential, none, a list of waits such as [1s, 10s], or an object with first, factor, max and jitter"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Backoff {
    /// By its name.
    Named(BackoffName),
    /// These, one after the other; the last again and again.
    Delays(Vec<Span>),
    /// Longer and longer.
    Growing(Growing),
}

/// The ways of waiting that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum BackoffName {
    /// 1 s, doubled each time up to 5 minutes, less up to a fifth.
    Exponential,
    /// At once.
    None,
}

/// `first`, then `factor` times as long each time up to `max`, less up to `jitter` of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Growing {
    /// Before the second attempt.
    pub first: Span,
    /// 1 to 100.
    #[serde(default = "factor")]
    pub factor: f64,
    /// At most so long, 5 minutes unless said otherwise.
    #[serde(default = "longest")]
    pub max: Span,
    /// The part that is left to chance, 0 to 1.
    #[serde(default = "jitter")]
    pub jitter: f64,
}

fn timeouts() -> Vec<Cause> {
    vec![Cause::Timeout]
}

fn is_timeouts(on: &[Cause]) -> bool {
    on == [Cause::Timeout]
}

fn factor() -> f64 {
    2.0
}

fn longest() -> Span {
    Span::of_ms(300_000)
}

fn jitter() -> f64 {
    0.2
}

/// Most attempts of a step.
const ATTEMPTS_MAX: u16 = 100;

impl Default for Backoff {
    fn default() -> Self {
        Self::Named(BackoffName::Exponential)
    }
}

impl Backoff {
    fn compile(&self) -> delivery::Backoff {
        match self {
            Self::Named(BackoffName::Exponential) => delivery::RetryPolicy::default().backoff,
            Self::Named(BackoffName::None) => delivery::Backoff::Delays { delays_ms: vec![0] },
            Self::Delays(spans) => delivery::Backoff::Delays { delays_ms: spans.iter().map(|span| span.ms).collect() },
            Self::Growing(Growing { first, factor, max, jitter }) => {
                delivery::Backoff::Exponential { first_ms: first.ms, factor: *factor, max_ms: max.ms, jitter: *jitter }
            }
        }
    }
}

/// A retry as the machine goes by it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tries {
    /// Attempts in all.
    pub max: u16,
    pub backoff: delivery::Backoff,
    pub on_timeout: bool,
    pub on_failure: bool,
}

impl Tries {
    /// One attempt.
    pub fn once() -> Self {
        Self { max: 1, backoff: delivery::Backoff::Delays { delays_ms: vec![0] }, on_timeout: false, on_failure: false }
    }

    /// What a compensation gets that says nothing else: as many as a delivery.
    pub fn of_compensation() -> Self {
        let policy = delivery::RetryPolicy::default();
        Self { max: 10, backoff: policy.backoff, on_timeout: true, on_failure: true }
    }

    pub fn of(retry: &Retry) -> Result<Self, String> {
        if !(1..=ATTEMPTS_MAX).contains(&retry.max) {
            return Err(format!("expected max of 1 to {ATTEMPTS_MAX} attempts, found {}", retry.max));
        }
        let backoff = retry.backoff.compile();
        let policy = delivery::RetryPolicy { max_attempts: 1, max_age_ms: None, backoff };
        match policy.problem() {
            Some(problem) => Err(problem.replace("firstms", "first").replace("maxms", "max")),
            None => Ok(Self {
                max: retry.max,
                backoff: policy.backoff,
                on_timeout: retry.on.contains(&Cause::Timeout),
                on_failure: retry.on.contains(&Cause::Failure),
            }),
        }
    }

    /// A compensation is tried again whatever it failed by.
    pub fn of_any_failure(retry: &Retry) -> Result<Self, String> {
        Ok(Self { on_timeout: true, on_failure: true, ..Self::of(retry)? })
    }
}
