//! Commands run inside a container to see whether it is well.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::ProbeError;
use crate::{Command, ContainerId, ExitStatus};

/// A command to run inside a running container: in its namespaces, its cgroup and its sandbox directory, as its user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandProbe {
    pub container: ContainerId,
    pub command: Command,
    /// The whole environment of the command.
    pub environment: Vec<(String, String)>,
}

/// What runs commands inside the containers of one launcher.
pub trait CommandRunner: Send + Sync {
    /// Runs it to its end and gives its status, or kills it with all it started after `timeout`.
    fn run(
        &self,
        probe: CommandProbe,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ExitStatus, ProbeError>>;
}
