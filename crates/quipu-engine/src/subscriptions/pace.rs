//! How fast a subscription looks at the log, so that one that catches up can say for how long.

use quipu_domain::Timestamp;

/// The shortest time that a pace is taken from, microseconds.
const SPAN_US: i64 = 1_000_000;

/// Where the scan was, and how fast it went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    begun: Option<(Timestamp, u64)>,
    per_second: Option<f64>,
}

impl Pace {
    /// Takes note of where the scan is.
    pub fn measure(&mut self, now: Timestamp, scan: u64) {
        // From a time that is still to come nothing is measured: the clock was set back.
        let Some((at, before)) = self.begun.filter(|(at, _)| *at <= now) else {
            self.begun = Some((now, scan));
            return;
        };
        let elapsed = now.0.saturating_sub(at.0);
        if elapsed >= SPAN_US {
            // A seek back is no pace.
            let looked_at = scan.checked_sub(before).filter(|count| *count > 0);
            self.per_second = looked_at.map(|count| count as f64 / (elapsed as f64 / 1e6));
            self.begun = Some((now, scan));
        }
    }

    /// Events a second; not known before it has been measured, or while nothing moves.
    pub fn per_second(&self) -> Option<f64> {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_known_after_a_second_and_not_while_nothing_moves() {
        let mut pace = Pace::default();
        let at = |ms: i64| Timestamp(ms * 1_000);
        pace.measure(at(0), 100);
        pace.measure(at(500), 600);
        assert_eq!(pace.per_second(), None);
        pace.measure(at(2_000), 1_100);
        assert_eq!(pace.per_second(), Some(500.0));
        pace.measure(at(3_000), 1_100);
        assert_eq!(pace.per_second(), None);
        pace.measure(at(4_000), 10);
        assert_eq!(pace.per_second(), None);
    }

    #[test]
    fn a_pace_is_known_again_a_second_after_the_clock_went_back() {
        let mut pace = Pace::default();
        let at = |ms: i64| Timestamp(ms * 1_000);
        pace.measure(at(3_600_000), 100);
        pace.measure(at(3_601_000), 200);
        assert_eq!(pace.per_second(), Some(100.0));
        pace.measure(at(0), 300);
        pace.measure(at(1_000), 500);
        assert_eq!(pace.per_second(), Some(200.0));
    }
}
