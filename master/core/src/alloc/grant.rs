//! What goes into the allocator and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::quantity::Quantity;
use model::resources::{Bag, Lacking, Name, Quantities};
use model::role::Role;

use super::constraint::{Constraints, Traits};
use crate::profile::Capabilities;

/// Resources of one agent for one role of one framework: they are booked as offered until `returned` or `launched`.
/// Bags carry no marks of allocation in here; the role stands beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub framework: FrameworkId,
    pub role: Role,
    pub agent: AgentId,
    pub resources: Bag,
}

/// What tasks and executors of one framework use on an agent, in one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub framework: FrameworkId,
    pub role: Role,
    pub resources: Bag,
}

/// An agent as the allocator needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentFacts {
    /// All it has, without marks of allocation.
    pub total: Bag,
    /// Nothing is offered of an inactive agent: it is disconnected, draining or deactivated.
    pub active: bool,
    /// In another region than the master: only for frameworks that know regions.
    pub remote: bool,
    /// What constraints can ask of it.
    pub traits: Traits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameworkChange {
    /// It is connected and has these roles, replacing earlier ones. Refusals it made in roles it keeps stay.
    Subscribed {
        roles: BTreeSet<Role>,
        /// Roles in which it wants no offers for now.
        suppressed: BTreeSet<Role>,
        capabilities: Capabilities,
        /// Roles for which it wants other offers than the usual ones.
        minimums: BTreeMap<Role, Minimum>,
        /// Roles in which it does not want every agent.
        constraints: BTreeMap<Role, Arc<Constraints>>,
    },
    /// It is away, for a while or for good. What it holds stays booked until `returned` or `freed`; its refusals are
    /// forgotten.
    Disconnected,
    /// No offers in these roles; no role stands for all of them.
    Suppress(BTreeSet<Role>),
    /// Offers again in these roles, and its refusals in them are forgotten; no role stands for all of them.
    Revive(BTreeSet<Role>),
    /// It answers offers: that it once let some lapse is forgotten.
    Answered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChange {
    /// In thousandths, at least one.
    Weight { role: Role, thousandths: u64 },
    /// All quotas there are, by top-level role, replacing earlier ones.
    Quotas(BTreeMap<Role, Quota>),
}

/// What a top-level role and all roles below it may count on, and may have at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quota {
    pub guarantees: Quantities,
    /// A kind that is not named is not limited.
    pub limits: Quantities,
}

/// Offers must contain one of these sets of amounts. With no set at all, anything will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimum(pub Vec<Vec<(Name, Quantity)>>);

impl Default for Minimum {
    /// 0.01 cpus, or 32 MB of memory.
    fn default() -> Self {
        let cpus = Quantity::from_thousandths(10).expect("a positive number");
        Self(vec![vec![(Name::Cpus, cpus)], vec![(Name::Mem, Quantity::from_units(32))]])
    }
}

impl Minimum {
    pub fn met_by(&self, bag: &Bag) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|set| set.iter().all(|(name, quantity)| bag.scalar(name) >= *quantity))
    }
}

/// The caller and the allocator disagree about who holds what. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    #[error("agent {0} is not known to the allocator")]
    UnknownAgent(AgentId),
    #[error("agent {agent}: {lacking}")]
    NotFree { agent: AgentId, lacking: Box<Lacking> },
    #[error("framework {framework} holds nothing of agent {agent} in role {role}")]
    NothingHeld { agent: AgentId, framework: FrameworkId, role: Role },
    #[error("framework {framework} in role {role} on agent {agent}: {lacking}")]
    NotHeld { agent: AgentId, framework: FrameworkId, role: Role, lacking: Box<Lacking> },
}
