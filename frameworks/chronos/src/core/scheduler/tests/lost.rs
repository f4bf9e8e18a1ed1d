//! Agents that are lost in mid-run: how long they are waited for, and what becomes of tasks that return.

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::super::super::message::{Command, Orphans};
use super::super::super::run::{Run, RunId, State};
use super::world::{START, World};

const OFFER: &str = "cpus:1;mem:1000;disk:1000";

/// A job with one run whose agent cannot be reached any more; the run's task.
fn unreachable(extra: Value) -> (World, String) {
    let mut job = json!({
        "name": "a", "schedule": "R1//PT24H", "retries": 1, "retryPolicy": {"delay": 10},
        "unreachable": {"lostAfterSeconds": 90},
    });
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    let mut world = World::new();
    world.job(job);
    world.pass(Span::ZERO);
    world.offer(OFFER);
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.update(&task, TaskState::Unreachable, "");
    world.told();
    (world, task)
}

fn run_of(world: &World, job: &str) -> Run {
    let run = world.scheduler.book().runs_of(job).next().expect("a run");
    (**run).clone()
}

#[test]
fn an_attempt_is_lost_after_a_while_and_the_retry_policy_decides() {
    let (mut world, first) = unreachable(json!({}));
    world.pass(Span::from_secs(60));
    // Another leader goes on waiting, and hears once more what it knows.
    world.fail_over();
    world.update(&first, TaskState::Unreachable, "");
    world.pass(Span::from_secs(29));
    assert_eq!(world.told(), "");
    world.pass(Span::from_secs(1));
    world.pass(Span::from_secs(10));
    world.offer(OFFER);
    let second = world.tasks[1].clone();
    world.update(&second, TaskState::Running, "");
    // The next leader asks about both.
    world.fail_over();
    let asked: Vec<String> = world.scheduler.tasks().into_iter().map(|(task, _)| task.to_string()).collect();
    assert_eq!(asked, [second.clone(), first.clone()]);
    world.update(&first, TaskState::Running, "");
    world.update(&first, TaskState::Killed, "Command exited with status 143");
    assert_eq!(world.scheduler.tasks().len(), 1);
    world.update(&second, TaskState::Unreachable, "");
    world.pass(Span::from_secs(90));
    expect![[r#"
        run/a@+0 waiting lost: its agent could not be reached for 90s
        revive
        run/a@+0 launched
        launch ct:+0:1:a:
        run/a@+0 running
        kill ct:+0:0:a:
        run/a@+0 running
        run/a@+0 unreachable its agent cannot be reached
        run/a@+0 failed lost: its agent could not be reached for 90s
        notify RetriesExhausted a: task ct:+0:1:a: failed after 2 attempts: lost: its agent could not be reached for 90s"#]].assert_eq(&world.told());
    let run = run_of(&world, "a");
    expect![[r#"
        [
          {
            "taskId": "ct:1767225600000:0:a:",
            "agentId": "S1",
            "exitCode": 143,
            "reason": "lost: its agent could not be reached for 90s",
            "lost": {
              "counted": true,
              "ended": "TASK_KILLED"
            }
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&run.earlier).expect("JSON"));
    // Nobody changes what the run came to.
    world.update(&second, TaskState::Running, "");
    world.update(&second, TaskState::Finished, "");
    expect![[r#"
        kill ct:+0:1:a:
        run/a@+0 failed lost: its agent could not be reached for 90s"#]]
    .assert_eq(&world.told());
    assert_eq!(world.scheduler.book().missing.len(), 0);
    assert_eq!(world.scheduler.book().job("a").map(|job| job.status.success_count), Some(0));
}

#[test]
fn a_task_that_returns_before_another_has_begun_is_the_run_again() {
    for finished in [false, true] {
        let (mut world, task) = unreachable(json!({}));
        world.pass(Span::from_secs(95));
        assert!(world.told().contains("waiting lost: its agent could not be reached for"));
        if !finished {
            world.update(&task, TaskState::Running, "");
            assert_eq!(world.history("a"), "00:00:00 x1 running");
            assert!(!world.scheduler.wants_offers());
            world.pass(Span::from_secs(100));
        }
        world.update(&task, TaskState::Finished, "");
        assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
        world.pass(Span::from_secs(100));
        assert!(!world.scheduler.wants_offers(), "{}", world.told());
        let run = run_of(&world, "a");
        assert_eq!((run.attempt, run.failures, run.missing().count()), (0, 0, 0));
    }
}

#[test]
fn who_wants_to_wait_waits_until_somebody_says_otherwise() {
    let (mut world, _) = unreachable(json!({"unreachable": "wait"}));
    world.pass(Span::from_days(30));
    assert_eq!(world.told(), "");
    assert_eq!(world.history("a"), "00:00:00 x1 unreachable its agent cannot be reached");
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "retries": 0}));
    world.pass(Span::ZERO);
    assert_eq!(
        world.history("a"),
        "00:00:00 x1 failed lost: its agent could not be reached for 2592000s\n00:00:00 x1 waiting"
    );
}

#[test]
fn without_a_word_an_agent_is_waited_for_as_long_as_is_documented() {
    let (mut world, _) = unreachable(json!({"unreachable": null}));
    world.pass(Span::from_secs(299));
    assert_eq!(world.told(), "");
    world.pass(Span::from_secs(1));
    expect!["run/a@+0 waiting lost: its agent could not be reached for 300s"].assert_eq(&world.told());
}

#[test]
fn what_returns_stands_aside_for_a_run_that_began_meanwhile() {
    let (mut world, lost) = unreachable(json!({"schedule": "R2//PT95S", "concurrencyPolicy": "Forbid"}));
    world.pass(Span::from_secs(95));
    world.offer(OFFER);
    let next = world.tasks[1].clone();
    world.update(&next, TaskState::Running, "");
    world.told();
    world.update(&lost, TaskState::Running, "");
    world.update(&lost, TaskState::Killed, "");
    world.pass(Span::from_secs(10));
    // It is repeated when the other is over.
    world.offer(OFFER);
    world.update(&next, TaskState::Finished, "");
    world.offer(OFFER);
    expect![[r#"
        kill ct:+0:0:a:
        run/a@+0 waiting lost: its agent could not be reached for 90s
        revive
        run/a@+95000 succeeded
        revive
        run/a@+0 launched
        launch ct:+0:1:a:"#]]
    .assert_eq(&world.told());
}

#[test]
fn what_was_killed_or_deleted_does_not_wait_for_its_agent_for_ever() {
    let (mut world, task) = unreachable(json!({}));
    world.command(Command::KillTasks { job: "a".to_owned() }).expect("known");
    world.pass(Span::from_secs(90));
    assert_eq!(world.history("a"), "00:00:00 x1 killed killed by request");
    world.told();
    world.update(&task, TaskState::Running, "");
    assert_eq!(world.told(), "kill ct:+0:0:a:");

    let (mut world, task) = unreachable(json!({}));
    world.command(Command::Delete { job: "a".to_owned(), orphans: Orphans::Schedule }).expect("known");
    world.fail_over();
    world.pass(Span::from_mins(6));
    assert!(world.store.is_empty(), "{:?}", world.store);
    world.told();
    world.update(&task, TaskState::Running, "");
    assert_eq!(world.told(), "kill ct:+0:0:a:");
}

#[test]
fn a_run_of_a_deleted_job_does_not_wait_for_its_agent_at_all() {
    let (mut world, task) = unreachable(json!({}));
    world.update(&task, TaskState::Running, "");
    world.command(Command::Delete { job: "a".to_owned(), orphans: Orphans::Schedule }).expect("known");
    assert!(!world.store.is_empty(), "the task is being killed");
    world.update(&task, TaskState::Unreachable, "");
    assert!(world.store.is_empty(), "{:?}", world.store);
    world.told();
    world.update(&task, TaskState::Running, "");
    assert_eq!(world.told(), "kill ct:+0:0:a:");
}

#[test]
fn a_part_of_a_run_is_lost_alone() {
    let mut world = World::new();
    let job = json!({
        "name": "a", "schedule": "R1//PT24H", "completions": 2, "retryPolicy": {"delay": 10},
        "unreachable": {"lostAfterSeconds": 90},
    });
    world.job(job);
    world.pass(Span::ZERO);
    world.offer(OFFER);
    let tasks = world.tasks.clone();
    world.update(&tasks[0], TaskState::Running, "");
    world.update(&tasks[1], TaskState::Running, "");
    world.update(&tasks[0], TaskState::Unreachable, "");
    world.update(&tasks[1], TaskState::Finished, "");
    world.told();
    world.pass(Span::from_secs(100));
    world.offer(OFFER);
    world.update(&tasks[0], TaskState::Running, "");
    world.update(&tasks[0], TaskState::Killed, "");
    let again = world.tasks.last().cloned().expect("a task");
    world.update(&again, TaskState::Finished, "");
    expect![[r#"
        run/a@+0.0 waiting lost: its agent could not be reached for 90s
        revive
        run/a@+0.0 launched
        launch ct:+0:1.0:a:
        kill ct:+0:0.0:a:
        run/a@+0.0 launched
        run/a@+0 running
        - run/a@+0.0
        run/a@+0 succeeded
        notify Disabled a: all its repetitions are done"#]]
    .assert_eq(&world.told());
}

#[test]
fn a_task_without_a_record_is_killed_unless_its_record_cannot_be_read() {
    let mut world = World::new();
    let task = format!("ct:{}:0:gone:", START.as_millis());
    world.update(&task, TaskState::Running, "");
    assert_eq!(world.told(), "kill ct:+0:0:gone:");
    let id = RunId::new("gone", START);
    world.store.insert(format!("run/{id}"), json!({"of": "another version"}));
    world.fail_over();
    world.told();
    world.update(&task, TaskState::Running, "");
    assert_eq!(world.told(), "");
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let mut world = World::new();
    for word in [json!("soon"), json!({"lostAfterSeconds": -1}), json!({"after": 1}), json!(90)] {
        let job = json!({"name": "a", "schedule": "R1//PT24H", "unreachable": word});
        let refusal = world.post(job).expect_err("refused").to_string();
        assert_eq!(refusal, "unreachable must be {\"lostAfterSeconds\": 0 to 2592000} or \"wait\"");
    }
}

#[test]
fn what_a_leader_with_a_clock_ahead_has_put_off_is_not_waited_for_by_the_next() {
    let (mut world, _) = unreachable(json!({}));
    world.now = START - Span::from_hours(1);
    world.fail_over();
    world.pass(Span::from_secs(90));
    assert_eq!(run_of(&world, "a").state, State::Waiting, "lost ninety seconds after the next leader came");
    world.now = START - Span::from_hours(2);
    world.fail_over();
    world.pass(Span::from_secs(10));
    world.offer(OFFER);
    assert_eq!(world.tasks.len(), 2, "tried again ten seconds after the next leader came");
}
