//! Inverse offers: frameworks with something on an agent whose machine is to be away are asked to leave it.
//!
//! A promise stands until the schedule says something else for that machine; a framework that declines is asked again
//! after the time it names. What they answer is for the operator to read, and decides nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId, OfferId};
use model::time::Span;

use super::Turn;
use super::timers::Timer;
use crate::effect::SchedulerEvent;
use crate::snapshot::{Agent, InverseAnswer, InverseOffer};

/// A framework that declines for less would be asked, and would decline, without end.
const PAUSE_LEAST: Span = Span::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Inverse {
    /// Agents of machines that are to be away: few, where agents are many.
    leaving: BTreeSet<AgentId>,
    /// Those of them with frameworks to ask.
    due: BTreeSet<AgentId>,
    /// Who was asked and has not answered.
    open: BTreeMap<(AgentId, FrameworkId), OfferId>,
}

impl Turn<'_> {
    // --- asking

    /// An agent has, or may have, frameworks that are to be asked to leave it.
    pub(super) fn ask_about(&mut self, id: &AgentId) {
        let leaves = self.agent(id).is_some_and(|agent| agent.unavailability.is_some());
        if leaves {
            self.leader.inverse.leaving.insert(id.clone());
            self.leader.inverse.due.insert(id.clone());
            self.leader.timers.set(Timer::Inverse, self.now);
        } else {
            self.leader.inverse.leaving.remove(id);
        }
    }

    /// A scheduler listens: it may have tasks where it should leave.
    pub(super) fn ask_framework(&mut self, id: &FrameworkId) {
        if self.leader.inverse.leaving.is_empty() {
            return;
        }
        let Some(framework) = self.framework(id) else { return };
        let of_tasks = framework.tasks.values().map(|task| &task.agent);
        let of_executors = framework.executors.keys().map(|(agent, _)| agent);
        let leaving = &self.leader.inverse.leaving;
        let agents: BTreeSet<AgentId> =
            of_tasks.chain(of_executors).filter(|agent| leaving.contains(*agent)).cloned().collect();
        for agent in agents {
            self.ask_about(&agent);
        }
    }

    /// Asks whoever is to be asked. All requests of a framework go in one event.
    pub(super) fn ask_inverse(&mut self) {
        let due = std::mem::take(&mut self.leader.inverse.due);
        let mut events: BTreeMap<FrameworkId, Vec<Arc<InverseOffer>>> = BTreeMap::new();
        for agent in due {
            let Some(agent) = self.agent(&agent).filter(|agent| agent.link.is_some()).cloned() else {
                continue;
            };
            for framework in self.users(&agent) {
                if let Some(offer) = self.inverse_offer(&agent, &framework) {
                    events.entry(framework).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in events {
            self.leader.counters.add("inverse_offers_sent", offers.len() as u64);
            self.event(&framework, SchedulerEvent::InverseOffers(offers));
        }
    }

    /// Who has something there: tasks, executors, offers.
    fn users(&self, agent: &Agent) -> BTreeSet<FrameworkId> {
        let holds =
            |id: &FrameworkId, task| self.task(id, task).is_some_and(|task| task.state.holds_resources());
        let of_tasks = agent.tasks.iter().filter(|(id, task)| holds(id, task)).map(|(id, _)| id);
        let of_executors = agent.executors.iter().map(|(id, _)| id);
        let offers = agent.offers.iter().filter_map(|id| self.leader.tables.offers.get(id));
        of_tasks.chain(of_executors).chain(offers.map(|offer| &offer.framework)).cloned().collect()
    }

    fn inverse_offer(&mut self, agent: &Agent, framework: &FrameworkId) -> Option<Arc<InverseOffer>> {
        let unavailability = agent.unavailability?;
        let key = (agent.id.clone(), framework.clone());
        let connected = self.framework(framework).is_some_and(|framework| framework.connected());
        let promised = self.leader.tables.inverse_answers.get(&key).is_some_and(|answer| answer.accepted);
        let paused = self.leader.timers.is_set(&Timer::InverseAgain(agent.id.clone(), framework.clone()));
        if !connected || promised || paused || self.leader.inverse.open.contains_key(&key) {
            return None;
        }
        let id = self.next_offer_id();
        let offer = Arc::new(InverseOffer {
            id: id.clone(),
            framework: framework.clone(),
            agent: agent.id.clone(),
            unavailability,
            info: Arc::clone(&agent.info),
            ip: Arc::clone(&agent.ip),
        });
        self.framework_mut(framework)?.inverse_offers.insert(id.clone(), Arc::clone(&offer));
        self.leader.inverse.open.insert(key, id);
        Some(offer)
    }

    // --- answers

    /// `ACCEPT_INVERSE_OFFERS` and `DECLINE_INVERSE_OFFERS`. Unknown, repeated and other frameworks' ids are ignored.
    pub(super) fn answer_inverse(
        &mut self,
        framework: &FrameworkId,
        offers: &[OfferId],
        accepted: bool,
        refuse: Span,
    ) {
        for id in offers {
            let open = self.framework_mut(framework).and_then(|record| record.inverse_offers.remove(id));
            let Some(offer) = open else { continue };
            let key = (offer.agent.clone(), framework.clone());
            self.leader.inverse.open.remove(&key);
            let answer = InverseAnswer { accepted, at: self.now };
            self.leader.tables.inverse_answers.insert(key, answer);
            if !accepted {
                let again = Timer::InverseAgain(offer.agent.clone(), framework.clone());
                self.leader.timers.set(again, self.now + refuse.max(PAUSE_LEAST));
            }
        }
    }

    // --- requests end

    /// Withdraws the requests about an agent that were not answered.
    pub(super) fn rescind_inverse_offers(&mut self, agent: &AgentId) {
        let from = (agent.clone(), FrameworkId::from(""));
        let open = self.leader.inverse.open.range(from..).take_while(|((about, _), _)| about == agent);
        let open: Vec<(FrameworkId, OfferId)> =
            open.map(|((_, framework), id)| (framework.clone(), id.clone())).collect();
        for (framework, id) in open {
            self.leader.inverse.open.remove(&(agent.clone(), framework.clone()));
            if let Some(record) = self.framework_mut(&framework) {
                record.inverse_offers.remove(&id);
            }
            self.event(&framework, SchedulerEvent::RescindInverse(id));
        }
    }

    /// The agent is gone, or its machine will be away at another time: what was said about it is void.
    pub(super) fn forget_inverse(&mut self, agent: &AgentId) {
        self.rescind_inverse_offers(agent);
        let from = (agent.clone(), FrameworkId::from(""));
        let answered =
            self.leader.tables.inverse_answers.range(from..).take_while(|((about, _), _)| about == agent);
        let answered: Vec<(AgentId, FrameworkId)> = answered.map(|(key, _)| key.clone()).collect();
        for key in answered {
            self.forget_answer(key);
        }
        self.leader.inverse.leaving.remove(agent);
        self.leader.inverse.due.remove(agent);
    }

    fn forget_answer(&mut self, key: (AgentId, FrameworkId)) {
        self.leader.tables.inverse_answers.remove(&key);
        self.leader.timers.cancel(&Timer::InverseAgain(key.0, key.1));
    }

    /// Nobody listens, or somebody else: what is not answered is void without a word, and asked again.
    pub(super) fn discard_inverse_offers(&mut self, framework: &FrameworkId) {
        let Some(record) = self.framework_mut(framework) else { return };
        for offer in std::mem::take(&mut record.inverse_offers).values() {
            self.leader.inverse.open.remove(&(offer.agent.clone(), framework.clone()));
        }
    }

    /// The framework is gone for ever.
    pub(super) fn forget_inverse_of(&mut self, framework: &FrameworkId) {
        let agents: Vec<AgentId> = self.leader.inverse.leaving.iter().cloned().collect();
        for agent in agents {
            self.forget_answer((agent, framework.clone()));
        }
    }
}
