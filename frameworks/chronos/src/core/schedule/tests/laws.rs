//! Laws of occurrences, over ten years of the zones of the world, against what is enumerated the long way.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use model::time::Span;
use proptest::prelude::*;

use super::super::timestamp;
use super::*;

const MINUTE: Span = Span::from_mins(1);

/// Every zone whose clock changes in these years, and a few that never do.
fn zones() -> Vec<String> {
    let database = TimeZoneDatabase::bundled();
    let start: jiff::Timestamp = "2018-01-01T00:00:00Z".parse().expect("a time");
    let changes = |name: &str| {
        let zone = database.get(name).expect("a listed zone");
        zone.following(start).take_while(|change| change.timestamp().as_second() < 1_830_297_600).count() > 0
    };
    let mut names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    names.retain(|name| changes(name));
    names.extend(["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Kiritimati"].map(str::to_owned));
    assert!(names.len() > 100, "only {} zones change their clocks", names.len());
    names
}

fn rules(zone: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(zone).expect("a zone")
}

/// In ten years of every zone a daily job comes once on each date, at its time wherever there is such a time.
#[test]
fn a_daily_job_comes_once_a_date_at_its_time() {
    let (from, to) = (at("2018-01-01T12:00:00Z"), at("2028-01-01T00:00:00Z"));
    for name in zones() {
        let zone = rules(&name);
        for (text, cron) in [("R/2017-12-31T02:30/P1D", false), ("30 2 * * *", true), ("15 0 * * *", true)] {
            let schedule = schedule(text, &name);
            let (hour, minute) = if text.starts_with("15") { (0, 15) } else { (2, 30) };
            let mut dates: BTreeMap<Date, u32> = BTreeMap::new();
            let mut time = from;
            while let Some(next) = schedule.next_after(Some(time)).filter(|next| *next < to) {
                assert!(next > time);
                time = next;
                let wall = zone.to_datetime(timestamp(time));
                *dates.entry(wall.date()).or_default() += 1;
                let meant = wall.date().at(hour, minute, 0, 0);
                let skipped = zone.to_ambiguous_timestamp(meant).offset();
                if matches!(skipped, jiff::tz::AmbiguousOffset::Gap { .. }) {
                    assert!(wall > meant, "{name}: {wall}");
                    if cron {
                        let before = timestamp(time - Span::from_millis(1));
                        assert_ne!(
                            zone.to_offset(before),
                            zone.to_offset(timestamp(time)),
                            "{name}: at the change"
                        );
                    }
                } else {
                    assert_eq!(wall, meant, "{name}");
                }
            }
            assert!(dates.values().all(|count| *count == 1), "{name} {text}: {dates:?}");
            assert!(dates.len() >= 3651, "{name} {text}: {} dates", dates.len());
        }
    }
}

/// A fixed length is that length, whatever the clocks do.
#[test]
fn hours_are_hours() {
    let (from, to) = (at("2018-01-01T12:00:00Z"), at("2028-01-01T00:00:00Z"));
    for name in zones().into_iter().step_by(7) {
        let schedule = schedule("R/2018-01-01T02:30/PT6H", &name);
        let mut time = schedule.next_after(Some(from)).expect("for ever");
        while time < to {
            let next = schedule.next_after(Some(time)).expect("for ever");
            assert_eq!(next - time, Span::from_hours(6), "{name}");
            time = next;
        }
    }
}

/// A monthly job is on its day, or on the last of a shorter month, for ever.
#[test]
fn months_do_not_drift() {
    for name in zones().into_iter().step_by(5) {
        let zone = rules(&name);
        let schedule = schedule("R/2018-01-31T12:00/P1M", &name);
        let occurrences = schedule.next(Some(at("2018-02-01T12:00:00Z")), 119);
        for (month, time) in (1..).zip(occurrences) {
            let date = zone.to_datetime(timestamp(time)).date();
            assert_eq!(date.day(), date.days_in_month().min(31), "{name}: {date}");
            assert_eq!(i32::from(date.month() - 1), month % 12, "{name}: {date}");
        }
    }
}

/// Lines that go by the clock fit every minute that shows a fitting time, and no other: found by looking at each minute.
#[test]
fn lines_by_the_clock_are_what_looking_at_each_minute_finds() {
    let names =
        ["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Tehran"];
    for name in names {
        let zone = rules(name);
        let schedule = schedule("7-59/20 * * * *", name);
        let (from, to) = (at("2021-01-01T00:00:00Z"), at("2022-01-01T00:00:00Z"));
        let mut long_way = Vec::new();
        let mut time = from;
        while time < to {
            time += MINUTE;
            if [7, 27, 47].contains(&zone.to_datetime(timestamp(time)).minute()) {
                long_way.push(time);
            }
        }
        assert_eq!(schedule.next(Some(from), long_way.len()), long_way, "{name}");
    }
}

/// Times of day are due when the clock first shows them: found by looking at each minute.
#[test]
fn times_of_day_are_what_looking_at_each_minute_finds() {
    for name in ["Europe/Paris", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca"] {
        let zone = rules(name);
        let schedule = schedule("*/30 0-4 * * *", name);
        let (from, to) = (at("2021-01-01T12:00:00Z"), at("2022-01-01T00:00:00Z"));
        let mut long_way = BTreeSet::new();
        let mut last = zone.to_datetime(timestamp(from));
        let mut shown = last;
        let mut time = from;
        while time < to {
            time += MINUTE;
            let wall = zone.to_datetime(timestamp(time));
            // All that the clock has come to since the last minute, in a jump or not, and has not shown before.
            let mut passing = last.max(shown).checked_add(jiff::Span::new().minutes(1)).expect("a time");
            while passing <= wall {
                if passing.hour() <= 4 && passing.minute() % 30 == 0 {
                    long_way.insert(time);
                }
                passing = passing.checked_add(jiff::Span::new().minutes(1)).expect("a time");
            }
            (last, shown) = (wall, shown.max(wall));
        }
        let long_way: Vec<Time> = long_way.into_iter().collect();
        assert_eq!(schedule.next(Some(from), long_way.len()), long_way, "{name}");
    }
}

fn texts() -> impl Strategy<Value = String> {
    let period = prop_oneof![
        (1u32..30).prop_map(|n| format!("P{n}D")),
        (1u32..30).prop_map(|n| format!("P{n}M")),
        (1u32..4).prop_map(|n| format!("P{n}W")),
        (1u32..3).prop_map(|n| format!("P{n}Y")),
        (1u32..100_000).prop_map(|n| format!("PT{n}S")),
        (1u32..9, 1u32..30).prop_map(|(days, hours)| format!("P{days}DT{hours}H")),
    ];
    let start = (1975i32..2026, 1u32..13, 1u32..29, 0u32..24, 0u32..60)
        .prop_map(|(y, m, d, h, min)| format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}"));
    let repeating =
        (prop_oneof![Just(String::new()), (0u32..500).prop_map(|n| n.to_string())], start, period)
            .prop_map(|(count, start, period)| format!("R{count}/{start}/{period}"));
    let field = |low: u32, high: u32| {
        prop_oneof![
            Just("*".to_owned()),
            (low..=high).prop_map(|n| n.to_string()),
            (2u32..6).prop_map(|n| format!("*/{n}")),
            (low..=high).prop_map(move |n| format!("{low}-{n}")),
        ]
    };
    let cron = (field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6))
        .prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"));
    prop_oneof![repeating, cron]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However one asks, the occurrences are the same ones, in order, and none is counted twice.
    #[test]
    fn all_ways_of_asking_agree(
        text in texts(),
        zone in prop::sample::select(zones()),
        after in 1_500_000_000u64..1_900_000_000,
        steps in 1usize..30,
    ) {
        let schedule = schedule(&text, &zone);
        let after = Time::from_secs(after);
        let walked = schedule.next(Some(after), steps);
        prop_assert!(walked.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(walked.iter().all(|time| *time > after));
        if let (Some(first), Some(last)) = (walked.first(), walked.last()) {
            // Just before an occurrence it is the next one, at it no longer.
            prop_assert_eq!(schedule.next_after(Some(*last - Span::from_millis(1))), Some(*last));
            prop_assert_ne!(schedule.next_after(Some(*last)), Some(*last));
            let missed = schedule.missed(Some(after), *last).expect("at least the last one");
            prop_assert_eq!((missed.first, missed.last), (*first, *last));
            // On a day that a zone skips, two occurrences fall together.
            prop_assert!(missed.count >= walked.len() as u64 && missed.count <= walked.len() as u64 + 1);
            prop_assert_eq!(schedule.missed(Some(*last), *last), None);
        }
        // Stored and read back it is the same.
        let again = Schedule::parse(&schedule.to_string(), &zone, Time::ZERO).expect("its own text");
        prop_assert_eq!(again.next(Some(after), 3), schedule.next(Some(after), 3));
        // So it is when a client posts back what it was shown.
        let shown = Schedule::parse(&schedule.advanced(Some(after)), &zone, Time::ZERO).expect("what is shown");
        prop_assert_eq!(shown.remaining(Some(after)), schedule.remaining(Some(after)));
    }

    /// No text makes it panic.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", zone in "\\PC{0,12}") {
        let _ = Schedule::parse(&text, &zone, NOW);
        let _ = Schedule::parse(&format!("R/{text}/P1D"), "", NOW);
        let _ = Schedule::parse(&format!("R/2026-01-01T00:00:00Z/P{text}"), &zone, NOW);
    }
}
