//! From and to the wire: ids, task states and times. Resources and attributes have their own.

use std::sync::Arc;

use wire::v1;

use crate::id::{AgentId, ContainerId, ExecutorId, FrameworkId, OfferId, OperationId, ProviderId, TaskId};
use crate::task::TaskState;
use crate::time::{Span, Time};

macro_rules! ids {
    ($($ours:ident <-> $wire:ident;)*) => {$(
        impl From<&v1::$wire> for $ours {
            fn from(id: &v1::$wire) -> Self {
                id.value.as_str().into()
            }
        }

        impl From<v1::$wire> for $ours {
            fn from(id: v1::$wire) -> Self {
                id.value.into()
            }
        }

        impl From<&$ours> for v1::$wire {
            fn from(id: &$ours) -> Self {
                Self { value: id.as_str().to_owned() }
            }
        }

        impl From<$ours> for v1::$wire {
            fn from(id: $ours) -> Self {
                (&id).into()
            }
        }
    )*};
}

ids! {
    AgentId <-> AgentId;
    FrameworkId <-> FrameworkId;
    OfferId <-> OfferId;
    TaskId <-> TaskId;
    ExecutorId <-> ExecutorId;
    OperationId <-> OperationId;
    ProviderId <-> ResourceProviderId;
}

impl From<&v1::ContainerId> for ContainerId {
    fn from(id: &v1::ContainerId) -> Self {
        let parent = id.parent.as_deref().map(|parent| Arc::new(Self::from(parent)));
        Self { parent, value: id.value.as_str().into() }
    }
}

impl From<&ContainerId> for v1::ContainerId {
    fn from(id: &ContainerId) -> Self {
        let parent = id.parent.as_deref().map(|parent| Box::new(Self::from(parent)));
        Self { value: id.value.to_string(), parent }
    }
}

impl From<v1::TaskState> for TaskState {
    fn from(state: v1::TaskState) -> Self {
        match state {
            v1::TaskState::TaskStaging => Self::Staging,
            v1::TaskState::TaskStarting => Self::Starting,
            v1::TaskState::TaskRunning => Self::Running,
            v1::TaskState::TaskKilling => Self::Killing,
            v1::TaskState::TaskFinished => Self::Finished,
            v1::TaskState::TaskFailed => Self::Failed,
            v1::TaskState::TaskKilled => Self::Killed,
            v1::TaskState::TaskError => Self::Error,
            v1::TaskState::TaskLost => Self::Lost,
            v1::TaskState::TaskDropped => Self::Dropped,
            v1::TaskState::TaskUnreachable => Self::Unreachable,
            v1::TaskState::TaskGone => Self::Gone,
            v1::TaskState::TaskGoneByOperator => Self::GoneByOperator,
            v1::TaskState::TaskUnknown => Self::Unknown,
        }
    }
}

impl From<TaskState> for v1::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Staging => Self::TaskStaging,
            TaskState::Starting => Self::TaskStarting,
            TaskState::Running => Self::TaskRunning,
            TaskState::Killing => Self::TaskKilling,
            TaskState::Finished => Self::TaskFinished,
            TaskState::Failed => Self::TaskFailed,
            TaskState::Killed => Self::TaskKilled,
            TaskState::Error => Self::TaskError,
            TaskState::Lost => Self::TaskLost,
            TaskState::Dropped => Self::TaskDropped,
            TaskState::Unreachable => Self::TaskUnreachable,
            TaskState::Gone => Self::TaskGone,
            TaskState::GoneByOperator => Self::TaskGoneByOperator,
            TaskState::Unknown => Self::TaskUnknown,
        }
    }
}

/// The wire's field is a number; one that names no state is handed back.
impl TryFrom<i32> for TaskState {
    type Error = i32;

    fn try_from(number: i32) -> Result<Self, i32> {
        v1::TaskState::try_from(number).map(Self::from).map_err(|_| number)
    }
}

impl From<TaskState> for i32 {
    fn from(state: TaskState) -> Self {
        v1::TaskState::from(state).into()
    }
}

impl From<Time> for v1::TimeInfo {
    fn from(time: Time) -> Self {
        Self { nanoseconds: time.as_nanos() }
    }
}

/// A time before the epoch is the epoch.
impl From<&v1::TimeInfo> for Time {
    fn from(time: &v1::TimeInfo) -> Self {
        Self::from_millis(u64::try_from(time.nanoseconds).unwrap_or(0) / 1_000_000)
    }
}

impl From<Span> for v1::DurationInfo {
    fn from(span: Span) -> Self {
        Self { nanoseconds: i64::try_from(span.as_millis()).unwrap_or(i64::MAX).saturating_mul(1_000_000) }
    }
}

/// A negative length is none; the rest is rounded up, so that a tiny wait never becomes none.
impl From<&v1::DurationInfo> for Span {
    fn from(duration: &v1::DurationInfo) -> Self {
        Self::from_millis(u64::try_from(duration.nanoseconds).unwrap_or(0).div_ceil(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_keep_name_and_number() {
        for state in TaskState::ALL {
            assert_eq!(v1::TaskState::from(state).as_str_name(), state.name());
            assert_eq!(TaskState::try_from(i32::from(state)), Ok(state));
        }
        assert_eq!(TaskState::try_from(99), Err(99));
    }

    #[test]
    fn ids_survive() {
        let id = AgentId::from("cluster-S1");
        assert_eq!(AgentId::from(v1::AgentId::from(&id)), id);
        let nested = Arc::new(ContainerId::from("outer")).child("inner");
        assert_eq!(ContainerId::from(&v1::ContainerId::from(&nested)), nested);
    }

    #[test]
    fn times_stay_in_range() {
        assert_eq!(Time::from(&v1::TimeInfo { nanoseconds: -1 }), Time::ZERO);
        assert_eq!(Span::from(&v1::DurationInfo { nanoseconds: 1 }), Span::from_millis(1));
        assert_eq!(v1::DurationInfo::from(Span::MAX).nanoseconds, i64::MAX);
    }
}
