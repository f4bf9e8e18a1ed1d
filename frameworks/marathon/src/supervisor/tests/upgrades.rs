//! Stories of upgrades, told to the supervisor.

use expect_test::{Expect, expect};
use model::task::TaskState;
use serde_json::json;

use super::world::{PLENTY, World};
use crate::core::instance::Condition;

/// Upgrades an app of four instances and writes down each move: how many old and new ones there are, and what is
/// asked for next. `m` and `o` are the strategy.
fn story(m: f64, o: f64, expected: &Expect) {
    let mut world = World::new();
    let strategy = json!({"minimumHealthCapacity": m, "maximumOverCapacity": o});
    world.post(json!({"id": "/a", "cmd": "x", "instances": 4, "upgradeStrategy": strategy,
                      "healthChecks": [{"protocol": "TCP"}]}));
    world.run_all();
    for task in world.running() {
        world.health(&task, true);
    }
    world.take_log();
    world.calls.clear();
    let mut text = String::new();
    world.put("/a", json!({"cmd": "y"}));
    let config = world.view.definition(&super::world::id("/a")).unwrap().last_config_change;
    let mut rounds = 0;
    while world.deployments() > 0 {
        let (new, old): (Vec<_>, Vec<_>) =
            world.instances("/a").into_iter().partition(|instance| instance.config == config);
        let healthy = |list: &[std::sync::Arc<crate::core::instance::Instance>]| {
            list.iter().filter(|i| i.task.as_ref().is_some_and(|t| t.health.alive == Some(true))).count()
        };
        let ending = old.iter().filter(|instance| !instance.is_wanted()).count();
        text +=
            &format!("old {} ({ending} ending), new {} ({} healthy)\n", old.len(), new.len(), healthy(&new));
        world.end_killed();
        world.offer("A", PLENTY);
        for task in world.tasks_in(Condition::Provisioned) {
            world.update(&task, TaskState::Running);
        }
        // One at a time, to see each move.
        let ill = world.running().into_iter().find(|task| {
            let instance = super::world::instance_of(task);
            let instances = world.instances("/a");
            let instance = instances.iter().find(|other| other.id == instance).unwrap();
            instance.task.as_ref().unwrap().health.alive.is_none()
        });
        if let Some(task) = ill {
            world.health(&task, true);
        }
        rounds += 1;
        assert!(rounds < 50, "the upgrade does not end:\n{text}");
    }
    expected.assert_eq(&text);
}

#[test]
fn all_new_beside_all_old() {
    story(
        1.0,
        1.0,
        &expect![[r#"
        old 4 (0 ending), new 4 (0 healthy)
        old 4 (1 ending), new 4 (1 healthy)
        old 3 (1 ending), new 4 (2 healthy)
        old 2 (1 ending), new 4 (3 healthy)
        old 1 (1 ending), new 4 (4 healthy)
    "#]],
    );
}

#[test]
fn half_and_half() {
    story(
        0.5,
        0.0,
        &expect![[r#"
        old 4 (2 ending), new 0 (0 healthy)
        old 2 (1 ending), new 2 (1 healthy)
        old 1 (1 ending), new 3 (2 healthy)
        old 0 (0 ending), new 4 (3 healthy)
    "#]],
    );
}

#[test]
fn one_more_when_nothing_else_is_allowed() {
    story(
        1.0,
        0.0,
        &expect![[r#"
        old 4 (0 ending), new 1 (0 healthy)
        old 4 (1 ending), new 1 (1 healthy)
        old 3 (1 ending), new 2 (2 healthy)
        old 2 (1 ending), new 3 (3 healthy)
        old 1 (1 ending), new 4 (4 healthy)
    "#]],
    );
}

#[test]
fn everything_at_once() {
    story(
        0.0,
        0.0,
        &expect![[r#"
        old 4 (4 ending), new 0 (0 healthy)
        old 0 (0 ending), new 4 (1 healthy)
        old 0 (0 ending), new 4 (2 healthy)
        old 0 (0 ending), new 4 (3 healthy)
    "#]],
    );
}

#[test]
fn a_quarter_over() {
    story(
        0.75,
        0.25,
        &expect![[r#"
        old 4 (1 ending), new 1 (0 healthy)
        old 3 (1 ending), new 2 (1 healthy)
        old 2 (1 ending), new 3 (2 healthy)
        old 1 (1 ending), new 4 (3 healthy)
    "#]],
    );
}

#[test]
fn a_new_version_that_flaps_does_not_eat_up_the_old() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 4, "healthChecks": [{"protocol": "TCP", "maxConsecutiveFailures": 0}]}));
    world.run_all();
    for task in world.running() {
        world.health(&task, true);
    }
    let old = world.running();
    world.put("/a", json!({"cmd": "y"}));
    world.run_all();
    let flapping = world.running().into_iter().find(|task| !old.contains(task)).unwrap();
    for _ in 0..10 {
        world.health(&flapping, true);
        world.health(&flapping, false);
        world.end_killed();
    }
    let left = world.running().iter().filter(|task| old.contains(task)).count();
    assert_eq!(left, 3, "each recovery has not bought another kill");
}

#[test]
fn an_old_instance_that_ends_by_itself_is_not_replaced_by_an_old_one() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2, "healthChecks": [{"protocol": "TCP"}]}));
    world.run_all();
    for task in world.running() {
        world.health(&task, true);
    }
    let old = world.running();
    world.put("/a", json!({"cmd": "y"}));
    world.update(&old[0], TaskState::Failed);
    let config = world.view.definition(&super::world::id("/a")).unwrap().last_config_change;
    assert_eq!(world.instances("/a").iter().filter(|instance| instance.config != config).count(), 1);
}

/// A change that needs no restart by itself overrides an upgrade half way: what is left of the old configuration is
/// replaced all the same, and does not stay for ever.
#[test]
fn an_upgrade_that_is_overridden_is_finished_by_what_follows() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2}));
    world.run_all();
    world.put("/a", json!({"cmd": "y"}));
    let config = world.view.definition(&super::world::id("/a")).unwrap().last_config_change;
    world.force_put("/a", json!({"instances": 3}));
    for _ in 0..6 {
        world.end_killed();
        world.run_all();
    }
    assert_eq!(world.deployments(), 0);
    let instances = world.instances("/a");
    assert_eq!(instances.len(), 3, "{instances:#?}");
    assert!(instances.iter().all(|instance| instance.config == config), "{instances:#?}");
}

/// With no room beside the wanted number something has to give: the instance that is being killed for its bad health, and
/// not the one that serves.
#[test]
fn what_is_killed_already_makes_room_for_an_upgrade() {
    let mut world = World::new();
    let strategy = json!({"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.0});
    world.post(json!({"id": "/a", "cmd": "x", "instances": 2, "upgradeStrategy": strategy,
                      "healthChecks": [{"protocol": "MESOS_TCP", "maxConsecutiveFailures": 1, "gracePeriodSeconds": 0}]}));
    world.run_all();
    let running = world.running();
    for task in &running {
        world.health(task, true);
    }
    world.health(&running[0], false);
    world.update(&running[0], TaskState::Killing);
    world.put("/a", json!({"cmd": "y"}));
    let serves = super::world::instance_of(&running[1]);
    let instances = world.instances("/a");
    let serving = instances.iter().find(|instance| instance.id == serves).unwrap();
    assert!(serving.is_wanted() && serving.condition == Condition::Running, "{instances:#?}");
}
