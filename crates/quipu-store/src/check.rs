//! Checks a tenant's folder without changing it: every checksum, every number, and the hash chain from the first
//! commit to the last, and every payload. It reads the whole log, and may run beside a server: what is being written at the end is then
//! reported as a torn tail.

use std::collections::BTreeMap;

use quipu_domain::{Payload, Timestamp};

use crate::body;
use crate::commit::{Digest, RecordKind};
use crate::frame::{Frame, FramedCommit};
use crate::log::Tail;
use crate::payload;
use crate::recovery::{self, TornTail};
use crate::run::{self, Run};
use crate::segment::{self, Segment};
use crate::snapshot;
use crate::storage::{Fault, OpenMode, Storage};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Segment files read.
    pub segments: u64,
    /// Bytes of whole frames.
    pub bytes: u64,
    /// Commits in the chain.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// The hash after the last commit, to compare with another copy's.
    pub chain: Digest,
    /// Index runs and snapshots read.
    pub caches: u64,
    /// Payloads that events refer to, each counted once and held against its hash.
    pub payloads: u64,
    /// Payloads that no event refers to, and their bytes. They take room and do no harm: a crash left them, or a server is
    /// about to write the events.
    pub orphans: (u64, u64),
    /// Bytes after the last whole frame, which opening would cut off and keep.
    pub torn: Option<TornTail>,
    /// What is wrong with the log, each with its file and place. Empty if nothing is.
    pub problems: Vec<String>,
    /// Index runs and snapshots that are not what was written. They are made again from the log, so no data is lost.
    pub cache_problems: Vec<String>,
}

/// Checks the folder of a tenant. `progress` is told the bytes read and all there are, now and then.
///
/// # Errors
/// A file cannot be read. What is read and wrong is in the report.
pub fn check(storage: &dyn Storage, folder: &str, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport, Fault> {
    check_each(storage, folder, progress, &mut |_| ())
}

/// As [`check`]; `sound` is told where the log stands after each commit that continues it.
///
/// # Errors
/// As [`check`].
pub fn check_each(
    storage: &dyn Storage,
    folder: &str,
    progress: &mut dyn FnMut(u64, u64),
    sound: &mut dyn FnMut(&Tail),
) -> Result<CheckReport, Fault> {
    let log = format!("{folder}/log");
    let ordinals = segment::list(storage, &log)?;
    let unfinished = segment::unfinished_copy(storage, &log)?;
    let mut segments = Vec::with_capacity(ordinals.len());
    let mut report = CheckReport::default();
    if let Some(path) = unfinished {
        report.problems.push(format!("{path}: the backup that this folder was made by was interrupted"));
    }
    for ordinal in &ordinals {
        match Segment::open(storage, &log, *ordinal, OpenMode::Read)? {
            Some(segment) => segments.push(segment),
            None if Some(ordinal) == ordinals.last() && recovery::is_unfinished(storage, &log, *ordinal)? => {
                let path = storage.display(&segment::path(&log, *ordinal));
                report.torn = Some(TornTail { path, offset: 0, bytes: 0, kept: String::new() });
            }
            None => {
                let path = storage.display(&segment::path(&log, *ordinal));
                report.problems.push(format!("{path}: the header is not what was written"));
            }
        }
    }
    if ordinals.windows(2).any(|pair| pair[1] != pair[0] + 1) {
        report.problems.push(format!("{}: a segment is missing between others", storage.display(&log)));
    }
    match segments.first().map(|first| recovery::tail_of_header(&first.header)) {
        None => report.problems.push(format!("{}: expected a log, found no segment", storage.display(&log))),
        Some(tail) if (tail.number, tail.next_position, tail.chain) != (0, 1, [0; 32]) => {
            let (path, number) = (storage.display(&log), tail.number + 1);
            report.problems.push(format!("{path}: expected the log to begin with commit 1, found commit {number}"));
        }
        Some(_) => {}
    }
    let all = segments.iter().map(Segment::end).sum();
    let mut tail: Option<Tail> = None;
    let mut done = 0;
    let mut referred: BTreeMap<Digest, (Payload, u64)> = BTreeMap::new();
    for (i, segment) in segments.iter().enumerate() {
        let is_last = i + 1 == segments.len();
        let advance = &mut |bytes| progress(done + bytes, all);
        let refer = &mut |payload: Payload, position| _ = referred.entry(payload.hash).or_insert((payload, position));
        tail = Some(check_segment(segment, tail, is_last, &mut report, &mut Heard { advance, sound, refer })?);
        done += segment.end();
        progress(done, all);
    }
    report.segments = segments.len() as u64;
    report.chain = tail.map_or([0; 32], |tail| tail.chain);
    check_payloads(storage, folder, referred, &mut report)?;
    check_caches(storage, folder, &mut report)?;
    Ok(report)
}

/// Who is told of what a check comes across.
struct Heard<'a> {
    /// How many bytes of the segment were read.
    advance: &'a mut dyn FnMut(u64),
    /// Where the log stands after a commit that continues it.
    sound: &'a mut dyn FnMut(&Tail),
    /// That the event at a position has a payload.
    refer: &'a mut dyn FnMut(Payload, u64),
}

/// Reads every payload that an event refers to, and counts the others.
fn check_payloads(
    storage: &dyn Storage,
    folder: &str,
    referred: BTreeMap<Digest, (Payload, u64)>,
    report: &mut CheckReport,
) -> Result<(), Fault> {
    let payloads = payload::folder(folder);
    for (path, hash) in payload::files(storage, &payloads)? {
        if hash.is_some_and(|hash| !referred.contains_key(&hash)) {
            let bytes = payload::length(storage, &path)?.unwrap_or_default();
            report.orphans = (report.orphans.0 + 1, report.orphans.1 + bytes);
        }
    }
    for (hash, (payload, position)) in referred {
        let path = payload::path(&payloads, &hash);
        report.payloads += 1;
        if let Err(found) = payload::read_checked(storage, &path, &payload)? {
            let path = storage.display(&path);
            report
                .problems
                .push(format!("{path}: expected the payload of the event at position {position}, found {found}"));
        }
    }
    Ok(())
}

fn check_segment(
    segment: &Segment,
    before: Option<Tail>,
    is_last: bool,
    report: &mut CheckReport,
    heard: &mut Heard<'_>,
) -> Result<Tail, Fault> {
    let mut tail = recovery::tail_of_header(&segment.header);
    if let Some(before) = before
        && (before.number, before.next_position, before.chain) != (tail.number, tail.next_position, tail.chain)
    {
        report.problems.push(format!(
            "{}: expected to go on after commit {} at position {}, found commit {} at position {} or another hash",
            segment.name,
            before.number,
            before.next_position,
            tail.number + 1,
            tail.next_position
        ));
    }
    let mut events = 0;
    let mut commits = 0;
    let mut problem = None;
    // The last commit that a frame says is durable.
    let mut durable = 0;
    let end = recovery::walk(segment, |frame, offset| {
        (heard.advance)(offset);
        let commit = match frame {
            Frame::Mark { durable: vouched } => {
                durable = vouched;
                return true;
            }
            Frame::Commit { commit, durable: vouched } => {
                durable = vouched;
                commit
            }
        };
        problem = broken(&commit, &tail).map(|found| format!("{}: at byte {offset}: {found}", segment.name));
        if problem.is_some() {
            return false;
        }
        events += commit.event_count();
        commits += 1;
        tail = after(&commit, &tail);
        (heard.sound)(&tail);
        let events = commit.records.iter().filter(|record| record.kind == RecordKind::Event);
        for (position, record) in (commit.first_position..).zip(events) {
            if let Some(payload) = body::decode(&record.body).and_then(|event| event.payload()) {
                (heard.refer)(payload, position);
            }
        }
        true
    })?;
    report.events += events;
    report.commits += commits;
    report.bytes += end;
    let waste = recovery::waste_bytes(segment, end, segment.end())?;
    let is_lost = durable > tail.number;
    match problem {
        Some(problem) => report.problems.push(problem),
        None if recovery::is_newer(segment, end)? => {
            report.problems.push(format!("{}: at byte {end}: {}", segment.name, recovery::NEWER));
        }
        None if (waste > 0 || is_lost) && is_last => match recovery::acknowledged_after(segment, waste)? {
            Some(last) => report.problems.push(format!(
                "{}: at byte {end}: commits {} to {last}, from position {} on, were acknowledged and cannot be read",
                segment.name,
                tail.number + 1,
                tail.next_position
            )),
            None => {
                let (path, kept) = (segment.name.clone(), String::new());
                report.torn = Some(TornTail { path, offset: end, bytes: waste, kept });
            }
        },
        None if waste > 0 => report.problems.push(format!(
            "{}: at byte {end}: expected commit {} at position {}, found bytes that are no whole frame",
            segment.name,
            tail.number + 1,
            tail.next_position
        )),
        None => {}
    }
    Ok(tail)
}

/// What does not fit, if a commit does not continue the log.
fn broken(commit: &FramedCommit, tail: &Tail) -> Option<String> {
    if let Some(misplaced) = recovery::misplaced(commit, tail) {
        return Some(misplaced);
    }
    if commit.chain_before != tail.chain {
        return Some(format!(
            "commit {}: the hash chain is broken: the commit before it is not the one that was there",
            commit.number
        ));
    }
    if commit.recorded_time < tail.recorded_time && tail.recorded_time != Timestamp(i64::MIN) {
        return Some(format!("commit {}: it was recorded before the commit before it", commit.number));
    }
    if let Some(record) = commit.rotten_record() {
        let (number, offset) = (commit.number, record.offset);
        return Some(format!("commit {number}: the record at {offset} of it is not what its own checksum says"));
    }
    None
}

fn after(commit: &FramedCommit, tail: &Tail) -> Tail {
    Tail {
        number: commit.number,
        next_position: tail.next_position + commit.event_count(),
        recorded_time: commit.recorded_time,
        epoch: commit.epoch,
        chain: commit.chain_after(),
    }
}

/// A server beside this check removes caches that it has newer ones of.
fn is_gone(fault: &Fault) -> bool {
    matches!(fault, Fault::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Caches that are wrong cost time, not data; they are named all the same.
fn check_caches(storage: &dyn Storage, folder: &str, report: &mut CheckReport) -> Result<(), Fault> {
    let runs = format!("{folder}/index");
    for name in storage.list(&runs).unwrap_or_default() {
        if run::parse_name(&name).is_none() {
            continue;
        }
        match Run::open(storage, &format!("{runs}/{name}")).and_then(|run| run.check()) {
            Ok(()) => {}
            Err(fault) if is_gone(&fault) => continue,
            Err(Fault::Damaged { path, offset, detail }) => {
                let problem = format!("{path} is damaged at byte {offset}: {detail}. The store makes this index again");
                report.cache_problems.push(problem);
            }
            Err(fault) => return Err(fault),
        }
        report.caches += 1;
    }
    let snapshots = format!("{folder}/snapshots");
    for number in snapshot::list(storage, &snapshots)? {
        match snapshot::read(storage, &snapshots, number) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let path = storage.display(&snapshots);
                let problem = format!("{path}: snapshot {number} is not whole. Opening the store does without it");
                report.cache_problems.push(problem);
            }
            Err(fault) if is_gone(&fault) => continue,
            Err(fault) => return Err(fault),
        }
        report.caches += 1;
    }
    Ok(())
}
