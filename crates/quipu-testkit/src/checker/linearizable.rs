//! Conditional appends are linearizable: every answer fits one moment between the question and the answer, and these
//! moments stand in one order, that of the log.
//!
//! It knows when each client asked and was answered, and the log, nothing else: not the order in which the tenant took
//! what it was asked for. The log is the witness of the order, so the check takes no search (Herlihy and Wing,
//! "Linearizability: a correctness condition for concurrent objects", 1990, is the definition).

use std::collections::BTreeMap;

use quipu_domain::{Condition, ConditionFailure, Refusal};
use quipu_engine::{Appended, Published};

use crate::checker::{Verdict, violated};
use crate::{Answer, Entry, Logged, Operation, Proposal};

const NAME: &str = "linearizable";

/// Checks a history against the log that there is in the end.
pub fn check(history: &[Entry], log: &[Logged]) -> Verdict {
    let states = States::of(log);
    for (number, (entry, bounds)) in history.iter().zip(bounds(history, log.len() as u64)).enumerate() {
        let Some(answer) = &entry.answer else { continue };
        let wrong = |detail: String| Err(violated(NAME, format!("operation {number}, {bounds:?}: {detail}")));
        if bounds.low > bounds.high {
            return wrong("what was answered before it was asked stands behind what was asked after its answer".into());
        }
        for told in told(answer) {
            if told.position > bounds.high || (told.is_new && told.position <= bounds.low) {
                return wrong(format!("its event is at {}", told.position));
            }
        }
        let detail = match (answer, &entry.operation) {
            (Answer::Appended(appended), Operation::Append(proposal)) => held(appended, proposal, &states, log),
            (Answer::Refused(Refusal::ConditionsFailed(failures)), Operation::Append(proposal)) => {
                let failed = |end| failures.iter().all(|failure| has_failed(failure, proposal, end, &states, log));
                let some = (bounds.low..=bounds.high).any(failed);
                (!some).then(|| format!("at no moment {failures:?} was so"))
            }
            _ => None,
        };
        if let Some(detail) = detail {
            return wrong(detail);
        }
    }
    Ok(())
}

/// Ends of the log between which the operation's moment lies.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The newest position that anyone was told before it was asked for.
    low: u64,
    /// The last position before those that were new to what was asked for after its answer.
    high: u64,
}

struct Told {
    position: u64,
    is_new: bool,
}

fn told(answer: &Answer) -> Vec<Told> {
    match answer {
        Answer::Published(outcomes) => outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Published::Recorded(place) => Some(Told { position: place.position, is_new: true }),
                Published::Duplicate(place) => Some(Told { position: place.position, is_new: false }),
                Published::Scheduled(_) | Published::Refused(_) => None,
            })
            .collect(),
        Answer::Appended(appended) => {
            let told = |position| Told { position, is_new: !appended.is_duplicate };
            appended.events.iter().map(|place| told(place.position)).collect()
        }
        Answer::Refused(_) | Answer::Unknown(_) => Vec::new(),
    }
}

/// Of every operation, in the order of the history, which is that of asking.
fn bounds(history: &[Entry], end: u64) -> Vec<Bounds> {
    // The newest position that was told, by the time of telling.
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in history {
        let (Some(answered), Some(answer)) = (entry.answered, &entry.answer) else { continue };
        let told = told(answer).iter().map(|told| told.position).max().unwrap_or(0);
        let so_far = newest.entry(answered).or_default();
        *so_far = (*so_far).max(told);
    }
    let mut max = 0;
    newest.values_mut().for_each(|position| {
        max = max.max(*position);
        *position = max;
    });
    // The first position that was new, by the time of asking, from the last back.
    let mut first: BTreeMap<u64, u64> = BTreeMap::new();
    let mut min = end + 1;
    for entry in history.iter().rev() {
        let new = entry.answer.as_ref().map(told).unwrap_or_default();
        min = new.iter().filter(|told| told.is_new).map(|told| told.position).fold(min, u64::min);
        first.insert(entry.asked, min);
    }
    let of = |entry: &Entry| Bounds {
        low: newest.range(..entry.asked).next_back().map_or(0, |(_, position)| *position),
        high: entry.answered.and_then(|at| first.range(at + 1..).next()).map_or(end, |(_, position)| position - 1),
    };
    history.iter().map(of).collect()
}

/// What the conditions of an append that was made ask for, just before its first event.
fn held(appended: &Appended, proposal: &Proposal, states: &States<'_>, log: &[Logged]) -> Option<String> {
    let first = appended.events.first().filter(|_| !appended.is_duplicate)?.position;
    let before = first - 1;
    proposal.conditions.iter().find_map(|condition| match condition {
        Condition::Stream { stream, expected } => {
            let actual = states.version(stream, before);
            (!expected.holds(actual)).then(|| format!("{condition:?} did not hold at {before}: {actual}"))
        }
        Condition::NoneAfter { position, query } => {
            let Some(since) = log.get(*position as usize..before as usize) else {
                return Some(format!("{condition:?} names a position that was not there at {before}"));
            };
            let found = since.iter().rev().find(|logged| query.matches(&logged.event))?;
            Some(format!("{condition:?} did not hold at {before}: {}", found.stamp.position))
        }
    })
}

/// Whether a condition failed as it was said when the log ended at `end`.
fn has_failed(failure: &ConditionFailure, proposal: &Proposal, end: u64, states: &States<'_>, log: &[Logged]) -> bool {
    match failure {
        ConditionFailure::Stream { stream, expected, actual, .. } => {
            states.version(stream, end) == *actual && !expected.holds(*actual)
        }
        ConditionFailure::AfterEnd { position, newest, .. } => *newest == end && *position > end,
        ConditionFailure::NoneAfter { index, position, found } => {
            let Some(Condition::NoneAfter { query, .. }) = proposal.conditions.get(*index) else { return false };
            let event = found.checked_sub(1).and_then(|at| log.get(at as usize));
            found > position && *found <= end && event.is_some_and(|logged| query.matches(&logged.event))
        }
    }
}

/// The positions of every stream.
struct States<'a>(BTreeMap<&'a str, Vec<u64>>);

impl<'a> States<'a> {
    fn of(log: &'a [Logged]) -> Self {
        let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for logged in log {
            if let Some(subject) = logged.event.subject() {
                streams.entry(subject).or_default().push(logged.stamp.position);
            }
        }
        Self(streams)
    }

    /// A stream's version when the log ended at `end`.
    fn version(&self, stream: &str, end: u64) -> u64 {
        self.0.get(stream).map_or(0, |positions| positions.partition_point(|position| *position <= end) as u64)
    }
}
