//! What the maintenance schedule means for agents (spec mesos-v1, section 8.12): those of machines that are to be away
//! have it written on their offers, and their frameworks are asked to leave; those of machines that are down are removed.

use model::id::AgentId;
use model::time::Span;

use super::Turn;
use super::depart::Gone;
use super::timers::Timer;
use crate::effect::{AgentOrder, AgentRefusal, Effect, Reason};
use crate::input::{LinkId, Peer};
use crate::registry::Unavailability;
use crate::report::Hello;

/// How long after a full log an agent that must go is proposed again.
const TAKE_DOWN_AGAIN: Span = Span::from_secs(1);

impl Turn<'_> {
    /// When the machine of this name and address is to be away.
    pub(super) fn planned(&self, hostname: &str, ip: &str) -> Option<Unavailability> {
        self.view.scheduled(hostname, ip).map(|scheduled| scheduled.unavailability)
    }

    /// The registry holds another schedule.
    pub(super) fn maintenance_changed(&mut self) {
        let (mut moved, mut down) = (Vec::new(), Vec::new());
        for agent in self.leader.tables.agents.values() {
            let scheduled = self.view.scheduled(&agent.info.hostname, &agent.ip);
            let planned = scheduled.map(|scheduled| scheduled.unavailability);
            if scheduled.is_some_and(|scheduled| scheduled.down) {
                down.push(agent.id.clone());
            } else if planned != agent.unavailability {
                moved.push((agent.id.clone(), planned));
            }
        }
        for (agent, planned) in moved {
            self.replan(&agent, planned);
        }
        for agent in down {
            self.propose_removed(agent, Gone::Down);
        }
    }

    /// Offers that say nothing of the absence, or another, are withdrawn; whoever has answered is asked anew.
    fn replan(&mut self, id: &AgentId, planned: Option<Unavailability>) {
        self.rescind_agent_offers(id);
        self.forget_inverse(id);
        if let Some(agent) = self.agent_mut(id) {
            agent.unavailability = planned;
        }
        self.ask_about(id);
    }

    // --- down

    pub(super) fn is_down(&self, hello: &Hello) -> bool {
        self.view.scheduled(&hello.info.hostname, &hello.ip).is_some_and(|scheduled| scheduled.down)
    }

    /// An agent of a machine that is down wants to register. One with an id may run tasks, and must not.
    pub(super) fn send_away(&mut self, link: LinkId, hello: &Hello) {
        let message = format!("machine '{}' is down for maintenance", hello.info.hostname);
        let Some(id) = &hello.agent else {
            return self.refuse_agent(link, AgentRefusal::Invalid(message));
        };
        // Agents obey nobody who has not welcomed them.
        self.welcome(link, id, hello, Vec::new());
        self.order_on(link, AgentOrder::Shutdown { message });
        self.link_closed(link);
        self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Refused });
        if self.view.agent(id).is_some() {
            self.propose_removed(id.clone(), Gone::Down);
        }
    }

    pub(super) fn taking_down_failed(&mut self, agent: &AgentId) {
        self.leader.timers.set(Timer::TakeDown(agent.clone()), self.now + TAKE_DOWN_AGAIN);
    }

    /// Once more, unless the machine is up meanwhile.
    pub(super) fn take_down(&mut self, id: AgentId) {
        let Some(agent) = self.agent(&id) else { return };
        let scheduled = self.view.scheduled(&agent.info.hostname, &agent.ip);
        if scheduled.is_some_and(|scheduled| scheduled.down) {
            self.propose_removed(id, Gone::Down);
        }
    }
}
