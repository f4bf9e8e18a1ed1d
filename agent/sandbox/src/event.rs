//! What a launcher tells of its containers.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ContainerId, Signal};

/// What happened to a container. Per launched or recovered id there is at most one `Running`, then exactly one of `Failed`,
/// `Exited` and `Lost`, after which no process of the container is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The command is executing, as this process. `recovered`: it was found running by [`crate::Launcher::recover`].
    Running { id: ContainerId, pid: u32, recovered: bool },
    /// The command was never executed.
    Failed { id: ContainerId, error: LaunchError },
    /// The command ended, and all it left behind has been killed.
    Exited { id: ContainerId, exit: Exit },
    /// Nobody knows how it ended.
    Lost { id: ContainerId, why: Lost },
    /// Every container known to [`crate::Launcher::recover`] has had its `Running`, `Failed`, `Exited` or `Lost`, and unknown ones are being destroyed.
    Recovered,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub status: ExitStatus,
    /// A [`crate::Launcher::kill`] or [`crate::Launcher::destroy`] came before the end.
    pub killed: bool,
    /// The limit that ended it, if one did.
    pub limitation: Option<Limitation>,
    /// Processor time of all its processes.
    pub cpu: Duration,
    /// The largest resident set of any one of its processes, in bytes.
    pub max_rss_bytes: u64,
}

impl Exit {
    /// Whether the command ended with code 0.
    pub fn success(&self) -> bool {
        self.status == ExitStatus::Code(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Code(i32),
    Signal(Signal),
}

impl ExitStatus {
    /// The status as `wait(2)` encodes it.
    pub fn wait_status(self) -> i32 {
        match self {
            Self::Code(code) => (code & 0xff) << 8,
            Self::Signal(signal) => signal.number(),
        }
    }
}

/// "exited with status 3", "terminated with signal Killed".
impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => write!(f, "terminated with signal {}", signal.description()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limitation {
    /// The kernel killed a process of the container because it used more memory than its limit.
    Memory { limit_bytes: u64 },
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit_bytes } => write!(f, "memory limit of {} MiB exceeded", limit_bytes >> 20),
        }
    }
}

/// Why a command was never executed: the step that failed and the system's reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{message}")]
pub struct LaunchError {
    pub step: Step,
    /// `errno` of the failed call, 0 when there is none.
    pub errno: i32,
    /// A sentence naming what was attempted, on what, and why it failed.
    pub message: String,
}

/// The parts of a launch that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The request itself: too large, id in use, too many containers.
    Request,
    /// Making the processes.
    Fork,
    /// The sandbox directory and the files in it.
    Sandbox,
    /// The user is unknown or cannot be become.
    User,
    Cgroup,
    Namespaces,
    Rlimits,
    WorkingDir,
    /// The program does not exist or cannot be executed.
    Execute,
}

/// Why nobody knows how a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Lost {
    #[error("the container was never started")]
    NeverStarted,
    #[error(
        "the process holding the container was killed, or the machine was restarted, or how it ended could not be \
         written (a full disk?)"
    )]
    HolderDied,
}

/// What a container uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all its processes so far, in user and in kernel mode.
    pub cpu_user: Duration,
    pub cpu_system: Duration,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    pub processes: u32,
    /// Scheduling periods in which it ran, and in which its quota held it back; time held back.
    pub cpu_periods: u64,
    pub cpu_throttled_periods: u64,
    pub cpu_throttled: Duration,
    /// The limits in force.
    pub memory_limit_bytes: Option<u64>,
    pub cpu_limit_millis: Option<u64>,
}
