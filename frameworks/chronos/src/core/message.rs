//! What the scheduler is told and what it asks for: the closed lists between it and its driver.

use std::collections::BTreeMap;

use model::id::{AgentId, TaskId};
use model::task::TaskState;
use sdk::offer::{Offer, Share};
use serde_json::Value;

use super::definition::Definition;
use super::fair::Rule;
use super::run::RunId;
use super::stored::Stored;

#[derive(Debug)]
pub enum Input {
    /// This process leads now, and this is all that is stored: keys and documents.
    Elected(Vec<(String, Value)>),
    /// The same, when the records were read already.
    Restored(Vec<Stored>),
    /// This process leads no more.
    Deposed,
    Offers(Vec<Offer>),
    Update(TaskUpdate),
    /// The deadline has passed.
    Wake,
}

/// What the cluster says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskUpdate {
    pub task: TaskId,
    /// Where it is or was, if that is told.
    pub agent: Option<AgentId>,
    pub state: TaskState,
    pub message: String,
}

/// What is asked through the API.
#[derive(Debug, Clone)]
pub enum Command {
    /// Creates a job, or replaces the definition of one. `counters` are those that the document brings along.
    Put {
        definition: Box<Definition>,
        counters: Counters,
    },
    Delete {
        job: String,
        orphans: Orphans,
    },
    /// Runs it now.
    Trigger {
        job: String,
        arguments: Option<String>,
    },
    /// Runs it now with parameters. A request that is repeated with its token makes no second run.
    Dispatch {
        job: String,
        arguments: Option<String>,
        parameters: BTreeMap<String, String>,
        token: String,
    },
    /// Launches nothing more of it, until it is resumed.
    Suspend {
        job: String,
    },
    Resume {
        job: String,
    },
    /// Says what a queue weighs.
    PutQueue {
        rule: Rule,
    },
    /// The queue is like any that nobody named.
    DeleteQueue {
        queue: String,
    },
    /// Declares a success without a run.
    Succeed {
        job: String,
    },
    KillTasks {
        job: String,
    },
    KillRun {
        run: RunId,
    },
    /// Tries a run that has failed or was killed once more.
    RetryRun {
        run: RunId,
    },
    Progress {
        job: String,
        task: String,
        processed: u64,
    },
    /// Drops everything that waits.
    Purge,
}

/// Counters in a posted document; absent ones keep their values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub successes: Option<u64>,
    pub errors: Option<u64>,
    pub errors_since_last_success: Option<u64>,
}

/// What becomes of jobs that depend on a deleted one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orphans {
    /// They take over its schedule.
    #[default]
    Schedule,
    /// They are disabled, with its schedule.
    Disable,
    /// They are deleted too, and so are those that depend on them.
    Delete,
    /// Nothing is deleted.
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// The run that was made, and whether it was skipped.
    Run(RunId),
    /// Whether the job exists.
    Marked(bool),
}

/// What is to be done. Records are stored first, all of one answer together; then the rest is done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Put {
        key: String,
        value: Value,
    },
    Remove {
        key: String,
    },
    Launch {
        offer: Offer,
        launches: Vec<Launch>,
    },
    Kill {
        task: TaskId,
        agent: AgentId,
    },
    /// Offers are wanted at once, also those refused before.
    Revive,
    Notify(Notice),
}

/// A task to be launched.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    pub task: TaskId,
    pub share: Share,
    pub definition: std::sync::Arc<Definition>,
    /// What follows the command.
    pub arguments: String,
    pub environment: Vec<(String, String)>,
}

/// What owners want to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub event: Event,
    pub definition: std::sync::Arc<Definition>,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Started,
    Succeeded,
    Deleted,
    Disabled,
    /// Suspended, because its runs failed.
    Paused,
    /// A run will not be, or was not, finished in time.
    Late,
    RetriesExhausted,
    Missed,
}
