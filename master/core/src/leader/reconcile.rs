//! `RECONCILE`: what the master knows of tasks, or that it knows nothing (spec mesos-v1, section 8.9).

use std::sync::Arc;

use model::id::{AgentId, FrameworkId, TaskId};
use model::task::TaskState;
use model::time::Time;
use wire::v1::task_status::{Reason as Why, Source};
use wire::v1::{self, TaskStatus};

use super::Turn;
use crate::effect::SchedulerEvent;
use crate::registry::Presence;
use crate::snapshot::Task;

impl Turn<'_> {
    pub(super) fn reconcile(&mut self, framework: &FrameworkId, tasks: Vec<(TaskId, Option<AgentId>)>) {
        if tasks.is_empty() {
            let Some(record) = self.framework(framework) else { return };
            let known: Vec<Arc<Task>> = record.tasks.values().cloned().collect();
            for task in known {
                self.tell_latest(framework, &task);
            }
            return;
        }
        for (task, agent) in tasks {
            self.reconcile_one(framework, &task, agent.as_ref());
        }
    }

    /// Answers about one task; the first that fits.
    pub(super) fn reconcile_one(&mut self, framework: &FrameworkId, task: &TaskId, agent: Option<&AgentId>) {
        let Some(record) = self.framework(framework) else { return };
        // A task whose end was acknowledged is still remembered for a while: its true end beats "unknown".
        let asked = |ended: &&Arc<Task>| ended.id == *task && agent.is_none_or(|agent| ended.agent == *agent);
        if let Some(known) = record.tasks.get(task).cloned() {
            return self.tell_latest(framework, &known);
        }
        if let Some(ended) = record.completed.iter().rev().find(asked).cloned() {
            return self.tell_end(framework, &ended);
        }
        let Some((state, message, since)) = self.verdict(framework, task, agent) else { return };
        let state = self.told(framework, state);
        let mut status = self.master_status(task, agent, state, Why::Reconciliation, message);
        status.unreachable_time = since.map(|at| v1::TimeInfo { nanoseconds: at.as_nanos() });
        self.event(framework, SchedulerEvent::Update(Arc::new(status)));
    }

    /// What to say of a task the master does not know; `None` while the one who knows may yet come back.
    fn verdict(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        agent: Option<&AgentId>,
    ) -> Option<(TaskState, &'static str, Option<Time>)> {
        let recovered = &self.leader.tables.recovered;
        let unsure = agent.map_or(!recovered.is_empty(), |agent| recovered.contains(agent));
        if unsure {
            return None;
        }
        // Without an agent named, the one it was last seen on will do.
        let last_seen = self.framework(framework)?.unreachable.get(task).map(|task| task.agent.clone());
        let agent = agent.cloned().or(last_seen);
        let fact = agent.as_ref().and_then(|agent| self.view.agent(agent));
        Some(
            match (
                agent.as_ref().and_then(|agent| self.agent(agent)),
                fact.map(|fact| (fact.presence, fact.since)),
            ) {
                (Some(_), _) => (TaskState::Gone, "Reconciliation: Task is unknown to the agent", None),
                (None, Some((Presence::Unreachable, since))) => {
                    (TaskState::Unreachable, "Reconciliation: Task is unreachable", Some(since))
                }
                (None, Some((Presence::Gone, _))) => {
                    (TaskState::GoneByOperator, "Reconciliation: Task is gone", None)
                }
                _ => (TaskState::Unknown, "Reconciliation: Task is unknown", None),
            },
        )
    }

    /// How a task ended. If its agent left with the update that would have said so, what was passed on last is of a task
    /// that ran: told again and again, it would keep the scheduler waiting for an end that never comes.
    fn tell_end(&mut self, framework: &FrameworkId, task: &Arc<Task>) {
        let told = task.forwarded.as_ref().and_then(|last| v1::TaskState::try_from(last.state).ok());
        let told = told.and_then(|state| TaskState::from_name(state.as_str_name()));
        if told.is_none_or(TaskState::is_terminal) {
            return self.tell_latest(framework, task);
        }
        self.tell_latest(framework, &Task { forwarded: None, ..(**task).clone() });
    }

    /// The state last passed on rather than the newest: a scheduler must never see a task run backwards.
    fn tell_latest(&mut self, framework: &FrameworkId, task: &Task) {
        let state = self.told(framework, task.state).into();
        let base = match &task.forwarded {
            Some(last) => TaskStatus {
                data: None,
                uuid: None,
                executor_id: None,
                unreachable_time: None,
                limitation: None,
                labels: None,
                ..(**last).clone()
            },
            None => TaskStatus { task_id: v1::TaskId::from(&task.id), state, ..TaskStatus::default() },
        };
        let status = TaskStatus {
            message: Some("Reconciliation: Latest task state".to_owned()),
            source: Some(Source::Master.into()),
            reason: Some(Why::Reconciliation.into()),
            agent_id: Some(v1::AgentId::from(&task.agent)),
            executor_id: task.executor.as_ref().map(v1::ExecutorId::from),
            timestamp: Some(self.now.as_secs_f64()),
            ..base
        };
        self.event(framework, SchedulerEvent::Update(Arc::new(status)));
    }
}
