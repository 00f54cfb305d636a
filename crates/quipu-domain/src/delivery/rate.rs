//! A rate limit as a token bucket: `burst` at once, `per_second` in the long run.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How many deliveries a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RateLimit {
    /// Deliveries a second; more than 0.
    #[serde(rename = "persecond")]
    pub per_second: f64,
    /// Deliveries at once; at least 1.
    pub burst: u32,
}

/// What is left of a rate limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    tokens: f64,
    filled: Option<Timestamp>,
}

impl RateLimit {
    /// What is wrong with it, if something is.
    pub fn problem(&self) -> Option<&'static str> {
        let is_rate = self.per_second > 0.0 && self.per_second <= 1e9;
        (!is_rate || self.burst == 0).then_some("expected persecond above 0 (at most 1e9) and burst of at least 1")
    }
}

impl TokenBucket {
    /// How many may go now.
    pub fn available(&mut self, limit: RateLimit, now: Timestamp) -> usize {
        let burst = f64::from(limit.burst);
        match self.filled {
            None => self.tokens = burst,
            // A clock that went back gives nothing.
            Some(before) => {
                let seconds = now.0.saturating_sub(before.0).max(0) as f64 / 1e6;
                self.tokens = (self.tokens + seconds * limit.per_second).min(burst);
            }
        }
        self.filled = Some(now);
        self.tokens as usize
    }

    /// Takes tokens that were available.
    pub fn take(&mut self, count: usize) {
        self.tokens -= count as f64;
    }

    /// Gives back what was taken and is not used; there are never more than go at once.
    pub fn put_back(&mut self, count: usize) {
        self.tokens += count as f64;
    }

    /// Goes on from now, if the clock was set back: what is due at its rate is counted from there.
    pub fn turn_back(&mut self, now: Timestamp) {
        self.filled = self.filled.map(|filled| filled.min(now));
    }

    /// When the next one may go.
    pub fn next(&self, limit: RateLimit) -> Option<Timestamp> {
        let missing = (1.0 - self.tokens).max(0.0);
        self.filled.map(|filled| Timestamp(filled.0.saturating_add((missing / limit.per_second * 1e6).ceil() as i64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let limit = RateLimit { per_second: 10.0, burst: 5 };
        let mut bucket = TokenBucket::default();
        let at = |ms: i64| Timestamp(ms * 1_000);
        assert_eq!(bucket.available(limit, at(0)), 5);
        bucket.take(5);
        assert_eq!(bucket.available(limit, at(50)), 0);
        assert_eq!(bucket.next(limit), Some(at(100)));
        let mut given = 0;
        for ms in (0..10_000).step_by(7) {
            let count = bucket.available(limit, at(100 + ms));
            bucket.take(count);
            given += count;
        }
        assert!((99..=101).contains(&given), "{given} in 10 s at 10 a second");
        assert_eq!(bucket.available(limit, at(0)), 0);
    }
}
