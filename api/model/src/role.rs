//! Role paths: `eng/web` is a child of `eng` (spec mesos-v1, section 9.2).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits;

/// A valid role: `*`, or non-empty components joined by `/`.
///
/// The order is that of the tree: a role is directly followed by its descendants, which plain text order would not
/// give (`a-b` sorts between `a` and `a/b` as text).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Role(Arc<str>);

/// Which rule a role name breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    #[error("Role names cannot be the empty string")]
    Empty,
    #[error("Role names cannot be longer than {max} bytes, this one has {0}", max = limits::ROLE_BYTES)]
    TooLong(usize),
    #[error("Role '{0}' cannot start or end with a slash, nor contain two adjacent ones")]
    Slash(String),
    #[error("Role '{role}' cannot include '{component}' as a component")]
    Component { role: String, component: String },
    #[error("Role '{0}' cannot include a component that starts with '-'")]
    Dash(String),
    #[error("Role '{0}' cannot contain white space or control characters")]
    Character(String),
}

impl Role {
    /// The default role `*`, to which nothing can be reserved.
    pub fn any() -> Self {
        Self("*".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The enclosing role, `None` at top level.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// The enclosing roles, from the nearest outwards.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// The outermost role on the path, which is the one that may have a quota.
    pub fn top(&self) -> Self {
        match self.0.split_once('/') {
            Some((top, _)) => Self(top.into()),
            None => self.clone(),
        }
    }

    /// Whether `self` strictly encloses `other`.
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        if text == "*" {
            return Ok(Self::any());
        }
        if text.is_empty() {
            return Err(RoleError::Empty);
        }
        if text.len() > limits::ROLE_BYTES {
            return Err(RoleError::TooLong(text.len()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(RoleError::Character(text.escape_debug().to_string()));
        }
        for component in text.split('/') {
            match component {
                "" => return Err(RoleError::Slash(text.into())),
                "." | ".." | "*" => {
                    return Err(RoleError::Component { role: text.into(), component: component.into() });
                }
                _ if component.starts_with('-') => return Err(RoleError::Dash(text.into())),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }
}

impl Ord for Role {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.components().cmp(other.components())
    }
}

impl PartialOrd for Role {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<str> for Role {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn rules_of_names() {
        for good in ["*", "eng", "eng/web", "a.b", "a-b", "a*b", "...", "\u{e9}t\u{e9}"] {
            assert_eq!(role(good).as_str(), good);
        }
        let refused = |text: &str| text.parse::<Role>().unwrap_err();
        assert_eq!(refused(""), RoleError::Empty);
        assert_eq!(refused(&"r".repeat(limits::ROLE_BYTES + 1)), RoleError::TooLong(limits::ROLE_BYTES + 1));
        for bad in ["/", "/a", "a/", "a//b"] {
            assert_eq!(refused(bad), RoleError::Slash(bad.into()));
        }
        for bad in [".", "..", "a/..", "a/*", "*/a", "./a"] {
            assert!(matches!(refused(bad), RoleError::Component { .. }), "{bad}");
        }
        assert_eq!(refused("a/-b"), RoleError::Dash("a/-b".into()));
        for bad in ["a b", "a\tb", "a\u{8}", "a\u{a0}b"] {
            assert!(matches!(refused(bad), RoleError::Character(_)), "{bad:?}");
        }
    }

    #[test]
    fn kinship() {
        assert!(role("a").is_ancestor_of(&role("a/b/c")));
        assert!(!role("a").is_ancestor_of(&role("a")));
        assert!(!role("a").is_ancestor_of(&role("ab/c")));
        let up: Vec<_> = role("a/b/c").ancestors().collect();
        assert_eq!(up, [role("a/b"), role("a")]);
        assert_eq!(role("a/b/c").top(), role("a"));
        assert_eq!(role("*").top(), Role::any());
    }

    #[test]
    fn order_keeps_subtrees_together() {
        let mut roles: Vec<_> = ["a/b", "a-b", "b", "a", "a/c", "*"].into_iter().map(role).collect();
        roles.sort();
        let texts: Vec<_> = roles.iter().map(Role::as_str).collect();
        assert_eq!(texts, ["*", "a", "a/b", "a/c", "a-b", "b"]);
    }
}
