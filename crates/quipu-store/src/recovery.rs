//! Opening a log: what is in the folder, where it ends, and what to do with bytes that are no frame.
//!
//! Only the last segment can end in the middle of a write. Bytes there that are no whole frame are a *torn tail* if
//! nothing after them says otherwise: they were never acknowledged, so they are moved to `torn/` and cut off. If a
//! later frame says that they were durable, they are *damage*: the opening fails, names them, and changes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quipu_domain::Timestamp;

use crate::frame::{self, Frame, FramedCommit};
use crate::log::Tail;
use crate::segment::{self, HEADER_BYTES, Segment, SegmentHeader};
use crate::storage::{Fault, OpenMode, Storage, sync_above};

/// How much is read at once.
const READ_BYTES: usize = 4 << 20;

/// Bytes at the end of the log that were written but never acknowledged, and were cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: String,
    /// Where the bytes began.
    pub offset: u64,
    /// How many there were, without the zeros after them.
    pub bytes: u64,
    /// Where they are kept.
    pub kept: String,
}

pub(crate) struct Opened {
    pub segments: Vec<Arc<Segment>>,
    pub tail: Tail,
    pub torn: Option<TornTail>,
    /// Whether the last frame is a mark.
    pub is_marked: bool,
}

pub(crate) fn open(
    storage: &dyn Storage,
    folder: &str,
    now: Timestamp,
    random: &dyn Fn() -> u64,
) -> Result<Opened, Fault> {
    storage.create_dir(folder).map_err(|e| Fault::io("create", storage.display(folder), e))?;
    sync_above(storage, folder)?;
    if let Some(path) = segment::unfinished_copy(storage, folder)? {
        let detail = "the backup that this folder was made by was interrupted; make it anew".into();
        return Err(Fault::Damaged { path, offset: 0, detail });
    }
    let ordinals = segment::list(storage, folder)?;
    let mut torn = None;
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(ordinals.len() + 1);
    for (i, ordinal) in ordinals.iter().enumerate() {
        let is_last = i + 1 == ordinals.len();
        if i > 0 && *ordinal != ordinals[i - 1] + 1 {
            return Err(Fault::Damaged {
                path: storage.display(&segment::path(folder, ordinals[i - 1] + 1)),
                offset: 0,
                detail: "this segment is missing between others".into(),
            });
        }
        let mode = if is_last { OpenMode::ReadWrite } else { OpenMode::Read };
        match Segment::open(storage, folder, *ordinal, mode)? {
            Some(segment) => segments.push(Arc::new(segment)),
            None if is_last && is_unfinished(storage, folder, *ordinal)? => {
                torn =
                    Some(set_aside(storage, folder, *ordinal, 0, storage.display(&segment::path(folder, *ordinal)))?);
                let path = segment::path(folder, *ordinal);
                storage.remove(&path).map_err(|e| Fault::io("remove", storage.display(&path), e))?;
            }
            None => {
                return Err(Fault::Damaged {
                    path: storage.display(&segment::path(folder, *ordinal)),
                    offset: 0,
                    detail: "the segment's header is not what was written".into(),
                });
            }
        }
    }
    let Some(last) = segments.last().cloned() else {
        let header = SegmentHeader {
            nonce: random(),
            first_number: 1,
            first_position: 1,
            base_time: now,
            epoch: 1,
            chain_before: [0; 32],
        };
        let first = ordinals.last().copied().unwrap_or(1);
        let segment = Segment::create(storage, folder, first, header)?;
        let tail = tail_of_header(&segment.header);
        return Ok(Opened { segments: vec![Arc::new(segment)], tail, torn, is_marked: true });
    };
    // Opened read-only above if an unfinished one came after it.
    let last = if torn.is_some() {
        let reopened = Segment::open(storage, folder, last.ordinal, OpenMode::ReadWrite)?;
        let reopened = Arc::new(reopened.ok_or_else(|| last.damaged(0, "the header changed while it was read"))?);
        let at = segments.len() - 1;
        segments[at] = Arc::clone(&reopened);
        reopened
    } else {
        last
    };
    // What is read below may so far be only in memory: make it durable before anyone relies on it.
    last.file.sync().map_err(|e| Fault::io("sync", &last.name, e))?;
    storage.sync_dir(folder).map_err(|e| Fault::io("sync", storage.display(folder), e))?;
    let end = find_end(&last)?;
    let cut = cut_torn_tail(storage, folder, &last, &end)?;
    rewrite(&last, &end)?;
    Ok(Opened { segments, tail: end.tail, torn: cut.or(torn), is_marked: end.is_marked })
}

/// A segment whose making was interrupted: nothing is ever written after a header that is not durable.
pub(crate) fn is_unfinished(storage: &dyn Storage, folder: &str, ordinal: u32) -> Result<bool, Fault> {
    let path = segment::path(folder, ordinal);
    let file = storage.open(&path, OpenMode::Read).map_err(|e| Fault::io("open", storage.display(&path), e))?;
    let len = file.len().map_err(|e| Fault::io("read the length of", storage.display(&path), e))?;
    Ok(len <= HEADER_BYTES)
}

pub(crate) struct End {
    pub offset: u64,
    pub tail: Tail,
    pub is_marked: bool,
    /// The last commit that a frame says is durable.
    durable: u64,
    /// Where the frames begin that no later frame says are durable.
    doubt: u64,
}

/// Writes the frames that nobody has said are durable once more. A sync that failed in an earlier process may have
/// left their pages marked clean: reads show them, and a sync that succeeds now would not write them.
fn rewrite(segment: &Segment, end: &End) -> Result<(), Fault> {
    let mut at = end.doubt;
    while at < end.offset {
        let bytes = segment.read(at, (end.offset - at).min(READ_BYTES as u64) as usize)?;
        segment.file.write_at(&bytes, at).map_err(|e| Fault::io("write", &segment.name, e))?;
        at += bytes.len() as u64;
    }
    segment.file.sync().map_err(|e| Fault::io("sync", &segment.name, e))
}

pub(crate) fn tail_of_header(header: &SegmentHeader) -> Tail {
    Tail {
        number: header.first_number - 1,
        next_position: header.first_position,
        recorded_time: header.base_time,
        epoch: header.epoch,
        chain: header.chain_before,
    }
}

/// Where a commit says that it is, if that is not behind `tail`.
pub(crate) fn misplaced(commit: &FramedCommit, tail: &Tail) -> Option<String> {
    let (number, position) = (commit.number, commit.first_position);
    match (tail.number + 1, tail.next_position) {
        (expected, _) if number != expected => Some(format!("expected commit {expected}, found {number}")),
        (_, expected) if position != expected => {
            Some(format!("commit {number}: expected position {expected}, found {position}"))
        }
        _ => None,
    }
}

/// Follows whole frames that continue each other from the segment's start to where they end. A whole frame that does not
/// is damage: no crash leaves one, and nobody knows that it was never acknowledged.
pub(crate) fn find_end(segment: &Segment) -> Result<End, Fault> {
    let mut end =
        End { offset: HEADER_BYTES, tail: tail_of_header(&segment.header), is_marked: true, durable: 0, doubt: 0 };
    // Where frames begin that were not yet said to be durable, with the commit before each.
    let mut starts: VecDeque<(u64, u64)> = VecDeque::new();
    let (mut last, mut stray) = (None, None);
    end.offset = walk(segment, |frame, start| {
        starts.push_back((end.tail.number, start));
        match frame {
            Frame::Mark { durable } => {
                end.durable = durable;
                end.is_marked = true;
            }
            Frame::Commit { commit, durable } => {
                stray = misplaced(&commit, &end.tail);
                if stray.is_some() {
                    return false;
                }
                end.tail.number = commit.number;
                end.tail.next_position += commit.event_count();
                end.tail.recorded_time = commit.recorded_time;
                end.tail.epoch = commit.epoch;
                end.durable = durable;
                end.is_marked = false;
                last = Some(commit);
            }
        }
        while starts.front().is_some_and(|(before, _)| *before < end.durable) {
            starts.pop_front();
        }
        true
    })?;
    if let Some(detail) = stray {
        return Err(segment.damaged(end.offset, detail));
    }
    if is_newer(segment, end.offset)? {
        return Err(segment.damaged(end.offset, NEWER));
    }
    end.doubt = match starts.front() {
        // Not even the header is known to be.
        Some((_, HEADER_BYTES)) => 0,
        Some((_, start)) => *start,
        None if end.offset == HEADER_BYTES => 0,
        None => end.offset,
    };
    if let Some(commit) = last {
        end.tail.chain = commit.chain_after();
    }
    Ok(end)
}

/// Calls `next` with each whole frame and its offset, from the segment's start until there is none or `next` says no.
/// Returns where that is.
pub(crate) fn walk(segment: &Segment, mut next: impl FnMut(Frame, u64) -> bool) -> Result<u64, Fault> {
    let (len, context) = (segment.end(), segment.header.context());
    let (mut offset, mut want) = (HEADER_BYTES, READ_BYTES);
    while offset < len {
        let bytes = Bytes::from(segment.read(offset, (len - offset).min(want as u64) as usize)?);
        let mut at = 0;
        while let Some((frame, frame_len)) = frame::decode(&bytes.slice(at..), context) {
            if !next(frame, offset + at as u64) {
                return Ok(offset + at as u64);
            }
            at += frame_len;
        }
        offset += at as u64;
        if at > 0 {
            want = READ_BYTES;
            continue;
        }
        match frame::frame_bytes(&bytes) {
            // The frame is larger than what was read.
            Some(frame) if frame > bytes.len() && offset + frame as u64 <= len => want = frame,
            _ => break,
        }
    }
    Ok(offset)
}

/// What is said of a frame that [`is_newer`].
pub(crate) const NEWER: &str = "there is a whole commit that this version of Quipu cannot read, written by a newer one; \
                                nothing was changed: open it with that version or a newer one";

/// Whether what follows the last frame that can be read is a whole frame of a newer version. Cutting it as a torn tail would
/// throw away what somebody was told is durable.
pub(crate) fn is_newer(segment: &Segment, offset: u64) -> Result<bool, Fault> {
    let left = segment.end().saturating_sub(offset);
    let head = segment.read(offset, left.min(frame::HEAD_BYTES as u64) as usize)?;
    let Some(len) = frame::frame_bytes(&head).filter(|len| *len as u64 <= left) else { return Ok(false) };
    Ok(frame::is_of_another_version(&Bytes::from(segment.read(offset, len)?), segment.header.context()))
}

/// Cuts what follows the last whole frame, unless it was acknowledged.
fn cut_torn_tail(storage: &dyn Storage, folder: &str, segment: &Segment, end: &End) -> Result<Option<TornTail>, Fault> {
    let len = segment.end();
    segment.set_end(end.offset);
    let waste = waste_bytes(segment, end.offset, len)?;
    if let Some(found) = find_claim(segment, end, end.offset + waste)? {
        segment.set_end(len);
        return Err(segment.damaged(
            end.offset,
            format!(
                "commits {} to {found}, from position {} on, were acknowledged and cannot be read",
                end.tail.number + 1,
                end.tail.next_position
            ),
        ));
    }
    let torn = match waste {
        0 => None,
        _ => {
            let mut torn = set_aside(storage, folder, segment.ordinal, end.offset, segment.name.clone())?;
            torn.bytes = waste;
            Some(torn)
        }
    };
    if len > end.offset {
        segment.file.set_len(end.offset).map_err(|e| Fault::io("cut", &segment.name, e))?;
        segment.file.sync().map_err(|e| Fault::io("sync", &segment.name, e))?;
    }
    Ok(torn)
}

/// How many bytes from `offset` on are not the zeros of reserved room.
pub(crate) fn waste_bytes(segment: &Segment, offset: u64, len: u64) -> Result<u64, Fault> {
    let (mut at, mut waste) = (offset, 0);
    while at < len {
        let bytes = segment.read(at, (len - at).min(READ_BYTES as u64) as usize)?;
        if bytes.is_empty() {
            break;
        }
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            waste = at + last as u64 + 1 - offset;
        }
        at += bytes.len() as u64;
    }
    Ok(waste)
}

/// The last commit that is said to be durable in the `waste` bytes behind a segment's last whole frame.
pub(crate) fn acknowledged_after(segment: &Segment, waste: u64) -> Result<Option<u64>, Fault> {
    let end = find_end(segment)?;
    find_claim(segment, &end, end.offset + waste)
}

/// Looks behind the last whole frame for one that says something after it was durable; the largest such commit.
fn find_claim(segment: &Segment, end: &End, waste_end: u64) -> Result<Option<u64>, Fault> {
    // A mark or commit that was read may itself speak of more than was found: frames lost before it.
    let mut claim = (end.durable > end.tail.number).then_some(end.durable);
    let context = segment.header.context();
    let mut at = end.offset;
    while at < waste_end {
        let bytes = Bytes::from(segment.read(at, (waste_end + 64 - at).min(READ_BYTES as u64 * 2) as usize)?);
        let step = bytes.len().min(READ_BYTES);
        for start in 0..step {
            // Cheap tests first: nearly every offset fails them.
            let Some(kind) = bytes.get(start + frame::HEAD_BYTES) else { break };
            if *kind != 1 && *kind != 2 {
                continue;
            }
            let Some(len) = frame::frame_bytes(&bytes[start..]) else { continue };
            let frame_at = at + start as u64;
            if frame_at + len as u64 > segment.file.len().map_err(|e| Fault::io("read", &segment.name, e))? {
                continue;
            }
            let whole = match bytes.len() - start >= len {
                true => bytes.slice(start..start + len),
                false => Bytes::from(segment.read(frame_at, len)?),
            };
            let durable = match frame::decode(&whole, context) {
                Some((Frame::Mark { durable } | Frame::Commit { durable, .. }, _)) => durable,
                None => continue,
            };
            if durable > end.tail.number {
                claim = claim.max(Some(durable));
            }
        }
        if step == 0 {
            break;
        }
        at += step as u64;
    }
    Ok(claim)
}

/// Copies the bytes of a segment from `offset` on to `torn/`, durably, before anything is cut.
fn set_aside(storage: &dyn Storage, folder: &str, ordinal: u32, offset: u64, name: String) -> Result<TornTail, Fault> {
    let torn_folder = format!("{folder}/torn");
    storage.create_dir(&torn_folder).map_err(|e| Fault::io("create", storage.display(&torn_folder), e))?;
    storage.sync_dir(folder).map_err(|e| Fault::io("sync", storage.display(folder), e))?;
    let path = segment::path(folder, ordinal);
    let source = storage.open(&path, OpenMode::Read).map_err(|e| Fault::io("open", &name, e))?;
    let len = source.len().map_err(|e| Fault::io("read the length of", &name, e))?;
    // The same place may be torn again after another crash: every copy is kept under its own name.
    let (kept, copy) = (0..)
        .find_map(|again| {
            let kept = format!("{torn_folder}/{ordinal:08}-{offset}-{again}.bin");
            match storage.open(&kept, OpenMode::CreateNew) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => None,
                other => Some((kept, other)),
            }
        })
        .expect("an endless range has an unused name");
    let shown = storage.display(&kept);
    let copy = copy.map_err(|e| Fault::io("create", &shown, e))?;
    let (mut at, mut last) = (offset, offset);
    let mut buffer = vec![0; READ_BYTES];
    while at < len {
        let read = source.read_at(&mut buffer, at).map_err(|e| Fault::io("read", &name, e))?;
        if read == 0 {
            break;
        }
        if let Some(end) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            copy.write_at(&buffer[..=end], at - offset).map_err(|e| Fault::io("write", &shown, e))?;
            last = at + end as u64 + 1;
        }
        at += read as u64;
    }
    copy.sync().map_err(|e| Fault::io("sync", &shown, e))?;
    storage.sync_dir(&torn_folder).map_err(|e| Fault::io("sync", storage.display(&torn_folder), e))?;
    Ok(TornTail { path: name, offset, bytes: last - offset, kept: shown })
}
