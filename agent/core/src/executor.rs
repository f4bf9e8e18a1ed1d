//! A framework's own executor as the agent holds it, and what the two say to each other (spec mesos-v1, section 5).

use std::collections::VecDeque;
use std::sync::Arc;

use model::id::{ContainerId, ExecutorId, FrameworkId, TaskId};
use model::time::Span;
use wire::v1;

use crate::checkpoint::ExecutorRecord;
use crate::effect::Sandbox;
use crate::ids::Uuid;
use crate::limits;
use crate::spec::TaskSpec;

/// An executor by framework and id: ids are chosen by frameworks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutorKey {
    pub framework: FrameworkId,
    pub executor: ExecutorId,
}

/// The answer to one SUBSCRIBE, on which events go out. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// How far the agent is with an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorPhase {
    /// Its files are being fetched.
    Fetching,
    /// The launcher was told to start it, or shall find it after a restart of the agent.
    Launching,
    Running,
    /// It was told to end, or is being killed.
    Ending,
}

/// An executor, from the order that needs it to the end of its process.
#[derive(Debug, Clone)]
pub struct Executor {
    pub key: ExecutorKey,
    pub info: Arc<v1::ExecutorInfo>,
    /// How to run it; `None` for a description that an earlier version took and this one refuses.
    pub spec: Option<Arc<TaskSpec>>,
    pub container: ContainerId,
    pub sandbox: Sandbox,
    // Not durable from here on.
    pub phase: ExecutorPhase,
    pub pid: Option<u32>,
    /// Where it listens, if it does.
    pub stream: Option<StreamId>,
    /// Tasks that wait for it to subscribe, in the order they came.
    pub(crate) queue: VecDeque<TaskId>,
    /// Whether it was ever given a task by this process of the agent, or may have been by an earlier one.
    pub(crate) used: bool,
    /// Whether it was started by an earlier process of the agent and has not subscribed to this one.
    pub(crate) recovered: bool,
    /// Whether its resources count as used.
    pub(crate) holds: bool,
}

impl Executor {
    pub(crate) fn new(record: &ExecutorRecord) -> Self {
        Self {
            key: ExecutorKey {
                framework: record.framework.clone(),
                executor: ExecutorId::from(record.info.executor_id.value.as_str()),
            },
            info: Arc::clone(&record.info),
            spec: TaskSpec::executor(&record.framework, &record.info).ok().map(Arc::new),
            container: record.container.clone(),
            sandbox: Sandbox { framework: record.framework.clone(), name: record.sandbox.clone() },
            phase: ExecutorPhase::Fetching,
            pid: None,
            stream: None,
            queue: VecDeque::new(),
            used: false,
            recovered: false,
            holds: false,
        }
    }

    pub(crate) fn record(&self) -> ExecutorRecord {
        ExecutorRecord {
            framework: self.key.framework.clone(),
            info: Arc::clone(&self.info),
            container: self.container.clone(),
            sandbox: self.sandbox.name.clone(),
        }
    }

    /// Its time between SHUTDOWN and SIGKILL.
    pub(crate) fn grace(&self) -> Span {
        self.spec.as_ref().and_then(|spec| spec.kill_grace).unwrap_or(limits::SHUTDOWN_GRACE)
    }
}

/// What an executor says, checked as far as it can be without knowing the agent's state.
#[derive(Debug, Clone)]
pub enum Call {
    Subscribe {
        stream: StreamId,
        /// Tasks it was given and has said nothing of that the agent acknowledged.
        unacknowledged_tasks: Vec<TaskId>,
        /// Updates the agent has not acknowledged, oldest first; each with 16 bytes of uuid.
        unacknowledged_updates: Vec<v1::TaskStatus>,
    },
    /// With 16 bytes of uuid.
    Update(Box<v1::TaskStatus>),
    Message(Vec<u8>),
}

/// What an executor is told.
#[derive(Debug, Clone)]
pub enum Event {
    Subscribed {
        executor: Arc<v1::ExecutorInfo>,
        framework: Arc<v1::FrameworkInfo>,
        /// With its id.
        agent: Box<v1::AgentInfo>,
        container: ContainerId,
    },
    Launch(Arc<v1::TaskInfo>),
    Kill {
        task: TaskId,
        /// Overrides the task's own.
        grace: Option<Span>,
    },
    /// The update is on disk.
    Acknowledged {
        task: TaskId,
        uuid: Uuid,
    },
    Message(Vec<u8>),
    Shutdown,
}

/// Why a call of an executor is not taken (spec mesos-v1, 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    #[error("Agent has not finished recovery")]
    Recovering,
    #[error("Framework cannot be found")]
    UnknownFramework,
    #[error("Executor cannot be found")]
    UnknownExecutor,
    #[error("Executor is not subscribed")]
    NotSubscribed,
}
