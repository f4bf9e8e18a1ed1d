//! Due times of a repeating interval, counted here and not by the schedules of the program.

use chronos::core::schedule::parse_time;
use model::time::{Span, Time};

/// `R5/2026-01-01T00:00:00Z/PT3S`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repeating {
    start: Time,
    /// In milliseconds.
    period: u64,
    /// How often; `None` without end.
    count: Option<u64>,
}

impl Repeating {
    /// Reads one whose period is one of seconds or minutes, as all in this world are.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let count = parts.next()?.strip_prefix('R')?;
        let count = if count.is_empty() { None } else { Some(count.parse().ok()?) };
        let start = parse_time(parts.next()?)?;
        let period = parts.next()?.strip_prefix("PT")?;
        let seconds = period.strip_suffix('S').map(str::parse::<u64>);
        let minutes = period.strip_suffix('M').map(str::parse::<u64>);
        let period = match (seconds, minutes) {
            (Some(Ok(seconds)), _) => seconds * 1_000,
            (_, Some(Ok(minutes))) => minutes * 60_000,
            _ => return None,
        };
        Some(Self { start, period, count })
    }

    fn at(&self, index: u64) -> Option<Time> {
        let within = self.count.is_none_or(|count| index < count);
        within.then(|| self.start + Span::from_millis(index * self.period))
    }

    /// Whether it is due then.
    pub(super) fn has(&self, time: Time) -> bool {
        let Some(since) = time.as_millis().checked_sub(self.start.as_millis()) else { return false };
        since.is_multiple_of(self.period) && self.at(since / self.period).is_some()
    }

    /// All due times up to one, in order.
    pub(super) fn through(&self, last: Time) -> impl Iterator<Item = Time> {
        (0..).map_while(|index| self.at(index)).take_while(move |due| *due <= last)
    }

    /// The first after a time.
    pub(super) fn after(&self, time: Time) -> Option<Time> {
        let since = time.as_millis().checked_sub(self.start.as_millis());
        self.at(since.map_or(0, |since| since / self.period + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_counted_from_the_start() {
        let repeating = Repeating::parse("R3/1970-01-01T00:01:00Z/PT2S").expect("read");
        let due: Vec<u64> = repeating.through(Time::MAX).map(|due| due.as_millis() / 1_000).collect();
        assert_eq!(due, [60, 62, 64]);
        assert!(repeating.has(Time::from_secs(64)) && !repeating.has(Time::from_secs(66)));
        assert!(!repeating.has(Time::from_secs(61)) && !repeating.has(Time::from_secs(58)));
        let after = |seconds| repeating.after(Time::from_secs(seconds)).map(Time::as_millis);
        assert_eq!([after(0), after(60), after(63)], [Some(60_000), Some(62_000), Some(64_000)]);
        assert_eq!(after(64), None);
        assert_eq!(
            Repeating::parse("R/1970-01-01T00:00:00Z/PT1M").map(|minutes| minutes.period),
            Some(60_000)
        );
        assert_eq!(Repeating::parse("*/5 * * * *"), None);
    }
}
