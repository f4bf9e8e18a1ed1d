//! An executor as the agent holds it, and what the two say to each other (spec mesos-v1, section 5).

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

/// Tasks of one order that wait for their executor.
#[derive(Debug, Clone)]
pub(crate) enum Waiting {
    Task(TaskId),
    /// Delivered together, or not at all.
    Group(Vec<TaskId>),
}

impl Waiting {
    pub(crate) fn tasks(&self) -> &[TaskId] {
        match self {
            Self::Task(task) => std::slice::from_ref(task),
            Self::Group(tasks) => tasks,
        }
    }

    pub(crate) fn into_tasks(self) -> Vec<TaskId> {
        match self {
            Self::Task(task) => vec![task],
            Self::Group(tasks) => tasks,
        }
    }
}

/// Whether an executor is the default one, whose part the agent plays itself: it has no process.
pub(crate) fn is_played(info: &v1::ExecutorInfo) -> bool {
    info.r#type() == v1::executor_info::Type::Default
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
    /// What waits for it to subscribe, in the order it came.
    pub(crate) queue: VecDeque<Waiting>,
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
            sandbox: Sandbox::new(record.framework.clone(), record.sandbox.clone()),
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

    /// Whether the agent plays its part, so that there is no process of it.
    pub fn is_played(&self) -> bool {
        is_played(&self.info)
    }

    /// Takes one task out of what waits.
    pub(crate) fn unqueue(&mut self, task: &TaskId) {
        self.queue.retain_mut(|waiting| match waiting {
            Waiting::Task(queued) => queued != task,
            Waiting::Group(tasks) => {
                tasks.retain(|queued| queued != task);
                !tasks.is_empty()
            }
        });
    }

    /// Takes the order that brought a waiting task out of what waits: a group goes as it came.
    pub(crate) fn take_waiting(&mut self, task: &TaskId) -> Vec<TaskId> {
        let at = self.queue.iter().position(|waiting| waiting.tasks().contains(task));
        at.and_then(|at| self.queue.remove(at)).map(Waiting::into_tasks).unwrap_or_default()
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
    LaunchGroup(Vec<Arc<v1::TaskInfo>>),
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
