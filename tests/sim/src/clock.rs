//! Each machine's own idea of the time: a little ahead or behind, a little fast or slow.

use model::time::Time;

use crate::net::Micros;

/// When the simulated world begins, for all who keep the true time.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A clock that is off by a constant and drifts, but never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Milliseconds this clock is ahead.
    pub ahead_ms: u64,
    /// What it shows after a million true microseconds.
    pub rate: u64,
}

impl Clock {
    /// A clock that shows the true time.
    pub const TRUE: Self = Self { ahead_ms: 0, rate: 1_000_000 };

    /// What it shows at this moment.
    pub fn read(&self, now: Micros) -> Time {
        Time::from_millis(EPOCH_MS + self.ahead_ms + self.elapsed(now))
    }

    /// Its milliseconds since the beginning, at `now`.
    fn elapsed(&self, now: Micros) -> u64 {
        let shown = u128::from(now) * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(shown).unwrap_or(u64::MAX)
    }

    /// The first true moment at which it shows at least `time`.
    pub fn reaches(&self, time: Time) -> Micros {
        let millis = time.as_millis().saturating_sub(EPOCH_MS + self.ahead_ms);
        let exact = (u128::from(millis) * 1_000_000_000).div_ceil(u128::from(self.rate));
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        let clock = Clock { ahead_ms: 1234, rate: 1_000_200 };
        for millis in [1, 999, 1_000, 123_456, 86_400_000] {
            let time = Time::from_millis(EPOCH_MS + 1234 + millis);
            let at = clock.reaches(time);
            assert!(clock.read(at) >= time && clock.read(at - 1) < time, "{millis}");
        }
    }
}
