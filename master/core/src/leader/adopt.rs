//! What an agent holds when it registers is the truth about its tasks and executors: taken into the tables, or told to
//! end; and what it should hold and does not is given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::{AgentId, ExecutorId, FrameworkId, TaskId};
use model::role::Role;
use model::task::TaskState;
use wire::v1;
use wire::v1::task_status::Reason as Why;

use super::Turn;
use crate::effect::{AgentOrder, OperatorEvent, SchedulerEvent};
use crate::report::{HeldExecutor, HeldTask};
use crate::snapshot::{Executor, Task};

impl Turn<'_> {
    /// The agent's executors are those it names; others of our record have ended, and nobody knows how.
    pub(super) fn adopt_executors(&mut self, id: &AgentId, held: Vec<HeldExecutor>, removed: &[FrameworkId]) {
        let names: BTreeSet<(FrameworkId, ExecutorId)> =
            held.iter().map(|executor| (executor.framework.clone(), executor.id.clone())).collect();
        let known: Vec<_> =
            self.agent(id).map(|agent| agent.executors.iter().cloned().collect()).unwrap_or_default();
        for (framework, executor) in known {
            if !names.contains(&(framework.clone(), executor.clone())) {
                self.executor_ended(id, &framework, executor, None);
            }
        }
        for executor in held {
            if removed.contains(&executor.framework) {
                continue;
            }
            let role = self.role_of(&executor.framework, &executor.info.resources);
            let record = Executor {
                id: executor.id.clone(),
                framework: executor.framework.clone(),
                agent: id.clone(),
                role,
                info: executor.info,
                resources: executor.resources.unallocate(),
            };
            if let Some(agent) = self.agent_mut(id) {
                agent.executors.insert((executor.framework.clone(), executor.id.clone()));
            }
            if let Some(framework) = self.framework_mut(&executor.framework) {
                framework.executors.insert((id.clone(), executor.id), Arc::new(record));
            }
        }
    }

    /// Takes the agent's tasks into the tables, and gives up those it should have and has not. Returns those it has.
    pub(super) fn adopt_tasks(
        &mut self,
        id: &AgentId,
        held: Vec<HeldTask>,
        removed: &[FrameworkId],
    ) -> Vec<(FrameworkId, TaskId)> {
        let expected: BTreeSet<(FrameworkId, TaskId)> =
            self.agent(id).map(|agent| agent.tasks.iter().cloned().collect()).unwrap_or_default();
        let mut adopted = Vec::with_capacity(held.len());
        for task in held {
            if removed.contains(&task.framework) {
                continue;
            }
            let key = (task.framework.clone(), task.id.clone());
            if self.adopt_task(id, task) {
                adopted.push(key);
            }
        }
        for (framework, task) in expected {
            if !adopted.contains(&(framework.clone(), task.clone())) {
                self.give_up(id, &framework, &task);
            }
        }
        adopted
    }

    /// Whether the task may stay.
    fn adopt_task(&mut self, id: &AgentId, held: HeldTask) -> bool {
        let HeldTask { framework, id: task, .. } = &held;
        if let Some(known) = self.task(framework, task) {
            if known.agent != *id {
                // Launched anew elsewhere while this one was away: two of them must not run.
                let order =
                    AgentOrder::Kill { framework: framework.clone(), task: task.clone(), policy: None };
                self.order(id, order);
                return false;
            }
            let (framework, task) = (framework.clone(), task.clone());
            self.advance(&framework, &task, held.latest);
            return true;
        }
        let record = self.record_held(id, held);
        let (framework, task) = (record.framework.clone(), record.id.clone());
        if let Some(agent) = self.agent_mut(id) {
            agent.tasks.insert((framework.clone(), task.clone()));
        }
        let record = Arc::new(record);
        if let Some(framework) = self.framework_mut(&framework) {
            // It may have been told as ended when its agent was lost.
            super::status::drop_completed(framework, id, &task);
            framework.tasks.insert(task, Arc::clone(&record));
        }
        self.publish(|_| Some(OperatorEvent::TaskAdded(record)));
        true
    }

    /// The record of a task this leader learns about: from its own record of what was unreachable, or from the agent
    /// alone.
    fn record_held(&mut self, id: &AgentId, held: HeldTask) -> Task {
        let was =
            self.framework_mut(&held.framework).and_then(|framework| framework.unreachable.remove(&held.id));
        let statuses = match (was, &held.forwarded) {
            (Some(was), _) => was.statuses.clone(),
            (None, Some(forwarded)) => vec![Arc::clone(forwarded)],
            (None, None) => Vec::new(),
        };
        let role = self.role_of(&held.framework, &held.info.resources);
        Task {
            id: held.id,
            framework: held.framework,
            agent: id.clone(),
            role,
            info: held.info,
            executor: held.executor,
            resources: held.resources.unallocate(),
            state: held.latest,
            forwarded: held.forwarded,
            statuses,
        }
    }

    /// The role resources were launched under, as the master wrote it into them.
    fn role_of(&self, framework: &FrameworkId, resources: &[v1::Resource]) -> Role {
        let written = resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_ref());
        let written = written.and_then(|role| role.parse().ok());
        let own = || self.framework(framework)?.profile.roles.first().cloned();
        written.or_else(own).unwrap_or_else(Role::any)
    }

    /// What was on its way when the agent was cut off, and what the agent has lost meanwhile: it does not come back. For
    /// frameworks that do not know of partitions these tasks have ended before.
    pub(super) fn give_up_unreachable(&mut self, id: &AgentId) {
        let names: Vec<FrameworkId> = self.leader.tables.frameworks.keys().cloned().collect();
        for name in names {
            let Some(framework) = self.framework(&name) else { continue };
            let lost: Vec<Arc<Task>> =
                framework.unreachable.values().filter(|task| task.agent == *id).cloned().collect();
            let aware = framework.profile.capabilities.partition_aware;
            for task in lost {
                if aware {
                    let launched = task.forwarded.is_some();
                    let state = if launched { TaskState::Gone } else { TaskState::Dropped };
                    let message = "Reconciliation: Task is unknown to the agent";
                    let status = self.master_status(&task.id, Some(id), state, Why::Reconciliation, message);
                    self.book_and_tell(&name, &task.id, state, status);
                }
                let Some(framework) = self.framework_mut(&name) else { continue };
                let Some(record) = framework.unreachable.remove(&task.id) else { continue };
                super::status::push_completed(framework, record);
            }
        }
    }

    /// The agent has not got a task it was sent: the frame was lost with its link, or the agent lost the task.
    fn give_up(&mut self, id: &AgentId, framework: &FrameworkId, task: &TaskId) {
        let Some(record) = self.task(framework, task) else { return };
        if record.state.is_terminal() {
            return self.complete(framework, task);
        }
        let state = if record.state == TaskState::Staging { TaskState::Dropped } else { TaskState::Gone };
        let state = self.told(framework, state);
        let message = "Reconciliation: Task is unknown to the agent";
        let status = self.master_status(task, Some(id), state, Why::Reconciliation, message);
        self.book_and_tell(framework, task, state, status);
        self.complete(framework, task);
    }

    /// Frameworks have given the tasks up; now they hear that they live. Of what has ended they hear by the agent's own
    /// updates, which go on where they were: told here as well, the state would run backwards.
    pub(super) fn tell_returned(&mut self, id: &AgentId, tasks: &[(FrameworkId, TaskId)]) {
        for (framework, task) in tasks {
            let Some(record) = self.task(framework, task) else { continue };
            if record.state.is_terminal() {
                continue;
            }
            let state = self.told(framework, record.state);
            let message = "Unreachable agent re-reregistered";
            // Of the last status that had it: the newest is the master's own, that the task was out of reach.
            let seen = record.statuses.iter().rev().chain(&record.forwarded);
            let container_status = seen.filter_map(|status| status.container_status.clone()).next();
            let status = self.master_status(task, Some(id), state, Why::AgentReregistered, message);
            let status = v1::TaskStatus { container_status, ..status };
            self.event(framework, SchedulerEvent::Update(Arc::new(status)));
        }
    }
}
