//! Stories of launches, told to the supervisor.

use expect_test::expect;
use model::task::TaskState;
use sdk::subscription::Heard;
use serde_json::json;

use super::world::{PLENTY, World, instance_of, is_accept};
use crate::core::instance::Condition;

#[test]
fn a_new_app_comes_to_run() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "sleep 1", "instances": 2}));
    world.offer("A", PLENTY);
    for task in world.tasks_in(Condition::Provisioned) {
        world.update(&task, TaskState::Starting);
        world.update(&task, TaskState::Running);
    }
    expect![[r#"
        call: REVIVE
        event: deployment_info Start /a
        event: deployment_step_success Start /a
        event: deployment_info Scale /a
        answer: created
        call: ACCEPT o1 a.#1/1 a.#2/1
        call: SUPPRESS
        event: status_update_event TASK_STARTING a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: status_update_event TASK_RUNNING a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: status_update_event TASK_STARTING a.#2/1
        call: ACKNOWLEDGE a.#2/1
        event: status_update_event TASK_RUNNING a.#2/1
        event: deployment_step_success Scale /a
        event: deployment_success
        call: ACKNOWLEDGE a.#2/1
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.deployments(), 0);
}

#[test]
fn instances_spread_over_the_offers() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 4}));
    let offers = ["A", "B", "C"].map(|agent| world.make_offer(agent, PLENTY, &[]));
    world.hear(Heard::Offers(offers.to_vec()));
    let mut hosts: Vec<String> =
        world.instances("/a").iter().map(|instance| instance.task.as_ref().unwrap().host.clone()).collect();
    hosts.sort();
    assert_eq!(hosts, ["A.host", "A.host", "B.host", "C.host"]);
}

#[test]
fn apps_take_turns() {
    let mut world = World::new();
    world.post(json!({"id": "/greedy", "cmd": "x", "instances": 50}));
    world.post(json!({"id": "/modest", "cmd": "x", "instances": 1}));
    world.offer("A", "cpus:2;mem:1000;ports:[1-9]");
    assert_eq!(world.tasks_in(Condition::Provisioned).len(), 2);
    assert_eq!(world.instances("/modest")[0].condition, Condition::Provisioned);
}

#[test]
fn what_does_not_fit_is_told() {
    let mut world = World::new();
    world.post(
        json!({"id": "/big", "cmd": "x", "cpus": 8, "mem": 10000, "constraints": [["rack", "LIKE", "b"]]}),
    );
    world.take_log();
    let with_rack = world.make_offer("A", "cpus:4;mem:20000;ports:[1-9]", &[("rack", "b")]);
    let without = world.make_offer("B", "cpus:16;mem:5;ports:[1-9]", &[]);
    world.hear(Heard::Offers(vec![with_rack, without]));
    expect![[r#"
        call: DECLINE o1 o2
    "#]]
    .assert_eq(&world.take_log());
    let waiting = world.view.waiting.values().next().unwrap();
    let turned_away = |funnel: Vec<crate::core::queue::Funnel>| {
        let step = |step: &crate::core::queue::Funnel| {
            format!("{:?} {}/{}", step.misfit, step.declined, step.processed)
        };
        funnel.iter().filter(|step| step.declined > 0).map(step).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(turned_away(waiting.attempt()), "UnfulfilledConstraint 1/2; InsufficientCpus 1/1");
    let reasons: Vec<_> =
        waiting.last_unused_offers().map(|unused| format!("{:?}", unused.misfits)).collect();
    assert_eq!(reasons, ["[InsufficientCpus]", "[UnfulfilledConstraint, InsufficientMemory]"]);
    assert_eq!((waiting.count, waiting.processed, waiting.unused), (1, 2, 2));
    world.offer("C", "cpus:9;mem:20000;ports:[1-9]");
    assert_eq!(world.view.waiting.values().next().unwrap().last_offers()[1].declined, 2);
}

#[test]
fn a_thousand_instances_are_a_few_transactions() {
    let mut world = World::new();
    world.post(json!({"id": "/many", "cmd": "x", "instances": 1000, "cpus": 0.1, "mem": 1}));
    world.hold_commits = true;
    world.calls.clear();
    world.offer("A", PLENTY);
    let mut transactions = 0;
    while !world.commits.is_empty() {
        assert!(!world.calls.iter().any(is_accept), "nothing is launched unrecorded");
        world.commit_one();
        transactions += 1;
    }
    assert!(transactions <= 10, "{transactions}");
    let launches =
        world.calls.iter().find(|call| is_accept(call)).map(|call| sdk::call::launched(call).len());
    assert_eq!(launches, Some(1000));
}

#[test]
fn required_ports_are_the_ports() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "portDefinitions": [{"port": 8080}], "requirePorts": true}));
    world.offer("A", "cpus:4;mem:1000;ports:[8081-9000]");
    assert_eq!(world.tasks_in(Condition::Provisioned), []);
    world.offer("A", "cpus:4;mem:1000;ports:[8000-9000]");
    assert_eq!(world.instances("/a")[0].task.as_ref().unwrap().ports, [8080]);
}

#[test]
fn unique_hosts_are_unique() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 3, "constraints": [["hostname", "UNIQUE"]]}));
    let offers = ["A", "B"].map(|agent| world.make_offer(agent, PLENTY, &[]));
    world.hear(Heard::Offers(offers.to_vec()));
    assert_eq!(world.tasks_in(Condition::Provisioned).len(), 2);
    world.offer("A", PLENTY);
    assert_eq!(world.tasks_in(Condition::Provisioned).len(), 2);
    world.offer("C", PLENTY);
    assert_eq!(world.tasks_in(Condition::Provisioned).len(), 3);
}

#[test]
fn a_withdrawn_offer_is_nobodys_fault() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.offer("A", PLENTY);
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.take_log();
    world.advance(1);
    world.update_with(&task, TaskState::Dropped, |update| {
        update.uuid = None;
        update.reason = Some(wire::v1::task_status::Reason::InvalidOffers);
    });
    expect![[r#"
        call: REVIVE
        event: status_update_event TASK_DROPPED a.#1/1
    "#]]
    .assert_eq(&world.take_log());
    world.offer("A", PLENTY);
    let again = world.tasks_in(Condition::Provisioned).remove(0);
    assert_eq!(instance_of(&again), instance_of(&task), "it is the same instance");
    assert!(again.as_str().ends_with("._app.2"), "{again}");
}

#[test]
fn a_launch_that_hangs_is_ended_and_tried_again() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.offer("A", PLENTY);
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.update(&task, TaskState::Starting);
    world.take_log();
    world.advance(299);
    assert!(!world.take_log().contains("KILL"));
    world.advance(2);
    assert!(world.take_log().contains("call: KILL a.#1/1"));
}

#[test]
fn a_launch_nobody_knows_of_is_asked_about() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.offer("A", PLENTY);
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.take_log();
    world.hear(Heard::Uncertain(vec![task.clone()]));
    world.advance(10);
    // After 2 s, and with growing pauses.
    assert_eq!(world.take_log(), "call: RECONCILE a.#1/1\n".repeat(3));
    world.update_with(&task, TaskState::Gone, |update| update.uuid = None);
    world.advance(30);
    assert!(!world.take_log().contains("RECONCILE"), "it has been answered");
}
