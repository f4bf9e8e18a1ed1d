//! Which node is what: each has one process, and nodes of a kind are numbered one after the other.

use std::ops::Range;

pub const MASTERS: usize = 3;
/// The last of them loses its power, and its disk with it, now and then: what must last does not run there.
pub const AGENTS: usize = 4;
/// Each agent has so many of a resource that only the plain framework wants, and uses up.
pub const SLOTS: usize = 4;
pub const SUPERVISORS: usize = 2;
/// Batch schedulers.
pub const SCHEDULERS: usize = 2;
/// A sidecar and its HAProxy.
pub const BALANCERS: usize = 1;
pub const NODES: usize = MASTERS + AGENTS + SUPERVISORS + SCHEDULERS + BALANCERS;

/// The agent that loses its power.
pub const MORTAL_AGENT: usize = MASTERS + AGENTS - 1;
pub const BALANCER: usize = NODES - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    Agent,
    Supervisor,
    Scheduler,
    Balancer,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Master, Self::Agent, Self::Supervisor, Self::Scheduler, Self::Balancer];

    /// What the process on a node is.
    pub fn of(node: usize) -> Self {
        Self::ALL.into_iter().find(|role| role.nodes().contains(&node)).unwrap_or(Self::Balancer)
    }

    pub fn nodes(self) -> Range<usize> {
        let counts = [MASTERS, AGENTS, SUPERVISORS, SCHEDULERS, BALANCERS];
        let first = counts[..self as usize].iter().sum();
        first..first + counts[self as usize]
    }

    /// The word after `stoa`.
    pub fn command(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Agent => "agent",
            Self::Supervisor => "marathon",
            Self::Scheduler => "chronos",
            Self::Balancer => "haproxy",
        }
    }

    pub fn port(self) -> u16 {
        match self {
            Self::Master => 5050,
            Self::Agent => 5051,
            Self::Supervisor => 8080,
            Self::Scheduler => 4400,
            Self::Balancer => 9090,
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Master => "masters",
            Self::Agent => "agents",
            Self::Supervisor => "supervisors",
            Self::Scheduler => "schedulers",
            Self::Balancer => "balancers",
        }
    }

    fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }
}

/// `master-0` for example.
pub fn name(node: usize) -> String {
    let role = Role::of(node);
    format!("{}-{}", role.singular(), node - role.nodes().start)
}
