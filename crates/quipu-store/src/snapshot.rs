//! Files that are written once and whole: snapshots of what memory is a fold of, and index runs. They are caches: a
//! file that is missing or not whole is as good as none.
//!
//! ```text
//! snapshot = body crc:u32 "QUIPUSNP"          named by the last commit that it includes
//! ```

use std::sync::Arc;

use crate::storage::{Fault, File, OpenMode, Storage};

const MAGIC: &[u8; 8] = b"QUIPUSNP";
/// How much of a file is made durable at once: the log, which others wait for, stands behind it at the disk.
const SYNC_BYTES: usize = 4 << 20;
/// Two are kept: if the newest is damaged, the one before saves reading the whole log.
const KEPT: usize = 2;

/// Writes a file under a temporary name, makes it durable, and only then gives it its name.
///
/// # Errors
/// The disk refuses; the file is what it was before.
pub fn write_whole(storage: &dyn Storage, folder: &str, path: &str, bytes: &[u8]) -> Result<(), Fault> {
    write_in_mode(storage, folder, path, bytes, OpenMode::CreateNew)
}

/// The same, made in this mode.
pub(crate) fn write_in_mode(
    storage: &dyn Storage,
    folder: &str,
    path: &str,
    bytes: &[u8],
    mode: OpenMode,
) -> Result<(), Fault> {
    let temporary = format!("{path}.tmp");
    let file = create_temporary(storage, folder, &temporary, mode)?;
    let mut at = 0;
    for piece in bytes.chunks(SYNC_BYTES) {
        if at > 0 {
            file.sync().map_err(|e| Fault::io("sync", storage.display(&temporary), e))?;
        }
        file.write_at(piece, at).map_err(|e| Fault::io("write", storage.display(&temporary), e))?;
        at += piece.len() as u64;
    }
    finish(storage, folder, &temporary, path, file.as_ref())
}

/// Makes a file durable, and gives it its name.
fn finish(storage: &dyn Storage, folder: &str, temporary: &str, path: &str, file: &dyn File) -> Result<(), Fault> {
    file.sync().map_err(|e| Fault::io("sync", storage.display(temporary), e))?;
    storage.rename(temporary, path).map_err(|e| Fault::io("rename", storage.display(temporary), e))?;
    storage.sync_dir(folder).map_err(|e| Fault::io("sync", storage.display(folder), e))
}

/// Writes a snapshot of its own, which a power cut may take away or tear: nobody waits for the disk, and [`read_at`] notices.
///
/// # Errors
/// The disk refuses; the file is what it was before.
pub fn write_unsynced(storage: &dyn Storage, folder: &str, path: &str, body: &[u8]) -> Result<(), Fault> {
    let temporary = format!("{path}.tmp");
    let file = create_temporary(storage, folder, &temporary, OpenMode::CreateNew)?;
    file.write_at(&sealed(body), 0).map_err(|e| Fault::io("write", storage.display(&temporary), e))?;
    storage.rename(&temporary, path).map_err(|e| Fault::io("rename", storage.display(&temporary), e))
}

fn create_temporary(
    storage: &dyn Storage,
    folder: &str,
    temporary: &str,
    mode: OpenMode,
) -> Result<Arc<dyn File>, Fault> {
    let shown = storage.display(temporary);
    let fault = |action, e| Fault::io(action, &shown, e);
    storage.create_dir(folder).map_err(|e| fault("create the folder of", e))?;
    // Left over from a crash.
    match storage.remove(temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fault("remove", e)),
        _ => {}
    }
    storage.open(temporary, mode).map_err(|e| fault("create", e))
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 12);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    bytes
}

/// What a snapshot is written through: some of it is in memory at a time, however large it is.
pub struct Sink<'a> {
    room: Vec<u8>,
    len: u64,
    flush: &'a mut Flush<'a>,
}

/// Takes bytes, and where they go.
type Flush<'a> = dyn FnMut(&[u8], u64) -> Result<(), Fault> + 'a;

/// How much is written at once.
const SINK_BYTES: usize = 1 << 20;

impl<'a> Sink<'a> {
    fn new(flush: &'a mut Flush<'a>) -> Self {
        Self { room: Vec::with_capacity(SINK_BYTES + (64 << 10)), len: 0, flush }
    }

    /// Where the next bytes go, at the end.
    ///
    /// # Errors
    /// Those before cannot be written.
    pub fn room(&mut self) -> Result<&mut Vec<u8>, Fault> {
        if self.room.len() >= SINK_BYTES {
            self.flush()?;
        }
        Ok(&mut self.room)
    }

    /// Writes some bytes.
    ///
    /// # Errors
    /// Those before cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.room()?.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        (self.flush)(&self.room, self.len)?;
        self.len += self.room.len() as u64;
        self.room.clear();
        Ok(())
    }

    /// How many bytes something writes.
    ///
    /// # Errors
    /// Whatever it refuses.
    pub fn measure(write: impl FnOnce(&mut Sink<'_>) -> Result<(), Fault>) -> Result<u64, Fault> {
        let mut nowhere = |_: &[u8], _: u64| Ok(());
        let mut sink = Sink::new(&mut nowhere);
        write(&mut sink)?;
        sink.flush()?;
        Ok(sink.len)
    }

    /// All that something writes.
    ///
    /// # Errors
    /// Whatever it refuses.
    pub fn collect(write: impl FnOnce(&mut Sink<'_>) -> Result<(), Fault>) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8], _: u64| {
            all.extend_from_slice(bytes);
            Ok(())
        };
        let mut sink = Sink::new(&mut add);
        write(&mut sink)?;
        sink.flush()?;
        Ok(all)
    }
}

/// Writes the snapshot that includes commit `number`, and removes old ones.
///
/// # Errors
/// The disk refuses, or `body` does; what was there is there.
pub fn write(
    storage: &dyn Storage,
    folder: &str,
    number: u64,
    body: impl FnOnce(&mut Sink<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let path_of = path(folder, number);
    let temporary = format!("{path_of}.tmp");
    let file = create_temporary(storage, folder, &temporary, OpenMode::CreateNew)?;
    let write_at =
        |bytes: &[u8], at| file.write_at(bytes, at).map_err(|e| Fault::io("write", storage.display(&temporary), e));
    let (mut crc, mut synced) = (0, 0);
    let mut flush = |bytes: &[u8], at: u64| {
        crc = crc32c::crc32c_append(crc, bytes);
        if at >= synced + SYNC_BYTES as u64 {
            file.sync().map_err(|e| Fault::io("sync", storage.display(&temporary), e))?;
            synced = at;
        }
        write_at(bytes, at)
    };
    let mut sink = Sink::new(&mut flush);
    body(&mut sink)?;
    sink.flush()?;
    let len = sink.len;
    let end = [&crc.to_le_bytes()[..], MAGIC].concat();
    write_at(&end, len)?;
    finish(storage, folder, &temporary, &path_of, file.as_ref())?;
    let numbers = list(storage, folder)?;
    for old in numbers.iter().rev().skip(KEPT) {
        let path = path(folder, *old);
        storage.remove(&path).map_err(|e| Fault::io("remove", storage.display(&path), e))?;
    }
    Ok(())
}

/// Removes what a crash left of files that were being written.
pub fn remove_unfinished(storage: &dyn Storage, folder: &str) -> Result<(), Fault> {
    // A folder that is not there has none.
    for name in storage.list(folder).unwrap_or_default().iter().filter(|name| name.ends_with(".tmp")) {
        let path = format!("{folder}/{name}");
        storage.remove(&path).map_err(|e| Fault::io("remove", storage.display(&path), e))?;
    }
    Ok(())
}

/// The numbers of the snapshots in a folder, in order.
pub fn list(storage: &dyn Storage, folder: &str) -> Result<Vec<u64>, Fault> {
    let names = match storage.list(folder) {
        Ok(names) => names,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Fault::io("list", storage.display(folder), e)),
    };
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".snapshot")).filter_map(|n| n.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The body of a snapshot, or nothing if it is not whole.
pub fn read(storage: &dyn Storage, folder: &str, number: u64) -> Result<Option<Vec<u8>>, Fault> {
    read_at(storage, &path(folder, number))
}

/// The body of the snapshot in a file, or nothing if it is not whole.
///
/// # Errors
/// The disk refuses; a file that is not there is [`Fault::Io`].
pub fn read_at(storage: &dyn Storage, path: &str) -> Result<Option<Vec<u8>>, Fault> {
    let fault = |action, e| Fault::io(action, storage.display(path), e);
    let file = storage.open(path, OpenMode::Read).map_err(|e| fault("open", e))?;
    let len = file.len().map_err(|e| fault("read the length of", e))? as usize;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0).map_err(|e| fault("read", e))?;
    let Some(body) = len.checked_sub(12).filter(|_| read == len) else { return Ok(None) };
    let is_whole = bytes[body + 4..] == *MAGIC && crc32c::crc32c(&bytes[..body]).to_le_bytes() == bytes[body..body + 4];
    bytes.truncate(body);
    Ok(is_whole.then_some(bytes))
}

/// Bytes in all the files of a folder; 0 if it does not exist.
pub fn folder_bytes(storage: &dyn Storage, folder: &str) -> u64 {
    let size = |name: &String| storage.open(&format!("{folder}/{name}"), OpenMode::Read).and_then(|file| file.len());
    storage.list(folder).map_or(0, |names| names.iter().map(|name| size(name).unwrap_or(0)).sum())
}

fn path(folder: &str, number: u64) -> String {
    format!("{folder}/{number:016}.snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DiskStorage;

    #[test]
    fn the_newest_two_are_kept_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(folder.path());
        for number in [3, 7, 12] {
            let body = format!("body {number}");
            let write_body = |sink: &mut Sink<'_>| sink.write(body.as_bytes());
            write(&storage, "s", number, write_body).unwrap();
        }
        assert_eq!(list(&storage, "s").unwrap(), [7, 12]);
        assert_eq!(read(&storage, "s", 12).unwrap().as_deref(), Some(&b"body 12"[..]));
        let path = folder.path().join("s/0000000000000012.snapshot");
        for cut in [&b""[..], b"body", b"body 13"] {
            std::fs::write(&path, cut).unwrap();
            assert_eq!(read(&storage, "s", 12).unwrap(), None);
        }
        assert_eq!(list(&storage, "none").unwrap(), [0u64; 0]);
    }

    #[test]
    fn a_large_body_goes_through_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(folder.path());
        let body = |sink: &mut Sink<'_>| (0..500_000u64).try_for_each(|n| sink.write(&n.to_le_bytes()));
        write(&storage, "s", 1, body).unwrap();
        let read = read(&storage, "s", 1).unwrap().unwrap();
        assert_eq!((read.len() as u64, &read), (Sink::measure(body).unwrap(), &Sink::collect(body).unwrap()));
        assert_eq!(read[8 * 499_999..], 499_999u64.to_le_bytes());
    }

    #[test]
    fn a_snapshot_of_its_own_is_replaced_whole_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(folder.path());
        for body in ["one", "two"] {
            // What a crash left of the one before.
            std::fs::create_dir_all(folder.path().join("s")).unwrap();
            std::fs::write(folder.path().join("s/a.tmp"), "half").unwrap();
            write_unsynced(&storage, "s", "s/a", body.as_bytes()).unwrap();
            assert_eq!(read_at(&storage, "s/a").unwrap().as_deref(), Some(body.as_bytes()));
        }
        assert_eq!(storage.list("s").unwrap(), ["a"]);
        std::fs::write(folder.path().join("s/a"), "two").unwrap();
        assert_eq!(read_at(&storage, "s/a").unwrap(), None);
        assert!(read_at(&storage, "s/b").is_err());
    }
}
