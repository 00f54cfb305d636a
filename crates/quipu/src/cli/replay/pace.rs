//! How fast a replay goes, as a flag says it.

use std::time::{Duration, Instant};

use quipu_domain::Timestamp;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as it goes.
    Max,
    /// So many events a second.
    Rate(f64),
    /// So many times as fast as the events were recorded.
    Speed(f64),
}

/// `max`, `500/s` or `1x`.
pub fn pace(text: &str) -> Result<Pace, String> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    let rate = text.strip_suffix("/s").and_then(number).map(Pace::Rate);
    let speed = || text.strip_suffix('x').and_then(number).map(Pace::Speed);
    let max = || (text == "max").then_some(Pace::Max);
    rate.or_else(speed)
        .or_else(max)
        .ok_or_else(|| "expected max, a rate such as 500/s, or a speed such as 1x".to_owned())
}

impl Pace {
    pub fn rate(self) -> Option<f64> {
        if let Self::Rate(rate) = self { Some(rate) } else { None }
    }

    pub fn speed(self) -> Option<f64> {
        if let Self::Speed(speed) = self { Some(speed) } else { None }
    }

    /// How long after the first event this one is due: so many came before it, and the first was recorded then.
    fn after(self, before: u64, first: Timestamp, recorded: Timestamp) -> Duration {
        let seconds = match self {
            Self::Max => 0.0,
            Self::Rate(rate) => before as f64 / rate,
            Self::Speed(speed) => recorded.0.saturating_sub(first.0).max(0) as f64 / 1e6 / speed,
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Events as they come by.
pub struct Paced {
    pace: Pace,
    begun: Option<(Instant, Timestamp)>,
    count: u64,
}

impl Paced {
    pub fn new(pace: Pace) -> Self {
        Self { pace, begun: None, count: 0 }
    }

    /// How long the next event has to wait.
    pub fn wait(&mut self, recorded: Timestamp) -> Duration {
        let (begun, first) = *self.begun.get_or_insert((Instant::now(), recorded));
        let after = self.pace.after(self.count, first, recorded);
        self.count += 1;
        after.saturating_sub(begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_rate_a_speed_or_as_fast_as_it_goes() {
        for (text, expected) in [
            ("max", Pace::Max),
            ("500/s", Pace::Rate(500.0)),
            ("0.5/s", Pace::Rate(0.5)),
            ("1x", Pace::Speed(1.0)),
            ("0.5x", Pace::Speed(0.5)),
        ] {
            assert_eq!(pace(text), Ok(expected), "{text}");
        }
        for text in ["", "1", "-1x", "0/s", "NaNx", "infx", "x", "/s", "fast"] {
            assert!(pace(text).is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_due_by_their_number_or_by_when_they_were_recorded() {
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let after = |pace: Pace| pace.after(30, at(100), at(110)).as_secs_f64();
        assert_eq!([Pace::Max, Pace::Rate(10.0), Pace::Speed(2.0)].map(after), [0.0, 3.0, 5.0]);
        assert_eq!(Pace::Speed(1e-300).after(1, at(0), at(i64::MAX / 1_000_000)), Duration::MAX);
    }
}
