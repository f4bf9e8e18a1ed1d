//! All the supervisor knows of apps, instances and deployments. A clone is a view: the maps are persistent, so that
//! handing one to every reader costs a few counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use model::id::{FrameworkId, TaskId};
use model::time::Time;

use crate::core::app::AppDefinition;
use crate::core::deployment::Deployment;
use crate::core::drain::Drains;
use crate::core::id::{self, AppId, DeploymentId, InstanceId};
use crate::core::instance::Instance;
use crate::core::plan::Action;
use crate::core::progress::{self, Reason};
use crate::core::queue::Waiting;
use crate::core::version::Version;

#[derive(Debug, Clone, Default)]
pub struct State {
    pub framework: Option<FrameworkId>,
    pub apps: OrdMap<AppId, Arc<App>>,
    pub instances: OrdMap<(AppId, InstanceId), Arc<Instance>>,
    pub deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    /// Who holds the lock of an app. Follows from the deployments.
    pub locks: OrdMap<AppId, DeploymentId>,
    /// Apps with instances that wait for an offer.
    pub waiting: OrdMap<AppId, Arc<Waiting>>,
    pub drains: Arc<Drains>,
}

/// An app with its history.
#[derive(Debug, Clone)]
pub struct App {
    pub id: AppId,
    /// Absent when the app was deleted and its instances are not all gone yet.
    pub current: Option<Version>,
    pub versions: BTreeMap<Version, Arc<AppDefinition>>,
    pub last_failure: Option<TaskFailure>,
    /// Its record, or that of its present version, cannot be read: what runs is left alone until the app is defined
    /// anew.
    pub damaged: bool,
}

/// The last failure of any task of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFailure {
    pub task: TaskId,
    pub host: String,
    pub agent: String,
    pub message: String,
    pub state: String,
    pub version: Version,
    pub at: Time,
}

impl App {
    /// The definition that holds now; `None` for a deleted app.
    pub fn definition(&self) -> Option<&Arc<AppDefinition>> {
        self.versions.get(&self.current?)
    }
}

impl State {
    /// The definition of an app that exists.
    pub fn definition(&self, app: &AppId) -> Option<&Arc<AppDefinition>> {
        self.apps.get(app)?.definition()
    }

    /// The definition an instance runs; that of the app when its own is no longer kept.
    pub fn definition_of(&self, instance: &Instance) -> Option<&Arc<AppDefinition>> {
        let app = self.apps.get(&instance.app)?;
        app.versions.get(&instance.version).or_else(|| app.definition())
    }

    pub fn instances_of(&self, app: &AppId) -> impl Iterator<Item = &Arc<Instance>> + use<'_> {
        let app = app.clone();
        let first = (app.clone(), InstanceId::lowest());
        self.instances
            .range(first..)
            .take_while(move |((owner, _), _)| *owner == app)
            .map(|(_, instance)| instance)
    }

    /// The instance a task id speaks of, when that task is its present one.
    pub fn instance_of_task(&self, task: &str) -> Option<&Arc<Instance>> {
        let (instance, launch) = id::of_task(task)?;
        self.instance(&instance).filter(|instance| instance.launches == launch && instance.task.is_some())
    }

    /// What an action of a deployment waits for.
    pub fn reasons(&self, action: &Action, now: Time) -> Vec<Reason> {
        let instances: Vec<&Instance> = self.instances_of(&action.app).map(Arc::as_ref).collect();
        let definition = self.definition(&action.app).map(Arc::as_ref);
        let waiting = self.waiting.get(&action.app).map(Arc::as_ref);
        progress::reasons(action.kind, definition, &instances, waiting, now)
    }

    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(&(id.app()?, id.clone()))
    }

    /// Apps that exist, with their definitions.
    pub fn definitions(&self) -> impl Iterator<Item = &Arc<AppDefinition>> {
        self.apps.values().filter_map(|app| app.definition())
    }
}
