//! Medians and ranges, and how one system stands to another: a ratio is taken within a round, where both ran beside each other,
//! never of two medians.

use std::collections::BTreeMap;

/// The middle of some values, and the outermost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle; of an even number the mean of the two.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these values; nothing of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, least, most })
    }
}

/// The ratios of the rounds in which both were measured.
pub fn ratios(
    one: &BTreeMap<usize, f64>,
    other: &BTreeMap<usize, f64>,
    ratio: impl Fn(f64, f64) -> f64,
) -> Option<Spread> {
    let both = one.iter().filter_map(|(round, a)| other.get(round).map(|b| (*a, *b)));
    Spread::of(both.filter(|(a, b)| *a > 0.0 && *b > 0.0).map(|(a, b)| ratio(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_range_the_outermost() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round_and_only_where_both_were_measured() {
        // The machine was half as fast in the second round: the ratio does not show it.
        let one = BTreeMap::from([(1, 200.0), (2, 100.0), (3, 50.0)]);
        let other = BTreeMap::from([(1, 100.0), (2, 50.0)]);
        let spread = ratios(&one, &other, |a, b| a / b);
        assert_eq!(spread, Some(Spread { median: 2.0, least: 2.0, most: 2.0 }));
    }
}
