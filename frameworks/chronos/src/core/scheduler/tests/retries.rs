//! Runs that are tried once more by hand.

use std::collections::BTreeSet;

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::super::super::message::{Command, Effect, Reply};
use super::super::super::run::RunId;
use super::world::{START, World};

const OFFER: &str = "cpus:1;mem:1000;disk:1000";

fn world(extra: Value) -> World {
    let mut world = World::new();
    let mut job =
        json!({"name": "a", "schedule": "R2/2026-01-01T00:00:00Z/PT1H", "retries": 0, "mem": 1, "disk": 1});
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    world.job(job);
    world.pass(Span::ZERO);
    world
}

fn retry(world: &mut World, id: &RunId) -> String {
    match world.command(Command::RetryRun { run: id.clone() }) {
        Ok(Reply::Run(run)) => format!("{run} waits"),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn a_failed_run_is_tried_again_and_takes_no_recurrence() {
    let mut world = world(json!({"retries": 1, "retryPolicy": {"delay": 10}}));
    let id = RunId::new("a", START);
    world.offer(OFFER);
    world.end(TaskState::Failed);
    world.pass(Span::from_secs(10));
    world.offer(OFFER);
    world.end(TaskState::Failed);
    world.told();
    retry(&mut world, &id);
    // Stored is stored: the next leader goes on, with all retries of the run.
    world.fail_over();
    world.offer(OFFER);
    world.end(TaskState::Failed);
    world.pass(Span::from_secs(10));
    world.serve();
    expect![[r#"
        run/a@+0 waiting tried once more by request; before: Command exited with status 3
        revive
        run/a@+0 launched
        launch ct:+0:2:a:
        run/a@+0 running
        run/a@+0 waiting Command exited with status 3
        revive
        run/a@+0 launched
        launch ct:+0:3:a:
        run/a@+0 running
        run/a@+0 succeeded"#]]
    .assert_eq(&world.told());
    let job = world.scheduler.book().job("a").expect("a job").clone();
    assert_eq!((job.status.success_count, job.status.error_count), (1, 1));
    assert_eq!(job.shown_schedule().as_deref(), Some("R1/2026-01-01T01:00:00.000Z/PT1H"));
    world.pass(Span::from_hours(1));
    world.serve();
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded\n01:00:00 x1 succeeded");
}

#[test]
fn only_what_did_not_succeed_is_tried_again() {
    let mut world = world(json!({"completions": 4, "maxFailedIndexes": 0, "parallelism": 4, "cpus": 0.1}));
    let id = RunId::new("a", START);
    world.offer(OFFER);
    world.end(TaskState::Finished);
    world.end(TaskState::Failed);
    for task in world.tasks.clone() {
        world.update(&task, TaskState::Killed, "");
    }
    assert_eq!(world.history("a"), "00:00:00 x1 failed index 1 failed: Command exited with status 3");
    world.told();
    assert_eq!(retry(&mut world, &id), format!("{id} waits"));
    world.fail_over();
    world.offer(OFFER);
    let tasks: BTreeSet<String> = world.tasks.iter().cloned().collect();
    let names = ["1", "2", "3"].map(|index| format!("ct:{}:1.{index}:a:", START.as_millis()));
    assert_eq!(tasks, BTreeSet::from(names), "new tasks have new names");
    while !world.tasks.is_empty() {
        world.end(TaskState::Finished);
    }
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
    assert!(!world.store.keys().any(|key| key.contains('.')), "{:?}", world.store.keys());
}

#[test]
fn steps_that_were_skipped_have_their_turn() {
    let steps = json!([
        {"name": "extract", "command": "x"},
        {"name": "load", "command": "x", "needs": ["extract"]},
        {"name": "report", "command": "x", "needs": ["load"]},
    ]);
    let mut world = world(json!({"steps": steps, "cpus": 0.1}));
    world.offer(OFFER);
    world.end(TaskState::Finished);
    world.offer(OFFER);
    world.end(TaskState::Failed);
    assert!(world.history("a").contains("failed step load failed"), "{}", world.history("a"));
    world.told();
    retry(&mut world, &RunId::new("a", START));
    for _ in 0..2 {
        world.serve();
    }
    let launches: Vec<String> =
        world.told().lines().filter(|line| line.starts_with("launch")).map(str::to_owned).collect();
    assert_eq!(launches, ["launch ct:+0:1.1:a:", "launch ct:+0:1.2:a:"]);
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
}

#[test]
fn a_retry_that_is_stored_in_part_is_none_or_whole() {
    for cut in 0.. {
        let mut world = world(json!({"completions": 3, "parallelism": 3, "cpus": 0.1}));
        let id = RunId::new("a", START);
        world.offer(OFFER);
        world.command(Command::KillRun { run: id.clone() }).expect("known");
        for task in world.tasks.clone() {
            world.update(&task, TaskState::Killed, "");
        }
        let mut out = Vec::new();
        world.scheduler.command(world.now, Command::RetryRun { run: id.clone() }, &mut out).expect("killed");
        let writes: Vec<Effect> = out
            .into_iter()
            .filter(|effect| matches!(effect, Effect::Put { .. } | Effect::Remove { .. }))
            .collect();
        let whole = cut >= writes.len();
        for write in writes.into_iter().take(cut) {
            match write {
                Effect::Put { key, value } => drop(world.store.insert(key, value)),
                Effect::Remove { key } => drop(world.store.remove(&key)),
                _ => {}
            }
        }
        world.fail_over();
        assert_eq!(world.scheduler.wants_offers(), whole, "{cut}");
        if whole {
            world.offer(OFFER);
            assert_eq!(world.tasks.len(), 3);
            break;
        }
        assert_eq!(world.history("a"), "00:00:00 x1 killed killed by request", "{cut}");
        assert_eq!(retry(&mut world, &id), format!("{id} waits"), "{cut}");
    }
}

#[test]
fn what_has_nothing_to_repeat_is_refused() {
    let mut world = world(json!({"concurrencyPolicy": "Forbid"}));
    let id = RunId::new("a", START);
    let mut lines = vec![retry(&mut world, &id), retry(&mut world, &RunId::new("b", START))];
    world.offer(OFFER);
    lines.push(retry(&mut world, &id));
    world.pass(Span::from_hours(1));
    lines.push(retry(&mut world, &RunId::new("a", START + Span::from_hours(1))));
    world.end(TaskState::Failed);
    world.job(json!({"name": "a", "schedule": "R2/2026-01-01T00:00:00Z/PT1H", "completions": 2}));
    lines.push(retry(&mut world, &id));
    world.job(json!({"name": "a", "schedule": "R2/2026-01-01T00:00:00Z/PT1H", "disabled": true}));
    lines.push(retry(&mut world, &id));
    expect![[r#"
        run 'a@1767225600000' must have failed or been killed, is waiting
        run 'b@1767225600000' does not exist
        run 'a@1767225600000' must have failed or been killed, is launched
        run 'a@1767229200000' must have failed or been killed, is skipped
        run 'a@1767225600000' has other parts than its job has now: trigger the job instead
        run 'a@1767225600000' is of a job that is disabled"#]]
    .assert_eq(&lines.join("\n"));
}
