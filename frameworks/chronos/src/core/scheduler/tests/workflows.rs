//! Runs of several steps that wait for each other.

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::super::super::message::Command;
use super::world::World;

const OFFER: &str = "cpus:4;mem:4000;disk:4000";

fn nightly() -> Value {
    json!({
        "name": "nightly", "schedule": "R/2026-01-01T01:00:00Z/PT24H", "retries": 0, "cpus": 0.5,
        "environmentVariables": [{"name": "DAY", "value": "today"}, {"name": "WHERE", "value": "here"}],
        "steps": [
            {"name": "extract", "command": "e"},
            {"name": "load", "command": "l", "needs": ["extract"], "cpus": 2},
            {"name": "check", "command": "c", "needs": ["extract"], "softError": true},
            {"name": "alarm", "command": "a", "needs": {"load": "failure"}},
            {"name": "report", "command": "r", "needs": ["load", "check"],
             "environmentVariables": [{"name": "WHERE", "value": "there"}]},
            {"name": "clean", "command": "x", "needs": {"report": "completion"}},
        ],
    })
}

/// The names of the steps that were launched since the last look.
fn launched(world: &mut World) -> String {
    world.offer(OFFER);
    let text = |line: &String| Some(line.strip_prefix("launch ct:")?.split(['.', ':']).nth(2)?.to_owned());
    let names = ["extract", "load", "check", "alarm", "report", "clean"];
    let step = |part: String| Some(names[part.parse::<usize>().ok()?]);
    let launched: Vec<&str> = world.log.iter().filter_map(text).filter_map(step).collect();
    world.log.clear();
    launched.join(" ")
}

fn begun() -> World {
    let mut world = World::new();
    world.job(nightly());
    world.pass(Span::from_hours(1));
    world
}

/// State of the run, then of its steps, as they are on record.
fn states(world: &World) -> String {
    let book = world.scheduler.book();
    let run = book.runs_of("nightly").next().expect("a run");
    let parts = run.parts.as_ref().expect("parts");
    format!(
        "{} {}: ok {}, failed {}, skipped {}",
        run.state.name(),
        run.reason,
        parts.succeeded,
        parts.failed,
        parts.skipped
    )
}

#[test]
fn steps_begin_when_what_they_need_has_ended_so() {
    let mut world = begun();
    assert_eq!(launched(&mut world), "extract");
    world.end(TaskState::Finished);
    world.fail_over();
    assert_eq!(launched(&mut world), "load check");
    // What may fail counts as a success.
    world.end(TaskState::Finished);
    world.end(TaskState::Failed);
    assert_eq!(launched(&mut world), "report");
    let environment = world.environments.last().cloned().expect("a launch");
    let value = |name: &str| {
        environment.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        (value("DAY"), value("WHERE"), value("CHRONOS_STEP")),
        (vec!["today"], vec!["there"], vec!["report"])
    );
    world.end(TaskState::Finished);
    assert_eq!(launched(&mut world), "clean");
    world.end(TaskState::Finished);
    assert_eq!(states(&world), "succeeded : ok 0-2,4-5, failed , skipped 3");
    let status = &world.scheduler.book().job("nightly").expect("a job").status;
    assert_eq!((status.success_count, status.error_count), (1, 0));
}

#[test]
fn a_failed_step_takes_the_other_way_and_fails_the_run() {
    let mut world = begun();
    launched(&mut world);
    world.end(TaskState::Finished);
    assert_eq!(launched(&mut world), "load check");
    world.end(TaskState::Failed);
    assert_eq!(launched(&mut world), "alarm clean");
    for _ in 0..3 {
        world.end(TaskState::Finished);
    }
    let said = "failed step load failed: Command exited with status 3: ok 0,2-3,5, failed 1, skipped 4";
    assert_eq!(states(&world), said);
    // Each step stays to be seen, until its run goes.
    assert_eq!(world.scheduler.book().parts.len(), 5);
    world.command(Command::Delete { job: "nightly".to_owned(), orphans: Default::default() }).expect("known");
    assert!(world.scheduler.book().parts.is_empty());
    assert!(world.store.is_empty(), "{:?}", world.store.keys());
}

#[test]
fn what_can_begin_no_more_is_skipped_all_the_way_down() {
    let mut world = begun();
    launched(&mut world);
    world.end(TaskState::Failed);
    assert_eq!(launched(&mut world), "clean");
    world.end(TaskState::Finished);
    let said = "failed step extract failed: Command exited with status 3: ok 5, failed 0, skipped 1-4";
    assert_eq!(states(&world), said);
}

#[test]
fn a_kill_ends_the_run_with_what_goes_on_of_it() {
    let mut world = begun();
    launched(&mut world);
    world.end(TaskState::Finished);
    launched(&mut world);
    world.command(Command::KillTasks { job: "nightly".to_owned() }).expect("known");
    for task in world.tasks.clone() {
        world.update(&task, TaskState::Killed, "");
    }
    assert_eq!(states(&world), "killed killed by request: ok 0, failed 1-2, skipped 3-5");
    assert!(!world.scheduler.wants_offers());
}

#[test]
fn steps_stay_as_they_are_while_a_run_of_them_goes_on() {
    let mut world = begun();
    launched(&mut world);
    let mut changed = nightly();
    changed["steps"][0]["command"] = json!("other");
    let refusal = world.post(changed.clone()).expect_err("a run goes on").to_string();
    assert_eq!(refusal, "steps cannot change while a run of them is not over");
    // The rest may.
    let mut described = nightly();
    described["description"] = json!("every night");
    world.job(described);
    world.command(Command::KillTasks { job: "nightly".to_owned() }).expect("known");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Killed, "");
    world.job(changed);
}

#[test]
fn bad_steps_are_refused_by_name() {
    let mut world = World::new();
    let mut refused =
        |steps: Value| world.post(json!({"name": "a", "steps": steps})).expect_err("refused").to_string();
    let refusals = [
        json!([{"name": "x"}]),
        json!([{"name": "x y", "command": "c"}]),
        json!([{"command": "c"}]),
        json!([{"name": "x", "command": "c"}, {"name": "x", "command": "c"}]),
        json!([{"name": "x", "command": "c", "needs": ["y"]}]),
        json!([{"name": "x", "command": "c", "needs": ["x"]}]),
        json!([{"name": "x", "command": "c", "needs": ["y"]}, {"name": "y", "command": "c", "needs": ["x"]}]),
        json!([{"name": "x", "command": "c", "needs": {"y": "maybe"}}]),
        json!([{"name": "x", "command": "c", "schedule": "@daily"}]),
        json!([{"name": "x", "command": "c", "cpus": "many"}]),
        json!([{"name": "x", "command": "c", "constraints": [["rack"]]}]),
    ]
    .map(&mut refused);
    expect![[r#"
        steps[0].command must be there, in the step or in the workflow
        steps[0].name 'x y' must be letters, digits, '_', '.' or '-'
        steps[0] missing field `name`
        steps[1].name 'x' is the name of another step, too
        steps[0].needs name 'y', which is no step
        steps wait for each other: x
        steps wait for each other: x, y
        steps[0].needs must be a list of steps, or steps with success, failure or completion
        steps[0].schedule cannot be said of one step
        steps[0].cpus 'many' must be a number
        steps[0].constraints[0] must be [attribute, operator, value]"#]]
    .assert_eq(&refusals.join("\n"));
}
