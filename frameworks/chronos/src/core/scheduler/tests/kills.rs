//! Killed at every step, and at random ones: no due time is run twice, none is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use model::task::TaskState;
use model::time::{Span, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::definition::Definition;
use super::super::super::message::{Command, Counters, Effect, Input, TaskUpdate};
use super::super::super::run::{self, Run, State};
use super::super::{Scheduler, Settings};
use super::world::{START, World};

/// Jobs, how many seconds lie between their due times, and how many of those there are.
const JOBS: [(&str, u64, u64); 2] = [("quick", 2, 18), ("slow", 5, 7)];
const END: Span = Span::from_secs(40);

/// A cluster that goes on while schedulers die.
struct Fate {
    world: World,
    /// Actions done since the beginning: a batch of writes, or one call.
    actions: usize,
    /// After how many of them the scheduler is killed.
    deaths: BTreeSet<usize>,
    /// Tasks that run, until their end is taken in; with when they end.
    cluster: BTreeMap<String, Time>,
    /// Every task that was ever begun.
    begun: Vec<String>,
}

struct Killed;

impl Fate {
    fn new(deaths: BTreeSet<usize>) -> Self {
        Self { world: World::new(), actions: 0, deaths, cluster: BTreeMap::new(), begun: Vec::new() }
    }

    fn step(&mut self) -> Result<(), Killed> {
        self.actions += 1;
        if self.deaths.remove(&self.actions) { Err(Killed) } else { Ok(()) }
    }

    /// Writes go together, then calls one by one: death comes between any two.
    fn apply(&mut self, out: Vec<Effect>) -> Result<(), Killed> {
        self.step()?;
        for effect in &out {
            match effect {
                Effect::Put { key, value } => drop(self.world.store.insert(key.clone(), value.clone())),
                Effect::Remove { key } => drop(self.world.store.remove(key)),
                _ => {}
            }
        }
        for effect in out {
            if let Effect::Launch { launches, .. } = effect {
                self.step()?;
                for launch in launches {
                    self.begun.push(launch.task.to_string());
                    self.cluster.insert(launch.task.to_string(), self.world.now + Span::from_millis(1500));
                }
            }
        }
        // The acknowledgement or the answer may be lost as well.
        self.step()
    }

    fn input(&mut self, input: Input) -> Result<(), Killed> {
        let mut out = Vec::new();
        self.world.scheduler.handle(self.world.now, input, &mut out);
        self.apply(out)
    }

    fn post(&mut self, job: Value) -> Result<(), Killed> {
        let definition = Box::new(Definition::read(job).unwrap_or_else(|error| panic!("{error}")));
        let mut out = Vec::new();
        let command = Command::Put { definition, counters: Counters::default() };
        self.world
            .scheduler
            .command(self.world.now, command, &mut out)
            .unwrap_or_else(|error| panic!("{error}"));
        self.apply(out)
    }

    /// What the cluster says now, of what the scheduler asks about or has not taken in.
    fn hear(&mut self) -> Result<(), Killed> {
        let told: Vec<(String, TaskState)> = self
            .cluster
            .iter()
            .map(|(task, end)| {
                let state = if *end <= self.world.now { TaskState::Finished } else { TaskState::Running };
                (task.clone(), state)
            })
            .collect();
        for (task, state) in told {
            self.input(Input::Update(TaskUpdate {
                task: task.as_str().into(),
                state,
                message: String::new(),
            }))?;
            if state == TaskState::Finished {
                self.cluster.remove(&task);
            }
        }
        Ok(())
    }

    /// The next leader reads what is stored and asks about every task it finds there.
    fn elect(&mut self) -> Result<(), Killed> {
        self.world.scheduler = Scheduler::new(Settings::default());
        let records = self.world.store.clone().into_iter().collect();
        self.input(Input::Elected(records))?;
        for (task, _) in self.world.scheduler.tasks() {
            if !self.cluster.contains_key(task.as_str()) {
                let message = "Reconciliation: Task is unknown".to_owned();
                self.input(Input::Update(TaskUpdate { task, state: TaskState::Unknown, message }))?;
            }
        }
        self.hear()
    }

    fn turn(&mut self) -> Result<(), Killed> {
        for (name, seconds, count) in JOBS {
            if !self.world.scheduler.book().jobs.contains_key(name) {
                let schedule = format!("R{count}/2026-01-01T00:00:02Z/PT{seconds}S");
                self.post(json!({"name": name, "schedule": schedule, "retries": 0, "catchup": "all"}))?;
            }
        }
        self.hear()?;
        if self.world.scheduler.next_deadline().is_some_and(|at| at <= self.world.now) {
            self.input(Input::Wake)?;
        }
        if self.world.scheduler.wants_offers() {
            let offer = self.world.next_offer("cpus:4;mem:4000;disk:4000");
            self.input(Input::Offers(vec![offer]))?;
        }
        Ok(())
    }

    /// Runs to the end, whatever happens on the way. Returns how many actions that took.
    fn live(mut self) -> usize {
        let (mut dead, mut turns) = (true, 0);
        while self.world.now < START + END || !self.cluster.is_empty() || self.world.scheduler.wants_offers()
        {
            turns += 1;
            assert!(turns < 3000, "it does not come to an end");
            let lived = if dead { self.elect() } else { self.turn() };
            dead = lived.is_err();
            self.world.now += Span::from_millis(200);
        }
        self.check();
        self.actions
    }

    /// Each due time has one outcome, and the outcomes are what really happened.
    fn check(&self) {
        let mut begun: BTreeMap<run::RunId, usize> = BTreeMap::new();
        for task in &self.begun {
            let (id, _) = run::of_task(task).unwrap_or_else(|| panic!("{task}"));
            *begun.entry(id).or_default() += 1;
        }
        for (name, seconds, count) in JOBS {
            let runs: Vec<Run> = self
                .world
                .store
                .iter()
                .filter(|(key, _)| key.starts_with(&format!("run/{name}@")))
                .map(|(_, value)| {
                    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}"))
                })
                .collect();
            for index in 0..count {
                let due = START + Span::from_secs(2 + index * seconds);
                let outcomes: Vec<&Run> =
                    runs.iter().filter(|run| run.due <= due && due <= run.up_to.unwrap_or(run.due)).collect();
                assert_eq!(outcomes.len(), 1, "{name} at {due:?}: {outcomes:?}");
                let times = begun.get(&run::RunId { job: name.into(), due }).copied().unwrap_or(0);
                match outcomes[0].state {
                    State::Succeeded => assert_eq!(times, 1, "{name} at {due:?} began {times} times"),
                    State::Skipped => assert_eq!(times, 0, "{name} at {due:?} began though skipped"),
                    other => panic!("{name} at {due:?}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn killed_at_any_step_it_neither_repeats_nor_forgets() {
    let actions = Fate::new(BTreeSet::new()).live();
    assert!(actions > 200, "only {actions} actions");
    for death in 1..=actions {
        Fate::new(BTreeSet::from([death])).live();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn killed_at_random_steps_it_neither_repeats_nor_forgets(
        deaths in prop::collection::btree_set(1usize..600, 1..40),
    ) {
        Fate::new(deaths).live();
    }
}
