//! The seam of the log: submit commits at an expected tail, be told of their completion, read. Everything above it is
//! the same code, whether the log is a folder of files ([`crate::FileLog`]) or somebody else's replicated stream.
//!
//! Safety never rests on a lease: a log accepts commits only at the exact tail they were decided on.

use bytes::Bytes;
use quipu_domain::Timestamp;

use crate::commit::{Commit, Digest, RecordKind};
use crate::frame::FramedCommit;
use crate::storage::Fault;

/// Where something is in a log: an opaque number that grows along the log. Kept in indexes.
pub type Locator = u64;

/// What comes after the last commit of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last commit's number; 0 for an empty log.
    pub number: u64,
    /// The position that the next event gets.
    pub next_position: u64,
    /// The last commit's time.
    pub recorded_time: Timestamp,
    /// The last commit's epoch.
    pub epoch: u64,
    /// The hash that the next commit names as `chain_before`.
    pub chain: Digest,
}

/// A sequence of commits that is only ever appended to.
pub trait Log: Send + Sync {
    /// Takes commits that follow commit `expected_tail`. They can be read at once, but are durable only after a
    /// [`Log::complete`] that began later returned. `locators` gets one locator for each record.
    ///
    /// # Errors
    /// [`Fault::Fenced`] if the log has another tail. After any error no further commit is accepted.
    fn submit(&self, expected_tail: u64, commits: &[Commit], locators: &mut Vec<Locator>) -> Result<(), Fault>;

    /// Waits until more is durable than before, if anything was submitted before this call, and returns the number of
    /// the last durable commit. May run while others submit. Whoever needs all of it asks again: a log elsewhere may
    /// tell of its commits one after the other.
    fn complete(&self) -> Result<u64, Fault>;

    /// The log is idle or about to be closed: note down that everything is durable, so that a later opening cannot
    /// take the last batch for a torn one.
    fn rest(&self) -> Result<(), Fault>;

    /// The log is being closed: as [`Log::rest`], and give back what was reserved.
    fn close(&self) -> Result<(), Fault>;

    /// The tail that the log had when it was opened: where the first submit must go on.
    fn tail_at_opening(&self) -> Tail;

    /// Reads one record, which must be of this kind, that a locator from [`Log::submit`] or [`Log::scan`] names.
    fn fetch(&self, locator: Locator, kind: RecordKind) -> Result<Fetched, Fault>;

    /// As [`Log::fetch`] for each of these, which ascend: about `bytes_max` bytes of them but at least one, so that the others may
    /// be missing. A file is read once for those that are near each other.
    fn fetch_all(&self, locators: &[Locator], kind: RecordKind, bytes_max: usize) -> Result<Vec<Fetched>, Fault> {
        let mut all = Vec::with_capacity(locators.len());
        let mut bytes = 0;
        for locator in locators {
            let fetched = self.fetch(*locator, kind)?;
            bytes += fetched.body.len();
            all.push(fetched);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(all)
    }

    /// Where the commit begins that a record is in.
    fn commit_of(&self, record: Locator) -> Result<Locator, Fault>;

    /// Reads commits in order, from the one that begins at `from` on, about `bytes_max` bytes of them but at least
    /// one. Empty at the end of the log.
    fn scan(&self, from: Locator, bytes_max: usize) -> Result<Chunk, Fault>;

    /// A place to scan from so that commit `number` comes: at it, or some commits before.
    fn seek(&self, number: u64) -> Locator;

    /// Where the log's bytes are: the files and their sizes, for statistics.
    fn size(&self) -> LogSize;

    /// What messages call it: its folder, or where else it is.
    fn name(&self) -> String;
}

/// One record as the log has it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The number of its commit.
    pub commit: u64,
    /// When its commit was decided.
    pub recorded_time: Timestamp,
    /// For an event with a subject its version in its stream, else 0.
    pub stream_version: u64,
    /// Its body.
    pub body: Bytes,
}

/// Some commits in order.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Each with the locator of its first byte; a record's locator is that plus its offset.
    pub commits: Vec<(Locator, FramedCommit)>,
    /// Where to go on.
    pub next: Locator,
}

/// How large a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Segment files.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
}
