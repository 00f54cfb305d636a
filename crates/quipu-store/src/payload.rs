//! Payloads: data that is too large for the log, beside it. Each is a file that is named by the hash of its bytes, so the
//! same payload is there once, and whoever reads it sees whether it is what was written.
//!
//! ```text
//! payloads/ab/cdef…       the bytes; the name is the BLAKE3 of them, in hexadecimal digits
//! payloads/ab/cdef….3.tmp one that is being written; opening removes what a crash left
//! ```
//!
//! A payload is durable before the commit that refers to it is written. One that nothing came to refer to is removed again,
//! but never while somebody who found it there may still come to refer to it: that is what [`Kept`] says. What a crash left of
//! them is among the files that are there at opening, which are looked through once, folder by folder.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quipu_domain::Payload;

use crate::commit::Digest;
use crate::storage::{Fault, OpenMode, Storage, sync_above};

/// What is compared or copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// The payloads of a tenant.
#[derive(Debug)]
pub struct Payloads {
    storage: Arc<dyn Storage>,
    folder: String,
    state: Mutex<State>,
    /// Tells temporary names apart: two may write the same payload at once.
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    bytes: u64,
    /// How many hold each payload that may come to be referred to.
    held: HashMap<Digest, usize>,
    /// Payloads that were let go of, and perhaps nothing refers to.
    loose: Vec<Digest>,
    /// Folders of the opening that nobody has looked through: a crash may have left payloads there that nothing refers to.
    unsearched: Vec<String>,
    /// Folders whose own names are durable.
    reachable: HashSet<String>,
    /// The failed sync of a folder: it is not known which names are durable, so none is made until the store is opened again.
    poison: Option<String>,
}

/// A payload that is durable, and stays there while this is held.
#[derive(Debug)]
pub struct Kept {
    payloads: Arc<Payloads>,
    hash: Digest,
    /// Something refers to it for good.
    is_needed: bool,
}

impl Kept {
    /// It is referred to: nobody has to look whether it is needed.
    pub fn keep(mut self) {
        self.is_needed = true;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.payloads.state.lock();
        let Some(held) = state.held.get_mut(&self.hash) else { return };
        *held -= 1;
        if *held == 0 {
            state.held.remove(&self.hash);
        }
        if !self.is_needed {
            state.loose.push(self.hash);
        }
    }
}

impl Payloads {
    /// The payloads of the tenant in a folder. Removes what a crash left half written.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(storage: Arc<dyn Storage>, tenant: &str) -> Result<Arc<Self>, Fault> {
        let folder = folder(tenant);
        let mut state = State { unsearched: folders(storage.as_ref(), &folder)?, ..State::default() };
        for inner in &state.unsearched {
            let files = storage.list_lengths(inner);
            for (name, length) in files.map_err(|e| Fault::io("list", storage.display(inner), e))? {
                if hash_of(inner, &name).is_some() {
                    state.count += 1;
                    state.bytes += length;
                } else if name.ends_with(".tmp") {
                    let path = format!("{inner}/{name}");
                    storage.remove(&path).map_err(|e| Fault::io("remove", storage.display(&path), e))?;
                }
            }
        }
        Ok(Arc::new(Self { storage, folder, state: Mutex::new(state), next: AtomicU64::new(0) }))
    }

    /// How many there are, and their bytes. Those that nothing refers to count too: they take room.
    pub fn size(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.count, state.bytes)
    }

    /// Makes sure that a payload is there, durably. One that is there and is what it should be is not written again.
    ///
    /// # Errors
    /// The disk refuses: nothing may refer to it then.
    pub fn keep(self: &Arc<Self>, hash: Digest, bytes: &[u8]) -> Result<Kept, Fault> {
        if let Some(cause) = &self.state.lock().poison {
            return Err(Fault::Poisoned { cause: cause.clone() });
        }
        // Counted before it is looked for: nobody removes it from here on.
        *self.state.lock().held.entry(hash).or_default() += 1;
        let kept = Kept { payloads: Arc::clone(self), hash, is_needed: false };
        let (folder, path) = self.places(&hash);
        if self.is_there(&path, bytes)? {
            // Whoever wrote it may not have come to this.
            self.sync(&folder)?;
            return Ok(kept);
        }
        let temporary = format!("{path}.{}.tmp", self.next.fetch_add(1, Ordering::Relaxed));
        let written = self.write(&folder, &temporary, bytes).and_then(|()| self.name(&temporary, &path, bytes.len()));
        if written.is_err() {
            // If this fails too, the next opening removes it.
            let _ = self.storage.remove(&temporary);
        }
        written?;
        self.sync(&folder)?;
        Ok(kept)
    }

    fn write(&self, folder: &str, temporary: &str, bytes: &[u8]) -> Result<(), Fault> {
        let fault = |action, e| Fault::io(action, self.storage.display(temporary), e);
        self.storage.create_dir(folder).map_err(|e| fault("create the folder of", e))?;
        let file = self.storage.open(temporary, OpenMode::CreateNew).map_err(|e| fault("create", e))?;
        file.write_at(bytes, 0).map_err(|e| fault("write", e))?;
        file.sync().map_err(|e| fault("sync", e))
    }

    /// Gives a payload that is written its name. Of two who wrote the same the later one replaces what is equal.
    fn name(&self, temporary: &str, path: &str, bytes: usize) -> Result<(), Fault> {
        let mut state = self.state.lock();
        let before = length(self.storage.as_ref(), path)?;
        self.storage.rename(temporary, path).map_err(|e| Fault::io("rename", self.storage.display(temporary), e))?;
        state.count += u64::from(before.is_none());
        state.bytes = state.bytes.saturating_sub(before.unwrap_or_default()) + bytes as u64;
        Ok(())
    }

    /// Makes the names of a folder durable, and once those that lead to it.
    fn sync(&self, folder: &str) -> Result<(), Fault> {
        let mut synced = self.storage.sync_dir(folder).map_err(|e| Fault::io("sync", self.storage.display(folder), e));
        if !self.state.lock().reachable.contains(folder) {
            synced = synced.and_then(|()| sync_above(self.storage.as_ref(), folder));
        }
        let mut state = self.state.lock();
        match &synced {
            Ok(()) => _ = state.reachable.insert(folder.to_owned()),
            Err(fault) => _ = state.poison.get_or_insert_with(|| fault.to_string()),
        }
        synced
    }

    /// Whether a file has these bytes. One that is damaged is written anew.
    fn is_there(&self, path: &str, bytes: &[u8]) -> Result<bool, Fault> {
        let fault = |action, e| Fault::io(action, self.storage.display(path), e);
        let file = match self.storage.open(path, OpenMode::Read) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|e| fault("open", e))?,
        };
        if file.len().map_err(|e| fault("read the length of", e))? != bytes.len() as u64 {
            return Ok(false);
        }
        let mut found = vec![0; bytes.len().min(PIECE_BYTES)];
        let mut at = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            let found = &mut found[..piece.len()];
            let read = file.read_at(found, at).map_err(|e| fault("read", e))?;
            if read != piece.len() || found != piece {
                return Ok(false);
            }
            at += read as u64;
        }
        Ok(true)
    }

    /// The bytes of the payload of the event at a position, which are what was written.
    ///
    /// # Errors
    /// [`Fault::Damaged`] names the payload and the position if it is not there or something else.
    pub fn read(&self, payload: &Payload, position: u64) -> Result<Vec<u8>, Fault> {
        let (_, path) = self.places(&payload.hash);
        let damaged = |found: String| Fault::Damaged {
            path: self.storage.display(&path),
            offset: 0,
            detail: format!("expected the payload of the event at position {position}, found {found}"),
        };
        match read_checked(self.storage.as_ref(), &path, payload)? {
            Ok(bytes) => Ok(bytes),
            Err(found) => Err(damaged(found)),
        }
    }

    /// Nothing that held a payload refers to it any more: it is removed with the next sweep, unless something else does.
    pub fn let_go(&self, hash: Digest) {
        self.state.lock().loose.push(hash);
    }

    /// Removes what was let go of and is not needed, as `is_needed` says: it must know of what refers to a payload before that
    /// lets go of its [`Kept`]. Nobody begins to hold one while it is looked at.
    ///
    /// # Errors
    /// Of `is_needed`, or the disk refuses: the rest is looked at the next time, or stays.
    pub fn sweep(&self, is_needed: impl Fn(&Digest) -> Result<bool, Fault>) -> Result<(), Fault> {
        loop {
            let mut state = self.state.lock();
            let Some(hash) = state.loose.pop() else { return Ok(()) };
            self.remove_unless_needed(&mut state, &hash, &is_needed)?;
        }
    }

    /// Looks through a folder that was there at opening and removes from it what is not needed, as [`Payloads::sweep`] does: a
    /// crash may have left it. Says at how many it looked; nothing once there is no such folder any more.
    ///
    /// # Errors
    /// As of [`Payloads::sweep`]: the rest of the folder is looked through after the next opening.
    pub fn search(&self, is_needed: impl Fn(&Digest) -> Result<bool, Fault>) -> Result<Option<usize>, Fault> {
        let Some(folder) = self.state.lock().unsearched.pop() else { return Ok(None) };
        let found = files_in(self.storage.as_ref(), &folder)?;
        let hashes = found.iter().filter_map(|(_, hash)| hash.as_ref());
        // The lock is let go of between two of them, for those who come to hold some.
        hashes.clone().try_for_each(|hash| self.remove_unless_needed(&mut self.state.lock(), hash, &is_needed))?;
        Ok(Some(hashes.count()))
    }

    fn remove_unless_needed(
        &self,
        state: &mut State,
        hash: &Digest,
        is_needed: impl Fn(&Digest) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        if state.held.contains_key(hash) || is_needed(hash)? {
            return Ok(());
        }
        let (_, path) = self.places(hash);
        let Some(bytes) = length(self.storage.as_ref(), &path)? else { return Ok(()) };
        self.storage.remove(&path).map_err(|e| Fault::io("remove", self.storage.display(&path), e))?;
        // One that was damaged may be larger than what was counted.
        state.count = state.count.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Whether something was let go of since the last sweep.
    pub fn has_loose(&self) -> bool {
        !self.state.lock().loose.is_empty()
    }

    /// The folder of a payload, and its path.
    fn places(&self, hash: &Digest) -> (String, String) {
        let path = path(&self.folder, hash);
        (path[..self.folder.len() + 3].to_owned(), path)
    }
}

/// What became of reading a payload: its bytes, or what is there instead of them.
pub(crate) type Checked = Result<Vec<u8>, String>;

/// The bytes of a file if they are this payload; else what was found.
pub(crate) fn read_checked(storage: &dyn Storage, path: &str, payload: &Payload) -> Result<Checked, Fault> {
    let fault = |action, e| Fault::io(action, storage.display(path), e);
    let file = match storage.open(path, OpenMode::Read) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Err("no file".into())),
        opened => opened.map_err(|e| fault("open", e))?,
    };
    let found = file.len().map_err(|e| fault("read the length of", e))?;
    if found != payload.bytes {
        return Ok(Err(format!("{found} bytes instead of {}", payload.bytes)));
    }
    let mut bytes = vec![0; usize::try_from(found).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0).map_err(|e| fault("read", e))?;
    bytes.truncate(read);
    match *blake3::hash(&bytes).as_bytes() == payload.hash {
        true => Ok(Ok(bytes)),
        false => Ok(Err("bytes with another hash".into())),
    }
}

/// Every file below a tenant's payloads with its path, and the hash that is its name if that is one.
pub(crate) fn files(storage: &dyn Storage, folder: &str) -> Result<Vec<(String, Option<Digest>)>, Fault> {
    let mut found = Vec::new();
    for inner in folders(storage, folder)? {
        found.extend(files_in(storage, &inner)?);
    }
    Ok(found)
}

/// The folders that have the payloads of a tenant. What is no two digits was put there by somebody else.
fn folders(storage: &dyn Storage, folder: &str) -> Result<Vec<String>, Fault> {
    let names = list(storage, folder)?.into_iter().filter(|name| name.len() == 2 && name.bytes().all(is_digit));
    Ok(names.map(|name| format!("{folder}/{name}")).collect())
}

/// The files of one of them, as [`files`] says.
fn files_in(storage: &dyn Storage, folder: &str) -> Result<Vec<(String, Option<Digest>)>, Fault> {
    let file = |name: String| (format!("{folder}/{name}"), hash_of(folder, &name));
    Ok(list(storage, folder)?.into_iter().map(file).collect())
}

/// The names in a folder; none if it is not there.
fn list(storage: &dyn Storage, folder: &str) -> Result<Vec<String>, Fault> {
    match storage.list(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|e| Fault::io("list", storage.display(folder), e)),
    }
}

/// Where a tenant's payloads are.
pub(crate) fn folder(tenant: &str) -> String {
    format!("{tenant}/payloads")
}

/// Where the payload of this hash is, in a folder of payloads.
pub(crate) fn path(folder: &str, hash: &Digest) -> String {
    let hex = blake3::Hash::from_bytes(*hash).to_hex();
    format!("{folder}/{}/{}", &hex[..2], &hex[2..])
}

/// The hash that is the name of a folder and of a file in it.
fn hash_of(folder: &str, name: &str) -> Option<Digest> {
    let hex = format!("{}{name}", &folder[folder.len() - 2..]);
    let is_hash = hex.len() == 64 && hex.bytes().all(is_digit);
    blake3::Hash::from_hex(&hex).ok().filter(|_| is_hash).map(|hash| *hash.as_bytes())
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// How long a file is; nothing if there is none.
pub(crate) fn length(storage: &dyn Storage, path: &str) -> Result<Option<u64>, Fault> {
    match storage.open(path, OpenMode::Read) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        opened => {
            let length = opened.and_then(|file| file.len());
            length.map(Some).map_err(|e| Fault::io("read the length of", storage.display(path), e))
        }
    }
}

/// Copies the payloads of a tenant to the same folder of another storage, durably, and says how many bytes. One that is removed
/// meanwhile is none that the log refers to.
pub(crate) fn copy(storage: &dyn Storage, tenant: &str, target: &dyn Storage) -> Result<u64, Fault> {
    let mut copied = 0;
    let mut folders = BTreeSet::new();
    let found = files(storage, &folder(tenant))?;
    for path in found.into_iter().filter_map(|(path, hash)| hash.map(|_| path)) {
        let fault = |action, e| Fault::io(action, storage.display(&path), e);
        let file = match storage.open(&path, OpenMode::Read) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            opened => opened.map_err(|e| fault("open", e))?,
        };
        let above = path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        let refused = |action, e| Fault::io(action, target.display(&path), e);
        target.create_dir(&above).map_err(|e| refused("create the folder of", e))?;
        let to = target.open(&path, OpenMode::CreateNew).map_err(|e| refused("create", e))?;
        let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
        loop {
            let read = file.read_at(&mut piece, at).map_err(|e| fault("read", e))?;
            if read == 0 {
                break;
            }
            to.write_at(&piece[..read], at).map_err(|e| refused("write", e))?;
            at += read as u64;
        }
        to.sync().map_err(|e| refused("sync", e))?;
        copied += at;
        folders.insert(above);
    }
    for above in &folders {
        target.sync_dir(above).map_err(|e| Fault::io("sync", target.display(above), e))?;
    }
    if !folders.is_empty() {
        sync_above(target, &format!("{}/-", folder(tenant)))?;
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use quipu_domain::PayloadForm;

    use super::*;
    use crate::DiskStorage;

    fn payload(bytes: &[u8]) -> Payload {
        Payload { hash: *blake3::hash(bytes).as_bytes(), bytes: bytes.len() as u64, form: PayloadForm::Binary }
    }

    fn open(folder: &tempfile::TempDir) -> Arc<Payloads> {
        Payloads::open(Arc::new(DiskStorage::new(folder.path())), "t").unwrap()
    }

    fn file(folder: &tempfile::TempDir, payload: &Payload) -> std::path::PathBuf {
        folder.path().join(path("t/payloads", &payload.hash))
    }

    #[test]
    fn the_same_payload_is_there_once_and_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let payloads = open(&folder);
        for bytes in [&b"one"[..], b"two", b"one"] {
            payloads.keep(payload(bytes).hash, bytes).unwrap().keep();
            assert_eq!(payloads.read(&payload(bytes), 1).unwrap(), bytes);
        }
        assert_eq!(payloads.size(), (2, 6));
        assert_eq!(open(&folder).size(), (2, 6));
    }

    #[test]
    fn what_is_not_what_was_written_is_named_and_written_anew_by_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let payloads = open(&folder);
        let one = payload(b"one");
        payloads.keep(one.hash, b"one").unwrap().keep();
        for (damage, expected) in [(Some(&b"onE"[..]), "another hash"), (Some(b"on"), "2 bytes"), (None, "no file")] {
            match damage {
                Some(bytes) => std::fs::write(file(&folder, &one), bytes).unwrap(),
                None => std::fs::remove_file(file(&folder, &one)).unwrap(),
            }
            let fault = payloads.read(&one, 7).unwrap_err().to_string();
            assert!(fault.contains(expected) && fault.contains("position 7"), "{fault}");
            payloads.keep(one.hash, b"one").unwrap().keep();
            assert_eq!(payloads.read(&one, 7).unwrap(), b"one");
        }
    }

    #[test]
    fn what_nothing_refers_to_is_removed_once_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let payloads = open(&folder);
        let one = payload(b"one");
        let never = |_: &Digest| Ok(false);
        let (first, second) = (payloads.keep(one.hash, b"one").unwrap(), payloads.keep(one.hash, b"one").unwrap());
        drop(first);
        payloads.sweep(never).unwrap();
        assert!(payloads.read(&one, 1).is_ok(), "somebody who found it there holds it");
        drop(second);
        payloads.sweep(|hash| Ok(*hash == one.hash)).unwrap();
        assert!(payloads.read(&one, 1).is_ok(), "it is referred to");
        payloads.keep(one.hash, b"one").unwrap().keep();
        payloads.sweep(never).unwrap();
        assert!(payloads.read(&one, 1).is_ok(), "who refers to it let nothing go");
        drop(payloads.keep(one.hash, b"one").unwrap());
        payloads.sweep(never).unwrap();
        assert!(!file(&folder, &one).exists());
        assert_eq!((payloads.size(), payloads.has_loose()), ((0, 0), false));
    }

    #[test]
    fn what_a_crash_left_is_found_once_and_what_is_held_or_needed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let all = [&b"left"[..], b"needed", b"held", b"found again"];
        let payloads = open(&folder);
        all.iter().for_each(|bytes| payloads.keep(payload(bytes).hash, bytes).unwrap().keep());
        let payloads = open(&folder);
        let held = payloads.keep(payload(b"held").hash, b"held").unwrap();
        drop(payloads.keep(payload(b"found again").hash, b"found again").unwrap());
        let is_needed = |hash: &Digest| Ok(*hash == payload(b"needed").hash);
        let mut looked_at = 0;
        while let Some(count) = payloads.search(is_needed).unwrap() {
            looked_at += count;
        }
        let left: Vec<_> = all.into_iter().filter(|bytes| file(&folder, &payload(bytes)).exists()).collect();
        assert_eq!((looked_at, left), (4, vec![&b"needed"[..], b"held"]));
        assert_eq!(payloads.size(), (2, 10));
        held.keep();
        assert_eq!(payloads.search(is_needed).unwrap(), None, "all was looked through");
        assert!(file(&folder, &payload(b"held")).exists());
    }

    #[test]
    fn what_cannot_be_looked_up_stays() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).keep(payload(b"one").hash, b"one").unwrap().keep();
        let payloads = open(&folder);
        assert!(payloads.search(|_| Err(Fault::Closed)).is_err());
        assert!(file(&folder, &payload(b"one")).exists());
    }

    #[test]
    fn what_a_crash_left_half_written_is_removed_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).keep(payload(b"one").hash, b"one").unwrap().keep();
        let left = file(&folder, &payload(b"one")).with_extension("4.tmp");
        let foreign = folder.path().join("t/payloads/README");
        std::fs::write(&left, b"o").unwrap();
        std::fs::write(&foreign, b"x").unwrap();
        assert_eq!(open(&folder).size(), (1, 3));
        assert!(!left.exists() && foreign.exists());
    }
}
