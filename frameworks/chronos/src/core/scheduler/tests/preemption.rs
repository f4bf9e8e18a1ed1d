//! Tasks that make room for what is more important.

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::world::World;

fn job(name: &str, extra: Value) -> Value {
    let mut job = json!({"name": name, "schedule": "R1//PT24H", "cpus": 1, "retries": 0});
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    job
}

/// Starts a job on an agent, alone.
fn start(world: &mut World, agent: &str, document: Value) -> String {
    let cpus = document["cpus"].clone();
    world.job(document);
    world.pass(Span::ZERO);
    world.offer_of(agent, &format!("cpus:{cpus};mem:1000;disk:1000"));
    let task = world.tasks.last().cloned().expect("a task");
    world.update(&task, TaskState::Running, "");
    world.told();
    task
}

#[test]
fn a_less_important_run_makes_room_and_waits_again() {
    let mut world = World::new();
    let low = start(&mut world, "S1", job("low", json!({})));
    world.job(job("high", json!({"priority": 10, "preempts": true})));
    world.pass(Span::from_secs(4));
    assert_eq!(world.told(), "run/high@+0 waiting\nrevive");
    world.pass(Span::from_secs(1));
    expect![[r#"
        run/low@+0 running made room for high@+0
        kill ct:+0:0:low:"#]]
    .assert_eq(&world.told());
    // Whoever leads then knows that nobody wanted its end.
    world.fail_over();
    world.update(&low, TaskState::Killed, "");
    world.told();
    world.offer("cpus:1;mem:1000;disk:1000");
    world.end(TaskState::Finished);
    world.offer("cpus:1;mem:1000;disk:1000");
    world.end(TaskState::Finished);
    expect![[r#"
        run/high@+0 launched
        launch ct:+0:0:high:
        run/high@+0 running
        run/high@+0 succeeded
        notify Disabled high: all its repetitions are done
        run/low@+0 launched
        launch ct:+0:1:low:
        run/low@+0 running
        run/low@+0 succeeded
        notify Disabled low: all its repetitions are done"#]]
    .assert_eq(&world.told());
    let run = world.scheduler.book().runs_of("low").next().cloned().expect("a run");
    assert_eq!((run.preemptions, run.failures), (1, 0));
}

/// Who is asked to make room when a job of priority 10 with this need waits.
fn asked(world: &mut World, extra: Value) -> Vec<String> {
    let mut high = job("high", json!({"priority": 10, "preempts": true}));
    for (field, value) in extra.as_object().expect("fields") {
        high[field] = value.clone();
    }
    world.job(high);
    world.pass(Span::from_secs(6));
    let name = |line: &String| Some(line.strip_prefix("kill ct:")?.split(':').nth(2)?.to_owned());
    world.log.iter().filter_map(name).collect()
}

#[test]
fn only_what_may_go_goes() {
    for (low, high, expected) in [
        (json!({}), json!({}), 1),
        (json!({"priority": 9}), json!({}), 1),
        (json!({"priority": 10}), json!({}), 0),
        (json!({"preemptible": false}), json!({}), 0),
        (json!({}), json!({"preempts": false}), 0),
        (json!({}), json!({"cpus": 2}), 0),
        (json!({}), json!({"constraints": [["rack", "EQUALS", "a"]]}), 1),
        (json!({}), json!({"constraints": [["rack", "EQUALS", "b"]]}), 0),
    ] {
        let mut world = World::new();
        start(&mut world, "S1", job("low", low.clone()));
        assert_eq!(asked(&mut world, high.clone()).len(), expected, "{low} {high}");
    }
}

#[test]
fn the_least_important_the_fewest_and_the_youngest_go() {
    let mut world = World::new();
    start(&mut world, "S1", job("middle", json!({"priority": 5, "cpus": 2})));
    start(&mut world, "S2", job("small1", json!({"priority": 1})));
    start(&mut world, "S2", job("small2", json!({"priority": 1})));
    start(&mut world, "S3", job("large", json!({"priority": 1, "cpus": 2})));
    start(&mut world, "S4", job("old", json!({"priority": 1, "cpus": 3})));
    // One of low priority rather than one of middle, or two of low.
    assert_eq!(asked(&mut world, json!({"cpus": 2})), ["large"]);
    // While it ends, nobody else is asked.
    world.told();
    world.pass(Span::from_secs(40));
    let again: Vec<&String> = world.log.iter().filter(|line| line.starts_with("kill")).collect();
    assert!(again.iter().all(|line| line.ends_with(":large:")), "{again:?}");

    let mut world = World::new();
    start(&mut world, "S1", job("old", json!({})));
    world.pass(Span::from_secs(10));
    start(&mut world, "S1", job("young", json!({})));
    start(&mut world, "S1", job("tiny", json!({"cpus": 0.1})));
    assert_eq!(asked(&mut world, json!({})), ["young"]);
}

#[test]
fn an_index_of_an_array_makes_room_and_comes_back() {
    let mut world = World::new();
    world.job(job("low", json!({"completions": 3})));
    world.pass(Span::ZERO);
    world.offer("cpus:3;mem:1000;disk:1000");
    for task in world.tasks.clone() {
        world.update(&task, TaskState::Running, "");
    }
    assert_eq!(asked(&mut world, json!({})), ["low"]);
    let task =
        world.log.iter().find_map(|line| line.strip_prefix("kill ").map(str::to_owned)).expect("a kill");
    world.update(&task, TaskState::Killed, "");
    while world.scheduler.wants_offers() || !world.tasks.is_empty() {
        if world.scheduler.wants_offers() {
            world.offer("cpus:1;mem:1000;disk:1000");
        }
        world.end(TaskState::Finished);
    }
    assert_eq!(world.history("low"), "00:00:00 x1 succeeded");
    assert_eq!(world.history("high"), "00:00:00 x1 succeeded");
}

#[test]
fn what_makes_room_still_obeys_a_kill_and_its_time_limit() {
    let mut world = World::new();
    let low = start(&mut world, "S1", job("low", json!({"activeDeadlineSeconds": 8})));
    assert_eq!(asked(&mut world, json!({})), ["low"]);
    world.pass(Span::from_secs(3));
    world.update(&low, TaskState::Killed, "");
    world.pass(Span::ZERO);
    assert_eq!(world.history("low"), "00:00:00 x1 failed took longer than the 8s it may");
}

/// Each half that is freed would do for the run that was ended there.
#[test]
fn room_that_comes_back_piece_by_piece_is_kept_for_whom_it_was_made() {
    let mut world = World::new();
    let half = || json!({"cpus": 0.5});
    let first = start(&mut world, "S1", job("low1", half()));
    let second = start(&mut world, "S1", job("low2", half()));
    let mut ended = asked(&mut world, json!({}));
    ended.sort();
    assert_eq!(ended, ["low1", "low2"]);
    world.told();
    for task in [&first, &second] {
        world.update(task, TaskState::Killed, "");
        world.told();
        world.offer_of("S1", "cpus:0.5;mem:1000;disk:1000");
        assert_eq!(world.told(), "", "half of it is for nobody else");
    }
    world.offer_of("S2", "cpus:0.5;mem:1000;disk:1000");
    assert!(world.told().contains("launch ct:+0:1:low"), "another agent's room is anybody's");
    world.offer_of("S1", "cpus:1;mem:1000;disk:1000");
    assert!(world.told().contains("launch ct:+0:0:high:"));
    world.end(TaskState::Finished);
    world.told();
    world.offer_of("S1", "cpus:0.5;mem:1000;disk:1000");
    assert!(world.told().contains("launch ct:+0:1:low"), "what it has left is anybody's");
}
