//! How often HAProxy is reloaded: at once when it was quiet, then no more often than is decent. Pure.

use model::time::{Span, Time};

use crate::limits::RELOAD_APART;

/// A reload costs idle clients their connections and the machine a worker, so changes that come together are loaded
/// together.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the last reload ended, and how long it took.
    last: Option<(Time, Span)>,
}

impl Throttle {
    /// When the next reload may be.
    pub fn earliest(&self) -> Time {
        match self.last {
            Some((ended, took)) => ended + RELOAD_APART.max(took.saturating_mul(5)),
            None => Time::ZERO,
        }
    }

    pub fn reloaded(&mut self, began: Time, ended: Time) {
        self.last = Some((ended, ended.since(began)));
    }
}

/// Waits that double from `first` to `most`, for what keeps failing.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Span,
    most: Span,
    next: Span,
}

impl Backoff {
    pub fn new(first: Span, most: Span) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait, a whole one: whoever shares the peer with others draws from zero up to it.
    pub fn wait(&mut self) -> Span {
        let wait = self.next;
        self.next = self.next.saturating_mul(2).min(self.most);
        wait
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reload_is_at_once_and_slow_ones_come_seldom() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.earliest(), Time::ZERO);
        throttle.reloaded(Time::from_millis(1_000), Time::from_millis(1_100));
        assert_eq!(throttle.earliest(), Time::from_millis(3_100));
        throttle.reloaded(Time::from_millis(4_000), Time::from_millis(5_000));
        assert_eq!(throttle.earliest(), Time::from_millis(10_000));
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut backoff = Backoff::new(Span::from_millis(100), Span::from_millis(350));
        let waits: Vec<u64> = (0..4).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.wait(), Span::from_millis(100));
    }
}
