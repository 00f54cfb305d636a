//! When a failed delivery is tried again, and when not any more.

use serde::{Deserialize, Serialize};

use super::attempt::Reason;
use crate::Timestamp;

/// How often and how long a delivery is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 1 to 1,000.
    #[serde(rename = "maxattempts")]
    pub max_attempts: u32,
    /// Milliseconds after the first attempt after which no further one is made, at most ten years; none for no limit.
    #[serde(rename = "maxagems", skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
    /// How long to wait between attempts.
    pub backoff: Backoff,
}

/// How long to wait before the next attempt, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Backoff {
    /// `firstms`, then `factor` times as long each time up to `maxms`, less up to `jitter` of it, so that those who
    /// failed together do not come back together (Brooker: "Exponential Backoff And Jitter", 2015).
    Exponential {
        /// Before the second attempt, milliseconds.
        #[serde(rename = "firstms")]
        first_ms: u64,
        /// At least 1.
        factor: f64,
        /// At most so long, milliseconds.
        #[serde(rename = "maxms")]
        max_ms: u64,
        /// The part that is left to chance, 0 to 1.
        jitter: f64,
    },
    /// These, one after the other; the last again and again.
    Delays {
        /// Milliseconds.
        #[serde(rename = "delaysms")]
        delays_ms: Vec<u64>,
    },
}

impl Default for RetryPolicy {
    /// 10 attempts over about 17 minutes.
    fn default() -> Self {
        let backoff = Backoff::Exponential { first_ms: 1_000, factor: 2.0, max_ms: 300_000, jitter: 0.2 };
        Self { max_attempts: 10, max_age_ms: None, backoff }
    }
}

impl Backoff {
    /// The delay after `attempts` failed ones. `chance` is uniform in 0 to 1.
    pub fn delay_ms(&self, attempts: u32, chance: f64) -> u64 {
        let before = attempts.saturating_sub(1);
        match self {
            Self::Exponential { first_ms, factor, max_ms, jitter } => {
                let full = (*first_ms as f64 * factor.powi(before.min(1_000) as i32)).min(*max_ms as f64);
                (full * (1.0 - jitter * chance)) as u64
            }
            Self::Delays { delays_ms } => {
                let at = (before as usize).min(delays_ms.len().saturating_sub(1));
                delays_ms.get(at).copied().unwrap_or(0)
            }
        }
    }

    fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Exponential { first_ms, factor, max_ms, jitter } => {
                if !(1.0..=100.0).contains(factor) {
                    Some("expected a factor of 1 to 100")
                } else if !(0.0..=1.0).contains(jitter) {
                    Some("expected a jitter of 0 to 1")
                } else if first_ms > max_ms || *max_ms > DELAY_MS_MAX {
                    Some("expected firstms not above maxms, and maxms of at most 7 days")
                } else {
                    None
                }
            }
            Self::Delays { delays_ms } => {
                (delays_ms.is_empty() || delays_ms.len() > 100 || delays_ms.iter().any(|delay| *delay > DELAY_MS_MAX))
                    .then_some("expected 1 to 100 delays of at most 7 days")
            }
        }
    }
}

/// A week: whoever needs longer wants a schedule.
pub(crate) const DELAY_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;

impl RetryPolicy {
    /// What is wrong with it, if something is.
    pub fn problem(&self) -> Option<&'static str> {
        if !(1..=1_000).contains(&self.max_attempts) {
            return Some("expected maxattempts of 1 to 1000");
        }
        self.backoff.problem()
    }

    /// Whether there is another attempt after `attempts` failed ones, if it would be made at this time; and if not, why.
    pub(crate) fn gives_up(&self, attempts: u32, first: Timestamp, next: Timestamp) -> Option<Reason> {
        if attempts >= self.max_attempts {
            return Some(Reason::AttemptsExhausted);
        }
        self.is_too_late(first, next).then_some(Reason::TooOld)
    }

    /// Whether no attempt may be made at this time.
    pub(crate) fn is_too_late(&self, first: Timestamp, next: Timestamp) -> bool {
        // None by a clock that went back.
        let age_ms = u64::try_from(next.0.saturating_sub(first.0) / 1_000).ok();
        self.max_age_ms.is_some_and(|max| age_ms.is_some_and(|age| age >= max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit_and_are_shortened_by_chance() {
        let backoff = Backoff::Exponential { first_ms: 100, factor: 2.0, max_ms: 1_000, jitter: 0.5 };
        let delays = |chance| (1..=6).map(|n| backoff.delay_ms(n, chance)).collect::<Vec<_>>();
        assert_eq!(delays(0.0), [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(delays(1.0), [50, 100, 200, 400, 500, 500]);
        assert_eq!(backoff.delay_ms(u32::MAX, 0.0), 1_000);
        let listed = Backoff::Delays { delays_ms: vec![5, 60] };
        assert_eq!((1..=4).map(|n| listed.delay_ms(n, 0.5)).collect::<Vec<_>>(), [5, 60, 60, 60]);
    }

    #[test]
    fn attempts_and_age_have_an_end() {
        let policy = RetryPolicy { max_attempts: 3, max_age_ms: Some(1_000), ..RetryPolicy::default() };
        let at = |ms: i64| Timestamp(ms * 1_000);
        assert_eq!(policy.gives_up(2, at(0), at(999)), None);
        assert_eq!(policy.gives_up(3, at(0), at(0)), Some(Reason::AttemptsExhausted));
        assert_eq!(policy.gives_up(1, at(0), at(1_000)), Some(Reason::TooOld));
        assert_eq!(policy.gives_up(1, at(1_000), at(0)), None, "a clock that went back");
        let patient = RetryPolicy { max_age_ms: Some(u64::MAX), ..policy };
        assert_eq!(patient.gives_up(1, at(0), at(1_000)), None);
    }

    #[test]
    fn policies_that_make_no_sense_are_refused() {
        let exponential = |first_ms, factor, max_ms, jitter| Backoff::Exponential { first_ms, factor, max_ms, jitter };
        for backoff in [
            exponential(1, 0.5, 10, 0.0),
            exponential(1, f64::NAN, 10, 0.0),
            exponential(1, 2.0, 10, 1.5),
            exponential(11, 2.0, 10, 0.0),
            exponential(1, 2.0, u64::MAX, 0.0),
            Backoff::Delays { delays_ms: vec![] },
            Backoff::Delays { delays_ms: vec![u64::MAX] },
        ] {
            assert!(RetryPolicy { backoff, ..RetryPolicy::default() }.problem().is_some());
        }
        assert!(RetryPolicy { max_attempts: 0, ..RetryPolicy::default() }.problem().is_some());
        assert_eq!(RetryPolicy::default().problem(), None);
    }
}
