//! A large map in small shards that are shared until they change, so that copying a million entries for a snapshot takes no time: the
//! loop goes on and copies the shards that it writes to, some kilobytes at a time.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use quipu_store::spread;

/// What a copy of the map copies at once, whatever is in it.
const GROUPS: usize = 256;
/// Entries of a shard on average, at most: one turn of the loop changes a thousand entries and may copy as many shards. Those that are to
/// be split next have about twice as many, which just fit into a table of 128.
const ENTRIES: usize = 48;

/// What such a map is by: running numbers, or hashes that are made already.
pub(crate) trait Key: Copy + Eq + std::hash::Hash {
    /// Bits that the maps in it do not use. The lowest eight say which group, those above which shard of it.
    fn place(self) -> u32;
}

impl Key for u128 {
    fn place(self) -> u32 {
        (self >> 96) as u32
    }
}

/// Numbers that were given one after the other are looked up and changed together: they are in one shard.
impl Key for u64 {
    fn place(self) -> u32 {
        (self >> 5) as u32
    }
}

/// A hash of a source and an id, of which some bits are the same for all of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair(pub u64);

impl Key for Pair {
    fn place(self) -> u32 {
        (spread(self.0) >> 24) as u32
    }
}

#[derive(Clone)]
pub(crate) struct Sharded<K, V> {
    groups: Vec<Arc<Group<K, V>>>,
    len: usize,
}

/// As many shards as its entries need. They are split one at a time, in turn (linear hashing, W. Litwin, 1980): all groups become full at
/// about the same time, and nobody waits until a million entries have moved.
#[derive(Clone)]
struct Group<K, V> {
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

fn group_of(key: impl Key) -> usize {
    key.place() as usize % GROUPS
}

impl<K: Key, V: Clone> Group<K, V> {
    fn empty() -> Arc<Self> {
        Arc::new(Self { shards: vec![Arc::default()], len: 0 })
    }

    fn shard_of(&self, key: K) -> usize {
        let mask = self.shards.len().next_power_of_two() - 1;
        let at = (key.place() >> 8) as usize & mask;
        // That shard is still in the one that it will be split from.
        if at < self.shards.len() { at } else { at & (mask >> 1) }
    }

    fn shard_mut(&mut self, key: K) -> &mut Shard<K, V> {
        let at = self.shard_of(key);
        Arc::make_mut(&mut self.shards[at])
    }

    /// Makes room for this many more.
    fn room(&mut self, count: usize) {
        while self.len + count > self.shards.len() * ENTRIES {
            self.split();
        }
    }

    /// One shard more, with its half of the entries of another.
    fn split(&mut self) {
        let new = self.shards.len();
        let old = new & (((new + 1).next_power_of_two() - 1) >> 1);
        self.shards.push(Arc::default());
        let (moves, stays): (Vec<_>, Vec<_>) = self.shards[old]
            .iter()
            .map(|(key, value)| (*key, value.clone()))
            .partition(|(key, _)| self.shard_of(*key) == new);
        self.shards[new] = Arc::new(moves.into_iter().collect());
        self.shards[old] = Arc::new(stays.into_iter().collect());
    }
}

impl<K: Key, V: Clone> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { groups: (0..GROUPS).map(|_| Group::empty()).collect(), len: 0 }
    }
}

impl<K: Key, V: Clone> Sharded<K, V> {
    /// Makes room for this many more.
    pub fn reserve(&mut self, count: usize) {
        // Hashes do not spread quite evenly.
        let each = count / GROUPS + count / GROUPS / 8;
        for group in &mut self.groups {
            Arc::make_mut(group).room(each);
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: K) -> Option<&V> {
        let group = &self.groups[group_of(key)];
        group.shards[group.shard_of(key)].get(&key)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.get(key)?;
        Arc::make_mut(&mut self.groups[group_of(key)]).shard_mut(key).get_mut(&key)
    }

    /// What was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let group = Arc::make_mut(&mut self.groups[group_of(key)]);
        group.room(1);
        let old = group.shard_mut(key).insert(key, value);
        group.len += usize::from(old.is_none());
        self.len += usize::from(old.is_none());
        old
    }

    /// What was there.
    pub fn remove(&mut self, key: K) -> Option<V> {
        self.get(key)?;
        let group = Arc::make_mut(&mut self.groups[group_of(key)]);
        group.len -= 1;
        self.len -= 1;
        group.shard_mut(key).remove(&key)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let shards = self.groups.iter().flat_map(|group| &group.shards);
        shards.flat_map(|shard| shard.iter().map(|(key, value)| (*key, value)))
    }
}

impl<K: Key, V: Clone + Default> Sharded<K, V> {
    /// The entry, made if there is none.
    pub fn entry(&mut self, key: K) -> &mut V {
        let group = Arc::make_mut(&mut self.groups[group_of(key)]);
        group.room(1);
        let at = group.shard_of(key);
        match Arc::make_mut(&mut group.shards[at]).entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                group.len += 1;
                self.len += 1;
                entry.insert(V::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the map of the standard library, over growing and shrinking, with copies on the way.
    #[test]
    fn it_is_a_map() {
        let (mut map, mut model) = (Sharded::<u64, u64>::default(), std::collections::HashMap::new());
        let mut copies = Vec::new();
        let mut random = 7u64;
        for i in 0..120_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (random >> 33) % 60_000;
            match random >> 61 {
                0 => assert_eq!(map.remove(key), model.remove(&key)),
                1 => assert_eq!(
                    map.get_mut(key).map(|value| std::mem::replace(value, i)),
                    model.get_mut(&key).map(|value| std::mem::replace(value, i))
                ),
                2 => {
                    *map.entry(key) += i;
                    *model.entry(key).or_default() += i;
                }
                _ => assert_eq!(map.insert(key, i), model.insert(key, i)),
            }
            if i % 30_000 == 17 {
                copies.push((map.clone(), model.clone()));
            }
        }
        copies.push((map, model));
        for (map, model) in copies {
            assert_eq!(map.len(), model.len());
            assert_eq!(
                map.iter().map(|(key, value)| (key, *value)).collect::<std::collections::HashMap<_, _>>(),
                model
            );
            assert!(map.groups.iter().all(|group| group.len <= group.shards.len() * ENTRIES));
        }
    }

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
