//! Identifiers: newtypes over a shared string, so that copying one into a map, an effect and a log costs a counter.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// Why a text is not an id (spec mesos-v1, section 11.1). Schedulers see these texts, one of which is fixed by the
/// original's behaviour: that about characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("ID must not be empty")]
    Empty,
    #[error("ID must not be longer than {max} bytes, this one has {0}", max = limits::ID_BYTES)]
    TooLong(usize),
    #[error("ID must not be '.' or '..'")]
    Dots,
    #[error("'{0}' contains invalid characters")]
    Character(String),
}

/// Applies the rules every id chosen by a framework has to keep. Such ids become file names in sandboxes, hence
/// the refusal of separators and of the two special directory names.
pub fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > limits::ID_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    if text == "." || text == ".." {
        return Err(IdError::Dots);
    }
    if text.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
        return Err(IdError::Character(text.escape_debug().to_string()));
    }
    Ok(())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Made from any text with `From`; [`check`] is for the edge where a stranger chooses the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// As `From`, but applies [`check`] first.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text).map(|()| Self(text.into()))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // So that maps keyed by an id can be asked with a plain `&str`.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        // Quoted text alone: transcripts print many ids, and the type is nearly always clear from the field.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

ids! {
    /// A machine's agent, chosen by the master at its first registration.
    AgentId;
    /// A framework, chosen by the master at its first subscription.
    FrameworkId;
    /// An outstanding offer, chosen by the leader, never used again.
    OfferId;
    /// A task, chosen by its framework, unique among its framework's active tasks.
    TaskId;
    /// An executor, chosen by its framework, unique on one agent for one framework.
    ExecutorId;
    /// An operation whose result the framework wants to hear, unique in its framework.
    OperationId;
    /// A provider of resources beside the agent itself.
    ProviderId;
    /// A persistent volume, unique per role and agent.
    VolumeId;
}

/// A container: a name made by the agent at top level, one chosen by the framework below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    pub parent: Option<Arc<Self>>,
    pub value: Arc<str>,
}

impl ContainerId {
    pub fn child(self: &Arc<Self>, value: &str) -> Self {
        Self { parent: Some(Arc::clone(self)), value: value.into() }
    }

    /// The outermost container, which is the executor's own.
    pub fn root(&self) -> &Self {
        let mut at = self;
        while let Some(parent) = &at.parent {
            at = parent;
        }
        at
    }
}

impl From<&str> for ContainerId {
    fn from(value: &str) -> Self {
        Self { parent: None, value: value.into() }
    }
}

/// Names from the outermost inwards, joined by dots.
impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = &self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_ids() {
        assert_eq!(check(""), Err(IdError::Empty));
        assert_eq!(check(&"x".repeat(256)), Err(IdError::TooLong(256)));
        assert_eq!(check(&"x".repeat(255)), Ok(()));
        assert_eq!(check(".."), Err(IdError::Dots));
        assert_eq!(check("..."), Ok(()));
        for bad in ["a/b", "a\\b", "a\nb", "a\u{7f}b", "a\u{0}"] {
            assert!(matches!(check(bad), Err(IdError::Character(_))), "{bad:?}");
        }
        assert_eq!(check("web.instance-1._app.2"), Ok(()));
    }

    #[test]
    fn containers_nest() {
        let root = Arc::new(ContainerId::from("a"));
        let leaf = Arc::new(root.child("b")).child("c");
        assert_eq!(leaf.to_string(), "a.b.c");
        assert_eq!(leaf.root(), &*root);
    }
}
