//! What becomes of tasks: updates on their way to schedulers, acknowledgements on their way back, and what the master
//! itself has to say.
//!
//! Only agents retry. The master passes an update on as it came, once for each time it comes, and keeps of it what
//! reconciliation and readers need. What the master says itself carries no uuid, is sent once, and needs no
//! acknowledgement.

use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, ExecutorId, FrameworkId, TaskId};
use model::limits::COMPLETED_TASKS;
use model::task::TaskState;
use wire::v1::task_status::{Reason as Why, Source};
use wire::v1::{self, TaskStatus};

use super::Turn;
use crate::effect::{AgentOrder, OperatorEvent, SchedulerEvent};
use crate::limits;
use crate::snapshot::{Framework, Task};

impl Turn<'_> {
    /// A status of the master's own making.
    pub(super) fn master_status(
        &self,
        task: &TaskId,
        agent: Option<&AgentId>,
        state: TaskState,
        reason: Why,
        message: &str,
    ) -> TaskStatus {
        TaskStatus {
            task_id: v1::TaskId::from(task),
            state: state.into(),
            message: Some(message.to_owned()),
            source: Some(Source::Master.into()),
            reason: Some(reason.into()),
            agent_id: agent.map(v1::AgentId::from),
            timestamp: Some(self.now.as_secs_f64()),
            ..TaskStatus::default()
        }
    }

    /// The state as this framework is told it: those without PARTITION_AWARE know only LOST.
    pub(super) fn told(&self, framework: &FrameworkId, state: TaskState) -> TaskState {
        let aware =
            self.framework(framework).is_some_and(|framework| framework.profile.capabilities.partition_aware);
        if aware { state } else { state.without_partition_awareness() }
    }

    pub(super) fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Arc<Task>> {
        self.framework(framework)?.tasks.get(task)
    }

    fn task_mut(&mut self, framework: &FrameworkId, task: &TaskId) -> Option<&mut Task> {
        let framework = self.framework_mut(framework)?;
        if framework.tasks.contains_key(task) {
            return framework.tasks.get_mut(task).map(Arc::make_mut);
        }
        framework.unreachable.get_mut(task).map(Arc::make_mut)
    }

    /// Where a task is or was last seen.
    pub(super) fn task_agent(&self, framework: &FrameworkId, task: &TaskId) -> Option<AgentId> {
        let framework = self.framework(framework)?;
        framework.tasks.get(task).or_else(|| framework.unreachable.get(task)).map(|task| task.agent.clone())
    }

    /// An agent passes on an update.
    pub(super) fn status_reported(
        &mut self,
        agent: &AgentId,
        framework: FrameworkId,
        task: &TaskId,
        status: Arc<TaskStatus>,
        state: TaskState,
        latest: TaskState,
    ) {
        self.leader.counters.count("messages_status_update");
        if self.framework(&framework).is_none() {
            // It was removed, and the order to end it got lost on the way.
            self.leader.counters.count("invalid_status_updates");
            self.order(agent, AgentOrder::ShutdownFramework(framework));
            return;
        }
        if self.task(&framework, task).is_some_and(|task| task.agent != *agent) {
            return self.reject_twin(agent, framework, task, &status);
        }
        self.leader.counters.count("valid_status_updates");
        let status = self.as_told(&framework, agent, status, state);
        self.advance(&framework, task, latest);
        let fresh = self.remember(&framework, task, &status);
        if fresh {
            self.leader.counters.task(state, &status);
            self.tally_state(&framework, state);
            self.publish_update(&framework, task, &status);
        }
        #[cfg(feature = "mutants")]
        if let (true, Some(uuid)) = (mutant::planted("leader-acknowledges-by-itself"), status.uuid.clone()) {
            let (framework, task) = (framework.clone(), task.clone());
            self.order(agent, AgentOrder::Acknowledge { framework, task, uuid });
        }
        self.event(&framework, SchedulerEvent::Update(status));
    }

    /// A task of this id runs elsewhere: the one here came back from a time when it was taken for lost, and its
    /// framework has launched another. It must go, and its updates must not be taken for the other's.
    fn reject_twin(&mut self, agent: &AgentId, framework: FrameworkId, task: &TaskId, status: &TaskStatus) {
        self.leader.counters.count("invalid_status_updates");
        if let Some(uuid) = status.uuid.clone() {
            self.order(agent, AgentOrder::Acknowledge { framework, task: task.clone(), uuid });
        }
    }

    /// The update as the scheduler gets it: with the agent's id, without which it could not acknowledge, and with a
    /// state it knows.
    fn as_told(
        &self,
        framework: &FrameworkId,
        agent: &AgentId,
        mut status: Arc<TaskStatus>,
        state: TaskState,
    ) -> Arc<TaskStatus> {
        let told = self.told(framework, state);
        if status.agent_id.is_none() || told != state {
            let status = Arc::make_mut(&mut status);
            status.agent_id = Some(v1::AgentId::from(agent));
            status.state = told.into();
        }
        status
    }

    /// Takes notice of a task's newest state, and of its resources when it has ended.
    pub(super) fn advance(&mut self, framework: &FrameworkId, task: &TaskId, latest: TaskState) {
        let Some(record) = self.task_mut(framework, task) else { return };
        let was = record.state;
        // Whatever a task was taken for, an agent that says that it has ended holds nothing for it any more.
        let ends = latest.is_terminal() && !was.is_terminal();
        if was == latest || !(ends || was.may_become(latest)) {
            return;
        }
        record.state = latest;
        if was.holds_resources() && !latest.holds_resources() {
            let (agent, role, resources) =
                (record.agent.clone(), record.role.clone(), record.resources.clone());
            self.free(framework, &role, &agent, &resources);
        }
    }

    /// Keeps what readers see of a status. Whether it is a new one, rather than one sent again.
    fn remember(&mut self, framework: &FrameworkId, task: &TaskId, status: &Arc<TaskStatus>) -> bool {
        let Some(record) = self.task_mut(framework, task) else { return false };
        let last = record.forwarded.as_ref();
        let again = last.is_some_and(|last| last.uuid.is_some() && last.uuid == status.uuid);
        // Whatever comes after the end: the acknowledgement that counts is that of the end.
        let ended = end_forwarded(record);
        if !ended {
            record.forwarded = Some(Arc::clone(status));
        }
        if !again && !ended {
            keep_status(record, status);
        }
        !again
    }

    fn publish_update(&mut self, framework: &FrameworkId, task: &TaskId, status: &Arc<TaskStatus>) {
        self.publish(|turn| {
            let record = turn.framework(framework)?;
            let task = record.tasks.get(task).or_else(|| record.unreachable.get(task))?;
            Some(OperatorEvent::TaskUpdated { task: Arc::clone(task), status: Arc::clone(status) })
        });
    }

    /// Puts a state of the master's own finding into the record of a task and tells operators.
    pub(super) fn book(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        state: TaskState,
        status: TaskStatus,
    ) {
        let status = Arc::new(status);
        self.advance(framework, task, state);
        if let Some(record) = self.task_mut(framework, task) {
            record.state = state;
            keep_status(record, &status);
        }
        self.leader.counters.task(state, &status);
        self.tally_state(framework, state);
        self.publish_update(framework, task, &status);
    }

    /// As `book`, and tells the scheduler.
    pub(super) fn book_and_tell(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        state: TaskState,
        status: TaskStatus,
    ) {
        self.book(framework, task, state, status.clone());
        self.event(framework, SchedulerEvent::Update(Arc::new(status)));
    }

    /// `ACKNOWLEDGE`: on its way to the agent. That of a terminal update ends the task's life here.
    pub(super) fn acknowledge(&mut self, framework: FrameworkId, task: TaskId, agent: &AgentId, uuid: Bytes) {
        let ends = self.task(&framework, &task).is_some_and(|record| {
            record.agent == *agent
                && record.forwarded.as_ref().is_some_and(|last| last.uuid.as_ref() == Some(&uuid))
                && end_forwarded(record)
        });
        if ends {
            self.complete(&framework, &task);
        }
        // Also for a task that is not known any more: the agent may have sent its update again, and would go on.
        let order = AgentOrder::Acknowledge { framework, task, uuid };
        let sent = self.order(agent, order);
        self.leader.counters.count(if sent {
            "valid_status_update_acknowledgements"
        } else {
            "invalid_status_update_acknowledgements"
        });
    }

    /// Moves an ended task to the kept history.
    pub(super) fn complete(&mut self, framework: &FrameworkId, task: &TaskId) {
        let Some(record) = self.framework_mut(framework) else { return };
        let Some(done) = record.tasks.remove(task) else { return };
        let agent = done.agent.clone();
        push_completed(record, done);
        if let Some(agent) = self.agent_mut(&agent) {
            agent.tasks.remove(&(framework.clone(), task.clone()));
        }
        self.drain_may_end(&agent);
    }

    pub(super) fn executor_message(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: ExecutorId,
        data: Bytes,
    ) {
        self.leader.counters.count("messages_executor_to_framework");
        let heard = self.framework(framework).is_some_and(|framework| framework.connected());
        self.leader.counters.count(if heard {
            "valid_executor_to_framework_messages"
        } else {
            "invalid_executor_to_framework_messages"
        });
        self.event(framework, SchedulerEvent::Message { agent: agent.clone(), executor, data });
    }

    /// An executor of the framework's own making ended, whatever way. Its tasks' updates come by themselves.
    pub(super) fn executor_exited(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: ExecutorId,
        status: Option<i32>,
    ) {
        self.leader.counters.count("messages_exited_executor");
        self.executor_ended(agent, framework, executor, status);
    }

    /// An executor is no more, with this status where it is known. Whoever knew of it is told.
    pub(super) fn executor_ended(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: ExecutorId,
        status: Option<i32>,
    ) {
        let known = self.forget_executor(agent, framework, &executor);
        if known {
            // Some clients fail on a missing status; -1 stands for unknown.
            let failure = SchedulerEvent::Failure {
                agent: agent.clone(),
                executor: Some((executor, status.unwrap_or(-1))),
            };
            self.event(framework, failure);
        }
    }

    /// Drops an executor's record and frees its resources. Whether there was one.
    pub(super) fn forget_executor(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> bool {
        let Some(record) = self.framework_mut(framework) else { return false };
        let Some(gone) = record.executors.remove(&(agent.clone(), executor.clone())) else { return false };
        if let Some(agent) = self.agent_mut(agent) {
            agent.executors.remove(&(framework.clone(), executor.clone()));
        }
        self.free(framework, &gone.role, agent, &gone.resources);
        true
    }

    /// `MESSAGE`: best effort.
    pub(super) fn message(
        &mut self,
        framework: FrameworkId,
        executor: ExecutorId,
        agent: &AgentId,
        data: Bytes,
    ) {
        let sent = self.order(agent, AgentOrder::Message { framework, executor, data });
        self.leader.counters.count(if sent {
            "valid_framework_to_executor_messages"
        } else {
            "invalid_framework_to_executor_messages"
        });
    }
}

/// Whether the last update that was passed on of a task is that of its end.
pub(super) fn end_forwarded(task: &Task) -> bool {
    let last = task.forwarded.as_ref();
    last.is_some_and(|last| TaskState::try_from(last.state).is_ok_and(TaskState::is_terminal))
}

pub(super) fn push_completed(framework: &mut Framework, task: Arc<Task>) {
    framework.completed.push_back(task);
    while framework.completed.len() > COMPLETED_TASKS {
        framework.completed.pop_front();
    }
}

/// Forgets that a task has ended. The rest is copied: `Vector::retain` swaps the wrong places of some vectors whose front
/// was taken away, those of what is freed among them, and ends in freeing twice.
pub(super) fn drop_completed(framework: &mut Framework, agent: &AgentId, task: &TaskId) {
    let is_it = |other: &Arc<Task>| other.id == *task && other.agent == *agent;
    if framework.completed.iter().any(is_it) {
        framework.completed = framework.completed.iter().filter(|other| !is_it(other)).cloned().collect();
    }
}

/// Keeps the last status of each state: a stream of health results must not grow the record. `data` is not for
/// readers and may be large.
pub(super) fn keep_status(task: &mut Task, status: &Arc<TaskStatus>) {
    let kept = if status.data.is_some() {
        Arc::new(TaskStatus { data: None, ..(**status).clone() })
    } else {
        Arc::clone(status)
    };
    match task.statuses.last_mut() {
        Some(last) if last.state == kept.state => *last = kept,
        _ => task.statuses.push(kept),
    }
    if task.statuses.len() > limits::TASK_STATUSES {
        task.statuses.remove(0);
    }
}
