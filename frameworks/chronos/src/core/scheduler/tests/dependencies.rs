//! Jobs that run because others did.

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::json;

use super::super::super::message::{Command, Orphans};
use super::world::World;

/// The names of the jobs whose tasks were launched.
fn launched(world: &mut World) -> String {
    world.offer("cpus:4;mem:4000;disk:4000");
    let names = |line: &String| Some(line.strip_prefix("launch ct:")?.split(':').nth(2)?.to_owned());
    let launched: Vec<String> = world.log.iter().filter_map(names).collect();
    world.log.clear();
    launched.join(" ")
}

fn diamond(rule: &str) -> World {
    let mut world = World::new();
    world.job(json!({"name": "left", "schedule": "R/2026-01-01T01:00:00Z/PT1H", "retries": 0}));
    world.job(json!({"name": "right", "schedule": "R/2026-01-01T01:00:00Z/PT1H", "retries": 0}));
    world.job(json!({"name": "join", "parents": ["left", "right"], "triggerRule": rule}));
    world.pass(Span::from_hours(1));
    assert_eq!(launched(&mut world), "left right");
    world
}

#[test]
fn all_parents_since_the_last_run_and_across_a_failover() {
    let mut world = diamond("all_success");
    world.end(TaskState::Finished);
    assert_eq!(launched(&mut world), "");
    world.fail_over();
    world.end(TaskState::Finished);
    assert_eq!(launched(&mut world), "join");
    world.end(TaskState::Finished);
    // One parent alone is not enough the next time either.
    world.trigger("left");
    assert_eq!(launched(&mut world), "left");
    world.end(TaskState::Finished);
    assert_eq!(launched(&mut world), "");
}

#[test]
fn the_rule_says_which_ends_count() {
    for (rule, ends, expected) in [
        ("all_success", [TaskState::Finished, TaskState::Failed], ["", ""]),
        ("all_done", [TaskState::Finished, TaskState::Failed], ["", "join"]),
        ("all_done", [TaskState::Killed, TaskState::Failed], ["", "join"]),
        ("all_failed", [TaskState::Failed, TaskState::Failed], ["", "join"]),
        ("all_failed", [TaskState::Failed, TaskState::Finished], ["", ""]),
        ("one_success", [TaskState::Failed, TaskState::Finished], ["", "join"]),
        ("one_success", [TaskState::Finished, TaskState::Failed], ["join", ""]),
    ] {
        let mut world = diamond(rule);
        let after: Vec<String> = ends
            .into_iter()
            .map(|end| {
                world.end(end);
                launched(&mut world)
            })
            .collect();
        assert_eq!(after, expected, "{rule} {ends:?}");
    }
}

#[test]
fn a_soft_error_and_a_declared_success_count() {
    let mut world = World::new();
    world.job(json!({"name": "soft", "schedule": "R1//PT24H", "retries": 0, "softError": true}));
    world.job(json!({"name": "after", "parents": ["soft"]}));
    world.pass(Span::ZERO);
    launched(&mut world);
    world.end(TaskState::Failed);
    assert_eq!(launched(&mut world), "after");
    world.end(TaskState::Finished);
    world.command(Command::Succeed { job: "soft".to_owned() }).expect("marked");
    assert_eq!(launched(&mut world), "after");
}

#[test]
fn cycles_and_missing_parents_are_refused() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2027-01-01T00:00:00Z/P1D"}));
    world.job(json!({"name": "b", "parents": ["a"]}));
    world.job(json!({"name": "c", "parents": ["b"]}));
    let refused = |world: &mut World, job| world.post(job).expect_err("refused").to_string();
    let lines = [
        refused(&mut world, json!({"name": "d", "parents": ["a", "nobody"]})),
        refused(&mut world, json!({"name": "d", "parents": ["d"]})),
        refused(&mut world, json!({"name": "d", "parents": []})),
        refused(&mut world, json!({"name": "a", "parents": ["c"]})),
        refused(&mut world, json!({"name": "b", "parents": ["c"]})),
        refused(&mut world, json!({"name": "d", "parents": ["a"], "schedule": "R1//P1D"})),
    ];
    expect![[r#"
        parents name 'nobody', which is no job
        parents would make a cycle: d -> d
        parents must name at least one job
        parents would make a cycle: a -> b -> c -> a
        parents would make a cycle: b -> c -> b
        parents and schedule exclude each other"#]]
    .assert_eq(&lines.join("\n"));
    assert_eq!(world.scheduler.book().jobs.len(), 3);
}

#[test]
fn a_hundred_thousand_jobs_in_one_graph() {
    let mut world = World::new();
    world.job(json!({"name": "j0", "schedule": "R1/2027-01-01T00:00:00Z/P1D"}));
    for n in 1..100_000u32 {
        world.job(json!({"name": format!("j{n}"), "parents": [format!("j{}", n - 1)], "command": "true"}));
    }
    // A circle through all of them is found, and the way is told.
    let error = world.post(json!({"name": "j0", "parents": ["j99999"]})).expect_err("refused").to_string();
    assert!(error.starts_with("parents would make a cycle: j0 -> j1 -> "), "{}", &error[..80]);
    world.fail_over();
    assert_eq!(world.scheduler.book().jobs.len(), 100_000);
}

/// A name is a key: who renames a job posts it under the new name, leads its dependants there, and deletes the old one.
#[test]
fn a_job_is_renamed_without_its_dependants_noticing() {
    let mut world = World::new();
    let top = |name: &str| json!({"name": name, "schedule": "R/2026-01-01T01:00:00Z/PT1H"});
    world.job(top("old"));
    world.job(json!({"name": "leaf", "parents": ["old"]}));
    world.job(top("new"));
    let leaf = world.post(json!({"name": "leaf", "parents": ["newer"]})).expect_err("refused").to_string();
    assert_eq!(leaf, "parents name 'newer', which is no job");
    world.job(json!({"name": "leaf", "parents": ["new"]}));
    world
        .command(Command::Delete { job: "old".to_owned(), orphans: Orphans::Refuse })
        .expect("nobody's parent");
    world.fail_over();
    world.pass(Span::from_hours(1));
    assert_eq!(launched(&mut world), "new");
    world.end(TaskState::Finished);
    assert_eq!(launched(&mut world), "leaf");
    assert!(!world.store.keys().any(|key| key.contains("old")), "{:?}", world.store.keys());
}

#[test]
fn children_of_a_deleted_job_lose_nothing() {
    let graph = || {
        let mut world = World::new();
        let environment = json!([{"name": "A", "value": "1"}]);
        world.job(json!({"name": "top", "schedule": "R/2026-01-01T01:00:00Z/PT1H"}));
        world.job(json!({"name": "mid", "parents": ["top"]}));
        world.job(json!({"name": "low", "parents": ["mid", "top"], "environmentVariables": environment, "cpus": 0.5}));
        world.job(json!({"name": "leaf", "parents": ["mid"]}));
        world
    };
    let describe = |world: &World| {
        let line = |job: &std::sync::Arc<super::super::super::job::Job>| {
            let definition = &job.definition;
            let parents: Vec<&str> = job.parents().map(String::as_str).collect();
            let schedule = job.shown_schedule().unwrap_or_default();
            let kept = definition.environment_variables.len();
            format!("{} [{}] {schedule} {kept} {}", job.name(), parents.join(" "), definition.disabled)
        };
        world.scheduler.book().jobs.values().map(line).collect::<Vec<_>>().join("\n")
    };
    let delete = |world: &mut World, job: &str, orphans| {
        world
            .command(Command::Delete { job: job.to_owned(), orphans })
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let mut world = graph();
    delete(&mut world, "mid", Orphans::default()).expect("deleted");
    delete(&mut world, "top", Orphans::default()).expect("deleted");
    expect![[r#"
        leaf [] R/2026-01-01T01:00:00.000Z/PT1H 0 false
        low [] R/2026-01-01T01:00:00.000Z/PT1H 1 false"#]]
    .assert_eq(&describe(&world));
    let mut world = graph();
    expect!["orphans is refuse, and job 'mid' depends on this one only"]
        .assert_eq(&delete(&mut world, "top", Orphans::Refuse).expect_err("refused"));
    delete(&mut world, "top", Orphans::Disable).expect("deleted");
    expect![[r#"
        leaf [mid]  0 false
        low [mid]  1 false
        mid [] R/2026-01-01T01:00:00.000Z/PT1H 0 true"#]]
    .assert_eq(&describe(&world));
    let mut world = graph();
    delete(&mut world, "top", Orphans::Delete).expect("deleted");
    expect![""].assert_eq(&describe(&world));
    // What depends on another job too stays.
    let mut world = graph();
    world.job(json!({"name": "other", "schedule": "R/2026-01-01T01:00:00Z/PT1H"}));
    world.job(json!({"name": "leaf", "parents": ["mid", "other"]}));
    delete(&mut world, "top", Orphans::Delete).expect("deleted");
    expect![[r#"
        leaf [other]  0 false
        other [] R/2026-01-01T01:00:00.000Z/PT1H 0 false"#]]
    .assert_eq(&describe(&world));
    // The next leader sees the same.
    let before = describe(&world);
    world.fail_over();
    assert_eq!(describe(&world), before);
}
