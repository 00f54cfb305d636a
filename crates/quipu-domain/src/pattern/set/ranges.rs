//! Ranges of numbers, and which of them hold a number: sorted by their low end, with the greatest high end of every
//! stretch of them in a tree above, so that a look-up costs the logarithm of their count for each that it finds.

/// Built once.
pub(super) struct Ranges {
    lows: Vec<u64>,
    /// What was given with each range.
    numbers: Vec<u32>,
    /// A complete binary tree of the high ends: children of `i` at `2i` and `2i + 1`, leaves in the second half.
    highest: Vec<u64>,
}

impl Ranges {
    /// From `(low, high, number)`, both ends inside.
    pub(super) fn new(mut ranges: Vec<(u64, u64, u32)>) -> Ranges {
        ranges.sort_unstable();
        let leaves = ranges.len().next_power_of_two();
        let mut highest = vec![0; 2 * leaves];
        for (index, range) in ranges.iter().enumerate() {
            highest[leaves + index] = range.1;
        }
        for index in (1..leaves).rev() {
            highest[index] = highest[2 * index].max(highest[2 * index + 1]);
        }
        let (lows, numbers) = ranges.iter().map(|range| (range.0, range.2)).unzip();
        Ranges { lows, numbers, highest }
    }

    /// Calls back with the number of each range that holds `point`.
    pub(super) fn find(&self, point: u64, mut found: impl FnMut(u32)) {
        let begun = self.lows.partition_point(|&low| low <= point);
        self.descend(1, 0, self.highest.len() / 2, begun, point, &mut found);
    }

    /// Looks at the stretch of `width` ranges from `start`, of which those from `begun` on begin too late.
    fn descend(&self, index: usize, start: usize, width: usize, begun: usize, point: u64, found: &mut impl FnMut(u32)) {
        if start >= begun || self.highest[index] < point {
            return;
        }
        if width == 1 {
            found(self.numbers[start]);
            return;
        }
        self.descend(2 * index, start, width / 2, begun, point, found);
        self.descend(2 * index + 1, start + width / 2, width / 2, begun, point, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_ranges_around_a_point_are_found(
            ranges in prop::collection::vec((0u64..50, 0u64..50), 1..60),
            point in 0u64..55,
        ) {
            let numbered: Vec<(u64, u64, u32)> = ranges.iter().zip(0..).map(|(&(low, high), n)| (low, high, n)).collect();
            let mut found = Vec::new();
            Ranges::new(numbered.clone()).find(point, |n| found.push(n));
            found.sort_unstable();
            let wanted: Vec<u32> =
                numbered.iter().filter(|r| r.0 <= point && point <= r.1).map(|r| r.2).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
