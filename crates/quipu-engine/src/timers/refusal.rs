//! What is wrong with a timer.

use std::fmt;

use quipu_domain::limits::{TIMER_AHEAD_MS_MAX, TIMER_KEY_BYTES_MAX};
use quipu_domain::{InvalidEvent, Timestamp};

/// How far ahead a timer may be, days.
pub(crate) const AHEAD_DAYS: i64 = TIMER_AHEAD_MS_MAX / (24 * 60 * 60 * 1_000);

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
    /// Its event is of no use any more by then.
    Expired {
        /// The time.
        due: Timestamp,
        /// The event's `expirytime`.
        expires: Timestamp,
    },
    /// Its event says itself when it is to be published.
    Delayed,
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
                write!(f, "expected a time at most {AHEAD_DAYS} days ahead, found {due}")
            }
            Self::Expired { due, expires } => {
                write!(f, "expected a time before the event's expirytime {expires}, found {due}")
            }
            Self::Delayed => {
                write!(f, "expected an event without deliverat, found one: the timer says when, or publish the event")
            }
            Self::Key { bytes } => {
                write!(f, "expected a key of 1 to {TIMER_KEY_BYTES_MAX} bytes, found one of {bytes}")
            }
        }
    }
}

impl std::error::Error for InvalidTimer {}
