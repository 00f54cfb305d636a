//! The frame: a commit (or a mark) in a segment file. Length and checksum let the reader tell a whole frame from a
//! torn one; `lag` says what was durable when the frame was written, which is how opening tells a torn tail from
//! damage to something that was acknowledged.
//!
//! ```text
//! frame   = length:u32 crc:u32 payload              length of the payload; CRC32C of nonce (8 bytes) and payload
//! payload = 1:u8 number lag epoch time first chain:[32] count record*    a commit; numbers are varints
//!         | 2:u8 number                                                  a mark: commits up to `number` are durable
//! record  = crc:u32 back kind:u8 version length body
//! ```
//!
//! `lag` is how many commits before this one were not known to be durable; `time` is microseconds since the
//! segment's base time; `back` is the distance from the frame's first byte to the record's, so that a record found
//! through an index leads to its frame; the record's CRC32C covers the commit's number and its recorded time (8 bytes
//! each), which are read with it, and everything after it.
//!
//! A length of 0 is no frame, so zeros (a file's reserved room) never decode. The nonce is the segment's own, so
//! that bytes of another file, or of an earlier use of the blocks, never decode either.

use bytes::Bytes;
use quipu_domain::Timestamp;

use crate::commit::{Chain, Commit, Digest, Record, RecordKind};
use crate::varint::{self, Reader};

/// Largest payload. An append is limited well below it; a length beyond it is not a frame.
pub const PAYLOAD_BYTES_MAX: usize = 128 << 20;
/// Bytes before the payload.
pub const HEAD_BYTES: usize = 8;
const COMMIT: u8 = 1;
const MARK: u8 = 2;

/// What a segment's frames have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameContext {
    /// Random, in the segment's header.
    pub nonce: u64,
    /// What the frames' times count from.
    pub base_time: Timestamp,
}

/// A frame that was read. Its bodies are slices of the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A commit, and the last commit known to be durable when it was written.
    Commit {
        /// The commit; digests are computed from the bodies.
        commit: FramedCommit,
        /// The durable commit number at the time.
        durable: u64,
    },
    /// Nothing but the news that commits up to this number are durable.
    Mark {
        /// The durable commit number.
        durable: u64,
    },
}

/// A commit as it stands in a file: bodies are not hashed until asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedCommit {
    /// See [`Commit::number`].
    pub number: u64,
    /// See [`Commit::epoch`].
    pub epoch: u64,
    /// See [`Commit::recorded_time`].
    pub recorded_time: Timestamp,
    /// See [`Commit::first_position`].
    pub first_position: u64,
    /// See [`Commit::chain_before`].
    pub chain_before: Digest,
    /// The records.
    pub records: Vec<FramedRecord>,
}

/// A record as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedRecord {
    /// Distance from the frame's first byte.
    pub offset: u32,
    /// Its checksum as it stands there; see [`FramedCommit::rotten_record`].
    pub checksum: u32,
    /// What it is.
    pub kind: RecordKind,
    /// See [`Record::stream_version`].
    pub stream_version: u64,
    /// The bytes.
    pub body: Bytes,
}

impl FramedCommit {
    /// The hash that the next commit must name.
    pub fn chain_after(&self) -> Digest {
        let mut chain =
            Chain::new(self.number, self.epoch, self.recorded_time, self.first_position, &self.chain_before);
        for record in &self.records {
            chain.add(record.kind as u8, record.stream_version, blake3::hash(&record.body).as_bytes());
        }
        chain.finish()
    }

    /// The first record that could not be read alone, through an index: its checksum is not that of what it holds.
    pub fn rotten_record(&self) -> Option<&FramedRecord> {
        let seed = head_checksum(self.number, self.recorded_time);
        let mut head = Vec::new();
        self.records.iter().find(|record| {
            head.clear();
            encode_record_head(&mut head, record.offset, record.kind, record.stream_version, record.body.len());
            crc32c::crc32c_append(crc32c::crc32c_append(seed, &head), &record.body) != record.checksum
        })
    }

    /// How many of the records are events.
    pub fn event_count(&self) -> u64 {
        self.records.iter().filter(|record| record.kind == RecordKind::Event).count() as u64
    }
}

/// Appends a commit's frame. `offsets` gets, for each record, its distance from the frame's first byte.
pub fn encode(out: &mut Vec<u8>, context: FrameContext, commit: &Commit, durable: u64, offsets: &mut Vec<u32>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    out.push(COMMIT);
    varint::put(out, commit.number);
    varint::put(out, (commit.number - 1).saturating_sub(durable));
    varint::put(out, commit.epoch);
    varint::put(out, (commit.recorded_time.0 - context.base_time.0).max(0) as u64);
    varint::put(out, commit.first_position);
    out.extend_from_slice(&commit.chain_before);
    varint::put(out, commit.records.len() as u64);
    let seed = head_checksum(commit.number, commit.recorded_time);
    for record in &commit.records {
        let offset = (out.len() - start) as u32;
        offsets.push(offset);
        encode_record(out, offset, record, seed);
    }
    seal(out, start, context);
}

/// Appends a mark.
pub fn encode_mark(out: &mut Vec<u8>, context: FrameContext, durable: u64) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    out.push(MARK);
    varint::put(out, durable);
    seal(out, start, context);
}

fn encode_record(out: &mut Vec<u8>, offset: u32, record: &Record, seed: u32) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_record_head(out, offset, record.kind, record.stream_version, record.body.len());
    out.extend_from_slice(&record.body);
    let crc = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn encode_record_head(out: &mut Vec<u8>, offset: u32, kind: RecordKind, stream_version: u64, body_len: usize) {
    varint::put(out, u64::from(offset));
    out.push(kind as u8);
    varint::put(out, stream_version);
    varint::put(out, body_len as u64);
}

fn seal(out: &mut [u8], start: usize, context: FrameContext) {
    let payload = start + HEAD_BYTES;
    assert!(out.len() - payload <= PAYLOAD_BYTES_MAX, "whoever makes a commit limits its size");
    let len = (out.len() - payload) as u32;
    let crc = checksum(context, &out[payload..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..payload].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(context: FrameContext, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&context.nonce.to_le_bytes()), payload)
}

/// Of what is read of a frame's head with a record: the record's own checksum goes on from it.
fn head_checksum(number: u64, recorded_time: Timestamp) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &recorded_time.0.to_le_bytes())
}

/// Length of the whole frame that starts here, if these bytes could start one.
pub fn frame_bytes(head: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(head.get(..4)?.try_into().ok()?) as usize;
    (1..=PAYLOAD_BYTES_MAX).contains(&len).then_some(HEAD_BYTES + len)
}

/// Reads the frame at the start of `bytes` and its length; nothing if there is no whole, undamaged frame.
pub fn decode(bytes: &Bytes, context: FrameContext) -> Option<(Frame, usize)> {
    let len = frame_bytes(bytes)?;
    let frame = bytes.get(..len)?;
    let crc = u32::from_le_bytes(frame[4..8].try_into().ok()?);
    if checksum(context, &frame[HEAD_BYTES..]) != crc {
        return None;
    }
    let mut reader = Reader::new(&frame[HEAD_BYTES..]);
    let decoded = match reader.byte()? {
        COMMIT => decode_commit(&bytes.slice(..len), reader, context)?,
        MARK => Frame::Mark { durable: reader.varint()? },
        _ => return None,
    };
    Some((decoded, len))
}

/// Whether a whole frame starts here that this version cannot read: its checksum fits, so that it was written like this, by a
/// version that knows more.
pub(crate) fn is_of_another_version(bytes: &Bytes, context: FrameContext) -> bool {
    let whole = frame_bytes(bytes).and_then(|len| bytes.get(HEAD_BYTES..len).map(|payload| (len, payload)));
    whole.is_some_and(|(len, payload)| {
        checksum(context, payload).to_le_bytes() == bytes[4..8] && decode(&bytes.slice(..len), context).is_none()
    })
}

/// What a commit's frame says of the whole commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitHead {
    pub number: u64,
    pub durable: u64,
    pub epoch: u64,
    pub recorded_time: Timestamp,
    pub first_position: u64,
    pub chain_before: Digest,
}

/// Reads a commit's head, from after the kind byte.
pub(crate) fn decode_head(reader: &mut Reader<'_>, context: FrameContext) -> Option<CommitHead> {
    let number = reader.varint()?;
    let lag = reader.varint()?;
    let epoch = reader.varint()?;
    let time = i64::try_from(reader.varint()?).ok()?;
    Some(CommitHead {
        number,
        durable: number.checked_sub(1)?.checked_sub(lag)?,
        epoch,
        recorded_time: Timestamp(context.base_time.0.checked_add(time)?),
        first_position: reader.varint()?,
        chain_before: reader.array()?,
    })
}

fn decode_commit(frame: &Bytes, mut reader: Reader<'_>, context: FrameContext) -> Option<Frame> {
    let head = decode_head(&mut reader, context)?;
    let count = usize::try_from(reader.varint()?).ok()?;
    // A record takes at least 8 bytes, so a hostile count cannot reserve more than the frame holds.
    let mut records = Vec::with_capacity(count.min(reader.rest().len() / 8));
    for _ in 0..count {
        let offset = frame.len() - reader.rest().len();
        // The frame's checksum covers the record's: there is no need to check both for reading.
        let checksum = reader.u32()?;
        let (kind, stream_version, body) = decode_record(&mut reader, offset)?;
        let body_at = frame.len() - reader.rest().len() - body;
        let body = frame.slice(body_at..body_at + body);
        records.push(FramedRecord { offset: offset as u32, checksum, kind, stream_version, body });
    }
    if !reader.rest().is_empty() {
        return None;
    }
    let CommitHead { number, epoch, recorded_time, first_position, chain_before, durable } = head;
    let commit = FramedCommit { number, epoch, recorded_time, first_position, chain_before, records };
    Some(Frame::Commit { commit, durable })
}

/// Reads a record after its checksum; the length of the body, which `reader` has passed.
fn decode_record(reader: &mut Reader<'_>, offset: usize) -> Option<(RecordKind, u64, usize)> {
    if reader.varint()? != offset as u64 {
        return None;
    }
    let kind = RecordKind::from_byte(reader.byte()?)?;
    let stream_version = reader.varint()?;
    Some((kind, stream_version, reader.bytes()?.len()))
}

/// Where a record that was found through an index begins and ends, and its frame.
pub(crate) struct RecordHead {
    /// Distance to the first byte of the frame.
    pub back: u64,
    /// What it is.
    pub kind: RecordKind,
    /// See [`Record::stream_version`].
    pub stream_version: u64,
    /// Where in the bytes the body begins.
    pub body_at: usize,
    /// Its length.
    pub body_len: usize,
}

/// Reads the start of a record; the body may reach beyond the bytes.
pub(crate) fn decode_record_head(bytes: &[u8]) -> Option<RecordHead> {
    let mut reader = Reader::new(bytes);
    reader.u32()?;
    let back = reader.varint()?;
    let kind = RecordKind::from_byte(reader.byte()?)?;
    let stream_version = reader.varint()?;
    let body_len = usize::try_from(reader.varint()?).ok().filter(|len| *len <= PAYLOAD_BYTES_MAX)?;
    Some(RecordHead { back, kind, stream_version, body_at: bytes.len() - reader.rest().len(), body_len })
}

/// Whether a record's bytes, from its checksum to the end of its body, and the number and time of its commit are what was
/// written.
pub(crate) fn is_record_whole(bytes: &[u8], head: &CommitHead) -> bool {
    let seed = head_checksum(head.number, head.recorded_time);
    bytes.len() > 4 && crc32c::crc32c_append(seed, &bytes[4..]).to_le_bytes() == bytes[..4]
}

/// Reads the head of the frame that starts here, for a record in it. The checksum is not checked: that of the record
/// covers its number and its time, and nothing else of it may be used.
pub(crate) fn peek_head(bytes: &[u8], context: FrameContext) -> Option<CommitHead> {
    let mut reader = Reader::new(bytes.get(HEAD_BYTES..)?);
    (reader.byte()? == COMMIT).then(|| decode_head(&mut reader, context))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONTEXT: FrameContext = FrameContext { nonce: 77, base_time: Timestamp(1_000) };

    fn commit() -> Commit {
        let mut event = Record::new(RecordKind::Event, "body");
        event.stream_version = 4;
        Commit {
            number: 9,
            epoch: 1,
            recorded_time: Timestamp(5_000),
            first_position: 12,
            chain_before: [3; 32],
            records: vec![event, Record::checkpoint("s", 1)],
        }
    }

    fn encoded() -> (Bytes, Vec<u32>) {
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        encode(&mut out, CONTEXT, &commit(), 6, &mut offsets);
        (Bytes::from(out), offsets)
    }

    #[test]
    fn a_record_that_could_not_be_read_alone_is_found_in_a_whole_frame() {
        let (bytes, offsets) = encoded();
        let commit = |bytes: Vec<u8>| match decode(&bytes.into(), CONTEXT) {
            Some((Frame::Commit { commit, .. }, _)) => commit,
            other => panic!("{other:?}"),
        };
        assert_eq!(commit(bytes.to_vec()).rotten_record(), None);
        let mut rotten = bytes.to_vec();
        rotten[offsets[1] as usize] ^= 1;
        seal(&mut rotten, 0, CONTEXT);
        assert_eq!(commit(rotten).rotten_record().map(|record| record.offset), Some(offsets[1]));
        // Its commit's time is what it was written with.
        let moved = FramedCommit { recorded_time: Timestamp(5_001), ..commit(bytes.to_vec()) };
        assert!(moved.rotten_record().is_some());
    }

    #[test]
    fn a_commit_is_read_back() {
        let (bytes, offsets) = encoded();
        let Some((Frame::Commit { commit: read, durable }, len)) = decode(&bytes, CONTEXT) else { panic!("a commit") };
        assert_eq!((len, durable), (bytes.len(), 6));
        assert_eq!((read.number, read.first_position, read.recorded_time), (9, 12, Timestamp(5_000)));
        assert_eq!(read.chain_after(), commit().chain_after());
        assert_eq!(read.records.iter().map(|r| r.offset).collect::<Vec<_>>(), offsets);
        let head = decode_record_head(&bytes[offsets[0] as usize..]).unwrap();
        assert_eq!((head.back, head.stream_version, head.body_len), (u64::from(offsets[0]), 4, 4));
    }

    #[test]
    fn a_mark_is_read_back() {
        let mut out = Vec::new();
        encode_mark(&mut out, CONTEXT, 300);
        let len = out.len();
        assert_eq!(decode(&Bytes::from(out), CONTEXT), Some((Frame::Mark { durable: 300 }, len)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, _) = encoded();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&Bytes::from(flipped), CONTEXT), None, "bit {bit}");
        }
    }

    #[test]
    fn a_cut_frame_zeros_and_another_segments_frame_are_none() {
        let (bytes, _) = encoded();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes.slice(..end), CONTEXT), None);
        }
        assert_eq!(decode(&Bytes::from(vec![0; 4096]), CONTEXT), None);
        assert_eq!(decode(&bytes, FrameContext { nonce: 78, ..CONTEXT }), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in any::<Vec<u8>>()) {
            decode_record_head(&bytes);
            peek_head(&bytes, CONTEXT);
            decode(&Bytes::from(bytes.clone()), CONTEXT);
            // With a right head in front, the payload itself is read.
            let mut framed = vec![0; HEAD_BYTES];
            framed.extend_from_slice(&bytes);
            seal(&mut framed, 0, CONTEXT);
            decode(&Bytes::from(framed), CONTEXT);
        }
    }
}
