//! The time of a term: read once from the wall, and counted on from there.

use std::time::{SystemTime, UNIX_EPOCH};

use model::time::Time;
use tokio::time::Instant;

use crate::limits;

/// Milliseconds since the Unix epoch that never go back. A wall clock that is set by a day would let every deadline of a
/// scheduler pass at once, or put each off by that day; so a term keeps the time it began with. When that is not the wall's
/// any more the term has to end, and the next takes what was stored for what a leader with another clock wrote down.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Time,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock.
    pub fn start() -> Self {
        Self { wall: wall(), start: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.wall + self.start.elapsed().into()
    }

    /// Waits until `deadline`; for ever without one.
    pub async fn until(&self, deadline: Option<Time>) {
        match deadline {
            Some(at) => tokio::time::sleep_until(self.start + at.since(self.wall).as_duration()).await,
            None => std::future::pending().await,
        }
    }

    /// Whether the wall clock was set to another time since, by more than [`limits::CLOCK_STEP`].
    pub fn has_strayed(&self) -> bool {
        strayed(self.now(), wall())
    }
}

fn strayed(own: Time, wall: Time) -> bool {
    own.since(wall).max(wall.since(own)) > limits::CLOCK_STEP
}

fn wall() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use model::time::Span;

    use super::*;

    #[test]
    fn a_clock_that_is_set_either_way_has_strayed_and_one_that_is_slewed_has_not() {
        let own = Time::from_millis(1_700_000_000_000);
        for day in [own + Span::from_mins(24 * 60), own - Span::from_mins(24 * 60)] {
            assert!(strayed(own, day));
        }
        for little in [own, own + Span::from_secs(2), own - Span::from_secs(2)] {
            assert!(!strayed(own, little));
        }
        assert!(!Clock::start().has_strayed());
    }
}
