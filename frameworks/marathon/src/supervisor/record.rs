//! How state is stored: one JSON record for each app, version, instance and deployment, so that a change writes what
//! it changes. Unknown fields are ignored and missing ones have defaults, which lets neighbouring releases read each
//! other's records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, TaskId};
use model::task::TaskState;
use model::time::Time;
use sdk::engine::{FRAMEWORK, framework_of};
use serde::{Deserialize, Serialize};

use super::message::Record;
use super::state::{App, State, TaskFailure};
use crate::core::app::AppDefinition;
use crate::core::deployment::{Deployment, VersionChange};
use crate::core::health::Health;
use crate::core::id::{AppId, DeploymentId, InstanceId};
use crate::core::instance::{Condition, Goal, Instance, Task};
use crate::core::merge::merge;
use crate::core::plan::{Action, ActionKind};
use crate::core::render::render;
use crate::core::version::Version;

/// The name of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    // In this order they are written: what others refer to first.
    Drainers,
    Version(AppId, Version),
    App(AppId),
    Deployment(DeploymentId),
    Instance(AppId, InstanceId),
}

const DRAINERS: &str = "drainers";
const VERSION: &str = "version";
const APP: &str = "app";
const DEPLOYMENT: &str = "deployment/";
const INSTANCE: &str = "instance/";
pub const EVENTS: &str = "events/";

impl Key {
    pub fn text(&self) -> String {
        match self {
            Self::Drainers => DRAINERS.to_owned(),
            // Ids begin with a slash.
            Self::App(app) => format!("{APP}{app}"),
            // Of fixed width, so that versions lie in order.
            Self::Version(app, version) => format!("{VERSION}{app}/{:016}", version.0.as_millis()),
            Self::Deployment(id) => format!("{DEPLOYMENT}{id}"),
            Self::Instance(_, id) => format!("{INSTANCE}{id}"),
        }
    }
}

/// The key of the record that holds the events from `first` on.
pub fn events_key(first: u64) -> String {
    format!("{EVENTS}{first:020}")
}

/// The value to store under `key`; `None` when the record is to be deleted.
pub fn encode(state: &State, key: &Key) -> Option<Vec<u8>> {
    match key {
        Key::Drainers => {
            let names: Vec<String> = state.drains.known().map(str::to_owned).collect();
            (!names.is_empty()).then(|| json(&DrainersRecord { names }))
        }
        Key::App(id) => {
            let app = state.apps.get(id)?;
            app.current.map(|version| json(&AppRecord::of(app, version)))
        }
        Key::Version(id, version) => state.apps.get(id)?.versions.get(version).map(|app| json(&render(app))),
        Key::Deployment(id) => {
            state.deployments.get(id).map(|deployment| json(&DeploymentRecord::of(deployment)))
        }
        Key::Instance(app, id) => state
            .instances
            .get(&(app.clone(), id.clone()))
            .filter(|instance| instance.is_stored())
            .map(|instance| json(&InstanceRecord::of(instance))),
    }
}

fn json(record: &impl Serialize) -> Vec<u8> {
    // Records have string keys and no fallible serializers.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Events stored together.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EventsRecord {
    pub first: u64,
    /// Type and payload of each.
    pub events: Vec<(String, String)>,
}

/// All that is stored, read back. What cannot be read is left in the store, untouched, and named.
#[derive(Debug, Default)]
pub struct Loaded {
    pub state: State,
    pub events: Vec<EventsRecord>,
    /// Load balancers that were here.
    pub drainers: Vec<String>,
    pub unreadable: Vec<String>,
}

pub fn decode(records: &[Record]) -> Loaded {
    let mut loaded = Loaded::default();
    let mut versions: Vec<AppDefinition> = Vec::new();
    let mut apps: Vec<(AppId, AppRecord)> = Vec::new();
    for Record { key, value } in records {
        let readable = if key == FRAMEWORK {
            // The kit's own.
            loaded.state.framework = Some(framework_of(value));
            Some(())
        } else if key == DRAINERS {
            read::<DrainersRecord>(value).map(|record| loaded.drainers = record.names)
        } else if key.starts_with(EVENTS) {
            read::<EventsRecord>(value).map(|record| loaded.events.push(record))
        } else if key.starts_with(DEPLOYMENT) {
            read::<DeploymentRecord>(value).and_then(DeploymentRecord::into_deployment).map(|deployment| {
                loaded.state.deployments.insert(deployment.id.clone(), Arc::new(deployment));
            })
        } else if key.starts_with(INSTANCE) {
            read::<InstanceRecord>(value).and_then(InstanceRecord::into_instance).map(|instance| {
                let key = (instance.app.clone(), instance.id.clone());
                loaded.state.instances.insert(key, Arc::new(instance));
            })
        } else if key.starts_with(VERSION) {
            read::<wire::marathon::App>(value)
                .and_then(|document| definition(&document))
                .map(|app| versions.push(app))
        } else if key.starts_with(APP) {
            read::<AppRecord>(value)
                .and_then(|record| app_id(&record.id).map(|id| (id, record)))
                .map(|app| apps.push(app))
        } else {
            // Not ours to read: the leader's key, say.
            Some(())
        };
        if readable.is_none() {
            loaded.unreadable.push(key.clone());
        }
    }
    loaded.events.sort_by_key(|record| record.first);
    for version in versions {
        let app =
            loaded.state.apps.entry(version.id.clone()).or_insert_with(|| Arc::new(App::empty(&version.id)));
        Arc::make_mut(app).versions.insert(version.version, Arc::new(version));
    }
    for (id, record) in apps {
        let current = Version::parse(&record.version);
        let app = loaded.state.apps.entry(id.clone()).or_insert_with(|| Arc::new(App::empty(&id)));
        let app = Arc::make_mut(app);
        app.current = current.filter(|version| app.versions.contains_key(version));
        app.damaged = app.current.is_none();
        app.last_failure = record.last_failure.map(FailureRecord::into_failure);
    }
    for key in &loaded.unreadable {
        if let Some(id) = key.strip_prefix(APP).and_then(app_id) {
            let app = loaded.state.apps.entry(id.clone()).or_insert_with(|| Arc::new(App::empty(&id)));
            Arc::make_mut(app).damaged = true;
        }
    }
    for deployment in loaded.state.deployments.values() {
        for app in deployment.locks() {
            loaded.state.locks.insert(app.clone(), deployment.id.clone());
        }
    }
    loaded
}

fn read<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

fn app_id(text: &str) -> Option<AppId> {
    AppId::parse(text, &AppId::root()).ok()
}

fn definition(document: &wire::marathon::App) -> Option<AppDefinition> {
    let id = app_id(document.id.as_deref()?)?;
    let defaults = AppDefinition::with_defaults(id, document.role.as_deref()?);
    let mut app = merge(&defaults, document).ok()?;
    let info = document.version_info.as_ref()?;
    app.version = Version::parse(document.version.as_deref()?)?;
    app.last_scaling = Version::parse(info.last_scaling_at.as_deref()?)?;
    app.last_config_change = Version::parse(info.last_config_change_at.as_deref()?)?;
    Some(app)
}

impl App {
    pub fn empty(id: &AppId) -> Self {
        Self { id: id.clone(), current: None, versions: BTreeMap::new(), last_failure: None, damaged: false }
    }
}

#[derive(Serialize, Deserialize)]
struct DrainersRecord {
    names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppRecord {
    id: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureRecord>,
}

impl AppRecord {
    fn of(app: &App, version: Version) -> Self {
        Self {
            id: app.id.to_string(),
            version: version.to_string(),
            last_failure: app.last_failure.as_ref().map(FailureRecord::of),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct FailureRecord {
    task: String,
    host: String,
    agent: String,
    message: String,
    state: String,
    version: u64,
    at: u64,
}

impl FailureRecord {
    fn of(failure: &TaskFailure) -> Self {
        Self {
            task: failure.task.to_string(),
            host: failure.host.clone(),
            agent: failure.agent.clone(),
            message: failure.message.clone(),
            state: failure.state.clone(),
            version: failure.version.0.as_millis(),
            at: failure.at.as_millis(),
        }
    }

    fn into_failure(self) -> TaskFailure {
        TaskFailure {
            task: TaskId::from(self.task),
            host: self.host,
            agent: self.agent,
            message: self.message,
            state: self.state,
            version: Version(Time::from_millis(self.version)),
            at: Time::from_millis(self.at),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstanceRecord {
    id: String,
    version: u64,
    config: u64,
    #[serde(default)]
    decommissioned: bool,
    condition: String,
    since: u64,
    launches: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskRecord {
    agent: String,
    host: String,
    ports: Vec<u16>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    state: Option<String>,
    staged_at: u64,
    #[serde(default)]
    started_at: Option<u64>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    health: HealthRecord,
    #[serde(default)]
    unreachable_since: Option<u64>,
    #[serde(default)]
    kill_by: Option<u64>,
    #[serde(default)]
    last_update: Vec<u8>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HealthRecord {
    alive: Option<bool>,
    consecutive_failures: u32,
    first_success: Option<u64>,
    last_success: Option<u64>,
    last_failure: Option<u64>,
    last_failure_cause: Option<String>,
}

impl InstanceRecord {
    fn of(instance: &Instance) -> Self {
        Self {
            id: instance.id.to_string(),
            version: instance.version.0.as_millis(),
            config: instance.config.0.as_millis(),
            decommissioned: instance.goal == Goal::Decommissioned,
            condition: instance.condition.name().to_owned(),
            since: instance.since.as_millis(),
            launches: instance.launches,
            task: instance.task.as_ref().map(TaskRecord::of),
        }
    }

    fn into_instance(self) -> Option<Instance> {
        let id = InstanceId::parse(&self.id)?;
        let task = self.task.map(|task| task.into_task(&id, self.launches));
        let condition = Condition::parse(&self.condition)?;
        Some(Instance {
            app: id.app()?,
            version: Version(Time::from_millis(self.version)),
            config: Version(Time::from_millis(self.config)),
            goal: if self.decommissioned { Goal::Decommissioned } else { Goal::Running },
            condition: if task.is_none() { Condition::Scheduled } else { condition },
            since: Time::from_millis(self.since),
            launches: self.launches,
            task,
            id,
        })
    }
}

impl TaskRecord {
    fn of(task: &Task) -> Self {
        let millis = |time: Option<Time>| time.map(Time::as_millis);
        Self {
            agent: task.agent.to_string(),
            host: task.host.clone(),
            ports: task.ports.clone(),
            fields: task.fields.clone(),
            state: task.state.map(|state| state.name().to_owned()),
            staged_at: task.staged_at.as_millis(),
            started_at: millis(task.started_at),
            addresses: task.addresses.clone(),
            health: HealthRecord {
                alive: task.health.alive,
                consecutive_failures: task.health.consecutive_failures,
                first_success: millis(task.health.first_success),
                last_success: millis(task.health.last_success),
                last_failure: millis(task.health.last_failure),
                last_failure_cause: task.health.last_failure_cause.clone(),
            },
            unreachable_since: millis(task.unreachable_since),
            kill_by: millis(task.kill_by),
            last_update: task.last_update.clone(),
        }
    }

    fn into_task(self, instance: &InstanceId, launch: u32) -> Task {
        let time = |millis: Option<u64>| millis.map(Time::from_millis);
        Task {
            id: instance.task(launch),
            agent: AgentId::from(self.agent),
            host: self.host,
            ports: self.ports,
            fields: self.fields,
            state: self.state.as_deref().and_then(TaskState::from_name),
            staged_at: Time::from_millis(self.staged_at),
            started_at: time(self.started_at),
            addresses: self.addresses,
            health: Health {
                alive: self.health.alive,
                consecutive_failures: self.health.consecutive_failures,
                first_success: time(self.health.first_success),
                last_success: time(self.health.last_success),
                last_failure: time(self.health.last_failure),
                last_failure_cause: self.health.last_failure_cause,
            },
            unreachable_since: time(self.unreachable_since),
            kill_by: time(self.kill_by),
            last_update: self.last_update,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentRecord {
    id: String,
    version: u64,
    /// App, version before, version after.
    changes: Vec<(String, Option<u64>, Option<u64>)>,
    /// Kind and app of each action of each step.
    steps: Vec<Vec<(String, String)>>,
    position: usize,
    #[serde(default)]
    finished: Vec<String>,
    #[serde(default)]
    victims: Vec<String>,
}

impl DeploymentRecord {
    fn of(deployment: &Deployment) -> Self {
        let millis = |version: Option<Version>| version.map(|version| version.0.as_millis());
        Self {
            id: deployment.id.to_string(),
            version: deployment.version.0.as_millis(),
            changes: deployment
                .changes
                .iter()
                .map(|(app, change)| (app.to_string(), millis(change.from), millis(change.to)))
                .collect(),
            steps: deployment
                .steps
                .iter()
                .map(|step| {
                    step.iter()
                        .map(|action| (action.kind.name().to_owned(), action.app.to_string()))
                        .collect()
                })
                .collect(),
            position: deployment.position,
            finished: deployment.finished.iter().map(ToString::to_string).collect(),
            victims: deployment.victims.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_deployment(self) -> Option<Deployment> {
        let version = |millis: Option<u64>| millis.map(|millis| Version(Time::from_millis(millis)));
        let changes = self.changes.into_iter().map(|(app, from, to)| {
            Some((app_id(&app)?, VersionChange { from: version(from), to: version(to) }))
        });
        let action = |(kind, app): (String, String)| {
            Some(Action { kind: ActionKind::parse(&kind)?, app: app_id(&app)? })
        };
        let steps =
            self.steps.into_iter().map(|step| step.into_iter().map(action).collect::<Option<Vec<_>>>());
        Some(Deployment {
            id: DeploymentId::from(self.id.as_str()),
            version: Version(Time::from_millis(self.version)),
            changes: changes.collect::<Option<BTreeMap<_, _>>>()?,
            steps: steps.collect::<Option<Vec<_>>>()?,
            position: self.position,
            finished: self.finished.iter().map(|app| app_id(app)).collect::<Option<BTreeSet<_>>>()?,
            victims: self.victims.iter().filter_map(|id| InstanceId::parse(id)).collect(),
        })
    }
}
