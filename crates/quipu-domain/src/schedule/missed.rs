//! Which ticks are published now: those that have come since the last one. If the process was down, the clock was set ahead, or
//! the tenant could not be written to, some of them are late, and the schedule says what becomes of those.

use serde::{Deserialize, Serialize};

use super::timetable::Timetable;
use crate::Timestamp;

/// A tick that could not be published for so long was missed.
pub const LATE_MS: i64 = 60_000;
/// Most ticks that are published at once: what a schedule of one second misses in 17 minutes.
pub const TICKS_MAX: usize = 1_000;

/// What becomes of ticks that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Missed {
    /// Only the newest tick is published.
    #[default]
    Latest,
    /// All are, those first that were to come first; of more than 1,000 the newest.
    All,
    /// None is.
    Skip,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTicks {
    /// The ticks that are published, in their order; at most [`TICKS_MAX`].
    pub publish: Vec<Timestamp>,
    /// How many have come besides and are published never.
    pub dropped: u64,
    /// The last tick that is done with: what the next question is asked with. It never goes back.
    pub last: Timestamp,
    /// The next tick; none if there is none any more.
    pub next: Option<Timestamp>,
}

impl Timetable {
    /// Which ticks are published now, after the last one that was done with (at first: when the schedule was declared). Older ones than
    /// `catchup_ms` are not looked for. By a clock that has gone back, nothing has come: a tick is done with once.
    ///
    /// Asked again with the last tick of those that were published, it gives the others.
    pub fn due(&self, missed: Missed, catchup_ms: i64, last: Timestamp, now: Timestamp) -> DueTicks {
        let after = last.max(now.plus_ms(-catchup_ms));
        let is_late = |tick: Timestamp| tick < now.plus_ms(-LATE_MS);
        let (count, newest) = self.between(after, now, TICKS_MAX);
        let was_missed = count > newest.len() as u64 || newest.front().is_some_and(|tick| is_late(*tick));
        let publish: Vec<_> = match missed {
            Missed::Latest if was_missed => newest.back().copied().into_iter().collect(),
            Missed::Skip => newest.iter().copied().filter(|tick| !is_late(*tick)).collect(),
            Missed::Latest | Missed::All => newest.iter().copied().collect(),
        };
        let last = newest.back().map_or(last, |newest| last.max(*newest));
        DueTicks { dropped: count - publish.len() as u64, publish, last, next: self.next_after(last.max(now)) }
    }
}
