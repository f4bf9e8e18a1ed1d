//! `GET /allocation`: what frameworks were offered, what they declined, and why they are not offered more.

use super::Turn;
use crate::call::Explain;
use crate::effect::{Explanation, FrameworkAccount};
use crate::limits;
use crate::refusal::Refusal;

impl Turn<'_> {
    /// Of all frameworks what was counted; of one, and of the role or agent that is named, also why.
    pub(super) fn explain(&self, ask: &Explain) -> Result<Explanation, Refusal> {
        let agents = self.allocator.agents();
        if let Some(agent) = &ask.agent
            && self.agent(agent).is_none()
        {
            return Err(Refusal::NoSuchAgent(agent.clone()));
        }
        let Some(id) = &ask.framework else {
            return Ok(Explanation { at: self.now, agents, all: self.tallied(), one: None });
        };
        let framework = self.framework(id).ok_or(Refusal::FrameworkUnknown)?;
        let (role, agent) = (ask.role.as_ref(), ask.agent.as_ref());
        let accounts = self.allocator.accounts(id, role, agent, limits::EXPLAIN_LOOKS);
        let one = FrameworkAccount {
            id: id.clone(),
            name: framework.info.name.clone(),
            connected: framework.connected(),
            accounts,
        };
        Ok(Explanation { at: self.now, agents, all: Vec::new(), one: Some(one) })
    }

    fn tallied(&self) -> Vec<(model::id::FrameworkId, model::role::Role, crate::alloc::Tally)> {
        let all = self.allocator.tallies();
        all.map(|(framework, role, tally)| (framework.clone(), role.clone(), tally.clone())).collect()
    }
}
