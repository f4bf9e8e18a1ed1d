//! Runs of many equal tasks.

use std::collections::BTreeSet;

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::super::super::message::{Command, Effect, Input};
use super::super::super::run::RunId;
use super::world::World;

const OFFER: &str = "cpus:1;mem:1000;disk:1000";

fn array(extra: Value) -> World {
    let mut world = World::new();
    let mut job =
        json!({"name": "a", "schedule": "R1//PT24H", "completions": 4, "parallelism": 2, "retries": 0});
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    world.job(job);
    world.pass(Span::ZERO);
    world
}

/// Offers until nothing is wanted; the oldest task ends well.
fn drain(world: &mut World) {
    while world.scheduler.wants_offers() || !world.tasks.is_empty() {
        if world.scheduler.wants_offers() {
            world.offer(OFFER);
        }
        world.end(TaskState::Finished);
    }
}

#[test]
fn each_index_runs_once_and_so_many_at_a_time() {
    let mut world = array(json!({}));
    world.offer(OFFER);
    world.end(TaskState::Finished);
    world.offer(OFFER);
    expect![[r#"
        run/a@+0 waiting
        revive
        run/a@+0.0 launched
        run/a@+0.1 launched
        run/a@+0 launched
        launch ct:+0:0.0:a:
        launch ct:+0:0.1:a:
        run/a@+0.0 running
        run/a@+0 running
        - run/a@+0.0
        run/a@+0.2 launched
        run/a@+0 running
        launch ct:+0:0.2:a:"#]]
    .assert_eq(&world.told());
    let index = |environment: &Vec<(String, String)>| {
        let named = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        (named("CHRONOS_ARRAY_INDEX").unwrap_or_default(), named("CHRONOS_ARRAY_SIZE").unwrap_or_default())
    };
    let told: Vec<String> =
        world.environments.iter().map(index).map(|(index, size)| format!("{index}/{size}")).collect();
    assert_eq!(told, ["0/4", "1/4", "2/4"]);
    world.fail_over();
    drain(&mut world);
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
    let status = &world.scheduler.book().job("a").expect("a job").status;
    assert_eq!((status.success_count, status.error_count), (1, 0));
    assert!(world.scheduler.book().parts.is_empty());
    assert!(!world.store.keys().any(|key| key.contains('.')), "{:?}", world.store.keys());
}

#[test]
fn an_index_that_fails_for_good_ends_the_others() {
    let mut world = array(json!({"parallelism": 3}));
    world.offer(OFFER);
    world.told();
    world.end(TaskState::Failed);
    let tasks = world.tasks.clone();
    for task in tasks {
        world.update(&task, TaskState::Killed, "");
    }
    let lines = world.told();
    expect![[r#"
        run/a@+0.0 running
        run/a@+0 running
        run/a@+0 running index 0 failed: Command exited with status 3
        run/a@+0.0 failed Command exited with status 3
        run/a@+0 running index 0 failed: Command exited with status 3
        run/a@+0.1 launched index 0 failed: Command exited with status 3
        kill ct:+0:0.1:a:
        run/a@+0.2 launched index 0 failed: Command exited with status 3
        kill ct:+0:0.2:a:
        run/a@+0 running index 0 failed: Command exited with status 3
        run/a@+0.1 killed index 0 failed: Command exited with status 3
        run/a@+0 running index 0 failed: Command exited with status 3
        run/a@+0.2 killed index 0 failed: Command exited with status 3
        run/a@+0 failed index 0 failed: Command exited with status 3
        notify RetriesExhausted a: run a@+0 failed: index 0 failed: Command exited with status 3"#]]
    .assert_eq(&lines);
    let run = world.scheduler.book().runs_of("a").next().cloned().expect("a run");
    assert_eq!(run.exit_code, Some(3));
}

#[test]
fn some_may_fail_and_failed_indexes_stay_to_be_seen() {
    let mut world = array(json!({"maxFailedIndexes": 1}));
    world.offer(OFFER);
    world.end(TaskState::Failed);
    drain(&mut world);
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
    let book = world.scheduler.book();
    let run = book.runs_of("a").next().cloned().expect("a run");
    let parts = run.parts.clone().expect("parts");
    assert_eq!((parts.succeeded.to_string(), parts.failed.to_string()), ("1-3".to_owned(), "0".to_owned()));
    let failed = book.run(&run.id().part(0)).expect("kept");
    assert_eq!((failed.exit_code, failed.state.name()), (Some(3), "failed"));
    assert_eq!(RunId::parse(&failed.id().to_string()), Some(failed.id()));
}

#[test]
fn an_index_is_repeated_by_the_policy_while_others_go_on() {
    let mut world = array(json!({"retries": 1, "retryPolicy": {"delay": 10}}));
    world.offer(OFFER);
    world.end(TaskState::Failed);
    // Two at a time: the one that waits for its repetition is one of them.
    assert!(!world.scheduler.wants_offers());
    world.fail_over();
    world.pass(Span::from_secs(10));
    world.told();
    world.offer(OFFER);
    expect![[r#"
        run/a@+0.0 launched
        launch ct:+0:1.0:a:"#]]
    .assert_eq(&world.told());
    drain(&mut world);
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
}

#[test]
fn a_kill_a_time_limit_and_a_deletion_end_all_of_it() {
    for what in ["kill", "limit", "delete"] {
        let mut world = array(json!({"activeDeadlineSeconds": 60}));
        world.offer(OFFER);
        let tasks = world.tasks.clone();
        for task in &tasks {
            world.update(task, TaskState::Running, "");
        }
        world.told();
        match what {
            "kill" => drop(world.command(Command::KillTasks { job: "a".to_owned() })),
            "delete" => {
                let command = Command::Delete { job: "a".to_owned(), orphans: Default::default() };
                world.command(command).expect("known");
            }
            _ => world.pass(Span::from_secs(60)),
        }
        world.fail_over();
        assert_eq!(world.log.iter().filter(|line| line.starts_with("kill ct:")).count(), 4, "{what}");
        for task in &tasks {
            world.update(task, TaskState::Killed, "");
        }
        let runs = world.store.keys().filter(|key| key.starts_with("run/")).count();
        match what {
            "kill" => assert_eq!(world.history("a"), "00:00:00 x1 killed killed by request"),
            "limit" => assert_eq!(world.history("a"), "00:00:00 x1 failed took longer than the 60s it may"),
            _ => assert_eq!(runs, 0, "{:?}", world.store.keys()),
        }
        assert!(!world.scheduler.wants_offers());
    }
}

#[test]
fn a_suspended_array_goes_on_where_it_was() {
    let mut world = array(json!({}));
    world.offer(OFFER);
    world.command(Command::Suspend { job: "a".to_owned() }).expect("known");
    world.end(TaskState::Finished);
    assert!(!world.scheduler.wants_offers());
    world.fail_over();
    world.pass(Span::from_hours(1));
    assert!(!world.scheduler.wants_offers());
    world.command(Command::Resume { job: "a".to_owned() }).expect("known");
    drain(&mut world);
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
}

/// Stores the first so many writes of an answer and does nothing else of it. Whether there were more.
fn tear(world: &mut World, out: Vec<Effect>, cut: usize) -> bool {
    let mut left = cut;
    for effect in out {
        match effect {
            Effect::Put { .. } | Effect::Remove { .. } if left == 0 => return true,
            Effect::Put { key, value } => drop(world.store.insert(key, value)),
            Effect::Remove { key } => drop(world.store.remove(&key)),
            _ => continue,
        }
        left -= 1;
    }
    false
}

/// The next leader takes over; of what it asks about, the cluster knows what runs.
fn take_over(world: &mut World) {
    world.fail_over();
    for (task, _) in world.scheduler.tasks() {
        if !world.tasks.iter().any(|running| running == task.as_str()) {
            world.update(task.as_str(), TaskState::Unknown, "Reconciliation: Task is unknown");
        }
    }
    world.pass(Span::from_secs(1));
}

#[test]
fn a_launch_that_is_stored_in_part_begins_each_index_once() {
    for cut in 0.. {
        let mut world = array(json!({"completions": 5, "parallelism": null}));
        let offer = world.next_offer(OFFER);
        let mut out = Vec::new();
        world.scheduler.handle(world.now, Input::Offers(vec![offer]), &mut out);
        let more = tear(&mut world, out, cut);
        world.log.clear();
        take_over(&mut world);
        drain(&mut world);
        assert_eq!(world.history("a"), "00:00:00 x1 succeeded", "{cut}");
        let begun: Vec<&String> = world.log.iter().filter(|line| line.starts_with("launch")).collect();
        assert_eq!(begun.len(), 5, "{cut}: {begun:?}");
        if !more {
            break;
        }
    }
}

#[test]
fn a_kill_that_is_stored_in_part_is_a_kill_of_all() {
    for cut in 1.. {
        let mut world = array(json!({"completions": 5, "parallelism": 3}));
        world.offer(OFFER);
        let mut out = Vec::new();
        let kill = Command::KillTasks { job: "a".to_owned() };
        world.scheduler.command(world.now, kill, &mut out).expect("known");
        let more = tear(&mut world, out, cut);
        world.log.clear();
        take_over(&mut world);
        let asked: BTreeSet<String> =
            world.log.iter().filter_map(|line| line.strip_prefix("kill ").map(str::to_owned)).collect();
        assert_eq!(asked.len(), 3, "{cut}: {asked:?}");
        for task in asked {
            world.update(&task, TaskState::Killed, "");
        }
        assert_eq!(world.history("a"), "00:00:00 x1 killed killed by request", "{cut}");
        assert!(!world.scheduler.wants_offers() && world.scheduler.book().active.is_empty());
        if !more {
            break;
        }
    }
}

#[test]
fn ten_thousand_tasks_are_drained_with_few_writes_each() {
    let mut world = array(json!({"completions": 10_000, "parallelism": null}));
    let mut writes = 0;
    while world.scheduler.wants_offers() {
        world.offer("cpus:50;mem:500000;disk:500000");
        for task in world.tasks.clone() {
            world.update(&task, TaskState::Finished, "");
        }
        writes += world.log.iter().filter(|line| line.contains("run/")).count();
        world.log.clear();
    }
    assert_eq!(world.history("a"), "00:00:00 x1 succeeded");
    assert!(writes < 32_000, "{writes} writes");
}

#[test]
fn bad_arrays_are_refused_by_name() {
    let mut world = World::new();
    let mut refused = |extra: Value| {
        let mut job = json!({"name": "a", "schedule": "R1//PT24H"});
        for (field, value) in extra.as_object().expect("fields") {
            job[field] = value.clone();
        }
        world.post(job).expect_err("refused").to_string()
    };
    let refusals = [
        json!({"completions": 0}),
        json!({"count": 1_000_000}),
        json!({"completions": 2, "steps": [{"name": "s", "command": "x"}]}),
        json!({"completions": 2, "parallelism": 0}),
        json!({"parallelism": 2}),
        json!({"maxFailedIndexes": 2}),
    ]
    .map(&mut refused);
    expect![[r#"
        completions must be 1 to 100000
        completions must be 1 to 100000
        completions and steps exclude each other
        parallelism must be at least 1
        parallelism is for jobs with completions or steps
        maxFailedIndexes is for jobs with completions"#]]
    .assert_eq(&refusals.join("\n"));
}
