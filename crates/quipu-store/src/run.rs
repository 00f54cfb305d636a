//! An index run: the memtable of a stretch of the log, as an immutable sorted file. A run is a cache; one that is
//! missing or damaged is rebuilt from the log.
//!
//! ```text
//! file   = block* bitmap* locators fences footer
//! block  = (key_delta:varint count:varint positions)* crc:u32      about 4 KiB; keys sorted, the first delta is from
//!                                                                   the fence's key; up to 16 positions stand inline
//!                                                                   as varint deltas, more are offset:u32 len:u32
//! bitmap = roaring (its portable format) crc:u32
//! locators = (low:u32 for each of up to 1,024 events, crc:u32)*
//! fences = (key:u64 offset:u32 len:u32)* for ids, then for terms; then (from_event:u32 locator_high:u32)*
//! footer = first_position:u64 events:u64 locators_at:u32 fences_at:u32 id_fences:u32 term_fences:u32 highs:u32
//!          fences_crc:u32 format:u32 (1) crc:u32 "QUIPURUN"
//! ```

use std::ops::RangeInclusive;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::log::Locator;
use crate::memtable::{self, Chains, Memtable};
use crate::storage::{Fault, File, OpenMode, Storage};
use crate::terms::Expr;
use crate::varint::{self, Reader};

const MAGIC: &[u8; 8] = b"QUIPURUN";
const FORMAT: u32 = 1;
const FOOTER_BYTES: usize = 56;
const BLOCK_BYTES: usize = 4_096;
/// A look-up reads and checks one block of locators.
const LOCATORS_PER_BLOCK: u64 = 1_024;
/// Up to this many positions stand in the block itself.
const INLINE_MAX: usize = 16;

/// An open run.
pub struct Run {
    source: Source,
    /// For messages.
    name: String,
    /// The path in the storage.
    path: String,
    first_position: u64,
    events: u64,
    /// The upper half of the locators from an event on: it changes where the log begins a new file.
    highs: Vec<(u32, u32)>,
    locators_at: u32,
    bytes: u64,
    ids: Vec<Fence>,
    terms: Vec<Fence>,
}

enum Source {
    File(Arc<dyn File>),
    /// The bytes that a file would have.
    Memory(Vec<u8>),
}

#[derive(Clone, Copy)]
struct Fence {
    key: u64,
    offset: u32,
    len: u32,
}

/// Writes the run of a memtable and opens it. The file is durable before this returns.
pub(crate) fn write(storage: &dyn Storage, folder: &str, table: &Memtable) -> Result<Run, Fault> {
    write_bytes(storage, folder, &path(folder, table), &encode(table))
}

/// The run of a memtable, which is only kept in memory if the disk does not take it: whoever reads needs no room on the disk.
/// What the disk took and gives back otherwise is a fault.
///
/// A run that is held stays in memory until the process ends, about 32 bytes for each of its events, and is not written
/// later, when the disk takes it again. The next process meets what is there instead of it, and makes it again.
pub(crate) fn write_or_hold(storage: &dyn Storage, folder: &str, table: &Memtable) -> Result<Run, Fault> {
    let (path, bytes) = (path(folder, table), encode(table));
    match write_bytes(storage, folder, &path, &bytes) {
        Err(Fault::Io { .. } | Fault::DiskFull { .. }) => {
            let len = bytes.len() as u64;
            Run::of(Source::Memory(bytes), storage.display(&path), &path, len)
        }
        written => written,
    }
}

fn write_bytes(storage: &dyn Storage, folder: &str, path: &str, bytes: &[u8]) -> Result<Run, Fault> {
    crate::snapshot::write_whole(storage, folder, path, bytes)?;
    Run::open(storage, path)
}

fn path(folder: &str, table: &Memtable) -> String {
    format!("{folder}/{:016}-{:016}.run", table.first_position(), table.end_position() - 1)
}

/// First and last position that a file of this name covers.
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".run")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn encode(table: &Memtable) -> Vec<u8> {
    let mut out = Vec::with_capacity(table.len() * 32);
    let mut bitmaps = Vec::new();
    let mut id_fences = encode_blocks(&mut out, table.ids(), &mut bitmaps);
    let mut term_fences = encode_blocks(&mut out, table.terms(), &mut bitmaps);
    patch_bitmaps(&mut out, &bitmaps, id_fences.iter_mut().chain(&mut term_fences));
    let locators_at = out.len();
    let mut locators = table.locators().iter().peekable();
    while locators.peek().is_some() {
        let block_at = out.len();
        let block = locators.by_ref().take(LOCATORS_PER_BLOCK as usize);
        block.for_each(|locator| out.extend_from_slice(&(*locator as u32).to_le_bytes()));
        let crc = crc32c::crc32c(&out[block_at..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    let fences_at = out.len();
    for fence in id_fences.iter().chain(&term_fences) {
        out.extend_from_slice(&fence.key.to_le_bytes());
        out.extend_from_slice(&fence.offset.to_le_bytes());
        out.extend_from_slice(&fence.len.to_le_bytes());
    }
    let mut highs: Vec<(u32, u32)> = Vec::new();
    for (at, locator) in table.locators().iter().enumerate() {
        let high = (locator >> 32) as u32;
        if highs.last().is_none_or(|(_, last)| *last != high) {
            highs.push((at as u32, high));
            out.extend_from_slice(&(at as u32).to_le_bytes());
            out.extend_from_slice(&high.to_le_bytes());
        }
    }
    let fences_crc = crc32c::crc32c(&out[fences_at..]);
    let footer = out.len();
    for part in [table.first_position(), table.len() as u64] {
        out.extend_from_slice(&part.to_le_bytes());
    }
    let counts = [id_fences.len(), term_fences.len(), highs.len()];
    for part in [locators_at, fences_at].into_iter().chain(counts).chain([fences_crc as usize, FORMAT as usize]) {
        out.extend_from_slice(&(part as u32).to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[footer..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(MAGIC);
    out
}

/// Positions of one key that are too many to stand in a block: kept aside until the blocks are complete.
struct Bitmap {
    /// Where in the file its offset and length belong: two u32.
    reference_at: usize,
    bytes: Vec<u8>,
}

fn encode_blocks(out: &mut Vec<u8>, chains: &Chains, bitmaps: &mut Vec<Bitmap>) -> Vec<Fence> {
    let mut fences: Vec<Fence> = Vec::new();
    let mut block_at = out.len();
    let mut last_key = 0;
    chains.each_sorted(|key, positions| {
        if out.len() == block_at {
            fences.push(Fence { key, offset: block_at as u32, len: 0 });
            last_key = key;
        }
        varint::put(out, key - last_key);
        last_key = key;
        varint::put(out, positions.len() as u64);
        if positions.len() <= INLINE_MAX {
            let mut last = 0;
            for position in positions {
                varint::put(out, u64::from(position - last));
                last = *position;
            }
        } else {
            bitmaps.push(Bitmap { reference_at: out.len(), bytes: encode_bitmap(positions) });
            out.extend_from_slice(&[0; 8]);
        }
        if out.len() - block_at >= BLOCK_BYTES {
            close_block(out, &mut block_at, &mut fences);
        }
    });
    if out.len() > block_at {
        close_block(out, &mut block_at, &mut fences);
    }
    fences
}

fn encode_bitmap(positions: &[u32]) -> Vec<u8> {
    let sorted = RoaringBitmap::from_sorted_iter(positions.iter().copied());
    let mut bitmap = sorted.expect("a chain's positions are sorted and deduplicated");
    bitmap.optimize();
    let mut bytes = Vec::with_capacity(bitmap.serialized_size() + 4);
    bitmap.serialize_into(&mut bytes).expect("a Vec takes every byte");
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Leaves room for the checksum, which is written when the block's references are.
fn close_block(out: &mut Vec<u8>, block_at: &mut usize, fences: &mut [Fence]) {
    if let Some(fence) = fences.last_mut() {
        fence.len = (out.len() - *block_at) as u32;
    }
    out.extend_from_slice(&[0; 4]);
    *block_at = out.len();
}

fn patch_bitmaps<'a>(out: &mut Vec<u8>, bitmaps: &[Bitmap], blocks: impl Iterator<Item = &'a mut Fence>) {
    for bitmap in bitmaps {
        let (offset, len) = (out.len() as u32, bitmap.bytes.len() as u32);
        out[bitmap.reference_at..bitmap.reference_at + 4].copy_from_slice(&offset.to_le_bytes());
        out[bitmap.reference_at + 4..bitmap.reference_at + 8].copy_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&bitmap.bytes);
    }
    for block in blocks {
        let (start, end) = (block.offset as usize, (block.offset + block.len) as usize);
        let crc = crc32c::crc32c(&out[start..end]);
        out[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        block.len += 4;
    }
}

/// What a block says of one key.
enum Positions<'a> {
    Inline(&'a [u32]),
    Bitmap { offset: u32, len: u32 },
}

impl Run {
    /// Opens a run: reads and checks its footer and fences, not its blocks.
    pub fn open(storage: &dyn Storage, path: &str) -> Result<Self, Fault> {
        let name = storage.display(path);
        let file = storage.open(path, OpenMode::Read).map_err(|e| Fault::io("open", &name, e))?;
        let bytes = file.len().map_err(|e| Fault::io("read the length of", &name, e))?;
        Self::of(Source::File(file), name, path, bytes)
    }

    fn of(source: Source, name: String, path: &str, bytes: u64) -> Result<Self, Fault> {
        let mut run = Self {
            source,
            name,
            path: path.to_owned(),
            first_position: 0,
            events: 0,
            highs: Vec::new(),
            locators_at: 0,
            bytes,
            ids: Vec::new(),
            terms: Vec::new(),
        };
        let footer_at = bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| run.damaged(0))?;
        let footer = run.read(footer_at, FOOTER_BYTES)?;
        run.read_footer(&footer, footer_at).ok_or_else(|| run.damaged(footer_at))??;
        Ok(run)
    }

    fn read_footer(&mut self, footer: &[u8], footer_at: u64) -> Option<Result<(), Fault>> {
        let mut reader = Reader::new(footer);
        (self.first_position, self.events) = (reader.u64()?, reader.u64()?);
        let (locators_at, fences_at) = (reader.u32()?, reader.u32()?);
        let (ids, terms, highs) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (fences_crc, format, crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let is_whole = reader.take(8)? == MAGIC && crc32c::crc32c(&footer[..FOOTER_BYTES - 12]) == crc;
        if !is_whole || format != FORMAT || fences_at as u64 > footer_at {
            return None;
        }
        // Held against the file, so that no arithmetic with them overflows.
        let locators = u64::from(fences_at.checked_sub(locators_at)?);
        self.first_position.checked_add(self.events)?;
        if self.events.checked_mul(4)?.checked_add(self.events.div_ceil(LOCATORS_PER_BLOCK) * 4)? != locators {
            return None;
        }
        self.locators_at = locators_at;
        let bytes = match self.read(u64::from(fences_at), (footer_at - u64::from(fences_at)) as usize) {
            Ok(bytes) => bytes,
            Err(fault) => return Some(Err(fault)),
        };
        if crc32c::crc32c(&bytes) != fences_crc
            || bytes.len() != (ids as usize + terms as usize) * 16 + highs as usize * 8
        {
            return None;
        }
        let mut reader = Reader::new(&bytes);
        for i in 0..ids + terms {
            let fence = Fence { key: reader.u64()?, offset: reader.u32()?, len: reader.u32()? };
            if i < ids { self.ids.push(fence) } else { self.terms.push(fence) }
        }
        for _ in 0..highs {
            self.highs.push((reader.u32()?, reader.u32()?));
        }
        Some(Ok(()))
    }

    fn damaged(&self, offset: u64) -> Fault {
        Fault::Damaged { path: self.name.clone(), offset, detail: "the index is not what was written".into() }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        if offset.saturating_add(len as u64) > self.bytes {
            return Err(self.damaged(offset));
        }
        match &self.source {
            Source::File(file) => {
                let mut bytes = vec![0; len];
                let read = file.read_at(&mut bytes, offset).map_err(|e| Fault::io("read", &self.name, e))?;
                if read == len { Ok(bytes) } else { Err(self.damaged(offset)) }
            }
            Source::Memory(all) => Ok(all[offset as usize..offset as usize + len].to_vec()),
        }
    }

    /// Reads bytes that end in their checksum.
    fn read_checked(&self, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.read(offset, len)?;
        let body = len.checked_sub(4).ok_or_else(|| self.damaged(offset))?;
        if crc32c::crc32c(&bytes[..body]).to_le_bytes() != bytes[body..] {
            return Err(self.damaged(offset));
        }
        bytes.truncate(body);
        Ok(bytes)
    }

    /// The path in the storage.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The position of the first event.
    pub fn first_position(&self) -> u64 {
        self.first_position
    }

    /// The position after the last event.
    pub fn end_position(&self) -> u64 {
        self.first_position + self.events
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where an event is. The event is checked when it is read, so a damaged entry is noticed there.
    pub fn locator(&self, position: u64) -> Result<Option<Locator>, Fault> {
        let Some(at) = position.checked_sub(self.first_position).filter(|at| *at < self.events) else {
            return Ok(None);
        };
        let (block, in_block) = (at / LOCATORS_PER_BLOCK, (at % LOCATORS_PER_BLOCK) as usize * 4);
        let events = (self.events - block * LOCATORS_PER_BLOCK).min(LOCATORS_PER_BLOCK);
        let block_at = u64::from(self.locators_at) + block * (LOCATORS_PER_BLOCK * 4 + 4);
        let bytes = self.read_checked(block_at, events as usize * 4 + 4)?;
        let low = bytes.get(in_block..in_block + 4).and_then(|low| low.try_into().ok());
        let low = u32::from_le_bytes(low.ok_or_else(|| self.damaged(block_at))?);
        let high = self.highs.partition_point(|(from, _)| u64::from(*from) <= at);
        let high = high.checked_sub(1).map_or(0, |i| self.highs[i].1);
        Ok(Some(u64::from(high) << 32 | u64::from(low)))
    }

    /// Calls `found` with each key of a block that lies in a range, and what the block says of it.
    fn read_block(
        &self,
        fence: &Fence,
        keys: &RangeInclusive<u64>,
        mut found: impl FnMut(u64, Positions<'_>),
    ) -> Result<(), Fault> {
        let bytes = self.read_checked(u64::from(fence.offset), fence.len as usize)?;
        let mut reader = Reader::new(&bytes);
        let mut key = fence.key;
        let mut inline = [0; INLINE_MAX];
        let mut read = || -> Option<()> {
            while !reader.rest().is_empty() {
                key = key.checked_add(reader.varint()?)?;
                if key > *keys.end() {
                    break;
                }
                let (count, is_wanted) = (reader.varint()?, key >= *keys.start());
                if count <= INLINE_MAX as u64 {
                    let inline = &mut inline[..count as usize];
                    let mut last = 0u32;
                    for position in inline.iter_mut() {
                        last = last.checked_add(u32::try_from(reader.varint()?).ok()?)?;
                        *position = last;
                    }
                    if is_wanted {
                        found(key, Positions::Inline(inline));
                    }
                } else {
                    let (offset, len) = (reader.u32()?, reader.u32()?);
                    if is_wanted {
                        found(key, Positions::Bitmap { offset, len });
                    }
                }
            }
            Some(())
        };
        read().ok_or_else(|| self.damaged(u64::from(fence.offset)))
    }

    /// Adds the positions of the keys in a range that a block speaks of.
    fn look_into(&self, fence: &Fence, keys: &RangeInclusive<u64>, all: &mut RoaringBitmap) -> Result<(), Fault> {
        let mut bitmaps = Vec::new();
        self.read_block(fence, keys, |_, positions| match positions {
            Positions::Inline(list) => all.extend(list),
            Positions::Bitmap { offset, len } => bitmaps.push((offset, len)),
        })?;
        for (offset, len) in bitmaps {
            let bytes = self.read_checked(u64::from(offset), len as usize)?;
            *all |= RoaringBitmap::deserialize_from(&bytes[..]).map_err(|_| self.damaged(u64::from(offset)))?;
        }
        match all.max() {
            Some(last) if u64::from(last) >= self.events => Err(self.damaged(u64::from(fence.offset))),
            _ => Ok(()),
        }
    }

    fn lookup(&self, fences: &[Fence], keys: RangeInclusive<u64>) -> Result<RoaringBitmap, Fault> {
        let first = fences.partition_point(|fence| fence.key <= *keys.start()).saturating_sub(1);
        let mut all = RoaringBitmap::new();
        for fence in fences[first.min(fences.len())..].iter().take_while(|fence| fence.key <= *keys.end()) {
            self.look_into(fence, &keys, &mut all)?;
        }
        Ok(all)
    }

    /// Positions of the pairs whose keys lie in a range, newest first.
    pub fn pairs_in(&self, keys: RangeInclusive<u64>) -> Result<Vec<u64>, Fault> {
        let found = self.lookup(&self.ids, keys)?;
        Ok(found.iter().rev().map(|at| self.first_position + u64::from(at)).collect())
    }

    /// The wanted positions, counted from the first; `None` for all.
    pub fn select(&self, expr: &Expr) -> Result<Option<RoaringBitmap>, Fault> {
        memtable::select(expr, &mut |key| self.lookup(&self.terms, key..=key).map(Some))
    }

    /// The key of every pair, sorted.
    pub fn pairs(&self) -> Result<Vec<u64>, Fault> {
        let mut keys = Vec::with_capacity(self.events.min(self.bytes) as usize);
        for fence in &self.ids {
            self.read_block(fence, &(0..=u64::MAX), |key, _| keys.push(key))?;
        }
        Ok(keys)
    }

    /// Reads and checks every byte.
    pub fn check(&self) -> Result<(), Fault> {
        for fence in self.ids.iter().chain(&self.terms) {
            self.look_into(fence, &(0..=u64::MAX), &mut RoaringBitmap::new())?;
        }
        let mut blocks = (0..self.events).step_by(LOCATORS_PER_BLOCK as usize);
        blocks.try_for_each(|at| self.locator(self.first_position + at).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DiskStorage;

    fn table() -> Memtable {
        let mut table = Memtable::new(101);
        for i in 0..5_000u64 {
            let id = (i / 2).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            table.insert(id, &[1, 2 + i % 3, 1_000_000 + i]);
        }
        table.place(101, (0..5_000).map(|i| (7 + i / 3_000) << 32 | (i % 3_000 * 10)));
        table
    }

    #[test]
    fn a_run_answers_like_its_memtable() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(folder.path());
        let table = table();
        let run = write(&storage, "index", &table).unwrap();
        assert_eq!((run.first_position(), run.end_position()), (101, 5_101));
        for expr in [
            Expr::Has(1),
            Expr::Has(3),
            Expr::Has(1_000_007),
            Expr::Has(5),
            Expr::And(vec![Expr::Has(1), Expr::Has(1_000_001)]),
            Expr::Or(vec![Expr::Has(2), Expr::Has(4)]),
            Expr::All,
        ] {
            assert_eq!(run.select(&expr).unwrap(), table.select(&expr, 0), "{expr:?}");
        }
        for i in [0u64, 1, 2_499, 2_500] {
            let id = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            assert_eq!(run.pairs_in(id..=id).unwrap(), table.pair(id).collect::<Vec<_>>());
        }
        for position in [100, 101, 3_100, 3_101, 5_100, 5_101] {
            assert_eq!(run.locator(position).unwrap(), table.locator(position));
        }
        run.check().unwrap();
    }

    #[test]
    fn a_flipped_bit_is_noticed_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(folder.path());
        let path = write(&storage, "index", &table()).unwrap().path().to_owned();
        let whole = std::fs::read(folder.path().join(&path)).unwrap();
        for at in (0..whole.len()).step_by(997).chain(whole.len() - 70..whole.len()) {
            let mut flipped = whole.clone();
            flipped[at] ^= 16;
            std::fs::write(folder.path().join(&path), flipped).unwrap();
            let noticed = Run::open(&storage, &path).and_then(|run| run.check());
            assert!(matches!(noticed, Err(Fault::Damaged { .. })), "byte {at}: {noticed:?}");
        }
    }

    /// The damage that is found in a run of one event after this change of its bytes, all checksums made to fit.
    fn found_after(change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u64>, Fault> {
        let mut table = Memtable::new(7);
        table.insert(5, &[1]);
        table.place(7, [100]);
        let mut bytes = encode(&table);
        change(&mut bytes);
        let footer = bytes.len() - FOOTER_BYTES;
        for (from, end) in [(0, 3), (footer, footer + FOOTER_BYTES - 12)] {
            let crc = crc32c::crc32c(&bytes[from..end]);
            bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.run"), bytes).unwrap();
        let run = Run::open(&DiskStorage::new(folder.path()), "a.run")?;
        run.check()?;
        run.pairs_in(0..=u64::MAX)
    }

    /// Found by fuzzing: sums and products of such numbers overflowed.
    #[test]
    fn a_run_whose_numbers_do_not_fit_its_file_is_damaged() {
        assert_eq!(found_after(|_| ()).unwrap(), [7]);
        let set = |at: usize, number: u64| {
            move |bytes: &mut Vec<u8>| {
                let footer = bytes.len() - FOOTER_BYTES;
                bytes[footer + at..footer + at + 8].copy_from_slice(&number.to_le_bytes());
            }
        };
        let damaged = [
            ("first position", found_after(set(0, u64::MAX))),
            ("events", found_after(set(8, u64::MAX))),
            ("more events than locators", found_after(set(8, 2))),
            ("a position beyond the events", found_after(|bytes| bytes[2] = 9)),
        ];
        for (name, found) in damaged {
            assert!(matches!(found, Err(Fault::Damaged { .. })), "{name}: {found:?}");
        }
    }
}
