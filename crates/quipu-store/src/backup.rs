//! Copies a tenant's log while it may be written to. Segments are only ever appended to, so a copy up to a whole
//! commit is the log as it was at that commit. Indexes and snapshots are caches and stay behind: opening the copy
//! rebuilds them. Payloads are copied behind the log.
//!
//! The copy is checked, chain and all, as it is read back. Until all of it is durable its files have names of their own:
//! a backup that was interrupted is never taken for a short log.

use crate::check::{CheckReport, check};
use crate::payload;
use crate::recovery;
use crate::segment::{self, Segment};
use crate::storage::{Fault, OpenMode, Storage, sync_above};

const COPY_BYTES: usize = 4 << 20;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Bytes copied.
    pub bytes: u64,
    /// What the check of the copy found.
    pub check: CheckReport,
}

/// Copies the log of the tenant in `folder` to the same folder of another storage, durably, and checks the copy.
/// `progress` is told the bytes copied and all there are, and then the same of those read back.
///
/// # Errors
/// The copy's folder has a log already, something cannot be read or written, or a whole commit cannot be read.
pub fn backup(
    storage: &dyn Storage,
    folder: &str,
    target: &dyn Storage,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackupReport, Fault> {
    let log = format!("{folder}/log");
    target.create_dir(&log).map_err(|e| Fault::io("create", target.display(&log), e))?;
    sync_above(target, &log)?;
    if !segment::list(target, &log)?.is_empty() || segment::unfinished_copy(target, &log)?.is_some() {
        let taken = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "expected an empty folder, found a log");
        return Err(Fault::io("write a backup to", target.display(&log), taken));
    }
    let ordinals = segment::list(storage, &log)?;
    let mut segments = Vec::with_capacity(ordinals.len());
    for (i, ordinal) in ordinals.iter().enumerate() {
        match Segment::open(storage, &log, *ordinal, OpenMode::Read)? {
            Some(segment) => segments.push(segment),
            // The last one is being made right now.
            None if i + 1 == ordinals.len() => {}
            None => {
                let path = storage.display(&segment::path(&log, *ordinal));
                let detail = "the segment's header is not what was written".into();
                return Err(Fault::Damaged { path, offset: 0, detail });
            }
        }
    }
    // The last segment may hold reserved room that is not copied: a little less is copied than announced.
    let all = segments.iter().map(Segment::end).sum();
    let mut done = 0;
    for (i, segment) in segments.iter().enumerate() {
        let end = if i + 1 == segments.len() { recovery::find_end(segment)?.offset } else { segment.end() };
        let path = segment::partial_path(&log, segment.ordinal);
        let name = target.display(&path);
        let copy = target.open(&path, OpenMode::CreateNew).map_err(|e| Fault::io("create", &name, e))?;
        let mut at = 0;
        while at < end {
            let bytes = segment.read(at, (end - at).min(COPY_BYTES as u64) as usize)?;
            if bytes.is_empty() {
                return Err(segment.damaged(at, "the file became shorter while it was read"));
            }
            copy.write_at(&bytes, at).map_err(|e| Fault::io("write", &name, e))?;
            at += bytes.len() as u64;
            progress(done + at, all);
        }
        copy.sync().map_err(|e| Fault::io("sync", &name, e))?;
        done += end;
    }
    target.sync_dir(&log).map_err(|e| Fault::io("sync", target.display(&log), e))?;
    // Behind the log: what its events refer to was there before they were.
    done += payload::copy(storage, folder, target)?;
    for segment in &segments {
        let (from, to) = (segment::partial_path(&log, segment.ordinal), segment::path(&log, segment.ordinal));
        target.rename(&from, &to).map_err(|e| Fault::io("rename", target.display(&from), e))?;
    }
    target.sync_dir(&log).map_err(|e| Fault::io("sync", target.display(&log), e))?;
    Ok(BackupReport { bytes: done, check: check(target, folder, progress)? })
}
