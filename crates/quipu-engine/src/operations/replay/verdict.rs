//! What a replay came to. It is in the log with the operation, and says of which log: by the chain hashes at the ends of its range.

use serde::{Deserialize, Serialize};

use super::{Replay, ReplayRun};
use crate::audit::Head;
use crate::subscriptions::ReplayCounts;

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayVerdict {
    /// In a word.
    pub outcome: ReplayOutcome,
    /// What became of its events.
    pub counts: ReplayCounts,
    /// Deliveries that were taken back unfinished when it was cancelled.
    pub withdrawn: u64,
    /// Why it ended before its time, if it did.
    pub reason: Option<String>,
    /// The log before the commit of the first position.
    pub from: Head,
    /// The log after the commit of the last position.
    pub to: Head,
}

/// What a replay came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayOutcome {
    /// Every event was delivered and acknowledged.
    Acknowledged,
    /// Every event was delivered; some were given up and are dead letters.
    DeadLettered,
    /// It ended before its time, or a seek has forgotten deliveries of it.
    Incomplete,
}

impl ReplayVerdict {
    pub(in crate::operations) fn of(replay: &Replay, run: &ReplayRun, withdrawn: u64, is_cancelled: bool) -> Self {
        let counts = run.counts;
        let is_whole = counts.looked_to >= replay.until
            && counts.finished() == counts.handed
            && counts.forgotten == 0
            && counts.handed == replay.events;
        let outcome = match counts.dead_lettered {
            _ if !is_whole || withdrawn > 0 || run.ended.is_some() => ReplayOutcome::Incomplete,
            0 => ReplayOutcome::Acknowledged,
            _ => ReplayOutcome::DeadLettered,
        };
        let cancelled = || is_cancelled.then(|| "it was cancelled".to_owned());
        let moved = || (counts.forgotten > 0).then(|| "its subscription was moved".to_owned());
        let changed = || {
            let Replay { events, .. } = replay;
            let handed = counts.handed;
            (handed != *events).then(|| format!("{handed} of {events} events: what its subscription wants was changed"))
        };
        let reason = run.ended.clone().or_else(cancelled).or_else(moved).or_else(changed);
        let (from, to) = replay.heads;
        Self { outcome, counts, withdrawn, reason, from, to }
    }
}
