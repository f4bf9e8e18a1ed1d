//! How much of a resource there is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::quantity::Quantity;
use crate::ranges::Ranges;

/// A set of names, shared behind a counter.
pub type Set = Arc<BTreeSet<Arc<str>>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    Scalar(Quantity),
    Ranges(Ranges),
    Set(Set),
    /// A scalar that can be neither joined nor divided, and how often it is there: a shared volume offered while in
    /// use is there more than once.
    Whole {
        size: Quantity,
        copies: u32,
    },
}

impl Value {
    /// Of nothing; a bag never holds such a value.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(quantity) => quantity.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::Whole { copies, size } => *copies == 0 || size.is_zero(),
        }
    }

    /// The place in a bag among values of one key: values of the same kind meet, wholes only of the same size.
    pub(super) fn place(&self) -> (u8, Quantity) {
        match self {
            Self::Scalar(_) => (0, Quantity::ZERO),
            Self::Ranges(_) => (1, Quantity::ZERO),
            Self::Set(_) => (2, Quantity::ZERO),
            Self::Whole { size, .. } => (3, *size),
        }
    }

    /// Both must have the same place. Amounts stop at their maximum; equal numbers or names are there once.
    pub(super) fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => *a = a.saturating_add(*b),
            (Self::Ranges(a), Self::Ranges(b)) => *a = a.union(b),
            (Self::Set(a), Self::Set(b)) => Arc::make_mut(a).extend(b.iter().cloned()),
            (Self::Whole { copies: a, .. }, Self::Whole { copies: b, .. }) => *a = a.saturating_add(*b),
            (a, b) => unreachable!("{a:?} and {b:?} have different places"),
        }
    }

    /// Both must have the same place. Takes away what is there.
    pub(super) fn remove(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => *a = a.saturating_sub(*b),
            (Self::Ranges(a), Self::Ranges(b)) => *a = a.subtract(b),
            (Self::Set(a), Self::Set(b)) => Arc::make_mut(a).retain(|item| !b.contains(item)),
            (Self::Whole { copies: a, .. }, Self::Whole { copies: b, .. }) => *a = a.saturating_sub(*b),
            (a, b) => unreachable!("{a:?} and {b:?} have different places"),
        }
    }

    /// Whether adding `other` would count something twice or run over.
    pub(super) fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a.checked_add(*b).is_none(),
            (Self::Ranges(a), Self::Ranges(b)) => !a.intersect(b).is_empty(),
            (Self::Set(a), Self::Set(b)) => !a.is_disjoint(b),
            (Self::Whole { copies: a, .. }, Self::Whole { copies: b, .. }) => a.checked_add(*b).is_none(),
            _ => false,
        }
    }

    /// Both must have the same place.
    pub(super) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a >= b,
            (Self::Ranges(a), Self::Ranges(b)) => a.contains(b),
            (Self::Set(a), Self::Set(b)) => a.is_superset(b),
            (Self::Whole { copies: a, .. }, Self::Whole { copies: b, .. }) => a >= b,
            _ => false,
        }
    }

    /// The amount of a scalar, whole or not; zero for the others.
    pub fn quantity(&self) -> Quantity {
        match self {
            Self::Scalar(quantity) => *quantity,
            Self::Whole { size, .. } => *size,
            Self::Ranges(_) | Self::Set(_) => Quantity::ZERO,
        }
    }
}
