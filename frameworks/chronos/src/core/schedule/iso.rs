//! ISO 8601 repeating intervals: `R5/2026-01-31T02:30:00Z/P1M`.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use model::time::Time;

use super::period::Period;
use super::zone::Zone;
use super::{BadSchedule, Missed, start, time, timestamp};
use crate::limits;

/// Occurrence k is `start + k · period`, for each k below the count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Repeating {
    /// `None`: for ever.
    count: Option<u64>,
    /// On the wall clock of the zone.
    start: DateTime,
    first: Time,
    period: Period,
}

impl Repeating {
    pub(super) fn parse(text: &str, zone: Option<Zone>, now: Time) -> Result<(Self, Zone), BadSchedule> {
        let parts: Vec<&str> = text.split('/').collect();
        let [repeats, begin, period] = parts[..] else {
            return Err(BadSchedule::schedule(format!(
                "'{text}' must be R[n]/[start]/period, or a cron line of five fields"
            )));
        };
        let count = count(repeats)?;
        let period = Period::parse(period)
            .map_err(|error| BadSchedule::schedule(format!("has a period that is wrong: {error}")))?;
        if period.is_zero() && !matches!(count, Some(0 | 1)) {
            return Err(BadSchedule::schedule("has a period of zero, which only R1 may have"));
        }
        if !period.is_zero() && !period.is_civil() && period.exact < limits::PERIOD {
            return Err(BadSchedule::schedule(format!(
                "has a period that must be at least {}",
                limits::PERIOD
            )));
        }
        let (start, offset) = if begin.is_empty() {
            // A concrete one: "now" would be another time at each reading.
            let rules = zone.clone().unwrap_or_else(Zone::utc);
            (rules.rules().to_datetime(timestamp(now)), None)
        } else {
            start::parse(begin)?
        };
        let zone = zone.unwrap_or_else(|| offset.map_or_else(Zone::utc, Zone::fixed));
        if start.year() >= limits::LAST_YEAR {
            return Err(BadSchedule::schedule(format!(
                "has a start in the year {}, which must be before {}",
                start.year(),
                limits::LAST_YEAR
            )));
        }
        let first = at(start, &zone).filter(|first| *first >= Time::from_secs(1));
        let Some(first) = first else {
            return Err(BadSchedule::schedule("has a start that must not be before 1970-01-01T00:00:01Z"));
        };
        Ok((Self { count, start, first, period }, zone))
    }

    pub(super) fn count(&self) -> Option<u64> {
        self.count
    }

    pub(super) fn next_after(&self, zone: &Zone, after: Option<Time>) -> Option<Time> {
        let index = self.index_after(zone, after);
        self.has(index).then(|| self.occurrence(zone, index)).flatten()
    }

    pub(super) fn missed(&self, zone: &Zone, after: Option<Time>, until: Time) -> Option<Missed> {
        let from = self.index_after(zone, after);
        let end = self.index_after(zone, Some(until)).min(self.count.unwrap_or(u64::MAX));
        if from >= end {
            return None;
        }
        Some(Missed {
            first: self.occurrence(zone, from)?,
            last: self.occurrence(zone, end - 1)?,
            count: end - from,
        })
    }

    pub(super) fn remaining(&self, zone: &Zone, after: Option<Time>) -> Option<u64> {
        self.count.map(|count| count.saturating_sub(self.index_after(zone, after)))
    }

    pub(super) fn advanced(&self, zone: &Zone, after: Option<Time>) -> String {
        let index = self.index_after(zone, after);
        let next = self.next_after(zone, after).unwrap_or(self.first);
        // In a gap the wall clock shows another time than the one that is meant, which is the one to keep.
        let meant = if self.period.exact.is_zero() { self.civil_part(index) } else { None };
        let wall = meant.unwrap_or_else(|| zone.rules().to_datetime(timestamp(next)));
        let count = self.count.map(|count| count.saturating_sub(index));
        text(count, wall, zone.rules().to_offset(timestamp(next)), self.period)
    }

    /// With its anchor: read again in the same zone, it is the same interval.
    pub(super) fn anchored(&self, zone: &Zone) -> String {
        text(self.count, self.start, zone.rules().to_offset(timestamp(self.first)), self.period)
    }

    fn has(&self, index: u64) -> bool {
        self.count.is_none_or(|count| index < count)
    }

    /// The index of the first occurrence after `after`. Occurrences never come in a lower order than their indexes, so
    /// the walk from a guess is short: months differ from their mean, and offsets from each other, by a few days.
    fn index_after(&self, zone: &Zone, after: Option<Time>) -> u64 {
        let Some(after) = after.filter(|after| *after >= self.first) else { return 0 };
        if self.period.is_zero() {
            return 1;
        }
        let passed = after.since(self.first).as_millis();
        if !self.period.is_civil() {
            return passed / self.period.exact.as_millis() + 1;
        }
        let is_after = |index: u64| self.occurrence(zone, index).is_none_or(|at| at > after);
        let mut index = passed / self.period.mean_millis();
        while index > 0 && is_after(index - 1) {
            index -= 1;
        }
        while !is_after(index) {
            index += 1;
        }
        index
    }

    /// `None` past the end of the calendar.
    fn occurrence(&self, zone: &Zone, index: u64) -> Option<Time> {
        let start = if self.period.is_civil() { at(self.civil_part(index)?, zone)? } else { self.first };
        let millis = self.period.exact.as_millis().checked_mul(index)?;
        let at = Time::from_millis(start.as_millis().checked_add(millis)?);
        time(timestamp(at))
    }

    /// The anchor moved by the calendar part: the 31st stays the 31st wherever there is one.
    fn civil_part(&self, index: u64) -> Option<DateTime> {
        let months = i64::try_from(u64::from(self.period.months).checked_mul(index)?).ok()?;
        let days = i64::try_from(u64::from(self.period.days).checked_mul(index)?).ok()?;
        let span = jiff::Span::new().try_months(months).ok()?.try_days(days).ok()?;
        self.start.checked_add(span).ok()
    }
}

fn count(text: &str) -> Result<Option<u64>, BadSchedule> {
    let digits =
        text.strip_prefix(['R', 'r']).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(digits) = digits else {
        return Err(BadSchedule::schedule(format!(
            "begins with '{text}', which must be R or R and a number"
        )));
    };
    if digits.is_empty() {
        return Ok(None);
    }
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    match digits.parse::<u64>() {
        Ok(count) if count <= most => Ok(Some(count)),
        _ => Err(BadSchedule::schedule(format!("repeats more than {most} times: leave the number out"))),
    }
}

/// When the wall clock of the zone shows this: the first time when it does twice, later by the gap when it never does.
fn at(wall: DateTime, zone: &Zone) -> Option<Time> {
    zone.rules().to_ambiguous_timestamp(wall).compatible().ok().and_then(time)
}

fn text(count: Option<u64>, start: DateTime, offset: Offset, period: Period) -> String {
    let count = count.map(|count| count.to_string()).unwrap_or_default();
    let offset = match offset.seconds() {
        0 => "Z".to_owned(),
        seconds => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let minutes = seconds.abs() / 60;
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    format!(
        "R{count}/{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{offset}/{period}",
        start.year(),
        start.month(),
        start.day(),
        start.hour(),
        start.minute(),
        start.second(),
        start.millisecond()
    )
}
