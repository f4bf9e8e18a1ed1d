//! Apps created, scaled, updated and deleted.

use expect_test::expect;
use serde_json::json;

use super::world::{World, id, parsed};
use crate::core::id::DeploymentId;
use crate::supervisor::message::{Command, Refusal, Reply, UpdateOptions};

fn running(document: serde_json::Value) -> World {
    let mut world = World::new();
    world.post(document);
    world.run_all();
    assert_eq!(world.deployments(), 0);
    world.take_log();
    world.calls.clear();
    world
}

#[test]
fn scaled_up_and_down() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    world.scale("/a", 3);
    world.run_all();
    expect![[r#"
        event: deployment_info Scale /a
        answer: deployed
        call: ACCEPT o2 a.#2/1 a.#3/1
        event: status_update_event TASK_RUNNING a.#2/1
        call: ACKNOWLEDGE a.#2/1
        event: status_update_event TASK_RUNNING a.#3/1
        event: deployment_step_success Scale /a
        event: deployment_success
        call: ACKNOWLEDGE a.#3/1
    "#]]
    .assert_eq(&world.take_log());
    world.advance(60);
    world.take_log();
    world.calls.clear();
    world.scale("/a", 1);
    assert_eq!(world.deployments(), 1);
    world.end_killed();
    expect![[r#"
        event: deployment_info Scale /a
        call: KILL a.#2/1
        call: KILL a.#3/1
        answer: deployed
        event: status_update_event TASK_KILLED a.#2/1
        call: ACKNOWLEDGE a.#2/1
        event: status_update_event TASK_KILLED a.#3/1
        event: deployment_step_success Scale /a
        event: deployment_success
        call: ACKNOWLEDGE a.#3/1
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.deployments(), 0);
    assert_eq!(world.instances("/a").len(), 1);
}

#[test]
fn the_youngest_go_first_unless_asked_otherwise() {
    for (selection, survivor) in [("YOUNGEST_FIRST", 0), ("OLDEST_FIRST", 2)] {
        let mut world = running(json!({"id": "/a", "cmd": "x", "killSelection": selection}));
        let mut born = world.running();
        for _ in 0..2 {
            world.advance(10);
            let n = world.instances("/a").len() as u32 + 1;
            world.scale("/a", n);
            world.run_all();
            born.extend(world.running().into_iter().filter(|task| !born.contains(task)).collect::<Vec<_>>());
        }
        world.calls.clear();
        world.scale("/a", 1);
        world.end_killed();
        assert_eq!(world.running(), [born[survivor].clone()], "{selection}");
    }
}

#[test]
fn deleted() {
    let mut world = running(json!({"id": "/a", "cmd": "x", "instances": 2}));
    world.delete("/a");
    assert_eq!(world.view.definition(&id("/a")), None);
    world.end_killed();
    expect![[r#"
        event: deployment_info Stop /a
        call: KILL a.#1/1
        call: KILL a.#2/1
        answer: deployed
        event: status_update_event TASK_KILLED a.#1/1
        call: ACKNOWLEDGE a.#1/1
        event: status_update_event TASK_KILLED a.#2/1
        event: app_terminated_event
        event: deployment_step_success Stop /a
        event: deployment_success
        call: ACKNOWLEDGE a.#2/1
    "#]]
    .assert_eq(&world.take_log());
    let left: Vec<&String> = world.store.keys().filter(|key| !key.starts_with("events/")).collect();
    assert_eq!(left, ["framework"]);
}

#[test]
fn what_is_wrong_is_told_at_once_and_changes_nothing() {
    let mut world = World::new();
    world.post(json!({
        "id": "/a", "cpus": 0, "mem": -1, "instances": -3, "executor": "mine", "gpus": 1,
        "upgradeStrategy": {"minimumHealthCapacity": 1.5},
        "portDefinitions": [{"port": 80}, {"port": 80, "name": "UP", "protocol": "sctp"}],
        "constraints": [["hostname", "NEAR"]],
        "container": {"type": "DOCKER"},
    }));
    world.post(json!({
        "id": "/a", "cpus": 0, "executor": "mine", "role": "web", "acceptedResourceRoles": [],
        "portDefinitions": [{"port": 80}, {"port": 80, "name": "UP", "protocol": "sctp"}],
        "healthChecks": [{"portIndex": 2}, {"protocol": "COMMAND"}],
        "unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 1},
    }));
    world.post(json!({"cmd": "x"}));
    world.post(json!({"id": "/A", "cmd": "x"}));
    world.post(json!({"id": "/a", "cmd": "x", "args": ["y"], "ports": [1], "portDefinitions": []}));
    expect![[r#"
        refused: /instances: must be between 0 and 100000
        /mem: must not be negative, is -1
        /upgradeStrategy/minimumHealthCapacity: must be between 0 and 1
        /constraints(0): operator 'NEAR' must be one of UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS
        /container: must be absent: containers are not available, only commands
        /gpus: must be 0: the gpu_resources feature is not available
        refused: /: must have one of cmd and args
        /executor: must be empty or '//cmd': custom executors are not available
        /cpus: must be at least 0.001
        /portDefinitions(1)/port: 80 must not be given twice
        /portDefinitions(1)/protocol: must be 'tcp', 'udp' or 'udp,tcp'
        /portDefinitions(1)/name: must be lower case letters, digits and hyphens, with a letter or digit at both ends
        /healthChecks: must not have more than one check
        /healthChecks(0)/portIndex: 2 must be less than the number of ports, which is 2
        /healthChecks(1)/command: is required by COMMAND
        /unreachableStrategy/inactiveAfterSeconds: must not be greater than expungeAfterSeconds
        /role: 'web' must be '*', the role of this supervisor
        /acceptedResourceRoles: must not be empty
        refused: /id: is required
        refused: /id: 'A' is not a segment of an id: use lower case letters, digits and hyphens, with a letter or digit at both ends, optionally joined by dots
        refused: /ports: must not be combined with portDefinitions unless the numbers are the same
    "#]].assert_eq(&world.take_log());
    assert!(world.store.keys().all(|key| !key.contains("/a")));
}

#[test]
fn ids_and_ports_collide_by_name() {
    let mut world = running(json!({"id": "/shop/cart", "cmd": "x", "ports": [9000]}));
    world.post(json!({"id": "/shop/cart", "cmd": "x"}));
    world.post(json!({"id": "/shop", "cmd": "x"}));
    world.post(json!({"id": "/shop/cart/db", "cmd": "x"}));
    world.post(json!({"id": "/b", "cmd": "x", "ports": [9000]}));
    expect![[r#"
        refused: An app with id [/shop/cart] already exists.
        refused: /id: '/shop' is a group, because app '/shop/cart' is in it
        refused: /id: '/shop/cart' is an app, so there can be no app below it
        refused: /portDefinitions(0)/port: service port 9000 is already used by app '/shop/cart'
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_locked_app_is_left_alone_unless_forced() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    world.put("/a", json!({"cmd": "y"}));
    let deployment = world.view.deployments.keys().next().unwrap().clone();
    world.put("/a", json!({"cmd": "z"}));
    assert!(matches!(world.answers.last(), Some(Err(Refusal::Locked(ids))) if *ids == [deployment]));
    assert_eq!(world.events.last().unwrap().kind, "group_change_failed");
    world.take_log();
    world.force_put("/a", json!({"cmd": "z"}));
    expect![[r#"
        event: deployment_failed overridden by another deployment
        event: deployment_info Restart /a
        answer: deployed
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.deployments(), 1);
    assert_eq!(world.view.definition(&id("/a")).unwrap().cmd.as_deref(), Some("z"));
}

#[test]
fn the_same_again_is_no_change() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let version = world.view.definition(&id("/a")).unwrap().version;
    world.put("/a", json!({"cmd": "x"}));
    assert_eq!(world.view.definition(&id("/a")).unwrap().version, version);
    expect![[r#"
        event: deployment_success
        answer: deployed
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn versions_say_what_changed() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let seen = |world: &World| {
        let app = world.view.definition(&id("/a")).unwrap().clone();
        (app.version, app.last_scaling, app.last_config_change)
    };
    let (v0, ..) = seen(&world);
    world.scale("/a", 2);
    world.run_all();
    let (v1, scaled, changed) = seen(&world);
    assert!(v1 > v0 && scaled == v1 && changed == v0);
    world.put("/a", json!({"cmd": "y"}));
    let (v2, scaled, changed) = seen(&world);
    assert!(v2 > v1 && scaled == v2 && changed == v2);
    world.command(Command::Restart { app: id("/a"), force: true });
    let (v3, scaled, changed) = seen(&world);
    assert!(v3 > v2 && scaled == v2 && changed == v3);
}

#[test]
fn back_to_a_former_version() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let first = world.view.definition(&id("/a")).unwrap().version.to_string();
    world.force_put("/a", json!({"cmd": "y"}));
    world.force_put("/a", json!({"version": first}));
    assert_eq!(world.view.definition(&id("/a")).unwrap().cmd.as_deref(), Some("x"));
    world.take_log();
    world.put("/a", json!({"version": first, "cmd": "z"}));
    world.put("/a", json!({"version": "yesterday"}));
    world.put("/a", json!({"version": "2001-01-01T00:00:00.000Z"}));
    expect![[r#"
        refused: /version: must not be combined with other fields: it asks to go back to that version
        refused: Invalid timestamp 'yesterday' in version
        refused: App '/a' does not exist in version 2001-01-01T00:00:00.000Z
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_cancelled_deployment_is_undone() {
    let mut world = running(json!({"id": "/a", "cmd": "x", "instances": 2}));
    let untouched = world.running();
    world.put("/a", json!({"cmd": "broken"}));
    world.offer("A", super::world::PLENTY);
    let deployment: DeploymentId = world.view.deployments.keys().next().unwrap().clone();
    world.take_log();
    world.calls.clear();
    world.command(Command::CancelDeployment { deployment: deployment.clone(), force: false });
    assert_eq!(world.view.definition(&id("/a")).unwrap().cmd.as_deref(), Some("x"));
    world.end_killed();
    expect![[r#"
        event: deployment_failed overridden by another deployment
        event: deployment_info Restart /a
        call: KILL a.#3/1
        call: KILL a.#4/1
        answer: deployed
        event: status_update_event TASK_KILLED a.#3/1
        call: ACKNOWLEDGE a.#3/1
        event: status_update_event TASK_KILLED a.#4/1
        event: deployment_step_success Restart /a
        event: deployment_success
        call: ACKNOWLEDGE a.#4/1
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.running(), untouched, "those that ran the old definition go on running");
    assert_eq!(world.deployments(), 0);
    world.command(Command::CancelDeployment { deployment, force: false });
    assert!(matches!(world.answers.last(), Some(Err(Refusal::UnknownDeployment(_)))));
}

#[test]
fn a_deployment_stopped_by_force_just_stops() {
    let mut world = running(json!({"id": "/a", "cmd": "x", "instances": 2}));
    world.put("/a", json!({"cmd": "y"}));
    let deployment = world.view.deployments.keys().next().unwrap().clone();
    world.command(Command::CancelDeployment { deployment, force: true });
    assert_eq!(world.answers.last(), Some(&Ok(Reply::Cancelled)));
    assert_eq!(world.deployments(), 0);
    assert_eq!(world.view.definition(&id("/a")).unwrap().cmd.as_deref(), Some("y"));
}

#[test]
fn dependencies_come_up_first() {
    let mut world = World::new();
    let options = UpdateOptions { force: false, partial: true, create: true };
    let documents = [
        json!({"id": "/web", "cmd": "x", "dependencies": ["/db"]}),
        json!({"id": "/db", "cmd": "x", "healthChecks": [{"protocol": "TCP"}]}),
    ];
    let documents = documents.into_iter().map(|document| *parsed(document)).collect();
    world.command(Command::UpdateMany { documents, options });
    world.run_all();
    assert_eq!(world.instances("/web").len(), 0);
    let db = world.running().remove(0);
    world.health(&db, true);
    world.run_all();
    expect![[r#"
        call: REVIVE
        event: deployment_info Start /db, Start /web
        event: deployment_step_success Start /db, Start /web
        event: deployment_info Scale /db
        answer: deployed
        call: ACCEPT o1 db.#1/1
        call: SUPPRESS
        event: status_update_event TASK_RUNNING db.#1/1
        call: ACKNOWLEDGE db.#1/1
        event: health_status_changed_event db.#1/1 db.#1 true
        event: deployment_step_success Scale /db
        event: deployment_info Scale /web
        call: ACKNOWLEDGE db.#1/1
        call: ACCEPT o2 web.#2/1
        event: status_update_event TASK_RUNNING web.#2/1
        event: deployment_step_success Scale /web
        event: deployment_success
        call: ACKNOWLEDGE web.#2/1
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn many_changes_are_checked_together() {
    let mut world = World::new();
    let options = UpdateOptions { force: false, partial: true, create: true };
    let documents = [json!({"id": "/a"}), json!({"id": "/b", "cmd": "x", "cpus": -1}), json!({"cmd": "x"})];
    let documents = documents.into_iter().map(|document| *parsed(document)).collect();
    world.command(Command::UpdateMany { documents, options });
    expect![[r#"
        refused: (1)/cpus: must not be negative, is -1
        (2)/id: is required
    "#]]
    .assert_eq(&world.take_log());
    assert_eq!(world.view.apps.len(), 0);
}

#[test]
fn old_versions_are_forgotten_but_not_those_in_use() {
    let mut world = running(json!({"id": "/a", "cmd": "x"}));
    let first = world.view.definition(&id("/a")).unwrap().version;
    for n in 0..60_u32 {
        world.scale("/a", n % 2);
        world.scale("/a", 1);
    }
    let versions = &world.view.apps.get(&id("/a")).unwrap().versions;
    assert!(versions.len() <= crate::limits::VERSIONS_PER_APP + 2, "{}", versions.len());
    assert!(world.instances("/a").iter().all(|instance| versions.contains_key(&instance.version)));
    let stored = world.store.keys().filter(|key| key.starts_with("version/a/")).count();
    assert_eq!(stored, versions.len());
    assert!(
        !versions.contains_key(&first)
            || world.instances("/a").iter().any(|instance| instance.version == first)
    );
}

#[test]
fn tasks_killed_by_name_are_replaced_or_not() {
    let mut world = running(json!({"id": "/a", "cmd": "x", "instances": 3}));
    let tasks = world.running();
    world.kill(&tasks[..1], false, false);
    world.end_killed();
    world.run_all();
    assert_eq!(world.running().len(), 3);
    assert!(
        world
            .running()
            .iter()
            .any(|task| super::world::instance_of(task) == super::world::instance_of(&tasks[0]))
    );
    world.kill(&tasks[1..2], false, true);
    world.end_killed();
    world.run_all();
    assert_eq!(world.running().len(), 3);
    assert!(
        world
            .running()
            .iter()
            .all(|task| super::world::instance_of(task) != super::world::instance_of(&tasks[1]))
    );
    world.kill(&tasks[2..], true, false);
    world.end_killed();
    assert_eq!(world.running().len(), 2);
    assert!(!world.running().contains(&tasks[2]));
    assert_eq!(world.view.definition(&id("/a")).unwrap().instances, 2);
    world.kill(&tasks[2..], true, true);
    assert!(matches!(world.answers.last(), Some(Err(Refusal::BadRequest(_)))));
}
