//! What somebody does to a log behind everybody's back: an event is another, with all checksums, and only the chain tells.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use quipu_domain::Timestamp;
use quipu_store::frame::{Frame, FrameContext, decode, encode};
use quipu_store::{Commit, Record};

/// Bytes of a segment before its first frame.
const HEADER_BYTES: usize = 88;

/// Changes an event in the folder of a log: a text of it, into one that is as long. The commit has an event with the marker.
///
/// # Panics
/// If there is none.
pub fn tamper(folder: &Path, marker: &str, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let find = |bytes: &[u8], text: &str| bytes.windows(text.len()).position(|window| window == text.as_bytes());
    for entry in fs::read_dir(folder).expect("the log can be read and written") {
        let path = entry.expect("the log can be read and written").path();
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        let mut whole = fs::read(&path).expect("the log can be read and written");
        let number =
            |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().expect("the log can be read and written"));
        let context = FrameContext { nonce: number(12), base_time: Timestamp(number(36) as i64) };
        let mut at = HEADER_BYTES;
        while let Some((frame, len)) = decode(&Bytes::from(whole[at..].to_vec()), context) {
            if let Frame::Commit { commit, durable } = frame
                && commit.records.iter().any(|record| find(&record.body, marker).is_some())
            {
                let record = |record: &quipu_store::FramedRecord| {
                    let mut body = record.body.to_vec();
                    if find(&body, marker).is_some() {
                        let place = find(&body, old).expect("the log can be read and written");
                        body[place..place + new.len()].copy_from_slice(new.as_bytes());
                    }
                    Record { stream_version: record.stream_version, ..Record::new(record.kind, body) }
                };
                let changed = Commit {
                    number: commit.number,
                    epoch: commit.epoch,
                    recorded_time: commit.recorded_time,
                    first_position: commit.first_position,
                    chain_before: commit.chain_before,
                    records: commit.records.iter().map(record).collect(),
                };
                let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
                encode(&mut bytes, context, &changed, durable, &mut offsets);
                assert_eq!(bytes.len(), len);
                whole[at..at + len].copy_from_slice(&bytes);
                fs::write(&path, whole).expect("the log can be read and written");
                return;
            }
            at += len;
        }
    }
    panic!("no event {marker} in {}", folder.display());
}
