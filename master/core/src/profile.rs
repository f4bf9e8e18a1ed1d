//! What the core reads in a `FrameworkInfo`: once, when it arrives. Texts as section 11.6 of the specification has
//! them, since tools match some.

use std::collections::{BTreeMap, BTreeSet};

use model::id;
use model::limits;
use model::quantity::Quantity;
use model::resources::Name;
use model::role::{Role, RoleError};
use model::time::{Span, SpanError};
use wire::v1::FrameworkInfo;
use wire::v1::framework_info::capability::Type;

use crate::alloc::Minimum;
use crate::snapshot::Form;

/// A framework as the leader and the allocator see it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Profile {
    /// Without MULTI_ROLE exactly one.
    pub roles: BTreeSet<Role>,
    pub capabilities: Capabilities,
    /// How long it may be away before it is removed with its tasks.
    pub failover_timeout: Span,
    /// Roles in which it wants other offers than the usual ones.
    pub minimums: BTreeMap<Role, Minimum>,
}

/// What a framework understands (spec mesos-v1, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub revocable: bool,
    pub task_killing: bool,
    pub gpu: bool,
    pub shared: bool,
    pub partition_aware: bool,
    pub multi_role: bool,
    pub refinement: bool,
    pub region_aware: bool,
}

impl Capabilities {
    fn read(info: &FrameworkInfo) -> Self {
        let mut all = Self::default();
        for capability in &info.capabilities {
            // What a newer framework can do and we do not know is no reason to refuse it.
            let Some(kind) = capability.r#type.and_then(|kind| Type::try_from(kind).ok()) else { continue };
            match kind {
                Type::Unknown => {}
                Type::RevocableResources => all.revocable = true,
                Type::TaskKillingState => all.task_killing = true,
                Type::GpuResources => all.gpu = true,
                Type::SharedResources => all.shared = true,
                Type::PartitionAware => all.partition_aware = true,
                Type::MultiRole => all.multi_role = true,
                Type::ReservationRefinement => all.refinement = true,
                Type::RegionAware => all.region_aware = true,
            }
        }
        all
    }
}

impl Profile {
    /// Reads a framework's description.
    ///
    /// # Errors
    /// The sentence that goes into the ERROR event or the 400.
    pub fn read(info: &FrameworkInfo) -> Result<Self, String> {
        let capabilities = Capabilities::read(info);
        let roles = roles(info, capabilities.multi_role)?;
        if let Some(id) = &info.id {
            id::check(&id.value).map_err(|error| format!("'FrameworkInfo.id' is invalid: {error}"))?;
        }
        let minimums = minimums(info, &roles)?;
        Ok(Self { roles, capabilities, failover_timeout: failover_timeout(info)?, minimums })
    }

    #[must_use]
    pub fn form(&self) -> Form {
        Form { multi_role: self.capabilities.multi_role, refinement: self.capabilities.refinement }
    }

    /// Reads the roles a call names, which must be among the framework's.
    ///
    /// # Errors
    /// The first role that is not.
    pub fn own_roles(&self, names: &[String]) -> Result<BTreeSet<Role>, String> {
        names
            .iter()
            .map(|name| {
                let own = name.parse::<Role>().ok().filter(|role| self.roles.contains(role));
                own.ok_or_else(|| name.clone())
            })
            .collect()
    }
}

fn roles(info: &FrameworkInfo, multi_role: bool) -> Result<BTreeSet<Role>, String> {
    if !multi_role {
        if !info.roles.is_empty() {
            return Err(
                "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".into()
            );
        }
        let name = info.role.as_deref().unwrap_or("*");
        let role = parse(name).map_err(|text| format!("'FrameworkInfo.role' is not a valid role: {text}"))?;
        return Ok(BTreeSet::from([role]));
    }
    if info.role.is_some() {
        return Err("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into());
    }
    if info.roles.len() > crate::limits::FRAMEWORK_ROLES {
        return Err(format!("'FrameworkInfo.roles' has more than {} items", crate::limits::FRAMEWORK_ROLES));
    }
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&str> =
        info.roles.iter().map(String::as_str).filter(|role| !seen.insert(*role)).collect();
    if !twice.is_empty() {
        let items = twice.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("'FrameworkInfo.roles' contains duplicate items: {{ {items} }}"));
    }
    let parsed = info.roles.iter().map(|name| parse(name));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|text| format!("'FrameworkInfo.roles' contains invalid role: {text}"))
}

/// Reads a role name, with the sentences schedulers know.
///
/// # Errors
/// The rule it breaks.
pub(crate) fn parse(name: &str) -> Result<Role, String> {
    name.parse().map_err(|error| match error {
        RoleError::Empty => "Role names cannot be the empty string".to_owned(),
        RoleError::Component { role, component } => {
            format!("Role '{role}' cannot include '{component}' as a component")
        }
        RoleError::Slash(role) if role.starts_with('/') => format!("Role '{role}' cannot start with a slash"),
        RoleError::Slash(role) if role.ends_with('/') => format!("Role '{role}' cannot end with a slash"),
        RoleError::Slash(role) => format!("Role '{role}' cannot contain two adjacent slashes"),
        RoleError::Dash(role) => format!("Role '{role}' cannot have a component that begins with a dash"),
        RoleError::Character(role) => format!("Role '{role}' cannot contain backspace or whitespace"),
        RoleError::TooLong(bytes) => {
            format!("Role names cannot be longer than {} bytes, this one has {bytes}", limits::ROLE_BYTES)
        }
    })
}

/// The least an offer must contain, role by role. A filter without any set of amounts lets everything through.
fn minimums(info: &FrameworkInfo, roles: &BTreeSet<Role>) -> Result<BTreeMap<Role, Minimum>, String> {
    let mut minimums = BTreeMap::new();
    for (name, filters) in &info.offer_filters {
        let Some(role) = roles.iter().find(|role| role.as_str() == name) else {
            return Err(format!(
                "'FrameworkInfo.offer_filters' names role '{name}', which is not among its roles"
            ));
        };
        let Some(least) = &filters.min_allocatable_resources else { continue };
        let mut sets = Vec::new();
        for set in &least.quantities {
            let mut amounts = Vec::new();
            for (resource, amount) in &set.quantities {
                let quantity = Quantity::from_f64(amount.value).map_err(|error| {
                    format!("'FrameworkInfo.offer_filters' of role '{name}': '{resource}' {error}")
                })?;
                amounts.push((Name::from(resource.as_str()), quantity));
            }
            sets.push(amounts);
        }
        minimums.insert(role.clone(), Minimum(sets));
    }
    Ok(minimums)
}

/// A negative one is taken and acts like none, as schedulers of old have it.
fn failover_timeout(info: &FrameworkInfo) -> Result<Span, String> {
    let seconds = info.failover_timeout.unwrap_or(0.0);
    if seconds < 0.0 {
        return Ok(Span::ZERO);
    }
    Span::from_secs_f64(seconds).map_err(|error| match error {
        SpanError::TooLarge(_) => "'FrameworkInfo.failover_timeout' is too large".to_owned(),
        error => format!("'FrameworkInfo.failover_timeout' {error}"),
    })
}
