//! The records of operations, and the fold of them. All are postcard.

use std::collections::BTreeMap;

use quipu_domain::Timestamp;
use quipu_domain::delivery::RateLimit;
use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Serialize};

use super::items::{ItemRefusal, Items, Refused};
use super::replay::{FoldedReplay, Replay, ReplayVerdict};
use super::{OPERATIONS_ITEMS_MAX, OPERATIONS_MAX};
use crate::sagas::Intervention;
use crate::subscriptions::ReplayCounts;

/// What an operation does, to each item if it has any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Delivers the event of a dead letter once more.
    Redrive {
        /// To this subscription; to its own without it.
        to: Option<String>,
    },
    /// Decides that it need not be delivered.
    Discard {
        /// Why.
        reason: String,
    },
    /// Delivers events of the log once more. It has no items.
    Replay(Box<Replay>),
    /// Intervenes in an instance of a saga.
    Saga {
        /// What it does.
        act: Intervention,
        /// Why.
        reason: String,
    },
}

/// Where an operation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// It was counted and waits for somebody to confirm it.
    Previewed,
    /// It is at work.
    Running,
    /// Every item was looked at.
    Finished,
    /// Somebody ended it before that; items that were done stay done.
    Cancelled,
}

impl std::fmt::Display for OperationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Previewed => "previewed",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A record of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum OperationRecord {
    /// It was confirmed.
    Begun { id: u64, work: Work, rate: Option<RateLimit>, items: Items, time: Timestamp },
    /// Items up to here were looked at, and these were refused since the last time.
    Advanced { id: u64, done: u64, refused: Vec<ItemRefusal> },
    /// Every item was looked at, or it was cancelled.
    Ended { id: u64, is_cancelled: bool, time: Timestamp },
    /// Numbers up to here may be those of previews, which are not written down.
    Reserved { to: u64 },
    /// How far a replay is, in the commit of its deliveries.
    Replayed { id: u64, counts: ReplayCounts },
    /// What a replay came to, in the commit of its end.
    Concluded { id: u64, verdict: ReplayVerdict },
}

/// An operation as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldedOperation {
    pub work: Work,
    pub rate: Option<RateLimit>,
    pub items: Items,
    pub time: Timestamp,
    pub done: u64,
    pub refused: Refused,
    pub ended: Option<(bool, Timestamp)>,
}

/// The fold of all records of operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldedOperations {
    pub operations: BTreeMap<u64, FoldedOperation>,
    /// The largest number that may have been given so far.
    pub last: u64,
    /// Those of them that are replays. Written behind the rest, and only if there are any: snapshots from before them have none.
    #[serde(skip)]
    pub replays: BTreeMap<u64, FoldedReplay>,
}

/// How far a replay is, as a record.
pub(crate) fn replayed_record(id: u64, counts: &ReplayCounts) -> Record {
    OperationRecord::Replayed { id, counts: *counts }.record()
}

impl OperationRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::Operation, postcard::to_allocvec(self).expect("it is plain data"))
    }
}

impl FoldedOperation {
    /// Nothing of it is done.
    pub fn new(work: Work, rate: Option<RateLimit>, items: Items, time: Timestamp) -> Self {
        Self { work, rate, items, time, done: 0, refused: Refused::default(), ended: None }
    }

    /// Items up to here were looked at, and these of them were refused.
    pub fn advance(&mut self, done: u64, refused: impl IntoIterator<Item = ItemRefusal>) {
        self.done = done;
        refused.into_iter().for_each(|refusal| self.refused.add(refusal));
    }
}

impl FoldedOperations {
    /// Takes a record in. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        match postcard::from_bytes(body).ok()? {
            OperationRecord::Begun { id, work, rate, items, time } => {
                self.last = self.last.max(id);
                if let Work::Replay(replay) = &work {
                    self.replays.insert(id, FoldedReplay::begun(replay));
                }
                self.operations.insert(id, FoldedOperation::new(work, rate, items, time));
                self.forget_oldest();
            }
            OperationRecord::Advanced { id, done, refused } => {
                if let Some(operation) = self.operations.get_mut(&id) {
                    operation.advance(done, refused);
                }
            }
            OperationRecord::Ended { id, is_cancelled, time } => {
                if let Some(operation) = self.operations.get_mut(&id) {
                    operation.ended = Some((is_cancelled, time));
                }
            }
            OperationRecord::Reserved { to } => self.last = self.last.max(to),
            OperationRecord::Replayed { id, counts } => {
                if let Some(replay) = self.replays.get_mut(&id) {
                    replay.counts = counts;
                }
            }
            OperationRecord::Concluded { id, verdict } => {
                if let Some(replay) = self.replays.get_mut(&id) {
                    replay.verdict = Some(verdict);
                }
            }
        }
        Some(())
    }

    /// Drops ended ones, the oldest first, until there are as many as may be and have as many items.
    fn forget_oldest(&mut self) {
        let items = |all: &BTreeMap<u64, FoldedOperation>| all.values().map(|one| one.items.len()).sum::<usize>();
        while self.operations.len() > OPERATIONS_MAX || items(&self.operations) > OPERATIONS_ITEMS_MAX {
            let ended = self.operations.iter().find(|(_, operation)| operation.ended.is_some());
            let Some(id) = ended.map(|(id, _)| *id) else { return };
            self.operations.remove(&id);
            self.replays.remove(&id);
        }
    }

    /// How far a replay is.
    pub fn counts_of(&self, id: u64) -> ReplayCounts {
        self.replays.get(&id).map(|replay| replay.counts).unwrap_or_default()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = postcard::to_allocvec(self).expect("it is plain data");
        if !self.replays.is_empty() {
            bytes.extend(postcard::to_allocvec(&self.replays).expect("it is plain data"));
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (folded, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        let replays = if rest.is_empty() { BTreeMap::new() } else { postcard::from_bytes(rest).ok()? };
        Some(Self { replays, ..folded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Head;
    use crate::operations::ReplayOutcome;

    fn begun(id: u64) -> Vec<u8> {
        let work = Work::Discard { reason: "a test".into() };
        OperationRecord::Begun { id, work, rate: None, items: [7, 9].into_iter().collect(), time: Timestamp(1) }
            .record()
            .body
    }

    #[test]
    fn the_oldest_that_ended_is_forgotten_and_those_at_work_never() {
        let mut folded = FoldedOperations::default();
        for id in 1..=OPERATIONS_MAX as u64 + 1 {
            folded.apply(&begun(id)).unwrap();
        }
        assert_eq!(folded.operations.len(), OPERATIONS_MAX + 1);
        folded.apply(&OperationRecord::Ended { id: 5, is_cancelled: false, time: Timestamp(2) }.record().body).unwrap();
        folded.apply(&begun(1_000)).unwrap();
        assert!(!folded.operations.contains_key(&5) && folded.operations.contains_key(&1));
        assert_eq!(FoldedOperations::decode(&folded.encode()).unwrap(), folded);
    }

    #[test]
    fn those_that_ended_go_when_all_have_too_many_items_together() {
        let mut folded = FoldedOperations::default();
        let work = Work::Discard { reason: "a test".into() };
        for id in 1..=6u64 {
            let items = (1..=OPERATIONS_ITEMS_MAX as u64 / 4).collect();
            let begun = OperationRecord::Begun { id, work: work.clone(), rate: None, items, time: Timestamp(1) };
            folded.apply(&begun.record().body).unwrap();
            let ended = OperationRecord::Ended { id, is_cancelled: true, time: Timestamp(2) };
            folded.apply(&ended.record().body).unwrap();
        }
        assert_eq!(folded.operations.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6]);
    }

    #[test]
    fn numbers_that_were_reserved_are_not_given_again() {
        let mut folded = FoldedOperations::default();
        folded.apply(&OperationRecord::Reserved { to: 100 }.record().body).unwrap();
        folded.apply(&begun(7)).unwrap();
        assert_eq!(FoldedOperations::decode(&folded.encode()).unwrap().last, 100);
    }

    #[test]
    fn replays_stand_behind_the_rest_so_that_a_snapshot_from_before_them_is_read() {
        let mut folded = FoldedOperations::default();
        folded.apply(&begun(1)).unwrap();
        let before = postcard::to_allocvec(&folded).unwrap();
        assert_eq!((folded.encode(), FoldedOperations::decode(&before)), (before, Some(folded.clone())));
        let replay = Replay {
            to: "s".into(),
            shadow: None,
            from: 5,
            until: 9,
            pattern: Some(r#"{"type":["t"]}"#.into()),
            is_strict: true,
            speed: Some(1.5),
            webhooks: false,
            events: 3,
            until_time: Timestamp(7),
            heads: (Head::START, Head { commit: 9, chain: [3; 32] }),
        };
        let counts = ReplayCounts { looked_to: 7, handed: 2, acknowledged: 1, ..ReplayCounts::default() };
        let verdict = ReplayVerdict {
            outcome: ReplayOutcome::Incomplete,
            counts,
            withdrawn: 1,
            reason: Some("it was cancelled".into()),
            from: replay.heads.0,
            to: replay.heads.1,
        };
        let work = Work::Replay(Box::new(replay));
        let begun =
            OperationRecord::Begun { id: 2, work, rate: None, items: [].into_iter().collect(), time: Timestamp(1) };
        folded.apply(&begun.record().body).unwrap();
        assert_eq!(folded.counts_of(2), ReplayCounts { looked_to: 4, ..ReplayCounts::default() });
        for record in [
            OperationRecord::Replayed { id: 2, counts },
            OperationRecord::Concluded { id: 2, verdict: verdict.clone() },
        ] {
            folded.apply(&record.record().body).unwrap();
        }
        let read = FoldedOperations::decode(&folded.encode()).unwrap();
        assert_eq!(read, folded);
        assert_eq!(read.replays[&2], FoldedReplay { counts, verdict: Some(verdict) });
    }
}
