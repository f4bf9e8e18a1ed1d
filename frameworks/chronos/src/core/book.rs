//! All that is known: jobs and runs. A copy costs nothing, so readers get the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::time::{Span, Time};

use super::fair::{self, Rule};
use super::job::Job;
use super::run::{Run, RunId, State};

#[derive(Debug, Clone, Default)]
pub struct Book {
    pub jobs: OrdMap<Arc<str>, Arc<Job>>,
    pub runs: OrdMap<RunId, Arc<Run>>,
    /// Parts of runs: those that are not over, and some that are worth a look.
    pub parts: OrdMap<RunId, Arc<Run>>,
    /// Runs that are not over, by job.
    pub active: OrdMap<Arc<str>, OrdSet<Time>>,
    /// Jobs that depend on one.
    pub children: OrdMap<Arc<str>, OrdSet<Arc<str>>>,
    /// Runs and parts with tasks that were given up as lost and have not been heard of since.
    pub missing: OrdSet<RunId>,
    /// What operators say of queues, by name.
    pub queues: OrdMap<Arc<str>, Rule>,
    /// What each queue has running, as [`super::fair::cost`] counts.
    pub usage: OrdMap<Arc<str>, u64>,
    /// Runs that wait to be launched, and for what.
    pub waiting: OrdMap<RunId, Wait>,
    /// What found no room in the last offers, by [`super::job::Work::shape`], and why.
    pub no_room: OrdMap<Arc<str>, &'static str>,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// An offer with room for this.
    Room(Arc<str>),
    /// The end of another run of its job.
    Turn,
}

impl Book {
    pub fn job(&self, name: &str) -> Option<&Arc<Job>> {
        self.jobs.get(name)
    }

    /// The runs of a job, the earliest due first.
    pub fn runs_of<'a>(&'a self, job: &str) -> impl DoubleEndedIterator<Item = &'a Arc<Run>> {
        let first = RunId::new(job, Time::ZERO);
        let last = RunId::new(job, Time::MAX);
        self.runs.range(first..=last).map(|(_, run)| run)
    }

    /// A run, or a part of one.
    pub fn run(&self, id: &RunId) -> Option<&Arc<Run>> {
        if id.part.is_some() { self.parts.get(id) } else { self.runs.get(id) }
    }

    /// The parts of a run that are on record.
    pub fn parts_of<'a>(&'a self, id: &RunId) -> impl Iterator<Item = &'a Arc<Run>> + use<'a> {
        self.parts.range(id.whole()..=id.part(u32::MAX)).map(|(_, part)| part)
    }

    /// Why a run that waits was not launched yet, for a person.
    pub fn waits_for(&self, id: &RunId) -> Option<&'static str> {
        match self.waiting.get(id)? {
            Wait::Room(shape) => self.no_room.get(shape).copied(),
            Wait::Turn => Some("another run of the job has to end first"),
        }
    }

    /// Its runs that are not over.
    pub fn active_of(&self, job: &str) -> Vec<Arc<Run>> {
        let run = |due: &Time| self.runs.get(&RunId::new(job, *due)).cloned();
        self.active.get(job).into_iter().flatten().filter_map(run).collect()
    }

    /// Puts a run in the place of its older state.
    pub fn put_run(&mut self, run: Run) -> Arc<Run> {
        let (id, run) = (run.id(), Arc::new(run));
        self.charge(&id, Some(&run));
        if run.missing().next().is_some() {
            self.missing.insert(id.clone());
        } else {
            self.missing.remove(&id);
        }
        if id.part.is_some() {
            self.parts.insert(id, Arc::clone(&run));
            return run;
        }
        let over = run.state.is_over();
        let due = self.active.get(&*id.job).cloned().unwrap_or_default();
        let due = if over { due.without(&id.due) } else { due.update(id.due) };
        if due.is_empty() {
            self.active.remove(&*id.job);
        } else {
            self.active.insert(Arc::clone(&id.job), due);
        }
        self.runs.insert(id, Arc::clone(&run));
        run
    }

    /// Keeps count of what runs as a run changes, or goes.
    fn charge(&mut self, id: &RunId, new: Option<&Run>) {
        let of = |run: &Run| {
            let task = run.task.as_ref().filter(|_| run.state.has_task())?;
            Some((Arc::clone(&task.queue), task.cost))
        };
        let (before, after) = (self.run(id).and_then(|run| of(run)), new.and_then(of));
        if before == after {
            return;
        }
        if let Some((queue, cost)) = before {
            let left = self.usage.get(&queue).map_or(0, |running| running.saturating_sub(cost));
            if left == 0 {
                self.usage.remove(&queue);
            } else {
                self.usage.insert(queue, left);
            }
        }
        if let Some((queue, cost)) = after {
            *self.usage.entry(queue).or_default() += cost;
        }
    }

    /// By which it is decided whose turn it is: the least is next.
    pub fn share(&self, queue: &str) -> u128 {
        let weight = self.queues.get(queue).map_or(1, |rule| rule.weight);
        fair::share(self.usage.get(queue).copied().unwrap_or(0), weight)
    }

    /// How long runs of a job take that succeed: the median of those that are kept.
    pub fn typical(&self, job: &str) -> Option<Span> {
        let took = |run: &Arc<Run>| Some(run.finished? - run.started?);
        let succeeded = self.runs_of(job).filter(|run| run.state == State::Succeeded);
        let mut took: Vec<Span> = succeeded.filter_map(took).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }

    pub fn remove_run(&mut self, id: &RunId) {
        self.charge(id, None);
        self.missing.remove(id);
        if id.part.is_some() {
            self.parts.remove(id);
            return;
        }
        self.runs.remove(id);
        if let Some(due) = self.active.get_mut(&*id.job) {
            due.remove(&id.due);
            if due.is_empty() {
                self.active.remove(&*id.job);
            }
        }
    }

    pub fn put_job(&mut self, job: Job) {
        let name: Arc<str> = job.name().into();
        self.unlink(&name);
        for parent in job.parents() {
            self.children.entry(parent.as_str().into()).or_default().insert(Arc::clone(&name));
        }
        self.jobs.insert(name, Arc::new(job));
    }

    pub fn remove_job(&mut self, name: &str) {
        self.unlink(name);
        self.jobs.remove(name);
    }

    fn unlink(&mut self, name: &str) {
        let Some(old) = self.jobs.get(name).cloned() else { return };
        for parent in old.parents() {
            if let Some(children) = self.children.get_mut(parent.as_str()) {
                children.remove(name);
            }
        }
    }

    pub fn children_of(&self, name: &str) -> Vec<Arc<str>> {
        self.children.get(name).into_iter().flatten().cloned().collect()
    }

    /// A way from `job` to itself if it had these parents: the names on it.
    pub fn cycle(&self, job: &str, parents: &BTreeSet<String>) -> Option<Vec<String>> {
        // From the job down to its dependants; one of them among the parents closes the circle.
        let mut from: BTreeMap<Arc<str>, Option<Arc<str>>> = BTreeMap::from([(job.into(), None)]);
        let mut open: Vec<Arc<str>> = vec![job.into()];
        while let Some(name) = open.pop() {
            if parents.contains(&*name) {
                let before = |name: &Arc<str>| from.get(name).cloned().flatten();
                let mut way: Vec<String> =
                    std::iter::successors(Some(name), before).map(|name| name.to_string()).collect();
                way.reverse();
                way.push(job.to_owned());
                return Some(way);
            }
            for child in self.children_of(&name) {
                if !from.contains_key(&child) {
                    from.insert(Arc::clone(&child), Some(Arc::clone(&name)));
                    open.push(child);
                }
            }
        }
        None
    }
}
