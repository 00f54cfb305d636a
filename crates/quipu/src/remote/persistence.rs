//! Trying again until it succeeds, is refused for good, or nobody wants it any more.

use std::time::Duration;

use quipu_domain::delivery::Backoff;
use quipu_engine::Random;

use super::call::Trouble;
use super::ending::Ending;
use crate::{Error, SystemRandom};

/// A server that starts is there in a second or two: found soon, and not asked by many at once.
const BACKOFF: Backoff = Backoff::Exponential { first_ms: 100, factor: 2.0, max_ms: 5_000, jitter: 0.5 };
/// Longest time that a server may ask for.
const AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) struct Persistence<'a> {
    /// Once it is set there is one more try, without a wait.
    pub ending: &'a Ending,
    /// Told what may pass.
    pub report: &'a dyn Fn(&Error),
    pub is_wanted: &'a dyn Fn() -> bool,
}

impl Persistence<'_> {
    /// Nothing if it was given up.
    pub fn insist<T>(&self, attempt: impl Fn() -> Result<T, Trouble>) -> Option<Result<T, Error>> {
        for failures in 1.. {
            let is_last = self.ending.is_set();
            match attempt() {
                Ok(value) => return Some(Ok(value)),
                Err(Trouble::Lasting(error)) => return Some(Err(error)),
                Err(Trouble::Passing { error, after }) => {
                    (self.report)(&error);
                    if is_last || !(self.is_wanted)() {
                        return None;
                    }
                    self.ending.wait(pause(failures, after, chance()));
                }
            }
        }
        None
    }
}

fn pause(failures: u32, after: Duration, chance: f64) -> Duration {
    after.min(AFTER_MAX) + Duration::from_millis(BACKOFF.delay_ms(failures, chance))
}

/// Uniform in 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    SystemRandom.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_pause_doubles_up_to_five_seconds_and_is_no_shorter_than_was_asked_for() {
        let ms = |failures, after, chance| pause(failures, Duration::from_secs(after), chance).as_millis();
        assert_eq!([1, 2, 3, 6, 7, 1_000_000].map(|n| ms(n, 0, 0.0)), [100, 200, 400, 3_200, 5_000, 5_000]);
        assert_eq!([ms(1, 0, 1.0), ms(7, 0, 1.0)], [50, 2_500]);
        assert_eq!([ms(1, 3, 1.0), ms(1, 86_400, 0.0)], [3_050, 60_100]);
    }

    fn insist(ending: &Ending, wanted: u32, attempt: impl Fn(u32) -> Result<u32, Trouble>) -> (u32, Option<bool>) {
        let tries = Cell::new(0);
        let is_wanted = || tries.get() < wanted;
        let persistence = Persistence { ending, report: &|_| {}, is_wanted: &is_wanted };
        let outcome = persistence.insist(|| {
            tries.set(tries.get() + 1);
            attempt(tries.get())
        });
        (tries.get(), outcome.map(|outcome| outcome.is_ok()))
    }

    #[test]
    fn it_is_tried_until_it_succeeds_is_refused_for_good_or_is_not_wanted() {
        let error = || Error::Server { url: String::new(), reason: String::new() };
        let passing = || Err(Trouble::Passing { error: error(), after: Duration::ZERO });
        let ending = Ending::default();
        assert_eq!(insist(&ending, 9, |n| if n < 3 { passing() } else { Ok(n) }), (3, Some(true)));
        let refused = |n| if n < 2 { passing() } else { Err(Trouble::Lasting(error())) };
        assert_eq!(insist(&ending, 9, refused), (2, Some(false)));
        assert_eq!(insist(&ending, 2, |_| passing()), (2, None));
        let ends = |_| {
            ending.set();
            passing()
        };
        assert_eq!(insist(&ending, 9, ends), (2, None), "one more try, and no wait");
        assert_eq!(insist(&ending, 9, |_| passing()), (1, None));
    }
}
