//! Agents that are away for good are forgotten at last: each that ever was would else stay in every master's memory, and
//! in the end there would be no room for new ones (spec mesos-v1, section 8.10).

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::AgentId;
use model::time::Span;

use super::Turn;
use super::proposals::Proposal;
use super::timers::Timer;
use crate::registry::{Agent, AgentCommand, Command, Presence};

/// How often it is looked for them.
pub(super) const EVERY: Span = Span::from_mins(15);
/// The pause when there are more than one round forgets.
const AGAIN: Span = Span::from_secs(1);
/// Agents forgotten in one round: each is an entry of the log.
const ROUND: usize = 256;

impl Turn<'_> {
    /// Forgets agents that were marked unreachable or gone long ago, and the longest ago of those that are too many.
    pub(super) fn collect(&mut self) {
        let due = self.forgettable();
        let more = due.len() > ROUND;
        for id in due.into_iter().take(ROUND) {
            self.leader.counters.count("slaves_forgotten");
            self.propose(Command::Agent(AgentCommand::Forget { id }), Proposal::Quiet);
        }
        self.leader.timers.set(Timer::Collect, self.now + if more { AGAIN } else { EVERY });
    }

    /// Whoever is about to come back is not among them: forgotten after it was admitted, it would be nobody.
    fn forgettable(&self) -> Vec<AgentId> {
        let returning: BTreeSet<&AgentId> = self.leader.proposals.registering().collect();
        let away = |fact: &&Arc<Agent>| fact.presence != Presence::Admitted && !returning.contains(&fact.id);
        let mut away: Vec<&Arc<Agent>> = self.view.agents().filter(away).collect();
        away.sort_by_key(|fact| (fact.since, &fact.id));
        let surplus = away.len().saturating_sub(self.leader.settings.away_agents);
        let long = |fact: &Agent| self.now.since(fact.since) >= self.leader.settings.forget_after;
        let due = away.iter().enumerate().take_while(|(at, fact)| *at < surplus || long(fact));
        due.map(|(_, fact)| fact.id.clone()).collect()
    }
}
