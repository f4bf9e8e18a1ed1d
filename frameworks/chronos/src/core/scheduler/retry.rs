//! A run that has failed, or was killed, is tried once more because somebody asks.

use std::sync::Arc;

use model::time::Time;

use super::super::message::{Effect, Reply};
use super::super::refusal::Refusal;
use super::super::run::{Run, RunId, State};
use super::Scheduler;
use crate::limits;

impl Scheduler {
    /// The run keeps its name and its due time, which its tasks are told; so the schedule does not notice. It has all its
    /// retries again. Of many tasks those run that have not succeeded.
    pub(super) fn retry(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) -> Result<Reply, Refusal> {
        let found = self.run(id).ok_or_else(|| Refusal::UnknownRun(id.to_string()))?;
        self.check_retry(&found)?;
        // The parts go first: should the rest not be stored, the run has failed as before.
        let parts: Vec<RunId> = self.book.parts_of(id).map(|part| part.id()).collect();
        for part in &parts {
            self.forget(part, out);
        }
        let mut run = Arc::unwrap_or_clone(found);
        run.state = State::Waiting;
        // Its reason and its exit code go on record with the attempt, when the next begins.
        run.reason = format!("tried once more by request; before: {}", run.reason);
        run.failures = 0;
        run.losses = 0;
        run.not_before = None;
        run.started = None;
        run.finished = None;
        run.ending = None;
        if let Some(parts) = &mut run.parts {
            parts.begin_again();
            run.exit_code = None;
            // New tasks must not have the names of old ones.
            run.attempt += 1;
        }
        let run = self.save(run, out);
        self.outlive(&id.job);
        self.enqueue(now, &run);
        self.watch_deadline(&run);
        Ok(Reply::Run(id.clone()))
    }

    fn check_retry(&self, run: &Run) -> Result<(), Refusal> {
        let id = run.id();
        if id.part.is_some() {
            let rule = format!("'{id}' is a part of run '{}', which can be retried", id.whole());
            return Err(Refusal::field("run", rule));
        }
        if !matches!(run.state, State::Failed | State::Killed) {
            let rule = format!("'{id}' must have failed or been killed, is {}", run.state.name());
            return Err(Refusal::field("run", rule));
        }
        let job = self.book.job(&id.job).ok_or_else(|| Refusal::UnknownJob(id.job.to_string()))?;
        if job.definition.disabled {
            return Err(Refusal::field("run", format!("'{id}' is of a job that is disabled")));
        }
        if run.parts.is_some() != job.parts().is_some()
            || run.parts.as_ref().map(|parts| parts.size) != job.parts().map(|parts| parts.size)
        {
            let rule = format!("'{id}' has other parts than its job has now: trigger the job instead");
            return Err(Refusal::field("run", rule));
        }
        if self.book.parts_of(&id).any(|part| !part.state.is_over()) {
            return Err(Refusal::field("run", format!("'{id}' has tasks that have not ended yet")));
        }
        let active = self.book.active.get(&*id.job).map_or(0, |due| due.len());
        if active >= limits::ACTIVE_RUNS {
            return Err(Refusal::Full(format!("{active} runs of this job are not over yet")));
        }
        Ok(())
    }
}
