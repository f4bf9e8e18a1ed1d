//! Every bound of the batch scheduler, with its reason.

use model::time::Span;

// --- schedules

/// The shortest period. Below it a job is a service; and a scheduler that divides by the seconds of a period divides by
/// zero.
pub const PERIOD: Span = Span::from_secs(1);

/// Bytes of a schedule: the longest that makes sense names every minute of an hour.
pub const SCHEDULE_BYTES: usize = 512;

/// The first year that no schedule reaches: the last years a calendar knows leave no room for the next occurrence.
pub const LAST_YEAR: i16 = 9999;

/// Cron lines are searched so far for an occurrence before they are said to have none: 29 February is 8 years away when
/// a century is no leap year, and a weekday of it up to 40.
pub const CRON_YEARS: i16 = 41;

/// Missed occurrences of a cron line are counted up to here; what a minutely line misses in a week.
pub const MISSED_COUNTED: u64 = 10_080;
