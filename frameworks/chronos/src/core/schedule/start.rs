//! The start of an interval, as leniently as Chronos reads it: calendar, week and ordinal dates, any part of a time.

use jiff::civil::{Date, DateTime, ISOWeekDate, Time as Clock};
use jiff::tz::Offset;

use super::{BadSchedule, zone};

/// A wall-clock time, and its offset from UTC if it says one.
pub(super) fn parse(text: &str) -> Result<(DateTime, Option<Offset>), BadSchedule> {
    let bad = || {
        BadSchedule::schedule(format!("has a start '{text}' that must be a time like 2026-11-21T06:30:00Z"))
    };
    let (date, rest) = match text.split_once(['T', 't']) {
        Some((date, rest)) => (date, Some(rest)),
        None => (text, None),
    };
    let date = if date.is_empty() && rest.is_some() { Some(Date::constant(1970, 1, 1)) } else { day(date) };
    let date = date.ok_or_else(bad)?;
    let Some(rest) = rest else { return Ok((date.to_datetime(Clock::midnight()), None)) };
    let edge = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at(edge);
    let offset = if offset.is_empty() { None } else { Some(zone::offset(offset).ok_or_else(bad)?) };
    if time.is_empty() {
        return if offset.is_some() { Ok((date.to_datetime(Clock::midnight()), offset)) } else { Err(bad()) };
    }
    Ok((date.to_datetime(clock(time).ok_or_else(bad)?.map_err(BadSchedule::schedule)?), offset))
}

fn day(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    let year: i16 = number(parts[0], 4)?;
    match parts[1..] {
        [] => Date::new(year, 1, 1).ok(),
        [week] if week.starts_with(['W', 'w']) => week_date(year, &week[1..], "1"),
        [week, day] if week.starts_with(['W', 'w']) => week_date(year, &week[1..], day),
        [ordinal] if ordinal.len() == 3 => {
            let day: i16 = number(ordinal, 3)?;
            Date::new(year, 1, 1).ok()?.with().day_of_year(day).build().ok()
        }
        [month] => Date::new(year, number(month, 2)?, 1).ok(),
        [month, day] => Date::new(year, number(month, 2)?, number(day, 2)?).ok(),
        _ => None,
    }
}

fn week_date(year: i16, week: &str, day: &str) -> Option<Date> {
    let weekday = jiff::civil::Weekday::from_monday_one_offset(number(day, 1)?).ok()?;
    Some(ISOWeekDate::new(year, number(week, 2)?, weekday).ok()?.date())
}

/// `HH[:MM[:SS[.fraction]]]`; the inner error is a rule.
fn clock(text: &str) -> Option<Result<Clock, String>> {
    let parts: Vec<&str> = text.split(':').collect();
    let hour: i8 = number(parts[0], 2)?;
    let minute: i8 = parts.get(1).map_or(Some(0), |text| number(text, 2))?;
    let (second, fraction) = match parts.get(2) {
        Some(text) => text.split_once(['.', ',']).unwrap_or((text, "0")),
        None => ("00", "0"),
    };
    let second: i8 = number(second, 2)?;
    if parts.len() > 3 || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if second == 60 {
        let rule = format!("has a start at '{text}': a leap second is no point of Unix time, take 59");
        return Some(Err(rule));
    }
    // Finer than milliseconds nothing is told apart.
    let millis: i32 = format!("{:0<3.3}", fraction).parse().ok()?;
    Clock::new(hour, minute, second, millis * 1_000_000).ok().map(Ok)
}

/// Exactly so many digits.
fn number<T: std::str::FromStr>(text: &str, digits: usize) -> Option<T> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}
