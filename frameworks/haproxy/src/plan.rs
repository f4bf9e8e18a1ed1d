//! What is wanted against what HAProxy does: the runtime commands that close the gap, and whether a reload is due.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::service::{Balance, Desired, Mode, Options, Routed, Server, Service};

/// What HAProxy does, as far as we know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    /// The services of the configuration in force, by name.
    pub services: BTreeMap<String, Service>,
    /// The servers of each backend, by name.
    pub backends: BTreeMap<String, BTreeMap<String, Standing>>,
}

/// A server as HAProxy has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub address: IpAddr,
    pub port: u16,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    Drain,
    /// No new connections, none kept: on its way out.
    Maintenance,
}

/// One change at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new server, taking connections at once: the feed already said it is healthy.
    Add { backend: String, server: String, address: IpAddr, port: u16, sticky: bool },
    /// A server that was being emptied takes connections again.
    Ready { backend: String, server: String },
    /// No new connections.
    Drain { backend: String, server: String },
    /// Gone: no new connections, and deleted when those it has have ended.
    Remove { backend: String, server: String },
}

/// What to do, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Names of services that are new, different, or no longer wanted: these need a reload.
    pub structural: Vec<String>,
}

/// Closes the gap. Additions go before drains and removals, so that a backend whose servers are replaced is never
/// empty in between. `touched` names the apps to look at: all others are known to have no gap; `None` looks at all.
pub fn plan(desired: &Desired, actual: &Actual, touched: Option<&BTreeSet<String>>) -> Plan {
    let mut plan = Plan::default();
    let (mut adds, mut drains, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    let mut wanted = BTreeMap::new();
    let services: Vec<&Arc<Vec<Routed>>> = match touched {
        Some(apps) => apps.iter().filter_map(|app| desired.get(app)).collect(),
        None => desired.values().collect(),
    };
    for routed in services.into_iter().flat_map(|services| services.iter()) {
        let name = &routed.service.name;
        wanted.insert(name, routed);
        if actual.services.get(name) != Some(&routed.service) {
            plan.structural.push(name.clone());
        }
        let Some(standing) = actual.backends.get(name) else { continue };
        for (server, want) in &routed.servers {
            match step(name, server, want, standing.get(server), &routed.service.options) {
                Some(step @ Step::Drain { .. }) => drains.push(step),
                Some(step) => adds.push(step),
                None => {}
            }
        }
    }
    for (backend, servers) in &actual.backends {
        let service = actual.services.get(backend);
        let looked_at = match (touched, service) {
            (Some(touched), Some(service)) => touched.contains(&service.app),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if !looked_at {
            continue;
        }
        let routed = wanted.get(backend);
        if routed.is_none() && service.is_some() {
            plan.structural.push(backend.clone());
        }
        for server in servers.keys() {
            if routed.is_none_or(|routed| !routed.servers.contains_key(server)) {
                removals.push(Step::Remove { backend: backend.clone(), server: server.clone() });
            }
        }
    }
    plan.steps = [adds, drains, removals].into_iter().flatten().collect();
    plan.structural.sort();
    plan
}

fn step(
    backend: &str,
    name: &str,
    want: &Server,
    standing: Option<&Standing>,
    options: &Options,
) -> Option<Step> {
    let (backend, server) = (backend.to_owned(), name.to_owned());
    match (standing.map(|standing| standing.state), want.draining) {
        // Nobody is connected to a server that was never there.
        (None, true) => None,
        (None, false) => {
            let (address, port) = (want.address, want.port);
            let sticky = options.sticky && options.mode == Mode::Http;
            Some(Step::Add { backend, server, address, port, sticky })
        }
        (Some(State::Ready), true) => Some(Step::Drain { backend, server }),
        (Some(State::Drain | State::Maintenance), false) => Some(Step::Ready { backend, server }),
        (Some(State::Ready), false) | (Some(State::Drain | State::Maintenance), true) => None,
    }
}

impl Step {
    /// The commands of the step. The pool's settings are spelled out because a server added at run time otherwise
    /// keeps no idle connections and opens one for each request.
    pub fn commands(&self) -> Vec<String> {
        match self {
            Self::Add { backend, server, address, port, sticky } => {
                let target = socket(*address, *port);
                let mut commands = vec![
                    format!("add server {backend}/{server} {target} pool-max-conn -1 pool-purge-delay 5s"),
                    format!("set server {backend}/{server} state ready"),
                ];
                if *sticky {
                    // After each addition: a server added later has no cookie, and clients would lose theirs.
                    commands.push(format!("enable dynamic-cookie backend {backend}"));
                }
                commands
            }
            Self::Ready { backend, server } => vec![format!("set server {backend}/{server} state ready")],
            Self::Drain { backend, server } => vec![format!("set server {backend}/{server} state drain")],
            Self::Remove { backend, server } => vec![
                format!("set server {backend}/{server} state maint"),
                format!("del server {backend}/{server}"),
            ],
        }
    }

    /// Notes that the step was done; a removal when the server is gone.
    pub fn note(&self, actual: &mut Actual) {
        match self {
            Self::Add { backend, server, address, port, .. } => {
                let standing = Standing { address: *address, port: *port, state: State::Ready };
                actual.backends.entry(backend.clone()).or_default().insert(server.clone(), standing);
            }
            Self::Ready { backend, server } => actual.set(backend, server, State::Ready),
            Self::Drain { backend, server } => actual.set(backend, server, State::Drain),
            Self::Remove { backend, server } => {
                if let Some(servers) = actual.backends.get_mut(backend) {
                    servers.remove(server);
                }
            }
        }
    }
}

impl Actual {
    pub fn set(&mut self, backend: &str, server: &str, state: State) {
        if let Some(standing) = self.backends.get_mut(backend).and_then(|servers| servers.get_mut(server)) {
            standing.state = state;
        }
    }

    /// What HAProxy does after it loaded a configuration with exactly this.
    pub fn loaded(desired: &Desired) -> Self {
        let mut actual = Self::default();
        for routed in desired.values().flat_map(|services| services.iter()) {
            let name = routed.service.name.clone();
            let standing = routed.servers.iter().map(|(name, server)| {
                let state = if server.draining { State::Maintenance } else { State::Ready };
                (name.clone(), Standing { address: server.address, port: server.port, state })
            });
            actual.backends.insert(name.clone(), standing.collect());
            actual.services.insert(name, routed.service.clone());
        }
        actual
    }
}

/// Whether HAProxy takes new servers for this algorithm only with consistent hashing.
pub fn hashes(balance: Balance) -> bool {
    matches!(balance, Balance::Source | Balance::Uri)
}

/// An address and port as HAProxy reads them.
pub fn socket(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}
