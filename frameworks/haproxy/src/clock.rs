//! The driver's clock: milliseconds since the sidecar started, from the clock that never steps.

use model::time::Time;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant of a time; far away for one that is.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.began + time.since(Time::ZERO).as_duration().min(std::time::Duration::from_secs(1 << 30))
    }
}
