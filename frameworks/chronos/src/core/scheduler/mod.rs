//! The scheduler: told what happens, it says what is to be done.
//!
//! It is passive. The driver passes inputs and the time to [`Scheduler::handle`], stores the records of its effects, and
//! then does the rest. Whatever is launched was recorded before, under the name of its due time; whatever is recorded is
//! found again by the next leader. So it may be killed between any two steps: it neither repeats nor forgets.

mod deadline;
mod due;
mod ends;
mod history;
mod hold;
mod jobs;
mod launch;
mod lost;
mod parts;
mod preempt;
mod queue;
mod requests;
mod retry;
mod suspension;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, TaskId};
use model::time::{Span, Time};
use sdk::timers::Timers;
use serde::Serialize;
use serde_json::Value;

use self::hold::Held;
use self::preempt::Promise;
use self::queue::Queue;
use super::book::Book;
use super::job::{Job, Status};
use super::message::{Command, Effect, Event, Input, Notice, Reply};
use super::refusal::Refusal;
use super::run::{Run, RunId, State};
use super::stored::{JOB, QUEUE, RUN, STATUS, Stored};
use crate::limits;

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pause before a failed attempt is repeated, for jobs that say nothing themselves.
    pub failure_retry: Span,
    /// Failed runs in a row after which a job is disabled; 0: never.
    pub disable_after_failures: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failure_retry: limits::FAILURE_RETRY, disable_after_failures: 0 }
    }
}

/// The whole of it.
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    book: Book,
    timers: Timers<Timer>,
    /// Runs that may be launched now, in the order of their turn.
    queue: Queue,
    /// Runs that may not be launched before another of their job has ended, by job.
    held: BTreeMap<Arc<str>, Held>,
    /// Jobs of these that something has happened to.
    stirred: BTreeSet<Arc<str>>,
    /// Runs that were looked at when offers came.
    considered: u64,
    /// What agents said of themselves in their offers.
    agents: BTreeMap<String, BTreeMap<String, String>>,
    /// Agents where tasks are ending, or have ended, to make room for one run.
    promised: BTreeMap<String, Promise>,
    revived_at: Option<Time>,
    /// Something was queued since offers were last asked for.
    revive: bool,
    unreadable: Vec<String>,
}

/// What there is to do later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Due(Arc<str>),
    /// The next attempt may be made.
    Attempt(RunId),
    /// It may begin no later.
    TooLate(RunId),
    /// A kill was asked for and nothing was heard.
    Kill(RunId),
    /// Its agent has been waited for as long as its job says.
    Lost(RunId),
    /// It has taken as long as it may.
    Limit(RunId),
    /// It should have begun, or have ended, to meet its deadline.
    Slack(RunId),
    /// It makes room for itself.
    Preempt(RunId),
    /// A run of it that is over has been kept long enough.
    Trim(Arc<str>),
    /// The job itself, after its last run.
    Expire(Arc<str>),
    Revive,
}

impl Scheduler {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            book: Book::default(),
            timers: Timers::default(),
            queue: Queue::default(),
            held: BTreeMap::new(),
            stirred: BTreeSet::new(),
            considered: 0,
            agents: BTreeMap::new(),
            promised: BTreeMap::new(),
            revived_at: None,
            revive: false,
            unreadable: Vec::new(),
        }
    }

    /// Takes in one input. Never fails, never blocks.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Elected(records) => {
                let read = |(key, value): (String, Value)| Stored::parsed(&key, value);
                self.elected(now, records.into_iter().map(read).collect(), out);
            }
            Input::Restored(records) => self.elected(now, records, out),
            Input::Deposed => {
                *self = Self::new(self.settings.clone());
                return;
            }
            Input::Offers(offers) => self.offers(now, offers, out),
            Input::Update(update) => self.update(now, &update, out),
            Input::Wake => {}
        }
        self.settle(now, out);
    }

    /// Does what the API asks, or says why not.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn command(&mut self, now: Time, command: Command, out: &mut Vec<Effect>) -> Result<Reply, Refusal> {
        let reply = self.obey(now, command, out);
        self.settle(now, out);
        reply
    }

    /// When [`Input::Wake`] is due.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Whether there is anything to launch.
    pub fn wants_offers(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Tasks that are not over, or may not be, for the master to be asked about.
    pub fn tasks(&self) -> Vec<(TaskId, AgentId)> {
        let whole = self.book.active.keys().flat_map(|job| self.book.active_of(job));
        let active = whole.chain(self.book.parts.values().cloned());
        let task = |run: Arc<Run>| {
            let task = run.task.as_ref().filter(|_| run.state.has_task())?;
            Some((TaskId::from(task.id.as_str()), AgentId::from(task.agent.as_str())))
        };
        let mut tasks: Vec<(TaskId, AgentId)> = active.filter_map(task).collect();
        for run in self.book.missing.iter().filter_map(|id| self.book.run(id)) {
            tasks.extend(run.missing().map(|(task, agent)| (task.into(), agent.into())));
        }
        tasks
    }

    /// What readers see.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// How many runs wait for offers: of high priority, and of all.
    pub fn queued(&self) -> (usize, usize) {
        (self.queue.high(), self.queue.len())
    }

    /// How many runs were looked at for a launch since this instance leads; one may have been looked at more than once.
    pub fn considered(&self) -> u64 {
        self.considered
    }

    /// Records that could not be read, which were left alone.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Goes on from what is stored. Nothing is launched because something is not known: the master is asked about every
    /// task that a record speaks of.
    fn elected(&mut self, now: Time, records: Vec<Stored>, out: &mut Vec<Effect>) {
        *self = Self::new(self.settings.clone());
        let mut statuses: BTreeMap<String, Box<Status>> = BTreeMap::new();
        let mut runs: Vec<Box<Run>> = Vec::new();
        let mut jobs: Vec<Box<Job>> = Vec::new();
        for record in records {
            match record {
                Stored::Job(job) => jobs.push(job),
                Stored::Status(name, status) => drop(statuses.insert(name, status)),
                Stored::Run(run) => runs.push(run),
                Stored::Queue(rule) => drop(self.book.queues.insert(Arc::clone(&rule.name), rule)),
                Stored::Other => {}
                Stored::Unreadable(key, reason) => self.unreadable.push(format!("{key}: {reason}")),
            }
        }
        for mut job in jobs {
            job.status = statuses.remove(job.name()).map(|status| *status).unwrap_or_default();
            self.book.put_job(*job);
        }
        let names: Vec<RunId> = runs.into_iter().map(|run| self.book.put_run(*run).id()).collect();
        for id in names.iter().filter(|id| id.part.is_some()) {
            if let Some(part) = self.run(id) {
                self.mend(&part, out);
            }
        }
        // Parts before wholes: the end of a whole depends on what goes on of it.
        for id in
            names.iter().filter(|id| id.part.is_some()).chain(names.iter().filter(|id| id.part.is_none()))
        {
            if let Some(run) = self.run(id) {
                self.resume(now, &run, out);
            }
        }
        let ran: BTreeSet<Arc<str>> = names.into_iter().map(|id| id.job).collect();
        for name in self.book.jobs.keys().cloned().collect::<Vec<_>>() {
            self.watch(&name);
            if ran.contains(&name) {
                self.trim(now, &name, out);
            }
        }
    }

    /// Sets the timers that a run's state asks for.
    fn resume(&mut self, now: Time, run: &Arc<Run>, out: &mut Vec<Effect>) {
        let run = &match self.by_our_clock(now, run) {
            Some(ours) => self.save(ours, out),
            None => Arc::clone(run),
        };
        match run.state {
            State::Waiting => self.enqueue(now, run),
            state if state.has_task() && run.parts.is_some() => match run.ending {
                Some(ending) => self.stop(now, run, ending, &run.reason, out),
                None => self.advance(now, run, out),
            },
            state if state.has_task() && run.ending.is_some() => self.kill_task(now, run, out),
            _ => {}
        }
        self.limit(run);
        self.watch_lost(run);
        self.watch_deadline(run);
    }

    /// Sets the timer of a job's next due time.
    fn watch(&mut self, name: &Arc<str>) {
        let due = self.book.job(name).and_then(|job| job.next_due());
        self.timers.put(Timer::Due(Arc::clone(name)), due);
        self.outlive(name);
    }

    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Due(job) => self.due(now, &job, out),
                Timer::Attempt(id) => {
                    if let Some(run) = self.run(&id) {
                        self.enqueue(now, &run);
                    }
                }
                Timer::TooLate(id) => self.too_late(now, &id, out),
                Timer::Kill(id) => {
                    if let Some(run) = self.run(&id) {
                        self.kill_task(now, &run, out);
                    }
                }
                Timer::Lost(id) => self.lost(now, &id, out),
                Timer::Slack(id) => self.pressed(now, &id, out),
                Timer::Preempt(id) => self.preempt(now, &id, out),
                Timer::Limit(id) => self.exceeded(now, &id, out),
                Timer::Trim(job) => self.trim(now, &job, out),
                Timer::Expire(job) => self.expire(now, &job, out),
                Timer::Revive => self.revive = true,
            }
        }
        self.rouse_stirred(now);
        self.ask_for_offers(now, out);
    }

    /// The driver asks when the first run is queued; here, when more come while others wait already.
    fn ask_for_offers(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.queue.is_empty() {
            self.revive = false;
            self.timers.put(Timer::Revive, None);
            return;
        }
        if self.revive {
            let earliest = self.revived_at.map_or(now, |at| at + limits::REVIVE_INTERVAL);
            if now < earliest {
                self.timers.put(Timer::Revive, Some(earliest));
                return;
            }
            self.revive = false;
            self.revived_at = Some(now);
            out.push(Effect::Revive);
        }
        if !self.timers.is_set(&Timer::Revive) {
            self.timers.put(Timer::Revive, Some(now + limits::REVIVE_AGAIN));
        }
    }

    /// Stores a run as it is now.
    fn save(&mut self, run: Run, out: &mut Vec<Effect>) -> Arc<Run> {
        let queue = |run: &Arc<Run>| Some(Arc::clone(&run.task.as_ref()?.queue));
        let before = self.book.run(&run.id()).and_then(queue);
        let run = self.book.put_run(run);
        for queue in before.into_iter().chain(queue(&run)) {
            self.queue.reshare(&queue, self.book.share(&queue));
        }
        self.stir(&run.job);
        out.push(put(format!("{RUN}{}", run.id()), &*run));
        run
    }

    fn forget(&mut self, id: &RunId, out: &mut Vec<Effect>) {
        let parts: Vec<RunId> = match id.part {
            None => {
                self.book.parts_of(id).filter(|part| part.state.is_over()).map(|part| part.id()).collect()
            }
            Some(_) => Vec::new(),
        };
        for id in parts.iter().chain([id]) {
            let task = self.book.run(id).and_then(|run| run.task.as_ref());
            let queue = task.map(|task| Arc::clone(&task.queue));
            self.book.remove_run(id);
            if let Some(queue) = queue {
                self.queue.reshare(&queue, self.book.share(&queue));
            }
            out.push(Effect::Remove { key: format!("{RUN}{id}") });
        }
    }

    /// Changes what has become of a job, and stores it.
    fn note(&mut self, name: &str, out: &mut Vec<Effect>, change: impl FnOnce(&mut Status)) {
        let Some(job) = self.book.jobs.get_mut(name) else { return };
        let job = Arc::make_mut(job);
        change(&mut job.status);
        out.push(put(format!("{STATUS}{name}"), &job.status));
    }

    fn tell(&self, name: &str, event: Event, message: String, out: &mut Vec<Effect>) {
        if let Some(job) = self.book.job(name).filter(|job| job.definition.tells_of(event)) {
            out.push(Effect::Notify(Notice { event, definition: Arc::clone(&job.definition), message }));
        }
    }
}

fn put(key: String, record: &impl Serialize) -> Effect {
    // Records have string keys and no fallible serializers.
    Effect::Put { key, value: serde_json::to_value(record).unwrap_or_default() }
}
