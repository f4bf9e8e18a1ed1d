//! What readers may see, copied cheaply so that rendering never holds up the agent.

use std::sync::Arc;

use model::id::AgentId;
use model::resources::Bag;
use model::task::TaskState;
use model::time::Span;

use crate::agent::{Agent, Mode};
use crate::executor::{Executor, ExecutorPhase};
use crate::input::Drain;
use crate::operations::Operation;
use crate::task::{Framework, Phase, Task};

/// Things counted since the process started.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub finished: u64,
    pub failed: u64,
    pub killed: u64,
    pub lost: u64,
    /// Tasks whose executors did not come back.
    pub gone: u64,
    /// Executors that have ended, those that the agent plays for single tasks and for groups included.
    pub executors: u64,
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
    /// Messages between schedulers and executors that were passed on, and those that nobody was there to take.
    pub messages: u64,
    pub dropped_messages: u64,
    /// Updates of executors about tasks that are not theirs, or that make no sense.
    pub invalid_updates: u64,
    /// Containers of an earlier process that were not found again, though the machine had not been restarted.
    pub unrecovered: u64,
    /// Updates of executors that said nothing new.
    pub repeated_updates: u64,
}

impl Counters {
    pub(crate) fn ended(&mut self, state: TaskState) {
        match state {
            TaskState::Finished => self.finished += 1,
            TaskState::Killed => self.killed += 1,
            TaskState::Failed | TaskState::Error => self.failed += 1,
            TaskState::Gone => self.gone += 1,
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
    /// Without tasks and executors here any more, oldest first.
    pub completed_frameworks: Vec<Framework>,
    /// As the master said last.
    pub drain: Option<Drain>,
    pub counters: Counters,
    pub old_sandboxes: usize,
}

/// How many executors are how far. A command task has one of its own, which the agent plays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Executors {
    pub registering: u64,
    pub running: u64,
    pub terminating: u64,
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
    pub executors: Executors,
    /// How long it took to find what an earlier process left; absent while it is looked for.
    pub recovery: Option<Span>,
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
            completed_frameworks: self.completed_frameworks.iter().cloned().collect(),
            drain: self.drain.clone(),
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
            executors: self.executors(),
            recovery: self.recovery,
            live: self.state.tasks.values().filter(|task| task.phase != Phase::Ended).count(),
            total: self.total.clone(),
            used: self.used.clone(),
            counters: self.counters.clone(),
            old_sandboxes: self.gc.len(),
            pending_operations: self.state.operations.len(),
            pending_updates: self.state.streams.values().map(|stream| stream.pending().count()).sum(),
        }
    }

    fn executors(&self) -> Executors {
        let mut all = Executors::default();
        for executor in self.state.executors.values() {
            match executor.phase {
                ExecutorPhase::Fetching | ExecutorPhase::Launching => all.registering += 1,
                ExecutorPhase::Running => all.running += 1,
                ExecutorPhase::Ending => all.terminating += 1,
            }
        }
        for task in self.state.tasks.values().filter(|task| task.executor.is_none()) {
            match task.phase {
                Phase::Fetching | Phase::Launching => all.registering += 1,
                Phase::Running if task.kill.is_some() => all.terminating += 1,
                Phase::Running => all.running += 1,
                Phase::Ended => {}
            }
        }
        all
    }
}
