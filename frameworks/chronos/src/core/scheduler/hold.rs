//! Runs that must not overlap with another of their job: they stand aside until it has ended, so that no offer looks at them.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::time::Time;

use super::super::book::Wait;
use super::super::definition::ConcurrencyPolicy;
use super::super::run::{Run, RunId};
use super::queue::Place;
use super::{Scheduler, Timer};

/// Those of one job, in the order of their turn.
pub(super) type Held = BTreeSet<Place>;

impl Scheduler {
    /// Takes a run out of the queue until another of its job has ended.
    pub(super) fn hold(&mut self, id: &RunId) {
        let Some(turn) = self.queue.remove(id) else { return };
        self.timers.put(Timer::Preempt(id.clone()), None);
        self.held.entry(Arc::clone(&id.job)).or_default().insert(turn.place);
        self.book.waiting.insert(id.clone(), Wait::Turn);
    }

    /// It stands aside no more, and somebody else may be first of those that do.
    pub(super) fn release(&mut self, id: &RunId) {
        let Some(held) = self.held.get_mut(&id.job) else { return };
        if self.book.waiting.get(id) == Some(&Wait::Turn) {
            held.retain(|place| place.run != *id);
        }
        if held.is_empty() {
            self.held.remove(&id.job);
        }
        self.stir(&id.job);
    }

    /// Something has happened to a job: those that stand aside may be in nobody's way any more.
    pub(super) fn stir(&mut self, job: &Arc<str>) {
        if self.held.contains_key(job) {
            self.stirred.insert(Arc::clone(job));
        }
    }

    pub(super) fn rouse_stirred(&mut self, now: Time) {
        while let Some(job) = self.stirred.pop_first() {
            self.rouse(now, &job);
        }
    }

    /// Lines up the first that stands aside, if no other run of the job goes on or is about to.
    fn rouse(&mut self, now: Time, name: &Arc<str>) {
        let Some(job) = self.book.job(name) else { return };
        let one_by_one = job.concurrency() != ConcurrencyPolicy::Allow;
        let busy = |run: &Arc<Run>| self.is_in_the_way(run);
        if one_by_one && self.book.active_of(name).iter().any(busy) {
            return;
        }
        while let Some(Place { run: id, .. }) = self.held.get_mut(name).and_then(|held| held.pop_first()) {
            self.book.waiting.remove(&id);
            if let Some(run) = self.run(&id) {
                self.enqueue(now, &run);
            }
            if one_by_one && self.queue.contains(&id) {
                break;
            }
        }
        if self.held.get(name).is_some_and(BTreeSet::is_empty) {
            self.held.remove(name);
        }
    }

    fn is_in_the_way(&self, run: &Run) -> bool {
        run.state.has_task() || self.queue.contains(&run.id())
    }
}
