//! The index of the newest events, in memory: term → positions, newest first. Each term's positions are a chain
//! through one array, so an insert is one look-up and one push and allocates nothing of its own.

use hashbrown::HashTable;
use quipu_domain::pieces::Pieces;
use roaring::RoaringBitmap;

use crate::log::Locator;
use crate::terms::Expr;

/// No earlier entry.
const NONE: u32 = u32::MAX;
/// A chain is followed this far when a set of positions is asked for. A term with more positions in one memtable
/// matches every thirtieth event or so, and reading the log in order is then as good.
const CHAIN_MAX: usize = 16_384;
/// Tables of a large memtable, and the entries from which on it is one.
const TABLES: usize = 256;
const SPLIT_AT: usize = 8_192;

/// Term → positions for events with consecutive positions.
pub struct Memtable {
    first_position: u64,
    /// Shorter than `len` while the newest events are decided and not yet written.
    locators: Pieces<Locator>,
    len: u32,
    ids: Chains,
    terms: Chains,
}

#[derive(Default)]
pub(crate) struct Chains {
    /// Index of the newest entry of each key.
    heads: Heads,
    entries: Pieces<Entry>,
}

/// One table, or [`TABLES`] once that would be large: they grow one after the other, and never all at once.
struct Heads(Vec<HashTable<u32>>);

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    /// The next older entry with this key.
    older: u32,
    /// Position, counted from the memtable's first.
    at: u32,
}

/// Spreads what differs in some bits alone over all: running numbers do in their lowest, and hashed pairs of one source in their
/// highest, while tables pick a bucket by the lowest (Fibonacci hashing, Knuth 6.4).
pub fn spread(key: u64) -> u64 {
    let product = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 32)
}

impl Heads {
    /// The tables themselves use the lowest bits, and the highest seven.
    fn at(&self, hash: u64) -> usize {
        (hash >> 48) as usize % self.0.len()
    }

    fn table(&self, hash: u64) -> &HashTable<u32> {
        &self.0[self.at(hash)]
    }

    fn table_mut(&mut self, hash: u64) -> &mut HashTable<u32> {
        let at = self.at(hash);
        &mut self.0[at]
    }

    /// From one table to many, if it is one.
    fn split(&mut self, entries: &Pieces<Entry>) {
        if self.0.len() == 1 {
            let one = std::mem::replace(&mut self.0, (0..TABLES).map(|_| HashTable::new()).collect());
            for head in one.into_iter().flatten() {
                let hash = |head: &u32| spread(entries[*head as usize].key);
                self.table_mut(hash(&head)).insert_unique(hash(&head), head, hash);
            }
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(HashTable::len).sum()
    }

    fn clear(&mut self) {
        self.0.iter_mut().for_each(HashTable::clear);
    }
}

impl Default for Heads {
    fn default() -> Self {
        Self(vec![HashTable::new()])
    }
}

impl Chains {
    fn insert(&mut self, key: u64, at: u32) {
        let entries = &mut self.entries;
        let new = entries.len() as u32;
        if entries.len() == SPLIT_AT {
            self.heads.split(entries);
        }
        let hash = spread(key);
        let found = self.heads.table_mut(hash).entry(
            hash,
            |head| entries[*head as usize].key == key,
            |head| spread(entries[*head as usize].key),
        );
        let older = match found {
            hashbrown::hash_table::Entry::Occupied(mut head) => std::mem::replace(head.get_mut(), new),
            hashbrown::hash_table::Entry::Vacant(room) => {
                room.insert(new);
                NONE
            }
        };
        entries.push(Entry { key, older, at });
    }

    /// Positions of a key, newest first.
    fn newest(&self, key: u64) -> impl Iterator<Item = u32> {
        let hash = spread(key);
        let head = self.heads.table(hash).find(hash, |head| self.entries[*head as usize].key == key).copied();
        std::iter::successors(head, |at| Some(self.entries[*at as usize].older).filter(|older| *older != NONE))
            .map(|at| self.entries[at as usize].at)
    }

    /// Calls `each` with every key in order and its positions, oldest first. Only keys are sorted: a chain is in order
    /// already, and most entries belong to few keys.
    pub fn each_sorted(&self, mut each: impl FnMut(u64, &[u32])) {
        let mut newest = self.newest_entries();
        newest.sort_unstable_by_key(|entry| entry.key);
        let mut positions = Vec::new();
        for entry in newest {
            positions.clear();
            positions.push(entry.at);
            let mut older = entry.older;
            while older != NONE {
                let entry = &self.entries[older as usize];
                positions.push(entry.at);
                older = entry.older;
            }
            positions.reverse();
            // An event that carries a tag twice is there twice.
            positions.dedup();
            each(entry.key, &positions);
        }
    }

    /// The newest entry of every key, in no order. Two passes over the array, where asking the table would be a jump
    /// through memory for each key.
    fn newest_entries(&self) -> Vec<Entry> {
        let mut is_older = vec![0u64; self.entries.len().div_ceil(64)];
        for entry in self.entries.iter().filter(|entry| entry.older != NONE) {
            is_older[entry.older as usize / 64] |= 1 << (entry.older % 64);
        }
        let is_newest = |at: usize| is_older[at / 64] & (1 << (at % 64)) == 0;
        let mut newest = Vec::with_capacity(self.heads.len());
        newest.extend(self.entries.iter().enumerate().filter(|(at, _)| is_newest(*at)).map(|(_, entry)| *entry));
        newest
    }

    /// Every key once, in no order.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.newest_entries().into_iter().map(|entry| entry.key)
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.entries.clear();
    }
}

impl Memtable {
    /// Empty; the first event will have this position.
    pub fn new(first_position: u64) -> Self {
        Self { first_position, locators: Pieces::default(), len: 0, ids: Chains::default(), terms: Chains::default() }
    }

    /// Empty again, for events from another position on. Keeps its memory: growing anew costs a third of an insert.
    pub fn reset(mut self, first_position: u64) -> Self {
        self.first_position = first_position;
        self.locators.clear();
        self.len = 0;
        self.ids.clear();
        self.terms.clear();
        self
    }

    /// The position of the first event.
    pub fn first_position(&self) -> u64 {
        self.first_position
    }

    /// The position after the last event.
    pub fn end_position(&self) -> u64 {
        self.first_position + u64::from(self.len)
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Adds the next event.
    pub fn insert(&mut self, pair: u64, terms: &[u64]) {
        let at = self.len;
        self.len += 1;
        self.ids.insert(pair, at);
        for term in terms {
            self.terms.insert(*term, at);
        }
    }

    /// Says where events that were inserted are, from position `first` on.
    pub fn place(&mut self, first: u64, locators: impl IntoIterator<Item = Locator>) {
        assert_eq!(first, self.first_position + self.locators.len() as u64, "events are placed in order");
        locators.into_iter().for_each(|locator| self.locators.push(locator));
        assert!(self.locators.len() <= self.len as usize, "only what was inserted is placed");
    }

    /// Whether every event was placed.
    pub fn is_placed(&self) -> bool {
        self.locators.len() == self.len as usize
    }

    /// Where an event is.
    pub fn locator(&self, position: u64) -> Option<Locator> {
        self.locators.get(usize::try_from(position.checked_sub(self.first_position)?).ok()?).copied()
    }

    /// Positions of a pair, newest first.
    pub fn pair(&self, key: u64) -> impl Iterator<Item = u64> {
        self.ids.newest(key).map(|at| self.first_position + u64::from(at))
    }

    /// Positions of every pair whose key lies in a range, in no order. Looks at every event: for questions that
    /// people ask, not for appends.
    pub fn pairs_in(&self, keys: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = u64> {
        self.ids
            .entries
            .iter()
            .filter(move |entry| keys.contains(&entry.key))
            .map(|entry| self.first_position + u64::from(entry.at))
    }

    /// The wanted positions from `from` on, counted from the first; `None` if nearly all of them are.
    pub fn select(&self, expr: &Expr, from: u64) -> Option<RoaringBitmap> {
        let from = u32::try_from(from.saturating_sub(self.first_position)).unwrap_or(u32::MAX);
        select(expr, &mut |key| {
            let mut positions = Vec::new();
            for at in self.terms.newest(key).take_while(|at| *at >= from) {
                if positions.len() == CHAIN_MAX {
                    return Ok::<_, std::convert::Infallible>(None);
                }
                positions.push(at);
            }
            positions.reverse();
            // An event that carries a tag twice is there twice.
            positions.dedup();
            Ok(RoaringBitmap::from_sorted_iter(positions).ok())
        })
        .unwrap_or_else(|never| match never {})
    }

    pub(crate) fn ids(&self) -> &Chains {
        &self.ids
    }

    pub(crate) fn terms(&self) -> &Chains {
        &self.terms
    }

    pub(crate) fn locators(&self) -> &Pieces<Locator> {
        &self.locators
    }
}

/// Evaluates an expression with a look-up for terms. `None` stands for every position.
pub(crate) fn select<E>(
    expr: &Expr,
    lookup: &mut impl FnMut(u64) -> Result<Option<RoaringBitmap>, E>,
) -> Result<Option<RoaringBitmap>, E> {
    match expr {
        Expr::All => Ok(None),
        Expr::Has(key) => lookup(*key),
        Expr::And(parts) => {
            let mut all: Option<RoaringBitmap> = None;
            for part in parts {
                let Some(found) = select(part, lookup)? else { continue };
                let both = match all {
                    Some(all) => all & found,
                    None => found,
                };
                if both.is_empty() {
                    return Ok(Some(both));
                }
                all = Some(both);
            }
            Ok(all)
        }
        Expr::Or(parts) => {
            let mut any = RoaringBitmap::new();
            for part in parts {
                match select(part, lookup)? {
                    Some(found) => any |= found,
                    None => return Ok(None),
                }
            }
            Ok(Some(any))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_a_term_come_newest_first() {
        let mut table = Memtable::new(11);
        for i in 0..10u64 {
            table.insert(i, &[1, 2 + i % 2]);
        }
        table.place(11, 100..110);
        assert_eq!(table.terms().newest(3).collect::<Vec<_>>(), [9, 7, 5, 3, 1]);
        assert_eq!(table.pair(4).collect::<Vec<_>>(), [15]);
        assert_eq!(table.pair(99).count(), 0);
        assert_eq!((table.locator(10), table.locator(11), table.locator(21)), (None, Some(100), None));
    }

    #[test]
    fn keys_with_the_same_low_bits_do_not_share_a_bucket() {
        let buckets: std::collections::HashSet<u64> = (0..100_000u64)
            .map(|id| spread((id.wrapping_mul(0xD6E8_FEB8_6659_FD93) << 24) | 0xABCDEF) & 0x3_FFFF)
            .collect();
        assert!(buckets.len() > 80_000, "{}", buckets.len());
    }

    #[test]
    fn expressions_select_positions() {
        let mut table = Memtable::new(1);
        for i in 0..10u64 {
            table.insert(i, &[i % 2, 10 + i % 3]);
        }
        let list = |expr: &Expr, from| table.select(expr, from).map(|set| set.iter().collect::<Vec<_>>());
        assert_eq!(list(&Expr::Has(0), 1), Some(vec![0, 2, 4, 6, 8]));
        assert_eq!(list(&Expr::Has(0), 6), Some(vec![6, 8]));
        assert_eq!(list(&Expr::And(vec![Expr::Has(0), Expr::Has(10)]), 1), Some(vec![0, 6]));
        assert_eq!(list(&Expr::Or(vec![Expr::Has(11), Expr::Has(12)]), 8), Some(vec![7, 8]));
        assert_eq!(list(&Expr::Or(vec![Expr::Has(11), Expr::All]), 1), None);
        assert_eq!(list(&Expr::And(vec![Expr::All, Expr::Has(99)]), 1), Some(vec![]));
        assert_eq!(list(&Expr::And(vec![]), 1), None);
    }
}
