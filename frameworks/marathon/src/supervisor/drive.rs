//! Bringing one app a step closer to what is wanted of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::time::Time;
use wire::marathon::Event;

use super::Supervisor;
use super::record::Key;
use crate::core::app::AppDefinition;
use crate::core::id::{AppId, DeploymentId};
use crate::core::instance::Instance;
use crate::core::plan::ActionKind;
use crate::core::reconcile::{Mode, Steps, reconcile};
use crate::limits;

impl Supervisor {
    /// What is being done to an app by its deployment now.
    pub(super) fn action_on(&self, app: &AppId) -> Option<ActionKind> {
        let deployment = self.state.deployments.get(self.state.locks.get(app)?)?;
        deployment.action_on(app).map(|action| action.kind)
    }

    /// Compares an app with what is wanted and acts on the difference. An app that waits for its turn in a deployment
    /// is left as it is.
    pub(super) fn drive(&mut self, now: Time, app: &AppId) {
        let action = self.action_on(app);
        let definition = self.state.definition(app).cloned();
        if action.is_none() && self.state.locks.contains_key(app) {
            return;
        }
        // Its record cannot be read. That is no reason to end what runs.
        if self.state.apps.get(app).is_some_and(|app| app.damaged) {
            return;
        }
        let (steps, empty) = {
            let instances: Vec<&Instance> = self.state.instances_of(app).map(Arc::as_ref).collect();
            (self.next_steps(action, definition.as_deref(), app, &instances), instances.is_empty())
        };
        for id in &steps.decommission {
            self.journal.begin();
            self.decommission(now, app, id);
        }
        if let Some(definition) = &definition {
            for _ in 0..steps.schedule {
                self.schedule(now, definition);
            }
        }
        if steps.done
            && let Some(kind) = action
        {
            self.journal.begin();
            self.finish(now, app, kind);
        }
        if definition.is_none() && action.is_none() && empty {
            self.forget_app(app);
        }
    }

    fn next_steps(
        &self,
        action: Option<ActionKind>,
        definition: Option<&AppDefinition>,
        app: &AppId,
        instances: &[&Instance],
    ) -> Steps {
        let none = BTreeSet::new();
        let victims = self
            .state
            .locks
            .get(app)
            .and_then(|id| self.state.deployments.get(id))
            .map_or(&none, |deployment| &deployment.victims);
        let mode = match (action, definition) {
            (Some(ActionKind::Start), _) => return Steps { done: true, ..Steps::default() },
            (Some(ActionKind::Restart), Some(_)) => Mode::Restart,
            (Some(ActionKind::Scale), Some(_)) => Mode::Scale { victims },
            (None, Some(_)) => Mode::Scale { victims: &none },
            (_, None) => Mode::Stop,
            (Some(ActionKind::Stop), Some(_)) => Mode::Stop,
        };
        match definition {
            Some(definition) => {
                let mut steps = reconcile(definition, &mode, instances);
                if matches!(mode, Mode::Restart) {
                    // Named by a user while the app is brought up to date as well.
                    let named = instances.iter().filter(|i| i.is_wanted() && victims.contains(&i.id));
                    let more: Vec<_> =
                        named.map(|i| i.id.clone()).filter(|id| !steps.decommission.contains(id)).collect();
                    steps.decommission.extend(more);
                    steps.done &= steps.decommission.is_empty();
                }
                steps
            }
            None => crate::core::reconcile::stop(instances),
        }
    }

    /// An action of a deployment has reached its aim.
    fn finish(&mut self, now: Time, app: &AppId, kind: ActionKind) {
        if kind == ActionKind::Stop {
            self.emit(now, &Event::AppTerminatedEvent { app_id: app.to_string() });
            self.emit(now, &Event::RemoveHealthCheckEvent { app_id: app.to_string() });
            self.backoffs.reset(app);
            self.breaker.forget(app);
        }
        let Some(id) = self.state.locks.get(app).cloned() else { return };
        if let Some(deployment) = self.state.deployments.get_mut(&id) {
            Arc::make_mut(deployment).finished.insert(app.clone());
            self.journal.touch(Key::Deployment(id.clone()));
        }
        self.advance(now, &id);
    }

    /// Removes what is left of a deleted app, unless a deployment may still bring it back.
    pub(super) fn forget_app(&mut self, app: &AppId) {
        if self.state.locks.contains_key(app) {
            return;
        }
        let Some(removed) = self.state.apps.remove(app) else { return };
        self.scheduled.remove(app);
        self.state.waiting.remove(app);
        self.journal.begin();
        self.journal.touch(Key::App(app.clone()));
        for version in removed.versions.keys() {
            self.journal.touch(Key::Version(app.clone(), *version));
        }
    }

    /// Forgets the oldest versions of an app beyond the kept number, but none that is still in use.
    pub(super) fn trim_versions(&mut self, app: &AppId) {
        let Some(record) = self.state.apps.get(app) else { return };
        let surplus = record.versions.len().saturating_sub(limits::VERSIONS_PER_APP);
        if surplus == 0 {
            return;
        }
        let used: BTreeSet<_> = self.state.instances_of(app).map(|instance| instance.version).collect();
        let deployments: Vec<DeploymentId> = self.state.locks.get(app).cloned().into_iter().collect();
        let needed = |version| {
            used.contains(&version)
                || deployments
                    .iter()
                    .filter_map(|id| self.state.deployments.get(id))
                    .any(|deployment| deployment.mentions(app, version))
        };
        let old: Vec<_> =
            record.versions.keys().copied().take(surplus).filter(|version| !needed(*version)).collect();
        if let Some(record) = self.state.apps.get_mut(app) {
            let record = Arc::make_mut(record);
            self.journal.begin();
            for version in old {
                record.versions.remove(&version);
                self.journal.touch(Key::Version(app.clone(), version));
            }
        }
    }
}
