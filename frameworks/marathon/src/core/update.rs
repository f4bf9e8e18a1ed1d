//! What a scheduler hears of a task, in the supervisor's own terms.

use model::id::{AgentId, TaskId};
use model::task::TaskState;

use super::instance::Condition;

/// One status update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskUpdate {
    pub task: TaskId,
    pub state: TaskState,
    pub agent: Option<AgentId>,
    /// Present when the update has to be acknowledged.
    pub uuid: Option<Vec<u8>>,
    pub message: String,
    pub reason: Reason,
    pub healthy: Option<bool>,
    pub addresses: Vec<String>,
}

/// The reasons that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reason {
    #[default]
    Other,
    /// The offer was withdrawn before the launch arrived.
    InvalidOffers,
    Reconciliation,
    AgentDisconnected,
    AgentRemoved,
    AgentDraining,
    /// The health changed, or a check failed once more.
    Health,
}

impl TaskUpdate {
    /// The condition this update puts an instance in. `None` for an answer that says nothing new about it.
    ///
    /// TASK_LOST is what schedulers unaware of partitions are told; it appears here from older masters only and is
    /// read by its reason.
    pub fn condition(&self) -> Option<Condition> {
        Some(match self.state {
            TaskState::Staging => Condition::Staging,
            TaskState::Starting => Condition::Starting,
            TaskState::Running => Condition::Running,
            TaskState::Killing => Condition::Killing,
            TaskState::Finished => Condition::Finished,
            TaskState::Failed => Condition::Failed,
            TaskState::Killed => Condition::Killed,
            TaskState::Error => Condition::Error,
            TaskState::Dropped => Condition::Dropped,
            TaskState::Unreachable => Condition::Unreachable,
            TaskState::Gone | TaskState::GoneByOperator => Condition::Gone,
            TaskState::Unknown => Condition::Unknown,
            TaskState::Lost => match self.reason {
                Reason::Reconciliation | Reason::AgentDisconnected | Reason::AgentRemoved => {
                    Condition::Unreachable
                }
                _ => Condition::Gone,
            },
        })
    }

    /// Whether this counts as a failure of the task, to be shown as the app's last one.
    pub fn is_failure(&self) -> bool {
        matches!(
            self.state,
            TaskState::Failed
                | TaskState::Error
                | TaskState::Lost
                | TaskState::Dropped
                | TaskState::Gone
                | TaskState::GoneByOperator
                | TaskState::Unknown
        )
    }
}
