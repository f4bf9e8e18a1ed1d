//! What ended a task is what is said of it.

use std::collections::BTreeMap;

use agent_core::{TaskKey, Update};
use model::task::TaskState;
use wire::v1::task_status::Reason;

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "a task that could not be started, or that the kernel ended for its memory, has failed with that reason and a sentence";

/// What really happened to tasks that did not end by themselves.
#[derive(Debug, Default)]
pub struct Reasons {
    truth: BTreeMap<TaskKey, Reason>,
    /// What was seen.
    pub findings: Findings,
}

impl Reasons {
    /// The kernel made no process for it.
    pub fn not_launched(&mut self, key: &TaskKey) {
        self.truth.insert(key.clone(), Reason::ContainerLaunchFailed);
    }

    /// The kernel will end it for its memory, if nobody ends it before.
    pub fn out_of_memory(&mut self, key: &TaskKey) {
        self.truth.insert(key.clone(), Reason::ContainerLimitationMemory);
    }

    /// The machine has stopped: that is what ended the task, or all that can be said of it.
    pub fn stopped(&mut self, key: &TaskKey) {
        self.truth.remove(key);
    }

    /// An agent has stored what it will say. Who is killed before, or whose agent forgets what it was doing, ends otherwise.
    pub fn said(&mut self, key: &TaskKey, update: &Update) {
        let Some(reason) = self.truth.get(key) else { return };
        let status = &update.status;
        let holds = match update.state {
            TaskState::Finished => false,
            TaskState::Failed => status.reason() == *reason && !status.message().is_empty(),
            _ => return,
        };
        self.findings.look(holds, || format!("{key} met {reason:?}, and its agent says: {status:?}"));
    }
}
