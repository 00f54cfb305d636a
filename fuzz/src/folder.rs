//! Files of a data folder that somebody else may have written: segments, index runs, snapshots and system records.
//! Checksums would keep nearly all bytes out, so they are made to fit.

use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_store::{Expr, FileLog, FileLogOptions, Log, OpenMode, Record, RecordKind, Run, Storage, TornTail};
use quipu_testkit::FaultyDisk;

use super::crc32c;

const FOOTER_BYTES: usize = 56;
const NONCE: u64 = 7;

fn disk_with(folder: &str, path: &str, bytes: &[u8]) -> Arc<FaultyDisk> {
    let disk = FaultyDisk::new(1);
    disk.create_dir(folder).expect("the disk is not faulty yet");
    let file = disk.open(path, OpenMode::CreateNew).expect("the disk is not faulty yet");
    file.write_at(bytes, 0).expect("the disk is not faulty yet");
    Arc::new(disk)
}

/// A segment of these payloads, each behind two bytes of length: a log that opens, opens again with the same end, and
/// a check of it says beforehand what opening makes of it.
pub fn segment(bytes: &[u8]) -> bool {
    let disk = disk_with("t/log", "t/log/00000001.seg", &framed(bytes));
    let open = || FileLog::open(disk.clone(), "t/log", FileLogOptions { segment_bytes: 1 << 20 }, Timestamp(0), || 8);
    let check = || quipu_store::check(disk.as_ref(), "t", &mut |_, _| {}).expect("the disk is not faulty");
    let report = check();
    assert_eq!(report.segments, 1);
    let (log, torn) = match open() {
        Ok(opened) => opened,
        Err(fault) => {
            assert!(!report.problems.is_empty(), "found sound, and does not open: {fault}");
            return false;
        }
    };
    let found = |problem: &&String| !LEFT_BY_OPENING.iter().any(|left| problem.contains(left));
    assert_eq!(report.problems.iter().find(found), None, "found damaged, and opens");
    if !report.problems.is_empty() {
        return false;
    }
    let place = |torn: TornTail| (torn.path, torn.offset, torn.bytes);
    assert_eq!(report.torn.map(place), torn.map(place));
    let tail = log.tail_at_opening();
    assert_eq!((report.commits, report.events, report.chain), (tail.number, tail.next_position - 1, tail.chain));
    let mut next = log.seek(1);
    while let Ok(chunk) = log.scan(next, 1 << 16) {
        let is_end = chunk.commits.is_empty();
        next = chunk.next;
        if is_end {
            break;
        }
    }
    drop(log);
    let again = check();
    assert_eq!((again.problems.len(), again.torn, again.chain), (0, None, tail.chain));
    let (again, torn) = open().expect("a log that opened opens again");
    assert_eq!((again.tail_at_opening(), torn.is_none()), (tail, true));
    tail.number > 0
}

/// What a check looks for and the opening of a log does not: that is found when the commit is read, or a tenant is opened.
const LEFT_BY_OPENING: [&str; 3] = ["what its own checksum says", "the hash chain is broken", "it was recorded before"];

/// The first segment of a log, with these payloads in frames whose checksums fit.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut segment = [b"QUIPUSEG", &2u32.to_le_bytes()[..], &NONCE.to_le_bytes()].concat();
    [1u64, 1, 0, 1].iter().for_each(|part| segment.extend_from_slice(&part.to_le_bytes()));
    segment.extend_from_slice(&[0; 32]);
    segment.extend_from_slice(&crc32c(&[], &segment).to_le_bytes());
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_at_checked(2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]])).min(behind.len());
        let (payload, behind) = behind.split_at(length);
        segment.extend_from_slice(&(length as u32).to_le_bytes());
        segment.extend_from_slice(&crc32c(&NONCE.to_le_bytes(), payload).to_le_bytes());
        segment.extend_from_slice(payload);
        rest = behind;
    }
    segment
}

/// An index run: every question is answered or refused as damage, with no more memory than the file has.
pub fn run(bytes: &[u8]) -> bool {
    let disk = disk_with("index", "index/a.run", &sealed(bytes));
    let Ok(run) = Run::open(disk.as_ref(), "index/a.run") else { return false };
    let _ = (run.pairs(), run.pairs_in(0..=u64::MAX), run.end_position());
    let _ = (run.locator(run.first_position()), run.locator(run.end_position().saturating_sub(1)));
    let _ = run.select(&Expr::Or(vec![Expr::Has(1), Expr::And(vec![Expr::Has(2), Expr::All])]));
    run.check().is_ok()
}

/// The bytes with the checksums that a run of their shape has.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let Some(footer) = bytes.len().checked_sub(FOOTER_BYTES) else { return bytes };
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (locators, fences) = (number(&bytes, footer + 16) as usize, number(&bytes, footer + 20) as usize);
    if locators <= fences && fences <= footer {
        for fence in (fences..footer.saturating_sub(15)).step_by(16) {
            let (from, length) = (number(&bytes, fence + 8) as usize, number(&bytes, fence + 12) as usize);
            seal(&mut bytes[..fences], from, from + length);
        }
        for from in (locators..fences).step_by(4_100) {
            seal(&mut bytes[..fences], from, fences.min(from + 4_100));
        }
        let crc = crc32c(&[], &bytes[fences..footer]);
        bytes[footer + 36..footer + 40].copy_from_slice(&crc.to_le_bytes());
    }
    bytes[footer + 40..footer + 44].copy_from_slice(&1u32.to_le_bytes());
    seal(&mut bytes, footer, footer + 48);
    bytes[footer + 48..].copy_from_slice(b"QUIPURUN");
    bytes
}

fn seal(bytes: &mut [u8], from: usize, end: usize) {
    let Some(stretch) = bytes.get_mut(from..end).filter(|stretch| stretch.len() >= 4) else { return };
    let (body, crc) = stretch.split_at_mut(stretch.len() - 4);
    crc.copy_from_slice(&crc32c(&[], body).to_le_bytes());
}

/// The body of a snapshot: what is read is written, and read the same.
pub fn snapshot(bytes: &[u8]) -> bool {
    let Some(written) = quipu_engine::read_snapshot(bytes) else { return false };
    assert_eq!(quipu_engine::read_snapshot(&written), Some(written));
    true
}

/// System records, each a byte of kind, two of length and a body: what memory keeps of them survives a snapshot, and a
/// checkpoint of an outside source is written as it was read.
pub fn records(bytes: &[u8]) -> bool {
    const KINDS: [RecordKind; 12] = [
        RecordKind::Subscription,
        RecordKind::Progress,
        RecordKind::DeadLetter,
        RecordKind::DeadLetterOutcome,
        RecordKind::Operation,
        RecordKind::Key,
        RecordKind::Tenant,
        RecordKind::Schema,
        RecordKind::Declaration,
        RecordKind::Projection,
        RecordKind::Timer,
        RecordKind::Schedule,
    ];
    let (mut records, mut rest) = (Vec::new(), bytes);
    while let Some((head, behind)) = rest.split_at_checked(3) {
        let length = usize::from(u16::from_le_bytes([head[1], head[2]])).min(behind.len());
        let (body, behind) = behind.split_at(length);
        // Of whatever kind: memory takes a checkpoint in by another way than these.
        if let Some((source, number)) = Record::read_checkpoint(body) {
            assert_eq!(Record::read_checkpoint(&Record::checkpoint(source, number).body), Some((source, number)));
        }
        records.push((KINDS[usize::from(head[0]) % KINDS.len()], body));
        rest = behind;
    }
    let written = quipu_engine::fold_records(&records);
    assert_eq!(quipu_engine::read_snapshot(&written).as_ref(), Some(&written));
    written != quipu_engine::fold_records(&[])
}
