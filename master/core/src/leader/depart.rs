//! Agents leave: unreachable, which may end, or gone, which is for ever. Both are facts of the registry before anybody
//! hears of them.

use model::id::{AgentId, FrameworkId, TaskId};
use model::limits::COMPLETED_TASKS;
use model::task::TaskState;
use wire::v1::task_status::Reason as Why;

use super::Turn;
use super::proposals::Proposal;
use super::status::end_forwarded;
use crate::effect::{AgentOrder, Effect, Observation, OperatorEvent, Reason, SchedulerEvent};
use crate::input::Peer;
use crate::registry::{AgentCommand, Command};

/// Why an agent leaves, and what becomes of its tasks.
struct Departure {
    state: TaskState,
    reason: Why,
    /// For frameworks that do not know `state`.
    older_reason: Why,
    message: &'static str,
    /// Its tasks may come back.
    may_return: bool,
}

/// Why an agent is removed whose id may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The operator took its machine down.
    Down,
    /// It ended in order and killed its tasks.
    Ended,
}

impl Turn<'_> {
    /// The registry holds that the agent is unreachable.
    pub(super) fn agent_unreachable(&mut self, id: &AgentId, message: &'static str) {
        self.leader.counters.count("slave_unreachable_completed");
        if self.leader.tables.recovered.contains(id) {
            self.leader.counters.count("recovery_slave_removals");
        }
        let departure = Departure {
            state: TaskState::Unreachable,
            reason: Why::AgentRemoved,
            older_reason: Why::AgentRemoved,
            message,
            may_return: true,
        };
        self.depart(id, &departure);
        self.observe(Observation::AgentUnreachable { agent: id.clone() });
        self.recovery_progresses();
    }

    /// The registry holds that the agent never returns.
    pub(super) fn agent_gone(&mut self, id: &AgentId) {
        let message = "Agent has been marked gone";
        self.order(id, AgentOrder::Shutdown { message: message.to_owned() });
        let departure = Departure {
            state: TaskState::GoneByOperator,
            reason: Why::AgentRemovedByOperator,
            older_reason: Why::AgentRemoved,
            message,
            may_return: false,
        };
        self.depart(id, &departure);
        self.observe(Observation::AgentGone { agent: id.clone() });
        self.recovery_progresses();
    }

    /// Has the registry forget an agent whose tasks are killed: it may come back as new.
    pub(super) fn propose_removed(&mut self, agent: AgentId, why: Gone) {
        let command = AgentCommand::Forget { id: agent.clone() };
        self.propose(Command::Agent(command), Proposal::Removed { agent, why });
    }

    /// The registry has forgotten the agent.
    pub(super) fn agent_removed(&mut self, id: &AgentId, why: Gone) {
        let message = match why {
            Gone::Down => "Agent has been removed: its machine is down for maintenance",
            Gone::Ended => "Agent has been removed: it ended and killed its tasks",
        };
        // One that ended may have started again meanwhile: it loses its link, and registers as new.
        if why == Gone::Down {
            self.order(id, AgentOrder::Shutdown { message: message.to_owned() });
        }
        let departure = Departure {
            state: TaskState::Lost,
            reason: Why::AgentRemoved,
            older_reason: Why::AgentRemoved,
            message,
            may_return: false,
        };
        self.leader.counters.count("slave_removals");
        self.leader.counters.count("slave_removals/reason_unregistered");
        self.depart(id, &departure);
        self.observe(Observation::AgentRemoved { agent: id.clone() });
        self.recovery_progresses();
    }

    /// Per framework: updates, then rescinds; at last everybody hears FAILURE.
    fn depart(&mut self, id: &AgentId, departure: &Departure) {
        let (tasks, link) = match self.agent(id) {
            Some(agent) => (agent.tasks.iter().cloned().collect(), agent.link),
            None => (Vec::new(), None),
        };
        for (framework, task) in &tasks {
            self.depart_task(id, framework, task, departure);
        }
        if departure.may_return {
            self.leader.counters.count("slave_removals");
            self.leader.counters.count("slave_removals/reason_unhealthy");
        } else {
            self.complete_unreachable(id, departure);
        }
        self.rescind_agent_offers(id);
        self.depart_operations(id, departure.may_return, departure.message);
        self.forget_inverse(id);
        self.forget_agent(id);
        let executors: Vec<_> =
            self.agent(id).map(|agent| agent.executors.iter().cloned().collect()).unwrap_or_default();
        for (framework, executor) in executors {
            if let Some(framework) = self.framework_mut(&framework) {
                framework.executors.remove(&(id.clone(), executor));
            }
        }
        let known = self.leader.tables.agents.remove(id).is_some();
        self.leader.tables.recovered.remove(id);
        self.leader.pulses.stop(id);
        self.leader.reaper.forget(id);
        if let Some(link) = link {
            self.leader.links.remove(&link);
            self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Refused });
        }
        self.fail_agent(id);
        if known {
            self.publish(|_| Some(OperatorEvent::AgentRemoved(id.clone())));
        }
    }

    fn told_departure(&self, framework: &FrameworkId, departure: &Departure) -> (TaskState, Why) {
        let state = self.told(framework, departure.state);
        (state, if state == departure.state { departure.reason } else { departure.older_reason })
    }

    fn depart_task(&mut self, id: &AgentId, framework: &FrameworkId, task: &TaskId, departure: &Departure) {
        let Some(record) = self.task(framework, task) else { return };
        if record.state.is_terminal() {
            self.tell_unheard_end(id, framework, task);
            return self.complete(framework, task);
        }
        let (state, reason) = self.told_departure(framework, departure);
        let mut status = self.master_status(task, Some(id), state, reason, departure.message);
        if departure.may_return {
            status.unreachable_time = Some(self.now.into());
        }
        self.book_and_tell(framework, task, state, status);
        if !departure.may_return {
            return self.complete(framework, task);
        }
        let Some(framework) = self.framework_mut(framework) else { return };
        let Some(record) = framework.tasks.remove(task) else { return };
        framework.unreachable.insert(task.clone(), record);
        while framework.unreachable.len() > COMPLETED_TASKS {
            let Some((first, _)) = framework.unreachable.get_min().cloned() else { break };
            framework.unreachable.remove(&first);
        }
    }

    /// The agent leaves with the update of a task's end. A scheduler that was told that the task runs has no reason to ask
    /// again, and would wait for its end for ever.
    fn tell_unheard_end(&mut self, id: &AgentId, framework: &FrameworkId, task: &TaskId) {
        let Some(record) = self.task(framework, task).filter(|record| !end_forwarded(record)) else { return };
        let state = self.told(framework, record.state);
        let message = "Agent has been removed before it could pass on how the task ended";
        let status = self.master_status(task, Some(id), state, Why::AgentRemoved, message);
        self.book_and_tell(framework, task, state, status);
    }

    /// What was unreachable on an agent that never returns has ended.
    fn complete_unreachable(&mut self, id: &AgentId, departure: &Departure) {
        let frameworks: Vec<FrameworkId> = self.leader.tables.frameworks.keys().cloned().collect();
        for name in frameworks {
            let Some(framework) = self.framework(&name) else { continue };
            let lost: Vec<TaskId> = framework
                .unreachable
                .values()
                .filter(|task| task.agent == *id)
                .map(|task| task.id.clone())
                .collect();
            for task in lost {
                let (state, reason) = self.told_departure(&name, departure);
                let status = self.master_status(&task, Some(id), state, reason, departure.message);
                self.book_and_tell(&name, &task, state, status);
                let Some(framework) = self.framework_mut(&name) else { continue };
                let Some(record) = framework.unreachable.remove(&task) else { continue };
                super::status::push_completed(framework, record);
            }
        }
    }

    fn fail_agent(&mut self, id: &AgentId) {
        let connected: Vec<FrameworkId> = self
            .leader
            .tables
            .frameworks
            .values()
            .filter(|framework| framework.connected())
            .map(|framework| framework.id.clone())
            .collect();
        for framework in connected {
            self.event(&framework, SchedulerEvent::Failure { agent: id.clone(), executor: None });
        }
    }
}
