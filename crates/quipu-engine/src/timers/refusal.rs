//! What is wrong with a timer.

use std::fmt;

use quipu_domain::limits::{TIMER_AHEAD_MS_MAX, TIMER_KEY_BYTES_MAX};
use quipu_domain::{InvalidEvent, Timestamp};

/// Why a timer cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidTimer {
    /// Its event is no event.
    Event(InvalidEvent),
    /// Its time is later than a timer may wait.
    TooFar {
        /// The time.
        due: Timestamp,
    },
    /// Its key is empty or too long.
    Key {
        /// How long it is.
        bytes: usize,
    },
}

impl From<InvalidEvent> for InvalidTimer {
    fn from(invalid: InvalidEvent) -> Self {
        Self::Event(invalid)
    }
}

impl fmt::Display for InvalidTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(invalid) => invalid.fmt(f),
            Self::TooFar { due } => {
                let days = TIMER_AHEAD_MS_MAX / (24 * 60 * 60 * 1_000);
                write!(f, "expected a time at most {days} days ahead, found {due}")
            }
            Self::Key { bytes } => {
                write!(f, "expected a key of 1 to {TIMER_KEY_BYTES_MAX} bytes, found one of {bytes}")
            }
        }
    }
}

impl std::error::Error for InvalidTimer {}
