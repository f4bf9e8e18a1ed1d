//! Ending tasks: on request, for failing health, for running too long, with their framework, with the agent.

use std::collections::BTreeSet;

use model::id::FrameworkId;
use model::task::TaskState;
use model::time::{Span, Time};
use wire::v1::task_status::Reason;

use crate::agent::{Agent, Mode, Timer};
use crate::checkpoint::Record;
use crate::effect::{Effect, Ending, Report};
use crate::executor::ExecutorKey;
use crate::health::Which;
use crate::limits;
use crate::spec::TaskKey;
use crate::status::Draft;
use crate::task::{Kill, KillCause, Phase};
use crate::tasks::during_launch;

impl Agent {
    /// A kill by the scheduler, or by the master for an operator who drains the agent.
    pub(crate) fn kill_asked(
        &mut self,
        now: Time,
        key: &TaskKey,
        grace: Option<Span>,
        out: &mut Vec<Effect>,
    ) {
        if self.state.tasks.contains_key(key) {
            let cause = if self.drain.is_some() { KillCause::Draining } else { KillCause::Asked };
            return self.kill(now, key, cause, grace, out);
        }
        // Just ended and acknowledged: the scheduler has been told, a second end would confuse it.
        let ended =
            self.completed.iter().any(|task| task.key == *key) || self.state.streams.contains_key(key);
        if !ended {
            let message = "The agent does not have this task";
            self.say(
                now,
                key,
                Draft::agent(self.dropped(&key.framework), Reason::ExecutorTerminated, message),
                out,
            );
        }
    }

    /// Ends a task, as gently as it may take.
    pub(crate) fn kill(
        &mut self,
        now: Time,
        key: &TaskKey,
        cause: KillCause,
        grace: Option<Span>,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.state.tasks.get(key) else { return };
        if let Some(host) = task.host() {
            return self.kill_hosted(now, key, &host, cause, grace, out);
        }
        let container = task.container.clone();
        match task.phase {
            Phase::Ended => {}
            Phase::Fetching => {
                out.push(Effect::CancelFetch { container });
                self.end(now, key, during_launch(), out);
            }
            Phase::Launching => {
                let asked = matches!(cause, KillCause::Asked | KillCause::Draining);
                let cause = if asked { KillCause::DuringLaunch } else { cause };
                if task.kill.is_none() {
                    let kill = Kill { cause, deadline: now };
                    self.record(Record::Kill { key: key.clone(), kill }, out);
                }
                self.outbox.after(Effect::Destroy { container }, out);
            }
            Phase::Running => {
                let own = task.spec.as_ref().and_then(|spec| spec.kill_grace);
                let grace = grace.or(own).unwrap_or(limits::KILL_GRACE).min(limits::KILL_GRACE_MAX);
                self.kill_running(now, key, cause, grace, out);
            }
        }
    }

    fn kill_running(
        &mut self,
        now: Time,
        key: &TaskKey,
        cause: KillCause,
        grace: Span,
        out: &mut Vec<Effect>,
    ) {
        #[cfg(feature = "mutants")]
        if mutant::planted("kills-are-only-said") {
            return self.end(now, key, Draft::executor(TaskState::Killed), out);
        }
        let Some(task) = self.state.tasks.get(key) else { return };
        let container = task.container.clone();
        let before = task.kill.clone();
        let deadline = now + grace;
        // A repeated kill can only bring the end nearer; the first reason stands.
        let kill = match &before {
            Some(before) if before.deadline <= deadline => return,
            Some(before) => Kill { cause: before.cause, deadline },
            None => Kill { cause, deadline },
        };
        self.record(Record::Kill { key: key.clone(), kill }, out);
        if before.is_none() {
            self.timers.clear(&Timer::Probe(key.clone(), Which::Health));
            self.timers.clear(&Timer::Probe(key.clone(), Which::Check));
            let framework = self.state.frameworks.get(&key.framework);
            if framework.is_some_and(|framework| framework.killing && !framework.removed) {
                self.say(now, key, Draft::executor(TaskState::Killing), out);
            }
        }
        self.outbox.after(Effect::Kill { container, grace }, out);
    }

    /// After a restart: a kill under way goes on with what is left of its grace.
    pub(crate) fn resume_kill(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) {
        let Some(task) = self.state.tasks.get(key) else { return };
        let Some(kill) = &task.kill else { return };
        let container = task.container.clone();
        let effect = match task.phase {
            Phase::Running => Effect::Kill { container, grace: kill.deadline.since(now) },
            _ => Effect::Destroy { container },
        };
        self.outbox.after(effect, out);
    }

    pub(crate) fn ran_too_long(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) {
        self.kill(now, key, KillCause::TooLong, None, out);
    }

    /// Ends the tasks of a framework that is no more. The master has booked them already: their resources are
    /// free as far as it is concerned, and nobody waits for their updates.
    pub(crate) fn remove_framework(&mut self, now: Time, id: &FrameworkId, out: &mut Vec<Effect>) {
        if self.state.frameworks.get(id).is_none_or(|framework| framework.removed) {
            return;
        }
        self.record(Record::FrameworkRemoved(id.clone()), out);
        let first = TaskKey { framework: id.clone(), task: "".into() };
        let streams = self.state.streams.range(first..).map(|(key, _)| key);
        // A stream may be about a task that is not here, and a running task may have no stream.
        let mut keys: BTreeSet<TaskKey> = streams.take_while(|key| key.framework == *id).cloned().collect();
        keys.extend(self.state.tasks_of(id).map(|task| task.key.clone()));
        for key in keys {
            self.release(&key);
            self.timers.clear(&Timer::Retry(key.clone()));
            match self.state.tasks.get(&key) {
                Some(task) if task.phase != Phase::Ended => {
                    if task.is_own() {
                        let own = task.spec.as_ref().and_then(|spec| spec.kill_grace);
                        let grace = own.unwrap_or(limits::KILL_GRACE).min(limits::REMOVED_GRACE);
                        self.kill(now, &key, KillCause::FrameworkRemoved, Some(grace), out);
                    }
                }
                _ => self.forget(now, &key, out),
            }
        }
        // The tasks of executors end with these.
        let executors: Vec<ExecutorKey> =
            self.state.executors_of(id).map(|executor| executor.key.clone()).collect();
        for key in executors {
            self.release_executor(&key);
            self.shut_down(now, &key, out);
        }
    }

    /// The operator ends the process.
    pub(crate) fn stop(&mut self, now: Time, kill_tasks: bool, out: &mut Vec<Effect>) {
        let ending = Ending::Done { reason: "asked to stop".into() };
        if kill_tasks {
            return self.end_with_tasks(now, ending, out);
        }
        if !matches!(self.mode, Mode::Ending { .. } | Mode::Ended) {
            self.mode = Mode::Ending { ending, kill_tasks };
            self.end_now(out);
        }
    }

    /// Ends all tasks, then the process.
    pub(crate) fn end_with_tasks(&mut self, now: Time, ending: Ending, out: &mut Vec<Effect>) {
        if matches!(self.mode, Mode::Ending { .. } | Mode::Ended) {
            return;
        }
        self.mode = Mode::Ending { ending, kill_tasks: true };
        self.timers.set(Timer::Ending, now + limits::STOP_GRACE + Span::from_secs(2));
        let executors: Vec<ExecutorKey> = self.state.executors.keys().cloned().collect();
        for key in executors {
            self.shut_down(now, &key, out);
        }
        let own = self.state.tasks.values().filter(|task| task.is_own());
        let keys: Vec<TaskKey> = own.map(|task| task.key.clone()).collect();
        for key in keys {
            let own = self
                .state
                .tasks
                .get(&key)
                .and_then(|task| task.spec.as_ref())
                .and_then(|spec| spec.kill_grace);
            let grace = own.unwrap_or(limits::KILL_GRACE).min(limits::STOP_GRACE);
            self.kill(now, &key, KillCause::Asked, Some(grace), out);
        }
    }

    /// Ends the process once the last task has ended and its scheduler knows, if that does not take long.
    pub(crate) fn maybe_end(&mut self, now: Time, out: &mut Vec<Effect>) {
        let ended = self.nothing_runs();
        if !matches!(self.mode, Mode::Ending { .. }) || !ended {
            return;
        }
        if self.registered().is_some() && !self.state.streams.is_empty() {
            return self.timers.set_earlier(Timer::Ending, now + limits::LAST_WORDS);
        }
        self.end_now(out);
    }

    fn nothing_runs(&self) -> bool {
        self.state.executors.is_empty() && self.state.tasks.values().all(|task| task.phase == Phase::Ended)
    }

    /// Ends the process with what it has.
    pub(crate) fn end_now(&mut self, out: &mut Vec<Effect>) {
        let Mode::Ending { ending, kill_tasks } = std::mem::replace(&mut self.mode, Mode::Ended) else {
            return;
        };
        let tasks_killed = kill_tasks && self.nothing_runs();
        if let Some(link) = self.registered() {
            self.outbox.after(Effect::Send { link, report: Report::Goodbye { tasks_killed } }, out);
            self.outbox.after(Effect::Hangup { link }, out);
        }
        self.link.leave();
        self.outbox.after(Effect::Stop(ending), out);
    }
}
