//! When a job is due: an ISO 8601 repeating interval or a cron line, in a time zone.
//!
//! A schedule is a value that never changes. Occurrences are computed from its anchor each time, never from the one
//! before: a scheduler that rewrites its start at each launch turns "the 31st" into "the 28th" at the first February, and
//! "02:30" into "03:30" at the first clock change, both for ever.

mod cron;
mod iso;
mod period;
mod start;
#[cfg(test)]
mod tests;
mod zone;

use std::fmt;

use jiff::Timestamp;
use model::time::{Span, Time};

use self::cron::Cron;
use self::iso::Repeating;
pub use self::period::{Period, PeriodError};
pub use self::zone::Zone;
use crate::limits;

/// Why a schedule is refused: the field of the job and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct BadSchedule {
    /// `schedule` or `scheduleTimeZone`.
    pub field: &'static str,
    /// What it must be, in words.
    pub rule: String,
}

impl BadSchedule {
    fn schedule(rule: impl Into<String>) -> Self {
        Self { field: "schedule", rule: rule.into() }
    }
}

/// When a job is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: Kind,
    zone: Zone,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Repeating(Repeating),
    Cron(Cron),
}

/// Occurrences in a stretch of time, none of which has been dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub first: Time,
    pub last: Time,
    /// How many, both included. Cron lines are counted up to [`limits::MISSED_COUNTED`].
    pub count: u64,
}

impl Schedule {
    /// Reads `R[n]/[start]/period`, a cron line of five fields, or one of `@hourly`, `@daily`, `@weekly`, `@monthly` and
    /// `@yearly`. `zone` is a name of the time zone database, a three-letter id as Java knows them, an offset like
    /// `+02:00`, or empty; it replaces whatever offset the start has. An empty start is `now`.
    ///
    /// # Errors
    /// The field and the rule, for a person.
    pub fn parse(text: &str, zone: &str, now: Time) -> Result<Self, BadSchedule> {
        let text = text.trim();
        if text.len() > limits::SCHEDULE_BYTES {
            return Err(BadSchedule::schedule(format!("must have at most {} bytes", limits::SCHEDULE_BYTES)));
        }
        let named = if zone.trim().is_empty() { None } else { Some(Zone::parse(zone.trim())?) };
        if text.starts_with('@') || text.split_whitespace().count() > 1 {
            let zone = named.unwrap_or_else(Zone::utc);
            let cron = Cron::parse(text)?;
            if cron.next_after(&zone, Time::ZERO).is_none() {
                return Err(BadSchedule::schedule("names a day that never comes"));
            }
            return Ok(Self { kind: Kind::Cron(cron), zone });
        }
        let (repeating, zone) = Repeating::parse(text, named, now)?;
        Ok(Self { kind: Kind::Repeating(repeating), zone })
    }

    /// The first occurrence after `after`; the very first when there is none.
    pub fn next_after(&self, after: Option<Time>) -> Option<Time> {
        match &self.kind {
            Kind::Repeating(repeating) => repeating.next_after(&self.zone, after),
            Kind::Cron(cron) => cron.next_after(&self.zone, after.unwrap_or(Time::ZERO)),
        }
    }

    /// The occurrences after `after`, all of them when there is none, up to and including `until`.
    pub fn missed(&self, after: Option<Time>, until: Time) -> Option<Missed> {
        match &self.kind {
            Kind::Repeating(repeating) => repeating.missed(&self.zone, after, until),
            Kind::Cron(cron) => cron.missed(&self.zone, after.unwrap_or(Time::ZERO), until),
        }
    }

    /// How many occurrences there are after `after`; `None` when there is no end.
    pub fn remaining(&self, after: Option<Time>) -> Option<u64> {
        match &self.kind {
            Kind::Repeating(repeating) => repeating.remaining(&self.zone, after),
            Kind::Cron(_) => None,
        }
    }

    /// The next `count` occurrences after `after`.
    pub fn next(&self, after: Option<Time>, count: usize) -> Vec<Time> {
        let first = self.next_after(after);
        std::iter::successors(first, |at| self.next_after(Some(*at))).take(count).collect()
    }

    /// Whether a job of this schedule is one that runs once.
    pub fn is_once(&self) -> bool {
        matches!(&self.kind, Kind::Repeating(repeating) if repeating.count() == Some(1))
    }

    /// What clients of Chronos expect to read back: the interval from its next occurrence on, with the repetitions that
    /// are left. A cron line is what it was.
    pub fn advanced(&self, after: Option<Time>) -> String {
        match &self.kind {
            Kind::Repeating(repeating) => repeating.advanced(&self.zone, after),
            Kind::Cron(cron) => cron.to_string(),
        }
    }

    /// The zone its times are told in.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }
}

/// The schedule with its anchor: read again, it is the same schedule.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Repeating(repeating) => f.write_str(&repeating.anchored(&self.zone)),
            Kind::Cron(cron) => cron.fmt(f),
        }
    }
}

/// `2026-11-21T06:30:00.000Z`: of one width, so that texts sort as times do.
pub fn iso8601(time: Time) -> String {
    let at = timestamp(time);
    let civil = jiff::tz::Offset::UTC.to_datetime(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        civil.millisecond()
    )
}

/// A time as ISO 8601 writes it, with its offset; `None` for another text, or a time that no schedule reaches.
pub fn parse_time(text: &str) -> Option<Time> {
    time(text.trim().parse().ok()?)
}

/// The stretch of time that a text means, its end excluded: a date like `2026-11-21` the whole day in this zone, however long
/// the clocks make it, a time like `2026-11-21T06:30:00Z` the millisecond.
pub fn stretch(text: &str, zone: &Zone) -> Option<(Time, Time)> {
    if let Some(at) = parse_time(text) {
        return Some((at, at + Span::from_millis(1)));
    }
    let date: jiff::civil::Date = text.trim().parse().ok()?;
    let start = |date: jiff::civil::Date| time(date.to_zoned(zone.rules().clone()).ok()?.timestamp());
    Some((start(date)?, start(date.tomorrow().ok()?)?))
}

/// The calendar's time; what lies past its end is its end.
fn timestamp(time: Time) -> Timestamp {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

/// `None` before 1970, and in and after [`limits::LAST_YEAR`].
fn time(at: Timestamp) -> Option<Time> {
    // 9999-01-01T00:00:00Z; an offset moves the year's edge by a day at most, which nobody can tell.
    const END: i64 = 253_370_764_800_000;
    let millis = at.as_millisecond();
    if millis >= END { None } else { u64::try_from(millis).ok().map(Time::from_millis) }
}
