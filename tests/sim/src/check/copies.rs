//! A copy of an agent is no agent.

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str =
    "a copy of an agent's data directory is never taken for the agent, and ends with a sentence that says so";

/// Looks at what becomes of copies.
#[derive(Debug, Default)]
pub struct Copies {
    /// What was seen.
    pub findings: Findings,
}

impl Copies {
    /// A master takes a copy in.
    pub fn welcomed(&mut self, copy: &str, now: Micros) {
        self.findings.look(false, || format!("{copy} is taken for the agent it is a copy of, at {now} µs"));
    }

    /// The process of a copy ends by itself.
    pub fn ended(&mut self, copy: &str, why: &str) {
        self.findings
            .look(why.contains("this data directory is a copy"), || format!("{copy} ends and says: {why:?}"));
    }
}
