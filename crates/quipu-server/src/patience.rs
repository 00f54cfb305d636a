//! How long to wait for a client that is in the middle of sending something: it may pause, but what is half there takes
//! memory from others, so on the whole it must come at some speed.
//!
//! Only waiting is counted: what the server does between two reads is not the client's fault.

use std::time::Duration;

/// Slowest that a body or a message may come on the whole, bytes a second: 256 kbit/s, half of what a poor mobile
/// connection gives. The largest body takes at most half an hour at that.
pub(crate) const BYTES_S_MIN: usize = 32 << 10;

/// The time that is left to a client. Waiting spends it, bytes earn it back, up to the longest pause.
#[derive(Debug)]
pub(crate) struct Patience {
    pause_max: Duration,
    left: Duration,
}

impl Patience {
    /// For a client that may pause for so long.
    pub(crate) fn new(pause_max: Duration) -> Self {
        Self { pause_max, left: pause_max }
    }

    /// How long to wait for the next bytes.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// The longest pause.
    pub(crate) fn pause_max(&self) -> Duration {
        self.pause_max
    }

    /// After so long there came so many bytes.
    pub(crate) fn spend(&mut self, waited: Duration, bytes: usize) {
        let earned = Duration::from_secs_f64(bytes as f64 / BYTES_S_MIN as f64);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.pause_max);
    }

    /// Something new begins: what came before does not count against it.
    pub(crate) fn renew(&mut self) {
        self.left = self.pause_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_at_least_at_the_slowest_speed_is_waited_for_and_who_sends_less_is_not_for_long() {
        let pause_max = Duration::from_secs(30);
        let second = Duration::from_secs(1);
        let seconds_waited = |bytes_s: usize| {
            let mut patience = Patience::new(pause_max);
            (0..10_000).find(|_| {
                let is_over = patience.left() < second;
                patience.spend(second, bytes_s);
                is_over
            })
        };
        assert_eq!(seconds_waited(0), Some(30));
        assert_eq!(seconds_waited(1), Some(30));
        assert_eq!(seconds_waited(BYTES_S_MIN / 2), Some(59));
        assert_eq!(seconds_waited(BYTES_S_MIN), None);
    }

    #[test]
    fn no_pause_is_longer_for_what_came_before() {
        let mut patience = Patience::new(Duration::from_secs(30));
        patience.spend(Duration::from_secs(10), 1 << 30);
        assert_eq!(patience.left(), Duration::from_secs(30));
        patience.spend(Duration::from_secs(29), 0);
        patience.renew();
        assert_eq!(patience.left(), Duration::from_secs(30));
    }
}
