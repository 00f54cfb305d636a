//! Each fault that the disk promises really happens.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use quipu_store::{File, OpenMode, Storage};
use quipu_testkit::{FailedSync, FaultyDisk, Kind, Trigger};

fn read(disk: &FaultyDisk, path: &str) -> Option<Vec<u8>> {
    disk.contents(path)
}

/// A file `d/f` whose name is durable.
fn prepared(disk: &FaultyDisk) -> Arc<dyn File> {
    disk.create_dir("d").unwrap();
    let file = disk.open("d/f", OpenMode::CreateNew).unwrap();
    disk.sync_dir("").unwrap();
    disk.sync_dir("d").unwrap();
    file
}

#[test]
fn what_is_written_is_read_at_once() {
    let disk = FaultyDisk::new(1);
    let file = prepared(&disk);
    file.write_at(b"hello", 3).unwrap();
    let mut buffer = [9; 10];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
    assert_eq!(&buffer[..8], b"\0\0\0hello");
    file.set_len(4).unwrap();
    file.allocate(6).unwrap();
    assert_eq!((file.len().unwrap(), read(&disk, "d/f").unwrap()), (6, b"\0\0\0h\0\0".to_vec()));
    assert_eq!(disk.list("d").unwrap(), ["f"]);
    assert_eq!(disk.list("").unwrap(), ["d"]);
    assert_eq!(disk.list("nowhere").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.open("d/f", OpenMode::CreateNew).err().unwrap().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn what_is_synced_survives_every_crash() {
    for seed in 0..100 {
        let disk = FaultyDisk::new(seed);
        let file = prepared(&disk);
        file.write_at(&[7; 2_000], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(read(&disk.crash_and_recover(seed), "d/f").unwrap(), [7; 2_000]);
        assert_eq!(file.read_at(&mut [0], 0).unwrap_err().to_string(), "simulated power cut");
    }
}

#[test]
fn unsynced_writes_are_lost_kept_torn_and_reordered() {
    let (mut lost, mut kept, mut prefix, mut sectors, mut second_only) = (0, 0, 0, 0, 0);
    for seed in 0..400 {
        let disk = FaultyDisk::new(0);
        let file = prepared(&disk);
        file.write_at(&[1; 2_048], 0).unwrap();
        file.write_at(&[2; 2_048], 2_048).unwrap();
        let left = read(&disk.crash_and_recover(seed), "d/f").unwrap();
        let of = |value: u8| left.iter().filter(|byte| **byte == value).count();
        lost += usize::from(of(1) + of(2) == 0);
        kept += usize::from(of(1) + of(2) == 4_096);
        prefix += usize::from(of(1) % 512 != 0);
        sectors += usize::from(of(1) == 1_024 && left[..1_024].contains(&0));
        second_only += usize::from(of(1) == 0 && of(2) == 2_048);
    }
    for count in [lost, kept, prefix, sectors, second_only] {
        assert!(count > 0, "{:?}", [lost, kept, prefix, sectors, second_only]);
    }
}

#[test]
fn an_older_write_may_end_up_over_a_newer_one() {
    let outcomes: BTreeSet<u8> = (0..200)
        .map(|seed| {
            let disk = FaultyDisk::new(0);
            let file = prepared(&disk);
            file.write_at(&[1; 512], 0).unwrap();
            file.sync().unwrap();
            file.write_at(&[2; 512], 0).unwrap();
            file.write_at(&[3; 512], 0).unwrap();
            read(&disk.crash_and_recover(seed), "d/f").unwrap()[0]
        })
        .collect();
    assert_eq!(outcomes, [1, 2, 3].into());
}

#[test]
fn an_unsynced_length_may_be_lost() {
    let lengths: BTreeSet<usize> = (0..100)
        .map(|seed| {
            let disk = FaultyDisk::new(0);
            let file = prepared(&disk);
            file.write_at(&[1; 100], 0).unwrap();
            file.sync().unwrap();
            file.set_len(10).unwrap();
            file.allocate(500).unwrap();
            read(&disk.crash_and_recover(seed), "d/f").unwrap().len()
        })
        .collect();
    assert_eq!(lengths, [10, 100, 500].into());
}

#[test]
fn an_unsynced_name_may_be_lost_and_a_synced_one_is_not() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..50 {
        let disk = FaultyDisk::new(0);
        prepared(&disk);
        let file = disk.open("d/new", OpenMode::CreateNew).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync().unwrap();
        disk.create_dir("e/deep").unwrap();
        let after = disk.crash_and_recover(seed);
        assert!(after.files().contains(&"d/f".to_owned()));
        match read(&after, "d/new") {
            Some(bytes) => {
                assert_eq!(bytes, b"x");
                kept += 1;
            }
            None => lost += 1,
        }
    }
    assert!(lost > 0 && kept > 0);
}

#[test]
fn what_stands_in_a_lost_folder_is_lost() {
    let survivors = (0..50).filter(|seed| {
        let disk = FaultyDisk::new(0);
        disk.create_dir("d").unwrap();
        disk.open("d/f", OpenMode::CreateNew).unwrap().sync().unwrap();
        disk.sync_dir("d").unwrap();
        disk.crash_and_recover(*seed).files() == ["d/f"]
    });
    assert!((1..50).contains(&survivors.count()));
}

#[test]
fn a_rename_is_whole_or_did_not_happen() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..50 {
        let disk = FaultyDisk::new(0);
        prepared(&disk).write_at(b"old", 0).unwrap();
        disk.open("d/f", OpenMode::Read).unwrap().sync().unwrap();
        let new = disk.open("d/tmp", OpenMode::CreateNew).unwrap();
        new.write_at(b"new", 0).unwrap();
        new.sync().unwrap();
        disk.rename("d/tmp", "d/f").unwrap();
        match read(&disk.crash_and_recover(seed), "d/f").unwrap().as_slice() {
            b"old" => before += 1,
            b"new" => after += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(before > 0 && after > 0);
}

#[test]
fn a_removed_name_may_come_back_until_its_folder_is_synced() {
    let back = (0..50).filter(|seed| {
        let disk = FaultyDisk::new(0);
        prepared(&disk);
        disk.remove("d/f").unwrap();
        assert!(read(&disk, "d/f").is_none());
        read(&disk.crash_and_recover(*seed), "d/f").is_some()
    });
    assert!((1..50).contains(&back.count()));
    let disk = FaultyDisk::new(0);
    prepared(&disk);
    disk.remove("d/f").unwrap();
    disk.sync_dir("d").unwrap();
    assert!((0..50).all(|seed| read(&disk.crash_and_recover(seed), "d/f").is_none()));
}

#[test]
fn the_power_is_cut_at_the_call_that_was_named() {
    let mut partly = 0;
    for seed in 0..50 {
        let disk = FaultyDisk::new(seed);
        let file = prepared(&disk);
        let calls = disk.calls();
        disk.crash_at(calls + 2);
        file.write_at(b"first", 0).unwrap();
        assert!(file.write_at(b"second", 5).is_err() && disk.is_dead());
        assert!(file.sync().is_err() && disk.list("d").is_err() && disk.open("d/f", OpenMode::Read).is_err());
        let len = read(&disk.kill(), "d/f").unwrap().len();
        partly += usize::from((6..11).contains(&len));
    }
    assert!(partly > 0);
}

#[test]
fn a_killed_process_leaves_the_page_cache() {
    let disk = FaultyDisk::new(0);
    let file = prepared(&disk);
    let _lock = disk.lock("d/lock").unwrap();
    file.write_at(b"x", 0).unwrap();
    let after = disk.kill();
    assert_eq!(read(&after, "d/f").unwrap(), b"x");
    assert!(disk.is_dead() && after.lock("d/lock").is_ok());
    assert!((0..50).any(|seed| read(&after.crash_and_recover(seed), "d/f").unwrap().is_empty()));
}

#[test]
fn injected_errors_hit_the_calls_that_were_named() {
    let disk = FaultyDisk::new(0);
    let file = prepared(&disk);
    disk.fail(Kind::Write, Trigger::At(2));
    let written: Vec<bool> = (0..4).map(|i| file.write_at(b"x", i).is_ok()).collect();
    assert_eq!(written, [true, false, true, true]);
    disk.fail(Kind::Read, Trigger::Percent(100));
    assert!(file.read_at(&mut [0], 0).is_err());
    disk.fail(Kind::Read, Trigger::Percent(50));
    let failed = (0..200).filter(|_| file.read_at(&mut [0], 0).is_err()).count();
    assert!((50..150).contains(&failed), "{failed}");
    disk.fail(Kind::Read, Trigger::Never);
    assert!(file.read_at(&mut [0], 0).is_ok());
}

#[test]
fn an_injected_error_of_a_name_leaves_it_changed_or_not() {
    let (mut renamed, mut kept) = (0, 0);
    for seed in 0..60 {
        let disk = FaultyDisk::new(seed);
        let file = prepared(&disk);
        disk.fail(Kind::Change, Trigger::At(1));
        assert_eq!(disk.rename("d/f", "d/g").unwrap_err().to_string(), "simulated I/O error");
        *if read(&disk, "d/g").is_some() { &mut renamed } else { &mut kept } += 1;
        for change in [&|| file.set_len(9), &|| file.allocate(9), &|| disk.create_dir("e") as _] as [&dyn Fn() -> _; 3]
        {
            disk.fail(Kind::Change, Trigger::At(1));
            assert!(change().is_err());
        }
        disk.fail(Kind::Change, Trigger::At(1));
        assert!(disk.open("d/h", OpenMode::CreateNew).is_err());
        assert_eq!(disk.failed(), 5);
    }
    assert!(renamed > 10 && kept > 10, "{renamed} {kept}");
}

#[test]
fn a_failed_sync_of_a_folder_leaves_its_names_to_a_power_cut() {
    let mut left = BTreeSet::new();
    for seed in 0..60 {
        let disk = FaultyDisk::new(seed);
        prepared(&disk);
        disk.open("d/g", OpenMode::CreateNew).unwrap();
        disk.fail(Kind::SyncDir, Trigger::At(1));
        assert!(disk.sync_dir("d").is_err());
        left.insert(disk.crash_and_recover(seed).files().len());
    }
    assert_eq!(left, BTreeSet::from([1, 2]));
}

#[test]
fn a_failed_sync_does_what_was_asked() {
    for (outcome, visible, durable) in [
        (FailedSync::StayDirty, BTreeSet::from([1]), BTreeSet::from([1])),
        (FailedSync::Dropped, BTreeSet::from([0, 1]), BTreeSet::from([0, 1])),
        (FailedSync::Clean, BTreeSet::from([1]), BTreeSet::from([0, 1])),
    ] {
        let (mut seen, mut left) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..60 {
            let disk = FaultyDisk::new(seed);
            let file = prepared(&disk);
            file.set_len(10).unwrap();
            file.sync().unwrap();
            disk.failed_sync(outcome);
            disk.fail(Kind::Sync, Trigger::At(1));
            file.write_at(&[1], 0).unwrap();
            assert!(file.sync().is_err());
            file.sync().unwrap();
            seen.insert(read(&disk, "d/f").unwrap()[0]);
            left.insert(read(&disk.crash_and_recover(seed), "d/f").unwrap()[0]);
        }
        assert_eq!((seen, left), (visible, durable), "{outcome:?}");
    }
}

#[test]
fn a_full_disk_takes_no_more_bytes() {
    let disk = FaultyDisk::new(0);
    let file = prepared(&disk);
    disk.limit_bytes(Some(100));
    file.write_at(&[1; 90], 0).unwrap();
    assert_eq!(file.write_at(&[1; 20], 90).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.allocate(101).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(&[2; 10], 0).unwrap();
    assert!(disk.bytes() <= 100);
    disk.limit_bytes(None);
    file.write_at(&[1; 20], 90).unwrap();
}

#[test]
fn a_read_only_disk_is_read_but_not_changed() {
    let disk = FaultyDisk::new(0);
    let file = prepared(&disk);
    file.write_at(b"x", 0).unwrap();
    disk.set_read_only(true);
    let refused = ErrorKind::ReadOnlyFilesystem;
    assert_eq!(file.write_at(b"y", 0).unwrap_err().kind(), refused);
    assert_eq!(disk.create_dir("e").unwrap_err().kind(), refused);
    assert_eq!(disk.remove("d/f").unwrap_err().kind(), refused);
    assert_eq!(disk.rename("d/f", "d/g").unwrap_err().kind(), refused);
    assert_eq!(disk.lock("d/lock").err().unwrap().kind(), refused);
    assert_eq!(disk.open("d/f", OpenMode::ReadWrite).err().unwrap().kind(), refused);
    let mut byte = [0];
    disk.open("d/f", OpenMode::Read).unwrap().read_at(&mut byte, 0).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn a_flipped_bit_is_flipped_for_good() {
    let disk = FaultyDisk::new(0);
    let file = prepared(&disk);
    file.write_at(&[0; 4], 0).unwrap();
    file.sync().unwrap();
    assert!(disk.flip("d/f", 2, 3) && !disk.flip("d/f", 4, 0) && !disk.flip("d/none", 0, 0));
    assert_eq!(read(&disk.crash_and_recover(1), "d/f").unwrap(), [0, 0, 8, 0]);
}

#[test]
fn a_lock_has_one_holder() {
    let disk = FaultyDisk::new(0);
    let lock = disk.lock("lock").unwrap();
    assert_eq!(disk.lock("lock").err().unwrap().kind(), ErrorKind::WouldBlock);
    drop(lock);
    let _held = disk.lock("lock").unwrap();
    assert!(disk.crash_and_recover(1).lock("lock").is_ok());
}
