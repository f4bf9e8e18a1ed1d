//! Load balancers are waited for before a kill.

use expect_test::expect;
use model::task::TaskState;
use serde_json::json;

use super::world::World;
use crate::supervisor::message::Command;

fn drained_by(names: &[&str]) -> World {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2}));
    world.run_all();
    for name in names {
        world.drainer_connected(name);
    }
    world.take_log();
    world.calls.clear();
    world
}

#[test]
fn load_balancers_let_go_before_the_kill() {
    let mut world = drained_by(&["east", "west"]);
    let tasks = world.running();
    world.scale("/a", 1);
    let victim = tasks.iter().find(|task| world.view.drains.waited_for(task).count() == 2).unwrap().clone();
    world.command(Command::Drained { drainer: "east".to_owned(), tasks: vec![victim.clone()] });
    world.note("-- east has let go");
    world.command(Command::Drained { drainer: "west".to_owned(), tasks: vec![victim.clone()] });
    world.end_killed();
    expect![[r#"
        event: deployment_info Scale /a
        event: instance_draining_event a.#1/1 a.#1
        answer: deployed
        answer: Done
        -- east has let go
        call: KILL a.#1/1
        answer: Done
        event: status_update_event TASK_KILLED a.#1/1
        event: deployment_step_success Scale /a
        event: deployment_success
        call: ACKNOWLEDGE a.#1/1
    "#]]
    .assert_eq(&world.take_log());
    assert!(!world.running().contains(&victim));
}

#[test]
fn they_are_not_waited_for_for_ever() {
    let mut world = drained_by(&["east"]);
    world.scale("/a", 1);
    world.advance(9);
    assert!(!world.take_log().contains("call: KILL"));
    world.advance(1);
    assert!(world.take_log().contains("call: KILL"));
}

#[test]
fn without_them_nothing_is_waited_for() {
    let mut world = drained_by(&[]);
    world.scale("/a", 1);
    assert!(world.take_log().contains("call: KILL"));
}

/// Its load balancer sends requests to the instance all the same.
#[test]
fn one_whose_stream_broke_is_waited_for_until_it_should_be_back() {
    let mut world = drained_by(&["east"]);
    world.drainer_disconnected("east");
    world.scale("/a", 1);
    assert!(!world.take_log().contains("call: KILL"));
    world.advance(11);
    assert!(world.take_log().contains("call: KILL"));
    world.end_killed();
    world.scale("/a", 0);
    assert!(world.take_log().contains("call: KILL"), "it did not come back and is not waited for again");
}

/// A sidecar needs a moment to find the next leader, which meanwhile goes on with deployments.
#[test]
fn a_new_leader_waits_for_those_that_the_last_one_knew() {
    let mut world = drained_by(&["east"]);
    world.fail_over();
    world.take_log();
    world.scale("/a", 1);
    assert!(!world.take_log().contains("call: KILL"));
    world.drainer_connected("east");
    let tasks = world.running();
    world.command(Command::Drained { drainer: "east".to_owned(), tasks });
    assert!(world.take_log().contains("call: KILL"));
}

#[test]
fn a_task_that_ends_meanwhile_is_done() {
    let mut world = drained_by(&["east"]);
    let tasks = world.running();
    world.scale("/a", 1);
    let victim = tasks.iter().find(|task| world.view.drains.waited_for(task).count() == 1).unwrap().clone();
    world.update(&victim, TaskState::Finished);
    world.advance(60);
    assert!(!world.take_log().contains("call: KILL"));
    assert_eq!(world.deployments(), 0);
}

#[test]
fn a_new_leader_gives_them_the_rest_of_their_time() {
    let mut world = drained_by(&["east"]);
    world.scale("/a", 1);
    world.advance(4);
    world.fail_over();
    world.advance(5);
    assert!(!world.take_log().contains("call: KILL"));
    world.advance(2);
    assert!(world.take_log().contains("call: KILL"));
}
