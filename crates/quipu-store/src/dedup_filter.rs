//! Answers "this `source` and `id` is surely new" for the events in index runs, in memory, so that an append seldom
//! has to look into a file. Wrong in about one of ten thousand "maybe"s, never in a "no"; and a "maybe" says between
//! which positions, so that only the runs there are asked.
//!
//! Blocked Bloom filters: the bits of a key lie in one cache line (Putze, Sanders, Singler: "Cache-, Hash- and
//! Space-Efficient Bloom Filters", 2007), one in each of its words. A full one is closed and another begun that has
//! room for as many keys as all before it, or eight times as many while they are few. So an append looks at one cache
//! line for each doubling of the window: about 6 at 10 million events, 8 at 30 million. Those that hold nothing in the
//! deduplication window any more are dropped.

use std::ops::Range;

/// A cache line of 512 bits.
type Block = [u64; 8];
/// Keys in the first filter. It takes 48 KiB, which many small tenants have room for.
const KEYS_MIN: usize = 1 << 14;
/// Up to this many, 3 MiB, filters grow fast: they are too small to take much room, and each costs a look.
const KEYS_FEW: usize = 1 << 20;
/// With 16 bits one of a thousand new keys is a "maybe", and at 30 million events each of those reads 60 files: 0.3 µs
/// an event. 24 bits take it to a tenth for 1 byte a key.
const BITS_PER_KEY: usize = 24;

/// Keys of the pairs in index runs.
#[derive(Default)]
pub struct DedupFilter {
    /// Oldest first.
    generations: Vec<Generation>,
}

struct Generation {
    /// From the first event in it to after the last.
    positions: Range<u64>,
    keys: usize,
    keys_max: usize,
    blocks: Vec<Block>,
}

impl Generation {
    fn new(first_position: u64, keys_max: usize) -> Self {
        let blocks = vec![[0; 8]; (keys_max * BITS_PER_KEY).div_ceil(512)];
        Self { positions: first_position..first_position, keys: 0, keys_max, blocks }
    }

    /// By the key's high bits, so that sorted keys go through the memory in order. They are a keyed hash of the id.
    fn block_of(&self, key: u64) -> usize {
        ((u128::from(key) * self.blocks.len() as u128) >> 64) as usize
    }

    fn insert(&mut self, key: u64) {
        let at = self.block_of(key);
        self.blocks[at].iter_mut().zip(bits_of(key)).for_each(|(word, bit)| *word |= bit);
    }

    /// Without a branch for each word: the processor then fetches the lines of several keys at once.
    fn may_hold(&self, key: u64) -> bool {
        let words = self.blocks[self.block_of(key)].iter().zip(bits_of(key));
        words.fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }
}

/// A key's bit in each word of its block. The low bits of keys are the source's: all are mixed (the finalizer of
/// MurmurHash3).
fn bits_of(mut key: u64) -> Block {
    key = (key ^ (key >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    key = (key ^ (key >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    key ^= key >> 33;
    std::array::from_fn(|word| 1 << ((key >> (6 * word)) & 63))
}

impl DedupFilter {
    /// Adds the keys of a run. Runs come in the order of their positions; sorted keys are added fastest.
    pub fn add(&mut self, positions: Range<u64>, keys: &[u64]) {
        self.reserve(positions, keys.len());
        self.add_some(keys);
    }

    /// Makes room for the keys of a run, which may then be added some at a time, and are not forgotten before it is.
    pub fn reserve(&mut self, positions: Range<u64>, keys: usize) {
        if self.generations.last().is_none_or(|last| last.keys + keys > last.keys_max) {
            let before: usize = self.generations.iter().map(|generation| generation.keys).sum();
            let growth = if before < KEYS_FEW { 8 } else { 1 };
            let keys_max = KEYS_MIN.max(before * growth).max(keys);
            self.generations.push(Generation::new(positions.start, keys_max));
        }
        self.newest().positions.end = positions.end;
    }

    /// Adds keys of the run that there was made room for.
    pub fn add_some(&mut self, keys: &[u64]) {
        let newest = self.newest();
        keys.iter().for_each(|key| newest.insert(*key));
        newest.keys += keys.len();
    }

    fn newest(&mut self) -> &mut Generation {
        self.generations.last_mut().expect("there was made room")
    }

    /// Which of the keys may have been added, by their index, and between which positions; newest first.
    pub fn find(&self, keys: &[u64]) -> Vec<(usize, Range<u64>)> {
        let mut found = Vec::new();
        for generation in self.generations.iter().rev() {
            let may_hold = keys.iter().enumerate().filter(|(_, key)| generation.may_hold(**key));
            found.extend(may_hold.map(|(index, _)| (index, generation.positions.clone())));
        }
        found
    }

    /// The position before which the oldest part ends, which is what can be forgotten first.
    pub fn oldest_end(&self) -> Option<u64> {
        self.generations.first().map(|oldest| oldest.positions.end)
    }

    /// Forgets what holds only positions before this one.
    pub fn forget_before(&mut self, position: u64) {
        self.generations.retain(|generation| generation.positions.end > position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: Range<u64>) -> Vec<u64> {
        numbers.map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect()
    }

    #[test]
    fn a_no_is_never_wrong_and_a_maybe_seldom() {
        let mut filter = DedupFilter::default();
        let count = KEYS_FEW as u64;
        filter.add(1..1 + count, &keys(0..count));
        let known = filter.find(&keys(0..100_000));
        assert!(known.iter().map(|(index, _)| *index).eq(0..100_000));
        let wrong = filter.find(&keys(count..count + 200_000)).len();
        assert!(wrong < 60, "{wrong} of 200,000 unknown keys were taken for known");
    }

    #[test]
    fn what_there_is_room_for_and_is_not_yet_added_is_not_forgotten() {
        let mut filter = DedupFilter::default();
        filter.reserve(1..101, 3);
        filter.forget_before(51);
        filter.add_some(&[1 << 40, 2 << 40]);
        filter.add_some(&[3 << 40]);
        assert_eq!(filter.find(&[3 << 40, 4 << 40, 1 << 40]), [(0, 1..101), (2, 1..101)]);
    }

    #[test]
    fn a_maybe_says_between_which_positions_newest_first() {
        let mut filter = DedupFilter::default();
        let run = KEYS_FEW as u64;
        filter.add(1..1 + run, &vec![7 << 40; KEYS_FEW]);
        filter.add(1 + run..1 + 2 * run, &vec![8 << 40; KEYS_FEW]);
        filter.add(1 + 2 * run..1 + 3 * run, &keys(1..10));
        filter.add(1 + 3 * run..1 + 4 * run, &[7 << 40]);
        let found = filter.find(&[7 << 40, 8 << 40, 9 << 40]);
        assert_eq!(found, [(0, 1 + 2 * run..1 + 4 * run), (1, 1 + run..1 + 2 * run), (0, 1..1 + run)]);
        let room: Vec<usize> = filter.generations.iter().map(|generation| generation.keys_max / KEYS_FEW).collect();
        assert_eq!(room, [1, 1, 2], "each has room for as many as all before");
    }

    #[test]
    fn few_keys_take_little_memory_and_many_take_few_filters() {
        let mut filter = DedupFilter::default();
        let mut grown = Vec::new();
        for first in (0..3_000_000).step_by(1_000) {
            filter.add(first + 1..first + 1_001, &keys(first..first + 1_000));
            grown.push((
                filter.generations.len(),
                filter.generations.iter().map(|each| each.blocks.len()).sum::<usize>() * 64,
            ));
        }
        assert_eq!(grown[0], (1, 48 << 10));
        for (thousands, (filters, bytes)) in grown.iter().enumerate() {
            let enough = (thousands + 1) * 1_000 * BITS_PER_KEY / 8;
            assert!(*bytes <= (enough * 9).max(48 << 10), "{bytes} bytes for {thousands},000 keys");
            assert!(*filters <= 5, "{filters} filters for {thousands},000 keys");
        }
    }

    #[test]
    fn what_is_outside_the_window_is_forgotten() {
        let mut filter = DedupFilter::default();
        filter.add(8..10, &[1, 2]);
        assert_eq!(filter.oldest_end(), Some(10));
        filter.forget_before(9);
        assert_eq!(filter.find(&[1, 3]), [(0, 8..10)]);
        filter.forget_before(10);
        assert_eq!((filter.find(&[1]), filter.oldest_end()), (vec![], None));
    }
}
