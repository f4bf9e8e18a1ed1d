//! What a framework's principal may do: in which roles it subscribes, and as whom its tasks run (spec mesos-v1, sections
//! 1.13 and 11.5).
//!
//! It is said once, when a master starts, and says nothing of principals that may do everything.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use model::role::{Role, RoleError};
use wire::v1::{FrameworkInfo, TaskInfo};

/// Roles that somebody may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleScope {
    /// This one: `eng`.
    Exactly(Role),
    /// All within it, at any depth: `eng/*`.
    Within(Role),
}

impl FromStr for RoleScope {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text.strip_suffix("/*") {
            Some(parent) => parent.parse().map(Self::Within),
            None => text.parse().map(Self::Exactly),
        }
    }
}

impl RoleScope {
    fn covers(&self, role: &Role) -> bool {
        match self {
            Self::Exactly(own) => own == role,
            Self::Within(parent) => parent.is_ancestor_of(role),
        }
    }
}

/// The bounds of one principal; `None` is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub roles: Option<Vec<RoleScope>>,
    pub users: Option<BTreeSet<String>>,
}

/// The bounds of all principals that have some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority(BTreeMap<String, Scope>);

impl FromIterator<(String, Scope)> for Authority {
    fn from_iter<I: IntoIterator<Item = (String, Scope)>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl Authority {
    fn scope(&self, framework: &FrameworkInfo) -> Option<&Scope> {
        self.0.get(framework.principal.as_deref()?)
    }

    /// Whether a framework may be in these roles.
    ///
    /// # Errors
    /// Names those that it may not.
    pub(crate) fn roles(&self, framework: &FrameworkInfo, roles: &BTreeSet<Role>) -> Result<(), String> {
        let Some(allowed) = self.scope(framework).and_then(|scope| scope.roles.as_ref()) else {
            return Ok(());
        };
        let foreign = roles.iter().filter(|role| !allowed.iter().any(|scope| scope.covers(role)));
        let foreign: Vec<String> = foreign.map(|role| format!("'{role}'")).collect();
        if foreign.is_empty() {
            return Ok(());
        }
        Err(format!("Not authorized to use roles {}", foreign.join(", ")))
    }

    /// Whether a framework may have this task launched, by the user that it would run as: its command's, or its
    /// executor's, or else the framework's.
    ///
    /// # Errors
    /// Names the user.
    pub(crate) fn task(&self, framework: &FrameworkInfo, task: &TaskInfo) -> Result<(), String> {
        let executor = task.executor.as_ref().and_then(|executor| executor.command.as_ref());
        let command = task.command.as_ref().or(executor);
        self.user(framework, command.and_then(|command| command.user.as_deref()))
    }

    /// As [`Self::task`], for what runs as `user` or else as the framework does.
    pub(crate) fn user(&self, framework: &FrameworkInfo, user: Option<&str>) -> Result<(), String> {
        let Some(allowed) = self.scope(framework).and_then(|scope| scope.users.as_ref()) else {
            return Ok(());
        };
        let user = user.filter(|user| !user.is_empty()).unwrap_or(&framework.user);
        if allowed.contains(user) {
            return Ok(());
        }
        Err(format!("Not authorized to launch as user '{user}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_with_a_star_is_all_within_and_not_the_role_itself() {
        let covers = |scope: &str, role: &str| {
            scope.parse::<RoleScope>().unwrap().covers(&role.parse::<Role>().unwrap())
        };
        assert!(covers("eng", "eng") && !covers("eng", "eng/web") && !covers("eng", "engineers"));
        assert!(covers("eng/*", "eng/web") && covers("eng/*", "eng/web/blue") && !covers("eng/*", "eng"));
        assert!("../up".parse::<RoleScope>().is_err() && "eng//*".parse::<RoleScope>().is_err());
    }
}
