//! Schedules: what each text means, what is refused, and the laws over ten years of every zone.

mod laws;
mod refusals;
mod texts;

use model::time::Time;

use super::{Schedule, iso8601};

/// 2026-01-01T00:00:00Z.
const NOW: Time = Time::from_secs(1_767_225_600);

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone, NOW).unwrap_or_else(|error| panic!("{text} in {zone}: {error}"))
}

/// A time by its text.
fn at(text: &str) -> Time {
    let at: jiff::Timestamp = text.parse().expect("a time");
    Time::from_millis(u64::try_from(at.as_millisecond()).expect("after 1970"))
}
