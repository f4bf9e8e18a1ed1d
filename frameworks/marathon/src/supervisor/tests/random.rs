//! Laws that hold whatever happens.

use model::id::TaskId;
use model::task::TaskState;
use proptest::prelude::*;
use serde_json::json;

use super::world::{PLENTY, World, id};
use crate::core::instance::{Condition, Instance};
use crate::core::upgrade::{Bounds, upgrade};
use crate::supervisor::message::Command;

/// Something that may happen to a supervisor. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Happening {
    Create(u8),
    Change(u8),
    Scale(u8, u8),
    Delete(u8),
    Restart(u8),
    Cancel(bool),
    Kill(u8, bool, bool),
    Offer(u8),
    Progress(u8, TaskState),
    Health(u8, bool),
    EndKilled,
    Drainer(bool),
    Drained(u8),
    Pass(u16),
    FailOver,
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop::sample::select(TaskState::ALL.to_vec());
    prop_oneof![
        2 => (0..3_u8).prop_map(Happening::Create),
        2 => (0..3_u8).prop_map(Happening::Change),
        3 => (0..3_u8, 0..5_u8).prop_map(|(app, n)| Happening::Scale(app, n)),
        1 => (0..3_u8).prop_map(Happening::Delete),
        1 => (0..3_u8).prop_map(Happening::Restart),
        1 => any::<bool>().prop_map(Happening::Cancel),
        2 => (any::<u8>(), any::<bool>(), any::<bool>()).prop_map(|(n, scale, wipe)| Happening::Kill(n, scale, wipe)),
        6 => (1..4_u8).prop_map(Happening::Offer),
        8 => (any::<u8>(), state).prop_map(|(n, state)| Happening::Progress(n, state)),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(n, healthy)| Happening::Health(n, healthy)),
        3 => Just(Happening::EndKilled),
        1 => any::<bool>().prop_map(Happening::Drainer),
        2 => any::<u8>().prop_map(Happening::Drained),
        3 => (0..400_u16).prop_map(Happening::Pass),
        1 => Just(Happening::FailOver),
    ]
}

fn name(app: u8) -> String {
    format!("/g/app{app}")
}

fn some_task(world: &World, n: u8) -> Option<TaskId> {
    let tasks: Vec<TaskId> = world
        .supervisor()
        .state
        .instances
        .values()
        .filter_map(|instance| Some(instance.task.as_ref()?.id.clone()))
        .collect();
    (!tasks.is_empty()).then(|| tasks[usize::from(n) % tasks.len()].clone())
}

fn happen(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Create(app) => {
            let checks = if *app == 0 { json!([]) } else { json!([{"protocol": "TCP"}]) };
            world.post(
                json!({"id": name(*app), "cmd": "x", "instances": 2, "healthChecks": checks, "cpus": 0.1}),
            );
        }
        Happening::Change(app) => {
            let cmd = format!("x {}", world.now.as_millis());
            world.force_put(&name(*app), json!({"cmd": cmd}));
        }
        Happening::Scale(app, n) => world.force_put(&name(*app), json!({"instances": n})),
        Happening::Delete(app) => world.delete(&name(*app)),
        Happening::Restart(app) => world.command(Command::Restart { app: id(&name(*app)), force: true }),
        Happening::Cancel(force) => {
            if let Some(deployment) = world.view.deployments.keys().next().cloned() {
                world.command(Command::CancelDeployment { deployment, force: *force });
            }
        }
        Happening::Kill(n, scale, wipe) => {
            if let Some(task) = some_task(world, *n) {
                world.kill(&[task], *scale, *wipe);
            }
        }
        Happening::Offer(cpus) => world.offer("A", &format!("cpus:0.{cpus};mem:1000;ports:[31000-31010]")),
        Happening::Progress(n, state) => {
            if let Some(task) = some_task(world, *n) {
                world.update(&task, *state);
            }
        }
        Happening::Health(n, healthy) => {
            if let Some(task) = some_task(world, *n) {
                world.health(&task, *healthy);
            }
        }
        Happening::EndKilled => world.end_killed(),
        Happening::Drainer(true) => world.drainer_connected("d"),
        Happening::Drainer(false) => world.drainer_disconnected("d"),
        Happening::Drained(n) => {
            if let Some(task) = some_task(world, *n) {
                world.command(Command::Drained { drainer: "d".to_owned(), tasks: vec![task] });
            }
        }
        Happening::Pass(secs) => world.advance((*secs).into()),
        Happening::FailOver => world.fail_over(),
    }
}

/// What a leader knows is what a successor would read.
fn stored_is_known(world: &World) {
    let record = |(key, value): (&String, &Vec<u8>)| crate::supervisor::message::Record {
        key: key.clone(),
        value: value.clone(),
    };
    let records: Vec<_> = world.store.iter().map(record).collect();
    let loaded = crate::supervisor::record::decode(&records);
    assert_eq!(loaded.unreadable, Vec::<String>::new());
    let (stored, known) = (&loaded.state, &world.supervisor().state);
    assert_eq!(stored.deployments, known.deployments);
    assert_eq!(stored.locks, known.locks);
    let launched = |instance: &&std::sync::Arc<Instance>| instance.is_stored();
    assert!(stored.instances.values().eq(known.instances.values().filter(launched)));
    for (id, app) in &known.apps {
        assert_eq!(stored.apps.get(id).and_then(|app| app.current), app.current, "{id}");
        assert_eq!(stored.apps.get(id).map(|app| &app.versions), Some(&app.versions), "{id}");
    }
}

/// Every launch was recorded before, and no task is launched twice.
fn launches_are_recorded(world: &World, launched: &mut std::collections::BTreeSet<TaskId>, seen: &mut usize) {
    if world.calls.len() < *seen {
        *seen = 0;
    }
    for call in &world.calls[*seen..] {
        for task in sdk::call::launched(call) {
            assert!(launched.insert(task.clone()), "{task} is launched twice");
            let instance = super::world::instance_of(&task);
            let gone = world.supervisor().state.instance(&instance).is_none();
            assert!(
                gone || world.store.contains_key(&format!("instance/{instance}")),
                "{instance} is not stored"
            );
        }
    }
    *seen = world.calls.len();
}

/// Agents do as they are told until nothing is left to do.
fn settle(world: &mut World) {
    world.command(Command::Drained { drainer: "d".to_owned(), tasks: Vec::new() });
    for _ in 0..60 {
        world.drainer_disconnected("d");
        world.advance(301);
        world.end_killed();
        world.offer("A", PLENTY);
        for condition in [Condition::Provisioned, Condition::Staging, Condition::Starting] {
            for task in world.tasks_in(condition) {
                world.update(&task, TaskState::Running);
            }
        }
        for task in
            world.tasks_in(Condition::Unreachable).into_iter().chain(world.tasks_in(Condition::Killing))
        {
            world.update(&task, TaskState::Gone);
        }
        for task in world.running() {
            world.health(&task, true);
        }
    }
}

fn converged(world: &World) {
    assert_eq!(world.deployments(), 0, "{:?}", world.supervisor().state.deployments);
    for (id, app) in &world.supervisor().state.apps {
        let definition = app.definition().unwrap_or_else(|| panic!("{id} was deleted and is still there"));
        let instances = world.instances(id.as_str());
        assert_eq!(instances.len(), definition.instances as usize, "{id}: {instances:#?}");
        assert!(instances.iter().all(|i| i.is_wanted() && i.is_healthy(definition)), "{id}: {instances:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_happens_it_converges(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        let (mut launched, mut seen) = (Default::default(), 0);
        for happening in &happenings {
            happen(&mut world, happening);
            stored_is_known(&world);
            launches_are_recorded(&world, &mut launched, &mut seen);
        }
        settle(&mut world);
        stored_is_known(&world);
        converged(&world);
        let numbers: Vec<u64> = world.events.iter().map(|event| event.number).collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "events have no gaps");
    }

    #[test]
    fn an_upgrade_keeps_its_bounds(
        wanted in 1..8_u32,
        before in 0..10_u32,
        m in 0..=4_u32,
        o in 0..=4_u32,
        moves in prop::collection::vec((any::<u8>(), 0..8_u8), 0..200),
    ) {
        let mut model = Upgrade::new(wanted, before, m, o);
        for (which, what) in moves {
            model.disturb(which, what);
            model.step();
        }
        for _ in 0..200 {
            model.obey();
            model.step();
        }
        prop_assert!(model.done, "the upgrade does not end: {model:?}");
    }
}

/// An upgrade without anything around it.
#[derive(Debug)]
struct Upgrade {
    app: crate::core::app::AppDefinition,
    instances: Vec<Instance>,
    made: u32,
    done: bool,
}

impl Upgrade {
    fn new(wanted: u32, before: u32, m: u32, o: u32) -> Self {
        let quarter = |n: u32| crate::core::ratio::Ratio::from_millionths(n * 250_000);
        let mut app = crate::core::app::AppDefinition::with_defaults(id("/a"), "*");
        app.instances = wanted;
        app.upgrade.minimum_health = quarter(m);
        app.upgrade.maximum_over = quarter(o);
        let mut model = Self { app, instances: Vec::new(), made: 0, done: false };
        for _ in 0..before {
            model.make();
        }
        for instance in &mut model.instances {
            instance.condition = Condition::Running;
        }
        let version = crate::core::version::Version(model::time::Time::from_secs(9));
        (model.app.version, model.app.last_config_change) = (version, version);
        model
    }

    fn make(&mut self) {
        self.made += 1;
        let id = crate::core::id::InstanceId::new(&self.app.id, &format!("{:08x}", self.made));
        self.instances.push(Instance::scheduled(id, &self.app, model::time::Time::ZERO));
    }

    fn healthy(&self) -> u32 {
        let healthy = |i: &&Instance| i.is_wanted() && i.is_healthy(&self.app);
        self.instances.iter().filter(healthy).count() as u32
    }

    /// One step of the upgrade, which must keep the bounds by its own doing.
    fn step(&mut self) {
        let refs: Vec<&Instance> = self.instances.iter().collect();
        let healthy = self.healthy();
        let bounds = Bounds::of(&self.app, healthy);
        let steps = upgrade(&self.app, &refs);
        self.done = steps.done;
        for id in &steps.decommission {
            let at = self.instances.iter().position(|i| i.id == *id).unwrap();
            if self.instances[at].condition == Condition::Scheduled {
                self.instances.remove(at);
            } else {
                self.instances[at].goal = crate::core::instance::Goal::Decommissioned;
            }
        }
        let after = self.healthy();
        assert!(
            after == healthy || after >= bounds.min_healthy,
            "{healthy} -> {after} healthy with {bounds:?}"
        );
        let present = self.instances.len() as u32;
        for _ in 0..steps.schedule {
            self.make();
        }
        let grown = self.instances.len() as u32;
        assert!(grown == present || grown <= bounds.max_capacity, "{present} -> {grown} with {bounds:?}");
    }

    fn disturb(&mut self, which: u8, what: u8) {
        if self.instances.is_empty() {
            return;
        }
        let at = usize::from(which) % self.instances.len();
        let instance = &mut self.instances[at];
        match what {
            0 | 1 => instance.condition = Condition::Running,
            2 => instance.condition = Condition::Starting,
            3 if instance.config == self.app.last_config_change && instance.is_wanted() => {
                instance.condition = Condition::Scheduled;
            }
            4 if !instance.is_wanted() || instance.config != self.app.last_config_change => {
                self.instances.remove(at);
            }
            _ => {}
        }
    }

    /// What was started runs, what was ended is gone.
    fn obey(&mut self) {
        self.instances.retain(Instance::is_wanted);
        let config = self.app.last_config_change;
        // The old ones stay as they are: ill ones will never be well.
        for instance in self.instances.iter_mut().filter(|instance| instance.config == config) {
            instance.condition = Condition::Running;
        }
    }
}
