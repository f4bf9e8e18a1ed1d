//! Fractions as whole millionths: state holds no floating point, whose rounding would decide how many instances run.

use std::fmt;

/// A non-negative number in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

impl Ratio {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(1_000_000);

    pub const fn from_millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    /// Rounds to the nearest millionth; `None` for what is negative, not a number or beyond 4,294.
    pub fn from_f64(value: f64) -> Option<Self> {
        let millionths = (value * 1e6).round();
        (0.0..=f64::from(u32::MAX)).contains(&millionths).then_some(Self(millionths as u32))
    }

    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// This share of `n`, rounded up.
    pub fn ceil_of(self, n: u32) -> u32 {
        (u64::from(self.0) * u64::from(n)).div_ceil(1_000_000).try_into().unwrap_or(u32::MAX)
    }

    /// This share of `n`, rounded down.
    pub fn floor_of(self, n: u32) -> u32 {
        (u64::from(self.0) * u64::from(n) / 1_000_000).try_into().unwrap_or(u32::MAX)
    }

    /// `n` times this, rounded down, stopping at the largest number.
    pub fn times(self, n: u64) -> u64 {
        (u128::from(self.0) * u128::from(n) / 1_000_000).try_into().unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let tenth = Ratio::from_f64(0.1).unwrap();
        assert_eq!(tenth.ceil_of(10), 1);
        assert_eq!(tenth.ceil_of(11), 2);
        assert_eq!(tenth.floor_of(19), 1);
        assert_eq!(Ratio::ONE.ceil_of(u32::MAX), u32::MAX);
        assert_eq!(Ratio::from_f64(1.15).unwrap().times(1000), 1150);
        assert_eq!(Ratio::from_f64(1.15).unwrap().as_f64(), 1.15);
    }

    #[test]
    fn what_is_no_ratio() {
        for value in [-0.1, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(Ratio::from_f64(value), None);
        }
    }
}
