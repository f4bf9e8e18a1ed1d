//! `/containers` and `/monitor/statistics`: what runs and what it uses.

use std::time::Duration;

use agent_core::Task;
use model::id::ContainerId;
use model::resources::Bag;
use sandbox::Usage;
use serde_json::{Map, Value, json};
use wire::agent::response::get_containers::Container;
use wire::v1;

use super::reply::Refusal;
use super::{Site, tasks};

/// A running container and what it uses.
struct Running {
    container: ContainerId,
    /// The container of its executor, for a task of a group.
    parent: Option<ContainerId>,
    pid: Option<u32>,
    framework: String,
    executor: String,
    name: String,
    source: String,
    asked: Option<Bag>,
    usage: Usage,
}

/// The containers of command tasks and of executors, and `nested` those of tasks in groups. An executor that the agent
/// plays uses what its tasks use.
async fn running(site: &Site, nested: bool) -> Result<Vec<Running>, Refusal> {
    let view = site.view().await?;
    let mut found = Vec::new();
    for task in view.tasks.iter().filter(|task| task.executor.is_none()) {
        if let Some(usage) = site.usage(&task.container).await? {
            let (name, source) = (tasks::executor_name(task), task.key.task.to_string());
            found.push(Running { name, source, ..Running::of(task, usage) });
        }
    }
    for executor in &view.executors {
        let hosted = view.tasks.iter().filter(|task| task.executor_key().as_ref() == Some(&executor.key));
        let hosted: Vec<&Task> = hosted.filter(|task| tasks::is_live(task)).collect();
        let mut inside = Vec::new();
        let usage = if executor.is_played() {
            for task in &hosted {
                if let Some(usage) = site.usage(&task.container).await? {
                    let parent = Some(executor.container.clone());
                    inside.push(Running { parent, ..Running::of(task, usage) });
                }
            }
            Some(total(inside.iter().map(|running| &running.usage)))
        } else {
            site.usage(&executor.container).await?
        };
        let Some(usage) = usage else { continue };
        let own = executor.spec.iter().map(|spec| &spec.resources);
        let theirs = hosted.iter().filter_map(|task| task.spec.as_ref());
        found.push(Running {
            container: executor.container.clone(),
            parent: None,
            pid: executor.pid,
            framework: executor.key.framework.to_string(),
            executor: executor.key.executor.to_string(),
            name: executor.info.name.clone().unwrap_or_default(),
            source: executor.info.source.clone().unwrap_or_default(),
            asked: Some(own.chain(theirs.map(|spec| &spec.resources)).sum()),
            usage,
        });
        if nested {
            found.append(&mut inside);
        }
    }
    Ok(found)
}

impl Running {
    fn of(task: &Task, usage: Usage) -> Self {
        Self {
            container: task.container.clone(),
            parent: None,
            pid: task.pid,
            framework: task.key.framework.to_string(),
            executor: task.executor.as_ref().map_or(task.key.task.as_str(), |id| id.as_str()).to_owned(),
            name: String::new(),
            source: String::new(),
            asked: task.spec.as_ref().map(|spec| spec.resources.clone()),
            usage,
        }
    }
}

/// What several containers use together.
fn total<'a>(parts: impl Iterator<Item = &'a Usage>) -> Usage {
    parts.fold(Usage::default(), |sum, part| Usage {
        cpu_user: sum.cpu_user + part.cpu_user,
        cpu_system: sum.cpu_system + part.cpu_system,
        rss_bytes: sum.rss_bytes + part.rss_bytes,
        processes: sum.processes + part.processes,
        cpu_periods: sum.cpu_periods + part.cpu_periods,
        cpu_throttled_periods: sum.cpu_throttled_periods + part.cpu_throttled_periods,
        cpu_throttled: sum.cpu_throttled + part.cpu_throttled,
        memory_limit_bytes: Some(sum.memory_limit_bytes.unwrap_or(0) + part.memory_limit_bytes.unwrap_or(0))
            .filter(|limit| *limit > 0),
        cpu_limit_millis: None,
    })
}

pub(super) async fn containers(site: &Site) -> Result<Value, Refusal> {
    let now = site.clock.now().as_secs_f64();
    let show = |running: &Running| {
        let mut shown = json!({ "container_id": running.container.to_string() });
        let status = json!({
            "container_id": { "value": running.container.to_string() },
            "executor_pid": running.pid,
        });
        name(&mut shown, running);
        shown["statistics"] = statistics_of(running, now);
        shown["status"] = status;
        shown
    };
    Ok(running(site, false).await?.iter().map(show).collect())
}

pub(super) async fn statistics(site: &Site) -> Result<Value, Refusal> {
    let now = site.clock.now().as_secs_f64();
    let show = |running: &Running| {
        let mut shown = json!({});
        name(&mut shown, running);
        shown["statistics"] = statistics_of(running, now);
        shown
    };
    Ok(running(site, false).await?.iter().map(show).collect())
}

fn name(shown: &mut Value, running: &Running) {
    shown["executor_id"] = running.executor.as_str().into();
    shown["executor_name"] = running.name.as_str().into();
    shown["framework_id"] = running.framework.as_str().into();
    shown["source"] = running.source.as_str().into();
}

/// Members in the order of the alphabet, as readers know them.
fn statistics_of(running: &Running, now: f64) -> Value {
    let all = measured(running, now);
    let mut members = Map::new();
    let mut number = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.into(), value);
        }
    };
    number("cpus_limit", all.cpus_limit.map(Value::from));
    number("cpus_nr_periods", all.cpus_nr_periods.map(Value::from));
    number("cpus_nr_throttled", all.cpus_nr_throttled.map(Value::from));
    number("cpus_soft_limit", all.cpus_soft_limit.map(Value::from));
    number("cpus_system_time_secs", all.cpus_system_time_secs.map(Value::from));
    number("cpus_throttled_time_secs", all.cpus_throttled_time_secs.map(Value::from));
    number("cpus_user_time_secs", all.cpus_user_time_secs.map(Value::from));
    number("mem_limit_bytes", all.mem_limit_bytes.map(Value::from));
    number("mem_rss_bytes", all.mem_rss_bytes.map(Value::from));
    number("mem_soft_limit_bytes", all.mem_soft_limit_bytes.map(Value::from));
    number("processes", all.processes.map(Value::from));
    number("timestamp", Some(all.timestamp.into()));
    members.into()
}

fn measured(running: &Running, now: f64) -> v1::ResourceStatistics {
    let Running { asked, usage, .. } = running;
    let asked = asked.as_ref();
    let seconds = |duration: Duration| Some(duration.as_secs_f64());
    let count = |count: u64| Some(u32::try_from(count).unwrap_or(u32::MAX));
    let quota = usage.cpu_limit_millis;
    v1::ResourceStatistics {
        timestamp: now,
        processes: Some(usage.processes),
        cpus_user_time_secs: seconds(usage.cpu_user),
        cpus_system_time_secs: seconds(usage.cpu_system),
        cpus_limit: quota.map(|millis| millis as f64 / 1000.0),
        cpus_soft_limit: asked.map(|bag| bag.cpus().as_f64()),
        cpus_nr_periods: quota.and_then(|_| count(usage.cpu_periods)),
        cpus_nr_throttled: quota.and_then(|_| count(usage.cpu_throttled_periods)),
        cpus_throttled_time_secs: quota.and_then(|_| seconds(usage.cpu_throttled)),
        mem_rss_bytes: Some(usage.rss_bytes),
        mem_limit_bytes: usage.memory_limit_bytes,
        mem_soft_limit_bytes: asked.map(|bag| (bag.mem().as_f64() * f64::from(1 << 20)) as u64),
        ..Default::default()
    }
}

/// The same for the v1 API.
pub(super) async fn wire(site: &Site, nested: bool) -> Result<Vec<Container>, Refusal> {
    let now = site.clock.now().as_secs_f64();
    let show = |running: &Running| {
        let parent = running.parent.as_ref().map(|id| Box::new(container_id(id, None)));
        let container = container_id(&running.container, parent);
        Container {
            framework_id: Some(v1::FrameworkId { value: running.framework.clone() }),
            executor_id: Some(v1::ExecutorId { value: running.executor.clone() }),
            executor_name: Some(running.name.clone()),
            container_id: container.clone(),
            container_status: Some(v1::ContainerStatus {
                container_id: Some(container),
                executor_pid: running.pid,
                ..Default::default()
            }),
            resource_statistics: Some(measured(running, now)),
        }
    };
    Ok(running(site, nested).await?.iter().map(show).collect())
}

fn container_id(id: &ContainerId, parent: Option<Box<v1::ContainerId>>) -> v1::ContainerId {
    v1::ContainerId { value: id.value.to_string(), parent }
}
