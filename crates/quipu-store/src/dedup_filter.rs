//! Answers "this `source` and `id` is surely new" for the events in index runs, in memory, so that an append seldom
//! has to look into a file. Wrong in about one of a thousand "maybe"s, never in a "no".
//!
//! Blocked Bloom filters: the bits of a key lie in one cache line (Putze, Sanders, Singler: "Cache-, Hash- and
//! Space-Efficient Bloom Filters", 2007). A full one is closed and another begun, and those that hold nothing in the
//! deduplication window any more are dropped, so an append looks at a handful of cache lines however long the log is.

/// A cache line of 512 bits.
type Block = [u64; 8];
/// Keys in a filter: at 16 bits a key this takes 8 MiB.
const KEYS_MAX: u64 = 4 << 20;
const BITS_PER_KEY: u64 = 16;
/// Bits set for a key.
const PROBES: u32 = 8;

/// Keys of the pairs in index runs.
#[derive(Default)]
pub struct DedupFilter {
    generations: Vec<Generation>,
}

struct Generation {
    /// The position after the last event in it.
    end_position: u64,
    keys: u64,
    blocks: Vec<Block>,
}

impl Generation {
    fn new() -> Self {
        // Zeroed pages are only taken when touched, so a small store does not pay for a large filter.
        let blocks = (KEYS_MAX * BITS_PER_KEY / 512) as usize;
        Self { end_position: 0, keys: 0, blocks: vec![[0; 8]; blocks] }
    }

    fn block_of(&self, key: u64) -> usize {
        ((u128::from(mix(key)) * self.blocks.len() as u128) >> 64) as usize
    }

    fn insert(&mut self, key: u64) {
        let at = self.block_of(key);
        probes(key).for_each(|bit| self.blocks[at][bit / 64] |= 1 << (bit % 64));
        self.keys += 1;
    }

    fn may_hold(&self, key: u64) -> bool {
        let block = &self.blocks[self.block_of(key)];
        probes(key).all(|bit| block[bit / 64] & (1 << (bit % 64)) != 0)
    }
}

/// Keys are hashes already, but their low bits are the source's: spread them (the finalizer of MurmurHash3).
fn mix(mut key: u64) -> u64 {
    key = (key ^ (key >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    key = (key ^ (key >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    key ^ (key >> 33)
}

fn probes(key: u64) -> impl Iterator<Item = usize> {
    let spread = mix(key ^ 0x5851_F42D_4C95_7F2D);
    let (start, step) = (spread & 511, (spread >> 9) & 511 | 1);
    (0..u64::from(PROBES)).map(move |i| (start.wrapping_add(step.wrapping_mul(i)).wrapping_add(i * i) & 511) as usize)
}

impl DedupFilter {
    /// Adds the keys of a run that ends before `end_position`.
    pub fn add(&mut self, end_position: u64, keys: impl IntoIterator<Item = u64>) {
        for key in keys {
            if self.generations.last().is_none_or(|last| last.keys >= KEYS_MAX) {
                self.generations.push(Generation::new());
            }
            if let Some(last) = self.generations.last_mut() {
                last.insert(key);
                last.end_position = end_position;
            }
        }
    }

    /// Whether the key may have been added.
    pub fn may_hold(&self, key: u64) -> bool {
        self.generations.iter().any(|generation| generation.may_hold(key))
    }

    /// [`DedupFilter::may_hold`] for each key. The keys' cache lines are fetched beside each other.
    pub fn may_hold_any(&self, keys: &[u64]) -> Vec<bool> {
        keys.iter().map(|key| self.may_hold(*key)).collect()
    }

    /// Forgets what holds only positions before this one.
    pub fn forget_before(&mut self, position: u64) {
        self.generations.retain(|generation| generation.end_position > position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_never_wrong_and_a_maybe_seldom() {
        let mut filter = DedupFilter::default();
        let key = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        filter.add(1, (0..KEYS_MAX).map(key));
        assert!((0..KEYS_MAX).all(|i| filter.may_hold(key(i))));
        let wrong = (KEYS_MAX..KEYS_MAX + 100_000).filter(|i| filter.may_hold(key(*i))).count();
        assert!(wrong < 500, "{wrong} of 100,000 unknown keys were taken for known");
    }

    #[test]
    fn what_is_outside_the_window_is_forgotten() {
        let mut filter = DedupFilter::default();
        filter.add(10, [1, 2]);
        filter.forget_before(9);
        assert!(filter.may_hold(1));
        filter.forget_before(10);
        assert!(!filter.may_hold(1));
    }
}
