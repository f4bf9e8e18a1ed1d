//! What the cluster says of tasks: runs end, are repeated, and start those that depend on them.

use std::sync::Arc;

use model::task::TaskState;
use model::time::{Span, Time};

use super::super::definition::TriggerRule;
use super::super::message::{Effect, Event, TaskUpdate};
use super::super::retry::{Cause, RetryPolicy, Verdict};
use super::super::run::{self, Ending, Run, RunId, State, Trigger};
use super::due::Wanted;
use super::{Scheduler, Timer};
use crate::limits;

/// How a run ended, to those that depend on its job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Success,
    Failure,
    Killed,
}

impl Scheduler {
    /// Takes in a status update.
    pub(super) fn update(&mut self, now: Time, update: &TaskUpdate, out: &mut Vec<Effect>) {
        let Some((id, _)) = run::of_task(update.task.as_str()) else { return };
        let found = self.run(&id);
        let current = |run: &&Arc<Run>| {
            run.state.has_task() && run.task.as_ref().is_some_and(|task| task.id == update.task.as_str())
        };
        let Some(run) = found.as_ref().filter(current) else {
            return self.stray(now, &id, found.as_deref(), update, out);
        };
        match update.state {
            TaskState::Staging | TaskState::Starting | TaskState::Killing => {}
            TaskState::Running => self.running(now, run, out),
            #[cfg(feature = "mutants")]
            TaskState::Unreachable if mutant::planted("unreachable-runs-are-tried-again") => {
                self.attempt_failed(now, (**run).clone(), Cause::Lost, "unreachable", out);
            }
            TaskState::Unreachable => self.unreachable(now, run, out),
            state => self.task_over(now, run, state, &update.message, out),
        }
    }

    fn running(&mut self, now: Time, run: &Run, out: &mut Vec<Effect>) {
        if run.state == State::Running {
            return;
        }
        let mut run = run.clone();
        let first = run.part.is_none() && run.attempt == 0 && run.started.is_none();
        run.state = State::Running;
        run.unreachable_since = None;
        run.started.get_or_insert(now);
        run.losses = 0;
        // Why it is to end was said before it began.
        if run.ending.is_none() {
            run.reason.clear();
        }
        let run = self.save(run, out);
        self.watch_lost(&run);
        if run.part.is_some() {
            self.part_running(now, &run.id(), out);
        }
        if first {
            self.tell(&run.job, Event::Started, format!("run {} has started", run.id()), out);
        }
        self.limit(&run);
    }

    pub(super) fn task_over(
        &mut self,
        now: Time,
        run: &Run,
        state: TaskState,
        message: &str,
        out: &mut Vec<Effect>,
    ) {
        for timer in [Timer::Kill, Timer::Lost] {
            self.timers.put(timer(run.id()), None);
        }
        let mut run = run.clone();
        run.unreachable_since = None;
        run.exit_code = exit_code(message);
        if run.orphan {
            return self.forget(&run.id(), out);
        }
        let never_ran = run.state == State::Launched;
        match state {
            TaskState::Finished => {
                run.exit_code = Some(0);
                self.succeeded(now, run, out);
            }
            _ if run.ending == Some(Ending::Killed) => self.killed(now, run, out),
            _ if matches!(run.ending, Some(Ending::Expired | Ending::Failed)) => {
                let why = run.reason.clone();
                self.failed(now, run, &why, out);
            }
            _ if run.ending == Some(Ending::Preempted) => self.preempted(now, run, out),
            TaskState::Killed => {
                run.reason = message.to_owned();
                self.killed(now, run, out);
            }
            // Nothing of it ever ran: the launch is made again, and no attempt is lost.
            TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown
                if never_ran && run.losses < limits::LOSSES =>
            {
                run.losses += 1;
                let pause = limits::LAUNCH_AGAIN.saturating_mul(1 << run.losses.min(6));
                self.again(now, run, pause, "the launch came to nothing", out);
            }
            state => {
                let why = if message.is_empty() { state.name() } else { message };
                let cause = cause(state, run.exit_code, message);
                self.attempt_failed(now, run, cause, why, out);
            }
        }
    }

    fn again(&mut self, now: Time, mut run: Run, pause: Span, reason: &str, out: &mut Vec<Effect>) {
        run.state = State::Waiting;
        run.not_before = Some(now + pause);
        run.reason = reason.to_owned();
        let run = self.save(run, out);
        self.enqueue(now, &run);
    }

    fn attempt_failed(&mut self, now: Time, mut run: Run, cause: Cause, why: &str, out: &mut Vec<Effect>) {
        let Some(job) = self.book.job(&run.job).cloned() else { return };
        let work = job.work(run.part);
        let policy = work.definition.retry_policy.as_ref();
        let verdict = policy.map_or(Verdict::Counted, |policy| policy.verdict(cause));
        if verdict != Verdict::Uncounted {
            run.failures += 1;
            if let Some(lost) = run.task.as_mut().and_then(|task| task.lost.as_mut()) {
                lost.counted = true;
            }
        }
        let repeats = match verdict {
            Verdict::Final => false,
            Verdict::Counted => run.failures <= work.definition.retries,
            Verdict::Uncounted => run.attempt < limits::RETRIES,
        };
        if repeats && !job.definition.disabled {
            let pause = self.pause(policy, &run);
            return self.again(now, run, pause, why, out);
        }
        self.failed(now, run, why, out);
    }

    /// After so many failures of a run.
    fn pause(&self, policy: Option<&RetryPolicy>, run: &Run) -> Span {
        let own = |policy: &RetryPolicy| policy.pause(&run.id().to_string(), run.failures.max(1));
        policy.map_or(self.settings.failure_retry, own)
    }

    /// A run as a new leader goes on with it, if that is another than the record says: the clock of the leader that put
    /// something off, or saw an agent go, may have been ahead of ours, and nobody is to wait until we are there.
    pub(super) fn by_our_clock(&self, now: Time, run: &Run) -> Option<Run> {
        let job = self.book.job(&run.job)?;
        let work = job.work(run.part);
        let launch = limits::LAUNCH_AGAIN.saturating_mul(1 << run.losses.min(6));
        let latest = now + self.pause(work.definition.retry_policy.as_ref(), run).max(launch);
        let ahead = run.not_before.is_some_and(|at| at > latest);
        if !ahead && run.unreachable_since.is_none_or(|since| since <= now) {
            return None;
        }
        let mut run = run.clone();
        run.not_before = run.not_before.map(|at| at.min(latest));
        run.unreachable_since = run.unreachable_since.map(|since| since.min(now));
        Some(run)
    }

    /// It will not be tried again.
    pub(super) fn failed(&mut self, now: Time, run: Run, why: &str, out: &mut Vec<Effect>) {
        if run.part.is_some() {
            return self.part_over(now, run, State::Failed, why, out);
        }
        let Some(job) = self.book.job(&run.job).cloned() else { return };
        let id = run.id();
        let (attempts, task) = (run.attempt + 1, run.task.as_ref().map(|task| task.id.clone()));
        self.over(now, run, State::Failed, why, out);
        self.note(&id.job, out, |status| {
            status.error_count += 1;
            status.errors_since_last_success += 1;
            status.last_error = Some(now);
        });
        let most = self.settings.disable_after_failures;
        let failed = self.book.job(&id.job).map_or(0, |job| job.status.errors_since_last_success);
        if most > 0 && failed >= most {
            self.set_disabled(now, &id.job, out);
            self.tell(&id.job, Event::Disabled, format!("{failed} runs in a row failed: {why}"), out);
        } else {
            let message = match task {
                Some(task) => format!("task {task} failed after {attempts} attempts: {why}"),
                None => format!("run {id} failed: {why}"),
            };
            self.tell(&id.job, Event::RetriesExhausted, message, out);
        }
        if job.definition.pause_after_failures.is_some_and(|pause| failed.is_multiple_of(pause)) {
            self.suspend(now, &id.job, out);
            self.tell(&id.job, Event::Paused, format!("{failed} runs in a row failed: {why}"), out);
        }
        let outcome = if job.definition.soft_error { Outcome::Success } else { Outcome::Failure };
        self.fire_children(now, &id, outcome, out);
    }

    /// Ends a run that has taken as long as it may.
    pub(super) fn exceeded(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) {
        let Some(run) = self.run(id).filter(|run| !run.state.is_over() && run.ending.is_none()) else {
            return;
        };
        let limit = self.book.job(&id.job).and_then(|job| job.run_limit()).unwrap_or_default();
        let why = format!("took longer than the {limit} it may");
        if run.parts.is_some() {
            self.stop(now, &run, Ending::Expired, &why, out);
        } else if run.state.has_task() {
            self.end_task(now, &run, Ending::Expired, &why, out);
        } else {
            let run = (*run).clone();
            self.unqueue(id);
            self.failed(now, run, &why, out);
        }
    }

    /// Watches how long a run takes.
    pub(super) fn limit(&mut self, run: &Run) {
        let limit = self.book.job(&run.job).and_then(|job| job.run_limit());
        let at = run.started.zip(limit).map(|(started, limit)| started + limit);
        let goes_on = run.part.is_none() && !run.state.is_over();
        self.timers.put(Timer::Limit(run.id()), at.filter(|_| goes_on));
    }

    pub(super) fn succeeded(&mut self, now: Time, run: Run, out: &mut Vec<Effect>) {
        if run.part.is_some() {
            return self.part_over(now, run, State::Succeeded, "", out);
        }
        let id = run.id();
        self.over(now, run, State::Succeeded, "", out);
        self.mark_success(now, &id, out);
        self.tell(&id.job, Event::Succeeded, format!("run {id} succeeded"), out);
        let done = self.book.job(&id.job).is_some_and(|job| job.is_exhausted());
        if done && self.book.active_of(&id.job).is_empty() {
            self.set_disabled(now, &id.job, out);
            self.tell(&id.job, Event::Disabled, "all its repetitions are done".to_owned(), out);
        }
    }

    /// A success, real or declared.
    pub(super) fn mark_success(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) {
        self.note(&id.job, out, |status| {
            status.success_count += 1;
            status.errors_since_last_success = 0;
            status.last_success = Some(now);
        });
        self.fire_children(now, id, Outcome::Success, out);
    }

    /// No failure, no repetition: it was wanted.
    pub(super) fn killed(&mut self, now: Time, run: Run, out: &mut Vec<Effect>) {
        let (id, reason) = (run.id(), run.reason.clone());
        if run.part.is_some() {
            return self.part_over(now, run, State::Killed, &reason, out);
        }
        self.over(now, run, State::Killed, &reason, out);
        self.fire_children(now, &id, Outcome::Killed, out);
    }

    fn over(&mut self, now: Time, mut run: Run, state: State, reason: &str, out: &mut Vec<Effect>) {
        run.state = state;
        run.reason = reason.to_owned();
        run.finished = Some(now);
        run.ending = None;
        let run = self.save(run, out);
        self.ended(now, &run, out);
    }

    /// Tells the dependants of a job how a run of it ended, and starts those that have all they wait for.
    fn fire_children(&mut self, now: Time, parent: &RunId, outcome: Outcome, out: &mut Vec<Effect>) {
        for name in self.book.children_of(&parent.job) {
            let Some(child) = self.book.job(&name).cloned() else { continue };
            let rule = child.trigger_rule();
            let counts = match rule {
                TriggerRule::AllSuccess | TriggerRule::OneSuccess => outcome == Outcome::Success,
                TriggerRule::AllFailed => outcome == Outcome::Failure,
                TriggerRule::AllDone => true,
            };
            if !counts || child.definition.disabled {
                continue;
            }
            let mut ready = child.status.ready.clone();
            ready.insert(parent.job.to_string(), parent.to_string());
            let complete =
                rule == TriggerRule::OneSuccess || child.parents().all(|parent| ready.contains_key(parent));
            if complete {
                let due = self.free_due(&name, now);
                let parents = ready.values().cloned().collect();
                self.start(now, &name, due, Wanted { parents, ..Trigger::Parents.into() }, out);
                ready.clear();
            }
            self.note(&name, out, |status| status.ready = ready);
        }
    }

    /// A due time that no run and no occurrence has: of two in a millisecond the second is a millisecond later.
    pub(super) fn free_due(&self, name: &Arc<str>, now: Time) -> Time {
        let schedule = self.book.job(name).and_then(|job| job.schedule.clone());
        let taken = |due: Time| {
            self.book.runs.contains_key(&RunId::new(Arc::clone(name), due))
                || schedule.as_ref().is_some_and(|schedule| {
                    schedule.next_after(Some(due - Span::from_millis(1))) == Some(due)
                })
        };
        let mut due = now;
        while taken(due) {
            due += Span::from_millis(1);
        }
        due
    }
}

fn cause(state: TaskState, exit_code: Option<i32>, message: &str) -> Cause {
    match (state, exit_code) {
        (TaskState::Failed, _) if message.contains("maximum completion time") => Cause::TimeLimit,
        (TaskState::Failed, Some(code)) => Cause::Exit(code),
        (TaskState::Failed | TaskState::Error, _) => Cause::Error,
        _ => Cause::Lost,
    }
}

/// What agents write: "Command exited with status 3".
pub(super) fn exit_code(message: &str) -> Option<i32> {
    let (_, rest) = message.rsplit_once("exited with status ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
