//! A large map in shards that are shared until they change, so that copying a million entries for a snapshot takes no time: the loop
//! goes on and copies the shards that it writes to, one at a time.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// With 1 million entries a shard is 4,000 of them: 0.1 ms to copy.
const SHARDS: usize = 256;

/// What such a map is by: hashes that are made already, or running numbers.
pub(crate) trait Key: Copy + Eq + std::hash::Hash {
    /// By bits that the maps do not use.
    fn shard(self) -> usize;
}

impl Key for u128 {
    fn shard(self) -> usize {
        (self >> 120) as usize % SHARDS
    }
}

impl Key for u64 {
    fn shard(self) -> usize {
        (spread(self) >> 24) as usize % SHARDS
    }
}

/// Running numbers differ in their lowest bits alone.
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Clone)]
pub(crate) struct Sharded<K, V> {
    shards: Vec<Arc<Shard<K, V>>>,
    len: usize,
}

type Shard<K, V> = HashMap<K, V, BuildHasherDefault<Folded>>;

/// Taking half of a hash that was made with a secret key is hash enough.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = spread(key);
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::new(HashMap::default())).collect(), len: 0 }
    }
}

impl<K: Key, V: Clone> Sharded<K, V> {
    /// Makes room for this many more.
    pub fn reserve(&mut self, count: usize) {
        // Hashes do not spread quite evenly.
        let each = count / SHARDS + count / SHARDS / 8;
        self.shards.iter_mut().for_each(|shard| Arc::make_mut(shard).reserve(each));
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.shards[key.shard()].get(&key)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let shard = &mut self.shards[key.shard()];
        if shard.contains_key(&key) { Arc::make_mut(shard).get_mut(&key) } else { None }
    }

    /// What was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let old = Arc::make_mut(&mut self.shards[key.shard()]).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// What was there.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let shard = &mut self.shards[key.shard()];
        let old = if shard.contains_key(&key) { Arc::make_mut(shard).remove(&key) } else { None };
        self.len -= usize::from(old.is_some());
        old
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(key, value)| (*key, value)))
    }
}

impl<K: Key, V: Clone + Default> Sharded<K, V> {
    /// The entry, made if there is none.
    pub fn entry(&mut self, key: K) -> &mut V {
        match Arc::make_mut(&mut self.shards[key.shard()]).entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.len += 1;
                entry.insert(V::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_what_changes_later() {
        let mut map = Sharded::<u64, u64>::default();
        (0..1_000).for_each(|i| _ = map.insert(i, i));
        let copy = map.clone();
        for i in 500..1_500 {
            *map.entry(i) += 5_000;
        }
        assert_eq!((map.remove(3), map.remove(3), map.get_mut(4).copied()), (Some(3), None, Some(4)));
        assert_eq!((copy.len(), map.len()), (1_000, 1_499));
        assert_eq!((copy.get(700), map.get(700), copy.get(3)), (Some(&700), Some(&5_700), Some(&3)));
        assert_eq!((copy.iter().count(), map.iter().count()), (1_000, 1_499));
    }
}
