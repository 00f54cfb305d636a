//! Payloads at every power cut, and in the hands of two who have the same: what somebody was told is there is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::{Event, Payload, PayloadForm, Timestamp};
use quipu_engine::{Options, Tenant, World};
use quipu_store::{Fault, Kept, Payloads};
use quipu_testkit::{FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

const TENANT: &str = "tenants/default";

fn payload(bytes: &[u8]) -> Payload {
    Payload { hash: *blake3::hash(bytes).as_bytes(), bytes: bytes.len() as u64, form: PayloadForm::Binary }
}

fn open(disk: &FaultyDisk) -> Option<Arc<Payloads>> {
    Payloads::open(Arc::new(disk.clone()), TENANT).ok()
}

/// Of two sectors and a bit, told apart by the number.
fn content(number: u8) -> Vec<u8> {
    (0..1_100u32).map(|at| number.wrapping_mul(31).wrapping_add(at as u8)).collect()
}

fn keep(payloads: &Arc<Payloads>, number: u8) -> Option<Kept> {
    payloads.keep(payload(&content(number)).hash, &content(number)).ok()
}

/// Keeps some, one of them twice, and lets go of one. Says which are to be there, and which were let go of.
fn script(disk: &FaultyDisk) -> BTreeMap<u8, bool> {
    let mut told = BTreeMap::new();
    let Some(payloads) = open(disk) else { return told };
    for number in [1, 2, 1, 3] {
        if let Some(kept) = keep(&payloads, number) {
            kept.keep();
            told.insert(number, true);
        }
    }
    if let Some(kept) = keep(&payloads, 4) {
        drop(kept);
        told.insert(4, false);
        let _ = payloads.sweep(|_| Ok(false));
    }
    told
}

fn check(disk: &FaultyDisk, told: &BTreeMap<u8, bool>, how: &str) {
    let payloads = open(disk).unwrap_or_else(|| panic!("{how}: it does not open"));
    for number in 1..=4 {
        match payloads.read(&payload(&content(number)), 1) {
            Ok(bytes) => assert_eq!(bytes, content(number), "{how}: payload {number}"),
            Err(fault) => assert_ne!(told.get(&number), Some(&true), "{how}: payload {number}: {fault}"),
        }
    }
    assert!(disk.files().iter().all(|path| !path.ends_with(".tmp")), "{how}: {:?}", disk.files());
    // Whoever was told is the only one who refers to anything.
    let needed: Vec<_> = told.iter().filter(|(_, needed)| **needed).map(|(number, _)| *number).collect();
    let is_needed = |hash: &[u8; 32]| Ok(needed.iter().any(|number| payload(&content(*number)).hash == *hash));
    while payloads.search(is_needed).unwrap_or_else(|fault| panic!("{how}: {fault}")).is_some() {}
    assert_eq!(payloads.size().0, needed.len() as u64, "{how}: what a crash left is removed, and nothing else");
    for number in needed {
        assert!(payloads.read(&payload(&content(number)), 1).is_ok(), "{how}: payload {number}");
    }
}

#[test]
fn a_power_cut_at_any_call_leaves_every_payload_that_somebody_was_told_of() {
    let mut calls = 0;
    for call in 1.. {
        let disk = FaultyDisk::new(call);
        disk.crash_at(call);
        let told = script(&disk);
        let is_over = !disk.is_dead();
        for seed in 0..12 {
            check(&disk.crash_and_recover(seed), &told, &format!("power cut at call {call}, recovery {seed}"));
        }
        if is_over {
            calls = call;
            break;
        }
    }
    assert!(calls > 40, "the script is too short: {calls} calls");
}

#[test]
fn whoever_finds_what_a_killed_process_wrote_makes_it_durable() {
    for call in 1.. {
        let first = FaultyDisk::new(call);
        first.crash_at(call);
        let _ = script(&first);
        let is_over = !first.is_dead();
        // The process died, not the machine: all that it wrote is in the page cache, and nothing of it need be durable.
        let disk = first.kill();
        let payloads = open(&disk).expect("nothing fails any more");
        let told: BTreeMap<u8, bool> = [1, 2, 3].into_iter().map(|number| (number, true)).collect();
        told.keys().for_each(|number| keep(&payloads, *number).expect("nothing fails any more").keep());
        for seed in 0..12 {
            check(&disk.crash_and_recover(seed), &told, &format!("killed at call {call}, recovery {seed}"));
        }
        if is_over {
            break;
        }
    }
}

#[test]
fn after_a_folder_that_was_not_synced_no_payload_is_promised() {
    let disk = FaultyDisk::new(1);
    let payloads = open(&disk).unwrap();
    disk.fail(Kind::SyncDir, Trigger::At(1));
    assert!(keep(&payloads, 1).is_none());
    disk.fail(Kind::SyncDir, Trigger::Never);
    // A second sync would say that all is well.
    let refused = payloads.keep(payload(&content(1)).hash, &content(1)).unwrap_err();
    assert!(refused.to_string().contains("restart"), "{refused}");
    check(&disk.crash_and_recover(0), &BTreeMap::new(), "after the failure");
    assert!(keep(&open(&disk.kill()).unwrap(), 1).is_some());
}

#[test]
fn a_full_disk_refuses_a_payload_and_keeps_what_is_there() {
    let disk = FaultyDisk::new(1);
    let payloads = open(&disk).unwrap();
    keep(&payloads, 1).unwrap().keep();
    disk.limit_bytes(Some(disk.bytes() + 500));
    let refused = payloads.keep(payload(&content(2)).hash, &content(2)).unwrap_err();
    assert!(matches!(refused, Fault::DiskFull { .. }), "{refused}");
    assert_eq!((payloads.size(), disk.files().len()), ((1, 1_100), 1));
    disk.limit_bytes(None);
    keep(&payloads, 2).unwrap().keep();
    check(&disk.crash_and_recover(0), &BTreeMap::from([(1, true), (2, true)]), "with room again");
}

#[test]
fn an_event_whose_payload_has_no_room_is_refused_and_smaller_ones_go_on() {
    let disk = FaultyDisk::new(1);
    let world = World {
        storage: Arc::new(disk.clone()),
        clock: Arc::new(VirtualClock::new(Timestamp(0))),
        random: Arc::new(SeededRandom::new(1)),
    };
    let options = Options { claim_check_bytes: 512, segment_bytes: 64 << 10, threads: 1, ..Options::default() };
    let tenant = Tenant::open(&world, TENANT, options).unwrap();
    let publish = |id: &str, bytes: usize| {
        let event = Event::builder(id, "/s", "t").json(format!("\"{}\"", "x".repeat(bytes))).build().unwrap();
        tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()])
    };
    publish("1", 10).unwrap();
    disk.limit_bytes(Some(disk.bytes() + 500));
    assert!(matches!(publish("2", 1_000), Err(Fault::DiskFull { .. })));
    publish("3", 10).unwrap();
    assert_eq!((tenant.position(), tenant.stats().unwrap().payloads), (2, 0));
    disk.limit_bytes(None);
    publish("2", 1_000).unwrap();
    assert_eq!(tenant.stats().unwrap().payloads, 1);
}
