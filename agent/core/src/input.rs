//! What happens to the agent: the closed list of inputs.

use std::sync::Arc;

use model::id::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};
use model::time::{Span, Time};
use wire::v1;

use crate::change::Volume;
use crate::effect::{LinkId, ProbeId, Sandbox};
use crate::executor::{Call, ExecutorKey, StreamId};
use crate::health::Finding;
use crate::ids::Uuid;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A deadline passed.
    Wake,
    /// Records up to this number are on disk.
    Synced(u64),
    /// The upgrade of a dialled link was accepted.
    LinkUp(LinkId),
    LinkDown {
        link: LinkId,
        why: LinkDown,
    },
    FromMaster {
        link: LinkId,
        envelope: Envelope,
    },
    Fetched {
        container: ContainerId,
        result: Result<(), String>,
    },
    /// The command executes.
    Started {
        container: ContainerId,
        pid: u32,
    },
    /// The command was never executed.
    LaunchFailed {
        container: ContainerId,
        missing_program: bool,
        message: String,
    },
    /// The command ended and nothing of it is left.
    Exited {
        container: ContainerId,
        exit: Exit,
    },
    /// Nobody knows how it ended.
    ContainerLost {
        container: ContainerId,
        never_started: bool,
        message: String,
    },
    /// Every container asked for with `Recover` was reported.
    Recovered,
    Probed {
        probe: ProbeId,
        container: ContainerId,
        finding: Finding,
    },
    /// An executor says something; only after [`may_call`](crate::Agent::may_call) found nothing against it.
    Called {
        executor: ExecutorKey,
        call: Call,
    },
    /// The stream of an executor broke.
    StreamGone(StreamId),
    /// Used part of the disk under the sandboxes, in thousandths.
    Disk {
        used: u64,
    },
    /// The data of a destroyed volume are out of the way.
    VolumeRemoved(Volume),
    /// A sandbox found at start. Those of tasks held here are left alone, the others are garbage.
    Leftover {
        sandbox: Sandbox,
        since: Time,
    },
    /// The operator ends the process.
    Stop {
        kill_tasks: bool,
    },
}

/// How a link ended or failed to come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkDown {
    /// No connection, no upgrade, end of stream, bad frame: the text is for the log.
    Broken(String),
    /// This master is not the leader, and names it.
    Redirect(String),
    /// No leader is known, or the master is not ready.
    Unavailable,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub status: ExitStatus,
    /// The memory limit that ended it, in bytes.
    pub out_of_memory: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    /// The number and what `strsignal` calls it.
    Signal(i32, &'static str),
}

/// A frame of the master with the term of its sender.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub term: u64,
    pub order: Order,
}

#[derive(Debug, Clone)]
pub enum Order {
    Welcome {
        agent: AgentId,
        timeout: Span,
        removed: Vec<FrameworkId>,
        connected: Vec<FrameworkId>,
    },
    Refused {
        refusal: Refusal,
        message: String,
    },
    Ping {
        sequence: u64,
    },
    Run {
        framework: Arc<v1::FrameworkInfo>,
        task: Arc<v1::TaskInfo>,
    },
    RunGroup {
        framework: Arc<v1::FrameworkInfo>,
        executor: Arc<v1::ExecutorInfo>,
        /// Each with this executor.
        tasks: Vec<Arc<v1::TaskInfo>>,
    },
    Kill {
        framework: FrameworkId,
        task: TaskId,
        grace: Option<Span>,
    },
    Acknowledge {
        framework: FrameworkId,
        task: TaskId,
        uuid: Uuid,
    },
    Framework {
        info: Arc<v1::FrameworkInfo>,
        resend: bool,
    },
    /// The agent drains, or does so no more.
    Drain(Option<Drain>),
    ShutdownFramework {
        framework: FrameworkId,
    },
    ShutdownExecutor {
        framework: FrameworkId,
        executor: ExecutorId,
    },
    Message {
        framework: FrameworkId,
        executor: ExecutorId,
        data: Vec<u8>,
    },
    Operation {
        framework: Option<FrameworkId>,
        operation: Arc<v1::offer::Operation>,
        uuid: Uuid,
    },
    AcknowledgeOperation {
        uuid: Uuid,
    },
    Shutdown {
        message: String,
    },
}

/// What the master says of the agent's drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    pub config: v1::DrainConfig,
    pub since: Time,
}

/// Why a master does not take the agent in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NotLeader { leader: Option<String> },
    Gone,
    Duplicate,
    Busy { retry_after: Span },
    Invalid,
}
