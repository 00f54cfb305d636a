//! A log in memory that does what somebody else's log may do: take its time, fail, and have another writer.
//!
//! It holds the [`Log`] seam to its contract: the engine must not care whether commits are frames in a file.

use bytes::Bytes;
use parking_lot::Mutex;
use quipu_domain::Timestamp;
use quipu_store::frame::{FramedCommit, FramedRecord};
use quipu_store::{Chunk, Commit, Fault, Fetched, Locator, Log, LogSize, RecordKind, Tail};

/// Commits in a list. A commit's locator is its number in the upper half; a record adds its place, from 1.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commits: Vec<FramedCommit>,
    /// How many of them are durable.
    durable: usize,
    /// What the next completion answers.
    failure: Option<Fault>,
    /// How many completions make nothing durable before one does.
    delay: usize,
}

impl MemoryLog {
    /// The next `count` completions return before anything more is durable.
    pub fn delay(&self, count: usize) {
        self.state.lock().delay = count;
    }

    /// The next completion fails, and so does everything after it.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().failure = Some(fault);
    }

    /// Another owner appends a commit of its own.
    pub fn append_elsewhere(&self) {
        let mut state = self.state.lock();
        let number = state.commits.len() as u64 + 1;
        let last = state.commits.last();
        let commit = FramedCommit {
            number,
            epoch: 2,
            recorded_time: last.map_or(Timestamp(0), |last| last.recorded_time),
            first_position: last.map_or(1, |last| last.first_position + last.event_count()),
            chain_before: last.map_or([0; 32], FramedCommit::chain_after),
            records: Vec::new(),
        };
        state.commits.push(commit);
    }

    /// What is left after a crash: the durable commits.
    pub fn crash(&self) -> Self {
        let state = self.state.lock();
        let commits = state.commits[..state.durable].to_vec();
        let durable = commits.len();
        Self { state: Mutex::new(State { commits, durable, ..State::default() }) }
    }
}

fn framed(commit: &Commit) -> FramedCommit {
    let records = commit.records.iter().zip(1..).map(|(record, offset)| FramedRecord {
        offset,
        checksum: 0,
        kind: record.kind,
        stream_version: record.stream_version,
        body: Bytes::copy_from_slice(&record.body),
    });
    FramedCommit {
        number: commit.number,
        epoch: commit.epoch,
        recorded_time: commit.recorded_time,
        first_position: commit.first_position,
        chain_before: commit.chain_before,
        records: records.collect(),
    }
}

impl Log for MemoryLog {
    fn submit(&self, expected_tail: u64, commits: &[Commit], locators: &mut Vec<Locator>) -> Result<(), Fault> {
        let mut state = self.state.lock();
        if let Some(fault) = &state.failure {
            return Err(fault.clone());
        }
        let actual = state.commits.len() as u64;
        if actual != expected_tail {
            return Err(Fault::Fenced { expected: expected_tail, actual });
        }
        for commit in commits {
            locators.extend((1..=commit.records.len() as u64).map(|at| commit.number << 32 | at));
            state.commits.push(framed(commit));
        }
        Ok(())
    }

    fn complete(&self) -> Result<u64, Fault> {
        let mut state = self.state.lock();
        if let Some(fault) = &state.failure {
            return Err(fault.clone());
        }
        match state.delay {
            0 => state.durable = state.commits.len(),
            _ => state.delay -= 1,
        }
        Ok(state.durable as u64)
    }

    fn rest(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&self) -> Result<(), Fault> {
        self.complete().map(|_| ())
    }

    fn tail_at_opening(&self) -> Tail {
        let state = self.state.lock();
        let last = state.commits.last();
        Tail {
            number: last.map_or(0, |last| last.number),
            next_position: last.map_or(1, |last| last.first_position + last.event_count()),
            recorded_time: last.map_or(Timestamp(0), |last| last.recorded_time),
            epoch: last.map_or(1, |last| last.epoch),
            chain: last.map_or([0; 32], FramedCommit::chain_after),
        }
    }

    fn fetch(&self, locator: Locator, kind: RecordKind) -> Result<Fetched, Fault> {
        let state = self.state.lock();
        let commit = &state.commits[(locator >> 32) as usize - 1];
        let record = &commit.records[(locator & 0xFFFF_FFFF) as usize - 1];
        assert_eq!(record.kind, kind, "an index names what is there");
        Ok(Fetched {
            commit: commit.number,
            recorded_time: commit.recorded_time,
            stream_version: record.stream_version,
            body: record.body.clone(),
        })
    }

    fn commit_of(&self, record: Locator) -> Result<Locator, Fault> {
        Ok(record >> 32 << 32)
    }

    fn scan(&self, from: Locator, _bytes_max: usize) -> Result<Chunk, Fault> {
        let state = self.state.lock();
        let first = (from >> 32).max(1);
        let commits: Vec<_> = (first..)
            .zip(state.commits.iter().skip(first as usize - 1))
            .take(3)
            .map(|(number, commit)| (number << 32, commit.clone()))
            .collect();
        let next = (first + commits.len() as u64) << 32;
        Ok(Chunk { commits, next })
    }

    fn seek(&self, number: u64) -> Locator {
        number << 32
    }

    fn size(&self) -> LogSize {
        LogSize::default()
    }

    fn name(&self) -> String {
        "the log in memory".into()
    }
}
