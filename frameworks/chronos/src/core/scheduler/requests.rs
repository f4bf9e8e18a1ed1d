//! What is asked through the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::time::{Span, Time};

use super::super::message::{Command, Effect, Event, Reply};
use super::super::refusal::Refusal;
use super::super::run::{self, Ending, State, Trigger};
use super::due::Wanted;
use super::{JOB, QUEUE, STATUS, Scheduler, Timer, put};
use crate::limits;

impl Scheduler {
    pub(super) fn obey(
        &mut self,
        now: Time,
        command: Command,
        out: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        match command {
            Command::Put { definition, counters } => self.put(now, *definition, counters, out),
            Command::Delete { job, orphans } => self.delete(now, &job, orphans, out),
            Command::Trigger { job, arguments } => {
                self.trigger(now, &job, arguments, (BTreeMap::new(), String::new()), out)
            }
            Command::Dispatch { job, arguments, parameters, token } => {
                self.trigger(now, &job, arguments, (parameters, token), out)
            }
            Command::PutQueue { rule } => {
                rule.check()?;
                let known = self.book.queues.contains_key(&rule.name);
                if !known && self.book.queues.len() >= limits::QUEUES {
                    let told = format!("there are {} queues, which is the limit", limits::QUEUES);
                    return Err(Refusal::Full(told));
                }
                out.push(put(format!("{QUEUE}{}", rule.name), &rule));
                let name = Arc::clone(&rule.name);
                self.book.queues.insert(Arc::clone(&name), rule);
                self.line_up(now, &name);
                Ok(Reply::Done)
            }
            Command::DeleteQueue { queue } => {
                if self.book.queues.remove(queue.as_str()).is_none() {
                    return Err(Refusal::UnknownQueue(queue));
                }
                out.push(Effect::Remove { key: format!("{QUEUE}{queue}") });
                self.line_up(now, &queue);
                Ok(Reply::Done)
            }
            Command::Suspend { job } => {
                let name = self.known(&job)?;
                self.suspend(now, &name, out);
                Ok(Reply::Done)
            }
            Command::Resume { job } => {
                let name = self.known(&job)?;
                self.resume_job(now, &name, out);
                Ok(Reply::Done)
            }
            Command::Succeed { job } => {
                let Some(name) = self.name(&job) else { return Ok(Reply::Marked(false)) };
                let due = self.free_due(&name, now);
                self.mark_success(now, &run::RunId::new(name, due), out);
                Ok(Reply::Marked(true))
            }
            Command::KillTasks { job } => {
                self.known(&job)?;
                for run in self.book.active_of(&job) {
                    self.kill_run(now, &run, "killed by request", out);
                }
                Ok(Reply::Done)
            }
            Command::KillRun { run } => {
                let found = self.run(&run).ok_or_else(|| Refusal::UnknownRun(run.to_string()))?;
                self.kill_run(now, &found, "killed by request", out);
                Ok(Reply::Done)
            }
            Command::RetryRun { run } => self.retry(now, &run, out),
            Command::Progress { job, task, processed } => self.progress(&job, &task, processed, out),
            Command::Purge => {
                let waits =
                    |job| self.book.active_of(job).into_iter().filter(|run| run.state == State::Waiting);
                let waiting: Vec<Arc<run::Run>> =
                    self.book.active.keys().flat_map(|job| waits(job)).collect();
                for run in waiting {
                    self.kill_run(now, &run, "dropped by request", out);
                }
                Ok(Reply::Done)
            }
        }
    }

    /// Lines up the runs of a queue anew: another priority may count.
    fn line_up(&mut self, now: Time, queue: &str) {
        self.queue.reshare(queue, self.book.share(queue));
        for id in self.queue.of_queue(queue) {
            self.park(&id);
            if let Some(run) = self.run(&id) {
                self.enqueue(now, &run);
            }
        }
    }

    pub(super) fn name(&self, job: &str) -> Option<Arc<str>> {
        self.book.jobs.get_key_value(job).map(|(name, _)| Arc::clone(name))
    }

    pub(super) fn known(&self, job: &str) -> Result<Arc<str>, Refusal> {
        self.name(job).ok_or_else(|| Refusal::UnknownJob(job.to_owned()))
    }

    /// Runs a job now, whatever its schedule says; the schedule does not notice.
    fn trigger(
        &mut self,
        now: Time,
        job: &str,
        arguments: Option<String>,
        (parameters, token): (BTreeMap<String, String>, String),
        out: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let name = self.known(job)?;
        let known = |run: &&Arc<run::Run>| !token.is_empty() && run.token == token;
        if let Some(run) = self.book.runs_of(&name).find(known) {
            return Ok(Reply::Run(run.id()));
        }
        check_parameters(&parameters, &token)?;
        let arguments = arguments.filter(|text| !text.trim().is_empty());
        if arguments.as_ref().is_some_and(|text| text.len() > limits::ARGUMENT_BYTES) {
            return Err(Refusal::field(
                "arguments",
                format!("must have at most {} bytes", limits::ARGUMENT_BYTES),
            ));
        }
        let due = self.free_due(&name, now);
        // A flood of requests would otherwise name runs of a time that has not come.
        if due - now > Span::from_secs(1) {
            return Err(Refusal::Full(format!("job '{job}' was triggered too often within a second")));
        }
        let wanted = Wanted { arguments, parameters, token, ..Trigger::Manual.into() };
        Ok(Reply::Run(self.start(now, &name, due, wanted, out)))
    }

    fn progress(
        &mut self,
        job: &str,
        task: &str,
        processed: u64,
        out: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        self.known(job)?;
        let malformed =
            || Refusal::field("taskId", format!("'{task}' must be the id of a task of job '{job}'"));
        let (id, _) = run::of_task(task).filter(|(id, _)| &*id.job == job).ok_or_else(malformed)?;
        if !self.book.job(job).is_some_and(|job| job.definition.data_processing_job_type) {
            return Err(Refusal::field(
                "dataProcessingJobType",
                "must be true for a job that reports progress",
            ));
        }
        let run = self.run(&id).ok_or_else(malformed)?;
        let mut run = (*run).clone();
        run.processed = run.processed.saturating_add(processed);
        self.save(run, out);
        Ok(Reply::Done)
    }

    /// No more runs, until somebody enables it. What waits is dropped, and has failed if an attempt was made; what runs goes
    /// on.
    pub(super) fn set_disabled(&mut self, now: Time, name: &str, out: &mut Vec<Effect>) {
        self.change_definition(now, name, out, |definition| definition.disabled = true);
        self.note(name, out, |status| status.disabled_since = Some(now));
        for run in self.book.active_of(name) {
            if run.is_between_attempts() {
                let reason = format!("{}: not tried again, the job is disabled", run.reason);
                self.end_unrun(now, (*run).clone(), State::Failed, &reason, out);
            } else if run.state == State::Waiting {
                self.end_unrun(now, (*run).clone(), State::Skipped, "the job is disabled", out);
            }
        }
    }

    pub(super) fn deleted(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        self.tell(name, Event::Deleted, String::new(), out);
        let runs: Vec<Arc<run::Run>> = self.book.runs_of(name).cloned().collect();
        // Parts first: with its run goes what is over of it.
        let parts: Vec<Arc<run::Run>> =
            runs.iter().flat_map(|run| self.book.parts_of(&run.id())).cloned().collect();
        for run in parts.into_iter().chain(runs) {
            if run.state.has_task() && run.parts.is_none() {
                let mut orphan = (*run).clone();
                orphan.orphan = true;
                orphan.ending = Some(Ending::Killed);
                let orphan = self.save(orphan, out);
                self.kill_task(now, &orphan, out);
            } else {
                self.unqueue(&run.id());
                self.forget(&run.id(), out);
            }
            for timer in [Timer::Limit, Timer::Slack] {
                self.timers.put(timer(run.id()), None);
            }
        }
        for timer in [Timer::Due, Timer::Trim, Timer::Expire] {
            self.timers.put(timer(Arc::clone(name)), None);
        }
        self.book.remove_job(name);
        for prefix in [JOB, STATUS] {
            out.push(Effect::Remove { key: format!("{prefix}{name}") });
        }
    }
}

fn check_parameters(parameters: &BTreeMap<String, String>, token: &str) -> Result<(), Refusal> {
    if parameters.len() > limits::PARAMETERS {
        return Err(Refusal::field("parameters", format!("must be at most {}", limits::PARAMETERS)));
    }
    let bytes: usize = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::PARAMETER_BYTES {
        let rule = format!("must have at most {} bytes, have {bytes}", limits::PARAMETER_BYTES);
        return Err(Refusal::field("parameters", rule));
    }
    if let Some(name) = parameters.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(Refusal::field("parameters", format!("name '{name}', which no variable can have")));
    }
    if token.len() > limits::TOKEN_BYTES {
        return Err(Refusal::field(
            "idempotencyToken",
            format!("must have at most {} bytes", limits::TOKEN_BYTES),
        ));
    }
    Ok(())
}
