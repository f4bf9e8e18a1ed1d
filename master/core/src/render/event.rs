//! Events of schedulers' and operators' streams.

use wire::master;
use wire::scheduler::{self, event};
use wire::v1;

use crate::effect::{OperatorEvent, SchedulerEvent};

use super::lists::STREAM_COMPLETED_TASKS;
use super::state::{agent_record, framework_record, state_of};

/// A record of a scheduler's stream.
#[must_use]
pub fn scheduler_event(event: &SchedulerEvent) -> scheduler::Event {
    use event::Type;
    let mut out = scheduler::Event::default();
    let kind = match event {
        SchedulerEvent::Subscribed { framework, heartbeat, master } => {
            out.subscribed = Some(event::Subscribed {
                framework_id: framework.into(),
                heartbeat_interval_seconds: Some(heartbeat.as_secs_f64()),
                master_info: Some((**master).clone()),
            });
            Type::Subscribed
        }
        SchedulerEvent::Heartbeat => Type::Heartbeat,
        SchedulerEvent::Offers(offers) => {
            out.offers =
                Some(event::Offers { offers: offers.iter().map(|offer| super::offer(offer)).collect() });
            Type::Offers
        }
        SchedulerEvent::Rescind(offer) => {
            out.rescind = Some(event::Rescind { offer_id: offer.into() });
            Type::Rescind
        }
        SchedulerEvent::InverseOffers(offers) => {
            let inverse_offers = offers.iter().map(|offer| super::inverse_offer(offer)).collect();
            out.inverse_offers = Some(event::InverseOffers { inverse_offers });
            Type::InverseOffers
        }
        SchedulerEvent::RescindInverse(offer) => {
            out.rescind_inverse_offer = Some(event::RescindInverseOffer { inverse_offer_id: offer.into() });
            Type::RescindInverseOffer
        }
        SchedulerEvent::Update(status) => {
            out.update = Some(event::Update { status: (**status).clone() });
            Type::Update
        }
        SchedulerEvent::Operation(status) => {
            out.update_operation_status = Some(event::UpdateOperationStatus { status: (**status).clone() });
            Type::UpdateOperationStatus
        }
        SchedulerEvent::Message { agent, executor, data } => {
            out.message = Some(event::Message {
                agent_id: agent.into(),
                executor_id: executor.into(),
                data: data.clone(),
            });
            Type::Message
        }
        SchedulerEvent::Failure { agent, executor } => {
            out.failure = Some(event::Failure {
                agent_id: Some(agent.into()),
                executor_id: executor.as_ref().map(|(id, _)| v1::ExecutorId::from(id)),
                status: executor.as_ref().map(|(_, status)| *status),
            });
            Type::Failure
        }
        SchedulerEvent::Error(message) => {
            out.error = Some(event::Error { message: message.clone() });
            Type::Error
        }
    };
    out.r#type = Some(kind.into());
    out
}

/// A record of an operator's stream.
#[must_use]
pub fn operator_event(event: &OperatorEvent) -> master::Event {
    use master::event::{self, Type};
    let mut out = master::Event::default();
    let kind = match event {
        OperatorEvent::Subscribed { snapshot, heartbeat } => {
            out.subscribed = Some(event::Subscribed {
                get_state: Some(state_of(snapshot, STREAM_COMPLETED_TASKS)),
                heartbeat_interval_seconds: Some(heartbeat.as_secs_f64()),
            });
            Type::Subscribed
        }
        OperatorEvent::Heartbeat => Type::Heartbeat,
        OperatorEvent::TaskAdded(task) => {
            out.task_added = Some(event::TaskAdded { task: super::task(task) });
            Type::TaskAdded
        }
        OperatorEvent::TaskUpdated { task, status } => {
            out.task_updated = Some(event::TaskUpdated {
                framework_id: (&task.framework).into(),
                status: (**status).clone(),
                state: task.state.into(),
            });
            Type::TaskUpdated
        }
        OperatorEvent::AgentAdded(agent) => {
            out.agent_added = Some(event::AgentAdded {
                agent: agent_record(agent, &Default::default(), &Default::default()),
            });
            Type::AgentAdded
        }
        OperatorEvent::AgentRemoved(agent) => {
            out.agent_removed = Some(event::AgentRemoved { agent_id: agent.into() });
            Type::AgentRemoved
        }
        OperatorEvent::FrameworkAdded(framework) => {
            out.framework_added = Some(event::FrameworkAdded { framework: framework_record(framework) });
            Type::FrameworkAdded
        }
        OperatorEvent::FrameworkUpdated(framework) => {
            out.framework_updated = Some(event::FrameworkUpdated { framework: framework_record(framework) });
            Type::FrameworkUpdated
        }
        OperatorEvent::FrameworkRemoved(info) => {
            out.framework_removed = Some(event::FrameworkRemoved { framework_info: (**info).clone() });
            Type::FrameworkRemoved
        }
    };
    out.r#type = Some(kind.into());
    out
}
