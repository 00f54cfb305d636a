//! What memory knows of a log: the fold of its commits. The newest version of every stream and the checkpoints of
//! outside sources. A snapshot is this, written down; it may be deleted.
//!
//! ```text
//! snapshot body = format:u8 (11) number position recorded_time epoch chain:[32]
//!                 checkpoints:count (source number)* subscriptions:(length, postcard) operations:(length, postcard) keys:(length, JSON)
//!                 tenants:(length, JSON) schemas:(length, JSON) catalog:(length, JSON) projections:(length, JSON)
//!                 timers:(length, last:varint count (timer due since locator key:[16] pair:[8] payload:(length, [32])?)*)
//!                 sagas:(length, plan:varint instance to plans:(length, JSON) count (number (length, postcard))* count number*)
//!                 schedules:(length, JSON)
//!                 streams:count (hash:[16] version position)*
//! ```
//! All numbers but the chain and the hashes are varints.

use std::collections::BTreeMap;

use quipu_domain::delivery::Deliveries;
use quipu_domain::{StreamState, Timestamp};
use quipu_store::snapshot::Sink;
use quipu_store::{Digest, Fault, Locator, Reader, RecordKind, Tail, put, put_bytes};

use crate::catalog::FoldedCatalog;
use crate::keys::FoldedKeys;
use crate::operations::FoldedOperations;
use crate::projections::FoldedProjections;
use crate::sagas::FoldedSagas;
use crate::schedules::FoldedSchedules;
use crate::schemas::FoldedSchemas;
use crate::streams::Streams;
use crate::subscriptions::FoldedSubscriptions;
use crate::tenants::FoldedTenants;
use crate::timers::FoldedTimers;

const FORMAT: u8 = 11;

/// The state after a commit.
#[derive(Clone)]
pub(crate) struct Fold {
    pub tail: Tail,
    pub streams: Streams,
    pub checkpoints: BTreeMap<String, u64>,
    pub subscriptions: FoldedSubscriptions,
    pub operations: FoldedOperations,
    pub keys: FoldedKeys,
    pub tenants: FoldedTenants,
    pub schemas: FoldedSchemas,
    pub catalog: FoldedCatalog,
    pub projections: FoldedProjections,
    pub timers: FoldedTimers,
    pub sagas: FoldedSagas,
    pub schedules: FoldedSchedules,
}

impl Fold {
    /// Before the first commit.
    pub fn empty() -> Self {
        let tail = Tail { number: 0, next_position: 1, recorded_time: Timestamp(i64::MIN), epoch: 1, chain: [0; 32] };
        Self {
            tail,
            streams: Streams::default(),
            checkpoints: BTreeMap::new(),
            subscriptions: FoldedSubscriptions::default(),
            operations: FoldedOperations::default(),
            keys: FoldedKeys::default(),
            tenants: FoldedTenants::default(),
            schemas: FoldedSchemas::default(),
            catalog: FoldedCatalog::default(),
            projections: FoldedProjections::default(),
            timers: FoldedTimers::default(),
            sagas: FoldedSagas::default(),
            schedules: FoldedSchedules::default(),
        }
    }

    /// Takes in a record that is neither an event nor about the log itself. Nothing if it cannot be read.
    pub fn apply(&mut self, kind: RecordKind, body: &[u8], locator: Locator) -> Option<()> {
        match kind {
            RecordKind::Operation => self.operations.apply(body),
            RecordKind::Key => self.keys.apply(body),
            RecordKind::Tenant => self.tenants.apply(body),
            RecordKind::Schema => self.schemas.apply(body),
            RecordKind::Declaration => self.catalog.apply(body),
            RecordKind::Projection => self.projections.apply(body),
            RecordKind::Timer => self.timers.apply(body, locator),
            RecordKind::Schedule => self.schedules.apply(body),
            RecordKind::Saga => self.sagas.apply(body),
            RecordKind::SagaStep => self.sagas.apply_step(body),
            kind => self.subscriptions.apply(kind, body, locator),
        }
    }

    /// Counts an event of a stream; its version.
    pub fn record(&mut self, stream: Option<u128>, position: u64) -> u64 {
        stream.map_or(0, |stream| self.streams.record(stream, position))
    }

    pub fn version(&self, stream: u128) -> u64 {
        self.streams.get(stream).map_or(0, |state| state.version)
    }

    /// Writes all of it, the large parts piece by piece.
    ///
    /// # Errors
    /// Whatever refuses the bytes.
    pub fn write(&self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let out = sink.room()?;
        out.push(FORMAT);
        put(out, self.tail.number);
        put(out, self.tail.next_position);
        put(out, self.tail.recorded_time.0 as u64);
        put(out, self.tail.epoch);
        out.extend_from_slice(&self.tail.chain);
        put(out, self.checkpoints.len() as u64);
        for (source, number) in &self.checkpoints {
            put_bytes(out, source.as_bytes());
            put(out, *number);
        }
        put_bytes(out, &self.subscriptions.encode());
        put_bytes(out, &self.operations.encode());
        put_bytes(out, &self.keys.encode());
        put_bytes(out, &self.tenants.encode());
        put_bytes(out, &self.schemas.encode());
        put_bytes(out, &self.catalog.encode());
        put_bytes(out, &self.projections.encode());
        put(out, self.timers.written_bytes()?);
        self.timers.write(sink)?;
        put(sink.room()?, self.sagas.written_bytes()?);
        self.sagas.write(sink)?;
        put_bytes(sink.room()?, &self.schedules.encode());
        put(sink.room()?, self.streams.len() as u64);
        for (stream, state) in self.streams.iter() {
            let out = sink.room()?;
            out.extend_from_slice(&stream.to_le_bytes());
            put(out, state.version);
            put(out, state.position);
        }
        Ok(())
    }

    /// All of it at once.
    fn encode(&self) -> Vec<u8> {
        Sink::collect(|sink| self.write(sink)).expect("memory refuses nothing")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != FORMAT {
            return None;
        }
        let mut fold = Self::empty();
        fold.tail.number = reader.varint()?;
        fold.tail.next_position = reader.varint()?;
        fold.tail.recorded_time = Timestamp(reader.varint()? as i64);
        fold.tail.epoch = reader.varint()?;
        fold.tail.chain = reader.array::<{ size_of::<Digest>() }>()?;
        for _ in 0..reader.varint()? {
            let source = reader.text()?.to_owned();
            fold.checkpoints.insert(source, reader.varint()?);
        }
        fold.subscriptions = FoldedSubscriptions::decode(reader.bytes()?)?;
        fold.operations = FoldedOperations::decode(reader.bytes()?)?;
        fold.keys = FoldedKeys::decode(reader.bytes()?)?;
        fold.tenants = FoldedTenants::decode(reader.bytes()?)?;
        fold.schemas = FoldedSchemas::decode(reader.bytes()?)?;
        fold.catalog = FoldedCatalog::decode(reader.bytes()?)?;
        fold.projections = FoldedProjections::decode(reader.bytes()?)?;
        fold.timers = FoldedTimers::decode(reader.bytes()?)?;
        fold.sagas = FoldedSagas::decode(reader.bytes()?)?;
        fold.schedules = FoldedSchedules::decode(reader.bytes()?)?;
        let streams = reader.varint()?;
        fold.streams.reserve(usize::try_from(streams).ok()?.min(bytes.len() / 18));
        for _ in 0..streams {
            let stream = u128::from_le_bytes(reader.array()?);
            fold.streams.insert(stream, StreamState { version: reader.varint()?, position: reader.varint()? });
        }
        reader.rest().is_empty().then_some(fold)
    }
}

/// The body of a snapshot, read and written again; for the fuzz targets.
#[doc(hidden)]
pub fn read_snapshot(body: &[u8]) -> Option<Vec<u8>> {
    let fold = Fold::decode(body)?;
    let saved = fold.subscriptions.subscriptions.values().map(|folded| &folded.saved);
    saved.for_each(|saved| drop(Deliveries::restore_from(saved)));
    Some(fold.encode())
}

/// The body of the snapshot after these system records, without those that cannot be read; for the fuzz targets.
#[doc(hidden)]
pub fn fold_records(records: &[(RecordKind, &[u8])]) -> Vec<u8> {
    let mut fold = Fold::empty();
    records.iter().for_each(|(kind, body)| _ = fold.apply(*kind, body, 1));
    fold.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_back() {
        let mut fold = Fold::empty();
        fold.tail.number = 9;
        fold.tail.recorded_time = Timestamp(-5);
        fold.checkpoints.insert("topic/0".into(), 300);
        for i in 0..100u64 {
            fold.record(Some(u128::from(i % 7) << 70 | u128::from(i % 7)), i + 1);
        }
        let read = Fold::decode(&fold.encode()).unwrap();
        assert_eq!((read.tail, &read.checkpoints, read.streams.len()), (fold.tail, &fold.checkpoints, 7));
        assert!(fold.streams.iter().all(|(stream, state)| read.streams.get(stream) == Some(state)));
        assert!(Fold::decode(&fold.encode()[1..]).is_none());
    }
}
