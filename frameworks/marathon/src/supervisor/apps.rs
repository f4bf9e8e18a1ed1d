//! Commands that change definitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::time::Time;

use super::Supervisor;
use super::message::{Origin, Refusal, Reply, UpdateOptions};
use crate::core::app::AppDefinition;
use crate::core::errors::Errors;
use crate::core::events;
use crate::core::id::{AppId, InstanceId};
use crate::core::merge::merge;
use crate::core::plan::Change;
use crate::core::ports::ServicePorts;
use crate::core::render::render;
use crate::core::validate::validate;
use crate::core::version::Version;
use crate::limits;

impl Supervisor {
    pub(super) fn create(
        &mut self,
        now: Time,
        origin: &Origin,
        document: &wire::marathon::App,
        force: bool,
    ) -> Result<Reply, Refusal> {
        let id = id_of(document).map_err(Refusal::Invalid)?;
        if self.state.definition(&id).is_some() {
            return Err(Refusal::Exists(id));
        }
        let base = AppDefinition::with_defaults(id.clone(), &self.settings.role);
        let app = merge(&base, document).map_err(Refusal::Invalid)?;
        let (version, deployment) = self.put(now, vec![app], BTreeSet::new(), force)?;
        self.group_changed(now, id.parent().as_str(), version);
        let Some(app) = self.state.definition(&id).cloned() else { return Err(Refusal::UnknownApp(id)) };
        self.emit(now, &events::api_post(&origin.client_ip, &origin.uri, &app));
        Ok(Reply::Created { app, deployment })
    }

    pub(super) fn update_app(
        &mut self,
        now: Time,
        origin: &Origin,
        id: &AppId,
        document: &wire::marathon::App,
        options: UpdateOptions,
    ) -> Result<Reply, Refusal> {
        let created = self.state.definition(id).is_none();
        let app = self.updated(id, document, options)?;
        let (version, deployment) = self.put(now, vec![app], BTreeSet::new(), options.force)?;
        self.group_changed(now, id.parent().as_str(), version);
        if let Some(app) = self.state.definition(id).cloned() {
            self.emit(now, &events::api_post(&origin.client_ip, &origin.uri, &app));
        }
        Ok(Reply::Deployed { version, deployment, created })
    }

    pub(super) fn update_many(
        &mut self,
        now: Time,
        documents: &[wire::marathon::App],
        options: UpdateOptions,
    ) -> Result<Reply, Refusal> {
        if documents.len() > limits::APPS_PER_CHANGE {
            let text = format!("must not change more than {} apps at once", limits::APPS_PER_CHANGE);
            return Err(Refusal::Invalid(Errors::one("/", text)));
        }
        let (mut errors, mut apps) = (Errors::default(), BTreeMap::new());
        for (at, document) in documents.iter().enumerate() {
            let place = format!("({at})");
            let app =
                id_of(document).map_err(Refusal::Invalid).and_then(|id| self.updated(&id, document, options));
            match app {
                Ok(app) => {
                    if let Some(twice) = apps.insert(app.id.clone(), app) {
                        errors.add(format!("{place}/id"), format!("'{}' must not be given twice", twice.id));
                    }
                }
                Err(Refusal::Invalid(others)) => errors.extend(&place, others),
                Err(other) => return Err(other),
            }
        }
        let apps = errors.or(apps.into_values().collect()).map_err(Refusal::Invalid)?;
        let (version, deployment) = self.put(now, apps, BTreeSet::new(), options.force)?;
        self.group_changed(now, "/", version);
        Ok(Reply::Deployed { version, deployment, created: false })
    }

    /// The definition of an app with a document laid over it.
    fn updated(
        &self,
        id: &AppId,
        document: &wire::marathon::App,
        options: UpdateOptions,
    ) -> Result<AppDefinition, Refusal> {
        let current = self.state.definition(id);
        if current.is_none() && !options.create {
            return Err(Refusal::UnknownApp(id.clone()));
        }
        let defaults = || AppDefinition::with_defaults(id.clone(), &self.settings.role);
        match current {
            Some(current) if options.partial => match &document.version {
                Some(version) => self.former(id, version, document),
                None => merge(current, document).map_err(Refusal::Invalid),
            },
            _ => merge(&defaults(), document).map_err(Refusal::Invalid),
        }
    }

    /// The definition a `{"version": ...}` document asks to go back to.
    fn former(
        &self,
        id: &AppId,
        version: &str,
        document: &wire::marathon::App,
    ) -> Result<AppDefinition, Refusal> {
        let bare = wire::marathon::App {
            id: document.id.clone(),
            version: document.version.clone(),
            ..wire::marathon::App::default()
        };
        if *document != bare {
            let text = "must not be combined with other fields: it asks to go back to that version";
            return Err(Refusal::Invalid(Errors::one("/version", text)));
        }
        let Some(version) = Version::parse(version) else {
            return Err(Refusal::Unprocessable(format!("Invalid timestamp '{version}' in version")));
        };
        let record = self.state.apps.get(id);
        match record.and_then(|record| record.versions.get(&version)) {
            Some(former) => Ok((**former).clone()),
            None => Err(Refusal::UnknownVersion(id.clone(), version)),
        }
    }

    pub(super) fn delete(&mut self, now: Time, id: &AppId, force: bool) -> Result<Reply, Refusal> {
        let Some(current) = self.state.definition(id).cloned() else {
            return Err(Refusal::UnknownApp(id.clone()));
        };
        let version = self.next_version(now);
        let changes = BTreeMap::from([(id.clone(), Change { from: Some(current), to: None })]);
        let deployment = self.deploy(now, version, changes, BTreeSet::new(), force)?;
        self.group_changed(now, id.parent().as_str(), version);
        Ok(Reply::Deployed { version, deployment, created: false })
    }

    pub(super) fn restart(&mut self, now: Time, id: &AppId, force: bool) -> Result<Reply, Refusal> {
        let Some(current) = self.state.definition(id).cloned() else {
            return Err(Refusal::UnknownApp(id.clone()));
        };
        let version = self.next_version(now);
        let mut again = (*current).clone();
        (again.version, again.last_config_change) = (version, version);
        let change = Change { from: Some(current), to: Some(Arc::new(again)) };
        let changes = BTreeMap::from([(id.clone(), change)]);
        let deployment = self.deploy(now, version, changes, BTreeSet::new(), force)?;
        self.group_changed(now, id.parent().as_str(), version);
        Ok(Reply::Deployed { version, deployment, created: false })
    }

    /// Checks, stamps and deploys definitions of new and existing apps.
    pub(super) fn put(
        &mut self,
        now: Time,
        apps: Vec<AppDefinition>,
        victims: BTreeSet<InstanceId>,
        force: bool,
    ) -> Result<(Version, crate::core::id::DeploymentId), Refusal> {
        let version = self.next_version(now);
        let several = apps.len() > 1;
        let mut ports = ServicePorts::of(self.state.definitions().map(Arc::as_ref));
        let (mut errors, mut changes, mut bytes) = (Errors::default(), BTreeMap::new(), 0);
        for (at, mut app) in apps.into_iter().enumerate() {
            let place = if several { format!("({at})") } else { String::new() };
            let from = self.state.definition(&app.id).cloned();
            errors.extend(&place, validate(&app, &self.settings.role));
            errors.extend(&place, self.place_in_tree(&app.id));
            if let Err(others) = ports.assign(&mut app, from.as_deref(), &self.settings.service_ports) {
                errors.extend(&place, others);
            }
            let size = serde_json::to_vec(&render(&app)).map_or(usize::MAX, |text| text.len());
            if size > limits::DEFINITION_BYTES {
                let text =
                    format!("must not be larger than {} bytes, this has {size}", limits::DEFINITION_BYTES);
                errors.extend(&place, Errors::one("/", text));
            }
            bytes += size;
            let app = app.stamped(from.as_deref(), version);
            // What says the same as before is neither locked nor deployed.
            if from.as_ref().is_none_or(|from| from.version != app.version) {
                changes.insert(app.id.clone(), Change { from, to: Some(Arc::new(app)) });
            }
        }
        if bytes > limits::BODY_BYTES {
            errors.add(
                "/",
                format!("definitions changed at once must not exceed {} bytes", limits::BODY_BYTES),
            );
        }
        errors.or(()).map_err(Refusal::Invalid)?;
        let deployment = self.deploy(now, version, changes, victims, force)?;
        Ok((version, deployment))
    }

    /// A path is an app or a group, never both.
    fn place_in_tree(&self, id: &AppId) -> Errors {
        let mut errors = Errors::default();
        for other in self.state.definitions().map(|app| &app.id) {
            if id.contains(other) {
                errors.add("/id", format!("'{id}' is a group, because app '{other}' is in it"));
            } else if other.contains(id) {
                errors.add("/id", format!("'{other}' is an app, so there can be no app below it"));
            }
        }
        errors
    }
}

fn id_of(document: &wire::marathon::App) -> Result<AppId, Errors> {
    match &document.id {
        None => Err(Errors::one("/id", "is required")),
        Some(text) => {
            AppId::parse(text, &AppId::root()).map_err(|error| Errors::one("/id", error.to_string()))
        }
    }
}
