//! A hash table from 64-bit hashes to numbers, packed into eight bytes a slot: 32 bits of the hash tell slots of one
//! run apart. Nothing else does, so a look-up gives every number whose hash looks the same, rarely one too many; the
//! numbers are candidates. 100,000 keys take 2 MB, of which a look-up touches one cache line.

/// Built once.
pub(super) struct Table {
    /// The upper half of the hash, then the number. Empty slots are zero, so numbers are kept plus one.
    slots: Vec<u64>,
}

impl Table {
    /// The numbers must be below `u32::MAX`.
    pub(super) fn new(entries: &[(u64, u32)]) -> Table {
        let mut slots = vec![0u64; (entries.len() * 2).next_power_of_two().max(8)];
        let mask = slots.len() - 1;
        for &(hash, number) in entries {
            let mut at = hash as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = hash & !0xFFFF_FFFF | u64::from(number + 1);
        }
        Table { slots }
    }

    /// Calls back with each number whose hash may be this one.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut found: impl FnMut(u32)) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return;
            }
            if slot ^ hash < 1 << 32 {
                found(slot as u32 - 1);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::mix;
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_colliding_hashes_are_all_found() {
        let mut entries: Vec<(u64, u32)> = (0..10_000).map(|n| (mix(n, 7), n as u32)).collect();
        entries.extend([(mix(3, 7), 1_000_000), (mix(3, 7) ^ 1 << 20, 5)]);
        let table = Table::new(&entries);
        for &(hash, number) in &entries {
            let mut found = Vec::new();
            table.find(hash, |number| found.push(number));
            assert!(found.contains(&number));
        }
        let mut strangers = 0;
        (20_000..120_000).for_each(|n| table.find(mix(n, 7), |_| strangers += 1));
        assert!(strangers < 5, "{strangers}");
        Table::new(&[]).find(1, |_| panic!("nothing is in an empty table"));
    }
}
