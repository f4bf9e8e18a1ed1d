//! Stories of failures, told to the supervisor.

use expect_test::expect;
use model::task::TaskState;
use model::time::{Span, Time};
use sdk::subscription::Heard;
use serde_json::json;
use wire::v1::task_status::Reason;

use super::world::{PLENTY, World, id, instance_of};
use crate::core::instance::Condition;
use crate::supervisor::message::{Command, Refusal};

fn running(document: serde_json::Value) -> World {
    let mut world = World::new();
    world.post(document);
    world.run_all();
    world.take_log();
    world.calls.clear();
    world
}

#[test]
fn launches_of_a_failing_app_slow_down() {
    let mut world = running(
        json!({"id": "/a", "cmd": "false", "backoffSeconds": 2, "backoffFactor": 2, "maxLaunchDelaySeconds": 10}),
    );
    let mut delays = Vec::new();
    for _ in 0..5 {
        let task = world.running().remove(0);
        world.update_with(&task, TaskState::Failed, |update| update.message = "exit 1".to_owned());
        world.offer("A", PLENTY);
        assert_eq!(world.tasks_in(Condition::Provisioned), [], "backing off, it takes no offers");
        let until = world.view.waiting.values().next().unwrap().delayed_until.unwrap();
        delays.push(until.since(world.now));
        world.take_log();
        world.advance(until.since(world.now).as_millis() / 1000);
        assert!(world.take_log().contains("call: REVIVE"));
        world.run_all();
    }
    assert_eq!(delays, [2, 4, 8, 10, 10].map(Span::from_secs));
    let failure = world.view.apps.get(&id("/a")).unwrap().last_failure.clone().unwrap();
    assert_eq!((failure.state.as_str(), failure.message.as_str()), ("TASK_FAILED", "exit 1"));
    let task = world.running().remove(0);
    world.update(&task, TaskState::Failed);
    world.command(Command::ResetDelay { app: id("/a") });
    world.run_all();
    assert_eq!(world.running().len(), 1);
    world.command(Command::ResetDelay { app: id("/a") });
    assert!(matches!(world.answers.last(), Some(Err(Refusal::NotQueued(_)))));
}

#[test]
fn a_killed_task_is_launched_again_at_once() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let task = world.running().remove(0);
    world.update(&task, TaskState::Killed);
    world.run_all();
    assert_eq!(world.running().len(), 1);
}

/// Whatever was said before: it is acknowledged and not told again.
#[test]
fn every_end_of_a_task_is_believed() {
    let ends = TaskState::ALL.into_iter().filter(|state| state.is_terminal());
    for end in ends.chain([TaskState::Unknown]) {
        for before in [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing] {
            let mut world = World::new();
            world.post(json!({"id": "/a", "cmd": "x"}));
            world.offer("A", PLENTY);
            let task = world.tasks_in(Condition::Provisioned).remove(0);
            world.update(&task, before);
            world.update(&task, end);
            world.advance(60);
            world.run_all();
            let running = world.running();
            assert_eq!(running.len(), 1, "{before}, then {end}");
            assert_ne!(running[0], task, "{before}, then {end}");
            assert_eq!(world.deployments(), 0, "{before}, then {end}");
        }
    }
}

/// As an agent tells it that was killed between saying STARTING and starting the task.
#[test]
fn what_was_lost_in_its_launch_is_launched_again() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.offer("A", PLENTY);
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.update(&task, TaskState::Starting);
    world.take_log();
    world.update_with(&task, TaskState::Dropped, |update| update.reason = Some(Reason::AgentRestarted));
    world.advance(1);
    world.run_all();
    expect![[r#"
        event: status_update_event TASK_DROPPED a.#1/1
        call: ACKNOWLEDGE a.#1/1
        call: REVIVE
        call: ACCEPT o2 a.#1/2
        call: SUPPRESS
        event: status_update_event TASK_RUNNING a.#1/2
        event: deployment_step_success Scale /a
        event: deployment_success
        call: ACKNOWLEDGE a.#1/2
    "#]]
    .assert_eq(&world.take_log());
}

/// A second copy of a launch is refused while the first one runs.
#[test]
fn a_refusal_of_what_runs_is_not_believed() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let task = world.running().remove(0);
    world.update_with(&task, TaskState::Dropped, |update| {
        update.uuid = None;
        update.reason = Some(Reason::InvalidOffers);
    });
    assert_eq!(world.running(), [task]);
}

#[test]
fn an_ill_instance_is_replaced_after_the_forgiven_failures() {
    let check = json!([{"protocol": "HTTP", "maxConsecutiveFailures": 2}]);
    let mut world = running(json!({"id": "/a", "cmd": "x", "healthChecks": check}));
    let task = world.running().remove(0);
    world.health(&task, true);
    for _ in 0..3 {
        world.health(&task, false);
    }
    world.end_killed();
    world.run_all();
    expect![[r#"
        event: health_status_changed_event a.#1/1 a.#1 true
        event: deployment_step_success Scale /a
        event: deployment_success
        call: ACKNOWLEDGE a.#1/1
        event: health_status_changed_event a.#1/1 a.#1 false
        call: ACKNOWLEDGE a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: unhealthy_instance_kill_event a.#1/1 a.#1 503
        call: KILL a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: status_update_event TASK_KILLED a.#1/1
        call: ACKNOWLEDGE a.#1/1
        call: ACCEPT o2 a.#1/2
        event: status_update_event TASK_RUNNING a.#1/2
        call: ACKNOWLEDGE a.#1/2
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_repeated_update_counts_once() {
    let check = json!([{"protocol": "HTTP", "maxConsecutiveFailures": 1}]);
    let mut world = running(json!({"id": "/a", "cmd": "x", "healthChecks": check}));
    let task = world.running().remove(0);
    for _ in 0..5 {
        world.update_with(&task, TaskState::Running, |update| {
            update.uuid = Some(b"the same".to_vec());
            update.reason = Some(Reason::TaskHealthCheckStatusUpdated);
            update.healthy = Some(false);
        });
    }
    let acknowledged = world.calls.iter().filter(|call| call.acknowledge.is_some()).count();
    assert_eq!(acknowledged, 5, "each copy is acknowledged, or it would come for ever");
    assert!(!world.take_log().contains("KILL"));
}

#[test]
fn when_everything_looks_ill_only_some_are_killed() {
    let check = json!([{"protocol": "COMMAND", "command": {"value": "x"}, "maxConsecutiveFailures": 1}]);
    let mut world = running(json!({"id": "/a", "cmd": "x", "instances": 30, "healthChecks": check}));
    for task in world.running() {
        world.health(&task, false);
    }
    let kills = |world: &mut World| world.take_log().matches("call: KILL").count();
    assert_eq!(kills(&mut world), 3);
    world.end_killed();
    world.advance(29);
    assert_eq!(kills(&mut world), 0);
    world.advance(1);
    assert_eq!(kills(&mut world), 3);
    world.end_killed();
    for task in world.running() {
        world.health(&task, true);
    }
    world.advance(60);
    assert_eq!(kills(&mut world), 0, "those that recovered are spared");
}

#[test]
fn instances_of_a_lost_agent_are_replaced_and_killed_when_they_return() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let lost = world.running().remove(0);
    world.update_with(&lost, TaskState::Unreachable, |update| update.uuid = None);
    world.offer("B", PLENTY);
    let new = world.tasks_in(Condition::Provisioned).remove(0);
    world.update(&new, TaskState::Running);
    expect![[r#"
        event: status_update_event TASK_UNREACHABLE a.#1/1
        call: ACCEPT o2 a.#2/1
        event: status_update_event TASK_RUNNING a.#2/1
        call: ACKNOWLEDGE a.#2/1
    "#]]
    .assert_eq(&world.take_log());
    world.update(&lost, TaskState::Running);
    world.end_killed();
    expect![[r#"
        event: status_update_event TASK_RUNNING a.#1/1
        call: KILL a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: status_update_event TASK_KILLED a.#1/1
        call: ACKNOWLEDGE a.#1/1
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.running(), [new]);
}

/// Masters forget agents that have been away for long, and say of their tasks that they are unknown. An agent may come back
/// all the same.
#[test]
fn instances_of_an_agent_that_the_masters_have_forgotten_are_killed_when_they_return() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let lost = world.running().remove(0);
    world.update_with(&lost, TaskState::Unreachable, |update| update.uuid = None);
    world.offer("B", PLENTY);
    let new = world.tasks_in(Condition::Provisioned).remove(0);
    world.update(&new, TaskState::Running);
    world.update_with(&lost, TaskState::Unknown, |update| {
        update.uuid = None;
        update.reason = Some(Reason::Reconciliation);
    });
    world.take_log();
    world.update(&lost, TaskState::Running);
    assert!(world.take_log().contains("call: KILL a.#1/1"));
    world.end_killed();
    assert_eq!(world.running(), [new]);
}

#[test]
fn an_app_may_be_patient_with_lost_agents() {
    let strategy = json!({"inactiveAfterSeconds": 60, "expungeAfterSeconds": 600});
    let mut world = running(json!({"id": "/a", "cmd": "x", "unreachableStrategy": strategy}));
    let lost = world.running().remove(0);
    world.update_with(&lost, TaskState::Unreachable, |update| update.uuid = None);
    world.advance(59);
    assert_eq!(world.instances("/a").len(), 1);
    world.advance(1);
    assert_eq!(world.instances("/a").len(), 2, "it is being replaced");
    world.advance(30);
    world.run_all();
    assert_eq!(world.running().len(), 1);
    let new = world.running().remove(0);
    // The agent returns in time: there is one too many, and the younger goes.
    world.take_log();
    world.calls.clear();
    world.update(&lost, TaskState::Running);
    world.end_killed();
    assert_eq!(world.running(), [lost], "{new} was the younger");
}

/// The master's clock is an hour behind, and it says since when by its own.
#[test]
fn how_long_an_agent_is_out_of_reach_is_counted_by_our_clock() {
    let strategy = json!({"inactiveAfterSeconds": 60, "expungeAfterSeconds": 120});
    let mut world = running(json!({"id": "/a", "cmd": "x", "unreachableStrategy": strategy}));
    let lost = world.running().remove(0);
    let since = Time::from_millis(world.now.as_millis() - 3_600_000);
    world.update_with(&lost, TaskState::Unreachable, |update| {
        update.uuid = None;
        update.unreachable_since = Some(since);
    });
    world.advance(59);
    assert_eq!(world.tasks_in(Condition::Unreachable), std::slice::from_ref(&lost));
    world.advance(2);
    assert_eq!(world.tasks_in(Condition::UnreachableInactive), [lost]);
}

#[test]
fn an_app_may_wait_for_ever() {
    let mut world = running(json!({"id": "/a", "cmd": "x", "unreachableStrategy": "disabled"}));
    let lost = world.running().remove(0);
    world.update_with(&lost, TaskState::Unreachable, |update| update.uuid = None);
    world.advance(100_000);
    assert_eq!(world.instances("/a").len(), 1);
    world.update(&lost, TaskState::Running);
    assert_eq!(world.running(), [lost]);
}

#[test]
fn strangers_are_left_alone_and_old_launches_are_not() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let old = world.running().remove(0);
    world.update_with(&old, TaskState::Gone, |update| update.uuid = None);
    world.advance(10);
    world.run_all();
    let new = world.running().remove(0);
    assert_eq!(instance_of(&old), instance_of(&new));
    world.take_log();
    let stranger = model::id::TaskId::from("b.instance-7a2e4c10-0858-11ef-9d1b-0242ac110002._app.1");
    world.update(&stranger, TaskState::Running);
    world.update(&old, TaskState::Running);
    world.update(&stranger, TaskState::Failed);
    world.update(&model::id::TaskId::from("not-ours"), TaskState::Running);
    expect![[r#"
        call: ACKNOWLEDGE b.#2/1
        call: KILL a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: unknown_instance_terminated_event b.#2 Failed
        call: ACKNOWLEDGE b.#2/1
        call: ACKNOWLEDGE not-ours
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.supervisor().strangers(), 1);
}

#[test]
fn updates_are_acknowledged_when_stored() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.offer("A", PLENTY);
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.take_log();
    world.hold_commits = true;
    world.update(&task, TaskState::Starting);
    world.update(&task, TaskState::Running);
    assert_eq!(world.take_log(), "");
    world.commit_one();
    assert_eq!(
        world.take_log(),
        "event: status_update_event TASK_STARTING a.#1/1\ncall: ACKNOWLEDGE a.#1/1\n"
    );
    while !world.commits.is_empty() {
        world.commit_one();
    }
    assert!(world.take_log().contains("TASK_RUNNING a.#1/1\n"));
}

#[test]
fn a_framework_that_was_removed_starts_anew() {
    let mut world = running(json!({"id": "/a", "cmd": "x", "backoffSeconds": 60}));
    world.hear(Heard::Ended { removed: true, message: String::new() });
    world.subscribe_as("G");
    expect![[r#"
        call: RECONCILE
        call: REVIVE
    "#]]
    .assert_eq(&world.take_log());
    world.run_all();
    assert_eq!(world.running().len(), 1);
    assert_eq!(world.view.framework, Some("G".into()));
}

/// A task that came to run began the delay anew. One that is killed then waits for its end, and no longer.
#[test]
fn what_is_killed_while_its_app_is_delayed_is_launched_when_the_delay_is_over() {
    let mut world = World::new();
    world.post(
        json!({"id": "/a", "cmd": "x", "backoffSeconds": 5, "backoffFactor": 1, "maxLaunchDelaySeconds": 60}),
    );
    world.run_all();
    let task = world.running().remove(0);
    world.update(&task, TaskState::Failed);
    world.advance(6);
    world.run_all();
    let task = world.running().remove(0);
    world.kill(std::slice::from_ref(&task), false, false);
    world.update(&task, TaskState::Killed);
    world.take_log();
    world.advance(6);
    assert!(world.take_log().contains("REVIVE"), "offers are asked for again");
}
