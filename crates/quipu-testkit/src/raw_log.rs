//! The log as its files hold it, read without the engine: what a checker holds against answers is not the engine's own fold. The
//! records are those of `docs/formats/segment.md`, declared here once more.

use bytes::Bytes;
use quipu_domain::saga::{Due, Note};
use quipu_domain::{Timestamp, saga};
use quipu_engine::{InstanceState, SagaDeclaration};
use quipu_store::frame::{self, Frame, FrameContext};
use quipu_store::{FramedCommit, RecordKind, SEGMENT_HEADER_BYTES};
use serde::Deserialize;

use crate::checker::{Violation, violated};
use crate::{FOLDER, FaultyDisk};

/// A commit as it is on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its number.
    pub number: u64,
    /// When it was decided.
    pub time: Timestamp,
    /// What is in it, in order.
    pub parts: Vec<Part>,
}

/// A record of a commit, as far as a checker looks at such.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// An event: its position and its body.
    Event(u64, Bytes),
    /// Of timers.
    Timer(TimerPart),
    /// A saga, a rule or an expectation was declared.
    Declared(DeclaredPart),
    /// What a round of sagas came to.
    Step(StepPart),
    /// Anything else.
    Other(RecordKind),
}

/// A record of timers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub enum TimerPart {
    /// One was set: the next number is its own.
    Set {
        /// When it is due.
        due: Timestamp,
        /// When it was set, if it waits for so long.
        since: Option<Timestamp>,
        /// Its key.
        key: Option<String>,
        /// The hash of its event's source and id.
        pair: u64,
        /// The hash of its event's data, if that is kept beside the log.
        payload: Option<[u8; 32]>,
        /// Its event's body.
        event: Vec<u8>,
    },
    /// These have fired.
    Fired {
        /// Their numbers.
        timers: Vec<u64>,
    },
    /// These were cancelled.
    Cancelled {
        /// Their numbers.
        timers: Vec<u64>,
    },
}

/// A declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredPart {
    /// The number of its plan.
    pub plan: u32,
    /// What was declared.
    pub declaration: SagaDeclaration,
    /// It takes events behind this position.
    pub from: u64,
}

/// What a round of sagas came to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StepPart {
    /// Events up to here were seen.
    pub to: u64,
    /// When.
    pub at: Timestamp,
    /// Instances that changed.
    pub changed: Vec<ChangedPart>,
    /// Instances that are not remembered any more.
    pub forgotten: Vec<u64>,
}

/// An instance as a round left it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ChangedPart {
    /// Its number.
    pub number: u64,
    /// If it began: the number of its plan, and its key.
    pub begun: Option<(u32, String)>,
    /// Its state, as postcard.
    pub state: Vec<u8>,
    /// How it stands.
    pub status: InstanceState,
    /// When it is due.
    pub due: Option<Due>,
    /// What happened.
    pub notes: Vec<Note>,
}

impl ChangedPart {
    /// Its state.
    ///
    /// # Errors
    /// It is none.
    pub fn state(&self) -> Result<saga::State, Violation> {
        let wrong = |error| violated("records", format!("the state of instance {} is none: {error}", self.number));
        postcard::from_bytes(&self.state).map_err(wrong)
    }
}

/// A place in the files of a log.
#[derive(Clone, Debug, Default)]
pub struct RawLog {
    segment: usize,
    offset: usize,
    commits: u64,
}

impl RawLog {
    /// How many commits are before this place.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The whole commits from this place on.
    ///
    /// # Errors
    /// They do not follow each other, or hold what is no record.
    pub fn read_on(&mut self, disk: &FaultyDisk) -> Result<Vec<Written>, Violation> {
        let folder = format!("{FOLDER}/log/");
        let is_segment = |path: &String| path.starts_with(&folder) && path.ends_with(".seg");
        let segments: Vec<String> = disk.files().into_iter().filter(is_segment).collect();
        let mut read = Vec::new();
        while let Some(path) = segments.get(self.segment) {
            let bytes = Bytes::from(disk.contents(path).unwrap_or_default());
            let Some(context) = context_of(&bytes) else { break };
            self.offset = self.offset.max(SEGMENT_HEADER_BYTES as usize);
            while let Some((found, length)) = frame::decode(&bytes.slice(self.offset.min(bytes.len())..), context) {
                self.offset += length;
                if let Frame::Commit { commit, .. } = found {
                    self.commits += 1;
                    if commit.number != self.commits {
                        let detail = format!("expected commit {}, found {} in {path}", self.commits, commit.number);
                        return Err(violated("records", detail));
                    }
                    read.push(Written::of(commit)?);
                }
            }
            if self.segment + 1 == segments.len() {
                break;
            }
            (self.segment, self.offset) = (self.segment + 1, 0);
        }
        Ok(read)
    }
}

/// The nonce and the base time of a segment's header.
fn context_of(bytes: &[u8]) -> Option<FrameContext> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    (bytes.get(..8)? == b"QUIPUSEG").then_some(())?;
    Some(FrameContext { nonce: number(12)?, base_time: Timestamp(number(36)? as i64) })
}

/// A declaration, if the record is of one and not of a removal.
fn declared(body: &[u8]) -> Option<DeclaredPart> {
    let mut json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let mut change = json.pointer_mut("/change/declared")?.take();
    let plan = change["plan"].as_u64()?.try_into().ok()?;
    let from = change["from"].as_u64()?;
    let declaration = serde_json::from_value(change["declaration"].take()).ok()?;
    Some(DeclaredPart { plan, declaration, from })
}

impl Written {
    fn of(commit: FramedCommit) -> Result<Self, Violation> {
        let (number, mut position) = (commit.number, commit.first_position);
        let wrong = |kind, error| violated("records", format!("commit {number} has no {kind:?}: {error}"));
        let mut parts = Vec::with_capacity(commit.records.len());
        for record in commit.records {
            parts.push(match record.kind {
                RecordKind::Event => {
                    position += 1;
                    Part::Event(position - 1, record.body)
                }
                RecordKind::Timer => {
                    Part::Timer(postcard::from_bytes(&record.body).map_err(|error| wrong(record.kind, error))?)
                }
                RecordKind::SagaStep => {
                    Part::Step(postcard::from_bytes(&record.body).map_err(|error| wrong(record.kind, error))?)
                }
                RecordKind::Saga => declared(&record.body).map_or(Part::Other(record.kind), Part::Declared),
                kind => Part::Other(kind),
            });
        }
        Ok(Self { number, time: commit.recorded_time, parts })
    }
}
