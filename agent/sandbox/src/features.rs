//! What this machine lets a launcher do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether something works here, and if not, the reason as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Support {
    /// It works, in this way ("cgroup v1", "yes").
    Yes(String),
    No(String),
}

impl Support {
    pub fn works(&self) -> bool {
        matches!(self, Self::Yes(_))
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes(how) => f.write_str(how),
            Self::No(reason) => write!(f, "no: {reason}"),
        }
    }
}

/// Found out once, at start. What does not work is left out of containers; a request for another user fails instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    pub cpu_limits: Support,
    pub memory_limits: Support,
    pub pid_namespace: Support,
    pub mount_namespace: Support,
    pub other_users: Support,
}
