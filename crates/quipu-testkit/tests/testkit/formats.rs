//! The bytes that `docs/formats` shows are a log that this version reads.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quipu_domain::{Filter, Timestamp};
use quipu_engine::{Options, Tenant, World};
use quipu_store::{OpenMode, Storage, check};
use quipu_testkit::{FOLDER, FaultyDisk, SeededRandom, VirtualClock};

/// The bytes of the page's `hex` block: lines of offset, two spaces, bytes, two spaces, text.
fn shown() -> Vec<u8> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/segment.md");
    let text = fs::read_to_string(page).unwrap();
    let block = text.split("```hex\n").nth(1).unwrap().split("```").next().unwrap();
    let bytes = block.lines().flat_map(|line| line.get(6..53).unwrap().split_whitespace());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_segment_on_the_format_page_is_a_sound_log_and_is_read() {
    let disk = FaultyDisk::new(1);
    let log = format!("{FOLDER}/log");
    disk.create_dir(&log).unwrap();
    let file = disk.open(&format!("{log}/00000001.seg"), OpenMode::CreateNew).unwrap();
    file.write_at(&shown(), 0).unwrap();

    let report = check(&disk, FOLDER, &mut |_, _| {}).unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!((report.commits, report.events, report.torn), (2, 1, None));

    let clock = Arc::new(VirtualClock::new(Timestamp(0)));
    let random = Arc::new(SeededRandom::new(1));
    let tenant = Tenant::open(&World { storage: Arc::new(disk), clock, random }, FOLDER, Options::default()).unwrap();
    assert_eq!(tenant.checkpoint("old"), Some(7));
    let page = tenant.read(&Filter::default(), quipu_domain::Direction::Forward, None, 10).unwrap();
    let event = page.events[0].event();
    assert_eq!((event.id(), event.source(), event.kind()), ("1", "/shop", "order.placed"));
    assert_eq!((event.subject(), event.tags().collect::<Vec<_>>()), (Some("order/17"), vec!["customer:ada"]));
    assert_eq!((page.events[0].stamp.position, page.events[0].stamp.stream_version), (1, Some(1)));
    // Alone, by its own checksum.
    assert_eq!(tenant.event_at(1).unwrap().unwrap().stamp, page.events[0].stamp);
}
