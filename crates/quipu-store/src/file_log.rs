//! The log in files: one folder of segments, written at one end.
//!
//! A commit's frame is written with one `write`; [`FileLog::complete`] makes it durable with one `fdatasync`. When a
//! segment is full it is synced and cut to its length before the next one is made, so only the last segment can
//! ever have a torn tail. Opening and repairing are in `recovery`.

use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quipu_domain::Timestamp;

use crate::commit::{Commit, RecordKind};
use crate::frame::{self, Frame};
use crate::log::{Chunk, Fetched, Locator, Log, LogSize, Tail};
use crate::recovery;
use crate::segment::{HEADER_BYTES, Segment, SegmentHeader};
use crate::storage::{Fault, Storage};

/// Room is reserved in steps that grow with the segment, so that an idle tenant takes little and a busy one seldom
/// waits for the file system: extending a file costs a journal commit, which is a third of a small sync.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
const RESERVE_BYTES_MAX: u64 = 16 << 20;
/// What is read for one event at first: most events fit, and so does the head of their frame just before.
const FETCH_BYTES: u64 = 1_024;
const FETCH_BYTES_BEFORE: u64 = 96;
/// What records that are fetched together may lie apart.
const NEAR_BYTES: u64 = 256 << 10;

/// How a log is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLogOptions {
    /// A segment is closed when it would grow beyond this many bytes.
    pub segment_bytes: u64,
}

/// The log of one tenant, in files.
pub struct FileLog {
    storage: Arc<dyn Storage>,
    folder: String,
    options: FileLogOptions,
    opened: Tail,
    /// Makes nonces.
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    segments: RwLock<Vec<Arc<Segment>>>,
    writer: Mutex<Writer>,
    /// What [`FileLog::complete`] has to sync, and up to which commit that then makes durable.
    submitted: Mutex<(u64, Arc<Segment>)>,
    durable: Mutex<u64>,
    poison: OnceLock<Fault>,
}

struct Writer {
    segment: Arc<Segment>,
    reserved: u64,
    /// `chain` is only as new as the segment: whoever submits knows it, and hashing a commit twice would be waste.
    tail: Tail,
    buffer: Vec<u8>,
    offsets: Vec<u32>,
    /// Whether the last thing in the log says that everything before it is durable.
    is_marked: bool,
    /// Whether that is durable itself.
    is_mark_durable: bool,
}

impl FileLog {
    /// Opens or makes the log in a folder. A torn tail is cut off, kept in `torn/`, and reported.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if something that was acknowledged is not what was written; nothing is changed then.
    pub fn open(
        storage: Arc<dyn Storage>,
        folder: &str,
        options: FileLogOptions,
        now: Timestamp,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(Self, Option<recovery::TornTail>), Fault> {
        // An offset in a segment is half of a locator.
        let options = FileLogOptions { segment_bytes: options.segment_bytes.min(1 << 31) };
        let opened = recovery::open(storage.as_ref(), folder, now, &random)?;
        let segment = Arc::clone(&opened.segments[opened.segments.len() - 1]);
        let durable = opened.tail.number;
        let log = Self {
            storage,
            folder: folder.to_owned(),
            options,
            opened: opened.tail,
            random: Box::new(random),
            segments: RwLock::new(opened.segments),
            submitted: Mutex::new((durable, Arc::clone(&segment))),
            durable: Mutex::new(durable),
            writer: Mutex::new(Writer {
                reserved: segment.end(),
                segment,
                tail: opened.tail,
                buffer: Vec::new(),
                offsets: Vec::new(),
                is_marked: opened.is_marked,
                is_mark_durable: opened.is_marked,
            }),
            poison: OnceLock::new(),
        };
        Ok((log, opened.torn))
    }

    /// The failure after which nothing more is appended, if there was one.
    pub fn poison(&self) -> Option<&Fault> {
        self.poison.get()
    }

    fn check_poison(&self) -> Result<(), Fault> {
        match self.poison.get() {
            None => Ok(()),
            Some(Fault::DiskFull { path }) => Err(Fault::DiskFull { path: path.clone() }),
            Some(fault) => Err(Fault::Poisoned { cause: fault.to_string() }),
        }
    }

    /// After a failed write or sync nobody knows what the disk holds; a second try could report success for bytes
    /// that the kernel has dropped (the "fsyncgate" of PostgreSQL, 2018).
    fn poisoned(&self, fault: Fault) -> Fault {
        self.poison.get_or_init(|| fault.clone());
        fault
    }

    fn sync(&self, segment: &Segment) -> Result<(), Fault> {
        segment.file.sync().map_err(|e| self.poisoned(Fault::io("sync", &segment.name, e)))
    }

    /// Writes the buffer at the end of the segment.
    fn write(&self, writer: &mut Writer) -> Result<(), Fault> {
        let segment = &writer.segment;
        let (start, end) = (segment.end(), segment.end() + writer.buffer.len() as u64);
        let fail = |action, e| self.poisoned(Fault::io(action, &segment.name, e));
        if end > writer.reserved {
            let step = end.clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX).min(self.options.segment_bytes.max(1));
            let reserve = end + step;
            segment.file.allocate(reserve).map_err(|e| fail("reserve room in", e))?;
            writer.reserved = reserve;
        }
        segment.file.write_at(&writer.buffer, start).map_err(|e| fail("write", e))?;
        segment.set_end(end);
        writer.buffer.clear();
        Ok(())
    }

    /// Writes the mark that everything is durable, if the log does not end with one.
    fn mark(&self, writer: &mut Writer) -> Result<(), Fault> {
        if writer.is_marked {
            return Ok(());
        }
        frame::encode_mark(&mut writer.buffer, writer.segment.header.context(), writer.tail.number);
        self.write(writer)?;
        writer.is_marked = true;
        Ok(())
    }

    /// Seals the segment and makes the next one.
    fn roll(&self, writer: &mut Writer) -> Result<(), Fault> {
        let old = Arc::clone(&writer.segment);
        old.file.set_len(old.end()).map_err(|e| self.poisoned(Fault::io("cut", &old.name, e)))?;
        self.sync(&old)?;
        let header = SegmentHeader {
            nonce: (self.random)(),
            first_number: writer.tail.number + 1,
            first_position: writer.tail.next_position,
            base_time: writer.tail.recorded_time,
            epoch: writer.tail.epoch,
            chain_before: writer.tail.chain,
        };
        let next = Segment::create(self.storage.as_ref(), &self.folder, old.ordinal + 1, header)
            .map_err(|fault| self.poisoned(fault))?;
        let next = Arc::new(next);
        self.segments.write().push(Arc::clone(&next));
        writer.segment = Arc::clone(&next);
        writer.reserved = HEADER_BYTES;
        *self.submitted.lock() = (writer.tail.number, next);
        Ok(())
    }

    fn segment_of(&self, locator: Locator) -> Result<Arc<Segment>, Fault> {
        let segments = self.segments.read();
        let first = segments[0].ordinal;
        let at = ((locator >> 32) as u32).checked_sub(first).map(|at| at as usize);
        at.and_then(|at| segments.get(at)).cloned().ok_or_else(|| Fault::Damaged {
            path: self.storage.display(&self.folder),
            offset: locator & 0xFFFF_FFFF,
            detail: format!("an index names segment {}, which is not there", locator >> 32),
        })
    }

    /// The segment after this one, if there is one.
    fn segment_after(&self, ordinal: u32) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        segments.get((ordinal - segments[0].ordinal) as usize + 1).cloned()
    }
}

impl Log for FileLog {
    fn submit(&self, expected_tail: u64, commits: &[Commit], locators: &mut Vec<Locator>) -> Result<(), Fault> {
        self.check_poison()?;
        let mut writer = self.writer.lock();
        let writer = &mut *writer;
        if writer.tail.number != expected_tail {
            return Err(self.poisoned(Fault::Fenced { expected: expected_tail, actual: writer.tail.number }));
        }
        let durable = *self.durable.lock();
        for commit in commits {
            assert_eq!(commit.number, writer.tail.number + 1, "commits are numbered without gaps");
            let frame_at = writer.buffer.len();
            writer.offsets.clear();
            frame::encode(&mut writer.buffer, writer.segment.header.context(), commit, durable, &mut writer.offsets);
            let mut start = writer.segment.end() + frame_at as u64;
            let frame_bytes = (writer.buffer.len() - frame_at) as u64;
            if start > HEADER_BYTES && start + frame_bytes > self.options.segment_bytes {
                // This frame opens the next segment: write what is before it, then encode it under the new nonce.
                writer.buffer.truncate(frame_at);
                self.write(writer)?;
                writer.tail.chain = commit.chain_before;
                self.roll(writer)?;
                writer.offsets.clear();
                let context = writer.segment.header.context();
                frame::encode(&mut writer.buffer, context, commit, writer.tail.number, &mut writer.offsets);
                start = HEADER_BYTES;
            }
            let base = u64::from(writer.segment.ordinal) << 32 | start;
            locators.extend(writer.offsets.iter().map(|offset| base + u64::from(*offset)));
            writer.tail.number = commit.number;
            writer.tail.next_position = commit.first_position + commit.event_count();
            writer.tail.recorded_time = commit.recorded_time;
            writer.tail.epoch = commit.epoch;
        }
        self.write(writer)?;
        (writer.is_marked, writer.is_mark_durable) = (false, false);
        *self.submitted.lock() = (writer.tail.number, Arc::clone(&writer.segment));
        Ok(())
    }

    fn complete(&self) -> Result<u64, Fault> {
        self.check_poison()?;
        let (number, segment) = self.submitted.lock().clone();
        if *self.durable.lock() < number {
            self.sync(&segment)?;
        }
        {
            let mut durable = self.durable.lock();
            *durable = (*durable).max(number);
        }
        // Not synced: it is for a process that is killed now, whose last batch must not be taken for a torn one.
        let mut writer = self.writer.lock();
        if writer.tail.number == number {
            // What was asked for is durable; that this failed is the next append's to hear.
            let _ = self.mark(&mut writer);
        }
        Ok(number)
    }

    fn rest(&self) -> Result<(), Fault> {
        self.check_poison()?;
        let mut writer = self.writer.lock();
        let writer = &mut *writer;
        let durable = *self.durable.lock();
        if writer.is_mark_durable || durable != writer.tail.number {
            return Ok(());
        }
        self.mark(writer)?;
        self.sync(&writer.segment)?;
        writer.is_mark_durable = true;
        Ok(())
    }

    fn close(&self) -> Result<(), Fault> {
        self.rest()?;
        let mut writer = self.writer.lock();
        let segment = Arc::clone(&writer.segment);
        writer.reserved = segment.end();
        // Everything is on disk. A disk that takes nothing any more keeps what was reserved; opening does as well with it.
        match segment.file.set_len(segment.end()) {
            Ok(()) => self.sync(&segment),
            Err(_) => Ok(()),
        }
    }

    fn tail_at_opening(&self) -> Tail {
        self.opened
    }

    fn fetch(&self, locator: Locator, kind: RecordKind) -> Result<Fetched, Fault> {
        let segment = self.segment_of(locator)?;
        Window::read(&segment, locator, locator)?.record(locator, kind)
    }

    fn fetch_all(&self, locators: &[Locator], kind: RecordKind, bytes_max: usize) -> Result<Vec<Fetched>, Fault> {
        let mut all = Vec::with_capacity(locators.len());
        let mut bytes = 0;
        let mut rest = locators;
        while let [first, ..] = rest {
            // The segment is in the high bits: what is near lies in the same one.
            let near = rest.partition_point(|locator| *locator < first + NEAR_BYTES).max(1);
            let segment = self.segment_of(*first)?;
            let window = Window::read(&segment, *first, rest[near - 1])?;
            for locator in &rest[..near] {
                let fetched = window.record(*locator, kind)?;
                bytes += fetched.body.len();
                all.push(fetched);
                if bytes >= bytes_max {
                    return Ok(all);
                }
            }
            rest = &rest[near..];
        }
        Ok(all)
    }

    fn commit_of(&self, record: Locator) -> Result<Locator, Fault> {
        let segment = self.segment_of(record)?;
        let offset = record & 0xFFFF_FFFF;
        let head = frame::decode_record_head(&segment.read(offset, 32)?);
        let back = head.map(|head| head.back).filter(|back| *back <= offset);
        let back = back.ok_or_else(|| segment.damaged(offset, "there is no event where an index has one"))?;
        Ok(record - back)
    }

    fn scan(&self, from: Locator, bytes_max: usize) -> Result<Chunk, Fault> {
        let mut segment = self.segment_of(from)?;
        let mut offset = from & 0xFFFF_FFFF;
        if offset < HEADER_BYTES {
            offset = HEADER_BYTES;
        }
        loop {
            let (commits, next) = scan_segment(&segment, offset, bytes_max)?;
            if !commits.is_empty() {
                return Ok(Chunk { commits, next });
            }
            offset = next & 0xFFFF_FFFF;
            if offset < segment.end() {
                continue;
            }
            // The end of this segment as of now. A segment that has a successor does not grow any more, but may have
            // grown since its end was read.
            match self.segment_after(segment.ordinal) {
                Some(_) if offset < segment.end() => {}
                Some(after) => {
                    segment = after;
                    offset = HEADER_BYTES;
                }
                None => return Ok(Chunk { commits, next }),
            }
        }
    }

    fn seek(&self, number: u64) -> Locator {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.header.first_number <= number);
        u64::from(segments[after.saturating_sub(1)].ordinal) << 32 | HEADER_BYTES
    }

    fn size(&self) -> LogSize {
        let segments = self.segments.read();
        LogSize { segments: segments.len() as u64, bytes: segments.iter().map(|segment| segment.end()).sum() }
    }

    fn name(&self) -> String {
        self.storage.display(&self.folder)
    }
}

/// A stretch of a segment, from a little before one record, where the head of its frame is if that is small, to a little
/// after where another begins.
struct Window<'s> {
    segment: &'s Segment,
    offset: u64,
    bytes: Vec<u8>,
}

impl<'s> Window<'s> {
    fn read(segment: &'s Segment, first: Locator, last: Locator) -> Result<Self, Fault> {
        let (first, last) = (first & 0xFFFF_FFFF, last & 0xFFFF_FFFF);
        let offset = first.saturating_sub(FETCH_BYTES_BEFORE);
        let end = segment.end().max(first).min(last + FETCH_BYTES);
        Ok(Self { segment, offset, bytes: segment.read(offset, (end - offset) as usize)? })
    }

    /// What was read from an offset on, and nothing of what lies before.
    fn from(&self, offset: u64) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(offset.checked_sub(self.offset)?).ok()?..)
    }

    fn record(&self, locator: Locator, kind: RecordKind) -> Result<Fetched, Fault> {
        let offset = locator & 0xFFFF_FFFF;
        let damaged = || self.segment.damaged(offset, "there is no whole record where an index has one");
        let bytes = self.from(offset).unwrap_or_default();
        let record = frame::decode_record_head(bytes).ok_or_else(damaged)?;
        let record_end = record.body_at + record.body_len;
        let bytes = match bytes.get(..record_end) {
            Some(whole) => Bytes::copy_from_slice(whole),
            None => Bytes::from(self.segment.read(offset, record_end)?),
        };
        let frame_at = offset.checked_sub(record.back).ok_or_else(damaged)?;
        let context = self.segment.header.context();
        let head = match self.from(frame_at) {
            Some(head) => frame::peek_head(head, context),
            None => frame::peek_head(&self.segment.read(frame_at, FETCH_BYTES_BEFORE as usize)?, context),
        };
        let head = head.ok_or_else(damaged)?;
        if bytes.len() < record_end || record.kind != kind || !frame::is_record_whole(&bytes, &head) {
            return Err(damaged());
        }
        Ok(Fetched {
            commit: head.number,
            recorded_time: head.recorded_time,
            stream_version: record.stream_version,
            body: bytes.slice(record.body_at..),
        })
    }
}

/// Reads whole frames of one segment from an offset at which a frame, or a record in one, begins.
fn scan_segment(
    segment: &Segment,
    offset: u64,
    bytes_max: usize,
) -> Result<(Vec<(Locator, crate::frame::FramedCommit)>, Locator), Fault> {
    let base = u64::from(segment.ordinal) << 32;
    let end = segment.end();
    if offset >= end {
        return Ok((Vec::new(), base | offset));
    }
    let mut want = bytes_max.max(frame::HEAD_BYTES);
    loop {
        let len = (end - offset).min(want as u64) as usize;
        let bytes = Bytes::from(segment.read(offset, len)?);
        let mut commits = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.slice(at..);
            let Some((frame, len)) = frame::decode(&rest, segment.header.context()) else { break };
            if let Frame::Commit { commit, .. } = frame {
                commits.push((base | (offset + at as u64), commit));
            }
            at += len;
        }
        if at > 0 {
            return Ok((commits, base | (offset + at as u64)));
        }
        match frame::frame_bytes(&bytes) {
            // The frame is larger than what was read.
            Some(frame) if frame > bytes.len() && offset + frame as u64 <= end => want = frame,
            _ => return Err(segment.damaged(offset, "there is no whole frame where the log goes on")),
        }
    }
}
