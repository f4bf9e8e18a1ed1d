//! What the agent wants done: the closed list of outputs.

use std::sync::Arc;

use model::id::{ContainerId, ExecutorId, FrameworkId};
use model::resources::Bag;
use model::task::TaskState;
use model::time::Span;
use wire::v1;

use crate::change::Volume;
use crate::checkpoint::Record;
use crate::executor::{Event, StreamId};
use crate::health::Target;
use crate::operations::Operation;
use crate::spec::TaskSpec;
use crate::updates::Update;

/// One connection to a master, from its dial to its end. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// One run of a check, so that a late answer to an earlier one is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeId(pub u64);

/// The directory of one task: `sandboxes/<framework>/<name>`, and of a member of a group `tasks/<task>` below that of
/// its executor. All parts are valid file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sandbox {
    pub framework: FrameworkId,
    pub name: String,
    pub task: Option<String>,
}

impl Sandbox {
    pub fn new(framework: FrameworkId, name: impl Into<String>) -> Self {
        Self { framework, name: name.into(), task: None }
    }
}

/// A task, or an executor's process, with all that is needed to work on it.
#[derive(Debug, Clone)]
pub struct Job {
    pub container: ContainerId,
    pub sandbox: Sandbox,
    pub task: Arc<TaskSpec>,
    pub framework: Arc<v1::FrameworkInfo>,
    /// By which id its executor is known: a command task is its own.
    pub executor: ExecutorId,
    /// Whether `task` describes the process of a framework's own executor: its id is then the executor's.
    pub is_executor: bool,
}

/// A thing to do. The driver executes effects in order; results come back as inputs.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write `record`, then report [`Input::Synced`](crate::Input::Synced) with `seq` or a later number. Many
    /// records may share a sync.
    Checkpoint {
        seq: u64,
        record: Record,
    },
    /// Open a link; answered by `LinkUp` or `LinkDown`.
    Dial {
        link: LinkId,
        address: String,
    },
    /// Close the link after what was sent on it is written, within a second or so. No `LinkDown` is expected.
    Hangup {
        link: LinkId,
    },
    Send {
        link: LinkId,
        report: Report,
    },
    /// Fill the sandbox with the task's files; answered by `Fetched`.
    Fetch(Job),
    /// Stop fetching. The answer may still come and is ignored.
    CancelFetch {
        container: ContainerId,
    },
    /// Show the job's directories in its sandbox, whose process runs already or is played. Nobody waits for it: a task
    /// that misses its directory says so itself.
    Show(Job),
    /// Make the directory of a new volume, empty.
    MakeVolume(Volume),
    /// Remove a volume with its data; answered by `VolumeRemoved` once nobody can find them.
    RemoveVolume(Volume),
    /// Show the job's directories, then start the task's command; answered by container events.
    Launch(Job),
    /// SIGTERM now, SIGKILL after `grace`.
    Kill {
        container: ContainerId,
        grace: Span,
    },
    /// SIGKILL now.
    Destroy {
        container: ContainerId,
    },
    /// The end of the container is on disk: the launcher need not keep it any longer.
    Forget {
        container: ContainerId,
    },
    /// Find the containers of an earlier process; answered by container events and `Recovered`.
    Recover {
        containers: Vec<ContainerId>,
    },
    /// Let a running container use so much, and no more.
    Resize {
        container: ContainerId,
        resources: Bag,
    },
    /// Tell an executor something. A reader that does not keep up loses its stream; `StreamGone` says so.
    Event {
        stream: StreamId,
        event: Event,
    },
    /// End a stream after what was sent on it. No `StreamGone` is expected.
    CloseStream {
        stream: StreamId,
    },
    /// Ask a running container how it is; answered by `Probed`.
    Probe {
        probe: ProbeId,
        job: Job,
        target: Target,
        timeout: Option<Span>,
    },
    /// Measure the disk under the sandboxes; answered by `Disk`.
    MeasureDisk,
    /// Remove a sandbox with all that is in it.
    Remove(Sandbox),
    /// End the process, after the effects before this one.
    Stop(Ending),
}

/// Why the agent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, by its operator or by the master.
    Done { reason: String },
    /// The master will never take it in again.
    Gone { message: String },
    /// The master refuses this registration as it is.
    Invalid { message: String },
}

/// A frame to the master. Statuses are made at the edge, once, and carried along.
#[derive(Debug, Clone)]
pub enum Report {
    Hello(Box<Hello>),
    Pong {
        sequence: u64,
    },
    /// An update, with the newest state of its task, which may be ahead of it.
    Status {
        framework: FrameworkId,
        update: Arc<Update>,
        latest: TaskState,
    },
    /// An order came from a leader of the past.
    Fenced {
        highest: u64,
    },
    Goodbye {
        tasks_killed: bool,
    },
    /// From an executor to its scheduler.
    Message {
        framework: FrameworkId,
        executor: ExecutorId,
        data: Vec<u8>,
    },
    /// An executor's process is no more.
    ExecutorExit {
        framework: FrameworkId,
        executor: ExecutorId,
        /// As `wait(2)` gives it; absent when nobody knows, or when it never ran.
        status: Option<i32>,
    },
    /// How an operation ended.
    Operation(Box<Operation>),
}

/// The whole truth, sent first on every link.
#[derive(Debug, Clone)]
pub struct Hello {
    pub agent: Option<model::id::AgentId>,
    pub info: Arc<v1::AgentInfo>,
    pub version: String,
    pub highest_term: u64,
    pub tasks: Vec<HeldTask>,
    /// Executors whose process may live, with their frameworks.
    pub executors: Vec<(FrameworkId, Arc<v1::ExecutorInfo>)>,
    pub frameworks: Vec<Arc<v1::FrameworkInfo>>,
    pub boot: String,
    /// The name of this process, and those of earlier ones of its directory.
    pub session: String,
    pub earlier: Vec<String>,
    /// What the agent has, with its reservations and volumes.
    pub total: Bag,
    /// Ended, and not acknowledged.
    pub operations: Vec<Operation>,
}

/// A task in a hello.
#[derive(Debug, Clone)]
pub struct HeldTask {
    pub framework: FrameworkId,
    pub info: Arc<v1::TaskInfo>,
    /// Absent for a command task.
    pub executor: Option<ExecutorId>,
    pub latest: TaskState,
    pub forwarded: Option<Arc<Update>>,
}
