//! Bad schedules are refused with the field and the rule.

use expect_test::expect;

use super::*;

fn refused(text: &str, zone: &str) -> String {
    match Schedule::parse(text, zone, NOW) {
        Ok(schedule) => panic!("'{text}' in '{zone}' is taken as {schedule}"),
        Err(error) => format!("{error}"),
    }
}

#[test]
fn intervals_that_mean_nothing() {
    let texts = [
        "",
        "R/2026-01-01T00:00:00Z",
        "5/2026-01-01T00:00:00Z/P1D",
        "Rx/2026-01-01T00:00:00Z/P1D",
        "R99999999999999999999/2026-01-01T00:00:00Z/P1D",
        "R/yesterday/P1D",
        "R/20141010T183200Z/P1D",
        "R/2026-02-30T00:00:00Z/P1D",
        "R/2026-06-30T23:59:60Z/P1D",
        "R/0000-01-01T00:00:00Z/P1D",
        "R/1969-12-31T23:59:59Z/P1D",
        "R/9999-01-01T00:00:00Z/P1D",
        "R/2026-01-01T00:00:00Z/P1H",
        "R/2026-01-01T00:00:00Z/P-1D",
        "R/2026-01-01T00:00:00Z/-P1D",
        "R/2026-01-01T00:00:00Z/P",
        "R/2026-01-01T00:00:00Z/PT0S",
        "R2/2026-01-01T00:00:00Z/PT0S",
        "R/2026-01-01T00:00:00Z/PT0.9S",
        "R/2026-01-01T00:00:00Z/PT1.0005S",
        "R/2026-01-01T00:00:00Z/P1D2M",
        "R/2026-01-01T00:00:00Z/P99999999999Y",
        "R/2026-01-01T00:00:00Z/PT99999999999999999999H",
        "R/2026-01-01T00:00:00Z/P1\u{661}D",
    ];
    let table: Vec<String> = texts.iter().map(|text| format!("{text}: {}", refused(text, ""))).collect();
    expect![[r#"
        : schedule '' must be R[n]/[start]/period, or a cron line of five fields
        R/2026-01-01T00:00:00Z: schedule 'R/2026-01-01T00:00:00Z' must be R[n]/[start]/period, or a cron line of five fields
        5/2026-01-01T00:00:00Z/P1D: schedule begins with '5', which must be R or R and a number
        Rx/2026-01-01T00:00:00Z/P1D: schedule begins with 'Rx', which must be R or R and a number
        R99999999999999999999/2026-01-01T00:00:00Z/P1D: schedule repeats more than 9223372036854775807 times: leave the number out
        R/yesterday/P1D: schedule has a start 'yesterday' that must be a time like 2026-11-21T06:30:00Z
        R/20141010T183200Z/P1D: schedule has a start '20141010T183200Z' that must be a time like 2026-11-21T06:30:00Z
        R/2026-02-30T00:00:00Z/P1D: schedule has a start '2026-02-30T00:00:00Z' that must be a time like 2026-11-21T06:30:00Z
        R/2026-06-30T23:59:60Z/P1D: schedule has a start at '23:59:60': a leap second is no point of Unix time, take 59
        R/0000-01-01T00:00:00Z/P1D: schedule has a start that must not be before 1970-01-01T00:00:01Z
        R/1969-12-31T23:59:59Z/P1D: schedule has a start that must not be before 1970-01-01T00:00:01Z
        R/9999-01-01T00:00:00Z/P1D: schedule has a start in the year 9999, which must be before 9999
        R/2026-01-01T00:00:00Z/P1H: schedule has a period that is wrong: 'P1H' has hours, minutes or seconds before the T: write PT1H
        R/2026-01-01T00:00:00Z/P-1D: schedule has a period that is wrong: 'P-1D' must not be negative
        R/2026-01-01T00:00:00Z/-P1D: schedule has a period that is wrong: '-P1D' must not be negative
        R/2026-01-01T00:00:00Z/P: schedule has a period of zero, which only R1 may have
        R/2026-01-01T00:00:00Z/PT0S: schedule has a period of zero, which only R1 may have
        R2/2026-01-01T00:00:00Z/PT0S: schedule has a period of zero, which only R1 may have
        R/2026-01-01T00:00:00Z/PT0.9S: schedule has a period that must be at least 1s
        R/2026-01-01T00:00:00Z/PT1.0005S: schedule has a period that is wrong: 'PT1.0005S' must be a whole number of milliseconds
        R/2026-01-01T00:00:00Z/P1D2M: schedule has a period that is wrong: 'P1D2M' must be an ISO 8601 duration like P1D or PT30M
        R/2026-01-01T00:00:00Z/P99999999999Y: schedule has a period that is wrong: 'P99999999999Y' is longer than any calendar
        R/2026-01-01T00:00:00Z/PT99999999999999999999H: schedule has a period that is wrong: 'PT99999999999999999999H' is longer than any calendar
        R/2026-01-01T00:00:00Z/P1١D: schedule has a period that is wrong: 'P1١D' must be an ISO 8601 duration like P1D or PT30M"#]].assert_eq(&table.join("\n"));
}

#[test]
fn cron_lines_that_mean_nothing() {
    let texts = [
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "1,, * * * *",
        "0 0 30 2 *",
        "@reboot",
    ];
    let table: Vec<String> = texts.iter().map(|text| format!("{text}: {}", refused(text, ""))).collect();
    expect![[r#"
        * * * *: schedule has 4 fields, a cron line has five: minute hour day month weekday
        * * * * * *: schedule has 6 fields, a cron line has five: minute hour day month weekday
        60 * * * *: schedule has '60' for the minute, which must be *, or numbers from 0 to 59 like 1,5-8 or */2
        * 24 * * *: schedule has '24' for the hour, which must be *, or numbers from 0 to 23 like 1,5-8 or */2
        * * 0 * *: schedule has '0' for the day of the month, which must be *, or numbers from 1 to 31 like 1,5-8 or */2
        * * * 13 *: schedule has '13' for the month, which must be *, or numbers from 1 to 12 like 1,5-8 or */2
        * * * * 8: schedule has '8' for the day of the week, which must be *, or numbers from 0 to 7 like 1,5-8 or */2
        5-1 * * * *: schedule has '5-1' for the minute, which must be *, or numbers from 0 to 59 like 1,5-8 or */2
        */0 * * * *: schedule has '*/0' for the minute, which must be *, or numbers from 0 to 59 like 1,5-8 or */2
        */x * * * *: schedule has '*/x' for the minute, which must be *, or numbers from 0 to 59 like 1,5-8 or */2
        1,, * * * *: schedule has '' for the minute, which must be *, or numbers from 0 to 59 like 1,5-8 or */2
        0 0 30 2 *: schedule names a day that never comes
        @reboot: schedule '@reboot' must be @hourly, @daily, @weekly, @monthly or @yearly"#]].assert_eq(&table.join("\n"));
}

#[test]
fn zones_nobody_knows() {
    let zones = ["Europe/Atlantis", "XYZ", "+19:00", "../etc/passwd", "+2x"];
    let table: Vec<String> = zones.iter().map(|zone| refused("0 0 * * *", zone)).collect();
    expect![[r#"
        scheduleTimeZone 'Europe/Atlantis' must be a name of the time zone database, like Europe/Paris
        scheduleTimeZone 'XYZ' must be a name of the time zone database, like Europe/Paris
        scheduleTimeZone '+19:00' must be a name of the time zone database, like Europe/Paris
        scheduleTimeZone '../etc/passwd' must be a name of the time zone database, like Europe/Paris
        scheduleTimeZone '+2x' must be a name of the time zone database, like Europe/Paris"#]]
    .assert_eq(&table.join("\n"));
    assert!(refused(&"1,".repeat(300), "").contains("512 bytes"));
}
