//! What agents report, and how the edge makes it from the frames of the link.

use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, ExecutorId, FrameworkId, TaskId};
use model::resources::{Bag, ResourceError};
use model::task::TaskState;
use wire::link::{ToMaster, to_master::Frame};
use wire::v1::{self, AgentInfo, FrameworkInfo, TaskStatus};

#[derive(Clone, Debug)]
pub enum AgentReport {
    Hello(Box<Hello>),
    Pong {
        sequence: u64,
    },
    /// An update on its way to the scheduler. `latest` is the newest state of the task, which may be ahead.
    Status {
        framework: FrameworkId,
        task: TaskId,
        status: Arc<TaskStatus>,
        state: TaskState,
        latest: TaskState,
    },
    Message {
        framework: FrameworkId,
        executor: ExecutorId,
        data: Bytes,
    },
    ExecutorExit {
        framework: FrameworkId,
        executor: ExecutorId,
        status: Option<i32>,
    },
    /// The agent obeys a newer leader.
    Fenced {
        highest_term: u64,
    },
    /// The agent's totals changed.
    Resources {
        total: Bag,
    },
    /// The agent process ends in order.
    Goodbye {
        tasks_killed: bool,
    },
    Operation(Box<OperationReport>),
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub struct OperationReport {
    /// Absent for the operator's.
    pub framework: Option<FrameworkId>,
    /// The master's name of it.
    pub uuid: Bytes,
    pub status: Arc<v1::OperationStatus>,
    pub state: v1::OperationState,
    /// What was asked for, if the agent still knows.
    pub operation: Option<Arc<v1::offer::Operation>>,
}

/// The whole truth of an agent, sent on every new link.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Absent on the very first registration.
    pub agent: Option<AgentId>,
    pub info: Arc<AgentInfo>,
    /// The address the link comes from, which schedulers are told in offers.
    pub ip: Arc<str>,
    pub version: String,
    /// The highest term the agent has obeyed.
    pub highest_term: u64,
    pub total: Bag,
    pub tasks: Vec<HeldTask>,
    pub executors: Vec<HeldExecutor>,
    pub frameworks: Vec<Arc<FrameworkInfo>>,
    /// Ended, and not acknowledged.
    pub operations: Vec<OperationReport>,
    /// Of its machine; empty when it does not say.
    pub boot: String,
    /// The name of its process, absent from agents that give none, and those of earlier ones of its data directory.
    pub session: Option<String>,
    pub earlier: Vec<String>,
}

/// A task the agent holds: running, or ended with updates not yet acknowledged.
#[derive(Clone, Debug)]
pub struct HeldTask {
    pub framework: FrameworkId,
    pub id: TaskId,
    pub info: Arc<v1::TaskInfo>,
    pub resources: Bag,
    pub latest: TaskState,
    /// The status the scheduler was last sent.
    pub forwarded: Option<Arc<TaskStatus>>,
    /// Absent for a plain command task.
    pub executor: Option<ExecutorId>,
}

#[derive(Clone, Debug)]
pub struct HeldExecutor {
    pub framework: FrameworkId,
    pub id: ExecutorId,
    pub info: Arc<v1::ExecutorInfo>,
    pub resources: Bag,
}

/// A frame that is not a report; the link it came on is of no use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadFrame {
    #[error("the frame has no content this master knows")]
    Empty,
    #[error("{field} has the state {value}, which this master does not know")]
    State { field: &'static str, value: i32 },
    #[error("{field}: {error}")]
    Resources { field: String, error: ResourceError },
}

impl AgentReport {
    /// Reads a frame; `ip` is where the link comes from.
    ///
    /// # Errors
    /// A frame that says nothing, or names states or resources that cannot be.
    pub fn decode(frame: ToMaster, ip: &Arc<str>) -> Result<Self, BadFrame> {
        Ok(match frame.frame.ok_or(BadFrame::Empty)? {
            Frame::Hello(hello) => Self::Hello(Box::new(Hello::decode(hello, ip)?)),
            Frame::Pong(pong) => Self::Pong { sequence: pong.sequence },
            Frame::Status(report) => Self::Status {
                framework: report.framework_id.value.into(),
                task: report.status.task_id.value.as_str().into(),
                state: state("status.state", report.status.state)?,
                latest: state("latest_state", report.latest_state)?,
                status: Arc::new(report.status),
            },
            Frame::Message(message) => Self::Message {
                framework: message.framework_id.value.into(),
                executor: message.executor_id.value.into(),
                data: message.data,
            },
            Frame::ExecutorExit(exit) => Self::ExecutorExit {
                framework: exit.framework_id.value.into(),
                executor: exit.executor_id.value.into(),
                status: exit.status,
            },
            Frame::Fenced(fenced) => Self::Fenced { highest_term: fenced.highest_term },
            Frame::Resources(resources) => Self::Resources { total: bag("total", &resources.total)? },
            Frame::Goodbye(goodbye) => Self::Goodbye { tasks_killed: goodbye.tasks_killed },
            Frame::Operation(report) => Self::Operation(Box::new(operation(report)?)),
        })
    }
}

impl Hello {
    fn decode(hello: wire::link::Hello, ip: &Arc<str>) -> Result<Self, BadFrame> {
        let total = if hello.checkpointed_resources.is_empty() {
            bag("info.resources", &hello.info.resources)?
        } else {
            bag("checkpointed_resources", &hello.checkpointed_resources)?
        };
        let tasks = hello.tasks.into_iter().map(held_task).collect::<Result<_, _>>()?;
        let operations = hello.operations.into_iter().map(operation).collect::<Result<_, _>>()?;
        let executors = hello.executors.into_iter().map(held_executor).collect::<Result<_, _>>()?;
        Ok(Self {
            agent: hello.agent_id.map(|id| id.value.into()),
            info: Arc::new(hello.info),
            ip: Arc::clone(ip),
            version: hello.version,
            highest_term: hello.highest_term,
            total,
            tasks,
            executors,
            frameworks: hello.frameworks.into_iter().map(Arc::new).collect(),
            operations,
            boot: hello.boot_id.unwrap_or_default(),
            session: hello.session,
            earlier: hello.earlier_sessions,
        })
    }
}

fn held_task(record: wire::link::TaskRecord) -> Result<HeldTask, BadFrame> {
    Ok(HeldTask {
        framework: record.framework_id.value.into(),
        id: record.info.task_id.value.as_str().into(),
        resources: bag("tasks.info.resources", &record.info.resources)?,
        latest: state("tasks.latest_state", record.latest_state)?,
        forwarded: record.forwarded.map(Arc::new),
        executor: record.executor_id.map(|id| id.value.into()),
        info: Arc::new(record.info),
    })
}

fn operation(report: wire::link::OperationReport) -> Result<OperationReport, BadFrame> {
    let state = v1::OperationState::try_from(report.status.state)
        .map_err(|_| BadFrame::State { field: "operation.status.state", value: report.status.state })?;
    Ok(OperationReport {
        framework: report.framework_id.map(|id| id.value.into()),
        uuid: report.operation_uuid,
        status: Arc::new(report.status),
        state,
        operation: report.operation.map(Arc::new),
    })
}

fn held_executor(record: wire::link::ExecutorRecord) -> Result<HeldExecutor, BadFrame> {
    Ok(HeldExecutor {
        framework: record.framework_id.value.into(),
        id: record.info.executor_id.value.as_str().into(),
        resources: bag("executors.info.resources", &record.info.resources)?,
        info: Arc::new(record.info),
    })
}

fn bag(field: &str, resources: &[v1::Resource]) -> Result<Bag, BadFrame> {
    Bag::from_wire(resources).map_err(|error| BadFrame::Resources { field: field.to_owned(), error })
}

fn state(field: &'static str, value: i32) -> Result<TaskState, BadFrame> {
    TaskState::try_from(value).map_err(|value| BadFrame::State { field, value })
}
