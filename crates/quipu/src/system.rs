//! The real clock and the real randomness, which the engine is handed. The crash simulator has its own.

use std::time::{SystemTime, UNIX_EPOCH};

use quipu_domain::Timestamp;
use quipu_engine::{Clock, Random};

/// The clock of the machine, to the microsecond. It may jump; the engine never lets recorded times go back.
///
/// ```
/// use quipu_engine::Clock;
/// assert!(quipu::SystemClock.now() > quipu::Timestamp(0));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970: recorded times only have to be in order.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The random bytes of the operating system.
///
/// ```
/// use quipu_engine::Random;
/// let mut nonce = [0; 16];
/// quipu::SystemRandom.fill(&mut nonce);
/// assert_ne!(nonce, [0; 16]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness a nonce could recur and old bytes of a disk be read as new ones: better to stop.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
