//! Why a framework is not offered anything: found when asked, from the same judgement that `run` makes, so that the
//! answer is right at that moment and costs nothing before.

use model::id::{AgentId, FrameworkId};
use model::role::Role;
use model::time::Time;

use super::{Allocator, Client};

/// How an agent looks to a framework in one of its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyAgent {
    /// It would be offered at the next run, were the framework next in order.
    Free,
    /// Something of it lies with the framework as an offer now.
    Offered,
    /// Disconnected, draining or deactivated.
    Inactive,
    /// It has GPUs, and the framework has not said that it knows them.
    NeedsGpuCapability,
    /// It is in another region, and the framework has not said that it knows regions.
    NeedsRegionCapability,
    /// The framework's own constraints leave it out.
    Constrained,
    /// What is free of it, not held by others and not reserved to others, is below the least worth offering.
    TooLittle,
    /// Its role has as much as its quota allows, or what is left of that is too little to offer.
    QuotaLimit,
    /// What is free in the cluster is kept for roles that have less than they are promised.
    KeptForGuarantees,
    /// The framework declined as much, and is not asked again before this time.
    Refused { until: Time },
}

/// How all agents look to a framework in one of its roles: the numbers add up to all agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Why {
    /// Connected in this role. When not, nothing is offered.
    pub subscribed: bool,
    /// It asked for no offers. Nothing is offered then either.
    pub suppressed: bool,
    pub free: usize,
    pub offered: usize,
    pub inactive: usize,
    pub incapable: usize,
    pub constrained: usize,
    pub too_little: usize,
    pub quota_limit: usize,
    pub kept_for_guarantees: usize,
    pub refused: usize,
    /// When the first of those refusals ends.
    pub refused_until: Option<Time>,
}

impl Why {
    pub(super) fn count(&mut self, agent: WhyAgent) {
        match agent {
            WhyAgent::Free => self.free += 1,
            WhyAgent::Offered => self.offered += 1,
            WhyAgent::Inactive => self.inactive += 1,
            WhyAgent::NeedsGpuCapability | WhyAgent::NeedsRegionCapability => self.incapable += 1,
            WhyAgent::Constrained => self.constrained += 1,
            WhyAgent::TooLittle => self.too_little += 1,
            WhyAgent::QuotaLimit => self.quota_limit += 1,
            WhyAgent::KeptForGuarantees => self.kept_for_guarantees += 1,
            WhyAgent::Refused { until } => {
                self.refused += 1;
                self.refused_until = Some(self.refused_until.map_or(until, |first| first.min(until)));
            }
        }
    }
}

impl Allocator {
    /// Looks at every agent: for people, not for each turn. `None` when the framework has no such role.
    pub fn why(&self, framework: &FrameworkId, role: &Role) -> Option<Why> {
        let client = self.client(framework, role)?;
        let contender = self.contender(client);
        let mut why =
            Why { subscribed: contender.subscribed, suppressed: contender.suppressed, ..Why::default() };
        self.agents.iter().for_each(|(index, _)| why.count(self.look(index, client)));
        Some(why)
    }

    /// How one agent looks to a framework in one of its roles. `None` when there is no such role or agent.
    pub fn why_agent(&self, framework: &FrameworkId, role: &Role, agent: &AgentId) -> Option<WhyAgent> {
        Some(self.look(self.agents.index(agent)?, self.client(framework, role)?))
    }

    pub(super) fn look(&self, index: super::ledger::Index, client: Client) -> WhyAgent {
        let agent = self.agents.get(index);
        if agent.holdings.get(client).is_some_and(|holding| !holding.offered.is_empty()) {
            return WhyAgent::Offered;
        }
        // A refusal stands here until a run has found that it ended.
        let (part, _) = self.judge(Time::ZERO, &self.quotas, index, agent, client, &agent.free);
        part.map_or_else(|reason| reason, |_| WhyAgent::Free)
    }
}
