//! Each machine's own idea of the time: a little ahead or behind, a little fast or slow, and set by its operator now and then.
//!
//! A machine has a clock on its wall and a process has one of its own, which it reads from the wall when it starts and then
//! only counts on: so do the master and the agent, and each term of the kit's schedulers. What is set is the wall's.

use model::time::Time;

use crate::net::Micros;

/// When the simulated world begins, for all who keep the true time.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A clock that is off by a constant and drifts, but never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Milliseconds this clock is ahead, or behind.
    pub ahead_ms: i64,
    /// What it shows after a million true microseconds.
    pub rate: u64,
}

impl Clock {
    /// A clock that shows the true time.
    pub const TRUE: Self = Self { ahead_ms: 0, rate: 1_000_000 };

    /// What it shows at this moment.
    pub fn read(&self, now: Micros) -> Time {
        Time::from_millis(EPOCH_MS.saturating_add_signed(self.ahead_ms) + self.elapsed(now))
    }

    /// Its milliseconds since the beginning, at `now`.
    fn elapsed(&self, now: Micros) -> u64 {
        let shown = u128::from(now) * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(shown).unwrap_or(u64::MAX)
    }

    /// The first true moment at which it shows at least `time`.
    pub fn reaches(&self, time: Time) -> Micros {
        let millis = time.as_millis().saturating_sub(EPOCH_MS.saturating_add_signed(self.ahead_ms));
        let exact = (u128::from(millis) * 1_000_000_000).div_ceil(u128::from(self.rate));
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        for (ahead_ms, begin) in [(1_234, EPOCH_MS + 1_234), (-90_000_000, EPOCH_MS - 90_000_000)] {
            let clock = Clock { ahead_ms, rate: 1_000_200 };
            for millis in [1, 999, 1_000, 123_456, 86_400_000] {
                let time = Time::from_millis(begin + millis);
                let at = clock.reaches(time);
                assert!(clock.read(at) >= time && clock.read(at - 1) < time, "{millis}");
            }
        }
    }
}
