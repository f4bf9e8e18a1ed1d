//! Sets of whole numbers as sorted, disjoint, inclusive intervals: ports, mostly.

use std::fmt;
use std::sync::Arc;

/// An inclusive interval; `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    pub first: u64,
    pub last: u64,
}

/// Intervals in normal form: sorted, no two overlapping or touching. Equal sets are therefore equal values.
///
/// Shared behind a counter: an agent's free ports are copied into each offer of it and rarely change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ranges(Option<Arc<[Range]>>);

/// Why intervals are not a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    #[error("range [{first}-{last}] must not end before it begins")]
    Reversed { first: u64, last: u64 },
    #[error("ranges [{}-{}] and [{}-{}] must not overlap", .0.first, .0.last, .1.first, .1.last)]
    Overlap(Range, Range),
}

impl Ranges {
    pub const EMPTY: Self = Self(None);

    /// One interval.
    pub fn of(first: u64, last: u64) -> Result<Self, RangesError> {
        Self::distinct([(first, last)])
    }

    /// Intervals in any order, none overlapping another: what a stranger sends. An overlap is refused, for it means
    /// that the sender counts some numbers twice.
    pub fn distinct(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, RangesError> {
        let sorted = sorted(pairs)?;
        for pair in sorted.windows(2) {
            if pair[0].last >= pair[1].first {
                return Err(RangesError::Overlap(pair[0], pair[1]));
            }
        }
        Ok(Self::merge(sorted))
    }

    /// Intervals in any order, overlapping or not.
    pub fn covering(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, RangesError> {
        sorted(pairs).map(Self::merge)
    }

    /// `sorted` by `first`; joins what overlaps or touches.
    fn merge(sorted: Vec<Range>) -> Self {
        let mut out: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match out.last_mut() {
                Some(prior) if prior.last.saturating_add(1) >= range.first => {
                    prior.last = prior.last.max(range.last);
                }
                _ => out.push(range),
            }
        }
        Self::normal(out)
    }

    fn normal(ranges: Vec<Range>) -> Self {
        Self(if ranges.is_empty() { None } else { Some(ranges.into()) })
    }

    pub fn as_slice(&self) -> &[Range] {
        self.0.as_deref().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many numbers there are; stops at `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.as_slice()
            .iter()
            .fold(0u64, |sum, range| sum.saturating_add(range.last - range.first).saturating_add(1))
    }

    /// Every number, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.as_slice().iter().flat_map(|range| range.first..=range.last)
    }

    pub fn has(&self, number: u64) -> bool {
        self.covering_range(number).is_some()
    }

    /// The interval around `number`, found by bisection.
    fn covering_range(&self, number: u64) -> Option<&Range> {
        let ranges = self.as_slice();
        let after = ranges.partition_point(|range| range.first <= number);
        ranges[..after].last().filter(|range| number <= range.last)
    }

    /// Whether every number of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        // Normal form leaves no gap inside an interval, so each of theirs lies within one of ours.
        other
            .as_slice()
            .iter()
            .all(|theirs| self.covering_range(theirs.first).is_some_and(|ours| theirs.last <= ours.last))
    }

    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        let mut all = [self.as_slice(), other.as_slice()].concat();
        all.sort_unstable();
        Self::merge(all)
    }

    /// What is here and not in `other`.
    pub fn subtract(&self, other: &Self) -> Self {
        if other.is_empty() || self.is_empty() {
            return self.clone();
        }
        let mut out = Vec::with_capacity(self.as_slice().len());
        let mut holes = other.as_slice();
        for range in self.as_slice() {
            // Holes that end before this interval also end before all later ones.
            while let [hole, rest @ ..] = holes
                && hole.last < range.first
            {
                holes = rest;
            }
            let mut first = Some(range.first);
            for hole in holes.iter().take_while(|hole| hole.first <= range.last) {
                let Some(from) = first else { break };
                if hole.first > from {
                    out.push(Range { first: from, last: hole.first - 1 });
                }
                first = hole.last.checked_add(1);
            }
            if let Some(from) = first.filter(|from| *from <= range.last) {
                out.push(Range { first: from, last: range.last });
            }
        }
        Self::normal(out)
    }

    /// What is in both.
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.as_slice(), other.as_slice());
        let mut out = Vec::new();
        while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (ours, theirs) {
            let (first, last) = (a.first.max(b.first), a.last.min(b.last));
            if first <= last {
                out.push(Range { first, last });
            }
            if a.last < b.last {
                ours = rest_a;
            } else {
                theirs = rest_b;
            }
        }
        Self::normal(out)
    }

    /// The `n` lowest numbers, or `None` when there are fewer.
    pub fn carve(&self, n: u64) -> Option<Self> {
        let mut left = n;
        let mut out = Vec::new();
        for range in self.as_slice() {
            if left == 0 {
                break;
            }
            // `left` is at least one, so this is the last number wanted from here.
            let last = range.last.min(range.first.saturating_add(left - 1));
            out.push(Range { first: range.first, last });
            left -= last - range.first + 1;
        }
        (left == 0).then(|| Self::normal(out))
    }
}

fn sorted(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Vec<Range>, RangesError> {
    let mut ranges = Vec::new();
    for (first, last) in pairs {
        if first > last {
            return Err(RangesError::Reversed { first, last });
        }
        ranges.push(Range { first, last });
    }
    ranges.sort_unstable();
    Ok(ranges)
}

impl Default for Ranges {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `[31000-31004, 31010-31010]`
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, range) in self.as_slice().iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{}", range.first, range.last)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ranges(pairs: &[(u64, u64)]) -> Ranges {
        Ranges::covering(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn strangers_may_not_overlap() {
        assert!(matches!(Ranges::distinct([(5, 9), (1, 5)]), Err(RangesError::Overlap(..))));
        assert_eq!(Ranges::of(2, 1), Err(RangesError::Reversed { first: 2, last: 1 }));
        assert_eq!(Ranges::distinct([(5, 9), (1, 4)]).unwrap(), ranges(&[(1, 9)]));
    }

    #[test]
    fn ends_of_the_number_line() {
        let all = ranges(&[(0, u64::MAX)]);
        assert_eq!(all.count(), u64::MAX);
        assert_eq!(all.subtract(&ranges(&[(u64::MAX, u64::MAX)])), ranges(&[(0, u64::MAX - 1)]));
        assert_eq!(all.subtract(&all), Ranges::EMPTY);
        assert_eq!(
            ranges(&[(u64::MAX, u64::MAX), (0, 0)]).to_string(),
            "[0-0, 18446744073709551615-18446744073709551615]"
        );
    }

    #[test]
    fn carving_takes_the_lowest() {
        let free = ranges(&[(10, 11), (20, 29)]);
        assert_eq!(free.carve(3), Some(ranges(&[(10, 11), (20, 20)])));
        assert_eq!(free.carve(0), Some(Ranges::EMPTY));
        assert_eq!(free.carve(13), None);
    }

    fn some() -> impl Strategy<Value = Ranges> {
        proptest::collection::vec((0u64..60, 0u64..8), 0..8)
            .prop_map(|pairs| Ranges::covering(pairs.into_iter().map(|(a, n)| (a, a + n))).unwrap())
    }

    fn set(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.iter().collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(a in some(), b in some()) {
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(set(&a.union(&b)), &x | &y);
            prop_assert_eq!(set(&a.subtract(&b)), &x - &y);
            prop_assert_eq!(set(&a.intersect(&b)), &x & &y);
            prop_assert_eq!(a.contains(&b), y.is_subset(&x));
            prop_assert_eq!(a.count(), x.len() as u64);
            for n in 0..70 {
                prop_assert_eq!(a.has(n), x.contains(&n));
            }
        }

        #[test]
        fn equal_sets_are_equal_values(a in some(), b in some()) {
            prop_assert_eq!(set(&a) == set(&b), a == b);
            for result in [a.union(&b), a.subtract(&b), a.intersect(&b)] {
                for pair in result.as_slice().windows(2) {
                    prop_assert!(pair[0].last + 1 < pair[1].first, "{result}");
                }
            }
        }

        #[test]
        fn carved_is_part(a in some(), n in 0u64..80) {
            match a.carve(n) {
                Some(part) => {
                    prop_assert_eq!(part.count(), n);
                    prop_assert!(a.contains(&part));
                }
                None => prop_assert!(a.count() < n),
            }
        }
    }
}
