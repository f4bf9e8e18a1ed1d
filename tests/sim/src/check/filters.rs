//! Who declines something is offered it again when the time that it named is over.

use std::collections::{BTreeMap, BTreeSet};

use model::id::AgentId;

use super::Findings;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str =
    "what nobody else may have is offered again within ten seconds after the time for which it was declined";

/// After the time that was named.
const BOUND: Micros = 10 * SECOND;

/// What one framework declined and alone may have.
#[derive(Debug, Default)]
pub struct Filters {
    waiting: BTreeMap<AgentId, Micros>,
    /// Agents that are said to be gone, and have offered nothing since.
    gone: BTreeSet<AgentId>,
    again: BTreeSet<AgentId>,
    /// What was seen.
    pub findings: Findings,
}

impl Filters {
    /// The master has taken that it declines all of an agent until then.
    pub fn declined(&mut self, agent: AgentId, until: Micros) {
        if !self.gone.contains(&agent) {
            self.waiting.insert(agent, until + BOUND);
        }
    }

    /// It is told that an agent has failed, and may never come back.
    pub fn failed(&mut self, agent: AgentId) {
        self.waiting.remove(&agent);
        self.gone.insert(agent);
    }

    /// It is offered something of an agent.
    pub fn offered(&mut self, agent: &AgentId) {
        self.gone.remove(agent);
        if self.waiting.remove(agent).is_some() {
            self.findings.looks += 1;
            self.again.insert(agent.clone());
        }
    }

    /// Another leader, or the same one anew, knows nothing of what was declined.
    pub fn lost(&mut self) {
        self.waiting.clear();
    }

    /// Whether it was offered something of an agent after it had declined it.
    pub fn has_seen_again(&self, agent: &AgentId) -> bool {
        self.again.contains(agent)
    }

    /// Time has passed.
    pub fn look(&mut self, now: Micros) {
        let late = self.waiting.iter().find(|(_, by)| **by < now);
        self.findings
            .look(late.is_none(), || format!("at {now} µs what was declined is not offered again: {late:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends() {
        let agent = AgentId::from("S");
        let mut checker = Filters::default();
        checker.declined(agent.clone(), SECOND);
        checker.look(SECOND + BOUND);
        assert!(checker.findings.wrong.is_empty() && !checker.has_seen_again(&agent));
        checker.look(SECOND + BOUND + 1);
        assert!(!checker.findings.wrong.is_empty());
        checker.offered(&agent);
        assert!(checker.has_seen_again(&agent));
        let mut checker = Filters::default();
        checker.declined(agent, SECOND);
        checker.lost();
        checker.look(Micros::MAX);
        assert!(checker.findings.wrong.is_empty());
    }

    #[test]
    fn an_agent_that_has_failed_offers_nothing() {
        let agent = AgentId::from("S");
        let mut checker = Filters::default();
        checker.declined(agent.clone(), SECOND);
        checker.failed(agent.clone());
        // The answer to a call may come after that.
        checker.declined(agent.clone(), SECOND);
        checker.look(Micros::MAX);
        assert!(checker.findings.wrong.is_empty());
        checker.offered(&agent);
        checker.declined(agent, SECOND);
        checker.look(Micros::MAX);
        assert!(!checker.findings.wrong.is_empty(), "it is back");
    }
}
