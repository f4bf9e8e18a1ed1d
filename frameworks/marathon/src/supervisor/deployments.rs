//! Deployments: begun, advanced, cancelled, undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::time::Time;
use wire::marathon::Event;

use super::message::{Refusal, Reply};
use super::record::Key;
use super::state::App;
use super::{Supervisor, Timer};
use crate::core::app::AppDefinition;
use crate::core::deployment::{Deployment, VersionChange};
use crate::core::events;
use crate::core::id::{AppId, DeploymentId, InstanceId};
use crate::core::plan::{ActionKind, Change, plan};
use crate::core::version::Version;

impl Supervisor {
    /// The version of a change made now: later than any there is.
    pub(super) fn next_version(&self, now: Time) -> Version {
        let newest = self.state.apps.values().filter_map(|app| app.versions.keys().next_back()).max();
        let after = newest.map_or(0, |version| version.0.as_millis() + 1);
        Version(Time::from_millis(now.as_millis().max(after)))
    }

    /// Stores new definitions and starts to deploy them. Everything is checked before anything is changed.
    pub(super) fn deploy(
        &mut self,
        now: Time,
        version: Version,
        changes: BTreeMap<AppId, Change>,
        victims: BTreeSet<InstanceId>,
        force: bool,
    ) -> Result<DeploymentId, Refusal> {
        let mut target: BTreeMap<AppId, Arc<AppDefinition>> =
            self.state.definitions().map(|app| (app.id.clone(), Arc::clone(app))).collect();
        for (id, change) in &changes {
            match &change.to {
                Some(to) => target.insert(id.clone(), Arc::clone(to)),
                None => target.remove(id),
            };
        }
        let steps = plan(&changes, &target, &self.outdated(changes.keys())).map_err(Refusal::Invalid)?;
        let conflicts: BTreeSet<DeploymentId> =
            changes.keys().filter_map(|app| self.state.locks.get(app).cloned()).collect();
        if !conflicts.is_empty() && !force {
            return Err(Refusal::Locked(conflicts.into_iter().collect()));
        }
        self.room_for_deployment(conflicts.len())?;
        for conflict in &conflicts {
            self.end_deployment(now, conflict, "overridden by another deployment");
        }
        let id = DeploymentId::from(self.random.uuid().as_str());
        let deployment = Deployment {
            id: id.clone(),
            version,
            changes: changes
                .iter()
                .map(|(app, change)| {
                    let version = |app: &Option<Arc<AppDefinition>>| app.as_ref().map(|app| app.version);
                    (app.clone(), VersionChange { from: version(&change.from), to: version(&change.to) })
                })
                .collect(),
            steps,
            position: 0,
            finished: BTreeSet::new(),
            victims,
        };
        for (app, change) in &changes {
            self.set_definition(app, change.to.clone());
            self.state.locks.insert(app.clone(), id.clone());
            self.touched.insert(app.clone());
        }
        self.state.deployments.insert(id.clone(), Arc::new(deployment));
        self.journal.touch(Key::Deployment(id.clone()));
        self.begin_step(now, &id);
        for app in changes.keys() {
            self.trim_versions(app);
        }
        Ok(id)
    }

    /// Those of these apps whose deployment has yet to replace instances of an older configuration.
    fn outdated<'a>(&self, apps: impl Iterator<Item = &'a AppId>) -> BTreeSet<AppId> {
        let is_old = |app: &&AppId| {
            if !self.state.locks.contains_key(*app) {
                return false;
            }
            let config = self.state.definition(app).map(|definition| definition.last_config_change);
            self.state.instances_of(app).any(|instance| {
                instance.is_wanted() && config.is_some_and(|config| instance.config != config)
            })
        };
        apps.filter(is_old).cloned().collect()
    }

    fn set_definition(&mut self, app: &AppId, definition: Option<Arc<AppDefinition>>) {
        let record = self.state.apps.entry(app.clone()).or_insert_with(|| Arc::new(App::empty(app)));
        let record = Arc::make_mut(record);
        record.current = definition.as_ref().map(|definition| definition.version);
        record.damaged = false;
        if let Some(definition) = definition {
            self.journal.touch(Key::Version(app.clone(), definition.version));
            record.versions.insert(definition.version, definition);
        }
        self.journal.touch(Key::App(app.clone()));
    }

    /// Starts the present step, or ends a deployment that has none left.
    fn begin_step(&mut self, now: Time, id: &DeploymentId) {
        let Some(deployment) = self.state.deployments.get(id).cloned() else { return };
        if deployment.position >= deployment.steps.len() {
            self.emit(now, &Event::DeploymentSuccess { id: id.to_string(), plan: events::plan(&deployment) });
            self.remove_deployment(&deployment);
            return;
        }
        self.emit(
            now,
            &Event::DeploymentInfo {
                plan: events::plan(&deployment),
                current_step: events::current_step(&deployment),
            },
        );
        for action in deployment.current() {
            if matches!(action.kind, ActionKind::Restart | ActionKind::Scale)
                && let Some(event) =
                    self.state.definition(&action.app).and_then(|app| events::add_health_check(app))
            {
                self.emit(now, &event);
            }
            if action.kind == ActionKind::Restart {
                self.backoffs.reset(&action.app);
                self.timers.cancel(&Timer::Backoff(action.app.clone()));
                self.interest.revive |= self.scheduled.contains_key(&action.app);
            }
            self.touched.insert(action.app.clone());
        }
    }

    /// Goes to the next step when every action of the present one has reached its aim.
    pub(super) fn advance(&mut self, now: Time, id: &DeploymentId) {
        let Some(deployment) = self.state.deployments.get_mut(id) else { return };
        if !deployment.is_step_done() {
            return;
        }
        let before = Arc::clone(deployment);
        let deployment = Arc::make_mut(deployment);
        deployment.position += 1;
        deployment.finished.clear();
        self.journal.touch(Key::Deployment(id.clone()));
        self.emit(
            now,
            &Event::DeploymentStepSuccess {
                plan: events::plan(&before),
                current_step: events::current_step(&before),
            },
        );
        self.begin_step(now, id);
    }

    /// A new leader goes on where the stored position is.
    pub(super) fn continue_deployments(&mut self, now: Time) {
        let ids: Vec<DeploymentId> = self.state.deployments.keys().cloned().collect();
        for id in ids {
            self.journal.begin();
            self.begin_step(now, &id);
        }
    }

    fn remove_deployment(&mut self, deployment: &Deployment) {
        self.state.deployments.remove(&deployment.id);
        self.journal.touch(Key::Deployment(deployment.id.clone()));
        for app in deployment.locks() {
            if self.state.locks.get(app) == Some(&deployment.id) {
                self.state.locks.remove(app);
            }
            // What the deployment left open is now everyday work.
            self.touched.insert(app.clone());
        }
    }

    /// Stops a deployment where it is.
    fn end_deployment(&mut self, now: Time, id: &DeploymentId, reason: &str) {
        let Some(deployment) = self.state.deployments.get(id).cloned() else { return };
        if !deployment.current().is_empty() {
            self.emit(
                now,
                &Event::DeploymentStepFailure {
                    plan: events::plan(&deployment),
                    current_step: events::current_step(&deployment),
                },
            );
        }
        let plan = events::plan(&deployment);
        self.emit(now, &Event::DeploymentFailed { id: id.to_string(), plan, reason: reason.to_owned() });
        self.remove_deployment(&deployment);
    }

    /// Cancels a deployment: by force it just stops, otherwise another one goes back to where it began.
    pub(super) fn cancel(&mut self, now: Time, id: &DeploymentId, force: bool) -> Result<Reply, Refusal> {
        let deployment = self.state.deployments.get(id).cloned();
        let Some(deployment) = deployment else { return Err(Refusal::UnknownDeployment(id.clone())) };
        if force {
            self.end_deployment(now, id, "cancelled");
            return Ok(Reply::Cancelled);
        }
        let changes = deployment
            .changes
            .iter()
            .map(|(app, change)| {
                let record = self.state.apps.get(app);
                // The very definitions, versions and all: instances that still run them need no restart.
                let to = change.from.and_then(|version| record?.versions.get(&version).cloned());
                (app.clone(), Change { from: self.state.definition(app).cloned(), to })
            })
            .collect();
        let version = self.next_version(now);
        let deployment = self.deploy(now, version, changes, BTreeSet::new(), true)?;
        self.group_changed(now, "/", version);
        Ok(Reply::Deployed { version, deployment, created: false })
    }

    pub(super) fn group_changed(&mut self, now: Time, group: &str, version: Version) {
        let event = Event::GroupChangeSuccess { group_id: group.to_owned(), version: version.to_string() };
        self.emit(now, &event);
    }
}
