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
    /// Thousandths of CPUs of the one agent; what runs is not offered.
    pub(super) cpus: i64,
    /// From when until when the agent cannot be reached; what is begun meanwhile is begun on another.
    pub(super) cut: Option<(Time, Time)>,
    pub(super) end: Span,
}

/// A task that runs, until its end is taken in.
struct Task {
    cpus: i64,
    begun: Time,
    ends: Time,
    state: TaskState,
    message: &'static str,
}

pub(super) struct Fate<'a> {
    story: &'a Story,
    world: World,
    /// Actions done since the beginning: a batch of writes, or one call.
    actions: usize,
    /// After how many of them the scheduler is cut off, and what comes then.
    deaths: BTreeMap<usize, Death>,
    /// The other scheduler, with what it knew when it last led.
    other: Scheduler,
    /// For so many more turns the other one has not heard that it leads no more.
    cut_off: u32,
    outages: bool,
    /// So many deaths that what a run loses by them (a turn each, and a launch that has to be repeated) can make it longer
    /// than the time until the next one is due.
    delays: bool,
    /// Jobs that were accepted.
    posted: BTreeSet<&'a str>,
    cluster: BTreeMap<String, Task>,
    /// Every task that was ever begun, and how it ended.
    begun: BTreeMap<String, Option<TaskState>>,
}

/// How long jobs wait here that do not wait for ever.
pub(super) const PATIENCE: Span = Span::from_secs(5);

struct Killed;

/// How a scheduler loses the lead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    /// Nobody leads for so long.
    pub(super) outage: Span,
    /// It goes on for so many turns as if it led; whatever it wants to store is refused.
    pub(super) cut_off: u32,
}

impl Death {
    /// It is killed, and the next one is there at once.
    pub(super) const SUDDEN: Self = Self { outage: Span::ZERO, cut_off: 0 };
}

impl<'a> Fate<'a> {
    pub(super) fn new(story: &'a Story, deaths: BTreeMap<usize, Death>) -> Self {
        Self {
            story,
            world: World::new(),
            actions: 0,
            outages: deaths.values().any(|death| !death.outage.is_zero()),
            delays: deaths.len() > 1,
            deaths,
            other: Scheduler::new(Settings::default()),
            cut_off: 0,
            posted: BTreeSet::new(),
            cluster: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    fn step(&mut self) -> Result<(), Killed> {
        self.actions += 1;
        let Some(death) = self.deaths.remove(&self.actions) else { return Ok(()) };
        self.world.now += death.outage;
        self.cut_off = death.cut_off;
        Err(Killed)
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
                        self.begin(launch.task.as_str(), launch.share.resources.cpus().thousandths());
                    }
                }
                Effect::Kill { task, .. } => {
                    self.step()?;
                    let cut = self.cluster.get(task.as_str()).is_some_and(|task| self.is_cut_off(task));
                    if let Some(task) =
                        self.cluster.get_mut(task.as_str()).filter(|t| t.ends > self.world.now && !cut)
                    {
                        task.ends = self.world.now;
                        task.state = TaskState::Killed;
                    }
                }
                _ => {}
            }
        }
        // The acknowledgement or the answer may be lost as well.
        self.step()
    }

    fn begin(&mut self, task: &str, cpus: i64) {
        let (id, attempt) = run::of_task(task).unwrap_or_else(|| panic!("{task}"));
        let twin = self.cluster.iter().find(|(other, t)| {
            t.ends > self.world.now
                && !self.is_given_up(t)
                && run::of_task(other).is_some_and(|(other, _)| other == id)
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
        let (begun, ends) = (self.world.now, self.world.now + end.after);
        self.begun.insert(task.to_owned(), None);
        let task_of_it = Task { cpus, begun, ends, state: end.state, message: end.message };
        self.cluster.insert(task.to_owned(), task_of_it);
    }

    /// Nobody can reach it now.
    fn is_cut_off(&self, task: &Task) -> bool {
        self.story.cut.is_some_and(|(from, until)| {
            task.begun < from && from <= self.world.now && self.world.now < until
        })
    }

    /// Its job has waited for it for long enough.
    fn is_given_up(&self, task: &Task) -> bool {
        let from = self.story.cut.filter(|_| self.is_cut_off(task)).map(|(from, _)| from);
        from.is_some_and(|from| self.world.now >= from + PATIENCE)
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
                let (state, message) = match task.ends <= now {
                    _ if self.is_cut_off(task) => (TaskState::Unreachable, ""),
                    true => (task.state, task.message),
                    false => (TaskState::Running, ""),
                };
                (name.clone(), state, message)
            })
            .collect();
        for (name, state, message) in told {
            if state.is_terminal() {
                self.begun.insert(name.clone(), Some(state));
            }
            let update = TaskUpdate {
                task: name.as_str().into(),
                agent: Some("S1".into()),
                state,
                message: message.to_owned(),
            };
            self.input(Input::Update(update))?;
            if state.is_terminal() {
                self.cluster.remove(&name);
            }
        }
        Ok(())
    }

    /// The next leader reads what is stored and asks about every task it finds there.
    fn elect(&mut self) -> Result<(), Killed> {
        // The other one takes over, from the store alone: what it remembers of its last time must not matter.
        std::mem::swap(&mut self.world.scheduler, &mut self.other);
        let records = self.world.store.clone().into_iter().collect();
        self.input(Input::Elected(records))?;
        assert!(self.world.scheduler.unreadable().is_empty(), "{:?}", self.world.scheduler.unreadable());
        for (task, _) in self.world.scheduler.tasks() {
            if !self.cluster.contains_key(task.as_str()) {
                let update = TaskUpdate {
                    task,
                    agent: None,
                    state: TaskState::Unknown,
                    message: "Reconciliation: Task is unknown".to_owned(),
                };
                self.input(Input::Update(update))?;
            }
        }
        self.hear()
    }

    /// The one that is cut off does as if it led. Nothing it wants to store is accepted, so nothing is done.
    fn haunt(&mut self) {
        let Some(left) = self.cut_off.checked_sub(1) else { return };
        self.cut_off = left;
        let offer = self.world.next_offer("cpus:9;mem:9000;disk:9000");
        let mut refused = Vec::new();
        for input in [Input::Wake, Input::Offers(vec![offer])] {
            self.other.handle(self.world.now, input, &mut refused);
        }
        if left == 0 {
            self.other.handle(self.world.now, Input::Deposed, &mut refused);
        }
    }

    fn turn(&mut self) -> Result<(), Killed> {
        for subject in &self.story.subjects {
            if self.world.store.contains_key(&format!("job/{}", subject.name())) {
                self.posted.insert(subject.name());
            }
            if !self.posted.contains(subject.name()) {
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
            let used = self.cluster.values().filter(|task| !self.is_cut_off(task)).map(|task| task.cpus);
            let free = self.story.cpus - used.sum::<i64>();
            if free > 0 {
                let text = format!("cpus:{}.{:03};mem:9000;disk:9000", free / 1000, free % 1000);
                let offer = self.world.next_offer(&text);
                self.input(Input::Offers(vec![offer]))?;
            }
        }
        Ok(())
    }

    /// Runs to the end, whatever happens on the way. Returns how many actions that took.
    pub(super) fn live(mut self) -> usize {
        let (mut dead, mut turns) = (true, 0);
        while dead
            || self.posted.len() < self.story.subjects.len()
            || self.has_to_expire()
            || self.world.now < START + self.story.end
            || !self.cluster.is_empty()
            || !self.world.scheduler.book().active.is_empty()
        {
            turns += 1;
            assert!(turns < 3000, "it does not come to an end");
            self.haunt();
            let lived = if dead { self.elect() } else { self.turn() };
            dead = lived.is_err();
            self.world.now += Span::from_millis(200);
        }
        self.check();
        self.actions
    }

    /// A job that is to go is still there.
    fn has_to_expire(&self) -> bool {
        let goes = |subject: &&Subject| !subject.job["ttlSecondsAfterFinished"].is_null();
        let stays = |subject: &Subject| self.world.store.contains_key(&format!("job/{}", subject.name()));
        self.story.subjects.iter().filter(goes).any(stays)
    }

    /// Each due time has one outcome, and the outcomes are what really happened.
    fn check(&self) {
        let lost = self.lost();
        let mut ends: BTreeMap<RunId, Vec<TaskState>> = BTreeMap::new();
        for (task, end) in &self.begun {
            let (id, _) = run::of_task(task).unwrap_or_else(|| panic!("{task}"));
            let end = end.unwrap_or_else(|| panic!("{task} was never over"));
            if !lost.contains(task) {
                ends.entry(id).or_default().push(end);
            }
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
                // What comes late finds others in its way.
                let why = &outcome.reason;
                let missed = (self.outages && why.starts_with("missed"))
                    || ((self.outages || self.delays) && why.ends_with("runs must not overlap"));
                assert!(
                    missed && outcome.state == State::Skipped || (subject.fine)(outcome),
                    "{id}: {outcome:?}"
                );
                let answer = self.world.scheduler.book().outcome(&id);
                assert_eq!(answer.map(|answer| answer.state), Some(outcome.state.name()), "{id}");
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

    /// Tasks that are on record as given up. Whatever they came to does not count for their runs, but is on record as well.
    fn lost(&self) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        for (key, value) in self.world.store.iter().filter(|(key, _)| key.starts_with("run/")) {
            let run: Run = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}"));
            let earlier =
                run.earlier.iter().filter_map(|attempt| Some((&attempt.task, attempt.lost.as_ref()?)));
            let last = run.task.iter().filter_map(|task| Some((&task.id, task.lost.as_ref()?)));
            for (task, told) in earlier.chain(last) {
                assert!(self.story.cut.is_some(), "{task} was lost while everything could be reached");
                let ended = self.begun.get(task).copied().flatten().map(TaskState::name);
                // The master may have been asked when it knew nothing of it any more.
                let fits = told.ended.as_deref() == ended || told.ended.as_deref() == Some("TASK_UNKNOWN");
                assert!(fits, "{key}: {task} ended as {ended:?}: {told:?}");
                lost.insert(task.clone());
            }
        }
        lost
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
                // What was given up may be done all the same, where nobody sees it.
                assert!(first || self.story.cut.is_some(), "{of} was done twice");
            }
        }
        assert_eq!(finished, parts.succeeded, "{id}");
        assert!(begun.iter().all(|part| parts.begun.contains(part)), "{id}: {begun} of {parts:?}");
        assert!(parts.skipped.iter().all(|part| !begun.contains(part)), "{id}: {begun} of {parts:?}");
    }
}
