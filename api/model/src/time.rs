//! Points in time and spans of it, in milliseconds. There is no clock here: whoever drives a core passes the time.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Milliseconds since an epoch the driver chose: the Unix epoch wherever the value is stored or shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// Why a number of seconds is not a span.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SpanError {
    #[error("must be a number of seconds, not NaN")]
    NotANumber,
    #[error("must not be negative, is {0} seconds")]
    Negative(f64),
    #[error("is too large: {0} seconds")]
    TooLarge(f64),
}

impl Time {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// For the wire, which counts from the Unix epoch; stops at the largest value the wire can say (year 2262).
    pub fn as_nanos(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(1_000_000)
    }

    /// For the wire's `timestamp` fields.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Time passed since `earlier`; zero when `earlier` is in the future, as after a step of the clock.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub const fn from_mins(mins: u64) -> Self {
        Self(mins.saturating_mul(60_000))
    }

    pub const fn from_hours(hours: u64) -> Self {
        Self(hours.saturating_mul(3_600_000))
    }

    pub const fn from_days(days: u64) -> Self {
        Self(days.saturating_mul(86_400_000))
    }

    /// Reads the wire's seconds, rounding up to a whole millisecond so that a tiny wait never becomes none.
    pub fn from_secs_f64(secs: f64) -> Result<Self, SpanError> {
        if secs.is_nan() {
            return Err(SpanError::NotANumber);
        }
        if secs < 0.0 {
            return Err(SpanError::Negative(secs));
        }
        let millis = (secs * 1000.0).ceil();
        // 2^53: beyond it a double no longer knows each millisecond, and 285,000 years are enough.
        if millis > 9_007_199_254_740_992.0 {
            return Err(SpanError::TooLarge(secs));
        }
        Ok(Self(millis as u64))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.as_duration()
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Time {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// As [`Time::since`].
impl Sub for Time {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        self.since(earlier)
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seconds, with a fraction only where there is one: `5s`, `0.25s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0 / 1000, self.0 % 1000);
        if millis == 0 {
            return write!(f, "{secs}s");
        }
        let fraction = format!("{millis:03}");
        write!(f, "{secs}.{}s", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time::MAX + Span::from_secs(1), Time::MAX);
        assert_eq!(Time::from_secs(1) - Time::from_secs(2), Span::ZERO);
        assert_eq!(Time::from_secs(1) - Span::from_secs(2), Time::ZERO);
        assert_eq!(Span::from_days(u64::MAX), Span::MAX);
        assert_eq!(Time::MAX.as_nanos(), i64::MAX);
    }

    #[test]
    fn seconds_from_the_wire() {
        assert_eq!(Span::from_secs_f64(5.0), Ok(Span::from_secs(5)));
        assert_eq!(Span::from_secs_f64(0.0001), Ok(Span::from_millis(1)));
        assert_eq!(Span::from_secs_f64(-0.0), Ok(Span::ZERO));
        assert_eq!(Span::from_secs_f64(-1.0), Err(SpanError::Negative(-1.0)));
        assert_eq!(Span::from_secs_f64(f64::NAN), Err(SpanError::NotANumber));
        assert_eq!(Span::from_secs_f64(f64::INFINITY), Err(SpanError::TooLarge(f64::INFINITY)));
    }

    #[test]
    fn shown_in_seconds() {
        assert_eq!(Span::from_millis(5000).to_string(), "5s");
        assert_eq!(Span::from_millis(250).to_string(), "0.25s");
        assert_eq!(Span::from_millis(1001).to_string(), "1.001s");
    }
}
