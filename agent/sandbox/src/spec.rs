//! What a container shall be.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ContainerId;
use crate::docker::DockerSpec;

/// Everything a launcher needs to start one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub id: ContainerId,
    pub command: Command,
    /// The whole environment of the command, in this order; nothing is inherited and nothing is added.
    pub environment: Vec<(String, String)>,
    /// Name or number of the user to run as; `None` is the agent's own user. Anything but the agent's own user needs root.
    pub user: Option<String>,
    /// Absolute path of the sandbox directory. Made, with its parents, when it is missing; the leaf belongs to `user`.
    /// `stdout` and `stderr` in it take the output (appended).
    pub sandbox: PathBuf,
    /// Where the command starts, relative to the sandbox or absolute; `None` is the sandbox.
    pub working_dir: Option<PathBuf>,
    pub limits: Limits,
    pub namespaces: Namespaces,
    pub rlimits: Vec<Rlimit>,
    /// Whether setuid programs keep their power in the container; `false` sets `no_new_privs`.
    pub may_gain_privileges: bool,
    /// To be made by Docker. Namespaces, users and `command` are then those of the image and of this.
    pub docker: Option<Box<DockerSpec>>,
}

impl ContainerSpec {
    /// A shell command in a sandbox, with everything else as an ordinary task has it: own PID and mount namespaces, no new
    /// privileges, no limits, an empty environment, the agent's user.
    pub fn shell(id: ContainerId, command: impl Into<String>, sandbox: impl Into<PathBuf>) -> Self {
        Self {
            id,
            command: Command::Shell(command.into()),
            environment: Vec::new(),
            user: None,
            sandbox: sandbox.into(),
            working_dir: None,
            limits: Limits::default(),
            namespaces: Namespaces::default(),
            rlimits: Vec::new(),
            may_gain_privileges: false,
            docker: None,
        }
    }
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// `/bin/sh -c` with this text.
    Shell(String),
    /// `program`, looked up in the `PATH` of the container's environment when it contains no slash, with `arguments` as its
    /// whole argument vector (the first is `argv[0]`; empty means just the program).
    Argv { program: String, arguments: Vec<String> },
}

/// What a container may use. `None` sets no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Its weight against others, in thousandths of a cpu: it gets at least so much when all compete.
    pub cpu_share_millis: Option<u64>,
    /// The most it ever gets, in thousandths of a cpu.
    pub cpu_quota_millis: Option<u64>,
    /// Memory including page cache, in bytes; more gets it killed. Not below [`crate::limits::MIN_MEMORY_BYTES`].
    pub memory_bytes: Option<u64>,
}

/// Which namespaces of its own a container shall have. What the kernel refuses is left out, see [`crate::Features`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Sees and reaches only its own processes; they all end with it.
    pub pid: bool,
    /// Its mounts are its own (and `/proc` shows only its own processes when it also has a PID namespace).
    pub mount: bool,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self { pid: true, mount: true }
    }
}

/// One resource limit (`setrlimit`); `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    pub resource: Resource,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    AddressSpace,
    Core,
    Cpu,
    Data,
    FileSize,
    Locks,
    LockedMemory,
    MessageQueue,
    Nice,
    OpenFiles,
    Processes,
    ResidentSet,
    RealtimePriority,
    RealtimeTime,
    PendingSignals,
    Stack,
}

/// How long a container has between SIGTERM and SIGKILL when nobody says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3);
