//! What opening a tenant takes: its folder for itself, the key of its log, and the fold and the index brought to the
//! log's end.

use quipu_domain::Timestamp;
use quipu_store::{Commit, Fault, Index, Log, Record, RecordKind, Storage, Tail, TermHasher, body, snapshot};

use crate::decide::Window;
use crate::fold::Fold;
use crate::options::Random;

/// How much of the log is read at once when it is replayed.
const REPLAY_BYTES: usize = 4 << 20;

pub(crate) fn lock(storage: &dyn Storage, folder: &str) -> Result<Box<dyn Send + Sync>, Fault> {
    let path = format!("{folder}/lock");
    storage.lock(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => Fault::Locked { path: storage.display(&path) },
        _ => Fault::io("lock", storage.display(&path), e),
    })
}

/// The key that terms are hashed with: the log's first record, written here if the log is new.
pub(crate) fn begin(log: &dyn Log, now: Timestamp, random: &dyn Random) -> Result<[u8; 16], Fault> {
    let damaged = |detail: &str| Fault::Damaged { path: log.name(), offset: 0, detail: detail.into() };
    if log.tail_at_opening().number == 0 {
        let mut key = [0; 16];
        random.fill(&mut key);
        let records = vec![Record::new(RecordKind::Genesis, key.to_vec())];
        let commit =
            Commit { number: 1, epoch: 1, recorded_time: now, first_position: 1, chain_before: [0; 32], records };
        log.submit(0, &[commit], &mut Vec::new())?;
        log.complete()?;
        return Ok(key);
    }
    let chunk = log.scan(log.seek(1), 4_096)?;
    let first = chunk.commits.first().and_then(|(_, commit)| commit.records.first());
    let genesis = first.filter(|record| record.kind == RecordKind::Genesis);
    let genesis = genesis.ok_or_else(|| damaged("the log does not begin with its first commit"))?;
    genesis.body.as_ref().try_into().map_err(|_| damaged("the log's first commit has no key"))
}

/// Brings the fold and the index to the log's end: from the newest snapshot that fits the log, and from where index
/// runs end.
pub(crate) fn replay(
    storage: &dyn Storage,
    snapshots: &str,
    log: &dyn Log,
    index: &Index,
    hasher: &TermHasher,
) -> Result<Fold, Fault> {
    snapshot::remove_unfinished(storage, snapshots)?;
    let tail = log.tail_at_opening();
    for number in snapshot::list(storage, snapshots)?.into_iter().rev() {
        let fold = snapshot::read(storage, snapshots, number)?.and_then(|body| Fold::decode(&body));
        if number > tail.number && fold.is_some() {
            // A snapshot is written of what is durable only: the log has lost its end.
            return Err(Fault::Damaged {
                path: log.name(),
                offset: 0,
                detail: format!(
                    "it ends with commit {}, and a snapshot has commit {number}: the end of the log is missing",
                    tail.number
                ),
            });
        }
        if let Some(fold) = fold.filter(|fold| fold.tail.number == number)
            && let Some(fold) = replay_from(fold, log, index, hasher)?
        {
            return Ok(fold);
        }
    }
    match replay_from(Fold::empty(), log, index, hasher)? {
        Some(fold) => Ok(fold),
        None => Err(Fault::Damaged {
            path: storage.display(snapshots),
            offset: 0,
            detail: "the log's hash chain does not begin with its first commit".into(),
        }),
    }
}

fn undecodable(log: &dyn Log, commit: u64) -> Fault {
    let detail = format!("a record of commit {commit} has a checksum that fits and cannot be decoded");
    Fault::Damaged { path: log.name(), offset: 0, detail }
}

/// Whether an event may be in the deduplication window. One that cannot be read may: reading it is not what opening is
/// for.
pub(crate) fn is_in_window(
    index: &Index,
    log: &dyn Log,
    window: Window,
    tail: &Tail,
    position: u64,
) -> Result<bool, Fault> {
    let holds = |time| window.holds(position, time, tail.next_position, tail.recorded_time);
    match index.locator(position).map(|locator| locator.map(|locator| log.fetch(locator, RecordKind::Event))) {
        Ok(Some(Ok(event))) => Ok(holds(event.recorded_time)),
        Ok(None) | Ok(Some(Err(Fault::Damaged { .. }))) => Ok(true),
        Ok(Some(Err(fault))) | Err(fault) => Err(fault),
    }
}

/// Nothing if the log does not continue the snapshot.
fn replay_from(mut fold: Fold, log: &dyn Log, index: &Index, hasher: &TermHasher) -> Result<Option<Fold>, Fault> {
    let mut at = log.seek(fold.tail.number + 1).min(index.scan_start(index.end_position())?);
    let mut terms = Vec::new();
    loop {
        let chunk = log.scan(at, REPLAY_BYTES)?;
        if chunk.commits.is_empty() {
            break;
        }
        at = chunk.next;
        for (start, commit) in &chunk.commits {
            let is_new = commit.number > fold.tail.number;
            if is_new && (commit.number != fold.tail.number + 1 || commit.chain_before != fold.tail.chain) {
                return Ok(None);
            }
            let mut position = commit.first_position;
            for record in &commit.records {
                match record.kind {
                    RecordKind::Event => {
                        let event = body::decode_at(&record.body, position, log)?;
                        if is_new {
                            fold.record(event.subject().map(|subject| hasher.stream(subject)), position);
                        }
                        if position == index.end_position() {
                            terms.clear();
                            index.terms_of(&event, record.stream_version, &mut terms);
                            index.insert(hasher.pair(event.source(), event.id()), &terms);
                            index.place(position, [start + u64::from(record.offset)]);
                        }
                        position += 1;
                    }
                    RecordKind::Checkpoint => {
                        if let Some((source, number)) = Record::read_checkpoint(&record.body).filter(|_| is_new) {
                            fold.checkpoints.insert(source.to_owned(), number);
                        }
                    }
                    RecordKind::Genesis => {}
                    kind if is_new => {
                        let locator = start + u64::from(record.offset);
                        let applied = fold.apply(kind, &record.body, locator);
                        applied.ok_or_else(|| undecodable(log, commit.number))?;
                    }
                    _ => {}
                }
            }
            if is_new {
                fold.tail.number = commit.number;
                fold.tail.next_position = position;
                fold.tail.recorded_time = commit.recorded_time;
                fold.tail.epoch = commit.epoch;
                fold.tail.chain = commit.chain_after();
            }
        }
        // Everything that was read at opening is durable.
        while index.sealing() > 0 && index.maintain(u64::MAX - 1)? {}
    }
    Ok(Some(fold))
}
