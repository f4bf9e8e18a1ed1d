//! Status updates on their way from the agent's disk to the framework.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::{TaskKey, Update, Uuid};
use model::id::FrameworkId;
use model::task::TaskState;
use wire::v1::TaskStatus;
use wire::v1::task_status::Reason;

use super::Findings;
use crate::net::Host;

/// What is promised.
pub const PROMISE: &str = "every status update arrives, in order, at least once, none before it is stored, and none is \
                           forgotten before it has arrived";

/// What an agent has stored to be sent.
#[derive(Debug)]
struct Stored {
    uuid: Uuid,
    /// It only reports a check. Of several reports in a row that wait the last one tells all, and the others need not be
    /// sent.
    report: bool,
    /// It only says, in answer to a kill, that there is no such task.
    answer: bool,
}

/// The updates of one task.
#[derive(Debug)]
struct Stream {
    host: Host,
    stored: Vec<Stored>,
    /// How many of them have arrived at least once.
    arrived: usize,
    /// The agent will not send the rest: its disk is gone.
    lost: bool,
}

impl Stream {
    /// Whether the update at this place may come next: those before it have arrived or were reports that another replaced.
    fn may_come(&self, place: usize) -> bool {
        (self.arrived..place).all(|at| self.stored[at].report && self.stored[at + 1].report)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Updates {
    streams: BTreeMap<TaskKey, Stream>,
    /// Frameworks that were removed, by the agents that know of it.
    removed: BTreeSet<(Host, FrameworkId)>,
    /// What was seen.
    pub findings: Findings,
}

impl Updates {
    /// An update is on the disk of an agent.
    pub fn stored(&mut self, key: &TaskKey, update: &Update, host: Host) {
        let fresh = Stream { host, stored: Vec::new(), arrived: 0, lost: false };
        let stream = self.streams.entry(key.clone()).or_insert(fresh);
        let answers = [TaskState::Dropped, TaskState::Dropped.without_partition_awareness()];
        let answer = answers.contains(&update.state) && update.status.reason() == Reason::ExecutorTerminated;
        stream.stored.push(Stored { uuid: update.uuid, report: update.report, answer });
    }

    /// The agent has stored that an update was acknowledged, and will not send it again.
    pub fn acknowledged(&mut self, key: &TaskKey, uuid: Uuid) {
        let Some(stream) = self.streams.get(key) else { return };
        let Some(place) = stream.stored.iter().position(|own| own.uuid == uuid) else { return };
        let arrived = stream.arrived;
        self.findings.look(place < arrived, || {
            format!("{key}: update number {place} counts as acknowledged when {arrived} had arrived")
        });
    }

    /// An agent has stored that a framework is no more: nobody waits for its updates.
    pub fn removed(&mut self, framework: &FrameworkId, host: Host) {
        self.removed.insert((host, framework.clone()));
    }

    /// The agent has given up a task's updates, as it may when the framework is gone, or when all that waits is the answer
    /// to a kill from before there was such a task.
    pub fn dropped(&mut self, key: &TaskKey, host: Host) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let waiting = &stream.stored[stream.arrived..];
        let lawful = stream.lost
            || self.removed.contains(&(host, key.framework.clone()))
            || waiting.iter().all(|update| update.answer);
        self.findings.look(lawful, || format!("{key}: {host:?} has given up {waiting:?}"));
        stream.arrived = stream.stored.len();
    }

    /// The disk of an agent is gone, and with it what was not delivered.
    pub fn wiped(&mut self, host: Host) {
        for stream in self.streams.values_mut().filter(|stream| stream.host == host) {
            stream.lost = true;
        }
    }

    /// A framework was told.
    pub fn received(&mut self, framework: &str, status: &TaskStatus) {
        // Those without a uuid are the master's own and promise nothing.
        let Some(uuid) = status.uuid.as_ref().and_then(|bytes| Uuid::from_slice(bytes)) else { return };
        let key = TaskKey { framework: framework.into(), task: status.task_id.value.as_str().into() };
        let known = self.streams.get_mut(&key);
        let place = known.as_ref().and_then(|stream| stream.stored.iter().position(|own| own.uuid == uuid));
        let (Some(stream), Some(place)) = (known, place) else {
            return self.findings.look(false, || format!("{key}: {uuid} arrived before it was stored"));
        };
        let (arrived, in_turn) = (stream.arrived, stream.may_come(place));
        stream.arrived = arrived.max(place + 1);
        self.findings
            .look(in_turn, || format!("{key}: update number {place} arrived when {arrived} had arrived"));
    }

    /// When all is quiet nothing is left on the way.
    pub fn conclude(&mut self) {
        for (key, stream) in &self.streams {
            let all = stream.lost || stream.arrived == stream.stored.len();
            self.findings.look(all, || {
                format!("{key}: {} updates were stored, {} arrived", stream.stored.len(), stream.arrived)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::time::Time;

    use super::*;

    const AGENT: Host = Host(0);

    fn key() -> TaskKey {
        TaskKey { framework: "f".into(), task: "t".into() }
    }

    /// An agent has stored this, for this reason, and gives it up.
    fn given_up(state: TaskState, reason: Reason, removed: bool) -> Updates {
        let mut status = TaskStatus::default();
        status.set_reason(reason);
        let uuid = Uuid::from_slice(&[7; 16]).expect("of the right length");
        let update = Update { uuid, state, at: Time::ZERO, report: false, status: Arc::new(status) };
        let mut updates = Updates::default();
        updates.stored(&key(), &update, AGENT);
        if removed {
            updates.removed(&"f".into(), AGENT);
        }
        updates.dropped(&key(), AGENT);
        updates.conclude();
        updates
    }

    #[test]
    fn what_waits_is_given_up_for_no_framework_that_is_there() {
        let lawful = |updates: Updates| updates.findings.wrong.is_empty();
        assert!(!lawful(given_up(TaskState::Failed, Reason::CommandExecutorFailed, false)));
        assert!(lawful(given_up(TaskState::Failed, Reason::CommandExecutorFailed, true)));
        assert!(lawful(given_up(TaskState::Dropped, Reason::ExecutorTerminated, false)));
        assert!(!lawful(given_up(TaskState::Dropped, Reason::InvalidOffers, false)));
    }
}
