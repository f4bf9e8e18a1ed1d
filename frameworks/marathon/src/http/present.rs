//! From the supervisor's state to the documents of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::task::TaskState;
use model::time::Time;
use serde_json::{Value, json};
use wire::marathon as wire;

use super::query::Query;
use crate::core::app::AppDefinition;
use crate::core::deployment::Deployment;
use crate::core::events;
use crate::core::id::AppId;
use crate::core::instance::{Instance, Task};
use crate::core::plan::Action;
use crate::core::render::render;
use crate::core::version::stamp;
use crate::supervisor::state::{State, TaskFailure};

/// What a client wants to see beside the definition of an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Embed {
    pub(super) tasks: bool,
    pub(super) counts: bool,
    pub(super) deployments: bool,
    pub(super) readiness: bool,
    pub(super) last_failure: bool,
    pub(super) stats: bool,
    /// Which of the tasks wait for load balancers to let go of them. Ours alone, so only for those who ask: strict
    /// clients reject a task with a key they do not know.
    pub(super) draining: bool,
}

impl Embed {
    /// Reads `embed` values, bare or with one of their prefixes; unknown ones are ignored.
    pub(super) fn read(query: &Query, mut embed: Self) -> Self {
        for value in query.all("embed") {
            let name = ["group.apps.", "apps.", "app."].iter().find_map(|prefix| value.strip_prefix(prefix));
            match name.unwrap_or(value) {
                "tasks" => (embed.tasks, embed.deployments) = (true, true),
                "counts" => embed.counts = true,
                "deployments" => embed.deployments = true,
                "readiness" => embed.readiness = true,
                "lastTaskFailure" => embed.last_failure = true,
                "failures" => (embed.tasks, embed.last_failure, embed.deployments) = (true, true, true),
                "taskStats" => embed.stats = true,
                "draining" => embed.draining = true,
                _ => {}
            }
        }
        embed
    }

    pub(super) fn list() -> Self {
        Self { counts: true, deployments: true, ..Self::default() }
    }

    pub(super) fn single() -> Self {
        Self { tasks: true, last_failure: true, ..Self::list() }
    }
}

/// Instances whose task is shown: those given up on a lost agent are not.
pub(super) fn shown<'a>(
    state: &'a State,
    app: &AppId,
) -> impl Iterator<Item = (&'a Instance, &'a Task)> + use<'a> {
    let instances = state.instances_of(app).map(Arc::as_ref).filter(|instance| !instance.is_tombstone());
    instances.filter_map(|instance| Some((instance, instance.task.as_ref()?)))
}

/// Every app, or the one of an id, with all that a load balancer asks for: tasks, deployments, readiness and which
/// tasks are draining.
pub fn embedded(state: &State, app: Option<&AppId>, now: Time) -> Vec<wire::AppInfo> {
    let embed = Embed { tasks: true, deployments: true, readiness: true, draining: true, ..Embed::default() };
    let wanted = state.definitions().filter(|definition| app.is_none_or(|app| definition.id == *app));
    wanted.map(|definition| app_info(state, definition, embed, now)).collect()
}

pub(super) fn app_info(state: &State, app: &AppDefinition, embed: Embed, now: Time) -> wire::AppInfo {
    let mut info = wire::AppInfo { app: render(app), ..wire::AppInfo::default() };
    let tasks: Vec<(&Instance, &Task)> = shown(state, &app.id).collect();
    if embed.counts {
        let counts = Counts::of(tasks.iter().copied());
        info.tasks_staged = Some(counts.staged);
        info.tasks_running = Some(counts.running);
        info.tasks_healthy = Some(counts.healthy);
        info.tasks_unhealthy = Some(counts.unhealthy);
    }
    if embed.deployments {
        let ids = state.locks.get(&app.id).into_iter();
        info.deployments = Some(ids.map(|id| wire::DeploymentRef { id: id.to_string() }).collect());
    }
    if embed.readiness {
        info.readiness_check_results = Some(Vec::new());
    }
    if embed.tasks {
        let shown = tasks.iter().map(|(instance, task)| wire::Task {
            draining: embed.draining && task.kill_by.is_some(),
            ..self::task(state, instance, task)
        });
        info.tasks = Some(shown.collect());
    }
    if embed.last_failure {
        let failure = state.apps.get(&app.id).and_then(|record| record.last_failure.as_ref());
        info.last_task_failure = failure.map(|failure| task_failure(&app.id, failure));
    }
    if embed.stats {
        info.task_stats = Some(task_stats(app, &tasks, now));
    }
    info
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    staged: u32,
    running: u32,
    healthy: u32,
    unhealthy: u32,
}

impl Counts {
    fn of<'a>(tasks: impl Iterator<Item = (&'a Instance, &'a Task)>) -> Self {
        let mut counts = Self::default();
        for (_, task) in tasks {
            match task.state {
                None | Some(TaskState::Staging) => counts.staged += 1,
                Some(TaskState::Running) => counts.running += 1,
                _ => {}
            }
            match task.health.alive {
                Some(true) => counts.healthy += 1,
                Some(false) => counts.unhealthy += 1,
                None => {}
            }
        }
        counts
    }
}

fn task_stats(app: &AppDefinition, tasks: &[(&Instance, &Task)], now: Time) -> Value {
    let latest = |instance: &Instance| instance.config == app.last_config_change;
    let mut stats = serde_json::Map::new();
    let mut add = |name: &str, keep: &dyn Fn(&Instance, &Task) -> bool| {
        let kept: Vec<_> = tasks.iter().copied().filter(|(instance, task)| keep(instance, task)).collect();
        if !kept.is_empty() {
            stats.insert(name.to_owned(), json!({"stats": bucket(&kept, now)}));
        }
    };
    add("startedAfterLastScaling", &|instance, _| instance.version >= app.last_scaling);
    add("withLatestConfig", &|instance, _| latest(instance));
    add("withOutdatedConfig", &|instance, _| !latest(instance));
    add("totalSummary", &|_, _| true);
    Value::Object(stats)
}

fn bucket(tasks: &[(&Instance, &Task)], now: Time) -> Value {
    let counts = Counts::of(tasks.iter().copied());
    let mut bucket = json!({"counts": {"staged": counts.staged, "running": counts.running,
                                       "healthy": counts.healthy, "unhealthy": counts.unhealthy}});
    let mut lives: Vec<u64> =
        tasks.iter().filter_map(|(_, task)| Some(now.since(task.started_at?).as_millis())).collect();
    lives.sort_unstable();
    if let Some(middle) = lives.get(lives.len() / 2) {
        let average = lives.iter().sum::<u64>() as f64 / lives.len() as f64 / 1000.0;
        let median = if lives.len().is_multiple_of(2) {
            (lives[lives.len() / 2 - 1] + middle) as f64 / 2000.0
        } else {
            *middle as f64 / 1000.0
        };
        bucket["lifeTime"] = json!({"averageSeconds": average, "medianSeconds": median});
    }
    bucket
}

pub(super) fn task(state: &State, instance: &Instance, task: &Task) -> wire::Task {
    let definition = state.definition_of(instance);
    let service_ports = definition.map(|app| app.ports.iter().map(|definition| definition.port).collect());
    wire::Task {
        id: task.id.to_string(),
        app_id: instance.app.to_string(),
        host: task.host.clone(),
        slave_id: Some(task.agent.to_string()),
        state: task.state.unwrap_or(TaskState::Staging).name().to_owned(),
        staged_at: Some(stamp(task.staged_at)),
        started_at: task.started_at.map(stamp),
        version: Some(instance.version.to_string()),
        ports: task.ports.clone(),
        service_ports: service_ports.unwrap_or_default(),
        ip_addresses: events::ip_addresses(&task.addresses),
        health_check_results: health_results(instance, task),
        local_volumes: Vec::new(),
        role: definition.map(|app| app.role.clone()),
        draining: false,
    }
}

fn health_results(instance: &Instance, task: &Task) -> Vec<wire::HealthCheckResult> {
    let health = &task.health;
    let result = health.alive.map(|alive| wire::HealthCheckResult {
        alive,
        consecutive_failures: health.consecutive_failures,
        first_success: health.first_success.map(stamp),
        last_success: health.last_success.map(stamp),
        last_failure: health.last_failure.map(stamp),
        last_failure_cause: health.last_failure_cause.clone(),
        instance_id: instance.id.to_string(),
        task_id: task.id.to_string(),
    });
    result.into_iter().collect()
}

fn task_failure(app: &AppId, failure: &TaskFailure) -> wire::TaskFailure {
    wire::TaskFailure {
        app_id: app.to_string(),
        host: failure.host.clone(),
        message: failure.message.clone(),
        state: failure.state.clone(),
        task_id: failure.task.to_string(),
        timestamp: stamp(failure.at),
        version: failure.version.to_string(),
        slave_id: Some(failure.agent.clone()),
    }
}

/// The group at `id` with everything below it; `None` when there is nothing.
pub(super) fn group(state: &State, id: &AppId, embed: Embed, now: Time) -> Option<wire::Group> {
    let apps: Vec<&Arc<AppDefinition>> = state.definitions().filter(|app| id.contains(&app.id)).collect();
    if apps.is_empty() && !id.is_root() {
        return None;
    }
    Some(subtree(state, id, &apps, embed, now))
}

fn subtree(state: &State, id: &AppId, below: &[&Arc<AppDefinition>], embed: Embed, now: Time) -> wire::Group {
    let (own, deeper): (Vec<_>, Vec<_>) = below.iter().copied().partition(|app| app.id.parent() == *id);
    let depth = id.segments().count();
    let mut groups: BTreeMap<AppId, Vec<&Arc<AppDefinition>>> = BTreeMap::new();
    for app in &deeper {
        let path = app.id.segments().take(depth + 1).collect::<Vec<_>>().join("/");
        if let Ok(group) = AppId::parse_group(&format!("/{path}"), &AppId::root()) {
            groups.entry(group).or_default().push(app);
        }
    }
    let version = below.iter().map(|app| app.version).max().unwrap_or_default();
    wire::Group {
        id: id.to_string(),
        apps: own.iter().map(|app| app_info(state, app, embed, now)).collect(),
        groups: groups.iter().map(|(id, apps)| subtree(state, id, apps, embed, now)).collect(),
        pods: Vec::new(),
        dependencies: Vec::new(),
        version: version.to_string(),
    }
}

/// The running deployments, as listed. What their actions wait for is only for those who ask: strict clients reject an
/// action with a key they do not know.
pub(super) fn deployments(state: &State, waits: Option<Time>) -> Vec<wire::Deployment> {
    let reasons = |deployment: &Deployment, action: &Action, now| {
        let open = deployment.action_on(&action.app).is_some();
        let reasons = if open { state.reasons(action, now) } else { Vec::new() };
        reasons
            .iter()
            .map(|reason| wire::Wait {
                reason: reason.kind.name().to_owned(),
                instances: reason.instances,
                message: reason.to_string(),
            })
            .collect()
    };
    let deployment = |deployment: &Arc<Deployment>| {
        let affected: BTreeSet<String> = deployment.locks().map(ToString::to_string).collect();
        let current = deployment.current().iter().map(|action| wire::CurrentAction {
            action: action.kind.name().to_owned(),
            app: action.app.to_string(),
            readiness_check_results: Vec::new(),
            waits_for: waits.map(|now| reasons(deployment, action, now)),
        });
        wire::Deployment {
            id: deployment.id.to_string(),
            version: deployment.version.to_string(),
            affected_apps: affected.into_iter().collect(),
            affected_pods: Vec::new(),
            steps: deployment.steps.iter().map(|step| wire::Step { actions: events::step(step) }).collect(),
            current_actions: current.collect(),
            current_step: (deployment.position + 1).min(deployment.steps.len()),
            total_steps: deployment.steps.len(),
        }
    };
    state.deployments.values().map(deployment).collect()
}
