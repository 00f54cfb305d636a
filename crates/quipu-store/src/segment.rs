//! One segment file: a header, then frames. A segment is sealed when the next one is made; it is never written again.
//!
//! ```text
//! header = "QUIPUSEG" format:u32 (2) nonce:u64 first_number:u64 first_position:u64 base_time:i64 epoch:u64
//!          chain_before:[32] crc:u32              88 bytes, little-endian; CRC32C of everything before it
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::Timestamp;

use crate::commit::Digest;
use crate::frame::FrameContext;
use crate::storage::{Fault, File, OpenMode, Storage};
use crate::varint::Reader;

/// Bytes before the first frame.
pub const HEADER_BYTES: u64 = 88;
const MAGIC: &[u8; 8] = b"QUIPUSEG";
const FORMAT: u32 = 2;
const PARTIAL: &str = ".partial";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub nonce: u64,
    pub first_number: u64,
    pub first_position: u64,
    pub base_time: Timestamp,
    pub epoch: u64,
    pub chain_before: Digest,
}

pub(crate) struct Segment {
    pub ordinal: u32,
    /// For messages, as a user would type it.
    pub name: String,
    pub file: Arc<dyn File>,
    pub header: SegmentHeader,
    /// Bytes that hold the header and whole frames.
    end: AtomicU64,
}

impl SegmentHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        for part in [self.nonce, self.first_number, self.first_position, self.base_time.0 as u64, self.epoch] {
            out.extend_from_slice(&part.to_le_bytes());
        }
        out.extend_from_slice(&self.chain_before);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a header; what was found instead if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let none = || "no whole segment header".to_owned();
        let mut reader = Reader::new(bytes);
        if reader.take(8).ok_or_else(none)? != MAGIC {
            return Err("a file that does not begin with QUIPUSEG".into());
        }
        let format = reader.u32().ok_or_else(none)?;
        let mut number = || reader.u64();
        let (nonce, first_number, first_position) = (number(), number(), number());
        let (base_time, epoch) = (number(), number());
        let chain_before = reader.array();
        let crc = reader.u32().ok_or_else(none)?;
        if crc32c::crc32c(bytes.get(..HEADER_BYTES as usize - 4).ok_or_else(none)?) != crc {
            return Err("a header whose checksum does not fit".into());
        }
        if format != FORMAT {
            return Err(format!("segment format {format}"));
        }
        let header = (|| {
            Some(Self {
                nonce: nonce?,
                first_number: first_number?,
                first_position: first_position?,
                base_time: Timestamp(base_time? as i64),
                epoch: epoch?,
                chain_before: chain_before?,
            })
        })();
        header.ok_or_else(none)
    }

    pub fn context(&self) -> FrameContext {
        FrameContext { nonce: self.nonce, base_time: self.base_time }
    }
}

impl Segment {
    /// Makes a new segment, durable with its name before this returns.
    pub fn create(storage: &dyn Storage, folder: &str, ordinal: u32, header: SegmentHeader) -> Result<Self, Fault> {
        let path = path(folder, ordinal);
        let name = storage.display(&path);
        let file = storage.open(&path, OpenMode::CreateNew).map_err(|e| Fault::io("create", &name, e))?;
        file.write_at(&header.encode(), 0).map_err(|e| Fault::io("write", &name, e))?;
        file.sync().map_err(|e| Fault::io("sync", &name, e))?;
        storage.sync_dir(folder).map_err(|e| Fault::io("sync", storage.display(folder), e))?;
        Ok(Self { ordinal, name, file, header, end: AtomicU64::new(HEADER_BYTES) })
    }

    /// Opens an existing segment. A header that is not whole is `Ok(None)`: the caller knows what that means.
    pub fn open(storage: &dyn Storage, folder: &str, ordinal: u32, mode: OpenMode) -> Result<Option<Self>, Fault> {
        let path = path(folder, ordinal);
        let name = storage.display(&path);
        let file = storage.open(&path, mode).map_err(|e| Fault::io("open", &name, e))?;
        let mut bytes = vec![0; HEADER_BYTES as usize];
        let read = file.read_at(&mut bytes, 0).map_err(|e| Fault::io("read", &name, e))?;
        let end = file.len().map_err(|e| Fault::io("read the length of", &name, e))?;
        match SegmentHeader::decode(&bytes[..read]) {
            Ok(header) => Ok(Some(Self { ordinal, name, file, header, end: AtomicU64::new(end) })),
            Err(found) if found.starts_with("segment format") => Err(Fault::UnknownFormat { path: name, found }),
            Err(_) => Ok(None),
        }
    }

    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; len];
        let read = self.file.read_at(&mut bytes, offset).map_err(|e| Fault::io("read", &self.name, e))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub fn damaged(&self, offset: u64, detail: impl Into<String>) -> Fault {
        Fault::Damaged { path: self.name.clone(), offset, detail: detail.into() }
    }
}

pub(crate) fn path(folder: &str, ordinal: u32) -> String {
    format!("{folder}/{ordinal:08}.seg")
}

/// What a segment is called while a backup copies it.
pub(crate) fn partial_path(folder: &str, ordinal: u32) -> String {
    format!("{}{PARTIAL}", path(folder, ordinal))
}

/// A file of a backup that was not finished, if there is one: the log in this folder is then not whole.
pub(crate) fn unfinished_copy(storage: &dyn Storage, folder: &str) -> Result<Option<String>, Fault> {
    let names = storage.list(folder).map_err(|e| Fault::io("list", storage.display(folder), e))?;
    let partial = names.iter().find(|name| name.ends_with(PARTIAL));
    Ok(partial.map(|name| storage.display(&format!("{folder}/{name}"))))
}

/// The ordinals of the segments in a folder, in order.
pub(crate) fn list(storage: &dyn Storage, folder: &str) -> Result<Vec<u32>, Fault> {
    let names = storage.list(folder).map_err(|e| Fault::io("list", storage.display(folder), e))?;
    let mut ordinals: Vec<u32> =
        names.iter().filter_map(|name| name.strip_suffix(".seg")).filter_map(|stem| stem.parse().ok()).collect();
    ordinals.sort_unstable();
    Ok(ordinals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_every_flipped_bit_is_noticed() {
        let header = SegmentHeader {
            nonce: 1,
            first_number: 2,
            first_position: 3,
            base_time: Timestamp(4),
            epoch: 5,
            chain_before: [6; 32],
        };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
