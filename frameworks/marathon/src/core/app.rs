//! What a user wants to run: the definition of an app.

use std::collections::BTreeMap;

use model::quantity::Quantity;
use model::time::Span;

use super::constraint::Constraint;
use super::id::AppId;
use super::ratio::Ratio;
use super::version::Version;

/// A definition with every default filled in. Immutable once stored: a change makes a new version.
#[derive(Debug, Clone, PartialEq)]
pub struct AppDefinition {
    pub id: AppId,
    /// Run by `/bin/sh -c`; exclusive with `args`.
    pub cmd: Option<String>,
    /// Program and arguments, run without a shell.
    pub args: Vec<String>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub instances: u32,
    pub cpus: Quantity,
    /// Megabytes.
    pub mem: Quantity,
    /// Megabytes.
    pub disk: Quantity,
    pub executor: String,
    pub constraints: Vec<Constraint>,
    pub fetch: Vec<Fetch>,
    pub backoff: Backoff,
    pub health_checks: Vec<HealthCheck>,
    pub dependencies: Vec<AppId>,
    pub upgrade: UpgradeStrategy,
    pub labels: BTreeMap<String, String>,
    pub ports: Vec<PortDefinition>,
    /// Whether the service ports have to be the host ports too.
    pub require_ports: bool,
    /// Time between the polite and the forced end of a task; absent leaves it to the agent.
    pub kill_grace: Option<Span>,
    pub unreachable: Unreachable,
    pub kill_selection: KillSelection,
    pub role: String,
    pub accepted_resource_roles: Option<Vec<String>>,
    pub version: Version,
    pub last_scaling: Version,
    pub last_config_change: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub uri: String,
    pub extract: bool,
    pub executable: bool,
    pub cache: bool,
    pub dest_path: Option<String>,
}

/// How launches of a failing app are slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Span,
    pub factor: Ratio,
    pub maximum: Span,
}

/// Shares of the wanted instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpgradeStrategy {
    pub minimum_health: Ratio,
    pub maximum_over: Ratio,
}

/// A port instances listen on, known to the outside by its service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortDefinition {
    /// The service port; 0 until one is assigned.
    pub port: u16,
    pub protocol: String,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
}

/// What to do with instances on an agent nobody can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Wait for ever.
    Disabled,
    /// Replace after `inactive`, forget after `expunge`, both counted from when the agent was lost.
    After { inactive: Span, expunge: Span },
}

/// Which instance goes first when an app is scaled down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillSelection {
    YoungestFirst,
    OldestFirst,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub protocol: Protocol,
    pub path: Option<String>,
    pub port: Option<u16>,
    pub port_index: Option<usize>,
    /// Of a COMMAND check.
    pub command: Option<String>,
    /// Failures are ignored so long after the start, until the first success.
    pub grace: Span,
    pub interval: Span,
    pub timeout: Span,
    /// Failures in a row after which the instance is replaced; 0 means never.
    pub max_failures: u32,
    pub delay: Span,
    pub ignore_1xx: bool,
}

/// Kinds of checks. The MESOS kinds were once run in another place than the others; here every check runs beside
/// its task, and they differ only in how many failures they forgive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Https,
    Tcp,
    Command,
    MesosHttp,
    MesosHttps,
    MesosTcp,
}

impl Protocol {
    pub const NAMES: [(&'static str, Self); 7] = [
        ("HTTP", Self::Http),
        ("HTTPS", Self::Https),
        ("TCP", Self::Tcp),
        ("COMMAND", Self::Command),
        ("MESOS_HTTP", Self::MesosHttp),
        ("MESOS_HTTPS", Self::MesosHttps),
        ("MESOS_TCP", Self::MesosTcp),
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, protocol)| *protocol == self).map_or("", |(name, _)| name)
    }

    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::MesosHttp | Self::MesosHttps)
    }

    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::MesosHttps)
    }

    /// The number of failures in a row that kills, for a maximum above zero: the classic checks compare the count
    /// *before* a failure, and load balancers are configured to agree with that.
    pub fn fatal_failures(self, max: u32) -> u32 {
        match self {
            Self::Http | Self::Https | Self::Tcp => max.saturating_add(1),
            Self::Command | Self::MesosHttp | Self::MesosHttps | Self::MesosTcp => max,
        }
    }
}

/// The label that says there may never be two instances.
pub const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

impl AppDefinition {
    /// What an app is when nothing is said about it, but its id.
    pub fn with_defaults(id: AppId, role: &str) -> Self {
        Self {
            id,
            cmd: None,
            args: Vec::new(),
            user: None,
            env: BTreeMap::new(),
            instances: 1,
            cpus: Quantity::from_units(1),
            mem: Quantity::from_units(128),
            disk: Quantity::ZERO,
            executor: String::new(),
            constraints: Vec::new(),
            fetch: Vec::new(),
            backoff: Backoff {
                initial: Span::from_secs(1),
                factor: Ratio::from_millionths(1_150_000),
                maximum: Span::from_secs(300),
            },
            health_checks: Vec::new(),
            dependencies: Vec::new(),
            upgrade: UpgradeStrategy { minimum_health: Ratio::ONE, maximum_over: Ratio::ONE },
            labels: BTreeMap::new(),
            ports: vec![PortDefinition {
                port: 0,
                protocol: "tcp".to_owned(),
                name: Some("default".to_owned()),
                labels: BTreeMap::new(),
            }],
            require_ports: false,
            kill_grace: None,
            unreachable: Unreachable::After { inactive: Span::ZERO, expunge: Span::ZERO },
            kill_selection: KillSelection::YoungestFirst,
            role: role.to_owned(),
            accepted_resource_roles: None,
            version: Version::default(),
            last_scaling: Version::default(),
            last_config_change: Version::default(),
        }
    }

    /// Whether going from `self` to `other` needs new instances: any difference but in the number of instances and
    /// in what only orders deployments.
    pub fn needs_restart(&self, other: &Self) -> bool {
        let neutral = Self {
            instances: other.instances,
            dependencies: other.dependencies.clone(),
            version: other.version,
            last_scaling: other.last_scaling,
            last_config_change: other.last_config_change,
            ..self.clone()
        };
        neutral != *other
    }

    /// Whether the two say the same, whatever their versions.
    pub fn same_content(&self, other: &Self) -> bool {
        self.instances == other.instances
            && self.dependencies == other.dependencies
            && !self.needs_restart(other)
    }

    /// Stamps a changed definition with its version: `previous` is what it replaces, `now` the new version.
    #[must_use]
    pub fn stamped(mut self, previous: Option<&Self>, now: Version) -> Self {
        match previous {
            Some(previous) if self.same_content(previous) => {
                (self.version, self.last_scaling) = (previous.version, previous.last_scaling);
                self.last_config_change = previous.last_config_change;
            }
            Some(previous) if !previous.needs_restart(&self) => {
                self.version = now;
                self.last_scaling =
                    if self.instances == previous.instances { previous.last_scaling } else { now };
                self.last_config_change = previous.last_config_change;
            }
            _ => (self.version, self.last_scaling, self.last_config_change) = (now, now, now),
        }
        self
    }

    pub fn is_single_instance(&self) -> bool {
        self.labels.get(SINGLE_INSTANCE).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub fn has_health_checks(&self) -> bool {
        !self.health_checks.is_empty()
    }
}
