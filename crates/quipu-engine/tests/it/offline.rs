//! Checking and copying a tenant's folder, while it is open and after.

use std::fs;
use std::path::{Path, PathBuf};

use quipu_domain::{Direction, Filter};
use quipu_store::{CheckReport, DiskStorage, backup, check};

use crate::support::*;

fn check_folder(folder: &Path) -> CheckReport {
    check(&DiskStorage::new(folder), "t", &mut |_, _| {}).unwrap()
}

fn segment(folder: &Path, ordinal: u32) -> PathBuf {
    folder.join(format!("t/log/{ordinal:08}.seg"))
}

fn filled(folder: &Path) -> std::sync::Arc<quipu_engine::Tenant> {
    let tenant = open(folder, small()).unwrap();
    for i in 0..120 {
        publish(&tenant, &event(&i.to_string(), "s"));
        while tenant.maintain().unwrap() {}
    }
    tenant
}

#[test]
fn a_whole_folder_has_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).close().unwrap();
    let report = check_folder(folder.path());
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.events, report.commits, report.torn), (120, 121, None));
    assert!(report.segments > 2 && report.caches > 5);
}

#[test]
fn a_change_of_any_byte_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).close().unwrap();
    for ordinal in [1, 2] {
        let path = segment(folder.path(), ordinal);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(61) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            let report = check_folder(folder.path());
            let named = report.problems.iter().any(|problem| problem.contains(&path.display().to_string()));
            assert!(named, "segment {ordinal}, byte {at}: {:?}", report.problems);
        }
        fs::write(&path, whole).unwrap();
    }
}

/// Whoever restores a backup because of an index that is made again anyway has done harm.
#[test]
fn a_damaged_cache_is_named_and_is_no_damage_to_the_store() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).close().unwrap();
    for cache in ["t/index", "t/snapshots"] {
        let path = fs::read_dir(folder.path().join(cache)).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let report = check_folder(folder.path());
    assert_eq!((report.problems.len(), report.cache_problems.len()), (0, 2), "{report:?}");
}

/// A server beside the check has just begun the segment.
#[test]
fn a_last_segment_without_its_header_is_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).close().unwrap();
    let last = (1..).take_while(|ordinal| segment(folder.path(), *ordinal).exists()).last().unwrap();
    fs::write(segment(folder.path(), last + 1), [0; 10]).unwrap();
    let report = check_folder(folder.path());
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.events, report.torn.map(|torn| torn.offset)), (120, Some(0)));
}

/// What a frame of a commit has behind its head, docs/formats/segment.md.
const COMMIT: u8 = 1;

/// The frames of a segment, without its header of 88 bytes and the zeros of reserved room.
fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut rest) = (Vec::new(), &segment[88..]);
    while let Some(length) = rest.first_chunk().map(|length| u32::from_le_bytes(*length) as usize).filter(|n| *n > 0) {
        let (frame, behind) = rest.split_at(8 + length);
        frames.push(frame.to_vec());
        rest = behind;
    }
    frames
}

/// Changes the frames of a log of one segment, knowing its nonce. Checking, opening and copying must all name it, and change nothing.
fn is_damage(change: impl FnOnce(&mut Vec<Vec<u8>>, &[u8]), named: &str) {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tenant = open(folder.path(), small()).unwrap();
    (0..5).for_each(|i| _ = publish(&tenant, &event(&i.to_string(), "s")));
    tenant.close().unwrap();
    drop(tenant);
    fs::remove_dir_all(folder.path().join("t/snapshots")).ok();
    let path = segment(folder.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let mut frames = frames(&bytes);
    change(&mut frames, &bytes[12..20]);
    let changed = [bytes[..88].to_vec(), frames.concat()].concat();
    fs::write(&path, &changed).unwrap();
    let problems = check_folder(folder.path()).problems;
    assert!(problems.iter().any(|problem| problem.contains(named)), "{problems:?}");
    let fault = open(folder.path(), small()).map(drop).unwrap_err().to_string();
    assert!(fault.contains(named), "{fault}");
    assert_eq!(fs::read(&path).unwrap(), changed);
    let copied = backup(&DiskStorage::new(folder.path()), "t", &DiskStorage::new(copy.path()), &mut |_, _| {});
    let is_named = match &copied {
        Ok(report) => report.check.problems.iter().any(|problem| problem.contains(named)),
        Err(fault) => fault.to_string().contains(named),
    };
    assert!(is_named, "{copied:?}");
}

/// It was written whole: whatever wrote it there, nobody knows that it was never acknowledged.
#[test]
fn a_whole_frame_that_does_not_continue_the_log_is_damage_and_no_torn_tail() {
    let repeat = |frames: &mut Vec<Vec<u8>>, _: &[u8]| {
        let last = frames.iter().rfind(|frame| frame[8] == COMMIT).unwrap().clone();
        frames.push(last);
    };
    is_damage(repeat, "expected commit 7, found 6");
}

/// Nothing behind it vouches for it, as after a crash of that version.
#[test]
fn a_whole_commit_with_a_record_of_a_newer_version_is_not_cut() {
    let newer = |frames: &mut Vec<Vec<u8>>, nonce: &[u8]| {
        let mut frame = frames.iter().rfind(|frame| frame[8] == COMMIT).unwrap().clone();
        let after_varint = |at: usize| at + frame[at..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        // After number, lag, epoch, time and first position the hash, then how many records; of the first the checksum and
        // how far it is from the frame's start.
        let records = after_varint((0..5).fold(9, |at, _| after_varint(at)) + 32);
        let kind = after_varint(records + 4);
        assert_eq!(frame[kind], 1, "an event");
        frame[kind] = 200;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(nonce), &frame[8..]);
        frame[4..8].copy_from_slice(&checksum.to_le_bytes());
        frames.push(frame);
    };
    is_damage(newer, "a whole commit that this version of Quipu cannot read");
}

#[test]
fn a_last_commit_that_is_gone_before_the_mark_that_vouches_for_it_is_missed() {
    let forget = |frames: &mut Vec<Vec<u8>>, _: &[u8]| {
        let last = frames.iter().rposition(|frame| frame[8] == COMMIT).unwrap();
        frames.remove(last);
    };
    is_damage(forget, "commits 6 to 6, from position 5 on, were acknowledged and cannot be read");
}

#[test]
fn a_segment_of_another_log_breaks_the_chain() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(folder.path()).close().unwrap();
    let tenant = open(other.path(), small()).unwrap();
    for i in 0..120 {
        publish(&tenant, &event_of("order.placed", &i.to_string(), "s", "{\"n\":2}"));
    }
    tenant.close().unwrap();
    fs::copy(segment(other.path(), 2), segment(folder.path(), 2)).unwrap();
    assert!(!check_folder(folder.path()).problems.is_empty());
}

#[test]
fn a_backup_of_an_open_store_opens_and_is_whole() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tenant = filled(folder.path());
    let target = DiskStorage::new(copy.path());
    let (mut last, mut beginnings) = (u64::MAX, 0);
    let mut progress = |done, _| beginnings += u32::from(done < std::mem::replace(&mut last, done));
    let report = backup(&DiskStorage::new(folder.path()), "t", &target, &mut progress).unwrap();
    assert_eq!(beginnings, 2, "the copying, and the reading back");
    assert_eq!((report.check.events, report.check.problems.len()), (120, 0));
    publish(&tenant, &event("later", "s"));
    let restored = open(copy.path(), small()).unwrap();
    assert_eq!(restored.read(&Filter::default(), Direction::Forward, None, 1_000).unwrap().events.len(), 120);
    assert!(backup(&DiskStorage::new(folder.path()), "t", &target, &mut |_, _| {}).is_err());
}

#[test]
fn an_interrupted_backup_is_not_taken_for_a_short_log() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(folder.path()).close().unwrap();
    let (source, target) = (DiskStorage::new(folder.path()), DiskStorage::new(copy.path()));
    let killed = std::panic::catch_unwind(|| {
        backup(&source, "t", &target, &mut |done, all| assert!(done < all / 2, "here it is killed"))
    });
    assert!(killed.is_err());
    let fault = open(copy.path(), small()).map(drop).unwrap_err().to_string();
    assert!(fault.contains(".partial") && fault.contains("interrupted"), "{fault}");
    assert!(check_folder(copy.path()).problems.iter().any(|problem| problem.contains("interrupted")));
    assert!(backup(&source, "t", &target, &mut |_, _| {}).is_err());
}
