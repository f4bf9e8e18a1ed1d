//! Did it run on that date, and if not, why?

use expect_test::expect;
use model::task::TaskState;
use model::time::{Span, Time};
use serde_json::json;

use super::super::super::answer::{account, account_on};
use super::super::super::message::Command;
use super::super::super::run::RunId;
use super::super::super::schedule::iso8601;
use super::world::{START, World};

/// What is answered of the hours from so many after the start to before so many.
fn asked(world: &World, job: &str, from: u64, until: u64) -> String {
    let at = |hours: u64| START + Span::from_hours(hours);
    let account = account(world.scheduler.book(), job, at(from), at(until)).expect("a job");
    let clock = |time: Time| iso8601(time)[5..16].to_owned();
    let mut lines: Vec<String> = account
        .answers
        .iter()
        .map(|answer| {
            let up_to = answer.up_to.map(|at| format!("..{}", clock(at))).unwrap_or_default();
            format!("{}{up_to} {} {}", clock(answer.due), answer.state, answer.reason).trim_end().to_owned()
        })
        .collect();
    lines.extend((!account.note.is_empty()).then_some(account.note));
    lines.join("\n")
}

#[test]
fn each_due_time_has_an_answer() {
    let mut world = World::new();
    world.job(json!({
        "name": "a", "schedule": "R6/2026-01-01T01:00:00Z/PT1H", "historyLimit": 4, "retries": 0,
    }));
    world.job(json!({"name": "child", "parents": ["a"], "triggerRule": "all_failed", "disabled": true}));
    for end in [TaskState::Finished, TaskState::Failed] {
        world.pass(Span::from_hours(1));
        world.offer("cpus:1;mem:1000;disk:1000");
        world.end(end);
    }
    world.outage(Span::from_mins(130));
    world.offer("cpus:1;mem:1000;disk:1000");
    expect![[r#"
        01-01T01:00 succeeded
        01-01T02:00 failed Command exited with status 3
        01-01T03:00 skipped missed while no scheduler ran: only the latest is made up for
        01-01T04:00 launched
        01-01T05:00 scheduled
        01-01T06:00 scheduled"#]]
    .assert_eq(&asked(&world, "a", 0, 24));
    world.end(TaskState::Finished);
    world.command(Command::Suspend { job: "a".to_owned() }).expect("known");
    world.trigger("a");
    world.pass(Span::from_hours(2));
    expect![[r#"
        01-01T04:00 succeeded
        01-01T04:10 waiting
        01-01T05:00 scheduled the job is suspended: made up for on its resumption, as its catchup says
        01-01T06:00 scheduled the job is suspended: made up for on its resumption, as its catchup says"#]]
    .assert_eq(&asked(&world, "a", 4, 24));
    world.command(Command::Resume { job: "a".to_owned() }).expect("known");
    world.offer("cpus:1;mem:1000;disk:1000");
    expect![[r#"
        01-01T01:00 unknown no record: the last 4 runs are kept, and nothing from before the job was posted
        01-01T02:00 unknown no record: the last 4 runs are kept, and nothing from before the job was posted"#]]
    .assert_eq(&asked(&world, "a", 0, 3));
    assert_eq!(asked(&world, "a", 7, 24), "not due then: its schedule has ended before");
    let before = "not due then: after 2026-01-01T00:00:00.000Z it is due at 2026-01-01T01:00:00.000Z";
    assert_eq!(asked(&world, "a", 0, 1), before);
    assert_eq!(asked(&world, "child", 0, 24), "it runs after other jobs, and waits for: a");
    let fourth = RunId::new("a", START + Span::from_hours(4));
    assert_eq!(world.scheduler.book().outcome(&fourth).expect("a due time").state, "succeeded");
    assert!(account(world.scheduler.book(), "none", START, START).is_none());
}

#[test]
fn what_was_skipped_in_one_go_is_found_by_each_of_its_times() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2026-01-01T01:00:00Z/PT1H", "catchup": "none"}));
    world.outage(Span::from_secs(10 * 3600 + 600));
    for hour in 1..=10 {
        let due = RunId::new("a", START + Span::from_hours(hour));
        let answer = world.scheduler.book().outcome(&due).expect("a due time");
        assert_eq!(
            (answer.state, answer.reason.as_str()),
            ("skipped", "600s late, at most 60s is tolerated")
        );
    }
}

#[test]
fn a_date_is_a_day_where_the_job_lives() {
    let mut world = World::new();
    let zone = "Europe/Berlin";
    world.job(json!({"name": "a", "schedule": "R/2026-03-01T00:30:00Z/PT1H", "scheduleTimeZone": zone}));
    let on = |text: &str| account_on(world.scheduler.book(), "a", text).map(|account| account.answers);
    let times =
        |text: &str| on(text).expect("a day").iter().map(|answer| iso8601(answer.due)).collect::<Vec<_>>();
    // The clocks go forward: an hour of the day is missing, and in October one comes twice.
    let day = times("2026-03-29");
    assert_eq!((day.len(), day[0].as_str()), (23, "2026-03-28T23:30:00.000Z"));
    assert_eq!(times("2026-10-25").len(), 25);
    assert_eq!(times("2026-03-29T00:30:00Z"), ["2026-03-29T00:30:00.000Z"]);
    assert_eq!(times("2026-03-29T00:31:00Z").len(), 0);
    let refused = on("yesterday").expect_err("no date").to_string();
    assert_eq!(refused, "on must be a date like 2026-11-21 or a time like 2026-11-21T06:30:00Z");
    assert!(account_on(world.scheduler.book(), "b", "2026-03-29").is_err());
}

#[test]
fn an_endless_stretch_has_a_bounded_answer() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2026-01-01T01:00:00Z/PT1S"}));
    let account = account(world.scheduler.book(), "a", Time::ZERO, Time::MAX).expect("a job");
    assert_eq!(account.answers.len(), 1000);
    assert_eq!(account.note, "more than 1000 due times without a record: ask for a shorter time");
}
