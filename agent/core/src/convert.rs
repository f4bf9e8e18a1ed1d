//! Frames of the link from and to the bytes' types: the edge, where wire messages are read once.

use std::sync::Arc;

use model::id::FrameworkId;
use model::resources::Form;
use model::time::{Span, Time};
use wire::link::{self, to_agent, to_master};
use wire::v1;

use crate::effect::{HeldTask, Hello, Report};
use crate::ids::Uuid;
use crate::input::{Drain, Envelope, Order, Refusal};
use crate::operations::Operation;
use crate::spec;
use crate::status::wire_state;

/// Why a frame of the master makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a frame of a kind that this version does not know")]
    UnknownFrame,
    #[error("'{0}' must be 16 bytes")]
    Uuid(&'static str),
    #[error("'{0}' must be present")]
    Missing(&'static str),
}

/// Reads a frame of the master.
pub fn envelope(frame: link::ToAgent) -> Result<Envelope, Malformed> {
    use to_agent::Frame;
    let order = match frame.frame.ok_or(Malformed::UnknownFrame)? {
        Frame::Welcome(welcome) => Order::Welcome {
            agent: welcome.agent_id.value.into(),
            timeout: Span::from_millis(welcome.link_timeout),
            removed: welcome.removed_frameworks.into_iter().map(|id| id.value.into()).collect(),
            connected: welcome.connected_frameworks.into_iter().map(|id| id.value.into()).collect(),
        },
        Frame::Refused(refused) => {
            Order::Refused { message: refused.message.clone().unwrap_or_default(), refusal: refusal(refused) }
        }
        Frame::Ping(ping) => Order::Ping { sequence: ping.sequence },
        Frame::Run(run) => Order::Run { framework: framework(run.framework)?, task: Arc::new(run.task) },
        Frame::RunGroup(group) => Order::RunGroup {
            framework: framework(group.framework)?,
            tasks: members(&group.executor, group.tasks),
            executor: Arc::new(group.executor),
        },
        Frame::Kill(kill) => Order::Kill {
            framework: kill.framework_id.value.into(),
            task: kill.task_id.value.into(),
            grace: spec::grace(kill.kill_policy.as_ref()),
        },
        Frame::Acknowledge(acknowledge) => Order::Acknowledge {
            framework: acknowledge.framework_id.value.into(),
            task: acknowledge.task_id.value.into(),
            uuid: Uuid::from_slice(&acknowledge.uuid).ok_or(Malformed::Uuid("acknowledge.uuid"))?,
        },
        Frame::Framework(update) => {
            Order::Framework { info: framework(update.framework)?, resend: update.resend }
        }
        Frame::Drain(update) => Order::Drain(
            update
                .config
                .map(|config| Drain { config, since: Time::from_millis(update.since.unwrap_or_default()) }),
        ),
        Frame::ShutdownFramework(shutdown) => {
            Order::ShutdownFramework { framework: shutdown.framework_id.value.into() }
        }
        Frame::ShutdownExecutor(shutdown) => Order::ShutdownExecutor {
            framework: shutdown.framework_id.value.into(),
            executor: shutdown.executor_id.value.into(),
        },
        Frame::Message(message) => Order::Message {
            framework: message.framework_id.value.into(),
            executor: message.executor_id.value.into(),
            data: message.data.to_vec(),
        },
        Frame::Operation(apply) => Order::Operation {
            framework: apply.framework_id.map(|id| id.value.into()),
            operation: Arc::new(apply.operation),
            uuid: Uuid::from_slice(&apply.operation_uuid)
                .ok_or(Malformed::Uuid("operation.operation_uuid"))?,
        },
        Frame::AcknowledgeOperation(acknowledge) => Order::AcknowledgeOperation {
            uuid: Uuid::from_slice(&acknowledge.operation_uuid)
                .ok_or(Malformed::Uuid("acknowledge_operation.operation_uuid"))?,
        },
        Frame::Shutdown(shutdown) => Order::Shutdown { message: shutdown.message },
    };
    Ok(Envelope { term: frame.term, order })
}

/// The tasks of a group, each with the group's executor.
fn members(executor: &v1::ExecutorInfo, tasks: Vec<v1::TaskInfo>) -> Vec<Arc<v1::TaskInfo>> {
    let hosted = |task| Arc::new(v1::TaskInfo { executor: Some(executor.clone()), ..task });
    tasks.into_iter().map(hosted).collect()
}

fn framework(info: v1::FrameworkInfo) -> Result<Arc<v1::FrameworkInfo>, Malformed> {
    match &info.id {
        Some(id) if !id.value.is_empty() => Ok(Arc::new(info)),
        _ => Err(Malformed::Missing("framework.id")),
    }
}

fn refusal(refused: link::Refused) -> Refusal {
    use link::refused::Reason;
    match refused.reason() {
        Reason::NotLeader => Refusal::NotLeader { leader: refused.leader },
        Reason::Gone => Refusal::Gone,
        Reason::Duplicate => Refusal::Duplicate,
        // A reason from the future is best met by coming back later.
        Reason::Busy | Reason::Unknown => {
            Refusal::Busy { retry_after: Span::from_millis(refused.retry_after.unwrap_or(1000)) }
        }
        Reason::Invalid => Refusal::Invalid,
    }
}

/// Writes a frame to the master.
pub fn to_master(report: &Report) -> link::ToMaster {
    use to_master::Frame;
    let frame = match report {
        Report::Hello(report) => Frame::Hello(hello(report)),
        Report::Pong { sequence } => Frame::Pong(link::Pong { sequence: *sequence }),
        Report::Status { framework, update, latest } => Frame::Status(link::StatusReport {
            framework_id: v1::FrameworkId { value: framework.to_string() },
            status: (*update.status).clone(),
            latest_state: wire_state(*latest) as i32,
        }),
        Report::Fenced { highest } => Frame::Fenced(link::Fenced { highest_term: *highest }),
        Report::Goodbye { tasks_killed } => Frame::Goodbye(link::Goodbye { tasks_killed: *tasks_killed }),
        Report::Message { framework, executor, data } => Frame::Message(link::ExecutorMessage {
            framework_id: v1::FrameworkId { value: framework.to_string() },
            executor_id: v1::ExecutorId { value: executor.to_string() },
            data: data.clone().into(),
        }),
        Report::ExecutorExit { framework, executor, status } => Frame::ExecutorExit(link::ExecutorExit {
            framework_id: v1::FrameworkId { value: framework.to_string() },
            executor_id: v1::ExecutorId { value: executor.to_string() },
            status: *status,
        }),
        Report::Operation(report) => Frame::Operation(operation(report)),
    };
    link::ToMaster { frame: Some(frame) }
}

fn hello(hello: &Hello) -> link::Hello {
    link::Hello {
        agent_id: hello.agent.as_ref().map(|id| v1::AgentId { value: id.to_string() }),
        info: (*hello.info).clone(),
        version: hello.version.clone(),
        highest_term: hello.highest_term,
        checkpointed_resources: hello.total.to_wire(Form::Stack),
        tasks: hello.tasks.iter().map(held_task).collect(),
        executors: hello.executors.iter().map(|(framework, info)| executor(framework, info)).collect(),
        frameworks: hello.frameworks.iter().map(|info| (**info).clone()).collect(),
        boot_id: Some(hello.boot.clone()),
        session: Some(hello.session.clone()),
        earlier_sessions: hello.earlier.clone(),
        operations: hello.operations.iter().map(operation).collect(),
    }
}

fn operation(operation: &Operation) -> link::OperationReport {
    link::OperationReport {
        framework_id: operation.framework.as_ref().map(|id| v1::FrameworkId { value: id.to_string() }),
        status: (*operation.status).clone(),
        operation_uuid: operation.uuid.0.to_vec().into(),
        operation: Some((*operation.asked).clone()),
    }
}

fn executor(framework: &FrameworkId, info: &v1::ExecutorInfo) -> link::ExecutorRecord {
    link::ExecutorRecord {
        framework_id: v1::FrameworkId { value: framework.to_string() },
        info: info.clone(),
    }
}

fn held_task(task: &HeldTask) -> link::TaskRecord {
    link::TaskRecord {
        framework_id: v1::FrameworkId { value: task.framework.to_string() },
        info: (*task.info).clone(),
        latest_state: wire_state(task.latest) as i32,
        forwarded: task.forwarded.as_ref().map(|update| (*update.status).clone()),
        executor_id: task.executor.as_ref().map(|id| v1::ExecutorId { value: id.to_string() }),
    }
}
