//! Answers to the operator's `GET_` calls.

use model::resources::{Bag, Form as Notation};
use model::time::Time;
use wire::master::Response;
use wire::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetMaster, GetOperations, GetState, GetTasks, Type, get_agents,
    get_frameworks as frameworks,
};
use wire::v1::{self, agent_info::capability::Type as AgentCan};

use super::lists::Lists;
use crate::registry::Drain;
use crate::snapshot::{Agent, Framework, Snapshot};

pub(super) fn answer(kind: Type, fill: impl FnOnce(&mut Response)) -> Response {
    let mut response = Response { r#type: Some(kind.into()), ..Response::default() };
    fill(&mut response);
    response
}

/// `started` is when this program started.
#[must_use]
pub fn get_master(snapshot: &Snapshot, started: Time) -> Response {
    answer(Type::GetMaster, |response| {
        response.get_master = Some(GetMaster {
            master_info: Some((*snapshot.master).clone()),
            start_time: Some(started.as_secs_f64()),
            elected_time: Some(snapshot.elected_at.as_secs_f64()),
        });
    })
}

#[must_use]
pub fn get_state(snapshot: &Snapshot) -> Response {
    answer(Type::GetState, |response| response.get_state = Some(state_of(snapshot, usize::MAX)))
}

#[must_use]
pub fn get_agents(snapshot: &Snapshot) -> Response {
    answer(Type::GetAgents, |response| response.get_agents = Some(agents_of(snapshot)))
}

#[must_use]
pub fn get_frameworks(snapshot: &Snapshot) -> Response {
    answer(Type::GetFrameworks, |response| response.get_frameworks = Some(frameworks_of(snapshot)))
}

#[must_use]
pub fn get_executors(snapshot: &Snapshot) -> Response {
    answer(Type::GetExecutors, |response| response.get_executors = Some(executors_of(snapshot)))
}

#[must_use]
pub fn get_tasks(snapshot: &Snapshot) -> Response {
    answer(Type::GetTasks, |response| response.get_tasks = Some(tasks_of(snapshot, usize::MAX)))
}

#[must_use]
pub fn get_operations(snapshot: &Snapshot) -> Response {
    let operations = snapshot.tables.operations.values().map(|operation| v1::Operation {
        framework_id: operation.framework.as_ref().map(Into::into),
        agent_id: Some((&operation.agent).into()),
        info: (*operation.info).clone(),
        latest_status: (*operation.status).clone(),
        statuses: vec![(*operation.status).clone()],
        uuid: v1::Uuid { value: operation.uuid.clone() },
    });
    let operations = operations.collect();
    answer(Type::GetOperations, |response| response.get_operations = Some(GetOperations { operations }))
}

/// With at most so many completed tasks, the newest of each framework.
pub(super) fn state_of(snapshot: &Snapshot, completed: usize) -> GetState {
    GetState {
        get_tasks: Some(tasks_of(snapshot, completed)),
        get_executors: Some(executors_of(snapshot)),
        get_frameworks: Some(frameworks_of(snapshot)),
        get_agents: Some(agents_of(snapshot)),
    }
}

fn agents_of(snapshot: &Snapshot) -> GetAgents {
    let lists = Lists::all(snapshot);
    GetAgents { agents: lists.agents().collect(), recovered_agents: lists.recovered_agents().collect() }
}

/// What every agent of this system can do.
pub const AGENT_CAPABILITIES: [AgentCan; 6] = [
    AgentCan::MultiRole,
    AgentCan::HierarchicalRole,
    AgentCan::ReservationRefinement,
    AgentCan::AgentOperationFeedback,
    AgentCan::AgentDraining,
    AgentCan::TaskResourceLimits,
];

const NANOSECONDS: i64 = 1_000_000_000;

pub(super) fn agent_record(agent: &Agent, used: &Bag, offered: &Bag) -> get_agents::Agent {
    let port = agent.info.port.unwrap_or(super::DEFAULT_AGENT_PORT);
    let capability = |can: AgentCan| v1::agent_info::Capability { r#type: Some(can.into()) };
    get_agents::Agent {
        agent_info: (*agent.info).clone(),
        active: agent.link.is_some() && !agent.deactivated,
        deactivated: Some(agent.deactivated),
        version: agent.version.to_string(),
        pid: Some(format!("slave(1)@{}:{port}", agent.ip)),
        registered_time: Some(agent.registered_at.into()),
        reregistered_time: agent.reregistered_at.map(Into::into),
        total_resources: agent.total.to_wire(Notation::Both),
        allocated_resources: used.to_wire(Notation::Both),
        offered_resources: offered.to_wire(Notation::Both),
        capabilities: AGENT_CAPABILITIES.map(capability).to_vec(),
        resource_providers: Vec::new(),
        drain_info: drain_info(agent),
        // To the second, as Mesos has it.
        estimated_drain_start_time: agent
            .drain
            .map(|drain| v1::TimeInfo { nanoseconds: drain.since.as_nanos() / NANOSECONDS * NANOSECONDS }),
    }
}

/// How far the emptying of an agent has come, if the operator wants it.
#[must_use]
pub fn drain_info(agent: &Agent) -> Option<v1::DrainInfo> {
    let drain = agent.drain?;
    let state = if agent.is_empty() { v1::DrainState::Drained } else { v1::DrainState::Draining };
    Some(v1::DrainInfo { state: state.into(), config: drain_config(&drain) })
}

/// What the operator asked for.
pub(super) fn drain_config(drain: &Drain) -> v1::DrainConfig {
    v1::DrainConfig { max_grace_period: drain.max_grace.map(Into::into), mark_gone: Some(drain.mark_gone) }
}

fn frameworks_of(snapshot: &Snapshot) -> GetFrameworks {
    let lists = Lists::all(snapshot);
    GetFrameworks {
        frameworks: lists.frameworks().collect(),
        completed_frameworks: lists.completed_frameworks().collect(),
        recovered_frameworks: Vec::new(),
    }
}

pub(super) fn framework_record(framework: &Framework) -> frameworks::Framework {
    frameworks::Framework {
        framework_info: (*framework.info).clone(),
        active: framework.connected(),
        connected: framework.connected(),
        recovered: framework.recovered,
        registered_time: Some(framework.registered_at.into()),
        reregistered_time: Some(framework.reregistered_at.into()),
        unregistered_time: framework.unregistered_at.map(Into::into),
        offers: framework.offers.values().map(|offer| super::offer(offer)).collect(),
        inverse_offers: framework.inverse_offers.values().map(|offer| super::inverse_offer(offer)).collect(),
        allocated_resources: super::framework_usage(framework).to_wire(Notation::Both),
        offered_resources: super::framework_offered(framework).to_wire(Notation::Both),
        offer_constraints: Some(framework.constraints.given.clone()),
    }
}

fn executors_of(snapshot: &Snapshot) -> GetExecutors {
    GetExecutors { executors: Lists::all(snapshot).executors().collect(), orphan_executors: Vec::new() }
}

fn tasks_of(snapshot: &Snapshot, completed: usize) -> GetTasks {
    let lists = Lists::new(snapshot, completed);
    GetTasks {
        tasks: lists.tasks().collect(),
        unreachable_tasks: lists.unreachable_tasks().collect(),
        completed_tasks: lists.completed_tasks().collect(),
        ..GetTasks::default()
    }
}
