//! An app and its tasks as the balancer needs them, read from the supervisor's answers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::time::Time;
use serde_json::Value;
use wire::marathon::{self, AppInfo};

/// One app.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct App {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) ports: Vec<Port>,
    /// Instances have an address of their own and are reached at their container ports.
    pub(crate) own_address: bool,
    pub(crate) has_checks: bool,
    /// Whether readiness decides just now: the app says how to find out, and is being deployed.
    pub(crate) readiness: bool,
    pub(crate) version: String,
    pub(crate) tasks: BTreeMap<String, Task>,
}

/// A service port. Its place in the list is the `n` of `HAPROXY_n_...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// 0 when none was assigned.
    pub(crate) service_port: u16,
    /// Which of a task's host ports leads here; `None` when none does.
    pub(crate) host_index: Option<usize>,
    pub(crate) container_port: Option<u16>,
    /// Its health check speaks HTTP.
    pub(crate) http_check: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Task {
    pub(crate) host: String,
    pub(crate) ports: Vec<u16>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) state: String,
    pub(crate) health: Health,
    pub(crate) draining: bool,
    /// False while a readiness check has yet to say yes.
    pub(crate) ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Health {
    /// No check has reported.
    #[default]
    Unknown,
    Alive,
    Dead,
    /// It was alive when last heard of; since then the supervisor has known nothing.
    WasAlive {
        since: Time,
    },
}

impl Task {
    /// Whether its state allows traffic. Unreachable ones stay: what cannot be reached is the agent, and the
    /// instance may well answer; where it does not, HAProxy goes on to the next.
    pub(crate) fn runs(&self) -> bool {
        state_runs(&self.state)
    }
}

pub(crate) fn state_runs(state: &str) -> bool {
    matches!(state, "TASK_RUNNING" | "TASK_LOST" | "TASK_UNREACHABLE" | "")
}

/// Whether a task in this state will never run again.
pub(crate) fn state_ended(state: &str) -> bool {
    matches!(
        state,
        "TASK_FINISHED"
            | "TASK_FAILED"
            | "TASK_KILLED"
            | "TASK_ERROR"
            | "TASK_DROPPED"
            | "TASK_GONE"
            | "TASK_GONE_BY_OPERATOR"
    )
}

impl App {
    /// Reads an app with its tasks embedded; `None` without id or tasks.
    pub(crate) fn read(info: &AppInfo) -> Option<(String, Self)> {
        let id = info.app.id.clone()?;
        let tasks = info.tasks.as_ref()?;
        let own_address = networks_mode(info).as_deref() == Some("container");
        let deploying = info.deployments.as_ref().is_some_and(|list| !list.is_empty());
        let checks_readiness = info.app.readiness_checks.as_ref().is_some_and(|list| !list.is_empty());
        let mut app = Self {
            labels: info.app.labels.clone().unwrap_or_default(),
            ports: read_ports(info, own_address),
            own_address,
            has_checks: info.app.health_checks.as_ref().is_some_and(|list| !list.is_empty()),
            readiness: deploying && checks_readiness,
            version: info.app.version.clone().unwrap_or_default(),
            tasks: BTreeMap::new(),
        };
        app.tasks = tasks.iter().map(|task| (task.id.clone(), app.read_task(info, task))).collect();
        Some((id, app))
    }

    fn read_task(&self, info: &AppInfo, task: &marathon::Task) -> Task {
        let results = &task.health_check_results;
        let health = match results.iter().all(|result| result.alive) {
            _ if results.is_empty() => Health::Unknown,
            true => Health::Alive,
            false => Health::Dead,
        };
        // Tasks of an older version were ready before this deployment.
        let older = task.version.as_ref().is_some_and(|version| *version != self.version);
        Task {
            host: task.host.clone(),
            ports: task.ports.clone(),
            address: task.ip_addresses.first().and_then(|address| address.ip_address.parse().ok()),
            state: task.state.clone(),
            health,
            draining: task.draining,
            ready: !self.readiness || older || is_ready(info, &task.id),
        }
    }
}

fn is_ready(info: &AppInfo, task: &str) -> bool {
    let results = info.readiness_check_results.iter().flatten();
    let mut own =
        results.filter(|result| result.get("taskId").and_then(Value::as_str) == Some(task)).peekable();
    own.peek().is_some() && own.all(|result| result.get("ready") == Some(&Value::Bool(true)))
}

fn networks_mode(info: &AppInfo) -> Option<String> {
    let first = info.app.networks.as_ref()?.first()?;
    Some(first.mode.as_ref()?.to_ascii_lowercase())
}

fn read_ports(info: &AppInfo, own_address: bool) -> Vec<Port> {
    let mut ports = mapped_ports(info, own_address).unwrap_or_else(|| {
        let defined = info.app.port_definitions.as_ref().filter(|list| !list.is_empty());
        let service_ports: Vec<i64> = match defined {
            Some(list) => list.iter().map(|definition| definition.port.unwrap_or(0)).collect(),
            None => info.app.ports.clone().unwrap_or_default(),
        };
        let port = |(index, service_port): (usize, i64)| Port {
            service_port: u16::try_from(service_port).unwrap_or(0),
            host_index: Some(index),
            container_port: None,
            http_check: false,
        };
        service_ports.into_iter().enumerate().map(port).collect()
    });
    for check in info.app.health_checks.iter().flatten() {
        let index = check.port_index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
        let http = matches!(check.protocol.as_deref(), None | Some("HTTP" | "MESOS_HTTP"));
        if let Some(port) = ports.get_mut(index).filter(|_| http && check.command.is_none()) {
            port.http_check = true;
        }
    }
    ports
}

/// The port mappings of an app with a container network; `None` for one on its host's.
fn mapped_ports(info: &AppInfo, own_address: bool) -> Option<Vec<Port>> {
    let container = info.app.container.as_ref()?;
    let mappings = container.get("portMappings").filter(|list| list.is_array());
    let mappings = mappings.or_else(|| container.get("docker")?.get("portMappings"))?.as_array()?;
    let number = |mapping: &Value, name: &str| {
        mapping.get(name).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok())
    };
    let mut host_ports = 0;
    let mut ports = Vec::new();
    for mapping in mappings {
        // A task lists host ports only; mappings without one are skipped in its list but keep their own index.
        let has_host_port = !own_address || mapping.get("hostPort").is_some_and(Value::is_number);
        let host_index = has_host_port.then_some(host_ports);
        host_ports += usize::from(has_host_port);
        ports.push(Port {
            service_port: number(mapping, "servicePort").unwrap_or(0),
            host_index,
            container_port: number(mapping, "containerPort"),
            http_check: false,
        });
    }
    Some(ports)
}
