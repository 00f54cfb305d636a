//! States of aggregates, kept beside the log so that loading one need not read its whole stream. A cache and never the truth: a
//! file that is missing, damaged, of other code, of another stream or of another log is as good as none.
//!
//! A state is kept in the slot that the hash of its stream's name falls on, and replaces whichever was there. So the folder has a
//! limit without anybody counting, and two streams that share a slot are slower, not wrong.
//!
//! ```text
//! <tenant>/aggregates/<name>/<high byte of the slot>/<low byte of the slot>      a head of postcard and the state, sealed as other snapshots
//! ```

use std::borrow::Cow;

use quipu_store::{Digest, Fault, snapshot};
use serde::{Deserialize, Serialize};

use crate::tenant::Tenant;

/// Largest state that is kept, bytes: reading more takes longer than the events that it saves. With 65,536 slots no type takes
/// more than 16 GiB; states of 1 KiB take 64 MiB.
pub const STATE_BYTES_MAX: usize = 256 << 10;
/// Largest commit that a kept state may end with, bytes of its records: it is read and hashed to know the log again.
const COMMIT_BYTES_MAX: usize = 64 << 10;
/// What is read at first to find a commit. Most are smaller.
const COMMIT_BYTES: usize = 4 << 10;

/// Whose state it is.
#[derive(Clone, Copy, Debug)]
pub struct StateOf<'a> {
    /// The kind of aggregate: a folder. Lower-case letters, digits, `-` and `_`.
    pub name: &'a str,
    /// The stream.
    pub stream: &'a str,
    /// What tells the code that made it from other code.
    pub fingerprint: &'a str,
}

/// A state as of an event of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptState {
    /// The version of that event.
    pub version: u64,
    /// The position of that event.
    pub position: u64,
    /// The state, in whichever form its owner wrote it.
    pub state: Vec<u8>,
}

/// What stands before the state in a file.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    fingerprint: Cow<'a, str>,
    stream: Cow<'a, str>,
    version: u64,
    position: u64,
    /// The commit of that event and the chain behind it: another log does not have both.
    commit: u64,
    chain: Digest,
}

impl Tenant {
    /// The state that was kept of a stream, if there is one that this code made of this log.
    ///
    /// # Errors
    /// The log cannot be read. What cannot be read of the cache is as good as missing.
    pub fn kept_state(&self, of: StateOf<'_>) -> Result<Option<KeptState>, Fault> {
        let (_, path) = self.slot(of);
        let Ok(Some(body)) = snapshot::read_at(self.world.storage.as_ref(), &path) else { return Ok(None) };
        let Ok((found, state)) = postcard::take_from_bytes::<Head<'_>>(&body) else { return Ok(None) };
        let is_ours = found.fingerprint == of.fingerprint && found.stream == of.stream;
        if !is_ours || self.link_at(found.position)? != Some((found.commit, found.chain)) {
            return Ok(None);
        }
        Ok(Some(KeptState { version: found.version, position: found.position, state: state.to_vec() }))
    }

    /// Keeps the state of a stream as of one of its events. One that is too large, or ends in the middle of a large commit, is
    /// not kept.
    ///
    /// # Errors
    /// The disk failed. Whoever only wanted to be faster next time goes on.
    pub fn keep_state(&self, of: StateOf<'_>, kept: &KeptState) -> Result<(), Fault> {
        if kept.state.len() > STATE_BYTES_MAX {
            return Ok(());
        }
        let Some((commit, chain)) = self.link_at(kept.position)? else { return Ok(()) };
        let head = Head {
            fingerprint: of.fingerprint.into(),
            stream: of.stream.into(),
            version: kept.version,
            position: kept.position,
            commit,
            chain,
        };
        let mut body = postcard::to_stdvec(&head).expect("texts and numbers can be written");
        body.extend_from_slice(&kept.state);
        let (folder, path) = self.slot(of);
        // Two that keep states in one slot would share a temporary name.
        let _alone = self.keeper.lock();
        snapshot::write_unsynced(self.world.storage.as_ref(), &folder, &path, &body)
    }

    fn slot(&self, of: StateOf<'_>) -> (String, String) {
        let [high, low, ..] = self.hasher.stream(of.stream).to_le_bytes();
        let folder = format!("{}/aggregates/{}/{high:02x}", self.folder(), of.name);
        let path = format!("{folder}/{low:02x}");
        (folder, path)
    }

    /// The commit that an event is in and the chain behind it; nothing if there is none, or a large one.
    fn link_at(&self, position: u64) -> Result<Option<(u64, Digest)>, Fault> {
        if position == 0 || position > self.position() {
            return Ok(None);
        }
        let Some(locator) = self.index.locator(position)? else { return Ok(None) };
        let chunk = self.log.scan(self.log.commit_of(locator)?, COMMIT_BYTES)?;
        let Some((_, commit)) = chunk.commits.first() else { return Ok(None) };
        let bytes: usize = commit.records.iter().map(|record| record.body.len()).sum();
        Ok((bytes <= COMMIT_BYTES_MAX).then(|| (commit.number, commit.chain_after())))
    }
}
