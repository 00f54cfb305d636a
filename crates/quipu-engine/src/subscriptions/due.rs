//! When something is done again that is done every so often, by a clock that may be set back: that puts it off by no more
//! than the interval.

use std::sync::atomic::{AtomicI64, Ordering};

use quipu_domain::Timestamp;

/// A time at which something is due; at once, if nobody said when.
#[derive(Debug)]
pub(crate) struct Due(AtomicI64);

impl Default for Due {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Due {
    /// How long it is until then, microseconds; none if it is due now, being done every so many milliseconds.
    pub fn wait_us(&self, now: Timestamp, every_ms: i64) -> Option<i64> {
        let wait_us = self.0.load(Ordering::Relaxed).saturating_sub(now.0);
        (1..=every_ms * 1_000).contains(&wait_us).then_some(wait_us)
    }

    /// It is due next then.
    pub fn next_at(&self, time: Timestamp) {
        self.0.store(time.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_first_then_after_its_interval_and_when_the_clock_is_set_back_beyond_that() {
        let due = Due::default();
        let wait_us = |us| due.wait_us(Timestamp(us), 10);
        assert_eq!(wait_us(0), None);
        due.next_at(Timestamp(50_000));
        assert_eq!([39_999, 40_000, 49_999, 50_000, 60_000].map(wait_us), [None, Some(10_000), Some(1), None, None]);
    }
}
