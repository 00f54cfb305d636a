//! The newest version of every stream. Kept in shards that are shared until they change, so that copying a million
//! streams for a snapshot takes no time: the loop goes on and copies the shards that it writes to, one at a time.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;
use quipu_domain::StreamState;

/// With 1 million streams a shard is 4,000 of them: 0.1 ms to copy.
const SHARDS: usize = 256;

/// Stream → version and position of its newest event.
#[derive(Clone)]
pub(crate) struct Streams {
    shards: Vec<Arc<Shard>>,
    len: usize,
}

type Shard = HashMap<u128, StreamState, BuildHasherDefault<Folded>>;

/// The keys are hashes already, made with a secret key: taking half of one is hash enough.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u128 keys are hashed");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], len: 0 }
    }
}

/// By bits that the maps do not use.
fn shard_of(stream: u128) -> usize {
    (stream >> 120) as usize % SHARDS
}

impl Streams {
    /// Makes room for this many more.
    pub fn reserve(&mut self, count: usize) {
        // Hashes do not spread quite evenly.
        let each = count / SHARDS + count / SHARDS / 8;
        self.shards.iter_mut().for_each(|shard| Arc::make_mut(shard).reserve(each));
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A stream that has events.
    pub fn get(&self, stream: u128) -> Option<StreamState> {
        self.shards[shard_of(stream)].get(&stream).copied()
    }

    /// Says what the newest event of a stream is; gives what it was.
    pub fn insert(&mut self, stream: u128, state: StreamState) {
        let old = Arc::make_mut(&mut self.shards[shard_of(stream)]).insert(stream, state);
        self.len += usize::from(old.is_none());
    }

    /// Counts an event; its version.
    pub fn record(&mut self, stream: u128, position: u64) -> u64 {
        let state = Arc::make_mut(&mut self.shards[shard_of(stream)]).entry(stream).or_default();
        state.version += 1;
        state.position = position;
        self.len += usize::from(state.version == 1);
        state.version
    }

    /// Every stream, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, StreamState)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(stream, state)| (*stream, *state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_what_is_recorded_later() {
        let mut streams = Streams::default();
        let key = |i: u64| u128::from(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 64 | u128::from(i);
        for i in 0..1_000 {
            assert_eq!(streams.record(key(i), i + 1), 1);
        }
        let copy = streams.clone();
        for i in 500..1_500 {
            streams.record(key(i), i + 5_000);
        }
        assert_eq!((copy.len(), streams.len()), (1_000, 1_500));
        assert_eq!((copy.get(key(700)).unwrap().version, streams.get(key(700)).unwrap().version), (1, 2));
        assert_eq!((copy.iter().count(), streams.iter().count()), (1_000, 1_500));
        assert_eq!(copy.get(key(1_200)), None);
    }
}
