//! What a failing disk means to whoever appends: each fault has one outcome, and a message that names the file and what
//! to do. The simulation meets these faults in every mixture; here each stands alone.

use std::sync::Arc;

use quipu_domain::{Direction, Event, Filter, Timestamp};
use quipu_engine::{Fault, Options, Published, Tenant, World};
use quipu_store::Storage;
use quipu_testkit::{FailedSync, FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

fn open(disk: &FaultyDisk) -> Result<Arc<Tenant>, Fault> {
    open_with(disk, 30)
}

fn open_with(disk: &FaultyDisk, run_events: usize) -> Result<Arc<Tenant>, Fault> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let options = Options { segment_bytes: 16 << 10, run_events, ..Options::default() };
    let clock = Arc::new(VirtualClock::new(Timestamp(1)));
    Tenant::open(&World { storage, clock, random: Arc::new(SeededRandom::new(1)) }, "t", options)
}

fn publish(tenant: &Arc<Tenant>, id: &str) -> Result<Vec<Published>, Fault> {
    let event = Event::builder(id, "/s", "t").subject("s").build().unwrap();
    tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()])
}

fn readable(tenant: &Tenant) -> usize {
    tenant.read(&Filter::default(), Direction::Forward, None, 10_000).unwrap().events.len()
}

/// Publishes until the disk refuses; how many were acknowledged, and the fault.
fn publish_until_refused(tenant: &Arc<Tenant>) -> (usize, Fault) {
    for i in 0..100_000 {
        if let Err(fault) = publish(tenant, &i.to_string()) {
            return (i, fault);
        }
    }
    panic!("the disk never refused");
}

#[test]
fn a_full_disk_makes_the_store_read_only_and_says_so() {
    let disk = FaultyDisk::new(1);
    let tenant = open_with(&disk, 1_000_000).unwrap();
    for i in 0..10 {
        publish(&tenant, &format!("before{i}")).unwrap();
    }
    disk.limit_bytes(Some(disk.bytes() + 2_000));
    let (acknowledged, fault) = publish_until_refused(&tenant);
    assert!(matches!(&fault, Fault::DiskFull { path } if path.contains("/log/")), "{fault}");
    assert!(fault.to_string().contains("free some room"), "{fault}");
    assert!(matches!(publish(&tenant, "more"), Err(Fault::DiskFull { .. })));
    assert_eq!(readable(&tenant), 10 + acknowledged);
    // Room alone does not help a store whose last write failed: a restart does.
    disk.limit_bytes(None);
    drop(tenant);
    let tenant = open(&disk).unwrap();
    assert!(readable(&tenant) >= 10 + acknowledged);
    publish(&tenant, "after").unwrap();
}

/// Memory would grow without end otherwise: what index runs do not hold is in memory.
#[test]
fn appends_stop_when_index_runs_cannot_be_written_and_go_on_when_they_can() {
    let disk = FaultyDisk::new(1);
    let tenant = open(&disk).unwrap();
    publish(&tenant, "before").unwrap();
    // The log has reserved its room, so index runs are the first that find none.
    disk.limit_bytes(Some(disk.bytes() + 500));
    let (acknowledged, fault) = publish_until_refused(&tenant);
    assert!(fault.to_string().contains("/index/"), "{fault}");
    assert!((80..130).contains(&acknowledged), "{acknowledged} events are a few memtables of 30");
    assert_eq!(tenant.refuses_appends().map(|fault| fault.to_string()), Some(fault.to_string()));
    assert_eq!(readable(&tenant), 1 + acknowledged);
    disk.limit_bytes(None);
    while tenant.maintain().unwrap() {}
    publish(&tenant, "after").unwrap();
    assert_eq!(readable(&tenant), 2 + acknowledged);
}

#[test]
fn a_failed_sync_refuses_appends_until_a_restart_and_loses_nothing() {
    for outcome in [FailedSync::StayDirty, FailedSync::Dropped, FailedSync::Clean] {
        let disk = FaultyDisk::new(2);
        disk.failed_sync(outcome);
        let tenant = open(&disk).unwrap();
        for i in 0..10 {
            publish(&tenant, &format!("before{i}")).unwrap();
        }
        disk.fail(Kind::Sync, Trigger::At(1));
        let fault = publish(&tenant, "unknown").unwrap_err();
        assert!(fault.to_string().contains("restart"), "{fault}");
        let later = publish(&tenant, "later");
        // What the disk said stays the reason.
        assert!(matches!(later, Err(Fault::Poisoned { .. } | Fault::DiskFull { .. })), "{later:?}");
        assert_eq!(readable(&tenant), 10);
        drop(tenant);
        let tenant = open(&disk).unwrap();
        assert!(readable(&tenant) >= 10);
        publish(&tenant, "after").unwrap();
    }
}

#[test]
fn a_read_only_folder_is_named_when_it_is_opened() {
    let disk = FaultyDisk::new(3);
    let tenant = open(&disk).unwrap();
    publish(&tenant, "1").unwrap();
    tenant.close().unwrap();
    drop(tenant);
    disk.set_read_only(true);
    let fault = open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(&fault, Fault::Io { path, .. } if path.contains("simulation") || path.contains('/')), "{fault}");
    assert!(fault.to_string().contains("mount its file system writable"), "{fault}");
    disk.set_read_only(false);
    assert_eq!(readable(&open(&disk).unwrap()), 1);
}

#[test]
fn a_damaged_index_is_read_around_on_a_disk_that_takes_nothing() {
    let disk = FaultyDisk::new(1);
    let tenant = open(&disk).unwrap();
    for i in 0..100 {
        publish(&tenant, &i.to_string()).unwrap();
        while tenant.maintain().unwrap() {}
    }
    let runs: Vec<String> = disk.files().into_iter().filter(|path| path.ends_with(".run")).collect();
    assert_eq!(runs.len(), 3);
    let look_up = |tenant: &Tenant| {
        for i in 0..100 {
            let found = tenant.event_by_id("/s", &i.to_string()).unwrap();
            assert_eq!(found.map(|event| event.stamp.position), Some(i + 1));
            assert!(tenant.event_at(i + 1).unwrap().is_some());
        }
        let read = tenant.read_stream("s", Direction::Forward, None, 1_000).unwrap();
        assert_eq!(read.events.len(), 100);
    };
    disk.set_read_only(true);
    runs.iter().for_each(|path| assert!(disk.flip(path, 20, 3)));
    look_up(&tenant);
    // Nothing of it was kept: the next process meets the damage again, and mends it.
    disk.set_read_only(false);
    drop(tenant);
    let damaged: Vec<_> = runs.iter().map(|path| disk.contents(path)).collect();
    look_up(&open(&disk).unwrap());
    for (path, damaged) in runs.iter().zip(damaged) {
        assert_ne!(disk.contents(path), damaged, "{path}");
    }
}

#[test]
fn a_disk_that_gives_back_another_index_than_it_took_is_named() {
    let disk = FaultyDisk::new(1);
    let tenant = open(&disk).unwrap();
    for i in 0..40 {
        publish(&tenant, &i.to_string()).unwrap();
        while tenant.maintain().unwrap() {}
    }
    let run = disk.files().into_iter().find(|path| path.ends_with(".run")).unwrap();
    assert!(disk.flip(&run, 20, 3));
    disk.spoil_renamed(Some(".run"));
    // It took it: to go on with what memory holds would hide that nothing on it can be trusted.
    let fault = tenant.event_by_id("/s", "1").unwrap_err();
    assert!(matches!(&fault, Fault::Damaged { path, .. } if *path == disk.display(&run)), "{fault}");
    disk.spoil_renamed(None);
    assert!(tenant.event_by_id("/s", "1").unwrap().is_some());
}
