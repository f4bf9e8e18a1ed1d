//! Names of containers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::MAX_ID_BYTES;

/// The name of one container on this machine, never used twice.
///
/// It names files and cgroups, so it is restricted to letters, digits, `-`, `_` and `.`, must not start with a dot, and has
/// at most [`MAX_ID_BYTES`] bytes. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

/// Why a text is not a container id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadId {
    #[error("a container id must not be empty")]
    Empty,
    #[error("a container id has at most {MAX_ID_BYTES} bytes, this one has {0}")]
    Long(usize),
    #[error("a container id must not start with a dot")]
    Dot,
    #[error("a container id consists of letters, digits, '-', '_' and '.', but this one contains {0:?}")]
    Character(char),
}

impl ContainerId {
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadId> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(BadId::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(BadId::Long(text.len()));
        }
        if text.starts_with('.') {
            return Err(BadId::Dot);
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
            Some(character) => Err(BadId::Character(character)),
            None => Ok(Self(text.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for ContainerId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::new(text)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        Self::new(text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        assert_eq!(ContainerId::new(""), Err(BadId::Empty));
        assert_eq!(ContainerId::new(".."), Err(BadId::Dot));
        assert_eq!(ContainerId::new("a/b"), Err(BadId::Character('/')));
        assert_eq!(ContainerId::new("a\0b"), Err(BadId::Character('\0')));
        assert_eq!(ContainerId::new("a".repeat(MAX_ID_BYTES + 1)), Err(BadId::Long(MAX_ID_BYTES + 1)));
        assert_eq!(ContainerId::new("web.6f-1_A").unwrap().as_str(), "web.6f-1_A");
    }
}
