//! The leader's records as messages of the wire. Pure, and done by the driver in the task of each reader: a big
//! cluster's state takes seconds to write down, which the one loop of the master has not got.

mod event;
mod large;
mod link;
mod lists;
mod maintenance;
mod roles;
mod state;

pub use event::{operator_event, scheduler_event};
pub use large::{Large, subscribed};
pub use link::order;
pub use maintenance::{
    get_maintenance_schedule, get_maintenance_status, inverse_offer, maintenance_schedule, maintenance_status,
};
pub use roles::{consumption, get_quota, get_roles, get_weights, quota_status};
pub use state::{
    AGENT_CAPABILITIES, drain_info, get_agents, get_executors, get_frameworks, get_master, get_operations,
    get_state, get_tasks,
};

use model::id::{AgentId, FrameworkId};
use model::resources::{Bag, Form as Notation};
use model::role::Role;
use wire::v1::{self, resource::AllocationInfo};

use crate::snapshot::{Agent, Executor, Framework, Offer, Task};

/// An offer as its framework reads it.
#[must_use]
pub fn offer(offer: &Offer) -> v1::Offer {
    let notation = if offer.form.refinement { Notation::Stack } else { Notation::Before };
    let resources = if offer.form.multi_role {
        offer.resources.allocate(&offer.role).to_wire(notation)
    } else {
        offer.resources.to_wire(notation)
    };
    v1::Offer {
        id: (&offer.id).into(),
        framework_id: (&offer.framework).into(),
        agent_id: (&offer.agent).into(),
        hostname: offer.info.hostname.clone(),
        url: Some(agent_url(&offer.info, &offer.ip)),
        domain: offer.info.domain.clone(),
        resources,
        attributes: offer.info.attributes.clone(),
        executor_ids: offer.executors.iter().map(v1::ExecutorId::from).collect(),
        unavailability: offer.unavailability.map(Into::into),
        allocation_info: offer.form.multi_role.then(|| allocated(&offer.role)),
    }
}

/// Where an agent is reached, as offers say it.
fn agent_url(info: &v1::AgentInfo, ip: &str) -> v1::Url {
    v1::Url {
        scheme: "http".to_owned(),
        address: v1::Address {
            hostname: Some(info.hostname.clone()),
            ip: Some(ip.to_owned()),
            port: info.port.unwrap_or(DEFAULT_AGENT_PORT),
        },
        path: Some("/slave(1)".to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}

/// What `AgentInfo.port` means when it is left out.
const DEFAULT_AGENT_PORT: i32 = 5051;

fn allocated(role: &Role) -> AllocationInfo {
    AllocationInfo { role: Some(role.to_string()) }
}

/// A task as operators see it.
#[must_use]
pub fn task(task: &Task) -> v1::Task {
    let info = &task.info;
    let user = |command: &v1::CommandInfo| command.user.clone();
    let command = info.command.as_ref().or_else(|| info.executor.as_ref()?.command.as_ref());
    v1::Task {
        name: info.name.clone(),
        task_id: (&task.id).into(),
        framework_id: (&task.framework).into(),
        executor_id: task.executor.as_ref().map(v1::ExecutorId::from),
        agent_id: (&task.agent).into(),
        state: task.state.into(),
        resources: task.resources.allocate(&task.role).to_wire(Notation::Stack),
        limits: info.limits.clone(),
        statuses: task.statuses.iter().map(|status| (**status).clone()).collect(),
        status_update_state: task.forwarded.as_ref().map(|status| status.state),
        status_update_uuid: task.forwarded.as_ref().and_then(|status| status.uuid.clone()),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        user: command.and_then(user),
    }
}

/// What tasks and executors of one role use, with the mark of the role.
fn used<'a>(tasks: impl Iterator<Item = &'a Task>, executors: impl Iterator<Item = &'a Executor>) -> Bag {
    let of_tasks =
        tasks.filter(|task| task.state.holds_resources()).map(|task| task.resources.allocate(&task.role));
    let of_executors = executors.map(|executor| executor.resources.allocate(&executor.role));
    of_tasks.chain(of_executors).sum()
}

/// What a framework uses anywhere.
#[must_use]
pub fn framework_usage(framework: &Framework) -> Bag {
    used(
        framework.tasks.values().map(|task| &**task),
        framework.executors.values().map(|executor| &**executor),
    )
}

/// What a framework is offered.
#[must_use]
pub fn framework_offered(framework: &Framework) -> Bag {
    framework.offers.values().map(|offer| offer.resources.allocate(&offer.role)).sum()
}

/// What frameworks use on an agent.
#[must_use]
pub fn agent_usage(tables: &crate::snapshot::Tables, agent: &Agent) -> Bag {
    let framework = |id: &FrameworkId| tables.frameworks.get(id);
    let tasks =
        agent.tasks.iter().filter_map(|(id, task)| framework(id)?.tasks.get(task)).map(|task| &**task);
    let here = |id: &AgentId, executor: &model::id::ExecutorId| (id.clone(), executor.clone());
    let executors = agent
        .executors
        .iter()
        .filter_map(|(id, executor)| framework(id)?.executors.get(&here(&agent.id, executor)))
        .map(|executor| &**executor);
    used(tasks, executors)
}

/// What frameworks are offered on an agent.
#[must_use]
pub fn agent_offered(tables: &crate::snapshot::Tables, agent: &Agent) -> Bag {
    agent
        .offers
        .iter()
        .filter_map(|id| tables.offers.get(id))
        .map(|offer| offer.resources.allocate(&offer.role))
        .sum()
}
