//! What appending and publishing mean, in the simplest code that says it: a list of events and a list of commits,
//! searched from end to end. It knows no files, no batches and no crash.

use std::collections::BTreeMap;

use quipu_domain::{Condition, ConditionFailure, Direction, Event, Filter, Query, Refusal, StreamState};
use quipu_engine::{Appended, Place, Published};

use crate::{Answer, Draft, Logged, Operation, Proposal};

/// A log as it should be.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Every event, by position.
    pub events: Vec<Remembered>,
    /// How many commits there are.
    pub commits: u64,
    /// The number of every outside source.
    pub checkpoints: BTreeMap<String, u64>,
    /// In how many of the newest events a pair of `source` and `id` is looked for; nothing for all of them.
    pub window: Option<u64>,
}

/// An event, where it is, and which commit wrote it.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// What was recorded.
    pub event: Event<'static>,
    /// Where.
    pub place: Place,
    /// By which commit.
    pub commit: u64,
}

impl Model {
    /// Does what is asked.
    pub fn apply(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Publish(drafts) => Answer::Published(self.publish(drafts)),
            Operation::Append(proposal) => match self.append(proposal) {
                Ok(appended) => Answer::Appended(appended),
                Err(refusal) => Answer::Refused(refusal),
            },
        }
    }

    /// Each event for itself; what is recorded of one publish is one commit.
    fn publish(&mut self, drafts: &[Draft]) -> Vec<Published> {
        let commit = self.commits + 1;
        let outcomes: Vec<Published> = drafts
            .iter()
            .map(|draft| {
                if let Some(known) = self.by_id(&draft.event) {
                    return if known.event.same_content(&draft.event) {
                        Published::Duplicate(known.place)
                    } else {
                        Published::Refused(Refusal::IdConflict { index: 0, position: known.place.position })
                    };
                }
                match self.wrong_version(draft, 0) {
                    Some(refusal) => Published::Refused(refusal),
                    None => Published::Recorded(self.record(&draft.event, commit)),
                }
            })
            .collect();
        if outcomes.iter().any(|outcome| matches!(outcome, Published::Recorded(_))) {
            self.commits = commit;
        }
        outcomes
    }

    /// All or nothing. A repeat is recognized before anything else is looked at.
    fn append(&mut self, proposal: &Proposal) -> Result<Appended, Refusal> {
        let drafts = &proposal.events;
        if let Some(first) = self.repeated(drafts)? {
            return Ok(first);
        }
        let failures = self.failures(&proposal.conditions);
        if !failures.is_empty() {
            return Err(Refusal::ConditionsFailed(failures));
        }
        if let Some(checkpoint) = &proposal.checkpoint {
            let recorded = self.checkpoints.get(&checkpoint.source).copied();
            if recorded.is_some_and(|recorded| checkpoint.number <= recorded) {
                return Err(Refusal::CheckpointBehind {
                    source: checkpoint.source.clone(),
                    recorded: recorded.unwrap_or_default(),
                    given: checkpoint.number,
                });
            }
        }
        for (index, draft) in drafts.iter().enumerate() {
            let before = drafts[..index].iter().filter(|d| d.event.subject() == draft.event.subject()).count() as u64;
            if let Some(refusal) = self.wrong_version(draft, before) {
                return Err(refusal);
            }
        }
        self.commits += 1;
        let commit = self.commits;
        let events = drafts.iter().map(|draft| self.record(&draft.event, commit)).collect();
        if let Some(checkpoint) = &proposal.checkpoint {
            self.checkpoints.insert(checkpoint.source.clone(), checkpoint.number);
        }
        Ok(Appended { commit, events, ..Appended::default() })
    }

    /// The first answer, if these events are one earlier append; nothing if none of them is recorded.
    fn repeated(&self, drafts: &[Draft]) -> Result<Option<Appended>, Refusal> {
        let known: Vec<Option<&Remembered>> = drafts.iter().map(|draft| self.by_id(&draft.event)).collect();
        for (index, (draft, known)) in drafts.iter().zip(&known).enumerate() {
            if drafts[..index].iter().any(|earlier| same_id(&earlier.event, &draft.event)) {
                return Err(Refusal::RepeatedWithin { index });
            }
            if let Some(known) = known
                && !known.event.same_content(&draft.event)
            {
                return Err(Refusal::IdConflict { index, position: known.place.position });
            }
        }
        let Some((index, first)) = known.iter().enumerate().find_map(|(index, known)| Some((index, (*known)?))) else {
            return Ok(None);
        };
        let commit: Vec<Place> = self.events.iter().filter(|e| e.commit == first.commit).map(|e| e.place).collect();
        let places: Vec<Place> = known.iter().flatten().map(|known| known.place).collect();
        if places.len() == drafts.len() && places == commit {
            return Ok(Some(Appended {
                commit: first.commit,
                events: places,
                is_duplicate: true,
                ..Appended::default()
            }));
        }
        Err(Refusal::PartlyRepeated { index, position: first.place.position })
    }

    fn failures(&self, conditions: &[Condition]) -> Vec<ConditionFailure> {
        conditions
            .iter()
            .enumerate()
            .filter_map(|(index, condition)| match condition {
                Condition::Stream { stream, expected } => {
                    let actual = self.stream(stream).version;
                    (!expected.holds(actual)).then(|| ConditionFailure::Stream {
                        index,
                        stream: stream.clone(),
                        expected: *expected,
                        actual,
                    })
                }
                Condition::NoneAfter { position, .. } if *position > self.events.len() as u64 => {
                    let newest = self.events.len() as u64;
                    Some(ConditionFailure::AfterEnd { index, position: *position, newest })
                }
                Condition::NoneAfter { position, query } => {
                    let found = self.newest_match(query).filter(|found| found > position)?;
                    Some(ConditionFailure::NoneAfter { index, position: *position, found })
                }
            })
            .collect()
    }

    fn wrong_version(&self, draft: &Draft, before_it_in_append: u64) -> Option<Refusal> {
        let (expected, stream) = (draft.stream_version?, draft.event.subject()?);
        let actual = self.stream(stream).version + before_it_in_append + 1;
        (expected != actual).then(|| Refusal::WrongVersion { stream: stream.to_owned(), expected, actual })
    }

    fn record(&mut self, event: &Event<'static>, commit: u64) -> Place {
        let stream_version = event.subject().map(|subject| self.stream(subject).version + 1);
        let place = Place { position: self.events.len() as u64 + 1, stream_version };
        self.events.push(Remembered { event: event.clone(), place, commit });
        place
    }

    fn by_id(&self, event: &Event<'_>) -> Option<&Remembered> {
        let window = self.window.map_or(usize::MAX, |events| events as usize);
        self.events.iter().rev().take(window).find(|known| same_id(&known.event, event))
    }

    /// The newest event that matches a query.
    pub fn newest_match(&self, query: &Query) -> Option<u64> {
        self.events.iter().rev().find(|known| query.matches(&known.event)).map(|known| known.place.position)
    }

    /// The version of a stream and the position of its newest event.
    pub fn stream(&self, subject: &str) -> StreamState {
        let newest = self.events.iter().rev().find(|known| known.event.subject() == Some(subject));
        newest.map_or_else(StreamState::default, |known| StreamState {
            version: known.place.stream_version.unwrap_or_default(),
            position: known.place.position,
        })
    }
}

/// The positions that a filter should find in a log, in the order of reading.
pub fn scan(log: &[Logged], filter: &Filter, direction: Direction) -> Vec<u64> {
    let mut found: Vec<u64> = log
        .iter()
        .filter(|logged| filter.matches(&logged.event, &logged.stamp))
        .map(|logged| logged.stamp.position)
        .collect();
    if direction == Direction::Backward {
        found.reverse();
    }
    found
}

fn same_id(a: &Event<'_>, b: &Event<'_>) -> bool {
    a.id() == b.id() && a.source() == b.source()
}
