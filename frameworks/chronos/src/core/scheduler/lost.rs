//! Agents that cannot be reached: for how long their tasks are waited for, and what becomes of one that returns.
//!
//! A task that was given up may go on unseen. So it stays on record until it is heard of: it is killed when it returns, and
//! how it ended is written beside its attempt. The run has one outcome, whatever that attempt came to.

use std::sync::Arc;

use model::task::TaskState;
use model::time::Time;

use super::super::message::{Effect, TaskUpdate};
use super::super::run::{Lost, Run, RunId, State};
use super::ends::exit_code;
use super::{RUN, Scheduler, Timer};

impl Scheduler {
    /// A task cannot be reached. Masters say so again whenever they are asked.
    pub(super) fn unreachable(&mut self, now: Time, run: &Run, out: &mut Vec<Effect>) {
        if run.orphan {
            // Its job is gone, and how long to wait with it. Should the task return, no record speaks of it, and it is killed.
            return self.task_over(now, run, TaskState::Lost, "", out);
        }
        if run.state == State::Unreachable {
            return;
        }
        let mut run = run.clone();
        run.state = State::Unreachable;
        // By our clock: by that of a master, which says so as well, a task would be given up as much too soon as it is behind.
        run.unreachable_since = Some(now);
        if run.ending.is_none() {
            run.reason = "its agent cannot be reached".to_owned();
        }
        let run = self.save(run, out);
        self.watch_lost(&run);
    }

    /// Sets the time when a task that cannot be reached is given up.
    pub(super) fn watch_lost(&mut self, run: &Run) {
        let unreachable = self.book.job(&run.job).map(|job| job.unreachable()).unwrap_or_default();
        let since = run.unreachable_since.filter(|_| run.state == State::Unreachable);
        let at = since.zip(unreachable.patience()).map(|(since, patience)| since + patience);
        self.timers.put(Timer::Lost(run.id()), at);
    }

    /// Its job says something else of agents that cannot be reached.
    pub(super) fn watch_lost_of(&mut self, job: &str) {
        let wholes = self.book.active_of(job);
        let parts = wholes.iter().flat_map(|run| self.book.parts_of(&run.id())).cloned();
        let runs: Vec<Arc<Run>> = parts.chain(wholes.iter().cloned()).collect();
        for run in runs.iter().filter(|run| run.state == State::Unreachable) {
            self.watch_lost(run);
        }
    }

    /// An agent has been waited for as long as the job says: the attempt is over, and what that means is as for others.
    pub(super) fn lost(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) {
        let Some(run) = self.run(id).filter(|run| run.state == State::Unreachable) else { return };
        let mut run = (*run).clone();
        let passed = now - run.unreachable_since.unwrap_or(now);
        let why = format!("lost: its agent could not be reached for {passed}");
        if let Some(task) = &mut run.task {
            task.lost = Some(Lost::default());
        }
        self.task_over(now, &run, TaskState::Lost, &why, out);
    }

    /// Takes in what is said of a task that is not the present one of its run. Whoever returns is not wanted any more,
    /// unless nothing has taken its place yet.
    pub(super) fn stray(
        &mut self,
        now: Time,
        id: &RunId,
        run: Option<&Run>,
        update: &TaskUpdate,
        out: &mut Vec<Effect>,
    ) {
        let name = update.task.as_str();
        let missing = run.filter(|run| run.missing().any(|(task, _)| task == name));
        let last = |run: &&Run| run.task.as_ref().is_some_and(|task| task.id == name);
        let replaceable = missing.filter(|run| run.state == State::Waiting).filter(last);
        match update.state {
            TaskState::Killing | TaskState::Unreachable => {}
            TaskState::Staging | TaskState::Starting | TaskState::Running => {
                let job = self.book.job(&id.job);
                let fits = |run: &&Run| job.is_some_and(|job| !self.must_wait(job, run));
                match replaceable.filter(fits) {
                    Some(run) => {
                        self.take_back(run, out);
                        self.update(now, update, out);
                    }
                    None => self.kill_stray(id, update, out),
                }
            }
            TaskState::Finished if replaceable.is_some() => {
                // The work is done: to do it again is what nobody wants.
                if let Some(run) = replaceable {
                    self.take_back(run, out);
                    self.update(now, update, out);
                }
            }
            state => {
                let Some(run) = missing else { return };
                let mut run = run.clone();
                run.found(name, state.name(), exit_code(&update.message));
                self.save(run, out);
            }
        }
    }

    /// A task whose loss has led to nothing yet is the present one again, and the loss is not counted.
    fn take_back(&mut self, run: &Run, out: &mut Vec<Effect>) {
        self.unqueue(&run.id());
        let mut run = run.clone();
        let lost = run.task.as_mut().and_then(|task| task.lost.take()).unwrap_or_default();
        run.failures = run.failures.saturating_sub(lost.counted.into());
        run.state = State::Launched;
        run.not_before = None;
        run.reason.clear();
        self.save(run, out);
    }

    /// Whatever is launched was recorded before: what no record speaks of, or not any more, is not wanted. A record that
    /// cannot be read may speak of it.
    fn kill_stray(&self, id: &RunId, update: &TaskUpdate, out: &mut Vec<Effect>) {
        let record = format!("{RUN}{id}:");
        let unread = self.unreadable.iter().any(|line| line.starts_with(&record));
        if let (Some(agent), false) = (&update.agent, unread) {
            out.push(Effect::Kill { task: update.task.clone(), agent: agent.clone() });
        }
    }
}
