//! Payloads of the event stream, made from what happened.

use model::time::Time;
use wire::marathon::{Action, Event, EventPlan, EventStep, Group, IpAddress};

use super::app::AppDefinition;
use super::deployment::Deployment;
use super::instance::{Condition, Instance, Task};
use super::plan::Step;
use super::render;
use super::update::TaskUpdate;
use super::version::{Version, stamp};

/// The types of all events, as they are named on the stream.
const KINDS: [&str; 24] = [
    "api_post_event",
    "status_update_event",
    "event_stream_attached",
    "event_stream_detached",
    "add_health_check_event",
    "remove_health_check_event",
    "failed_health_check_event",
    "health_status_changed_event",
    "unhealthy_instance_kill_event",
    "group_change_success",
    "group_change_failed",
    "deployment_info",
    "deployment_step_success",
    "deployment_step_failure",
    "deployment_success",
    "deployment_failed",
    "app_terminated_event",
    "instance_changed_event",
    "instance_health_changed_event",
    "unknown_instance_terminated_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "scheduler_disconnected_event",
    "instance_draining_event",
];

/// The one copy of a type's name; `None` for one that only a later release knows.
pub fn kind(name: &str) -> Option<&'static str> {
    KINDS.iter().copied().find(|kind| *kind == name)
}

/// Events that strict clients do not know and choke on; they go only to readers who name them.
pub const UNCLASSIC: [&str; 4] = [
    "instance_draining_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "scheduler_disconnected_event",
];

pub fn api_post(client_ip: &str, uri: &str, app: &AppDefinition) -> Event {
    Event::ApiPostEvent {
        client_ip: client_ip.to_owned(),
        uri: uri.to_owned(),
        app_definition: Box::new(render::render(app)),
    }
}

/// A task moved to another state.
pub fn status_update(instance: &Instance, task: &Task, update: &TaskUpdate) -> Event {
    Event::StatusUpdateEvent {
        slave_id: update.agent.as_ref().unwrap_or(&task.agent).to_string(),
        task_id: task.id.to_string(),
        task_status: update.state.name().to_owned(),
        message: update.message.clone(),
        app_id: instance.app.to_string(),
        host: task.host.clone(),
        ip_addresses: ip_addresses(&task.addresses),
        ports: task.ports.clone(),
        version: instance.version.to_string(),
    }
}

pub fn ip_addresses(addresses: &[String]) -> Vec<IpAddress> {
    addresses
        .iter()
        .map(|address| IpAddress {
            ip_address: address.clone(),
            protocol: if address.contains(':') { "IPv6" } else { "IPv4" }.to_owned(),
        })
        .collect()
}

/// The condition may be one the instance no longer shows, such as how its task ended.
pub fn instance_changed(instance: &Instance, condition: Condition) -> Event {
    let task = instance.task.as_ref();
    Event::InstanceChangedEvent {
        instance_id: instance.id.to_string(),
        condition: condition.name().to_owned(),
        run_spec_id: instance.app.to_string(),
        agent_id: task.map(|task| task.agent.to_string()),
        host: task.map(|task| task.host.clone()),
        run_spec_version: instance.version.to_string(),
    }
}

/// The verdict on an instance changed: one event in the old form, one in the newer.
pub fn health_changed(instance: &Instance, task: &Task, alive: bool) -> [Event; 2] {
    [
        Event::HealthStatusChangedEvent {
            app_id: instance.app.to_string(),
            task_id: task.id.to_string(),
            instance_id: instance.id.to_string(),
            version: instance.version.to_string(),
            alive,
        },
        Event::InstanceHealthChangedEvent {
            instance_id: instance.id.to_string(),
            run_spec_id: instance.app.to_string(),
            healthy: Some(alive),
            run_spec_version: instance.version.to_string(),
        },
    ]
}

pub fn failed_health_check(instance: &Instance, task: &Task, app: &AppDefinition) -> Option<Event> {
    Some(Event::FailedHealthCheckEvent {
        app_id: instance.app.to_string(),
        task_id: task.id.to_string(),
        instance_id: instance.id.to_string(),
        health_check: render::health_check(app.health_checks.first()?),
    })
}

pub fn unhealthy_kill(instance: &Instance, task: &Task) -> Event {
    Event::UnhealthyInstanceKillEvent {
        app_id: instance.app.to_string(),
        task_id: task.id.to_string(),
        instance_id: instance.id.to_string(),
        version: instance.version.to_string(),
        reason: task.health.last_failure_cause.clone().unwrap_or_default(),
        host: task.host.clone(),
        slave_id: task.agent.to_string(),
    }
}

pub fn draining(instance: &Instance, task: &Task, deadline: Time) -> Event {
    Event::InstanceDrainingEvent {
        app_id: instance.app.to_string(),
        instance_id: instance.id.to_string(),
        task_id: task.id.to_string(),
        host: task.host.clone(),
        ports: task.ports.clone(),
        deadline: stamp(deadline),
    }
}

pub fn add_health_check(app: &AppDefinition) -> Option<Event> {
    Some(Event::AddHealthCheckEvent {
        app_id: app.id.to_string(),
        version: app.version.to_string(),
        health_check: render::health_check(app.health_checks.first()?),
    })
}

/// A step as clients see it.
pub fn step(step: &Step) -> Vec<Action> {
    step.iter()
        .map(|action| Action { action: action.kind.name().to_owned(), app: action.app.to_string() })
        .collect()
}

/// A deployment as events carry it, with the two trees that one client library insists on.
pub fn plan(deployment: &Deployment) -> EventPlan {
    let before = deployment.changes.values().filter_map(|change| change.from).max().unwrap_or_default();
    EventPlan {
        id: deployment.id.to_string(),
        original: Some(Box::new(tree(before))),
        target: Some(Box::new(tree(deployment.version))),
        steps: deployment
            .steps
            .iter()
            .map(|actions| wire::marathon::Step { actions: step(actions) })
            .collect(),
        version: deployment.version.to_string(),
    }
}

fn tree(version: Version) -> Group {
    Group { id: "/".to_owned(), version: version.to_string(), ..Group::default() }
}

pub fn current_step(deployment: &Deployment) -> EventStep {
    EventStep { actions: step(&deployment.current().to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_known_kind() {
        let plan = EventPlan::default();
        let current_step = EventStep::default();
        let (id, text) = (String::new, String::new);
        let some = [
            Event::ApiPostEvent { client_ip: text(), uri: text(), app_definition: Box::default() },
            Event::EventStreamAttached { remote_address: text() },
            Event::HealthStatusChangedEvent {
                app_id: id(),
                task_id: id(),
                instance_id: id(),
                version: text(),
                alive: true,
            },
            Event::DeploymentInfo { plan: plan.clone(), current_step },
            Event::DeploymentSuccess { id: id(), plan },
            Event::SchedulerDisconnectedEvent {},
        ];
        for event in some {
            let value = event.to_json("t");
            let name = value["eventType"].as_str().unwrap();
            assert_eq!(kind(name), Some(name));
        }
        assert!(UNCLASSIC.iter().all(|name| kind(name).is_some()));
        assert_eq!(kind("surprise_event"), None);
    }
}
