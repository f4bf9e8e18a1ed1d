//! The driver's time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::time::Time;

/// Milliseconds since the Unix epoch that never go back: the wall clock is read once and then only counted on, so
/// that a step of it neither fires all timers at once nor stops them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    wall: Time,
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Time::ZERO + wall.into(), start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        self.wall + self.start.elapsed().into()
    }

    /// When the clock shows `time`.
    pub(crate) fn at(&self, time: Time) -> Instant {
        self.start + time.since(self.wall).as_duration()
    }
}
