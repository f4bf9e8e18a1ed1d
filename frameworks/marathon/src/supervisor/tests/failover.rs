//! Stories of failover, told to the supervisor.

use expect_test::expect;
use model::task::TaskState;
use model::time::{Span, Time};
use sdk::subscription::Heard;
use serde_json::json;
use wire::v1::task_status::Reason;

use super::world::{PLENTY, World, asked_about, parsed, settings};
use crate::core::instance::Condition;
use crate::supervisor::Supervisor;
use crate::supervisor::message::{Command, Input, Origin, Record, Refusal};

#[test]
fn a_new_leader_touches_nothing_that_runs() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2, "healthChecks": [{"protocol": "TCP"}]}));
    world.run_all();
    for task in world.running() {
        world.health(&task, true);
    }
    let before = world.view.instances.clone();
    world.take_log();
    world.fail_over();
    world.advance(1);
    expect![[r#"
        -- another leader
        call: RECONCILE
        call: RECONCILE a.#1/1 a.#2/1
        call: SUPPRESS
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.view.instances, before, "health and all");
    for task in world.running() {
        world.update_with(&task, TaskState::Running, |update| {
            update.uuid = None;
            update.healthy = Some(true);
            update.reason = Some(Reason::Reconciliation);
        });
    }
    world.advance(60);
    assert!(!world.take_log().contains("RECONCILE"), "every task has been confirmed");
    assert_eq!(world.view.instances, before);
}

#[test]
fn a_deployment_goes_on() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2, "healthChecks": [{"protocol": "TCP"}]}));
    world.run_all();
    for task in world.running() {
        world.health(&task, true);
    }
    let old = world.running();
    world.put("/a", json!({"cmd": "y"}));
    world.run_all();
    let new: Vec<_> = world.running().into_iter().filter(|task| !old.contains(task)).collect();
    world.health(&new[0], true);
    world.take_log();
    world.fail_over();
    world.health(&new[1], true);
    world.end_killed();
    expect![[r#"
        -- another leader
        event: deployment_info Restart /a
        call: RECONCILE
        call: RECONCILE a.#3/1 a.#1/1 a.#4/1 a.#2/1
        call: SUPPRESS
        call: KILL a.#1/1
        event: health_status_changed_event a.#4/1 a.#4 true
        call: KILL a.#2/1
        call: ACKNOWLEDGE a.#4/1
        event: status_update_event TASK_KILLED a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: status_update_event TASK_KILLED a.#2/1
        event: deployment_step_success Restart /a
        event: deployment_success
        call: ACKNOWLEDGE a.#2/1
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.running(), new);
    assert_eq!(world.deployments(), 0);
}

#[test]
fn a_launch_that_was_recorded_and_not_sent_is_found_out() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.hold_commits = true;
    world.offer("A", PLENTY);
    // The record arrives, but the leader dies before it hears of it.
    let batch = world.commits.remove(0);
    world.write(batch);
    world.take_log();
    world.fail_over();
    let task = world.tasks_in(Condition::Provisioned).remove(0);
    world.advance(10);
    let asked = world.calls.iter().any(|call| asked_about(call).contains(&task));
    assert!(asked, "{}", world.take_log());
    world.update_with(&task, TaskState::Gone, |update| {
        update.uuid = None;
        update.reason = Some(Reason::Reconciliation);
    });
    world.advance(5);
    world.run_all();
    assert_eq!(world.running().len(), 1);
}

#[test]
fn the_numbering_of_events_goes_on() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.run_all();
    let before = world.events.clone();
    world.fail_over();
    assert_eq!(world.events[..before.len()], before[..], "the window is back");
    world.scale("/a", 2);
    let numbers: Vec<u64> = world.events.iter().map(|event| event.number).collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
    assert!(numbers.len() > before.len());
}

#[test]
fn who_was_deposed_does_nothing_more() {
    let mut supervisor = Supervisor::new(settings());
    let mut out = Vec::new();
    let (now, records) = (Time::from_secs(1), Vec::new());
    supervisor.handle(now, Input::Elected { seed: [1, 2], records }, &mut out);
    let post = || Command::Create { document: parsed(json!({"id": "/a", "cmd": "x"})), force: false };
    assert!(supervisor.command(now, &Origin::default(), post(), &mut out).is_ok());
    assert!(supervisor.next_deadline().is_some());
    out.clear();
    supervisor.handle(now, Input::Deposed, &mut out);
    supervisor.handle(now, Input::Wake, &mut out);
    let refused = supervisor.command(now, &Origin::default(), post(), &mut out);
    assert_eq!((refused, supervisor.next_deadline()), (Err(Refusal::NotLeader), None));
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(supervisor.tasks().count(), 0, "it knows nothing any more");
}

#[test]
fn records_survive_neighbours_and_strangers() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "constraints": [["hostname", "UNIQUE"]], "fetch": [{"uri": "http://h/x.zip"}],
                      "healthChecks": [{"protocol": "COMMAND", "command": "true"}], "labels": {"k": "v"}}));
    world.run_all();
    world.put("/a", json!({"cmd": "y"}));
    let known = crate::supervisor::record::decode(&records(&world)).state;
    assert_eq!(known.instances, world.supervisor().state.instances);
    assert_eq!(known.deployments, world.supervisor().state.deployments);
    assert_eq!(known.locks, world.supervisor().state.locks);
    for (app, record) in &world.supervisor().state.apps {
        assert_eq!(known.apps[app].versions, record.versions);
        assert_eq!(known.apps[app].current, record.current);
    }
    // A later release adds a field to each record; a stranger leaves something of his own.
    for (_, value) in world.store.iter_mut().filter(|(key, _)| *key != sdk::engine::FRAMEWORK) {
        let mut document: serde_json::Value = serde_json::from_slice(value).unwrap();
        document["later"] = json!({"a": 1});
        *value = document.to_string().into_bytes();
    }
    world.store.insert("leader".to_owned(), b"host:1".to_vec());
    world.store.insert("instance/broken".to_owned(), b"{".to_vec());
    let loaded = crate::supervisor::record::decode(&records(&world));
    assert_eq!(loaded.state.instances, known.instances);
    assert_eq!(loaded.unreadable, ["instance/broken"]);
}

fn records(world: &World) -> Vec<Record> {
    world.store.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() }).collect()
}

#[test]
fn an_app_that_cannot_be_read_goes_on_running() {
    for damage in ["app/a", "version/a/"] {
        let mut world = World::new();
        world.post(json!({"id": "/a", "cmd": "x"}));
        world.post(json!({"id": "/b", "cmd": "x"}));
        world.run_all();
        let running = world.running();
        let key = world.store.keys().find(|key| key.starts_with(damage)).unwrap().clone();
        world.store.insert(key.clone(), b"{".to_vec());
        world.fail_over();
        world.advance(1000);
        assert_eq!(world.running(), running, "{damage}");
        assert!(!world.take_log().contains("KILL"), "{damage}");
        assert_eq!(world.store[&key], b"{", "what cannot be read is not overwritten either");
        // Defined anew, it is an app like others.
        world.post(json!({"id": "/a", "cmd": "x"}));
        world.scale("/a", 2);
        world.run_all();
        assert_eq!(world.instances("/a").len(), 2, "{damage}");
    }
}

/// The old leader's clock was an hour ahead: what it had decided to end ends all the same.
#[test]
fn a_kill_is_not_put_off_by_the_clock_of_an_earlier_leader() {
    let mut world = World::new();
    world.drainer_connected("east");
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.run_all();
    world.now += Span::from_hours(1);
    world.scale("/a", 0);
    assert!(!world.take_log().contains("KILL"), "the drainer is waited for");
    world.now = Time::from_millis(world.now.as_millis() - Span::from_hours(1).as_millis());
    world.fail_over();
    world.advance(11);
    assert!(world.take_log().contains("KILL"));
}

/// The master had given the subscription up meanwhile, and the store was slow: the answer that there is no such task would
/// have the instance launched again, and the first launch, sent at last, would run beside it, nobody's.
#[test]
fn nobody_asks_about_a_launch_that_is_not_sent_yet() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    world.hold_commits = true;
    world.offer("A", PLENTY);
    world.hear(Heard::Lost { reason: String::new() });
    world.advance(60);
    world.take_log();
    world.subscribe();
    assert!(!world.take_log().contains("RECONCILE a."));
}
