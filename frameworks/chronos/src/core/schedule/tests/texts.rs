//! What schedules mean, in text.

use expect_test::expect;

use super::*;

/// The next occurrences in the zone and in UTC.
fn next(text: &str, zone: &str, after: &str, count: usize) -> String {
    let schedule = schedule(text, zone);
    let rules = schedule.zone().rules();
    let line = |time: Time| {
        let utc = iso8601(time);
        let local = rules.to_datetime(super::super::timestamp(time));
        format!("{utc} {local} {}", local.weekday_name())
    };
    schedule.next(Some(at(after)), count).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

trait WeekdayName {
    fn weekday_name(&self) -> &'static str;
}

impl WeekdayName for jiff::civil::DateTime {
    fn weekday_name(&self) -> &'static str {
        ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
            [usize::from(self.weekday().to_monday_zero_offset() as u8)]
    }
}

#[test]
fn a_day_at_two_thirty_comes_back_to_two_thirty_after_the_gap() {
    expect![[r#"
        2026-03-28T01:30:00.000Z 2026-03-28T02:30:00 Sat
        2026-03-29T01:30:00.000Z 2026-03-29T03:30:00 Sun
        2026-03-30T00:30:00.000Z 2026-03-30T02:30:00 Mon
        2026-03-31T00:30:00.000Z 2026-03-31T02:30:00 Tue"#]]
    .assert_eq(&next("R/2026-03-27T02:30:00Z/P1D", "Europe/Paris", "2026-03-27T12:00:00Z", 4));
}

#[test]
fn twenty_four_hours_are_not_a_day() {
    expect![[r#"
        2026-03-28T01:30:00.000Z 2026-03-28T02:30:00 Sat
        2026-03-29T01:30:00.000Z 2026-03-29T03:30:00 Sun
        2026-03-30T01:30:00.000Z 2026-03-30T03:30:00 Mon"#]]
    .assert_eq(&next("R/2026-03-27T02:30:00Z/PT24H", "Europe/Paris", "2026-03-27T12:00:00Z", 3));
}

#[test]
fn the_thirty_first_stays_the_thirty_first() {
    expect![[r#"
        2026-02-28T00:00:00.000Z 2026-02-28T00:00:00 Sat
        2026-03-31T00:00:00.000Z 2026-03-31T00:00:00 Tue
        2026-04-30T00:00:00.000Z 2026-04-30T00:00:00 Thu
        2026-05-31T00:00:00.000Z 2026-05-31T00:00:00 Sun
        2026-06-30T00:00:00.000Z 2026-06-30T00:00:00 Tue"#]]
    .assert_eq(&next("R/2026-01-31T00:00:00Z/P1M", "", "2026-01-31T00:00:00Z", 5));
}

#[test]
fn a_repeated_hour_counts_once_for_days_and_twice_for_hours() {
    expect![[r#"
        2026-10-25T00:30:00.000Z 2026-10-25T02:30:00 Sun
        2026-10-26T01:30:00.000Z 2026-10-26T02:30:00 Mon"#]]
    .assert_eq(&next("R/2026-10-24T02:30:00/P1D", "Europe/Paris", "2026-10-24T12:00:00Z", 2));
    expect![[r#"
        2026-10-24T23:30:00.000Z 2026-10-25T01:30:00 Sun
        2026-10-25T00:30:00.000Z 2026-10-25T02:30:00 Sun
        2026-10-25T01:30:00.000Z 2026-10-25T02:30:00 Sun
        2026-10-25T02:30:00.000Z 2026-10-25T03:30:00 Sun"#]]
    .assert_eq(&next("R/2026-10-24T22:30:00Z/PT1H", "Europe/Paris", "2026-10-24T23:00:00Z", 4));
    expect![[r#"
        2026-10-25T00:30:00.000Z 2026-10-25T02:30:00 Sun
        2026-10-26T01:30:00.000Z 2026-10-26T02:30:00 Mon"#]]
    .assert_eq(&next("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2));
    expect![[r#"
        2026-10-24T23:30:00.000Z 2026-10-25T01:30:00 Sun
        2026-10-25T00:30:00.000Z 2026-10-25T02:30:00 Sun
        2026-10-25T01:30:00.000Z 2026-10-25T02:30:00 Sun
        2026-10-25T02:30:00.000Z 2026-10-25T03:30:00 Sun"#]]
    .assert_eq(&next("30 * * * *", "Europe/Paris", "2026-10-24T23:00:00Z", 4));
}

#[test]
fn a_skipped_time_of_day_is_due_when_the_gap_ends() {
    expect![[r#"
        2026-03-28T01:30:00.000Z 2026-03-28T02:30:00 Sat
        2026-03-29T01:00:00.000Z 2026-03-29T03:00:00 Sun
        2026-03-30T00:30:00.000Z 2026-03-30T02:30:00 Mon"#]]
    .assert_eq(&next("30 2 * * *", "Europe/Paris", "2026-03-27T12:00:00Z", 3));
    expect![[r#"
        2026-03-29T00:30:00.000Z 2026-03-29T01:30:00 Sun
        2026-03-29T01:30:00.000Z 2026-03-29T03:30:00 Sun
        2026-03-29T02:30:00.000Z 2026-03-29T04:30:00 Sun"#]]
    .assert_eq(&next("30 * * * *", "Europe/Paris", "2026-03-28T23:59:00Z", 3));
}

#[test]
fn a_day_that_a_country_skips_is_made_up_once() {
    // Samoa moved over the date line: there was no 30 December 2011.
    expect![[r#"
        2011-12-28T19:00:00.000Z 2011-12-28T09:00:00 Wed
        2011-12-29T19:00:00.000Z 2011-12-29T09:00:00 Thu
        2011-12-30T19:00:00.000Z 2011-12-31T09:00:00 Sat
        2011-12-31T19:00:00.000Z 2012-01-01T09:00:00 Sun"#]]
    .assert_eq(&next("R/2011-12-28T09:00/P1D", "Pacific/Apia", "2011-12-28T00:00:00Z", 4));
}

#[test]
fn cron_lines_mean_what_people_expect() {
    let after = "2026-11-20T12:00:00Z";
    expect![[r#"
        2026-11-20T14:00:00.000Z 2026-11-20T09:00:00 Fri
        2026-11-23T14:00:00.000Z 2026-11-23T09:00:00 Mon
        2026-11-24T14:00:00.000Z 2026-11-24T09:00:00 Tue"#]]
    .assert_eq(&next("0 9 * * MON-FRI", "America/New_York", after, 3));
    expect![[r#"
        2026-12-01T08:00:00.000Z 2026-12-01T08:00:00 Tue
        2026-12-01T08:20:00.000Z 2026-12-01T08:20:00 Tue
        2026-12-01T08:40:00.000Z 2026-12-01T08:40:00 Tue"#]]
    .assert_eq(&next("*/20 8-9 1,15 * *", "", after, 3));
    expect![[r#"
        2026-11-27T00:00:00.000Z 2026-11-27T00:00:00 Fri
        2026-12-04T00:00:00.000Z 2026-12-04T00:00:00 Fri
        2026-12-11T00:00:00.000Z 2026-12-11T00:00:00 Fri
        2026-12-13T00:00:00.000Z 2026-12-13T00:00:00 Sun"#]]
    .assert_eq(&next("0 0 13 * 5", "", after, 4));
    expect![[r#"
        2028-02-29T00:00:00.000Z 2028-02-29T00:00:00 Tue
        2032-02-29T00:00:00.000Z 2032-02-29T00:00:00 Sun"#]]
    .assert_eq(&next("0 0 29 2 *", "", after, 2));
    expect![[r#"
        2026-11-22T00:00:00.000Z 2026-11-22T00:00:00 Sun
        2026-11-29T00:00:00.000Z 2026-11-29T00:00:00 Sun"#]]
    .assert_eq(&next("@weekly", "", after, 2));
    expect!["2026-11-22T00:00:00.000Z 2026-11-22T00:00:00 Sun"].assert_eq(&next("0 0 * * 7", "", after, 1));
}

#[test]
fn starts_are_read_as_chronos_reads_them() {
    let first =
        |start: &str, zone: &str| iso8601(schedule(&format!("R1/{start}/P1D"), zone).next(None, 1)[0]);
    let starts = [
        ("2014-10-10T18:32:00Z", ""),
        ("2014-10-10T18:32:00Z", "PST"),
        ("2014-10-10T18:32:00+02:00", ""),
        ("2014-10-10T18:32:00.25Z", ""),
        ("2014-10-10T18:32", ""),
        ("2014-10-10", "Europe/Paris"),
        ("2014-W41-5T10:00Z", ""),
        ("2014-283T10:00Z", ""),
        ("2014-10", ""),
        ("T05:50Z", ""),
        ("", ""),
        ("2014-10-10T18:32:00Z", "BST"),
        ("2014-10-10T18:32:00Z", "GMT+3"),
    ];
    let table: Vec<String> =
        starts.iter().map(|(start, zone)| format!("{start:26} {zone:14} {}", first(start, zone))).collect();
    expect![[r#"
        2014-10-10T18:32:00Z                      2014-10-10T18:32:00.000Z
        2014-10-10T18:32:00Z       PST            2014-10-11T01:32:00.000Z
        2014-10-10T18:32:00+02:00                 2014-10-10T16:32:00.000Z
        2014-10-10T18:32:00.25Z                   2014-10-10T18:32:00.250Z
        2014-10-10T18:32                          2014-10-10T18:32:00.000Z
        2014-10-10                 Europe/Paris   2014-10-09T22:00:00.000Z
        2014-W41-5T10:00Z                         2014-10-10T10:00:00.000Z
        2014-283T10:00Z                           2014-10-10T10:00:00.000Z
        2014-10                                   2014-10-01T00:00:00.000Z
        T05:50Z                                   1970-01-01T05:50:00.000Z
                                                  2026-01-01T00:00:00.000Z
        2014-10-10T18:32:00Z       BST            2014-10-10T12:32:00.000Z
        2014-10-10T18:32:00Z       GMT+3          2014-10-10T15:32:00.000Z"#]]
    .assert_eq(&table.join("\n"));
}

#[test]
fn what_is_shown_goes_on_from_the_next_occurrence() {
    let daily = schedule("R5/2026-03-27T02:30:00Z/P1D", "Europe/Paris");
    let after = |text: &str| daily.advanced(Some(at(text)));
    expect!["R3/2026-03-29T02:30:00.000+02:00/P1D"].assert_eq(&after("2026-03-28T12:00:00Z"));
    expect!["R0/2026-04-29T02:30:00.000+01:00/P1D"].assert_eq(&after("2026-04-28T12:00:00Z"));
    expect!["R5/2026-03-27T02:30:00.000+01:00/P1D"].assert_eq(&daily.to_string());
    assert_eq!(schedule(&daily.to_string(), "Europe/Paris"), daily);
    assert_eq!(daily.remaining(Some(at("2026-03-28T12:00:00Z"))), Some(3));
    assert_eq!(
        schedule("R/2026-03-27T02:30:00Z/PT1.5S", "").to_string(),
        "R/2026-03-27T02:30:00.000Z/PT1.5S"
    );
    assert_eq!(schedule("0 9 * * *", "Europe/Paris").advanced(None), "0 9 * * *");
}

#[test]
fn what_was_missed_is_counted() {
    let missed = |text: &str, after: &str, until: &str| {
        schedule(text, "").missed(Some(at(after)), at(until)).map(|missed| {
            format!("{} of {} to {}", missed.count, iso8601(missed.first), iso8601(missed.last))
        })
    };
    let (day, year) =
        (("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), ("2026-01-01T00:00:00Z", "2026-12-31T00:00:30Z"));
    expect!["11 of 2026-02-01T00:00:00.000Z to 2026-12-01T00:00:00.000Z"]
        .assert_eq(&missed("R/2012-01-01T00:00:00Z/P1M", year.0, year.1).unwrap_or_default());
    expect!["2 of 2012-01-01T00:00:02.000Z to 2012-01-01T00:00:04.000Z"].assert_eq(
        &missed("R3/2012-01-01T00:00:00Z/PT2S", "2012-01-01T00:00:00Z", day.1).unwrap_or_default(),
    );
    expect!["24 of 2026-01-01T01:00:00.000Z to 2026-01-02T00:00:00.000Z"]
        .assert_eq(&missed("0 * * * *", day.0, day.1).unwrap_or_default());
    expect!["10080 of 2026-01-01T00:01:00.000Z to 2026-12-31T00:00:00.000Z"]
        .assert_eq(&missed("* * * * *", year.0, year.1).unwrap_or_default());
    expect!["1 of 2026-11-01T00:00:00.000Z to 2026-11-01T00:00:00.000Z"]
        .assert_eq(&missed("0 0 1 1,11 *", year.0, year.1).unwrap_or_default());
    assert_eq!(missed("R0/2012-01-01T00:00:00Z/PT2S", day.0, day.1), None);
    assert_eq!(missed("R1/2027-01-01T00:00:00Z/P", day.0, day.1), None);
}
