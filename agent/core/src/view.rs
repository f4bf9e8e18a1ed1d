//! What readers may see, copied cheaply so that rendering never holds up the agent.

use std::sync::Arc;

use model::id::AgentId;
use model::resources::Bag;
use model::task::TaskState;

use crate::agent::{Agent, Mode};
use crate::executor::Executor;
use crate::operations::Operation;
use crate::task::{Framework, Phase, Task};

/// Things counted since the process started.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub finished: u64,
    pub failed: u64,
    pub killed: u64,
    pub lost: u64,
    pub updates: u64,
    pub launch_errors: u64,
    /// Reservations and volumes made and undone.
    pub operations: u64,
    /// Operations refused because too many were not acknowledged.
    pub dropped_operations: u64,
    pub fetches_succeeded: u64,
    pub fetches_failed: u64,
    pub registrations: u64,
    /// Orders of leaders of the past that were refused.
    pub fenced: u64,
    /// Launches of tasks that were here already.
    pub repeated_orders: u64,
    pub dropped_messages: u64,
    /// Updates of executors that said nothing new.
    pub repeated_updates: u64,
}

impl Counters {
    pub(crate) fn ended(&mut self, state: TaskState) {
        match state {
            TaskState::Finished => self.finished += 1,
            TaskState::Killed => self.killed += 1,
            TaskState::Failed | TaskState::Error => self.failed += 1,
            _ => self.lost += 1,
        }
    }
}

/// The agent at one moment.
#[derive(Debug, Clone)]
pub struct View {
    pub agent: Option<AgentId>,
    pub term: u64,
    pub total: Bag,
    pub used: Bag,
    /// Whether containers of an earlier process are still being looked for.
    pub recovering: bool,
    /// The master it is registered with.
    pub master: Option<String>,
    pub frameworks: Vec<Framework>,
    pub tasks: Vec<Task>,
    /// Ended and acknowledged, oldest first.
    pub completed: Vec<Arc<Task>>,
    pub executors: Vec<Executor>,
    /// Ended, and not acknowledged.
    pub operations: Vec<Operation>,
    /// Ended, oldest first.
    pub completed_executors: Vec<Arc<Executor>>,
    pub counters: Counters,
    pub old_sandboxes: usize,
}

/// Numbers for metrics, without the copies of a [`View`].
#[derive(Debug, Clone)]
pub struct Summary {
    pub registered: bool,
    pub recovering: bool,
    pub staging: u64,
    pub starting: u64,
    pub running: u64,
    pub killing: u64,
    pub frameworks: usize,
    /// Tasks with something of them still running.
    pub live: usize,
    pub total: Bag,
    pub used: Bag,
    pub counters: Counters,
    pub old_sandboxes: usize,
    /// Updates waiting for an acknowledgement.
    pub pending_updates: usize,
    /// Operations whose end waits for one.
    pub pending_operations: usize,
}

impl Agent {
    pub fn view(&self) -> View {
        View {
            agent: self.state.agent.clone(),
            term: self.state.term,
            total: self.total.clone(),
            used: self.used.clone(),
            recovering: matches!(self.mode, Mode::New | Mode::Recovering),
            master: self.master().map(str::to_owned),
            frameworks: self.state.frameworks.values().cloned().collect(),
            tasks: self.state.tasks.values().cloned().collect(),
            completed: self.completed.iter().cloned().collect(),
            executors: self.state.executors.values().cloned().collect(),
            operations: self.state.operations.values().cloned().collect(),
            completed_executors: self.completed_executors.iter().cloned().collect(),
            counters: self.counters.clone(),
            old_sandboxes: self.gc.len(),
        }
    }

    pub fn summary(&self) -> Summary {
        Summary {
            registered: self.registered().is_some(),
            recovering: matches!(self.mode, Mode::New | Mode::Recovering),
            staging: self.count(TaskState::Staging),
            starting: self.count(TaskState::Starting),
            running: self.count(TaskState::Running),
            killing: self.count(TaskState::Killing),
            frameworks: self.state.frameworks.len(),
            live: self.state.tasks.values().filter(|task| task.phase != Phase::Ended).count(),
            total: self.total.clone(),
            used: self.used.clone(),
            counters: self.counters.clone(),
            old_sandboxes: self.gc.len(),
            pending_operations: self.state.operations.len(),
            pending_updates: self.state.streams.values().map(|stream| stream.pending().count()).sum(),
        }
    }
}
