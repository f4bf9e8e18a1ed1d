//! Tasks: one for each instance that has been launched.

use model::task::TaskState;
use wire::marathon::{HealthCheckResult, IpAddress, Task};

use crate::core::instance::{self, Instance};
use crate::core::version::stamp;
use crate::supervisor::state::State;

/// The task of an instance; `None` while it waits for an offer, and for one given up on a lost agent.
pub(in crate::http) fn task(state: &State, instance: &Instance) -> Option<Task> {
    let task = instance.task.as_ref().filter(|_| !instance.is_tombstone())?;
    let definition = state.definition_of(instance);
    let ports = definition.map(|app| app.ports.iter().map(|port| port.port).collect());
    Some(Task {
        id: task.id.to_string(),
        app_id: instance.app.to_string(),
        host: task.host.clone(),
        slave_id: Some(task.agent.to_string()),
        state: state_name(task).to_owned(),
        staged_at: Some(stamp(task.staged_at)),
        started_at: task.started_at.map(stamp),
        version: Some(instance.version.to_string()),
        ports: task.ports.clone(),
        service_ports: ports.unwrap_or_default(),
        ip_addresses: addresses(task),
        health_check_results: results(instance, task),
        local_volumes: Vec::new(),
        role: definition.map(|app| app.role.clone()),
        draining: task.kill_by.is_some(),
    })
}

/// A task that has just been launched and not reported is shown as staging.
fn state_name(task: &instance::Task) -> &'static str {
    task.state.unwrap_or(TaskState::Staging).name()
}

fn addresses(task: &instance::Task) -> Vec<IpAddress> {
    crate::core::events::ip_addresses(&task.addresses)
}

fn results(instance: &Instance, task: &instance::Task) -> Vec<HealthCheckResult> {
    let health = &task.health;
    let Some(alive) = health.alive else { return Vec::new() };
    vec![HealthCheckResult {
        alive,
        consecutive_failures: health.consecutive_failures,
        first_success: health.first_success.map(stamp),
        last_success: health.last_success.map(stamp),
        last_failure: health.last_failure.map(stamp),
        last_failure_cause: health.last_failure_cause.clone(),
        instance_id: instance.id.to_string(),
        task_id: task.id.to_string(),
    }]
}
