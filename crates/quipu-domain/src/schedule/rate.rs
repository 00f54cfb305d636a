//! Rates: a tick every so often, counted from an anchor. They know no daylight saving time: a day is 24 hours.

use crate::Timestamp;

/// Ticks at the anchor and every so often after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    every_us: i64,
    anchor: Timestamp,
}

impl Rate {
    /// A tick every so many milliseconds, at least one, which is less than the 292,000 years that a time can be.
    pub fn new(every_ms: u64, anchor: Timestamp) -> Self {
        let every_us = i64::try_from(every_ms.max(1)).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self { every_us, anchor }
    }

    /// The first tick after a time; none if it would be after the end of time.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        self.tick(self.ticks_until(time))
    }

    /// How many ticks there are until a time, it included.
    pub(super) fn ticks_until(&self, time: Timestamp) -> i64 {
        match time.0.saturating_sub(self.anchor.0) {
            before if before < 0 => 0,
            since => since / self.every_us + 1,
        }
    }

    /// The tick of a number; the anchor is number 0.
    pub(super) fn tick(&self, number: i64) -> Option<Timestamp> {
        number.checked_mul(self.every_us)?.checked_add(self.anchor.0).map(Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_aligned_to_the_anchor() {
        let rate = Rate::new(900_000, Timestamp::parse("2026-01-01T00:05:00Z").unwrap());
        for (after, next) in [
            ("2025-12-31T00:00:00Z", "2026-01-01T00:05:00.000Z"),
            ("2026-01-01T00:04:59.999999Z", "2026-01-01T00:05:00.000Z"),
            ("2026-01-01T00:05:00Z", "2026-01-01T00:20:00.000Z"),
            ("2026-03-29T01:30:00Z", "2026-03-29T01:35:00.000Z"),
        ] {
            assert_eq!(rate.next_after(Timestamp::parse(after).unwrap()).unwrap().to_string(), next);
        }
        assert_eq!(Rate::new(1_000, Timestamp(0)).next_after(Timestamp(i64::MAX)), None);
        assert_eq!(Rate::new(u64::MAX, Timestamp(5)).next_after(Timestamp(5)), None);
    }

    proptest! {
        #[test]
        fn the_next_tick_is_less_than_one_interval_away(every_ms in 1u64..1 << 40, anchor in -(1i64 << 60)..1 << 60, ahead in 0i64..1 << 60) {
            let rate = Rate::new(every_ms, Timestamp(anchor));
            let next = rate.next_after(Timestamp(anchor + ahead)).unwrap();
            prop_assert!((1..=every_ms as i64 * 1_000).contains(&(next.0 - anchor - ahead)));
            prop_assert_eq!((next.0 - anchor) % (every_ms as i64 * 1_000), 0);
            prop_assert_eq!(rate.ticks_until(next), rate.ticks_until(Timestamp(next.0 - 1)) + 1);
        }
    }
}
