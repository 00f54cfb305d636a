//! What a bad disk or a bad shutdown does to a folder, and what opening makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quipu_domain::{Direction, Filter};
use quipu_engine::{Fault, Published, Tenant};

use crate::support::*;

fn fill(folder: &Path, events: u64) {
    let tenant = open(folder, small()).unwrap();
    for i in 0..events {
        publish(&tenant, &event(&i.to_string(), "s"));
        while tenant.maintain().unwrap() {}
    }
    tenant.close().unwrap();
}

fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == kind) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Some files, of which there are some.
fn remove(files: Vec<PathBuf>) {
    assert!(!files.is_empty());
    files.iter().for_each(|path| fs::remove_file(path).unwrap());
}

fn count(tenant: &Tenant) -> usize {
    tenant.read(&Filter::default(), Direction::Forward, None, 10_000).unwrap().events.len()
}

#[test]
fn a_torn_tail_is_cut_kept_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 30);
    let last = files(folder.path(), "seg").pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(&[9; 40]);
    bytes.extend_from_slice(&[0; 1_000]);
    fs::write(&last, bytes).unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let torn = tenant.torn_tail().unwrap();
    assert_eq!((torn.offset, torn.bytes), (whole as u64, 40));
    assert_eq!(fs::read(&torn.kept).unwrap(), [9; 40]);
    assert_eq!(count(&tenant), 30);
    assert!(matches!(publish(&tenant, &event("new", "s")), Published::Recorded(place) if place.position == 31));
}

#[test]
fn a_flipped_bit_anywhere_in_the_last_segment_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 30);
    let last = files(folder.path(), "seg").pop().unwrap();
    let before = fs::read(&last).unwrap();
    // The mark of the clean stop is the last frame: 8 bytes of head, a kind and a number.
    for at in (0..before.len() - 11).step_by(7) {
        flip(&last, at);
        let damaged = fs::read(&last).unwrap();
        match open(folder.path(), small()) {
            Err(Fault::Damaged { path, .. }) => assert_eq!(Path::new(&path), last, "byte {at}"),
            other => panic!("byte {at}: expected damage, found {:?}", other.map(|tenant| tenant.position())),
        }
        assert_eq!(fs::read(&last).unwrap(), damaged);
        fs::write(&last, &before).unwrap();
    }
    assert_eq!(count(&open(folder.path(), small()).unwrap()), 30);
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_named_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 120);
    let segments = files(folder.path(), "seg");
    assert!(segments.len() > 2);
    flip(&segments[1], 3_000);
    let tenant = open(folder.path(), small()).unwrap();
    let read = tenant.read(&Filter::default(), Direction::Forward, None, 10_000);
    assert!(matches!(read, Err(Fault::Damaged { path, .. }) if Path::new(&path) == segments[1]));
    // What is not damaged can still be read.
    assert!(tenant.event_at(1).unwrap().is_some());
    assert!(tenant.event_at(120).unwrap().is_some());
}

#[test]
fn a_flipped_bit_right_after_a_kill_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for i in 0..5 {
        publish(&tenant, &event(&i.to_string(), "s"));
    }
    // No clean stop, no idle moment: the process is gone.
    drop(tenant);
    let last = files(folder.path(), "seg").pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    flip(&last, end - 40);
    assert!(matches!(open(folder.path(), small()), Err(Fault::Damaged { .. })));
}

#[test]
fn a_log_that_lost_its_end_is_noticed_by_what_was_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 120);
    let segments = files(folder.path(), "seg");
    fs::remove_file(segments.last().unwrap()).unwrap();
    fs::remove_file(&segments[segments.len() - 2]).unwrap();
    let fault = open(folder.path(), small()).map(|_| ()).unwrap_err();
    assert!(matches!(&fault, Fault::Damaged { detail, .. } if detail.contains("end of the log is missing")), "{fault}");
}

#[test]
fn a_missing_segment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 120);
    let segments = files(folder.path(), "seg");
    fs::remove_file(&segments[1]).unwrap();
    let fault = open(folder.path(), small()).map(|_| ()).unwrap_err();
    assert!(matches!(fault, Fault::Damaged { path, .. } if Path::new(&path) == segments[1]));
}

#[test]
fn missing_and_damaged_caches_are_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 120);
    let damage: [fn(&Path); 6] = [
        |folder| remove(files(folder, "run")),
        |folder| remove(files(folder, "snapshot")),
        |folder| remove([files(folder, "run"), files(folder, "snapshot")].concat()),
        |folder| fs::remove_file(&files(folder, "run")[1]).unwrap(),
        |folder| files(folder, "run").iter().for_each(|path| flip(path, 20)),
        |folder| files(folder, "snapshot").iter().for_each(|path| flip(path, 9)),
    ];
    for damage in damage {
        damage(folder.path());
        let tenant = open(folder.path(), small()).unwrap();
        assert_eq!(count(&tenant), 120);
        assert_eq!(tenant.read_stream("s", Direction::Forward, None, 1_000).unwrap().events.len(), 120);
        assert!(matches!(publish(&tenant, &event("7", "s")), Published::Duplicate(place) if place.position == 8));
        tenant.close().unwrap();
    }
}

#[test]
fn caches_that_are_deleted_while_open_are_not_missed_then_and_made_again_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 120);
    let mut tenant = open(folder.path(), small()).unwrap();
    let is_whole = |tenant: &Arc<Tenant>, events: u64| {
        let subject = Filter { subjects: vec!["s".into()], ..Filter::default() };
        let page = tenant.read(&subject, Direction::Forward, None, 10_000).unwrap();
        assert_eq!((page.events.len(), count(tenant)), (events as usize, events as usize));
        assert_eq!(tenant.stream("s").unwrap().version, events);
        for i in 0..events {
            let again = publish(tenant, &event(&i.to_string(), "s"));
            assert!(matches!(again, Published::Duplicate(place) if place.position == i + 1));
        }
    };
    // Again and again, between events that fill new runs and snapshots.
    for events in (120..300).step_by(30) {
        remove([files(folder.path(), "run"), files(folder.path(), "snapshot")].concat());
        is_whole(&tenant, events);
        for i in events..events + 30 {
            publish(&tenant, &event(&i.to_string(), "s"));
            while tenant.maintain().unwrap() {}
        }
    }
    remove([files(folder.path(), "run"), files(folder.path(), "snapshot")].concat());
    tenant.close().unwrap();
    drop(tenant);
    tenant = open(folder.path(), small()).unwrap();
    is_whole(&tenant, 300);
    assert!(files(folder.path(), "run").len() >= 10, "they are made again");
}

#[test]
fn a_run_that_is_damaged_while_open_is_rebuilt_when_it_is_met() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 120);
    let tenant = open(folder.path(), small()).unwrap();
    files(folder.path(), "run").iter().for_each(|path| flip(path, 20));
    for i in 0..120 {
        assert!(tenant.event_by_id("/test", &i.to_string()).unwrap().is_some());
    }
}

#[test]
fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), small()).unwrap();
    assert!(matches!(open(folder.path(), small()), Err(Fault::Locked { .. })));
    drop(first);
    assert!(open(folder.path(), small()).is_ok());
}
