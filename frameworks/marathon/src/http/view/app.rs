//! Apps with what was asked to be embedded.

use model::task::TaskState;
use serde_json::{Map, Value, json};
use wire::marathon::{AppInfo, TaskFailure};

use super::task;
use crate::core::app::AppDefinition;
use crate::core::id::AppId;
use crate::core::instance::Instance;
use crate::core::render::render;
use crate::core::version::stamp;
use crate::http::query::Query;
use crate::http::reply::reference;
use crate::supervisor::state::State;
use model::time::Time;

/// What is embedded in each app.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct Embed {
    pub(in crate::http) tasks: bool,
    pub(in crate::http) counts: bool,
    pub(in crate::http) deployments: bool,
    pub(in crate::http) readiness: bool,
    pub(in crate::http) last_failure: bool,
    pub(in crate::http) stats: bool,
}

impl Embed {
    /// What a list always has.
    pub(in crate::http) const LIST: Self = Self {
        tasks: false,
        counts: true,
        deployments: true,
        readiness: false,
        last_failure: false,
        stats: false,
    };
    /// What a single app always has.
    pub(in crate::http) const SINGLE: Self = Self { tasks: true, last_failure: true, ..Self::LIST };

    /// Adds what the query asks for; unknown words are ignored.
    pub(in crate::http) fn with(mut self, query: &Query) -> Self {
        for word in query.all("embed") {
            let bare = ["group.apps.", "apps.", "app."].iter().find_map(|prefix| word.strip_prefix(prefix));
            match bare.unwrap_or(word) {
                "tasks" => (self.tasks, self.deployments) = (true, true),
                "counts" => self.counts = true,
                "deployments" => self.deployments = true,
                "readiness" => self.readiness = true,
                "lastTaskFailure" => self.last_failure = true,
                "failures" => (self.tasks, self.last_failure, self.deployments) = (true, true, true),
                "taskStats" => self.stats = true,
                _ => {}
            }
        }
        self
    }
}

/// One app.
pub(in crate::http) fn info(state: &State, app: &AppDefinition, embed: Embed, now: Time) -> AppInfo {
    let mut info = AppInfo { app: render(app), ..AppInfo::default() };
    if embed.counts {
        let counts = Counts::of(state.instances_of(&app.id).map(AsRef::as_ref));
        info.tasks_staged = Some(counts.staged);
        info.tasks_running = Some(counts.running);
        info.tasks_healthy = Some(counts.healthy);
        info.tasks_unhealthy = Some(counts.unhealthy);
    }
    if embed.deployments {
        info.deployments = Some(state.locks.get(&app.id).map(reference).into_iter().collect());
    }
    if embed.readiness {
        info.readiness_check_results = Some(Vec::new());
    }
    if embed.tasks {
        info.tasks = Some(state.instances_of(&app.id).filter_map(|instance| task::task(state, instance)).collect());
    }
    if embed.last_failure {
        info.last_task_failure = last_failure(state, &app.id);
    }
    if embed.stats {
        info.task_stats = Some(stats(state, app, now));
    }
    info
}

fn last_failure(state: &State, app: &AppId) -> Option<TaskFailure> {
    let failure = state.apps.get(app)?.last_failure.as_ref()?;
    Some(TaskFailure {
        app_id: app.to_string(),
        host: failure.host.clone(),
        message: failure.message.clone(),
        state: failure.state.clone(),
        task_id: failure.task.to_string(),
        timestamp: stamp(failure.at),
        version: failure.version.to_string(),
        slave_id: (!failure.agent.is_empty()).then(|| failure.agent.clone()),
    })
}

/// Tasks by what they are doing. Tasks without a health result are neither healthy nor unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Counts {
    pub(in crate::http) staged: u32,
    pub(in crate::http) running: u32,
    pub(in crate::http) healthy: u32,
    pub(in crate::http) unhealthy: u32,
}

impl Counts {
    fn of<'a>(instances: impl Iterator<Item = &'a Instance>) -> Self {
        let mut counts = Self::default();
        for instance in instances.filter(|instance| !instance.is_tombstone()) {
            let Some(task) = &instance.task else { continue };
            match task.state {
                None | Some(TaskState::Staging) => counts.staged += 1,
                Some(TaskState::Running) => counts.running += 1,
                Some(_) => {}
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

/// `taskStats`: counts and life times of the tasks in four groups, each left out when it is empty.
fn stats(state: &State, app: &AppDefinition, now: Time) -> Value {
    let launched: Vec<&Instance> =
        state.instances_of(&app.id).map(AsRef::as_ref).filter(|instance| instance.task.is_some()).collect();
    let latest = |instance: &&Instance| instance.config == app.last_config_change;
    let after_scaling = |instance: &&Instance| instance.born() > app.last_scaling.0;
    let mut all = Map::new();
    for (name, group) in [
        ("startedAfterLastScaling", launched.iter().copied().filter(after_scaling).collect::<Vec<_>>()),
        ("withLatestConfig", launched.iter().copied().filter(latest).collect()),
        ("withOutdatedConfig", launched.iter().copied().filter(|instance| !latest(instance)).collect()),
        ("totalSummary", launched.clone()),
    ] {
        if !group.is_empty() {
            all.insert(name.to_owned(), json!({ "stats": summary(&group, now) }));
        }
    }
    Value::Object(all)
}

fn summary(group: &[&Instance], now: Time) -> Value {
    let counts = Counts::of(group.iter().copied());
    let mut stats = json!({ "counts": {
        "staged": counts.staged, "running": counts.running, "healthy": counts.healthy, "unhealthy": counts.unhealthy
    } });
    let started = group.iter().filter_map(|instance| instance.task.as_ref()?.started_at);
    let mut ages: Vec<f64> = started.map(|at| (now - at).as_secs_f64()).collect();
    if !ages.is_empty() {
        ages.sort_by(f64::total_cmp);
        let middle = ages.len() / 2;
        let median = if ages.len() % 2 == 1 { ages[middle] } else { f64::midpoint(ages[middle - 1], ages[middle]) };
        let average = ages.iter().sum::<f64>() / ages.len() as f64;
        stats["lifeTime"] = json!({ "averageSeconds": average, "medianSeconds": median });
    }
    stats
}
