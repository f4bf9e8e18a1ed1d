//! The visible records of the leader, and the cheap copy of them all that readers get.
//!
//! The tables are persistent maps of shared records, so that a copy costs a few counters whatever the size of the
//! cluster; a record is copied when it changes while a reader still holds it. A plain map would be copied whole for
//! each `GET_STATE`, on the one loop that also launches tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};
use model::id::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, TaskId};
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use model::time::Time;
use wire::v1::{
    AgentInfo, ExecutorInfo, FrameworkInfo, MasterInfo, OperationState, OperationStatus, TaskInfo, TaskStatus,
};

use crate::constraints::OfferConstraints;
use crate::input::{LinkId, StreamId};
use crate::profile::Profile;
use crate::registry::{Drain, Presence, Registry, Unavailability};

/// All that the leader knows, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub at: Time,
    pub elected_at: Time,
    pub master: Arc<MasterInfo>,
    pub tables: Tables,
    pub registry: Registry,
}

impl Snapshot {
    /// Agents that missed their heartbeats and may return. Those that an operator marked gone are not expected back, and
    /// nobody is to be alarmed by them.
    #[must_use]
    pub fn unreachable_agents(&self) -> usize {
        self.registry.agents().filter(|agent| agent.presence == Presence::Unreachable).count()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub frameworks: OrdMap<FrameworkId, Arc<Framework>>,
    /// Oldest first, at most `limits::COMPLETED_FRAMEWORKS`.
    pub completed: Vector<Arc<Framework>>,
    /// The agents that registered with this leader and are not away.
    pub agents: OrdMap<AgentId, Arc<Agent>>,
    pub offers: OrdMap<OfferId, Arc<Offer>>,
    /// Known from the registry, not yet back since the election.
    pub recovered: OrdSet<AgentId>,
    /// Changes of resources that are under way, or whose end was not acknowledged, by the master's name of them.
    pub operations: OrdMap<Bytes, Arc<Operation>>,
    /// What frameworks have answered when asked to leave an agent of a machine that is to be away.
    pub inverse_answers: OrdMap<(AgentId, FrameworkId), InverseAnswer>,
    /// Those that their framework gave a name.
    pub operation_names: OrdMap<(FrameworkId, OperationId), Bytes>,
}

#[derive(Clone, Debug)]
pub struct Framework {
    pub id: FrameworkId,
    /// With the id filled in.
    pub info: Arc<FrameworkInfo>,
    pub profile: Arc<Profile>,
    /// Where its scheduler listens, while it is connected.
    pub stream: Option<StreamId>,
    pub suppressed: BTreeSet<Role>,
    /// As its scheduler last gave them: nothing keeps them over an election.
    pub constraints: Arc<OfferConstraints>,
    /// Known from the registry or from agents; no scheduler has subscribed since the election.
    pub recovered: bool,
    pub registered_at: Time,
    pub reregistered_at: Time,
    /// Since when it has no scheduler, if it has none; the election counts as the break of those from before it.
    pub away_since: Option<Time>,
    /// Set on completed ones.
    pub unregistered_at: Option<Time>,
    /// Active, ended with an update not yet acknowledged included.
    pub tasks: OrdMap<TaskId, Arc<Task>>,
    pub unreachable: OrdMap<TaskId, Arc<Task>>,
    /// Oldest first, at most `limits::COMPLETED_TASKS`.
    pub completed: Vector<Arc<Task>>,
    /// Of its own making: a command task has none.
    pub executors: OrdMap<(AgentId, ExecutorId), Arc<Executor>>,
    pub offers: OrdMap<OfferId, Arc<Offer>>,
    /// Not yet answered.
    pub inverse_offers: OrdMap<OfferId, Arc<InverseOffer>>,
    /// Offers that timed out since its scheduler last accepted or declined one.
    pub ignored: u32,
}

impl Framework {
    #[must_use]
    pub fn connected(&self) -> bool {
        self.stream.is_some()
    }
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: TaskId,
    pub framework: FrameworkId,
    pub agent: AgentId,
    /// Which role of its framework it is charged to.
    pub role: Role,
    pub info: Arc<TaskInfo>,
    /// Absent for a command task.
    pub executor: Option<ExecutorId>,
    pub resources: Bag,
    /// The newest the master has heard, which decides about the resources.
    pub state: TaskState,
    /// What the scheduler was last sent by the agent.
    pub forwarded: Option<Arc<TaskStatus>>,
    /// The last status of each state it passed through, without data, oldest first.
    pub statuses: Vec<Arc<TaskStatus>>,
}

#[derive(Clone, Debug)]
pub struct Executor {
    pub id: ExecutorId,
    pub framework: FrameworkId,
    pub agent: AgentId,
    pub role: Role,
    pub info: Arc<ExecutorInfo>,
    pub resources: Bag,
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub id: AgentId,
    /// With the id filled in.
    pub info: Arc<AgentInfo>,
    pub ip: Arc<str>,
    pub version: Arc<str>,
    pub total: Bag,
    /// Where it listens, while it is connected.
    pub link: Option<LinkId>,
    /// The operator wants nothing offered there.
    pub deactivated: bool,
    /// The operator wants it empty.
    pub drain: Option<Drain>,
    /// When its machine is to be away.
    pub unavailability: Option<Unavailability>,
    pub registered_at: Time,
    /// When it last came back to this leader.
    pub reregistered_at: Option<Time>,
    pub tasks: OrdSet<(FrameworkId, TaskId)>,
    pub executors: OrdSet<(FrameworkId, ExecutorId)>,
    pub offers: OrdSet<OfferId>,
    pub operations: OrdSet<Bytes>,
}

impl Agent {
    /// Nothing runs there, and nothing that ended there waits for an acknowledgement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.operations.is_empty()
    }
}

/// A change of an agent's resources.
#[derive(Clone, Debug)]
pub struct Operation {
    pub uuid: Bytes,
    /// Absent for the operator's.
    pub framework: Option<FrameworkId>,
    pub agent: AgentId,
    /// Unknown for one that ended before this leadership, when its agent no longer knows.
    pub info: Arc<wire::v1::offer::Operation>,
    pub state: OperationState,
    /// The newest, as its framework was told it or would be.
    pub status: Arc<OperationStatus>,
    /// What was given for what, while the agent may yet refuse it.
    pub exchange: Option<(Bag, Bag)>,
}

/// Some of an agent's resources, held for one role of one framework until it answers.
#[derive(Clone, Debug)]
pub struct Offer {
    pub id: OfferId,
    pub framework: FrameworkId,
    pub agent: AgentId,
    pub role: Role,
    pub resources: Bag,
    /// The agent when the offer was made: name, attributes, domain.
    pub info: Arc<AgentInfo>,
    pub ip: Arc<str>,
    /// When the agent's machine is to be away.
    pub unavailability: Option<Unavailability>,
    /// The framework's executors that live there.
    pub executors: Vec<ExecutorId>,
    /// How the framework reads resources.
    pub form: Form,
    pub made_at: Time,
}

/// The request that a framework leave an agent whose machine is to be away.
#[derive(Clone, Debug)]
pub struct InverseOffer {
    pub id: OfferId,
    pub framework: FrameworkId,
    pub agent: AgentId,
    pub unavailability: Unavailability,
    pub info: Arc<AgentInfo>,
    pub ip: Arc<str>,
}

/// What a framework last said to such a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InverseAnswer {
    pub accepted: bool,
    pub at: Time,
}

/// Which of the old ways of saying things a framework needs (spec mesos-v1, section 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Offers say which role they are for.
    pub multi_role: bool,
    /// Reservations are a stack; without it each resource has one `role`.
    pub refinement: bool,
}
