//! A cluster that goes on while schedulers die between any two of their steps, and what has to be true in the end.

use std::collections::{BTreeMap, BTreeSet};

use model::task::TaskState;
use model::time::{Span, Time};
use serde_json::Value;

use super::super::super::definition::Definition;
use super::super::super::indexes::Indexes;
use super::super::super::message::{Command, Counters, Effect, Input, TaskUpdate};
use super::super::super::parts::Parts;
use super::super::super::run::{self, Run, RunId, State};
use super::super::{Scheduler, Settings};
use super::world::{START, World};

/// What becomes of a task once it is begun: how long it takes, and how it ends.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) after: Span,
    pub(super) state: TaskState,
    pub(super) message: &'static str,
}

impl End {
    pub(super) const fn ok(millis: u64) -> Self {
        Self { after: Span::from_millis(millis), state: TaskState::Finished, message: "" }
    }

    pub(super) const fn exit(millis: u64, message: &'static str) -> Self {
        Self { after: Span::from_millis(millis), state: TaskState::Failed, message }
    }
}

/// A job, its due times, and what may become of them.
pub(super) struct Subject {
    pub(super) job: Value,
    pub(super) due: Vec<Time>,
    /// How a task of it ends.
    pub(super) end: fn(&RunId, u32) -> End,
    /// Parts that have to be over when a part begins.
    pub(super) after: fn(u32) -> &'static [u32],
    /// Whether a run of it may end like this.
    pub(super) fine: fn(&Run) -> bool,
}

impl Subject {
    pub(super) fn name(&self) -> &str {
        self.job["name"].as_str().expect("a name")
    }
}

/// So many due times, from two seconds after the start, so many seconds apart.
pub(super) fn every(seconds: u64, count: u64) -> Vec<Time> {
    (0..count).map(|index| START + Span::from_secs(2 + index * seconds)).collect()
}

/// What users ask for on the way: the command, when the answer of the scheduler says that it is not done yet.
pub(super) type Wish = fn(&World) -> Option<Command>;

pub(super) struct Story {
    pub(super) subjects: Vec<Subject>,
    pub(super) wishes: Vec<Wish>,
    pub(super) offer: &'static str,
    pub(super) end: Span,
}

/// A task that runs, until its end is taken in.
struct Task {
    ends: Time,
    state: TaskState,
    message: &'static str,
}

pub(super) struct Fate<'a> {
    story: &'a Story,
    world: World,
    /// Actions done since the beginning: a batch of writes, or one call.
    actions: usize,
    /// After how many of them the scheduler is killed.
    deaths: BTreeSet<usize>,
    cluster: BTreeMap<String, Task>,
    /// Every task that was ever begun, and how it ended.
    begun: BTreeMap<String, Option<TaskState>>,
}

struct Killed;

impl<'a> Fate<'a> {
    pub(super) fn new(story: &'a Story, deaths: BTreeSet<usize>) -> Self {
        let (cluster, begun) = (BTreeMap::new(), BTreeMap::new());
        Self { story, world: World::new(), actions: 0, deaths, cluster, begun }
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
            match effect {
                Effect::Launch { launches, .. } => {
                    self.step()?;
                    for launch in launches {
                        self.begin(launch.task.as_str());
                    }
                }
                Effect::Kill { task, .. } => {
                    self.step()?;
                    if let Some(task) =
                        self.cluster.get_mut(task.as_str()).filter(|t| t.ends > self.world.now)
                    {
                        *task = Task { ends: self.world.now, state: TaskState::Killed, message: "" };
                    }
                }
                _ => {}
            }
        }
        // The acknowledgement or the answer may be lost as well.
        self.step()
    }

    fn begin(&mut self, task: &str) {
        let (id, attempt) = run::of_task(task).unwrap_or_else(|| panic!("{task}"));
        let twin = self.cluster.iter().find(|(other, t)| {
            t.ends > self.world.now && run::of_task(other).is_some_and(|(other, _)| other == id)
        });
        assert!(twin.is_none(), "{task} begins while another of it runs");
        assert!(!self.begun.contains_key(task), "{task} begins twice");
        let subject = self.story.subjects.iter().find(|subject| *subject.name() == *id.job);
        let subject = subject.unwrap_or_else(|| panic!("{task}"));
        for part in id.part.map_or(&[][..], subject.after) {
            let before = id.part(*part);
            let goes_on =
                self.cluster.keys().any(|task| run::of_task(task).is_some_and(|(id, _)| id == before));
            assert!(!goes_on, "{task} begins before {before} is over");
        }
        let end = (subject.end)(&id, attempt);
        let ends = self.world.now + end.after;
        self.begun.insert(task.to_owned(), None);
        self.cluster.insert(task.to_owned(), Task { ends, state: end.state, message: end.message });
    }

    fn input(&mut self, input: Input) -> Result<(), Killed> {
        let mut out = Vec::new();
        self.world.scheduler.handle(self.world.now, input, &mut out);
        self.apply(out)
    }

    fn command(&mut self, command: Command) -> Result<(), Killed> {
        let mut out = Vec::new();
        self.world
            .scheduler
            .command(self.world.now, command, &mut out)
            .unwrap_or_else(|error| panic!("{error}"));
        self.apply(out)
    }

    /// What the cluster says now, of what the scheduler asks about or has not taken in.
    fn hear(&mut self) -> Result<(), Killed> {
        let now = self.world.now;
        let told: Vec<(String, TaskState, &str)> = self
            .cluster
            .iter()
            .map(|(name, task)| {
                let over = task.ends <= now;
                let (state, message) =
                    if over { (task.state, task.message) } else { (TaskState::Running, "") };
                (name.clone(), state, message)
            })
            .collect();
        for (name, state, message) in told {
            if state.is_terminal() {
                self.begun.insert(name.clone(), Some(state));
            }
            let task = name.as_str().into();
            self.input(Input::Update(TaskUpdate { task, state, message: message.to_owned() }))?;
            if state.is_terminal() {
                self.cluster.remove(&name);
            }
        }
        Ok(())
    }

    /// The next leader reads what is stored and asks about every task it finds there.
    fn elect(&mut self) -> Result<(), Killed> {
        self.world.scheduler = Scheduler::new(Settings::default());
        let records = self.world.store.clone().into_iter().collect();
        self.input(Input::Elected(records))?;
        assert!(self.world.scheduler.unreadable().is_empty(), "{:?}", self.world.scheduler.unreadable());
        for (task, _) in self.world.scheduler.tasks() {
            if !self.cluster.contains_key(task.as_str()) {
                let message = "Reconciliation: Task is unknown".to_owned();
                self.input(Input::Update(TaskUpdate { task, state: TaskState::Unknown, message }))?;
            }
        }
        self.hear()
    }

    fn turn(&mut self) -> Result<(), Killed> {
        for subject in &self.story.subjects {
            let known = self.world.scheduler.book().jobs.contains_key(subject.name());
            if !known && self.world.now < START + Span::from_secs(2) {
                let definition = Definition::read(subject.job.clone());
                let definition = Box::new(definition.unwrap_or_else(|error| panic!("{error}")));
                self.command(Command::Put { definition, counters: Counters::default() })?;
            }
        }
        for wish in &self.story.wishes {
            if let Some(command) = wish(&self.world) {
                self.command(command)?;
            }
        }
        self.hear()?;
        if self.world.scheduler.next_deadline().is_some_and(|at| at <= self.world.now) {
            self.input(Input::Wake)?;
        }
        if self.world.scheduler.wants_offers() {
            let offer = self.world.next_offer(self.story.offer);
            self.input(Input::Offers(vec![offer]))?;
        }
        Ok(())
    }

    /// Runs to the end, whatever happens on the way. Returns how many actions that took.
    pub(super) fn live(mut self) -> usize {
        let (mut dead, mut turns) = (true, 0);
        while self.world.now < START + self.story.end
            || !self.cluster.is_empty()
            || !self.world.scheduler.book().active.is_empty()
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
        let mut ends: BTreeMap<RunId, Vec<TaskState>> = BTreeMap::new();
        for (task, end) in &self.begun {
            let (id, _) = run::of_task(task).unwrap_or_else(|| panic!("{task}"));
            let end = end.unwrap_or_else(|| panic!("{task} was never over"));
            ends.entry(id).or_default().push(end);
        }
        for subject in &self.story.subjects {
            let name = subject.name();
            let kept = self.world.store.contains_key(&format!("job/{name}"));
            let prefix = format!("run/{name}@");
            let read = |value: &Value| -> Run {
                serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}"))
            };
            let records = self.world.store.iter().filter(|(key, _)| key.starts_with(&prefix));
            let (parts, runs): (Vec<Run>, Vec<Run>) =
                records.map(|(_, value)| read(value)).partition(|run| run.part.is_some());
            assert!(parts.iter().all(|part| part.state.is_over()), "{parts:?}");
            assert_eq!(kept, subject.job["ttlSecondsAfterFinished"].is_null(), "{name}");
            assert!(kept || runs.is_empty(), "{name} is gone, its runs are not");
            for due in &subject.due {
                let id = RunId::new(name, *due);
                let ends = ends.get(&id).cloned().unwrap_or_default();
                let finished = ends.iter().filter(|end| **end == TaskState::Finished).count();
                if !kept {
                    assert_eq!(finished, 1, "{id}");
                    continue;
                }
                let covers = |run: &&Run| run.due <= *due && *due <= run.up_to.unwrap_or(run.due);
                let outcomes: Vec<&Run> = runs.iter().filter(covers).collect();
                assert_eq!(outcomes.len(), 1, "{id}: {outcomes:?}");
                let outcome = outcomes[0];
                assert!((subject.fine)(outcome), "{id}: {outcome:?}");
                if let Some(parts) = &outcome.parts {
                    self.check_parts(&id, parts);
                    continue;
                }
                match outcome.state {
                    State::Succeeded => assert_eq!(finished, 1, "{id}: {ends:?}"),
                    State::Failed | State::Killed => assert_eq!(finished, 0, "{id}: {ends:?}"),
                    State::Skipped => assert!(ends.is_empty(), "{id} was skipped: {ends:?}"),
                    other => panic!("{id} is {other:?} in the end"),
                }
            }
        }
    }

    /// What is said of each part is what happened to it.
    fn check_parts(&self, id: &RunId, parts: &Parts) {
        let mut finished = Indexes::default();
        let mut begun = Indexes::default();
        for (task, end) in &self.begun {
            let (of, _) = run::of_task(task).unwrap_or_else(|| panic!("{task}"));
            if let (true, Some(part)) = (of.whole() == *id, of.part) {
                begun.insert(part);
                let first = *end != Some(TaskState::Finished) || finished.insert(part);
                assert!(first, "{of} was done twice");
            }
        }
        assert_eq!(finished, parts.succeeded, "{id}");
        assert!(begun.iter().all(|part| parts.begun.contains(part)), "{id}: {begun} of {parts:?}");
        assert!(parts.skipped.iter().all(|part| !begun.contains(part)), "{id}: {begun} of {parts:?}");
    }
}
