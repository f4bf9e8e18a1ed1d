//! Shares as exact ratios of whole numbers.
//!
//! A floating-point share would depend on the order of additions, and two masters would disagree about who is next.

use std::cmp::Ordering;

use model::resources::{Bag, Name};

/// Amounts of scalar resources in thousandths, by kind. Sums over a whole cluster, so they stop at the maximum.
#[derive(Debug, Clone, Default)]
pub(super) struct Amounts(Vec<u64>);

impl Amounts {
    fn at(&self, kind: usize) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, parts: &[(usize, u64)]) {
        for (kind, amount) in parts {
            if self.0.len() <= *kind {
                self.0.resize(kind + 1, 0);
            }
            self.0[*kind] = self.0[*kind].saturating_add(*amount);
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, amount) in self.0.iter_mut().zip(&other.0) {
            *own = own.saturating_add(*amount);
        }
    }

    pub(super) fn subtract_all(&mut self, other: &Self) {
        for (own, amount) in self.0.iter_mut().zip(&other.0) {
            *own = own.saturating_sub(*amount);
        }
    }

    pub(super) fn subtract(&mut self, parts: &[(usize, u64)]) {
        for (kind, amount) in parts {
            if let Some(own) = self.0.get_mut(*kind) {
                *own = own.saturating_sub(*amount);
            }
        }
    }
}

/// The kinds of scalars seen so far, each with a number. There are few, so they are simply walked.
#[derive(Debug, Default)]
pub(super) struct Kinds(Vec<Name>);

impl Kinds {
    /// Lists the scalars of a bag, however reserved: reservations count in what is taken as well as in the total.
    pub(super) fn list(&mut self, bag: &Bag, parts: &mut Vec<(usize, u64)>) {
        parts.clear();
        for item in bag {
            let quantity = item.value().quantity();
            if !quantity.is_zero() {
                parts.push((self.number(item.name()), quantity.thousandths().unsigned_abs()));
            }
        }
    }

    pub(super) fn name(&self, kind: usize) -> &Name {
        &self.0[kind]
    }

    fn number(&mut self, name: &Name) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.clone());
            self.0.len() - 1
        })
    }
}

/// A part of something, `taken / total`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    taken: u64,
    /// Never zero.
    total: u64,
}

impl Default for Share {
    fn default() -> Self {
        Self::NONE
    }
}

impl Share {
    pub(super) const NONE: Self = Self { taken: 0, total: 1 };

    /// The largest share among all kinds. What the cluster has none of does not count.
    pub(super) fn dominant(taken: &Amounts, total: &Amounts) -> Self {
        Self::dominant_kind(taken, total).0
    }

    /// The largest share, and the number of its kind; no kind when nothing is taken.
    pub(super) fn dominant_kind(taken: &Amounts, total: &Amounts) -> (Self, Option<usize>) {
        let mut most = (Self::NONE, None);
        for (kind, taken) in taken.0.iter().enumerate() {
            let total = total.at(kind);
            if total > 0 && *taken > 0 {
                let share = Self { taken: *taken, total };
                if share.cross(most.0) > most.0.cross(share) {
                    most = (share, Some(kind));
                }
            }
        }
        most
    }

    /// Rounded down; more than a million when more is held than there is.
    pub(super) fn millionths(self) -> u64 {
        let part = u128::from(self.taken) * 1_000_000 / u128::from(self.total);
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    fn cross(self, other: Self) -> u128 {
        u128::from(self.taken) * u128::from(other.total)
    }

    /// Compares `self / weight` with `other / other_weight`.
    pub(super) fn cmp_weighted(self, weight: u64, other: Self, other_weight: u64) -> Ordering {
        if weight == other_weight && self.total == other.total {
            return self.taken.cmp(&other.taken);
        }
        let (ours, theirs) = (self.cross(other), other.cross(self));
        if weight == other_weight {
            return ours.cmp(&theirs);
        }
        wide(ours, other_weight).cmp(&wide(theirs, weight))
    }
}

/// `a * b` in 192 bits, the higher part first: three factors of 64 bits do not fit into the widest number there is.
fn wide(a: u128, b: u64) -> (u128, u64) {
    let b = u128::from(b);
    let low = (a & u128::from(u64::MAX)) * b;
    let high = (a >> 64) * b + (low >> 64);
    (high, low as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thirds_are_equal_whatever_they_are_of() {
        let third = Share { taken: 1, total: 3 };
        let also = Share { taken: 333_333_333, total: 999_999_999 };
        assert_eq!(third.cmp_weighted(1000, also, 1000), Ordering::Equal);
        let more = Share { taken: 333_333_334, total: 999_999_999 };
        assert_eq!(third.cmp_weighted(1000, more, 1000), Ordering::Less);
    }

    #[test]
    fn the_largest_numbers_do_not_run_over() {
        let all = Share { taken: u64::MAX, total: 1 };
        let least = Share { taken: 1, total: u64::MAX };
        assert_eq!(all.cmp_weighted(u64::MAX, least, 1), Ordering::Greater);
        assert_eq!(all.cmp_weighted(u64::MAX, all, u64::MAX - 1), Ordering::Less);
    }

    proptest! {
        #[test]
        fn compares_as_the_fractions_do(a in 0u64..1000, b in 1u64..1000, c in 0u64..1000, d in 1u64..1000, v in 1u64..1000, w in 1u64..1000) {
            let expected = (a * d * w).cmp(&(c * b * v));
            prop_assert_eq!(Share { taken: a, total: b }.cmp_weighted(v, Share { taken: c, total: d }, w), expected);
        }

        #[test]
        fn wide_is_a_product(a in any::<u128>(), b in 1..u64::MAX) {
            let (high, low) = wide(a, b);
            // Dividing as at school gives `a` back, and nothing is left over.
            let b = u128::from(b);
            let last = ((high % b) << 64) | u128::from(low);
            prop_assert_eq!(last % b, 0);
            prop_assert_eq!(((high / b) << 64) + last / b, a);
        }
    }
}
