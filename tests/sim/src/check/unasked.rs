//! Instances that serve are left alone unless their user asked for something else.

use marathon::core::id::InstanceId;

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str = "no instance that serves is ended but for a change its user asked for";

/// Looks at decisions to end an instance.
#[derive(Debug, Default)]
pub struct Unasked {
    /// What was seen.
    pub findings: Findings,
}

impl Unasked {
    /// A supervisor has decided to end an instance that serves. `asked` says that there is a reason: a deployment, or
    /// more instances than are wanted, as after the return of an agent that was given up.
    pub fn ends(&mut self, instance: &InstanceId, asked: bool, now: Micros, how: impl FnOnce() -> String) {
        self.findings
            .look(asked, || format!("{instance} serves and is to be ended at {now} µs, unasked: {}", how()));
    }
}
