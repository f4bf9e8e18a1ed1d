//! `DRAIN_AGENT`: no more offers, the tasks end, and with `mark_gone` the agent is given up when it is empty (spec
//! mesos-v1, section 8.10).
//!
//! That an agent drains is a fact of the registry: the next leader goes on with it. How far it has come is not: an agent
//! without tasks and operations is drained, and those are learnt again from agents. Agents are told for
//! their own readers, and do nothing about it: they get kills like any other, which end when their process ends, too.

use model::id::{AgentId, FrameworkId, TaskId};
use model::time::Span;
use wire::v1::KillPolicy;

use super::Turn;
use super::proposals::Proposal;
use crate::effect::AgentOrder;
use crate::input::RequestId;
use crate::registry::{AgentCommand, Away, Command, Drain, Presence};

/// The grace of a task that names none, as agents have it.
const USUAL_GRACE: Span = Span::from_secs(3);

impl Turn<'_> {
    pub(super) fn drain_call(&mut self, request: RequestId, agent: AgentId, drain: Drain) {
        if let Err(refusal) = self.stays(&agent) {
            return self.answer(request, Err(refusal));
        }
        let command = AgentCommand::Drain { id: agent.clone(), drain };
        self.propose(Command::Agent(command), Proposal::Drain { agent, drain, request });
    }

    /// The registry holds that the agent drains. One that is away drains when it is back.
    pub(super) fn drain_begins(&mut self, id: &AgentId, drain: Drain) {
        if let Some(agent) = self.agent_mut(id) {
            agent.drain = Some(drain);
        }
        self.agent_deactivated(id, true);
        self.drain_goes_on(id);
    }

    /// Orders the end of every task that is there: at the beginning, and whenever the agent is back, for orders may have
    /// been lost with its link.
    pub(super) fn drain_goes_on(&mut self, id: &AgentId) {
        let Some(agent) = self.agent(id) else { return };
        let Some(drain) = agent.drain else { return };
        self.order(id, AgentOrder::Drain(Some(drain)));
        let Some(agent) = self.agent(id) else { return };
        let tasks: Vec<(FrameworkId, TaskId)> = agent.tasks.iter().cloned().collect();
        for (framework, task) in tasks {
            let Some(record) = self.task(&framework, &task).filter(|task| !task.state.is_terminal()) else {
                continue;
            };
            let own = record.info.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
            let own = own.map_or(USUAL_GRACE, Span::from);
            let policy = drain.max_grace.map(|most| KillPolicy { grace_period: Some(own.min(most).into()) });
            self.order(id, AgentOrder::Kill { framework, task, policy });
        }
        self.drain_may_end(id);
    }

    /// A draining agent may have become empty.
    pub(super) fn drain_may_end(&mut self, id: &AgentId) {
        let Some(agent) = self.agent(id) else { return };
        let here = self.view.agent(id).is_some_and(|fact| fact.presence == Presence::Admitted);
        let over = here && agent.is_empty() && agent.drain.is_some_and(|drain| drain.mark_gone);
        if over && !self.leader.proposals.goes(id) {
            let command = AgentCommand::Mark { id: id.clone(), away: Away::Gone, at: self.now };
            self.propose(Command::Agent(command), Proposal::Gone { agent: id.clone(), request: None });
        }
    }
}
