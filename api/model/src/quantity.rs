//! Amounts of a scalar resource: whole thousandths, because the API promises exactly three decimals.

use std::fmt;

use crate::limits;

/// A non-negative amount in thousandths. 0.1 + 0.2 is 0.3 here, which floating point cannot say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i64);

/// Why a number is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum QuantityError {
    #[error("must be a number, not NaN")]
    NotANumber,
    #[error("must be finite")]
    Infinite,
    #[error("must not be negative, is {0}")]
    Negative(f64),
    #[error("must not exceed {max}, is {0}", max = limits::SCALAR_UNITS)]
    TooLarge(f64),
}

impl Quantity {
    pub const ZERO: Self = Self(0);
    /// Where sums stop, thousands of times above what a single resource may have.
    pub const MAX: Self = Self(i64::MAX);
    /// The largest amount accepted from outside.
    const MAX_READ: i64 = limits::SCALAR_UNITS * 1000;

    /// `None` below zero.
    pub const fn from_thousandths(thousandths: i64) -> Option<Self> {
        if thousandths < 0 { None } else { Some(Self(thousandths)) }
    }

    pub const fn from_units(units: u32) -> Self {
        Self(units as i64 * 1000)
    }

    /// Rounds to the nearest thousandth, as every comparison of the API does: 0.0004 is zero.
    pub fn from_f64(value: f64) -> Result<Self, QuantityError> {
        if value.is_nan() {
            return Err(QuantityError::NotANumber);
        }
        if value.is_infinite() {
            return Err(QuantityError::Infinite);
        }
        let thousandths = (value * 1000.0).round();
        if thousandths < 0.0 {
            return Err(QuantityError::Negative(value));
        }
        if thousandths > Self::MAX_READ as f64 {
            return Err(QuantityError::TooLarge(value));
        }
        Ok(Self(thousandths as i64))
    }

    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// For the wire. Exact for every amount accepted from outside, which stay below 2^53 thousandths.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether there is no fraction, as GPUs demand.
    pub const fn is_whole(self) -> bool {
        self.0 % 1000 == 0
    }

    /// `None` beyond [`Self::MAX`].
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `None` when `other` is more than there is.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        Self::from_thousandths(self.0 - other.0)
    }

    /// Stops at [`Self::MAX`].
    pub fn saturating_add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or(Self::MAX)
    }

    /// Stops at zero.
    pub fn saturating_sub(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or(Self::ZERO)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// No more decimals than needed: `2`, `0.5`, `63.999`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{units}");
        }
        let fraction = format!("{rest:03}");
        write!(f, "{units}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn q(value: f64) -> Quantity {
        Quantity::from_f64(value).unwrap()
    }

    #[test]
    fn decimals_add_exactly() {
        assert_eq!(q(0.1).checked_add(q(0.2)), Some(q(0.3)));
        assert!(q(0.0004).is_zero());
        assert!(q(-0.0004).is_zero());
        assert_eq!(q(0.0005).thousandths(), 1);
    }

    #[test]
    fn refuses_what_is_no_amount() {
        assert_eq!(Quantity::from_f64(f64::INFINITY), Err(QuantityError::Infinite));
        assert_eq!(Quantity::from_f64(f64::NEG_INFINITY), Err(QuantityError::Infinite));
        assert_eq!(Quantity::from_f64(f64::NAN), Err(QuantityError::NotANumber));
        assert_eq!(Quantity::from_f64(-1.0), Err(QuantityError::Negative(-1.0)));
        assert_eq!(Quantity::from_f64(1e21), Err(QuantityError::TooLarge(1e21)));
        assert_eq!(Quantity::MAX.checked_add(q(0.001)), None);
        assert_eq!(q(1.0).checked_sub(q(1.001)), None);
    }

    #[test]
    fn shown_with_the_decimals_it_has() {
        assert_eq!(q(2.0).to_string(), "2");
        assert_eq!(q(0.5).to_string(), "0.5");
        assert_eq!(q(63.999).to_string(), "63.999");
        assert_eq!(q(0.01).to_string(), "0.01");
    }

    proptest! {
        #[test]
        fn survives_the_wire(thousandths in 0..=Quantity::MAX_READ) {
            let quantity = Quantity::from_thousandths(thousandths).unwrap();
            prop_assert_eq!(Quantity::from_f64(quantity.as_f64()), Ok(quantity));
        }

        #[test]
        fn subtraction_undoes_addition(a in 0..1i64 << 48, b in 0..1i64 << 48) {
            let (a, b) = (Quantity::from_thousandths(a).unwrap(), Quantity::from_thousandths(b).unwrap());
            prop_assert_eq!(a.checked_add(b).unwrap().checked_sub(b), Some(a));
        }
    }
}
