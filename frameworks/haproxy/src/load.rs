//! Getting a configuration into HAProxy: checked before it is loaded, verified after, and never at the cost of the
//! services that were fine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use model::time::Time;
use tracing::{info, warn};

use crate::files::{Files, FilesError, Saved};
use crate::limits::REJECTED_AGAIN;
use crate::plan::{Actual, plan};
use crate::process::{Haproxy, ProcessError};
use crate::render::{Renderer, TemplateError};
use crate::service::{Desired, Routed, Service};

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// A service that is left out, or left as it last was.
#[derive(Debug, Clone)]
struct Rejected {
    service: Service,
    reason: String,
    /// When to try again.
    again: Time,
}

/// Loads configurations and remembers what would not load.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) files: Arc<Files>,
    renderer: Renderer,
    rejected: BTreeMap<String, Rejected>,
    /// The text of the configuration file.
    text: Arc<str>,
    generation: u64,
}

impl Loader {
    pub(crate) fn new(files: Files, renderer: Renderer, generation: u64) -> Self {
        Self { files: Arc::new(files), renderer, rejected: BTreeMap::new(), text: Arc::default(), generation }
    }

    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The services left out, with the reason.
    pub(crate) fn rejected(&self) -> BTreeMap<String, String> {
        self.rejected.iter().map(|(name, rejected)| (name.clone(), rejected.reason.clone())).collect()
    }

    /// The fingerprint of a configuration's structure, which the running HAProxy tells.
    pub(crate) fn structure(&self, desired: &Desired) -> String {
        self.renderer.structure(services(desired))
    }

    /// When a rejected service is tried again.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.rejected.values().map(|rejected| rejected.again).min()
    }

    /// What is wanted without what would not load: such a service stands as it last was, or is left out. Changed
    /// ones, and those whose time has come, get another chance.
    pub(crate) fn admit(&mut self, now: Time, desired: &Desired, actual: &Actual) -> Desired {
        let wanted: BTreeMap<&str, &Service> =
            services(desired).map(|routed| (&*routed.service.name, &routed.service)).collect();
        self.rejected.retain(|name, rejected| {
            rejected.again > now && wanted.get(&**name).is_some_and(|service| **service == rejected.service)
        });
        let mut admitted = desired.clone();
        let apps: BTreeSet<&String> = self.rejected.values().map(|rejected| &rejected.service.app).collect();
        for app in apps {
            let Some(services) = desired.get(app) else { continue };
            let services: Vec<Routed> =
                services.iter().filter_map(|routed| self.substitute(routed, actual)).collect();
            admitted.insert(app.clone(), services.into());
        }
        admitted
    }

    fn substitute(&self, routed: &Routed, actual: &Actual) -> Option<Routed> {
        if !self.rejected.contains_key(&routed.service.name) {
            return Some(routed.clone());
        }
        let service = actual.services.get(&routed.service.name)?.clone();
        Some(Routed { service, servers: routed.servers.clone() })
    }

    fn reject(&mut self, now: Time, service: &Service, reason: String) {
        warn!(service = service.name, app = service.app, reason, "service not loaded");
        let again = now + REJECTED_AGAIN;
        let rejected = Rejected { service: service.clone(), reason, again };
        self.rejected.insert(service.name.clone(), rejected);
    }

    /// Loads what is wanted, into a running HAProxy or by starting one, without the services that cannot be. Gives
    /// what was loaded; `None` when nothing is left to load but what cannot be, unless the load is `forced`.
    ///
    /// # Errors
    /// HAProxy goes on as before, or does not run.
    pub(crate) async fn load(
        &mut self,
        now: Time,
        desired: &Desired,
        actual: &Actual,
        haproxy: &mut Haproxy,
        forced: bool,
    ) -> Result<Option<Desired>, LoadError> {
        let needless = |admitted: &Desired, haproxy: &Haproxy| {
            haproxy.is_running() && !forced && plan(admitted, actual, None).structural.is_empty()
        };
        self.test_ports(now, desired, actual);
        let mut admitted = self.admit(now, desired, actual);
        if needless(&admitted, haproxy) {
            return Ok(None);
        }
        if let Err(error) = self.check(&admitted, haproxy).await {
            let LoadError::Process(ProcessError::Invalid(reason)) = error else { return Err(error) };
            for (service, reason) in self.offenders(&admitted, reason, haproxy).await? {
                self.reject(now, &service, reason);
            }
            admitted = self.admit(now, desired, actual);
            if needless(&admitted, haproxy) {
                return Ok(None);
            }
            self.check(&admitted, haproxy).await?;
        }
        self.files.promote()?;
        let done = if haproxy.is_running() { haproxy.reload().await } else { haproxy.start().await };
        if let Err(error) = done {
            self.files.restore()?;
            for routed in services(&admitted) {
                if actual.services.get(&routed.service.name) != Some(&routed.service) {
                    self.reject(now, &routed.service, error.to_string());
                }
            }
            return Err(error.into());
        }
        self.text = self.renderer.render(services(&admitted))?.into();
        let saved = self.next_save(&admitted);
        self.files.save(&saved)?;
        info!(services = services(&admitted).count(), "configuration loaded");
        Ok(Some(admitted))
    }

    async fn check(&self, desired: &Desired, haproxy: &Haproxy) -> Result<(), LoadError> {
        self.files.write_candidate(&self.renderer.render(services(desired))?)?;
        haproxy.validate(&self.files.candidate()).await?;
        Ok(())
    }

    /// Rejects new services whose port somebody else has: HAProxy would refuse the whole configuration for it.
    fn test_ports(&mut self, now: Time, desired: &Desired, actual: &Actual) {
        let held: BTreeSet<_> =
            actual.services.values().map(|service| (service.bind, service.port)).collect();
        for routed in services(desired) {
            let service = &routed.service;
            if held.contains(&(service.bind, service.port)) || self.rejected.contains_key(&service.name) {
                continue;
            }
            if let Err(error) = TcpListener::bind((service.bind, service.port)) {
                let reason = match error.kind() {
                    io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
                    _ => error.to_string(),
                };
                let reason = format!("cannot listen on {}:{}: {reason}", service.bind, service.port);
                self.reject(now, service, reason);
            }
        }
    }

    /// Finds the services that make a configuration invalid by halving: with one bad among a thousand that is
    /// twenty checks, not a thousand.
    async fn offenders(
        &self,
        desired: &Desired,
        reason: String,
        haproxy: &Haproxy,
    ) -> Result<Vec<(Service, String)>, LoadError> {
        let all: Vec<&Routed> = services(desired).collect();
        let mut suspects = vec![(all, reason)];
        let mut found = Vec::new();
        while let Some((suspect, reason)) = suspects.pop() {
            if let [one] = suspect[..] {
                found.push((one.service.clone(), reason));
                continue;
            }
            let (left, right) = suspect.split_at(suspect.len() / 2);
            for half in [left, right] {
                self.files.write_candidate(&self.renderer.render(half.iter().copied())?)?;
                match haproxy.validate(&self.files.candidate()).await {
                    Ok(()) => {}
                    Err(ProcessError::Invalid(reason)) => suspects.push((half.to_vec(), reason)),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(found)
    }

    /// What to write after servers came and went, so that a HAProxy that has to be started again starts with them:
    /// a job for a thread that may wait for the disk. `None` when the file is up to date.
    ///
    /// # Errors
    /// The template.
    pub(crate) fn rewrite(
        &mut self,
        admitted: &Desired,
    ) -> Result<Option<impl FnOnce() -> Result<(), FilesError> + Send + 'static>, TemplateError> {
        let text: Arc<str> = self.renderer.render(services(admitted))?.into();
        if text == self.text {
            return Ok(None);
        }
        self.text = Arc::clone(&text);
        let saved = self.next_save(admitted);
        let files = Arc::clone(&self.files);
        Ok(Some(move || files.rewrite(&text, &saved)))
    }

    /// The file may not be what was last rendered.
    pub(crate) fn distrust_file(&mut self) {
        self.text = Arc::default();
    }

    /// Takes over what a running HAProxy was given by an earlier sidecar.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn adopt(&mut self) -> Result<(), LoadError> {
        self.text = self.files.read_configuration()?.into();
        Ok(())
    }

    fn next_save(&mut self, desired: &Desired) -> Saved {
        self.generation += 1;
        Saved { generation: self.generation, desired: desired.clone() }
    }
}

/// All services of all apps.
fn services(desired: &Desired) -> impl Iterator<Item = &Routed> {
    desired.values().flat_map(|services| services.iter())
}
