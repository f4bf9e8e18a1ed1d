//! Jobs that rest for a while: nothing of them is launched, and nothing is lost.

use std::sync::Arc;

use model::time::Time;

use super::super::message::Effect;
use super::super::run::{Run, RunId};
use super::Scheduler;

impl Scheduler {
    /// What waits keeps its place, what runs goes on, and what comes due waits for the end of it.
    pub(super) fn suspend(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        if self.book.job(name).is_some_and(|job| !job.definition.suspend) {
            self.change_definition(now, name, out, |definition| definition.suspend = true);
            self.suspended(now, name, out);
        }
    }

    pub(super) fn resume_job(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        if self.book.job(name).is_some_and(|job| job.definition.suspend) {
            self.change_definition(now, name, out, |definition| definition.suspend = false);
            self.resumed(now, name, out);
        }
    }

    /// Its definition says so now.
    pub(super) fn suspended(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        self.note(name, out, |status| {
            status.suspended = Some(now);
            status.resumed = None;
        });
        for run in self.book.active_of(name) {
            self.park(&run.id());
            let parts: Vec<RunId> = self.book.parts_of(&run.id()).map(|part| part.id()).collect();
            for part in parts {
                self.park(&part);
            }
        }
    }

    /// Its due times since then are dealt with as those of an outage are.
    pub(super) fn resumed(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        self.note(name, out, |status| status.resumed = Some(now));
        for run in self.book.active_of(name) {
            let parts: Vec<Arc<Run>> = self.book.parts_of(&run.id()).cloned().collect();
            for run in parts.into_iter().chain([run]) {
                self.enqueue(now, &run);
            }
        }
        self.watch(name);
    }
}
