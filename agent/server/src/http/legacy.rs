//! `/state`, `/flags`, `/version`: JSON from before the v1 API, which dashboards and exporters still read (spec
//! mesos-v1, section 7).

use std::collections::BTreeSet;

use agent_core::{Executor, Framework, Phase, Task, View};
use model::attributes::{AttributeValue, Attributes};
use model::resources::{Bag, Form, Value as Amount};
use serde_json::{Map, Value, json};
use wire::v1;

use super::{Site, tasks};
use crate::settings;

pub(super) fn version() -> Value {
    json!({ "version": settings::API_VERSION, "build_user": "stoa", "build_date": "", "build_time": 0.0 })
}

pub(super) fn flags(site: &Site) -> Value {
    json!({ "flags": flag_map(site) })
}

fn flag_map(site: &Site) -> Map<String, Value> {
    site.flags.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect()
}

pub(super) fn state(site: &Site, view: &View) -> Value {
    let wire = |bag: &Bag| bag.to_wire(Form::Before).iter().map(shape).collect::<Value>();
    let mut state = json!({
        "version": settings::API_VERSION,
        "build_user": "stoa",
        "build_date": "",
        "build_time": 0.0,
        "start_time": site.started.as_secs_f64(),
        "id": tasks::agent(view),
        "pid": site.address.pid(),
        "hostname": site.address.hostname,
        "capabilities": [
            "MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT", "AGENT_OPERATION_FEEDBACK",
            "AGENT_DRAINING", "TASK_RESOURCE_LIMITS",
        ],
        "resources": resources(&view.total),
        "reserved_resources": by_role(&view.total, resources),
        "unreserved_resources": resources(&view.total.unreserved()),
        "reserved_resources_full": by_role(&view.total, wire),
        "unreserved_resources_full": wire(&view.total.unreserved()),
        "reserved_resources_allocated": by_role(&view.used, resources),
        "unreserved_resources_allocated": resources(&view.used.unreserved()),
        "resource_providers": [],
        "attributes": attributes(&site.info.attributes),
    });
    if let Some(domain) = &site.info.domain {
        state["domain"] = shape(domain);
    }
    if let Some(drain) = &view.drain {
        state["drain_config"] = shape(&drain.config);
        state["estimated_drain_start_time_seconds"] = (drain.since.as_millis() / 1_000).into();
    }
    if let Some(master) = &view.master {
        state["master_hostname"] = master.rsplit_once(':').map_or(master.as_str(), |(host, _)| host).into();
    }
    state["flags"] = flag_map(site).into();
    state["frameworks"] = view.frameworks.iter().map(|f| framework(site, view, f)).collect();
    state["completed_frameworks"] =
        view.completed_frameworks.iter().map(|f| framework(site, view, f)).collect();
    state
}

/// What is reserved, by the role that it is reserved to.
fn by_role(bag: &Bag, show: impl Fn(&Bag) -> Value) -> Value {
    let roles: BTreeSet<_> = bag.iter().filter_map(|item| item.reserved_to()).collect();
    roles
        .into_iter()
        .map(|role| (role.to_string(), show(&bag.reserved_to(role))))
        .collect::<Map<_, _>>()
        .into()
}

fn framework(site: &Site, view: &View, framework: &Framework) -> Value {
    let info = &framework.info;
    let of = |task: &&Task| task.key.framework == framework.id;
    let own = |task: &&Task| task.executor.is_none();
    let played = view.tasks.iter().filter(of).filter(own).map(|task| executor(site, view, task));
    let custom = view.executors.iter().filter(|executor| executor.key.framework == framework.id);
    let executors: Vec<Value> =
        custom.map(|executor| custom_executor(site, view, executor)).chain(played).collect();
    let played = view.completed.iter().map(|task| &**task).filter(of).filter(own);
    let custom = view.completed_executors.iter().filter(|executor| executor.key.framework == framework.id);
    let ended = custom
        .map(|executor| custom_executor(site, view, executor))
        .chain(played.map(|task| executor(site, view, task)));
    let mut shown = json!({
        "id": framework.id.as_str(),
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout(),
        "checkpoint": info.checkpoint(),
        "hostname": info.hostname.as_deref().unwrap_or_default(),
    });
    if let Some(principal) = &info.principal {
        shown["principal"] = principal.as_str().into();
    }
    if info.roles.is_empty() {
        shown["role"] = info.role.as_deref().unwrap_or("*").into();
    } else {
        shown["roles"] = info.roles.clone().into();
    }
    shown["executors"] = executors.into();
    shown["completed_executors"] = ended.collect();
    shown
}

/// A framework's own executor with its tasks. Its resources are those of all in its container.
fn custom_executor(site: &Site, view: &View, executor: &Executor) -> Value {
    let info = &executor.info;
    let own = executor.spec.as_ref().map(|spec| spec.resources.clone()).unwrap_or_default();
    let of = |task: &&Task| task.executor_key().as_ref() == Some(&executor.key);
    let show = |tasks: Vec<&Task>| tasks.into_iter().map(|task| shown_task(view, task)).collect::<Value>();
    let (live, ended): (Vec<&Task>, Vec<&Task>) =
        view.tasks.iter().filter(of).partition(|task| tasks::is_live(task));
    let used = live.iter().filter_map(|task| task.spec.as_ref()).fold(own, |sum, spec| sum + &spec.resources);
    let (queued, running): (Vec<&Task>, Vec<&Task>) =
        live.into_iter().partition(|task| task.phase == Phase::Fetching);
    let gone = view.completed.iter().map(|task| &**task).filter(of);
    let role = info.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.as_deref());
    let mut shown = json!({
        "id": info.executor_id.value,
        "name": info.name.as_deref().unwrap_or_default(),
        "source": info.source.as_deref().unwrap_or_default(),
        "container": executor.container.to_string(),
        "directory": site.sandboxes.join(executor.key.framework.as_str()).join(&executor.sandbox.name),
        "resources": resources(&used),
        "role": role.unwrap_or("*"),
    });
    if let Some(labels) = &info.labels {
        shown["labels"] = label_list(labels);
    }
    shown["tasks"] = show(running);
    shown["queued_tasks"] = show(queued);
    shown["completed_tasks"] = show(ended.into_iter().chain(gone).collect());
    if info.r#type.is_some() {
        shown["type"] = json!(info.r#type().as_str_name());
    }
    shown
}

/// The executor that the agent plays for a task, with that task.
fn executor(site: &Site, view: &View, task: &Task) -> Value {
    let used = task.spec.as_ref().map(|spec| &spec.resources).filter(|_| tasks::is_live(task));
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    let list = match (tasks::is_live(task), task.statuses.is_empty()) {
        (true, false) => 0,
        (true, true) => 1,
        (false, _) => 2,
    };
    lists[list].push(shown_task(view, task));
    let [running, queued, completed] = lists;
    let mut shown = json!({
        "id": task.key.task.as_str(),
        "name": tasks::executor_name(task),
        "source": task.key.task.as_str(),
        "container": task.container.to_string(),
        "directory": site.sandboxes.join(task.key.framework.as_str()).join(&task.sandbox.name),
        "resources": resources(used.unwrap_or(&Bag::default())),
        "role": role(task),
    });
    if let Some(labels) = &task.info.labels {
        shown["labels"] = label_list(labels);
    }
    shown["tasks"] = running.into();
    shown["queued_tasks"] = queued.into();
    shown["completed_tasks"] = completed.into();
    shown
}

fn role(task: &Task) -> &str {
    let allocated = task.info.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.as_deref());
    allocated.unwrap_or("*")
}

fn shown_task(view: &View, task: &Task) -> Value {
    let info = &task.info;
    let asked = Bag::from_wire(&info.resources).unwrap_or_default();
    let mut shown = json!({
        "id": task.key.task.as_str(),
        "name": info.name,
        "framework_id": task.key.framework.as_str(),
        "executor_id": task.executor.as_ref().map_or("", |id| id.as_str()),
        "slave_id": tasks::agent(view),
        "state": task.state.name(),
        "resources": resources(&asked),
        "role": role(task),
        "statuses": task.statuses.iter().map(|update| status(&update.status)).collect::<Vec<_>>(),
    });
    if let Some(labels) = &info.labels {
        shown["labels"] = label_list(labels);
    }
    if let Some(discovery) = &info.discovery {
        shown["discovery"] = shape(discovery);
    }
    if let Some(container) = &info.container {
        shown["container"] = shape(container);
    }
    if let Some(check) = &info.health_check {
        shown["health_check"] = shape(check);
    }
    shown
}

fn status(status: &v1::TaskStatus) -> Value {
    let mut shown = json!({
        "state": status.state().as_str_name(),
        "timestamp": status.timestamp.unwrap_or_default(),
    });
    if let Some(labels) = &status.labels {
        shown["labels"] = label_list(labels);
    }
    if let Some(container) = &status.container_status {
        let plain = v1::ContainerStatus { executor_pid: None, cgroup_info: None, ..container.clone() };
        shown["container_status"] = shape(&plain);
    }
    if let Some(healthy) = status.healthy {
        shown["healthy"] = healthy.into();
    }
    shown
}

fn label_list(labels: &v1::Labels) -> Value {
    labels.labels.iter().map(shape).collect()
}

/// The JSON of the v1 API, as a part of a larger answer.
fn shape<M: wire::Message>(message: &M) -> Value {
    serde_json::from_slice(&wire::json::to_vec(message)).unwrap_or_default()
}

/// `{"cpus":1.0,"ports":"[31000-32000]",...}`: the four usual kinds always, zero when there is nothing of them; what may be
/// taken back apart, as `cpus_revocable`.
pub(super) fn resources(bag: &Bag) -> Value {
    let mut shown = json!({ "disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0 });
    for (revocable, suffix) in [(false, ""), (true, "_revocable")] {
        for item in &bag.filter(|item| item.is_revocable() == revocable).by_name() {
            shown[format!("{}{suffix}", item.name())] = match item.value() {
                Amount::Scalar(quantity) => quantity.as_f64().into(),
                other => other.to_string().into(),
            };
        }
    }
    shown
}

fn attributes(wire: &[v1::Attribute]) -> Value {
    let attributes = Attributes::from_wire(wire).unwrap_or_default();
    let value = |value: &AttributeValue| match value {
        AttributeValue::Scalar(amount) => amount.as_f64().into(),
        AttributeValue::Text(text) => Value::from(&**text),
        other => other.to_string().into(),
    };
    attributes.iter().map(|(name, of)| (name.to_owned(), value(of))).collect::<Map<_, _>>().into()
}
