//! Orders as frames of the link.

use wire::link::refused::Reason;
use wire::link::to_agent::Frame;
use wire::link::{self, ToAgent};
use wire::v1;

use super::state::drain_config;
use crate::effect::{AgentOrder, AgentRefusal};
use crate::input::Term;

/// A frame for an agent.
#[must_use]
pub fn order(term: Term, order: &AgentOrder) -> ToAgent {
    let frame = match order {
        AgentOrder::Welcome { agent, ping_interval, link_timeout, removed, connected } => {
            Frame::Welcome(link::Welcome {
                agent_id: agent.into(),
                ping_interval: ping_interval.as_millis(),
                link_timeout: link_timeout.as_millis(),
                removed_frameworks: removed.iter().map(v1::FrameworkId::from).collect(),
                connected_frameworks: connected.iter().map(v1::FrameworkId::from).collect(),
            })
        }
        AgentOrder::Refused(refusal) => Frame::Refused(refused(refusal)),
        AgentOrder::Ping { sequence } => Frame::Ping(link::Ping { sequence: *sequence }),
        AgentOrder::Run { framework, task } => {
            Frame::Run(link::Run { framework: (**framework).clone(), task: (**task).clone() })
        }
        AgentOrder::RunGroup { framework, executor, tasks } => Frame::RunGroup(link::RunGroup {
            framework: (**framework).clone(),
            executor: (**executor).clone(),
            tasks: tasks.iter().map(|task| (**task).clone()).collect(),
        }),
        AgentOrder::Kill { framework, task, policy } => Frame::Kill(link::Kill {
            framework_id: framework.into(),
            task_id: task.into(),
            kill_policy: *policy,
        }),
        AgentOrder::Acknowledge { framework, task, uuid } => Frame::Acknowledge(link::Acknowledge {
            framework_id: framework.into(),
            task_id: task.into(),
            uuid: uuid.clone(),
        }),
        AgentOrder::Framework { info, resend } => {
            Frame::Framework(link::FrameworkUpdate { framework: (**info).clone(), resend: *resend })
        }
        AgentOrder::Drain(drain) => Frame::Drain(link::DrainUpdate {
            config: drain.as_ref().map(drain_config),
            since: drain.map(|drain| drain.since.as_millis()),
        }),
        AgentOrder::ShutdownFramework(framework) => {
            Frame::ShutdownFramework(link::ShutdownFramework { framework_id: framework.into() })
        }
        AgentOrder::ShutdownExecutor { framework, executor } => {
            Frame::ShutdownExecutor(link::ShutdownExecutor {
                framework_id: framework.into(),
                executor_id: executor.into(),
            })
        }
        AgentOrder::Message { framework, executor, data } => Frame::Message(link::FrameworkMessage {
            framework_id: framework.into(),
            executor_id: executor.into(),
            data: data.clone(),
        }),
        AgentOrder::Operate { framework, uuid, operation } => Frame::Operation(link::ApplyOperation {
            framework_id: framework.as_ref().map(v1::FrameworkId::from),
            operation: (**operation).clone(),
            operation_uuid: uuid.clone(),
        }),
        AgentOrder::AcknowledgeOperation { uuid } => {
            Frame::AcknowledgeOperation(link::AcknowledgeOperation { operation_uuid: uuid.clone() })
        }
        AgentOrder::Shutdown { message } => Frame::Shutdown(link::Shutdown { message: message.clone() }),
    };
    ToAgent { term: term.0, frame: Some(frame) }
}

fn refused(refusal: &AgentRefusal) -> link::Refused {
    let (reason, leader, retry_after) = match refusal {
        AgentRefusal::NotLeader { leader } => (Reason::NotLeader, leader.as_deref().map(str::to_owned), None),
        AgentRefusal::Gone(_) | AgentRefusal::Superseded { .. } => (Reason::Gone, None, None),
        AgentRefusal::Duplicate { .. } => (Reason::Duplicate, None, None),
        AgentRefusal::Busy { retry_after }
        | AgentRefusal::Placeless { retry_after }
        | AgentRefusal::Held { retry_after, .. }
        | AgentRefusal::Elsewhere { retry_after, .. } => (Reason::Busy, None, Some(retry_after.as_millis())),
        AgentRefusal::Invalid(_) => (Reason::Invalid, None, None),
    };
    link::Refused { reason: reason.into(), message: Some(refusal.to_string()), leader, retry_after }
}
