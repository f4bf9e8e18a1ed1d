//! The feed's picture of the cluster, and what it means for HAProxy. Pure.
//!
//! A whole list replaces the picture; an event changes one task in it at once, so that the way from "healthy" to
//! "routed" does not lead through a list of everything. What is to be routed is worked out again only for the app
//! that was touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::time::Time;
use wire::marathon::{AppInfo, Event};

use crate::app::{App, Health, Port, Task, state_ended};
use crate::labels::{Labels, Problem};
use crate::limits::UNKNOWN_HEALTH;
use crate::service::{Desired, Routed, Server, Service, backend_name, server_name};

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The groups of apps to route; `*` means all.
    pub groups: Vec<String>,
    /// Where service ports are bound unless a label says otherwise.
    pub bind: IpAddr,
}

/// What an event needs beyond itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// The event tells of something only a read of this app can complete.
    App(String),
    /// Likewise for everything.
    Everything,
}

/// The picture.
#[derive(Debug, Clone)]
pub struct View {
    settings: Settings,
    apps: BTreeMap<String, App>,
    desired: Desired,
    /// Service ports and the app that has each: the first to come keeps it.
    claims: BTreeMap<u16, String>,
    /// Apps that found a port taken.
    losers: BTreeSet<String>,
    problems: BTreeMap<String, Vec<Problem>>,
    /// Host names and what they resolve to; `None` while that is not known.
    hosts: BTreeMap<String, Option<IpAddr>>,
    /// Host names nobody was asked to resolve yet.
    unresolved: Vec<String>,
    /// Apps with a draining task, with one not yet ready, with a verdict kept from before: looked at after every
    /// event, so they are not searched for among all.
    draining: BTreeSet<String>,
    unready: BTreeSet<String>,
    kept: BTreeSet<String>,
    /// Tasks that took traffic before the sidecar started, until the first list.
    before: BTreeSet<String>,
    /// Counts the changes of `desired`.
    changes: u64,
}

impl View {
    /// Goes on from what was routed before; it stays until a list says otherwise.
    pub fn new(settings: Settings, desired: Desired) -> Self {
        let routed = || desired.values().flat_map(|services| services.iter());
        let claims = routed().map(|routed| (routed.service.port, routed.service.app.clone())).collect();
        let before =
            routed().flat_map(|routed| routed.servers.values()).map(|server| server.task.clone()).collect();
        Self {
            settings,
            apps: BTreeMap::new(),
            claims,
            losers: BTreeSet::new(),
            problems: BTreeMap::new(),
            hosts: BTreeMap::new(),
            unresolved: Vec::new(),
            draining: BTreeSet::new(),
            unready: BTreeSet::new(),
            kept: BTreeSet::new(),
            before,
            changes: 0,
            desired,
        }
    }

    /// All that is to be routed.
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// A number that grows whenever `desired` changes.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What was wrong with the apps, by app.
    pub fn problems(&self) -> &BTreeMap<String, Vec<Problem>> {
        &self.problems
    }

    /// The host names to look up; each is told once.
    pub fn take_unresolved(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unresolved)
    }

    /// The known names, to be looked up again from time to time.
    pub fn forget_failed_hosts(&mut self) {
        self.hosts.retain(|_, address| address.is_some());
    }

    /// Tasks about to be killed.
    pub fn draining(&self) -> impl Iterator<Item = &String> {
        let apps = self.draining.iter().filter_map(|id| self.apps.get(id));
        apps.flat_map(|app| &app.tasks).filter(|(_, task)| task.draining).map(|(id, _)| id)
    }

    /// Draining tasks that have no server.
    pub fn draining_unrouted(&self) -> Vec<String> {
        let mut tasks = Vec::new();
        for id in &self.draining {
            let services = self.desired.get(id).into_iter().flat_map(|services| services.iter());
            let servers = services.flat_map(|routed| routed.servers.values());
            let routed: BTreeSet<&str> = servers.map(|server| &*server.task).collect();
            let draining = self.apps.get(id).into_iter().flat_map(|app| &app.tasks);
            let draining = draining.filter(|(task, state)| state.draining && !routed.contains(&***task));
            tasks.extend(draining.map(|(task, _)| task.clone()));
        }
        tasks
    }

    /// Apps with an instance that is not yet ready.
    pub fn unready(&self) -> impl Iterator<Item = &String> {
        self.unready.iter()
    }

    /// Takes a whole list. Apps in `keep` could not be read and stay as they are.
    pub fn replace(&mut self, now: Time, apps: &[AppInfo], keep: &BTreeSet<String>) {
        let listed: BTreeMap<String, App> = apps.iter().filter_map(App::read).collect();
        let known: BTreeSet<String> = self.apps.keys().chain(self.desired.keys()).cloned().collect();
        for id in known {
            if !listed.contains_key(&id) && !keep.contains(&id) {
                self.remove(&id, now);
            }
        }
        for (id, app) in listed {
            self.put(now, id, app);
        }
        self.before.clear();
    }

    /// Takes the answer of a read of one app; `None` when there is no such app.
    pub fn update(&mut self, now: Time, id: &str, info: Option<&AppInfo>) {
        match info.and_then(App::read) {
            Some((id, app)) => self.put(now, id, app),
            None => self.remove(id, now),
        }
        self.retry_losers(now);
    }

    fn put(&mut self, now: Time, id: String, mut app: App) {
        let old = self.apps.get(&id);
        for (name, task) in &mut app.tasks {
            if task.health != Health::Unknown {
                continue;
            }
            // Nobody knows this task's health, but somebody did: that verdict holds for a while.
            task.health = match old.and_then(|old| old.tasks.get(name)).map(|task| task.health) {
                Some(Health::Alive) => Health::WasAlive { since: now },
                Some(was @ Health::WasAlive { .. }) => was,
                None if self.before.contains(name) => Health::WasAlive { since: now },
                _ => Health::Unknown,
            };
        }
        self.apps.insert(id.clone(), app);
        self.refresh(&id, now);
    }

    fn remove(&mut self, id: &str, now: Time) {
        self.apps.remove(id);
        self.refresh(id, now);
    }

    /// Takes an event.
    pub fn event(&mut self, now: Time, event: &Event) -> Need {
        match event {
            Event::StatusUpdateEvent { app_id, task_id, task_status, host, ports, ip_addresses, .. } => {
                let address = ip_addresses.first().and_then(|address| address.ip_address.parse().ok());
                if state_ended(task_status) {
                    self.leave_saved(app_id, task_id);
                }
                self.task_changed(now, app_id, task_id, |task| {
                    task_status.clone_into(&mut task.state);
                    if !host.is_empty() {
                        host.clone_into(&mut task.host);
                        ports.clone_into(&mut task.ports);
                    }
                    task.address = address.or(task.address);
                })
            }
            Event::HealthStatusChangedEvent { app_id, task_id, alive, .. } => {
                if !*alive {
                    self.leave_saved(app_id, task_id);
                }
                let health = if *alive { Health::Alive } else { Health::Dead };
                #[cfg(feature = "mutants")]
                let health =
                    if mutant::planted("ill-instances-stay-routed") { Health::Alive } else { health };
                self.known_task_changed(now, app_id, task_id, |task| task.health = health)
            }
            Event::InstanceDrainingEvent { app_id, task_id, .. } => {
                self.known_task_changed(now, app_id, task_id, |task| task.draining = true)
            }
            Event::AppTerminatedEvent { app_id } => Need::App(app_id.clone()),
            Event::ApiPostEvent { app_definition, .. } => match &app_definition.id {
                Some(id) => Need::App(id.clone()),
                None => Need::Everything,
            },
            Event::GroupChangeSuccess { .. } | Event::DeploymentSuccess { .. } => Need::Everything,
            _ => Need::Nothing,
        }
    }

    /// A task has ended or fallen ill, and perhaps its app was routed before this start and was not listed since. Whatever
    /// the list will say of the app, nothing may lead to that task until it does.
    fn leave_saved(&mut self, id: &str, task: &str) {
        self.before.remove(task);
        if self.apps.contains_key(id) {
            return;
        }
        let Some(saved) = self.desired.get_mut(id) else { return };
        let left = |server: &Server| *server.task == *task;
        if saved.iter().any(|routed| routed.servers.values().any(left)) {
            for routed in Arc::make_mut(saved) {
                routed.servers.retain(|_, server| !left(server));
            }
            self.changes += 1;
        }
    }

    fn known_task_changed(&mut self, now: Time, app: &str, task: &str, edit: impl FnOnce(&mut Task)) -> Need {
        let known = self.apps.get(app).is_some_and(|app| app.tasks.contains_key(task));
        if !known {
            return Need::App(app.to_owned());
        }
        self.task_changed(now, app, task, edit)
    }

    fn task_changed(&mut self, now: Time, id: &str, task: &str, edit: impl FnOnce(&mut Task)) -> Need {
        let Some(app) = self.apps.get_mut(id) else { return Need::App(id.to_owned()) };
        let readiness = app.readiness;
        let entry = app.tasks.entry(task.to_owned());
        let changed = entry.or_insert_with(|| Task { ready: !readiness, ..Task::default() });
        edit(changed);
        #[cfg(feature = "mutants")]
        if mutant::planted("ended-instances-stay-routed") {
            changed.state.clear();
        }
        if state_ended(&changed.state) {
            app.tasks.remove(task);
        }
        self.refresh(id, now);
        Need::Nothing
    }

    /// A host name was looked up. A failure keeps the address known before.
    pub fn resolved(&mut self, now: Time, host: &str, address: Option<IpAddr>) {
        let Some(known) = self.hosts.get_mut(host) else { return };
        if address.is_none() || *known == address {
            return;
        }
        *known = address;
        let touched = self.apps.iter().filter(|(_, app)| app.tasks.values().any(|task| task.host == host));
        for id in touched.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.refresh(&id, now);
        }
    }

    /// When a verdict kept from before runs out next.
    pub fn next_deadline(&self) -> Option<Time> {
        let tasks = self.kept.iter().filter_map(|id| self.apps.get(id)).flat_map(|app| app.tasks.values());
        let kept = tasks.filter_map(|task| match task.health {
            Health::WasAlive { since } => Some(since + UNKNOWN_HEALTH),
            _ => None,
        });
        kept.min()
    }

    /// Lets verdicts run out. An app whose every instance would go keeps them all: nothing was said against them.
    pub fn expire(&mut self, now: Time) {
        let late = |task: &Task| match task.health {
            Health::WasAlive { since } => now.since(since) >= UNKNOWN_HEALTH,
            _ => false,
        };
        let mut touched = Vec::new();
        for (id, app) in self.apps.iter_mut().filter(|(id, _)| self.kept.contains(*id)) {
            let others = app.tasks.values().any(|task| task.runs() && !late(task) && is_healthy(app, task));
            for task in app.tasks.values_mut().filter(|task| late(task)) {
                task.health = if others { Health::Unknown } else { Health::WasAlive { since: now } };
                touched.push(id.clone());
            }
        }
        for id in touched {
            self.refresh(&id, now);
        }
    }

    /// Works out again what is to be routed for an app.
    fn refresh(&mut self, id: &str, now: Time) {
        let (services, problems) = match self.apps.remove(id) {
            Some(app) => {
                let result = self.route(id, &app);
                self.apps.insert(id.to_owned(), app);
                result
            }
            None => (Vec::new(), Vec::new()),
        };
        self.note(id);
        let ports: BTreeSet<u16> = services.iter().map(|routed| routed.service.port).collect();
        let before = self.claims.len();
        self.claims.retain(|port, owner| owner != id || ports.contains(port));
        let freed = self.claims.len() < before;
        if problems.is_empty() {
            self.problems.remove(id);
        } else {
            self.problems.insert(id.to_owned(), problems);
        }
        let old = self.desired.get(id);
        if old.map_or(&[][..], |old| &old[..]) != services {
            self.changes += 1;
            if services.is_empty() {
                self.desired.remove(id);
            } else {
                self.desired.insert(id.to_owned(), Arc::new(services));
            }
        }
        if freed {
            self.retry_losers(now);
        }
    }

    fn note(&mut self, id: &str) {
        let app = self.apps.get(id);
        let any = |test: fn(&Task) -> bool| app.is_some_and(|app| app.tasks.values().any(test));
        let kept = app.is_some_and(|app| app.has_checks)
            && any(|task| matches!(task.health, Health::WasAlive { .. }));
        for (set, member) in [
            (&mut self.draining, any(|task| task.draining)),
            (&mut self.unready, any(|task| !task.ready)),
            (&mut self.kept, kept),
        ] {
            if member {
                set.insert(id.to_owned());
            } else {
                set.remove(id);
            }
        }
    }

    /// Gives apps that found a port taken another chance.
    fn retry_losers(&mut self, now: Time) {
        for id in std::mem::take(&mut self.losers) {
            if self.apps.contains_key(&id) {
                self.refresh(&id, now);
            }
        }
    }

    fn route(&mut self, id: &str, app: &App) -> (Vec<Routed>, Vec<Problem>) {
        let labels = app.labels.clone();
        let mut labels = Labels::new(&labels);
        let mut problems = Vec::new();
        let mut services = Vec::new();
        for (index, port) in app.ports.iter().enumerate() {
            if !labels.in_groups(index, &self.settings.groups) || !labels.enabled(index) {
                continue;
            }
            let number = labels.port(index).unwrap_or(port.service_port);
            if number == 0 {
                continue;
            }
            let owner = self.claims.entry(number).or_insert_with(|| id.to_owned());
            if owner != id {
                let reason = format!("service port {number} is routed to {owner}");
                problems.push(Problem { field: format!("ports[{index}]"), reason });
                self.losers.insert(id.to_owned());
                continue;
            }
            let service = Service {
                app: id.to_owned(),
                index,
                name: backend_name(id, number),
                bind: labels.bind_address(index).unwrap_or(self.settings.bind),
                port: number,
                options: labels.options(index, port.http_check),
            };
            if services.iter().any(|routed: &Routed| routed.service.port == number) {
                let reason = format!("service port {number} is given twice");
                problems.push(Problem { field: format!("ports[{index}]"), reason });
                continue;
            }
            let servers = self.servers(app, port);
            services.push(Routed { service, servers });
        }
        problems.extend(labels.into_problems());
        (services, problems)
    }

    fn servers(&mut self, app: &App, port: &Port) -> BTreeMap<String, Server> {
        let mut servers = BTreeMap::new();
        for (id, task) in &app.tasks {
            if !task.runs() || !task.ready || !is_healthy(app, task) {
                continue;
            }
            let target = if app.own_address {
                task.address.zip(port.container_port)
            } else {
                let number = port.host_index.and_then(|index| task.ports.get(index)).copied();
                self.address(&task.host).zip(number)
            };
            let Some((address, number)) = target.filter(|(_, number)| *number > 0) else { continue };
            let server = Server { task: id.clone(), address, port: number, draining: task.draining };
            servers.insert(server_name(id, &task.host, number), server);
        }
        servers
    }

    fn address(&mut self, host: &str) -> Option<IpAddr> {
        if let Ok(address) = host.parse() {
            return Some(address);
        }
        if let Some(known) = self.hosts.get(host) {
            return *known;
        }
        self.hosts.insert(host.to_owned(), None);
        self.unresolved.push(host.to_owned());
        None
    }
}

fn is_healthy(app: &App, task: &Task) -> bool {
    #[cfg(feature = "mutants")]
    if mutant::planted("unknown-health-is-taken-for-good") && task.health == Health::Unknown {
        return true;
    }
    !app.has_checks || matches!(task.health, Health::Alive | Health::WasAlive { .. })
}
