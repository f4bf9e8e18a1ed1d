//! Runs of many tasks: their parts begin, end, and decide what becomes of the whole.

use std::sync::Arc;

use model::time::Time;

use super::super::message::Effect;
use super::super::run::{Ending, Run, RunId, State};
use super::Scheduler;
use crate::limits;

impl Scheduler {
    /// Whether a run has something to launch, as far as it alone is concerned.
    pub(super) fn has_turn(&self, run: &Run) -> bool {
        let Some(parts) = &run.parts else { return run.state == State::Waiting };
        let Some(job) = self.book.job(&run.job) else { return false };
        let room = parts.active() < job.definition.parallelism.unwrap_or(u32::MAX);
        !run.state.is_over() && run.ending.is_none() && room && parts.next(&job.steps).is_some()
    }

    /// The next part of a run, to be launched. The run has it on record only when all that is launched now is.
    pub(super) fn next_part(&self, now: Time, whole: &Run) -> Option<Run> {
        let job = self.book.job(&whole.job)?;
        let part = whole.parts.as_ref()?.next(&job.steps)?;
        let mut run = Run::new(now, whole.id().part(part), whole.trigger);
        run.arguments.clone_from(&whole.arguments);
        run.parameters.clone_from(&whole.parameters);
        run.deadline = whole.deadline;
        run.attempt = whole.attempt;
        Some(run)
    }

    /// A part was launched for the first time. The caller stores the whole.
    pub(super) fn part_begun(&mut self, part: &RunId) {
        let (Some(whole), Some(index)) = (self.book.run(&part.whole()).cloned(), part.part) else { return };
        let mut whole = (*whole).clone();
        if let Some(parts) = &mut whole.parts {
            parts.begun.insert(index);
        }
        if whole.state == State::Waiting {
            whole.state = State::Launched;
            whole.not_before = None;
            whole.reason.clear();
        }
        self.book.put_run(whole);
    }

    pub(super) fn part_running(&mut self, now: Time, part: &RunId, out: &mut Vec<Effect>) {
        let Some(whole) = self.run(&part.whole()).filter(|whole| whole.state == State::Launched) else {
            return;
        };
        let mut whole = (*whole).clone();
        whole.state = State::Running;
        whole.started.get_or_insert(now);
        let whole = self.save(whole, out);
        self.limit(&whole);
    }

    /// A part will not be tried again. The whole is stored before the part's record goes: torn apart, the part is found to
    /// be over and is not run again.
    pub(super) fn part_over(
        &mut self,
        now: Time,
        mut part: Run,
        state: State,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let (id, Some(index)) = (part.id(), part.part) else { return };
        self.unqueue(&id);
        let Some(whole) = self.run(&id.whole()) else { return self.forget(&id, out) };
        let mut whole = (*whole).clone();
        part.state = state;
        part.reason = reason.to_owned();
        part.finished = Some(now);
        part.ending = None;
        whole.attempt = whole.attempt.max(part.attempt);
        let Some(job) = self.book.job(&id.job).cloned() else { return self.forget(&id, out) };
        let soft = job.work(Some(index)).definition.soft_error;
        if let Some(parts) = &mut whole.parts {
            if state == State::Succeeded || (state == State::Failed && soft) {
                parts.succeeded.insert(index);
            } else {
                parts.failed.insert(index);
            }
            let first = parts.failed.len() == 1 && parts.failed.contains(index);
            if first && whole.ending.is_none() {
                let name = job.steps.get(index as usize).map(|step| format!("step {}", step.name));
                let name = name.unwrap_or_else(|| format!("index {index}"));
                whole.reason = format!("{name} {}: {reason}", state.name());
                whole.exit_code = part.exit_code;
            }
        }
        let whole = self.save(whole, out);
        // Steps are few and worth a look; of an array only what failed is.
        let failed = whole.parts.as_ref().map_or(0, |parts| parts.failed.len());
        if !job.steps.is_empty() || (state != State::Succeeded && failed <= limits::PARTS_KEPT) {
            self.save(part, out);
        } else {
            self.forget(&id, out);
        }
        self.advance(now, &whole, out);
    }

    /// What follows from the state of its parts.
    pub(super) fn advance(&mut self, now: Time, whole: &Run, out: &mut Vec<Effect>) {
        let id = whole.id();
        let Some(job) = self.book.job(&id.job).cloned() else { return };
        let mut changed = whole.clone();
        let Some(parts) = &mut changed.parts else { return };
        parts.skip(&job.steps);
        let most = job.definition.max_failed_indexes.unwrap_or(0);
        let array_failed = job.steps.is_empty() && parts.failed.len() > most;
        let over = parts.are_over();
        if changed.parts != whole.parts {
            self.save(changed.clone(), out);
        }
        if array_failed && changed.ending.is_none() {
            let reason = changed.reason.clone();
            return self.stop(now, &changed, Ending::Failed, &reason, out);
        }
        if changed.ending.is_some() || over {
            return self.finish_when_still(now, changed, out);
        }
        if self.has_turn(&changed) {
            self.enqueue(now, &changed);
        } else {
            self.park(&id);
        }
    }

    /// Ends a run with all that goes on of it.
    pub(super) fn stop(
        &mut self,
        now: Time,
        whole: &Run,
        ending: Ending,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let mut whole = whole.clone();
        whole.ending = Some(ending);
        whole.reason = reason.to_owned();
        let whole = self.save(whole, out);
        self.unqueue(&whole.id());
        let parts: Vec<Arc<Run>> = self.book.parts_of(&whole.id()).cloned().collect();
        for part in parts {
            if part.state.has_task() {
                // What was asked to end is asked again by its timer; what was to make room does not come back.
                if part.ending.is_none() || part.ending == Some(Ending::Preempted) {
                    self.end_task(now, &part, Ending::Killed, reason, out);
                }
            } else if !part.state.is_over() {
                self.unqueue(&part.id());
                self.forget(&part.id(), out);
            }
        }
        self.finish_when_still(now, (*whole).clone(), out);
    }

    /// The end of the whole, once none of its tasks is left.
    fn finish_when_still(&mut self, now: Time, mut whole: Run, out: &mut Vec<Effect>) {
        if self.book.parts_of(&whole.id()).any(|part| !part.state.is_over()) {
            return;
        }
        self.unqueue(&whole.id());
        if let Some(parts) = whole.parts.as_mut().filter(|_| whole.ending.is_some()) {
            parts.skip_rest();
        }
        let reason = whole.reason.clone();
        let steps = self.book.job(&whole.job).is_some_and(|job| !job.steps.is_empty());
        let failed = steps && whole.parts.as_ref().is_some_and(|parts| !parts.failed.is_empty());
        match whole.ending {
            Some(Ending::Killed) => self.killed(now, whole, out),
            None if !failed => self.succeeded(now, whole, out),
            _ => self.failed(now, whole, &reason, out),
        }
    }

    /// Many writes are stored one piece after the other, and death may come between the pieces: what the run and its parts
    /// say is brought together again.
    pub(super) fn mend(&mut self, part: &Run, out: &mut Vec<Effect>) {
        let (id, Some(index)) = (part.id(), part.part) else { return };
        if part.orphan {
            return;
        }
        let Some(whole) = self.run(&id.whole()) else { return self.forget(&id, out) };
        let Some(parts) = &whole.parts else { return self.forget(&id, out) };
        if !part.state.is_over() && (parts.is_over(index) || whole.state.is_over()) {
            let mut part = part.clone();
            if part.state.has_task() {
                part.orphan = true;
                part.ending = Some(Ending::Killed);
                self.save(part, out);
            } else {
                self.forget(&id, out);
            }
        } else if !parts.begun.contains(index) {
            self.part_begun(&id);
            if let Some(whole) = self.run(&id.whole()) {
                self.save((*whole).clone(), out);
            }
        }
    }
}
