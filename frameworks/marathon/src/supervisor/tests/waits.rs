//! What a deployment says while it waits.

use expect_test::expect;
use model::task::TaskState;
use serde_json::json;

use super::world::{PLENTY, World};
use crate::core::instance::Condition;

/// What every running deployment waits for, a line for each reason.
fn waits(world: &World) -> String {
    let mut lines = String::new();
    for deployment in world.view.deployments.values() {
        for action in deployment.current() {
            for reason in world.view.reasons(action, world.now) {
                lines.push_str(&format!("{} {}: {reason}\n", action.kind.name(), action.app));
            }
        }
    }
    lines
}

#[test]
fn a_start_says_what_it_waits_for_from_offer_to_health() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2, "healthChecks": [{"protocol": "TCP"}]}));
    expect!["ScaleApplication /a: 2 instances wait for an offer that fits: none has come yet\n"]
        .assert_eq(&waits(&world));
    world.offer("A", "cpus:0.1;mem:16;ports:[31000-31100]");
    expect!["ScaleApplication /a: 2 instances wait for an offer that fits: the last offers of 1 agents did not fit, because of InsufficientCpus of 1\n"].assert_eq(&waits(&world));
    world.offer("A", PLENTY);
    expect!["ScaleApplication /a: 2 instances wait to run\n"].assert_eq(&waits(&world));
    world.run_all();
    let tasks = world.running();
    world.health(&tasks[0], false);
    expect!["ScaleApplication /a: 2 instances wait to become healthy: 503\n"].assert_eq(&waits(&world));
    world.health(&tasks[0], true);
    expect!["ScaleApplication /a: 1 instance waits to become healthy: no check has succeeded yet\n"]
        .assert_eq(&waits(&world));
    world.health(&tasks[1], true);
    assert_eq!(world.deployments(), 0);
}

#[test]
fn a_start_that_fails_again_and_again_says_how_long_it_waits() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "backoffSeconds": 30}));
    world.offer("A", PLENTY);
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.update(&task, TaskState::Failed);
    expect![
        "ScaleApplication /a: 1 instance waits to be launched, later, because others have failed: in 30 s\n"
    ]
    .assert_eq(&waits(&world));
}

#[test]
fn an_upgrade_names_old_instances_lost_agents_and_kills() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2, "unreachableStrategy": "disabled"}));
    world.run_all();
    let old = world.running();
    world.put("/a", json!({"cmd": "y"}));
    expect![[r"
        RestartApplication /a: 2 instances wait for an offer that fits: none has come yet
        RestartApplication /a: 2 instances wait to be replaced by new instances
    "]]
    .assert_eq(&waits(&world));
    world.update_with(&old[0], TaskState::Unreachable, |update| update.reason = None);
    world.run_all();
    expect![[r"
        RestartApplication /a: 1 instance waits to end after the kill
    "]]
    .assert_eq(&waits(&world));
}
