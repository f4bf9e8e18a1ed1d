//! `KILL`, and `SHUTDOWN` of an executor.

use model::id::{AgentId, ExecutorId, FrameworkId, TaskId};
use wire::v1::KillPolicy;

use super::Turn;
use crate::effect::AgentOrder;

impl Turn<'_> {
    /// An unknown task is answered like a question about it; a known one is ended by its agent, now or when it is
    /// back.
    pub(super) fn kill(
        &mut self,
        framework: &FrameworkId,
        task: TaskId,
        agent: Option<AgentId>,
        policy: Option<KillPolicy>,
    ) {
        let Some(record) = self.task(framework, &task) else {
            return self.ask_about_task(framework, task, agent);
        };
        let home = record.agent.clone();
        if agent.is_some_and(|agent| agent != home) {
            return self.leader.counters.count("dropped_messages");
        }
        let order = AgentOrder::Kill { framework: framework.clone(), task, policy };
        if !self.order(&home, order.clone()) {
            self.leader.pulses.keep_for_return(&home, order);
        }
    }

    /// Unknown agents and executors are no error: the executor is not there, as was wanted.
    pub(super) fn shutdown_executor(
        &mut self,
        framework: FrameworkId,
        executor: ExecutorId,
        agent: &AgentId,
    ) {
        self.order(agent, AgentOrder::ShutdownExecutor { framework, executor });
    }
}
