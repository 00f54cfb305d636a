//! The newest version of every stream.

use quipu_domain::StreamState;

use crate::sharded::Sharded;

/// Stream → version and position of its newest event.
#[derive(Clone, Default)]
pub(crate) struct Streams(Sharded<u128, StreamState>);

impl Streams {
    /// Makes room for this many more.
    pub fn reserve(&mut self, count: usize) {
        self.0.reserve(count);
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A stream that has events.
    pub fn get(&self, stream: u128) -> Option<StreamState> {
        self.0.get(stream).copied()
    }

    /// Says what the newest event of a stream is.
    pub fn insert(&mut self, stream: u128, state: StreamState) {
        self.0.insert(stream, state);
    }

    /// Counts an event; its version.
    pub fn record(&mut self, stream: u128, position: u64) -> u64 {
        let state = self.0.entry(stream);
        state.version += 1;
        state.position = position;
        state.version
    }

    /// Every stream, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, StreamState)> {
        self.0.iter().map(|(stream, state)| (stream, *state))
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
