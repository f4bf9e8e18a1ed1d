//! Status updates on their way from the agent's disk to the framework.

use std::collections::BTreeMap;

use agent_core::{TaskKey, Update, Uuid};
use wire::v1::TaskStatus;

use super::Findings;
use crate::net::Host;

/// What is promised.
pub const PROMISE: &str = "every status update arrives, in order, at least once, none before it is stored, and none is \
                           forgotten before it has arrived";

/// The updates of one task.
#[derive(Debug)]
struct Stream {
    host: Host,
    /// Each with whether it only reports a check. Of several reports in a row that wait the last one tells all, and the
    /// others need not be sent.
    stored: Vec<(Uuid, bool)>,
    /// How many of them have arrived at least once.
    arrived: usize,
    /// The agent will not send the rest: its disk is gone.
    lost: bool,
}

impl Stream {
    /// Whether the update at this place may come next: those before it have arrived or were reports that another replaced.
    fn may_come(&self, place: usize) -> bool {
        (self.arrived..place).all(|at| self.stored[at].1 && self.stored[at + 1].1)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Updates {
    streams: BTreeMap<TaskKey, Stream>,
    /// What was seen.
    pub findings: Findings,
}

impl Updates {
    /// An update is on the disk of an agent.
    pub fn stored(&mut self, key: &TaskKey, update: &Update, host: Host) {
        let fresh = Stream { host, stored: Vec::new(), arrived: 0, lost: false };
        let stream = self.streams.entry(key.clone()).or_insert(fresh);
        stream.stored.push((update.uuid, update.report));
    }

    /// The agent has stored that an update was acknowledged, and will not send it again.
    pub fn acknowledged(&mut self, key: &TaskKey, uuid: Uuid) {
        let Some(stream) = self.streams.get(key) else { return };
        let Some(place) = stream.stored.iter().position(|(own, _)| *own == uuid) else { return };
        let arrived = stream.arrived;
        self.findings.look(place < arrived, || {
            format!("{key}: update number {place} counts as acknowledged when {arrived} had arrived")
        });
    }

    /// The agent has given up a task's updates, as it may when its framework is gone or the id is used anew.
    pub fn dropped(&mut self, key: &TaskKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.arrived = stream.stored.len();
        }
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
        let place = known.as_ref().and_then(|stream| stream.stored.iter().position(|(own, _)| *own == uuid));
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
