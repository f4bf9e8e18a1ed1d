//! A task and a framework as the agent holds them.

use std::sync::Arc;

use model::id::{ContainerId, ExecutorId, FrameworkId, TaskId};
use model::task::TaskState;
use model::time::Time;
use wire::v1;
use wire::v1::framework_info::capability::Type as Capability;

use crate::checkpoint::TaskRecord;
use crate::effect::Sandbox;
use crate::executor::ExecutorKey;
use crate::health::{Check, Health};
use crate::ids::Uuid;
use crate::spec::{TaskKey, TaskSpec};
use crate::updates::Update;

/// A framework with tasks here.
#[derive(Debug, Clone)]
pub struct Framework {
    pub id: FrameworkId,
    /// Understands TASK_DROPPED and its kin; others are told TASK_LOST.
    pub partition_aware: bool,
    /// Wants to hear TASK_KILLING.
    pub killing: bool,
    /// Torn down: its tasks end, and nobody is told.
    pub removed: bool,
    pub info: Arc<v1::FrameworkInfo>,
}

impl Framework {
    pub(crate) fn read(info: &Arc<v1::FrameworkInfo>) -> Self {
        let has = |capability: Capability| info.capabilities.iter().any(|c| c.r#type() == capability);
        Self {
            id: info.id.as_ref().map_or("", |id| id.value.as_str()).into(),
            partition_aware: has(Capability::PartitionAware),
            killing: has(Capability::TaskKillingState),
            removed: false,
            info: Arc::clone(info),
        }
    }
}

/// How far the agent is with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its files are being fetched, or it waits for its executor to subscribe.
    Fetching,
    /// The launcher or its executor was told to start it.
    Launching,
    Running,
    /// Nothing of it is left but its last updates.
    Ended,
}

/// Why a task was told to end; decides what its end is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillCause {
    /// By its scheduler, its operator, or because the agent ends.
    Asked,
    /// While the agent drained, by whomever.
    Draining,
    /// By its health check.
    Unhealthy,
    /// By its maximum completion time.
    TooLong,
    FrameworkRemoved,
    /// By its scheduler before it ran.
    DuringLaunch,
}

/// A kill under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    pub cause: KillCause,
    /// When the grace period is over.
    pub deadline: Time,
}

/// A task, from its order to the acknowledgement of its end.
#[derive(Debug, Clone)]
pub struct Task {
    pub key: TaskKey,
    pub info: Arc<v1::TaskInfo>,
    /// The executor it belongs to; `None` for a command task.
    pub executor: Option<ExecutorId>,
    /// Whom it stands and falls with, when the agent plays its executor.
    pub group: Option<Uuid>,
    /// `None` for a task whose description was refused.
    pub spec: Option<Arc<TaskSpec>>,
    pub container: ContainerId,
    pub sandbox: Sandbox,
    /// The newest state.
    pub state: TaskState,
    /// The last update of each state passed through.
    pub statuses: Vec<Arc<Update>>,
    /// What the scheduler was last sent.
    pub forwarded: Option<Arc<Update>>,
    pub started: Option<Time>,
    pub kill: Option<Kill>,
    // Not durable from here on.
    pub phase: Phase,
    pub pid: Option<u32>,
    pub health: Option<Health>,
    pub check: Option<Check>,
    /// Whether its files are there, while it waits for those of its group.
    pub(crate) fetched: bool,
    /// Whether its resources count as used.
    pub(crate) holds: bool,
}

impl Task {
    /// As its record has it. A task that had been launched counts as launched until its container is found.
    pub(crate) fn new(record: &TaskRecord) -> Self {
        let framework = record.framework.clone();
        let spec = TaskSpec::read(&framework, &record.info).ok().map(Arc::new);
        let healthy = record.statuses.iter().rev().find_map(|update| update.status.healthy);
        let mut task = Self {
            key: TaskKey {
                framework: framework.clone(),
                task: TaskId::from(record.info.task_id.value.as_str()),
            },
            info: Arc::clone(&record.info),
            executor: record.executor.clone(),
            container: record.container.clone(),
            group: record.member.as_ref().map(|member| member.group),
            sandbox: Sandbox {
                framework,
                name: record.sandbox.clone(),
                task: record.member.as_ref().map(|member| member.directory.clone()),
            },
            state: TaskState::Staging,
            statuses: Vec::new(),
            forwarded: record.forwarded.clone(),
            started: record.started,
            kill: None,
            phase: Phase::Fetching,
            pid: None,
            health: spec.as_ref().and_then(|s| s.health.as_ref()).map(|_| Health::recovered(healthy)),
            check: spec.as_ref().and_then(|s| s.check.as_ref()).map(|check| Check::new(&check.target)),
            fetched: false,
            holds: false,
            spec,
        };
        for update in &record.statuses {
            task.note(update);
        }
        task
    }

    /// Takes in an update that was made.
    pub(crate) fn note(&mut self, update: &Arc<Update>) {
        self.state = update.state;
        match update.state {
            TaskState::Starting => self.phase = Phase::Launching,
            TaskState::Running | TaskState::Killing => {
                self.phase = Phase::Running;
                self.started.get_or_insert(update.at);
            }
            state if state.is_terminal() => self.phase = Phase::Ended,
            _ => {}
        }
        if let (Some(health), Some(healthy)) = (&mut self.health, update.status.healthy) {
            health.healthy = Some(healthy);
        }
        match self.statuses.last_mut() {
            Some(last) if last.state == update.state => *last = Arc::clone(update),
            _ => self.statuses.push(Arc::clone(update)),
        }
    }

    /// Whether the agent runs it in a container of its own: as a command task, or as one of a group.
    pub fn is_own(&self) -> bool {
        self.executor.is_none() || self.group.is_some()
    }

    /// Whether a container of its own may exist.
    pub(crate) fn launched(&self) -> bool {
        self.is_own() && matches!(self.phase, Phase::Launching | Phase::Running)
    }

    /// The executor that runs it, if it is not the agent.
    pub fn host(&self) -> Option<ExecutorKey> {
        self.executor_key().filter(|_| !self.is_own())
    }

    /// The executor it belongs to, whoever plays it; `None` for a command task.
    pub fn executor_key(&self) -> Option<ExecutorKey> {
        let executor = self.executor.clone()?;
        Some(ExecutorKey { framework: self.key.framework.clone(), executor })
    }

    /// By which id its statuses name its executor: a command task is its own.
    pub(crate) fn executor_name(&self) -> &str {
        self.executor.as_ref().map_or(self.key.task.as_str(), ExecutorId::as_str)
    }
}
