//! Due times that nobody was there for: each has its outcome.

use expect_test::expect;
use model::time::Span;
use serde_json::json;

use super::world::{START, World};

const HOURLY: &str = "R/2026-01-01T01:00:00Z/PT1H";

fn after_an_outage(extra: serde_json::Value) -> String {
    let mut world = World::new();
    let mut job = json!({"name": "a", "schedule": HOURLY});
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    world.job(job);
    world.pass(Span::from_hours(1));
    world.serve();
    world.outage(Span::from_secs(4 * 3600 + 120));
    while world.scheduler.wants_offers() {
        world.serve();
    }
    world.pass(Span::from_hours(1));
    world.history("a")
}

#[test]
fn the_latest_is_made_up_for() {
    expect![[r#"
        01:00:00 x1 succeeded
        02:00:00..04:00:00 x3 skipped missed while no scheduler ran: only the latest is made up for
        05:00:00 x1 succeeded
        06:00:00 x1 waiting"#]]
    .assert_eq(&after_an_outage(json!({})));
}

#[test]
fn none_is_made_up_for() {
    expect![[r#"
        01:00:00 x1 succeeded
        02:00:00..05:00:00 x4 skipped 120s late, at most 60s is tolerated
        06:00:00 x1 skipped could not begin in time: no offer came"#]]
    .assert_eq(&after_an_outage(json!({"catchup": "none"})));
}

#[test]
fn all_are_made_up_for_one_after_the_other() {
    expect![[r#"
        01:00:00 x1 succeeded
        02:00:00 x1 succeeded
        03:00:00 x1 succeeded
        04:00:00 x1 succeeded
        05:00:00 x1 succeeded
        06:00:00 x1 waiting"#]]
    .assert_eq(&after_an_outage(json!({"catchup": "all"})));
}

#[test]
fn all_within_the_deadline_are_made_up_for() {
    expect![[r#"
        01:00:00 x1 succeeded
        02:00:00 x1 skipped 10920s late, at most 9000s is tolerated
        03:00:00 x1 succeeded
        04:00:00 x1 succeeded
        05:00:00 x1 succeeded
        06:00:00 x1 waiting"#]]
    .assert_eq(&after_an_outage(json!({"catchup": "all", "epsilon": "PT2H30M"})));
}

#[test]
fn beyond_epsilon_all_are_skipped() {
    expect![[r#"
        01:00:00 x1 succeeded
        02:00:00..05:00:00 x4 skipped 120s late, at most 60s is tolerated
        06:00:00 x1 skipped could not begin in time: no offer came"#]]
    .assert_eq(&after_an_outage(json!({"epsilon": "PT60S"})));
}

#[test]
fn what_finds_no_resources_in_time_is_missed() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": HOURLY, "startingDeadlineSeconds": 30, "cpus": 8}));
    world.pass(Span::from_hours(1));
    world.offer("cpus:1;mem:1000;disk:1000");
    world.told();
    world.pass(Span::from_secs(31));
    expect![[r#"
        revive
        notify Missed a: could not begin in time: no offer has enough resources
        run/a@+3600000 skipped could not begin in time: no offer has enough resources"#]]
    .assert_eq(&world.told());
}

#[test]
fn the_time_when_a_job_was_disabled_is_accounted_for() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": HOURLY}));
    world.pass(Span::from_mins(90));
    world.serve();
    world.job(json!({"name": "a", "schedule": HOURLY, "disabled": true}));
    world.pass(Span::from_hours(3));
    world.job(json!({"name": "a", "schedule": HOURLY}));
    world.pass(Span::from_mins(30));
    expect![[r#"
        01:00:00 x1 succeeded
        02:00:00..04:00:00 x3 skipped the job was disabled
        05:00:00 x1 waiting"#]]
    .assert_eq(&world.history("a"));
}

#[test]
fn a_start_long_ago_runs_once_and_a_cron_line_not_before_its_time() {
    let mut world = World::new();
    world.job(json!({"name": "old", "schedule": "R/2025-12-31T20:30:00Z/PT1H"}));
    world.job(json!({"name": "line", "schedule": "0 * * * *"}));
    world.pass(Span::from_mins(1));
    expect![[r#"
        20:30:00..22:30:00 x3 skipped missed while no scheduler ran: only the latest is made up for
        23:30:00 x1 waiting
        line: "#]]
    .assert_eq(&format!("{}\nline: {}", world.history("old"), world.history("line")));
}

#[test]
fn repetitions_end_and_the_job_with_them() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R2/2026-01-01T01:00:00Z/PT1H"}));
    for _ in 0..2 {
        world.pass(Span::from_hours(1));
        world.trigger("a");
        world.serve();
    }
    expect![[r#"
        run/a@+3600000 waiting
        revive
        run/a@+3600001 skipped the run of 2026-01-01T01:00:00.000Z is not over, and runs must not overlap
        run/a@+3600000 launched
        launch ct:+3600000:0:a:
        run/a@+3600000 running
        run/a@+3600000 succeeded
        run/a@+7200000 waiting
        revive
        run/a@+7200001 skipped the run of 2026-01-01T02:00:00.000Z is not over, and runs must not overlap
        run/a@+7200000 launched
        launch ct:+7200000:0:a:
        run/a@+7200000 running
        run/a@+7200000 succeeded
        notify Disabled a: all its repetitions are done"#]]
    .assert_eq(&world.told());
    assert!(world.scheduler.book().job("a").expect("a job").definition.disabled);
    world.pass(Span::from_hours(5));
    assert_eq!(world.told(), "");
}

#[test]
fn a_schedule_that_begins_anew_is_not_done_because_an_earlier_leaders_clock_was_ahead() {
    let mut world = World::new();
    let job = json!({"name": "a", "schedule": "R1//PT1H"});
    world.now = START + Span::from_hours(4);
    world.job(job.clone());
    world.pass(Span::ZERO);
    world.serve();
    world.now = START;
    world.fail_over();
    world.job(job);
    world.pass(Span::ZERO);
    world.serve();
    expect![[r#"
        00:00:00 x1 succeeded
        04:00:00 x1 succeeded"#]]
    .assert_eq(&world.history("a"));
}
