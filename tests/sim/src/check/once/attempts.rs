//! What really ran of each run, attempt by attempt.

use std::collections::{BTreeMap, BTreeSet};

use chronos::core::run::{RunId, of_task};
use model::id::TaskId;

use crate::net::{Host, Micros};

/// One task of a run, as its machine knows it.
#[derive(Debug)]
struct Attempt {
    task: TaskId,
    host: Host,
    /// When it ends, if it does.
    ends: Option<Micros>,
    /// It ends by itself, and well.
    well: bool,
    /// Its machine has stopped since: nobody may ever hear how it ended.
    lost: bool,
}

impl Attempt {
    fn runs(&self, now: Micros) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }
}

/// All of them, by run, or part of a run.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<RunId, Vec<Attempt>>);

impl Attempts {
    /// A machine begins a task. What must not be, if it must not: another attempt still runs, or has done the work. Those that
    /// were given up with their agents, which nobody can see, are no others.
    pub(super) fn begins(
        &mut self,
        id: &RunId,
        task: &TaskId,
        host: Host,
        now: Micros,
        (ends, well): (Option<Micros>, bool),
        missing: &BTreeSet<String>,
    ) -> Option<String> {
        let before = self.0.entry(id.clone()).or_default();
        let seen = || before.iter().filter(|other| !missing.contains(other.task.as_str()));
        let beside = seen().find(|other| other.runs(now)).map(|other| (other, "still runs"));
        let after = || seen().find(|other| other.well && !other.lost).map(|other| (other, "was done"));
        let wrong = beside.or_else(after).map(|(other, what)| format!("{} {what}", other.task));
        before.push(Attempt { task: task.clone(), host, ends, well, lost: false });
        wrong
    }

    /// It ends at another time, or in another way, than it was to.
    pub(super) fn ends(&mut self, task: &TaskId, ends: Micros, well: bool) {
        let Some((id, _)) = of_task(task.as_str()) else { return };
        for attempt in self.0.get_mut(&id).into_iter().flatten().filter(|attempt| attempt.task == *task) {
            attempt.ends = Some(ends);
            attempt.well = well;
        }
    }

    /// A machine stops, with all that runs on it.
    pub(super) fn stopped(&mut self, host: Host, now: Micros) {
        for attempt in self.0.values_mut().flatten().filter(|attempt| attempt.host == host) {
            if attempt.runs(now) {
                attempt.ends = Some(now);
                attempt.well = false;
            }
            attempt.lost = true;
        }
    }

    /// Whether anything of it was ever begun.
    pub(super) fn any(&self, id: &RunId) -> bool {
        self.0.contains_key(id)
    }

    /// Whether this attempt did its work, and its machine was there to say so.
    pub(super) fn did(&self, id: &RunId, task: &str) -> bool {
        let mut attempts = self.0.get(id).into_iter().flatten();
        attempts.any(|attempt| attempt.task.as_str() == task && attempt.well && !attempt.lost)
    }

    /// Whether its work was done.
    pub(super) fn done(&self, id: &RunId) -> bool {
        self.0.get(id).is_some_and(|attempts| attempts.iter().any(|attempt| attempt.well))
    }
}
