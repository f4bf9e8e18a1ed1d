//! Frameworks go: `TEARDOWN`, the operator's too, and failover timeouts.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::limits::COMPLETED_FRAMEWORKS;
use model::task::TaskState;
use model::time::Span;
use wire::v1::task_status::Reason as Why;

use super::Turn;
use super::proposals::Proposal;
use super::timers::Timer;
use crate::effect::{AgentOrder, Observation, OperatorEvent, Reason, Reply};
use crate::input::RequestId;
use crate::refusal::Refusal;
use crate::registry::{Command, FrameworkCommand};
use crate::snapshot::Framework;

/// Why a framework is to be removed, and so who cares whether that succeeds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Removal {
    /// It was away for too long.
    Timeout,
    /// Its scheduler said so and waits.
    Teardown(RequestId),
    /// An operator said so and waits.
    Operator(RequestId),
}

/// How long after a failed proposal a removal that nobody else will repeat is proposed again.
const REMOVE_AGAIN: Span = Span::from_secs(1);

impl Turn<'_> {
    /// The scheduler's `TEARDOWN`, answered when the masters have it in their log: whoever is told that it is accepted
    /// goes away, and a framework that a new leader finds alive again would hold its tasks until it is given up.
    pub(super) fn teardown(&mut self, request: RequestId, framework: FrameworkId) {
        self.leader.counters.count("messages_unregister_framework");
        self.propose_removal(framework, Removal::Teardown(request));
    }

    /// The operator's `TEARDOWN`, answered when it has taken effect.
    pub(super) fn operator_teardown(&mut self, request: RequestId, framework: FrameworkId) {
        if self.framework(&framework).is_none() && self.view.framework(&framework).is_none() {
            return self.answer(request, Err(Refusal::NoSuchFramework));
        }
        self.propose_removal(framework, Removal::Operator(request));
    }

    pub(super) fn failover_timed_out(&mut self, framework: FrameworkId) {
        if self.framework(&framework).is_some_and(|framework| !framework.connected()) {
            self.propose_removal(framework, Removal::Timeout);
        }
    }

    pub(super) fn propose_removal(&mut self, framework: FrameworkId, cause: Removal) {
        let command = Command::Framework(FrameworkCommand::Remove { id: framework.clone(), at: self.now });
        self.propose(command, Proposal::Removal { framework, cause });
    }

    /// Whoever waits for an answer asks again; for the others the leader does.
    pub(super) fn removal_failed(&mut self, framework: FrameworkId, cause: Removal, refusal: Refusal) {
        match cause {
            Removal::Teardown(request) | Removal::Operator(request) => self.answer(request, Err(refusal)),
            Removal::Timeout => {
                self.leader.timers.set(Timer::Failover(framework), self.now + REMOVE_AGAIN);
            }
        }
    }

    /// Whoever asked hears of it before its stream ends.
    pub(super) fn removed(&mut self, framework: &FrameworkId, cause: Removal) {
        match cause {
            Removal::Teardown(request) => self.answer(request, Ok(Reply::Accepted)),
            Removal::Operator(request) => self.answer(request, Ok(Reply::Done)),
            Removal::Timeout => {}
        }
        self.framework_removed(framework);
    }

    /// The registry has buried the framework: everything of it ends.
    pub(super) fn framework_removed(&mut self, id: &FrameworkId) {
        if self.framework(id).is_none() {
            return;
        }
        self.discard_offers(id);
        for agent in self.agents_of(id) {
            self.order(&agent, AgentOrder::ShutdownFramework(id.clone()));
            self.forget_executors(&agent, id);
            if let Some(agent) = self.agent_mut(&agent) {
                agent.tasks = agent.tasks.iter().filter(|(framework, _)| framework != id).cloned().collect();
            }
            self.drain_may_end(&agent);
        }
        self.book_killed(id);
        self.forget_operations(id);
        self.forget_inverse_of(id);
        self.leader.timers.cancel(&Timer::Failover(id.clone()));
        self.deactivate(id);
        let Some(mut framework) = self.leader.tables.frameworks.remove(id) else { return };
        if let Some(stream) = &framework.stream {
            self.close_stream(stream, Reason::Ended);
        }
        let record = Arc::make_mut(&mut framework);
        record.stream = None;
        record.unregistered_at = Some(self.now);
        let info = Arc::clone(&record.info);
        self.leader.tables.completed.push_back(framework);
        while self.leader.tables.completed.len() > COMPLETED_FRAMEWORKS {
            self.leader.tables.completed.pop_front();
        }
        self.publish(|_| Some(OperatorEvent::FrameworkRemoved(info)));
        self.observe(Observation::FrameworkRemoved { framework: id.clone() });
    }

    fn forget_executors(&mut self, agent: &AgentId, id: &FrameworkId) {
        let Some(framework) = self.framework(id) else { return };
        let here = framework.executors.keys().filter(|(at, _)| at == agent);
        let executors: Vec<_> = here.map(|(_, executor)| executor.clone()).collect();
        for executor in executors {
            self.forget_executor(agent, id, &executor);
        }
    }

    fn agents_of(&self, id: &FrameworkId) -> BTreeSet<AgentId> {
        let Some(framework) = self.framework(id) else { return BTreeSet::new() };
        let of_tasks = framework.tasks.values().map(|task| &task.agent);
        let of_executors = framework.executors.keys().map(|(agent, _)| agent);
        of_tasks.chain(of_executors).cloned().collect()
    }

    /// Its tasks are killed as far as anybody is told; the scheduler is not.
    fn book_killed(&mut self, id: &FrameworkId) {
        let Some(framework) = self.framework(id) else { return };
        let live = framework.tasks.values().filter(|task| !task.state.is_terminal());
        let ids: Vec<_> = live.chain(framework.unreachable.values()).map(|task| task.id.clone()).collect();
        let message = format!("Framework {id} removed");
        for task in ids {
            let agent = self.task_agent(id, &task);
            let status =
                self.master_status(&task, agent.as_ref(), TaskState::Killed, Why::FrameworkRemoved, &message);
            self.book(id, &task, TaskState::Killed, status);
        }
        let Some(framework) = self.framework_mut(id) else { return };
        complete_all(framework);
    }
}

fn complete_all(framework: &mut Framework) {
    let ended =
        std::mem::take(&mut framework.tasks).into_iter().chain(std::mem::take(&mut framework.unreachable));
    for (_, task) in ended {
        super::status::push_completed(framework, task);
    }
}
