//! The operator's calls: reads of the whole state, the event stream, weights, agents.

use std::sync::Arc;

use model::id::AgentId;
use model::limits::HEARTBEAT_ANNOUNCED;
use model::role::Role;

use super::Turn;
use super::proposals::Proposal;
use super::state_api::Waiting;
use super::streams::Listener;
use crate::call::{OperatorCall, WeightValue};
use crate::effect::{AgentOrder, Effect, OperatorEvent, Reply};
use crate::input::{RequestId, StreamId};
use crate::profile;
use crate::refusal::Refusal;
use crate::registry::{AgentCommand, Away, Command, Drain, Presence, Text, Weight, WeightCommand};

impl Turn<'_> {
    pub(super) fn operator_call(&mut self, request: RequestId, call: OperatorCall) {
        match call {
            OperatorCall::Read => self.when_proved(Waiting::Snapshot(request)),
            OperatorCall::Subscribe { stream } => self.operator_subscribe(request, stream),
            OperatorCall::Explain(ask) => self.when_proved(Waiting::Explain { request, ask }),
            OperatorCall::Teardown(framework) => self.operator_teardown(request, framework),
            OperatorCall::UpdateWeights(weights) => self.update_weights(request, weights),
            OperatorCall::UpdateQuota { force, set } => self.update_quota(request, force, set),
            OperatorCall::MarkAgentGone(agent) => self.mark_gone(request, agent),
            OperatorCall::Change { agent, change } => self.operator_change(request, &agent, &change),
            OperatorCall::Maintain(command) => {
                self.propose(Command::Maintenance(command), Proposal::Maintenance { request });
            }
            OperatorCall::Drain { agent, max_grace, mark_gone } => {
                let drain = Drain { max_grace, mark_gone, since: self.now };
                self.drain_call(request, agent, drain);
            }
            OperatorCall::Deactivate { agent, deactivated } => {
                if let Err(refusal) = self.stays(&agent) {
                    return self.answer(request, Err(refusal));
                }
                let command = AgentCommand::Deactivate { id: agent.clone(), deactivated };
                self.propose(Command::Agent(command), Proposal::Deactivation { agent, deactivated, request });
            }
        }
    }

    fn operator_subscribe(&mut self, request: RequestId, stream: StreamId) {
        let Some(snapshot) = self.snapshot() else { return self.answer(request, Err(Refusal::NotLeading)) };
        self.evict_operators();
        self.answer(request, Ok(Reply::Stream(stream.clone())));
        self.open_stream(stream.clone(), Listener::Operator);
        let subscribed = OperatorEvent::Subscribed { snapshot, heartbeat: HEARTBEAT_ANNOUNCED };
        self.out.push(Effect::Notice { stream: stream.clone(), event: subscribed });
        self.out.push(Effect::Notice { stream, event: OperatorEvent::Heartbeat });
    }

    fn update_weights(&mut self, request: RequestId, weights: Vec<(String, WeightValue)>) {
        let judged: Result<Vec<Weight>, Refusal> = weights.into_iter().map(judge_weight).collect();
        match judged {
            Ok(set) => {
                let roles = set.iter().map(|weight| Text::clone(&weight.role)).collect();
                let command = Command::Weight(WeightCommand { set });
                self.propose(command, Proposal::Weights { request, roles });
            }
            Err(refusal) => self.answer(request, Err(refusal)),
        }
    }

    fn mark_gone(&mut self, request: RequestId, agent: AgentId) {
        let Some(fact) = self.view.agent(&agent) else {
            return self.answer(request, Err(Refusal::NoSuchAgent(agent)));
        };
        if fact.presence == Presence::Gone {
            return self.answer(request, Ok(Reply::Done));
        }
        if self.leader.proposals.in_transition(&agent) {
            return self.answer(request, Err(Refusal::InTransition));
        }
        let command = AgentCommand::Mark { id: agent.clone(), away: Away::Gone, at: self.now };
        self.propose(Command::Agent(command), Proposal::Gone { agent, request: Some(request) });
    }

    /// Whether the operator may dispose of the agent: it is of this cluster, and not on its way out for ever.
    pub(super) fn stays(&self, agent: &AgentId) -> Result<(), Refusal> {
        let known = self.view.agent(agent).is_some_and(|fact| fact.presence != Presence::Gone);
        match (known, self.leader.proposals.goes(agent)) {
            (false, _) => Err(Refusal::UnknownAgent),
            (true, true) => Err(Refusal::GoesAway),
            (true, false) => Ok(()),
        }
    }

    pub(super) fn agent_deactivated(&mut self, id: &AgentId, deactivated: bool) {
        let Some(agent) = self.agent_mut(id) else { return };
        agent.deactivated = deactivated;
        if !deactivated && agent.drain.take().is_some() {
            self.order(id, AgentOrder::Drain(None));
        }
        if deactivated {
            self.rescind_agent_offers(id);
        }
        self.offer_agent(id);
    }
}

fn judge_weight((role, value): (String, WeightValue)) -> Result<Weight, Refusal> {
    let thousandths = match value {
        WeightValue::Thousandths(thousandths) => thousandths,
        WeightValue::Bad(weight) => {
            let fault = format!("Invalid weight '{weight}': Weights must be positive");
            return Err(Refusal::WeightInvalid { role, fault });
        }
    };
    let parsed: Role = match profile::parse(&role) {
        Ok(parsed) => parsed,
        Err(fault) => return Err(Refusal::WeightInvalid { role, fault }),
    };
    Ok(Weight { role: Arc::from(parsed.as_str()), thousandths })
}
