//! Status updates of tasks.

use model::id::{AgentId, TaskId};
use model::task::TaskState;
use model::time::Time;
use wire::scheduler::Call;
use wire::v1;
use wire::v1::task_status::Reason;

use crate::call;

/// What the cluster says of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which task.
    pub task: TaskId,
    /// Where it is or was; masters' own updates may not know.
    pub agent: Option<AgentId>,
    /// How it stands.
    pub state: TaskState,
    /// Why, as the protocol names it.
    pub reason: Option<Reason>,
    /// Why, in words.
    pub message: String,
    /// What the health check says, where there is one.
    pub healthy: Option<bool>,
    /// The addresses of its container.
    pub addresses: Vec<String>,
    /// Since when its agent cannot be reached.
    pub unreachable_since: Option<Time>,
    /// What the executor says along with it.
    pub data: Vec<u8>,
    /// What an acknowledgement names; none on what the master makes itself, which is not repeated.
    pub uuid: Option<Vec<u8>>,
}

impl Update {
    /// Reads a status as it came; `None` for a state that this version does not know.
    pub fn from_wire(status: v1::TaskStatus) -> Option<Self> {
        let addresses = status.container_status.iter().flat_map(|container| &container.network_infos);
        Some(Self {
            state: TaskState::try_from(status.state).ok()?,
            addresses: addresses
                .flat_map(|network| {
                    network.ip_addresses.iter().filter_map(|address| address.ip_address.clone())
                })
                .collect(),
            task: status.task_id.into(),
            agent: status.agent_id.map(AgentId::from),
            uuid: status.uuid.map(|uuid| uuid.to_vec()).filter(|uuid| !uuid.is_empty()),
            message: status.message.unwrap_or_default(),
            reason: status.reason.and_then(|number| Reason::try_from(number).ok()),
            healthy: status.healthy,
            unreachable_since: status.unreachable_time.as_ref().map(Time::from),
            data: status.data.map(|data| data.to_vec()).unwrap_or_default(),
        })
    }

    /// Whether the task is over: it ended, or the master does not know it. What it was for may be launched again, under
    /// another id. An unreachable task is not over: it may come back.
    pub fn is_over(&self) -> bool {
        self.state.is_terminal() || self.state == TaskState::Unknown
    }

    /// The call that acknowledges it; `None` for an update that nobody repeats.
    ///
    /// To be sent when what the update says is stored durably, not before.
    pub fn acknowledgement(&self) -> Option<Call> {
        let agent = self.agent.clone()?;
        Some(call::acknowledge(agent, self.task.clone(), self.uuid.clone()?))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_updates_with_a_uuid_are_acknowledged() {
        let mut status = v1::TaskStatus {
            task_id: v1::TaskId { value: "t".to_owned() },
            state: v1::TaskState::TaskRunning.into(),
            agent_id: Some(v1::AgentId { value: "S0".to_owned() }),
            ..Default::default()
        };
        assert_eq!(Update::from_wire(status.clone()).unwrap().acknowledgement(), None);
        status.uuid = Some(Bytes::new());
        assert_eq!(Update::from_wire(status.clone()).unwrap().acknowledgement(), None);
        status.uuid = Some(Bytes::from_static(&[7; 16]));
        let update = Update::from_wire(status).unwrap();
        let acknowledge = update.acknowledgement().and_then(|call| call.acknowledge).unwrap();
        assert_eq!((acknowledge.task_id.value.as_str(), &acknowledge.uuid[..]), ("t", &[7; 16][..]));
    }

    #[test]
    fn what_may_come_back_is_not_over() {
        for state in TaskState::ALL {
            let status = v1::TaskStatus {
                task_id: v1::TaskId { value: "t".to_owned() },
                state: v1::TaskState::from_str_name(state.name()).unwrap().into(),
                ..Default::default()
            };
            let over = Update::from_wire(status).unwrap().is_over();
            let alive = matches!(
                state,
                TaskState::Staging
                    | TaskState::Starting
                    | TaskState::Running
                    | TaskState::Killing
                    | TaskState::Unreachable
            );
            assert_eq!(over, !alive, "{state}");
        }
    }
}
