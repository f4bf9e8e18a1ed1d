//! A made-up cluster: agents alike, frameworks spread over roles.

use master_core::alloc::{AgentFacts, Allocator, FrameworkChange, Grant};
use model::id::{AgentId, FrameworkId};
use model::resources::Bag;
use model::role::Role;
use model::time::{Span, Time};

#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) agents: usize,
    pub(crate) frameworks: usize,
    pub(crate) roles: usize,
}

pub(crate) struct Cluster {
    pub(crate) allocator: Allocator,
    pub(crate) now: Time,
    shape: Shape,
    /// What is used of each agent, once all are used up.
    pub(crate) tasks: Vec<Grant>,
}

/// What each agent has; the ports make it more than a copy of numbers.
const TOTAL: &str = "cpus:24;mem:65536;disk:1000000;ports:[31000-32000]";

/// What is left of a used-up agent: less than is worth an offer.
const REST: &str = "cpus:0.005;mem:16;ports:[31500-31600]";

fn bag(text: &str) -> Bag {
    Bag::parse(text).expect("a text of this program")
}

impl Cluster {
    /// All agents free, all frameworks waiting.
    pub(crate) fn new(shape: Shape) -> Self {
        let mut cluster = Self { allocator: Allocator::default(), now: Time::ZERO, shape, tasks: Vec::new() };
        for n in 0..shape.frameworks {
            let role: Role = format!("role{}", n % shape.roles).parse().expect("a lawful name");
            let change = FrameworkChange::Subscribed {
                roles: [role].into(),
                suppressed: Default::default(),
                capabilities: Default::default(),
                minimums: Default::default(),
                constraints: Default::default(),
            };
            cluster.allocator.framework(&cluster.framework(n), change);
        }
        for n in 0..shape.agents {
            let facts =
                AgentFacts { total: bag(TOTAL), active: true, remote: false, ..AgentFacts::default() };
            cluster.allocator.agent_up(cluster.agent(n), facts, []);
        }
        cluster
    }

    /// All agents used by the frameworks they were given to.
    pub(crate) fn used_up(shape: Shape) -> Self {
        let mut cluster = Self::new(shape);
        let rest = bag(REST);
        for mut grant in cluster.allocator.run(cluster.now, usize::MAX) {
            grant.resources.remove(&rest);
            let Grant { framework, role, agent, resources } = &grant;
            cluster.allocator.launched(agent, framework, role, resources).expect("it is offered");
            cluster
                .allocator
                .returned(cluster.now, agent, framework, role, &rest, None)
                .expect("it is offered");
            cluster.tasks.push(grant);
        }
        assert!(cluster.allocator.run(cluster.now, usize::MAX).is_empty());
        cluster
    }

    /// Every framework refuses every agent for a day.
    pub(crate) fn refuse_everything(&mut self) {
        loop {
            let grants = self.allocator.run(self.now, usize::MAX);
            if grants.is_empty() {
                return;
            }
            self.give_back(&grants, Some(Span::from_days(1)));
        }
    }

    pub(crate) fn give_back(&mut self, grants: &[Grant], refuse: Option<Span>) {
        for Grant { framework, role, agent, resources } in grants {
            self.allocator
                .returned(self.now, agent, framework, role, resources, refuse)
                .expect("it is offered");
        }
    }

    pub(crate) fn agent(&self, n: usize) -> AgentId {
        // Spread, so that neighbours in time are no neighbours in memory.
        format!("5f0c5f3e-3f6b-4b8e-9d0a-000000000000-S{}", (n * 7_919) % self.shape.agents).into()
    }

    pub(crate) fn framework(&self, n: usize) -> FrameworkId {
        format!("5f0c5f3e-3f6b-4b8e-9d0a-000000000000-{:04}", n % self.shape.frameworks).into()
    }

    pub(crate) fn task(&self, n: usize) -> Grant {
        self.tasks[n % self.tasks.len()].clone()
    }
}
