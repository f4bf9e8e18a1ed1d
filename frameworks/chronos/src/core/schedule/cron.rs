//! Cron lines of five fields: minute, hour, day of the month, month, day of the week.
//!
//! A wall-clock time that a clock change skips is due when the gap ends; one that comes twice is due the first time. Lines
//! whose hour is `*` or `*/n` mean "again and again" rather than a time of day: they go by the clock as it really runs.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::AmbiguousOffset;
use model::time::{Span, Time};

use super::zone::Zone;
use super::{BadSchedule, Missed, time, timestamp};
use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    text: String,
    /// One bit a value.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    /// A day has to fit both fields when one of them is free, and either when both are given.
    either_day: bool,
    /// It goes by the clock and not by times of day.
    every_hour: bool,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, BadSchedule> {
        let line = match text.to_ascii_lowercase().as_str() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other if other.starts_with('@') => {
                return Err(BadSchedule::schedule(format!(
                    "'{text}' must be @hourly, @daily, @weekly, @monthly or @yearly"
                )));
            }
            _ => text,
        };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(BadSchedule::schedule(format!(
                "has {} fields, a cron line has five: minute hour day month weekday",
                fields.len()
            )));
        };
        let weekday_bits = field("day of the week", weekdays, 0, 7, &WEEKDAYS)?;
        Ok(Self {
            text: text.to_owned(),
            minutes: field("minute", minutes, 0, 59, &[])?,
            hours: field("hour", hours, 0, 23, &[])?,
            days: field("day of the month", days, 1, 31, &[])?,
            months: field("month", months, 1, 12, &MONTHS)?,
            // 7 is Sunday too.
            weekdays: (weekday_bits | weekday_bits >> 7) & 0x7f,
            either_day: !is_free(days) && !is_free(weekdays),
            every_hour: hours.starts_with('*'),
        })
    }

    pub(super) fn next_after(&self, zone: &Zone, after: Time) -> Option<Time> {
        if self.every_hour { self.next_by_clock(zone, after) } else { self.next_by_day(zone, after) }
    }

    pub(super) fn missed(&self, zone: &Zone, after: Time, until: Time) -> Option<Missed> {
        let first = self.next_after(zone, after).filter(|first| *first <= until)?;
        let next = |at: &Time| self.next_after(zone, *at).filter(|next| *next <= until);
        let (mut last, mut count) = (first, 1);
        while count < limits::MISSED_COUNTED {
            let Some(at) = next(&last) else { return Some(Missed { first, last, count }) };
            (last, count) = (at, count + 1);
        }
        // Too many to walk through: back from the end, in growing steps, for the last one.
        let mut back = Span::from_mins(1);
        loop {
            let from = (until - back).max(last);
            if let Some(found) = self.next_after(zone, from).filter(|found| *found <= until) {
                last = std::iter::successors(Some(found), next).last().unwrap_or(found);
            } else if from > last {
                back = back.saturating_mul(4);
                continue;
            }
            return Some(Missed { first, last, count });
        }
    }

    /// Times of day: each that fits is due once, whatever the clock does.
    fn next_by_day(&self, zone: &Zone, after: Time) -> Option<Time> {
        let mut wall = minute(zone.rules().to_datetime(timestamp(after)));
        loop {
            wall = self.fitting(wall)?;
            let at = first_showing(zone, wall)?;
            if at > after {
                return Some(at);
            }
            wall = minute_later(wall)?;
        }
    }

    /// Every minute there really is that shows a fitting time.
    fn next_by_clock(&self, zone: &Zone, after: Time) -> Option<Time> {
        let mut after = timestamp(after);
        let mut wall = minute_later(minute(zone.rules().to_datetime(after)))?;
        loop {
            let offset = zone.rules().to_offset(after);
            wall = self.fitting(wall)?;
            let at = offset.to_timestamp(wall).ok()?;
            // Until the clock changes, wall-clock times are a fixed distance away.
            match zone.rules().following(after).next().filter(|change| change.timestamp() <= at) {
                None => return time(at),
                Some(change) => {
                    let shown = change.offset().to_datetime(change.timestamp());
                    after = change.timestamp();
                    wall = if minute(shown) == shown { shown } else { minute_later(minute(shown))? };
                }
            }
        }
    }

    /// The first fitting wall-clock minute from `wall` on.
    fn fitting(&self, wall: DateTime) -> Option<DateTime> {
        let mut date = wall.date();
        let mut from = (wall.hour(), wall.minute());
        let last = date.year().checked_add(limits::CRON_YEARS)?;
        while date.year() <= last && date.year() < limits::LAST_YEAR {
            if !has(self.months, date.month()) {
                date = next_month(date)?;
                from = (0, 0);
                continue;
            }
            if self.fits_day(date)
                && let Some((hour, minute)) = self.fitting_time(from)
            {
                return Some(date.at(hour, minute, 0, 0));
            }
            date = date.tomorrow().ok()?;
            from = (0, 0);
        }
        None
    }

    fn fits_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.either_day { day || weekday } else { day && weekday }
    }

    fn fitting_time(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        for candidate in (hour..24).filter(|hour| has(self.hours, *hour)) {
            let from = if candidate == hour { minute } else { 0 };
            if let Some(minute) = (from..60).find(|minute| has(self.minutes, *minute)) {
                return Some((candidate, minute));
            }
        }
        None
    }
}

/// When the wall clock first shows this, or passes it over.
fn first_showing(zone: &Zone, wall: DateTime) -> Option<Time> {
    let ambiguous = zone.rules().to_ambiguous_timestamp(wall);
    if let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() {
        // Read with the offset from before the gap it lies just behind it.
        let behind = before.to_timestamp(wall).ok()?.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
        return zone.rules().preceding(behind).next().and_then(|change| time(change.timestamp()));
    }
    ambiguous.compatible().ok().and_then(time)
}

fn has(bits: u64, value: i8) -> bool {
    bits >> value & 1 == 1
}

fn minute(wall: DateTime) -> DateTime {
    wall.date().at(wall.hour(), wall.minute(), 0, 0)
}

fn minute_later(wall: DateTime) -> Option<DateTime> {
    wall.checked_add(jiff::Span::new().minutes(1)).ok()
}

fn next_month(date: Date) -> Option<Date> {
    date.first_of_month().checked_add(jiff::Span::new().months(1)).ok()
}

fn is_free(text: &str) -> bool {
    text == "*" || text == "?"
}

/// `*`, `*/15`, `5`, `1-5`, `8-18/2`, `MON-FRI`, and several with commas between.
fn field(what: &str, text: &str, low: u64, high: u64, names: &[&str]) -> Result<u64, BadSchedule> {
    let bad = |part: &str| {
        BadSchedule::schedule(format!(
            "has '{part}' for the {what}, which must be *, or numbers from {low} to {high} like 1,5-8 or */2"
        ))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u64>().map_err(|_| bad(part))?)),
            None => (part, None),
        };
        let (from, to) = if is_free(range) {
            (low, high)
        } else if let Some((from, to)) = range.split_once('-') {
            (
                value(from, low, names).ok_or_else(|| bad(part))?,
                value(to, low, names).ok_or_else(|| bad(part))?,
            )
        } else {
            let from = value(range, low, names).ok_or_else(|| bad(part))?;
            (from, if step.is_some() { high } else { from })
        };
        let step = step.unwrap_or(1);
        if from < low || to > high || from > to || step == 0 || step > high {
            return Err(bad(part));
        }
        let mut at = from;
        while at <= to {
            bits |= 1 << at;
            at += step;
        }
    }
    Ok(bits)
}

fn value(text: &str, low: u64, names: &[&str]) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let named = names.iter().position(|name| *name == upper).map(|place| place as u64 + low);
    let number = || if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
    named.or_else(number)
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
