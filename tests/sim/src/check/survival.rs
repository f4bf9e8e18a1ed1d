//! Tasks outlive us.

use std::collections::BTreeSet;

use agent_core::TaskKey;
use model::id::TaskId;

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str = "no task dies but by its own end, its framework's wish or its machine's";

/// Who wished what.
#[derive(Debug, Default)]
pub struct Survival {
    asked: BTreeSet<TaskKey>,
    /// What was seen.
    pub findings: Findings,
}

impl Survival {
    /// A framework wants a task killed.
    pub fn asked(&mut self, framework: &str, task: &TaskId) {
        self.asked.insert(TaskKey { framework: framework.into(), task: task.clone() });
    }

    /// An agent kills a task that runs.
    pub fn killed(&mut self, key: &TaskKey, now: Micros) {
        let asked = self.asked.contains(key);
        self.findings.look(asked, || format!("{key} is killed at {now} µs and nobody asked for it"));
    }

    /// An agent that was started again knows nothing of a task that runs.
    pub fn orphaned(&mut self, key: &TaskKey, now: Micros) {
        self.findings.look(false, || format!("{key} is destroyed at {now} µs: its agent has forgotten it"));
    }
}
