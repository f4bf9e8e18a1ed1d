//! What is kept of what is over, and for how long.

use std::sync::Arc;

use model::time::{Span, Time};

use super::super::message::Effect;
use super::super::run::{Run, RunId};
use super::{Scheduler, Timer};
use crate::limits;

impl Scheduler {
    /// A run is over.
    pub(super) fn ended(&mut self, now: Time, run: &Run, out: &mut Vec<Effect>) {
        for timer in [Timer::Limit, Timer::Slack] {
            self.timers.put(timer(run.id()), None);
        }
        self.trim(now, &run.job, out);
        self.outlive(&run.job);
    }

    /// Keeps the newest runs that are over: so many, and for so long.
    pub(super) fn trim(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        let job = self.book.job(name);
        let most = job.map_or(limits::HISTORY, |job| job.history_limit());
        let age = job.and_then(|job| job.definition.history_seconds).map(Span::from_secs);
        let gone = |run: &Arc<Run>| Some(run.finished? + age?);
        let over: Vec<(RunId, Option<Time>)> = self
            .book
            .runs_of(name)
            .filter(|run| run.state.is_over())
            .map(|run| (run.id(), gone(run)))
            .collect();
        let many = over.len().saturating_sub(most);
        #[cfg(feature = "mutants")]
        let many = if mutant::planted("runs-are-forgotten-early") { over.len().max(many) } else { many };
        let mut next: Option<Time> = None;
        for (at, (id, gone)) in over.iter().enumerate() {
            if at < many || gone.is_some_and(|gone| gone <= now) {
                self.forget(id, out);
            } else if let Some(gone) = *gone {
                next = Some(next.map_or(gone, |next| next.min(gone)));
            }
        }
        self.timers.put(Timer::Trim(Arc::clone(name)), next);
    }

    /// Sets the time when a job that has nothing more to do is deleted.
    pub(super) fn outlive(&mut self, name: &Arc<str>) {
        let at = self.end_of(name);
        self.timers.put(Timer::Expire(Arc::clone(name)), at);
    }

    fn end_of(&self, name: &str) -> Option<Time> {
        let job = self.book.job(name)?;
        let ttl = Span::from_secs(job.definition.ttl_seconds_after_finished?);
        if !job.is_exhausted() || !self.book.active_of(name).is_empty() {
            return None;
        }
        let last = self.book.runs_of(name).filter_map(|run| run.finished).max();
        Some(last.max(job.status.through)? + ttl)
    }

    /// A job that others depend on stays.
    pub(super) fn expire(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        let due = self.end_of(name).is_some_and(|at| at <= now);
        if due && self.book.children_of(name).is_empty() {
            self.deleted(now, name, out);
        }
    }
}
