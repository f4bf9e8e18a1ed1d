//! States of a task and the moves between them (spec mesos-v1, sections 3.7 and 8.6).

use std::fmt;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Accepted by the master, not yet heard of from the agent.
    Staging,
    /// Known to its executor, not yet running.
    Starting,
    Running,
    /// Being killed, still there.
    Killing,
    /// Ended with success.
    Finished,
    /// Ended by itself without success.
    Failed,
    /// Ended on request.
    Killed,
    /// The description or its author was refused.
    Error,
    /// What frameworks without PARTITION_AWARE are told in place of dropped, unreachable, gone and unknown.
    Lost,
    /// Never launched, so that launching again is safe.
    Dropped,
    /// On an agent the master cannot reach.
    Unreachable,
    /// Gone together with its agent or container.
    Gone,
    /// Its agent was declared gone by an operator.
    GoneByOperator,
    /// The master does not know it: only ever an answer to a question.
    Unknown,
}

use TaskState::{
    Dropped, Error, Failed, Finished, Gone, GoneByOperator, Killed, Killing, Lost, Running, Staging,
    Starting, Unknown, Unreachable,
};

impl TaskState {
    pub const ALL: [Self; 14] = [
        Staging,
        Starting,
        Running,
        Killing,
        Finished,
        Failed,
        Killed,
        Error,
        Lost,
        Dropped,
        Unreachable,
        Gone,
        GoneByOperator,
        Unknown,
    ];

    /// Whether the task has ended as far as resources are concerned.
    pub const fn is_terminal(self) -> bool {
        match self {
            Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator => true,
            Staging | Starting | Running | Killing | Unreachable | Unknown => false,
        }
    }

    /// Whether the task's resources count as used on its agent. An unreachable task's do not: its agent is out of
    /// the pool altogether, and brings its usage along when it returns.
    pub const fn holds_resources(self) -> bool {
        !self.is_terminal() && !matches!(self, Unreachable | Unknown)
    }

    /// Whether a task in `self` may be reported in `next`. Repeating a state is a move (health and container
    /// statuses do so), except for terminal ones.
    ///
    /// A life only goes forward; the one way back is a return from where nobody could see: unreachable, and lost,
    /// which is what unreachable is called towards older frameworks.
    pub const fn may_become(self, next: Self) -> bool {
        if matches!(next, Unknown) {
            return false;
        }
        match self {
            Staging | Starting | Running | Killing => match next.progress() {
                Some(there) => match self.progress() {
                    Some(here) => here <= there,
                    None => false,
                },
                // Dropped and refused tasks never ran. An agent says STARTING before it tells its launcher to start the
                // task, and drops it when it was restarted in between.
                None => match next {
                    Dropped => matches!(self, Staging | Starting),
                    Error => matches!(self, Staging),
                    _ => true,
                },
            },
            Unreachable | Lost => true,
            Finished | Failed | Killed | Error | Dropped | Gone | GoneByOperator => false,
            // An answer about a task nobody knows says nothing about what is next.
            Unknown => true,
        }
    }

    const fn progress(self) -> Option<u8> {
        match self {
            Staging => Some(0),
            Starting => Some(1),
            Running => Some(2),
            Killing => Some(3),
            _ => None,
        }
    }

    /// What a framework without PARTITION_AWARE is told instead.
    pub const fn without_partition_awareness(self) -> Self {
        match self {
            Dropped | Unreachable | Gone | GoneByOperator | Unknown => Lost,
            other => other,
        }
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Staging => "TASK_STAGING",
            Starting => "TASK_STARTING",
            Running => "TASK_RUNNING",
            Killing => "TASK_KILLING",
            Finished => "TASK_FINISHED",
            Failed => "TASK_FAILED",
            Killed => "TASK_KILLED",
            Error => "TASK_ERROR",
            Lost => "TASK_LOST",
            Dropped => "TASK_DROPPED",
            Unreachable => "TASK_UNREACHABLE",
            Gone => "TASK_GONE",
            GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Unknown => "TASK_UNKNOWN",
        }
    }

    /// Reads the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_is_the_end() {
        for state in TaskState::ALL {
            for next in TaskState::ALL {
                if state.is_terminal() && state != Lost {
                    assert!(!state.may_become(next), "{state} -> {next}");
                }
            }
        }
    }

    #[test]
    fn life_goes_forward() {
        for (from, to, legal) in [
            (Staging, Starting, true),
            (Staging, Running, true),
            (Staging, Error, true),
            (Staging, Dropped, true),
            (Starting, Running, true),
            (Starting, Dropped, true),
            (Starting, Error, false),
            (Running, Running, true),
            (Running, Killing, true),
            (Running, Finished, true),
            (Killing, Killed, true),
            (Killing, Running, false),
            (Running, Starting, false),
            (Running, Staging, false),
            (Running, Dropped, false),
            (Running, Error, false),
            (Running, Unreachable, true),
            (Unreachable, Running, true),
            (Unreachable, GoneByOperator, true),
            (Lost, Running, true),
            (Running, Gone, true),
            (Finished, Finished, false),
            (Running, Unknown, false),
        ] {
            assert_eq!(from.may_become(to), legal, "{from} -> {to}");
        }
    }

    #[test]
    fn names_read_back() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_name(state.name()), Some(state));
        }
        assert_eq!(TaskState::from_name("TASK_SLEEPING"), None);
    }

    #[test]
    fn older_frameworks_hear_lost() {
        for state in TaskState::ALL {
            let told = state.without_partition_awareness();
            assert!(!matches!(told, Dropped | Unreachable | Gone | GoneByOperator | Unknown));
        }
        assert_eq!(Running.without_partition_awareness(), Running);
    }
}
