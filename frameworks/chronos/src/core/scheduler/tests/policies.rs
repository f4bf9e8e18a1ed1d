//! What a job says of its failures, its rest, its length and its history.

use std::collections::BTreeMap;

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::super::super::message::{Command, Reply};
use super::world::World;

const EVERY_MINUTE: &str = "R/2026-01-01T00:01:00Z/PT1M";
const OFFER: &str = "cpus:1;mem:1000;disk:1000";

#[test]
fn an_uncounted_failure_takes_no_repetition_away() {
    let mut world = World::new();
    let policy = json!({"delay": 1, "uncountedOn": ["lost", 75]});
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "retries": 1, "retryPolicy": policy}));
    world.pass(Span::ZERO);
    for (state, message) in [
        (TaskState::Gone, "the agent is gone"),
        (TaskState::Failed, "Command exited with status 75"),
        (TaskState::Failed, "Command exited with status 1"),
        (TaskState::Failed, "Command exited with status 75"),
        (TaskState::Failed, "Command exited with status 1"),
    ] {
        world.offer(OFFER);
        let task = world.tasks[0].clone();
        world.update(&task, TaskState::Running, "");
        world.update(&task, state, message);
        world.pass(Span::from_secs(1));
    }
    assert_eq!(world.history("a"), "00:00:00 x1 failed Command exited with status 1");
    let told = world.told();
    assert!(told.contains("task ct:+0:4:a: failed after 5 attempts"), "{told}");
}

#[test]
fn a_run_that_was_tried_before_its_job_was_disabled_has_failed() {
    let mut world = World::new();
    let job = json!({"name": "a", "schedule": "R1//PT24H", "retries": 5});
    world.job(job.clone());
    world.pass(Span::ZERO);
    world.offer(OFFER);
    world.end(TaskState::Failed);
    let mut disabled = job;
    disabled["disabled"] = json!(true);
    world.job(disabled);
    let reason = "Command exited with status 3: not tried again, the job is disabled";
    assert_eq!(world.history("a"), format!("00:00:00 x1 failed {reason}"));
}

#[test]
fn an_attempt_beyond_its_time_is_final_when_the_job_says_so() {
    let mut world = World::new();
    let policy = json!({"delay": 1, "neverOn": ["timeLimit"]});
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "maxCompletionTime": 5, "retryPolicy": policy}));
    world.pass(Span::ZERO);
    world.offer(OFFER);
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    let said = "Command ran longer than its maximum completion time; Command exited with status 143";
    world.update(&task, TaskState::Failed, said);
    assert_eq!(world.history("a"), format!("00:00:00 x1 failed {said}"));
}

#[test]
fn a_run_ends_when_all_its_attempts_have_taken_too_long() {
    let mut world = World::new();
    let policy = json!({"delay": 10});
    world.job(json!({
        "name": "a", "schedule": "R1//PT24H", "retries": 100, "activeDeadlineSeconds": 25, "retryPolicy": policy,
    }));
    world.pass(Span::from_secs(100));
    world.offer(OFFER);
    world.end(TaskState::Failed);
    world.pass(Span::from_secs(10));
    world.offer(OFFER);
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.told();
    world.fail_over();
    world.pass(Span::from_secs(20));
    world.update(&task, TaskState::Killed, "");
    expect![[r#"
        run/a@+0 running took longer than the 25s it may
        kill ct:+0:1:a:
        run/a@+0 failed took longer than the 25s it may
        notify RetriesExhausted a: task ct:+0:1:a: failed after 2 attempts: took longer than the 25s it may"#]]
    .assert_eq(&world.told());
    // The same between two attempts.
    world.job(json!({
        "name": "b", "schedule": "R1//PT24H", "activeDeadlineSeconds": 5, "retryPolicy": policy,
    }));
    world.pass(Span::ZERO);
    world.offer(OFFER);
    world.end(TaskState::Failed);
    world.told();
    world.pass(Span::from_secs(60));
    expect![[r#"
        run/b@+130000 failed took longer than the 5s it may
        notify RetriesExhausted b: task ct:+130000:0:b: failed after 1 attempts: took longer than the 5s it may"#]]
    .assert_eq(&world.told());
    assert!(!world.scheduler.wants_offers());
}

fn suspended(extra: Value) -> (World, String) {
    let mut world = World::new();
    let mut job = json!({"name": "a", "schedule": EVERY_MINUTE});
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    world.job(job);
    world.pass(Span::from_secs(60));
    world.command(Command::Suspend { job: "a".to_owned() }).expect("known");
    assert!(!world.scheduler.wants_offers(), "what waits is not launched");
    world.pass(Span::from_secs(100));
    world.fail_over();
    world.pass(Span::from_secs(100));
    assert!(!world.scheduler.wants_offers(), "nothing comes due");
    let before = world.history("a");
    world.command(Command::Resume { job: "a".to_owned() }).expect("known");
    while world.scheduler.wants_offers() {
        world.serve();
    }
    let text = format!("{before}\n-- resumed\n{}", world.history("a"));
    (world, text)
}

#[test]
fn a_suspended_job_keeps_what_waits_and_makes_up_by_its_policy() {
    expect![[r#"
        00:01:00 x1 waiting
        -- resumed
        00:01:00 x1 succeeded
        00:02:00..00:03:00 x2 skipped missed while the job was suspended: only the latest is made up for
        00:04:00 x1 skipped the run of 2026-01-01T00:01:00.000Z is not over, and runs must not overlap"#]]
    .assert_eq(&suspended(json!({})).1);
    expect![[r#"
        00:01:00 x1 waiting
        -- resumed
        00:01:00 x1 succeeded
        00:02:00 x1 succeeded
        00:03:00 x1 succeeded
        00:04:00 x1 succeeded"#]]
    .assert_eq(&suspended(json!({"catchup": "all"})).1);
    expect![[r#"
        00:01:00 x1 skipped could not begin in time: no offer came
        -- resumed
        00:01:00 x1 skipped could not begin in time: no offer came
        00:02:00..00:04:00 x3 skipped 20s late, at most 10s is tolerated"#]]
    .assert_eq(&suspended(json!({"startingDeadlineSeconds": 10})).1);
}

#[test]
fn suspend_is_a_field_as_well() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": EVERY_MINUTE, "suspend": true}));
    world.pass(Span::from_mins(3));
    assert_eq!(world.history("a"), "");
    world.job(json!({"name": "a", "schedule": EVERY_MINUTE}));
    world.serve();
    expect![[r#"
        00:01:00..00:02:00 x2 skipped missed while the job was suspended: only the latest is made up for
        00:03:00 x1 succeeded"#]]
    .assert_eq(&world.history("a"));
}

#[test]
fn a_job_that_keeps_failing_is_paused_until_somebody_resumes_it() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": EVERY_MINUTE, "retries": 0, "pauseAfterFailures": 2}));
    for _ in 0..2 {
        world.pass(Span::from_secs(60));
        world.offer(OFFER);
        world.end(TaskState::Failed);
    }
    let told = world.told();
    assert!(
        told.ends_with("notify Paused a: 2 runs in a row failed: Command exited with status 3"),
        "{told}"
    );
    world.pass(Span::from_mins(10));
    assert_eq!(world.told(), "");
    world.command(Command::Resume { job: "a".to_owned() }).expect("known");
    world.serve();
    expect![[r#"
        00:01:00 x1 failed Command exited with status 3
        00:02:00 x1 failed Command exited with status 3
        00:03:00..00:11:00 x9 skipped missed while the job was suspended: only the latest is made up for
        00:12:00 x1 succeeded"#]]
    .assert_eq(&world.history("a"));
}

#[test]
fn a_job_that_runs_once_is_deleted_when_its_time_is_over() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "ttlSecondsAfterFinished": 60}));
    world.job(json!({"name": "b", "schedule": "R1//PT24H", "ttlSecondsAfterFinished": 60}));
    world.job(json!({"name": "child", "parents": ["b"]}));
    world.pass(Span::ZERO);
    world.pass(Span::from_mins(5));
    world.offer(OFFER);
    world.end(TaskState::Finished);
    world.end(TaskState::Finished);
    world.pass(Span::from_secs(30));
    world.fail_over();
    world.told();
    world.pass(Span::from_secs(29));
    assert_eq!(world.told(), "");
    world.pass(Span::from_secs(1));
    expect![[r#"
        notify Deleted a: 
        - run/a@+0
        - job/a
        - status/a
        revive"#]]
    .assert_eq(&world.told());
    // A job that others depend on stays.
    world.pass(Span::from_hours(1));
    assert!(world.scheduler.book().job("b").is_some());
}

#[test]
fn history_is_kept_in_number_and_in_time() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": EVERY_MINUTE, "historyLimit": 3, "historySeconds": 150}));
    for _ in 0..5 {
        world.pass(Span::from_secs(60));
        world.serve();
    }
    expect![[r#"
        00:03:00 x1 succeeded
        00:04:00 x1 succeeded
        00:05:00 x1 succeeded"#]]
    .assert_eq(&world.history("a"));
    world.command(Command::Suspend { job: "a".to_owned() }).expect("known");
    world.pass(Span::from_secs(100));
    world.fail_over();
    assert_eq!(world.history("a"), "00:05:00 x1 succeeded");
    world.pass(Span::from_secs(50));
    assert_eq!(world.history("a"), "");
}

#[test]
fn a_repeated_request_makes_one_run() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2027-01-01T00:00:00Z/PT1H", "concurrent": true}));
    let dispatch = |token: &str| Command::Dispatch {
        job: "a".to_owned(),
        arguments: Some("x".to_owned()),
        parameters: BTreeMap::from([("DAY".to_owned(), "monday".to_owned())]),
        token: token.to_owned(),
    };
    let first = world.command(dispatch("t1")).expect("a run");
    world.fail_over();
    world.pass(Span::from_secs(1));
    assert_eq!(world.command(dispatch("t1")).expect("the same"), first);
    let other = world.command(dispatch("t2")).expect("another");
    assert!(matches!(other, Reply::Run(_)) && other != first);
    world.offer(OFFER);
    let day = ("DAY".to_owned(), "monday".to_owned());
    assert_eq!(world.environments.len(), 2);
    assert!(world.environments.iter().all(|environment| environment.contains(&day)));
    assert_eq!(world.history("a"), "00:00:00 x1 launched\n00:00:01 x1 launched");
}

#[test]
fn bad_policies_are_refused_by_name() {
    let mut world = World::new();
    let mut refused = |extra: Value| {
        let mut job = json!({"name": "a", "schedule": EVERY_MINUTE});
        for (field, value) in extra.as_object().expect("fields") {
            job[field] = value.clone();
        }
        world.post(job).expect_err("refused").to_string()
    };
    let refusals = [
        json!({"historyLimit": 0}),
        json!({"historyLimit": 100_000}),
        json!({"historySeconds": 0}),
        json!({"activeDeadlineSeconds": 0}),
        json!({"activeDeadlineSeconds": -1}),
        json!({"pauseAfterFailures": 0}),
        json!({"ttlSecondsAfterFinished": 60}),
        json!({"retryPolicy": {"retryOn": [1], "neverOn": [1]}}),
        json!({"retryPolicy": {"neverOn": ["oops"]}}),
        json!({"suspend": "maybe"}),
    ]
    .map(&mut refused);
    expect![[r#"
        historyLimit must be 1 to 1000
        historyLimit must be 1 to 1000
        historySeconds must be at least 1
        activeDeadlineSeconds must be at least 1
        activeDeadlineSeconds invalid value: integer `-1`, expected u64
        pauseAfterFailures must be at least 1
        ttlSecondsAfterFinished is for jobs whose schedule has a last run
        retryPolicy.retryOn names 1, which neverOn calls final
        retryPolicy.neverOn[0] "oops" must be an exit code, "lost", "timeLimit" or "error"
        suspend invalid type: string "maybe", expected a boolean"#]]
    .assert_eq(&refusals.join("\n"));
}
