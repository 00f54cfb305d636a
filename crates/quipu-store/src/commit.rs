//! The logical commit: what one append writes, all or nothing. It is the same on every kind of log; the hash chain
//! runs over it, so the chain survives a migration from one kind to another.

use quipu_domain::Timestamp;

use crate::varint::{self, Reader};

/// A BLAKE3 hash.
pub type Digest = [u8; 32];

/// What one append writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// 1, 2, 3 … without gaps.
    pub number: u64,
    /// Which owner of the log decided it.
    pub epoch: u64,
    /// When it was decided; never earlier than the commit before.
    pub recorded_time: Timestamp,
    /// The position of its first event; a commit without events has the position that the next event will get.
    pub first_position: u64,
    /// The chain hash of the commit before; zeros for the first.
    pub chain_before: Digest,
    /// Events and system records, in order.
    pub records: Vec<Record>,
}

/// One part of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Event or system record.
    pub kind: RecordKind,
    /// For an event with a subject its version in its stream, else 0.
    pub stream_version: u64,
    /// BLAKE3 of the body.
    pub digest: Digest,
    /// The bytes.
    pub body: Vec<u8>,
}

/// What a record is. The numbers are on disk: append, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// An event ([`crate::body`]). Takes a position.
    Event = 1,
    /// The first record of a log: the key that index terms are hashed with.
    Genesis = 2,
    /// How far an outside source was copied: number:varint, then the source's name.
    Checkpoint = 3,
    /// A subscription was made, changed or deleted: JSON.
    Subscription = 4,
    /// What changed in the deliveries of a subscription: postcard.
    Progress = 5,
    /// A delivery was given up, or an edited copy of one was made: JSON.
    DeadLetter = 6,
    /// What became of dead letters: JSON.
    DeadLetterOutcome = 7,
    /// An operation on many things began, went on or ended: postcard.
    Operation = 8,
    /// A key was made, rotated, revoked or used: JSON.
    Key = 9,
    /// A tenant was made, suspended, resumed or deleted, or has other quotas: JSON. In the log of `system`.
    Tenant = 10,
    /// A schema was registered, deprecated or removed, or rules of schemas were changed: JSON.
    Schema = 11,
    /// Who publishes and who reads events of a type was declared, or is not any more: JSON.
    Declaration = 13,
    /// A projection was declared, switched or removed, or passes over an event: JSON.
    Projection = 14,
    /// A timer was set, fired or cancelled: postcard.
    Timer = 15,
    /// A schedule was declared, paused, resumed or removed, or what became of ticks: JSON.
    Schedule = 16,
    /// A saga, a rule or an expectation was declared or removed: JSON.
    Saga = 17,
    /// What instances of sagas came to, and how far the log was followed: postcard.
    SagaStep = 18,
}

impl RecordKind {
    /// The kind with this number on disk.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Event,
            Self::Genesis,
            Self::Checkpoint,
            Self::Subscription,
            Self::Progress,
            Self::DeadLetter,
            Self::DeadLetterOutcome,
            Self::Operation,
            Self::Key,
            Self::Tenant,
            Self::Schema,
            Self::Declaration,
            Self::Projection,
            Self::Timer,
            Self::Schedule,
            Self::Saga,
            Self::SagaStep,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl Record {
    /// A record of a body, hashed here: call it before the mailbox, not in the loop.
    pub fn new(kind: RecordKind, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { kind, stream_version: 0, digest: *blake3::hash(&body).as_bytes(), body }
    }

    /// Bytes that it takes, at most: in a frame with its head, and about as many in memory.
    pub fn bytes(&self) -> usize {
        self.body.len() + 128
    }

    /// A checkpoint record.
    pub fn checkpoint(source: &str, number: u64) -> Self {
        let mut body = Vec::with_capacity(10 + source.len());
        varint::put(&mut body, number);
        body.extend_from_slice(source.as_bytes());
        Self::new(RecordKind::Checkpoint, body)
    }

    /// The source and number of a checkpoint record's body.
    pub fn read_checkpoint(body: &[u8]) -> Option<(&str, u64)> {
        let mut reader = Reader::new(body);
        let number = reader.varint()?;
        Some((std::str::from_utf8(reader.rest()).ok()?, number))
    }
}

impl Commit {
    /// How many of the records are events.
    pub fn event_count(&self) -> u64 {
        self.records.iter().filter(|record| record.kind == RecordKind::Event).count() as u64
    }

    /// The hash that the next commit names as `chain_before`.
    pub fn chain_after(&self) -> Digest {
        let mut chain =
            Chain::new(self.number, self.epoch, self.recorded_time, self.first_position, &self.chain_before);
        for record in &self.records {
            chain.add(record.kind as u8, record.stream_version, &record.digest);
        }
        chain.finish()
    }
}

/// The hash chain of one commit in the making.
///
/// `chain_after = BLAKE3(chain_before, number, epoch, recorded time, first position, (kind, version, digest)*)`, all
/// numbers as eight bytes, little-endian.
pub struct Chain {
    input: Vec<u8>,
}

impl Chain {
    /// Starts with what the commit says of itself.
    pub fn new(number: u64, epoch: u64, recorded_time: Timestamp, first_position: u64, before: &Digest) -> Self {
        // Gathered and hashed at once: BLAKE3 then works on many blocks in parallel.
        let mut input = Vec::with_capacity(64 + 4 * 41);
        input.extend_from_slice(before);
        for part in [number, epoch, recorded_time.0 as u64, first_position] {
            input.extend_from_slice(&part.to_le_bytes());
        }
        Self { input }
    }

    /// Adds a record.
    pub fn add(&mut self, kind: u8, stream_version: u64, digest: &Digest) {
        self.input.push(kind);
        self.input.extend_from_slice(&stream_version.to_le_bytes());
        self.input.extend_from_slice(digest);
    }

    /// The hash.
    pub fn finish(self) -> Digest {
        *blake3::hash(&self.input).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Commit {
        Commit {
            number: 2,
            epoch: 1,
            recorded_time: Timestamp(5),
            first_position: 1,
            chain_before: [7; 32],
            records: vec![Record::new(RecordKind::Event, "a"), Record::checkpoint("s", 9)],
        }
    }

    #[test]
    fn the_chain_covers_every_part() {
        let base = commit().chain_after();
        let changes: [fn(&mut Commit); 8] = [
            |c| c.number = 3,
            |c| c.epoch = 2,
            |c| c.recorded_time = Timestamp(6),
            |c| c.first_position = 2,
            |c| c.chain_before = [8; 32],
            |c| c.records[0].stream_version = 1,
            |c| c.records[0] = Record::new(RecordKind::Event, "b"),
            |c| c.records.swap(0, 1),
        ];
        for change in changes {
            let mut changed = commit();
            change(&mut changed);
            assert_ne!(changed.chain_after(), base);
        }
        assert_eq!(commit().chain_after(), base);
    }

    #[test]
    fn a_checkpoint_is_read_back() {
        assert_eq!(Record::read_checkpoint(&Record::checkpoint("topic/0", 300).body), Some(("topic/0", 300)));
    }
}
