//! The scheduler: told what happens, it says what is to be done.
//!
//! It is passive. The driver passes inputs and the time to [`Scheduler::handle`], stores the records of its effects, and
//! then does the rest. Whatever is launched was recorded before, under the name of its due time; whatever is recorded is
//! found again by the next leader. So it may be killed between any two steps: it neither repeats nor forgets.

mod deadline;
mod due;
mod ends;
mod history;
mod jobs;
mod launch;
mod parts;
mod preempt;
mod queue;
mod requests;
mod suspension;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::id::{AgentId, TaskId};
use model::time::{Span, Time};
use serde::Serialize;
use serde_json::Value;

use self::queue::Queue;
use super::book::Book;
use super::fair::Rule;
use super::job::{Job, JobRecord, Status};
use super::message::{Command, Effect, Event, Input, Notice, Reply};
use super::refusal::Refusal;
use super::run::{Run, RunId, State};
use super::timers::Timers;
use crate::limits;

const JOB: &str = "job/";
const STATUS: &str = "status/";
const RUN: &str = "run/";
const QUEUE: &str = "queue/";

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
    /// What agents said of themselves in their offers.
    agents: BTreeMap<String, BTreeMap<String, String>>,
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
            agents: BTreeMap::new(),
            revived_at: None,
            revive: false,
            unreadable: Vec::new(),
        }
    }

    /// Takes in one input. Never fails, never blocks.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Elected(records) => self.elected(now, records, out),
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

    /// Tasks that are not over, for the master to be asked about.
    pub fn tasks(&self) -> Vec<(TaskId, AgentId)> {
        let whole = self.book.active.keys().flat_map(|job| self.book.active_of(job));
        let active = whole.chain(self.book.parts.values().cloned());
        let task = |run: Arc<Run>| {
            let task = run.task.as_ref().filter(|_| run.state.has_task())?;
            Some((TaskId::from(task.id.as_str()), AgentId::from(task.agent.as_str())))
        };
        active.filter_map(task).collect()
    }

    /// What readers see.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// How many runs wait for offers: of high priority, and of all.
    pub fn queued(&self) -> (usize, usize) {
        (self.queue.high(), self.queue.len())
    }

    /// Records that could not be read, which were left alone.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Goes on from what is stored. Nothing is launched because something is not known: the master is asked about every
    /// task that a record speaks of.
    fn elected(&mut self, now: Time, records: Vec<(String, Value)>, out: &mut Vec<Effect>) {
        *self = Self::new(self.settings.clone());
        let mut statuses: BTreeMap<String, Status> = BTreeMap::new();
        let mut runs: Vec<Run> = Vec::new();
        let mut jobs: Vec<Job> = Vec::new();
        for (key, value) in records {
            let read = if let Some(name) = key.strip_prefix(STATUS) {
                read(value).map(|status| drop(statuses.insert(name.to_owned(), status)))
            } else if key.starts_with(QUEUE) {
                read(value).map(|rule: Rule| drop(self.book.queues.insert(Arc::clone(&rule.name), rule)))
            } else if key.starts_with(RUN) {
                read(value).map(|run| runs.push(run))
            } else if key.starts_with(JOB) {
                read(value).and_then(|record: JobRecord| {
                    Job::from_record(record).map(|job| jobs.push(job)).map_err(|refusal| refusal.to_string())
                })
            } else {
                Ok(())
            };
            if let Err(reason) = read {
                self.unreadable.push(format!("{key}: {reason}"));
            }
        }
        for mut job in jobs {
            job.status = statuses.remove(job.name()).unwrap_or_default();
            self.book.put_job(job);
        }
        let names: Vec<RunId> = runs.into_iter().map(|run| self.book.put_run(run).id()).collect();
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
        let names: Vec<Arc<str>> = self.book.jobs.keys().cloned().collect();
        for name in names {
            self.watch(&name);
            self.trim(now, &name, out);
        }
    }

    /// Sets the timers that a run's state asks for.
    fn resume(&mut self, now: Time, run: &Run, out: &mut Vec<Effect>) {
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
        self.watch_deadline(run);
    }

    /// Sets the timer of a job's next due time.
    fn watch(&mut self, name: &Arc<str>) {
        let due = self.book.job(name).and_then(|job| job.next_due());
        self.timers.set(Timer::Due(Arc::clone(name)), due);
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
                Timer::Slack(id) => self.pressed(now, &id, out),
                Timer::Preempt(id) => self.preempt(now, &id, out),
                Timer::Limit(id) => self.exceeded(now, &id, out),
                Timer::Trim(job) => self.trim(now, &job, out),
                Timer::Expire(job) => self.expire(now, &job, out),
                Timer::Revive => self.revive = true,
            }
        }
        self.ask_for_offers(now, out);
    }

    /// The driver asks when the first run is queued; here, when more come while others wait already.
    fn ask_for_offers(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.queue.is_empty() {
            self.revive = false;
            self.timers.set(Timer::Revive, None);
            return;
        }
        if self.revive {
            let earliest = self.revived_at.map_or(now, |at| at + limits::REVIVE_INTERVAL);
            if now < earliest {
                self.timers.set(Timer::Revive, Some(earliest));
                return;
            }
            self.revive = false;
            self.revived_at = Some(now);
            out.push(Effect::Revive);
        }
        if !self.timers.is_set(&Timer::Revive) {
            self.timers.set(Timer::Revive, Some(now + limits::REVIVE_AGAIN));
        }
    }

    /// Stores a run as it is now.
    fn save(&mut self, run: Run, out: &mut Vec<Effect>) -> Arc<Run> {
        let run = self.book.put_run(run);
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
            self.book.remove_run(id);
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

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn put(key: String, record: &impl Serialize) -> Effect {
    // Records have string keys and no fallible serializers.
    Effect::Put { key, value: serde_json::to_value(record).unwrap_or_default() }
}
