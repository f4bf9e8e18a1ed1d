//! Status updates of tasks.

use wire::scheduler::{Call, call};
use wire::v1::TaskStatus;

/// The call that acknowledges an update, so that the agent goes on to the next and stops repeating this one. `None` for a
/// status that nobody repeats: those the master makes have no uuid.
///
/// To be sent when what the update says is stored durably, not before.
pub fn acknowledgement(status: &TaskStatus) -> Option<Call> {
    let acknowledge = call::Acknowledge {
        agent_id: status.agent_id.clone()?,
        task_id: status.task_id.clone(),
        uuid: status.uuid.clone().filter(|uuid| !uuid.is_empty())?,
    };
    Some(Call {
        r#type: Some(call::Type::Acknowledge.into()),
        acknowledge: Some(acknowledge),
        ..Call::default()
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::v1::{AgentId, TaskId, TaskState};

    use super::*;

    #[test]
    fn only_updates_with_a_uuid_are_acknowledged() {
        let mut status = TaskStatus {
            task_id: TaskId { value: "t".to_owned() },
            state: TaskState::TaskRunning.into(),
            agent_id: Some(AgentId { value: "S0".to_owned() }),
            ..TaskStatus::default()
        };
        assert_eq!(acknowledgement(&status), None);
        status.uuid = Some(Bytes::from_static(&[7; 16]));
        let acknowledge = acknowledgement(&status).and_then(|call| call.acknowledge).unwrap();
        assert_eq!((acknowledge.task_id.value.as_str(), &acknowledge.uuid[..]), ("t", &[7; 16][..]));
    }
}
