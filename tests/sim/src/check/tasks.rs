//! A task id is run once.

use std::collections::BTreeMap;

use agent_core::TaskKey;

use super::Findings;
use crate::net::{Host, Micros};

/// What is promised.
pub const PROMISE: &str = "no task id runs twice, nor on two agents";

/// Where each task was launched.
#[derive(Debug, Default)]
pub struct Tasks {
    launched: BTreeMap<TaskKey, (Host, Micros)>,
    /// What was seen.
    pub findings: Findings,
}

impl Tasks {
    /// A launcher was told to start a task.
    pub fn launched(&mut self, key: &TaskKey, host: Host, now: Micros) {
        let before = self.launched.insert(key.clone(), (host, now));
        self.findings.look(before.is_none(), || {
            format!("{key} is launched on {host:?} at {now} µs, and was before: {before:?}")
        });
    }
}
