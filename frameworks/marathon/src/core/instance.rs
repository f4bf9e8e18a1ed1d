//! An instance: one wanted copy of an app, and the task that is its present life.

use std::collections::BTreeMap;

use model::id::{AgentId, TaskId};
use model::task::TaskState;
use model::time::Time;

use super::app::AppDefinition;
use super::health::Health;
use super::id::{AppId, InstanceId};
use super::version::Version;

/// What is known and wanted of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: InstanceId,
    pub app: AppId,
    /// The definition its task runs, or will run.
    pub version: Version,
    /// When that definition's configuration was last changed: tells old instances from new ones in an upgrade.
    pub config: Version,
    pub goal: Goal,
    pub condition: Condition,
    /// When the condition last changed.
    pub since: Time,
    /// Launches so far; the number of the present or last task.
    pub launches: u32,
    /// Absent while the instance waits for an offer.
    pub task: Option<Task>,
}

/// What is to become of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Runs, and is launched again when it ends.
    Running,
    /// Ends and is forgotten.
    Decommissioned,
}

/// How an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Waits for an offer.
    Scheduled,
    /// The launch was decided, perhaps sent.
    Provisioned,
    Staging,
    Starting,
    Running,
    Killing,
    /// On an agent that cannot be reached.
    Unreachable,
    /// Unreachable for so long that it was replaced.
    UnreachableInactive,
    // An instance is in one of the following only while its end is told; then it is scheduled again or forgotten.
    Finished,
    Failed,
    Killed,
    Error,
    Gone,
    Dropped,
    Unknown,
}

impl Condition {
    pub const NAMES: [(&'static str, Self); 15] = [
        ("Scheduled", Self::Scheduled),
        ("Provisioned", Self::Provisioned),
        ("Staging", Self::Staging),
        ("Starting", Self::Starting),
        ("Running", Self::Running),
        ("Killing", Self::Killing),
        ("Unreachable", Self::Unreachable),
        ("UnreachableInactive", Self::UnreachableInactive),
        ("Finished", Self::Finished),
        ("Failed", Self::Failed),
        ("Killed", Self::Killed),
        ("Error", Self::Error),
        ("Gone", Self::Gone),
        ("Dropped", Self::Dropped),
        ("Unknown", Self::Unknown),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, condition)| *condition == self).map_or("", |(name, _)| name)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, condition)| *condition)
    }

    /// Whether the task is over for good.
    pub fn is_terminal(self) -> bool {
        self >= Self::Finished
    }

    pub fn is_unreachable(self) -> bool {
        matches!(self, Self::Unreachable | Self::UnreachableInactive)
    }

    /// Whether this end of a task slows the next launch down. Being killed does not, nor does a launch that never
    /// happened because its offer was withdrawn (told apart by the caller).
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Error | Self::Gone | Self::Dropped)
    }
}

/// The present task of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub agent: AgentId,
    pub host: String,
    /// Host ports, in the order of the definition.
    pub ports: Vec<u16>,
    /// The agent's hostname and those attributes the app's constraints speak of.
    pub fields: BTreeMap<String, String>,
    /// As last reported; absent before the first report.
    pub state: Option<TaskState>,
    pub staged_at: Time,
    pub started_at: Option<Time>,
    pub addresses: Vec<String>,
    pub health: Health,
    pub unreachable_since: Option<Time>,
    /// Its end is decided: it is killed then at the latest, sooner when the load balancers have let go of it.
    pub kill_by: Option<Time>,
    /// Of the last status update, so that a repeated one is recognised.
    pub last_update: Vec<u8>,
}

impl Instance {
    pub fn scheduled(id: InstanceId, definition: &AppDefinition, now: Time) -> Self {
        Self {
            id,
            app: definition.id.clone(),
            version: definition.version,
            config: definition.last_config_change,
            goal: Goal::Running,
            condition: Condition::Scheduled,
            since: now,
            launches: 0,
            task: None,
        }
    }

    pub fn is_wanted(&self) -> bool {
        self.goal == Goal::Running
    }

    /// Counts towards the wanted number of instances.
    pub fn counts(&self) -> bool {
        self.is_wanted() && self.condition != Condition::UnreachableInactive
    }

    /// Runs and is not known to be ill. Without health checks, running is all there is to know.
    pub fn is_healthy(&self, definition: &AppDefinition) -> bool {
        self.condition == Condition::Running
            && (!definition.has_health_checks()
                || self.task.as_ref().is_some_and(|task| task.health.alive == Some(true)))
    }

    /// Healthy, and nobody has decided to end its task: to count one that is about to be killed would cost the next.
    pub fn serves(&self, definition: &AppDefinition) -> bool {
        self.is_healthy(definition) && self.task.as_ref().is_none_or(|task| task.kill_by.is_none())
    }

    /// Given up while its agent cannot be reached: kept only so that it is killed should it return.
    pub fn is_tombstone(&self) -> bool {
        self.goal == Goal::Decommissioned && self.condition.is_unreachable()
    }

    /// When it was started, or else staged, or else scheduled: what age means for victims.
    pub fn born(&self) -> Time {
        self.task.as_ref().map_or(self.since, |task| task.started_at.unwrap_or(task.staged_at))
    }

    /// Whether its record belongs in the store. One that was never launched carries no fact that the app's own
    /// record does not, and thousands of them are made at once.
    pub fn is_stored(&self) -> bool {
        self.launches > 0
    }
}
