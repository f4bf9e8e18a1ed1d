//! What happens, and what it may have made possible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::resources::{Bag, Lacking};
use model::role::Role;
use model::time::{Span, Time};

use super::explain::Refused;
use super::filters;
use super::grant::{AgentFacts, FrameworkChange, Held, Minimum, Misuse, PolicyChange};
use super::ledger::{Agent, Index, Touch};
use super::order::Place;
use super::quota::Part;
use super::{Allocator, Client, Constraints, Contender};
use crate::profile::Capabilities;

/// How a framework that is connected wants its offers.
struct Wants {
    suppressed: BTreeSet<Role>,
    capabilities: Capabilities,
    minimums: BTreeMap<Role, Minimum>,
    constraints: BTreeMap<Role, Arc<Constraints>>,
}

/// A movement in an agent's books: `None` when the client holds nothing there.
type Booked = Option<Result<(), Lacking>>;

impl Allocator {
    /// An agent registered, with what is used there. One that is known is replaced: whatever was offered of it has to
    /// be rescinded by the caller, and is no longer booked.
    pub fn agent_up(&mut self, id: AgentId, facts: AgentFacts, used: impl IntoIterator<Item = Held>) {
        self.agent_down(&id);
        self.order.add_total(&facts.total);
        let index = self.agents.insert(id, facts);
        self.count(index, true);
        if self.queue.sweep > 0 {
            // The round has become longer: its end is no longer where it was.
            self.queue.sweep = self.agents.slots();
        }
        for held in used {
            #[cfg(feature = "mutants")]
            if mutant::planted("usage-is-forgotten-at-registration") {
                continue;
            }
            self.claim(index, &held);
        }
        self.touch_all(index);
    }

    /// The agent has other totals now. What is held of it stays booked; of a resource of which that is more than there
    /// is, nothing is free until enough has come back.
    pub fn agent_total(&mut self, id: &AgentId, total: Bag) -> Result<(), Misuse> {
        let index = self.known(id)?;
        self.order.subtract_total(&self.agents.get(index).facts.total);
        self.order.add_total(&total);
        self.edit(index, |agent| agent.set_total(total));
        self.touch_all(index);
        Ok(())
    }

    /// Whether anything may be offered of the agent. What was offered stays so.
    pub fn agent_active(&mut self, id: &AgentId, active: bool) -> Result<(), Misuse> {
        let index = self.known(id)?;
        self.edit(index, |agent| agent.facts.active = active);
        if active {
            self.touch_all(index);
        }
        Ok(())
    }

    /// The agent is out of the pool, and with it all that was used or offered there. An unknown one is no error.
    pub fn agent_down(&mut self, id: &AgentId) {
        let Some(index) = self.agents.index(id) else { return };
        self.count(index, false);
        let agent = self.agents.remove(index);
        self.quotas.release(index);
        self.order.subtract_total(&agent.facts.total);
        self.filters.drop_agent(index);
        self.queue.dirty.remove(index);
        for (client, holding) in agent.holdings {
            self.order.discharge(client, &holding.used);
            self.order.discharge(client, &holding.offered);
            self.contender_mut(client).holds -= 1;
            self.forget_if_idle(client);
        }
    }

    pub fn framework(&mut self, id: &FrameworkId, change: FrameworkChange) {
        match change {
            FrameworkChange::Subscribed { roles, suppressed, capabilities, minimums, constraints } => {
                let wants = Wants { suppressed, capabilities, minimums, constraints };
                self.subscribed(id, roles, wants);
            }
            FrameworkChange::Disconnected => {
                for client in self.clients_of(id, &BTreeSet::new()) {
                    self.unsubscribe(client);
                }
            }
            FrameworkChange::Suppress(roles) => {
                for client in self.clients_of(id, &roles) {
                    self.set_suppressed(client, true);
                }
            }
            FrameworkChange::Revive(roles) => {
                for client in self.clients_of(id, &roles) {
                    self.filters.drop_client(client);
                    self.set_suppressed(client, false);
                    if self.contender(client).waits() {
                        self.begin_waiting(client);
                    }
                }
            }
            FrameworkChange::Answered => {
                for client in self.clients_of(id, &BTreeSet::new()) {
                    self.set_behind(client, None);
                }
            }
        }
    }

    /// Until when the contender comes after those who let no offer lapse.
    fn set_behind(&mut self, client: Client, until: Option<Time>) {
        let contender = self.contender_mut(client);
        let before = std::mem::replace(&mut contender.behind, until);
        let place = contender.place();
        if let Some(before) = before {
            self.lapsed.remove(&(before, client));
        }
        if let Some(until) = until {
            self.lapsed.insert((until, client));
        }
        self.order.set_place(client, place);
    }

    /// Forgets lapses whose time is over.
    pub(super) fn forgive(&mut self, now: Time) {
        while let Some((_, client)) = self.lapsed.first().copied().filter(|(until, _)| *until <= now) {
            self.set_behind(client, None);
        }
    }

    fn subscribed(&mut self, id: &FrameworkId, roles: BTreeSet<Role>, mut wants: Wants) {
        let known = self.frameworks.get(id).into_iter().flatten();
        let left: Vec<Client> =
            known.filter(|(role, _)| !roles.contains(*role)).map(|(_, client)| *client).collect();
        for client in left {
            self.unsubscribe(client);
        }
        for role in roles {
            let client = self.client_or_new(id, &role);
            let contender = self.contender_mut(client);
            let state = |contender: &Contender| {
                let (minimum, constraints) = (contender.minimum.clone(), contender.constraints.clone());
                (contender.waits(), contender.capabilities, minimum, constraints)
            };
            let before = state(contender);
            contender.subscribed = true;
            contender.suppressed = wants.suppressed.contains(&role);
            contender.capabilities = wants.capabilities;
            contender.minimum = wants.minimums.remove(&role);
            contender.constraints = wants.constraints.remove(&role);
            let after = state(contender);
            self.own_minimums -= usize::from(before.2.is_some());
            self.own_minimums += usize::from(after.2.is_some());
            let place = self.contender(client).place();
            self.order.set_place(client, place);
            if after.0 && before != after {
                self.begin_waiting(client);
            }
        }
    }

    /// The contender leaves, and is forgotten when it holds nothing.
    fn unsubscribe(&mut self, client: Client) {
        self.contender_mut(client).subscribed = false;
        self.order.set_place(client, Place::Away);
        self.filters.drop_client(client);
        self.queue.forget(client);
        self.forget_if_idle(client);
    }

    fn set_suppressed(&mut self, client: Client, suppressed: bool) {
        let contender = self.contender_mut(client);
        contender.suppressed = suppressed;
        let place = contender.place();
        self.order.set_place(client, place);
        if place == Place::Away {
            self.queue.forget(client);
        }
    }

    /// The framework's contenders in these roles; in all of them when none is named.
    fn clients_of(&self, id: &FrameworkId, roles: &BTreeSet<Role>) -> Vec<Client> {
        let known = self.frameworks.get(id).into_iter().flatten();
        known
            .filter(|(role, _)| roles.is_empty() || roles.contains(*role))
            .map(|(_, client)| *client)
            .collect()
    }

    /// Part of a grant comes back unused. With `refuse` the framework is not offered it again for so long, unless
    /// together with more: a span of zero is a short pause, any other lasts a second at least.
    pub fn returned(
        &mut self,
        now: Time,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Bag,
        refuse: Option<Span>,
    ) -> Result<(), Misuse> {
        #[cfg(feature = "mutants")]
        if mutant::planted("declined-offers-stay-booked") {
            return Ok(());
        }
        let (index, client) =
            self.book(agent, framework, role, |agent, client| agent.release_offered(client, resources))?;
        let refused = refuse.and_then(|asked| self.refuse(now, index, client, asked, resources));
        let tally = &mut self.contender_mut(client).tally;
        match refused {
            Some(until) => {
                tally.refused += 1;
                tally.last_refusal =
                    Some(Refused { agent: agent.clone(), resources: resources.clone(), until });
            }
            None => tally.withdrawn += 1,
        }
        self.given_back(index, client, resources);
        Ok(())
    }

    /// A grant comes back because the framework did not answer in time. It is not offered the like for `pause`, and until
    /// then, or until it answers some offer (`FrameworkChange::Answered`), it comes after those who answer.
    pub fn lapsed(
        &mut self,
        now: Time,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Bag,
        pause: Span,
    ) -> Result<(), Misuse> {
        let (index, client) =
            self.book(agent, framework, role, |agent, client| agent.release_offered(client, resources))?;
        self.contender_mut(client).tally.lapsed += 1;
        if let Some(until) = self.refuse(now, index, client, pause, resources) {
            let until = self.contender(client).behind.map_or(until, |before| before.max(until));
            self.set_behind(client, Some(until));
        }
        self.given_back(index, client, resources);
        Ok(())
    }

    /// Until when the client is not offered these resources; `None` when there is nobody or nothing to refuse.
    fn refuse(
        &mut self,
        now: Time,
        index: Index,
        client: Client,
        asked: Span,
        resources: &Bag,
    ) -> Option<Time> {
        if resources.is_empty() || !self.contender(client).subscribed {
            return None;
        }
        let until = now + filters::term(asked);
        self.filters.refuse(index, client, until, resources);
        Some(until)
    }

    /// Part of a grant is used now, by tasks or executors.
    pub fn launched(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Bag,
    ) -> Result<(), Misuse> {
        let (_, client) =
            self.book(agent, framework, role, |agent, client| agent.launch(client, resources))?;
        self.contender_mut(client).tally.used += 1;
        self.order.uses(client);
        Ok(())
    }

    /// What tasks or executors used is free again.
    pub fn freed(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Bag,
    ) -> Result<(), Misuse> {
        #[cfg(feature = "mutants")]
        if mutant::planted("ended-tasks-stay-booked") {
            return Ok(());
        }
        let (index, client) =
            self.book(agent, framework, role, |agent, client| agent.release_used(client, resources))?;
        self.given_back(index, client, resources);
        Ok(())
    }

    /// Resources of an agent have become others of the same amounts: reserved or not, a volume or not. Those were
    /// offered to a framework in a role and still are, or were free without `holder`.
    pub fn converted(
        &mut self,
        agent: &AgentId,
        holder: Option<(&FrameworkId, &Role)>,
        given: &Bag,
        taken: &Bag,
    ) -> Result<(), Misuse> {
        let index = match holder {
            Some((framework, role)) => {
                let (index, client) = self.book(agent, framework, role, |books, client| {
                    books.convert(Some(client), given, taken)
                })?;
                self.order.discharge(client, given);
                self.order.charge(client, taken, false);
                index
            }
            None => {
                let index = self.known(agent)?;
                if let Some(Err(lacking)) = self.edit(index, |books| books.convert(None, given, taken)) {
                    return Err(Misuse::NotFree { agent: agent.clone(), lacking: Box::new(lacking) });
                }
                self.touch_all(index);
                index
            }
        };
        let total = self.agents.get(index).facts.total.clone();
        self.order.subtract_total(&(total.without(taken) + given));
        self.order.add_total(&total);
        Ok(())
    }

    /// Books what is found to be used.
    fn claim(&mut self, index: Index, held: &Held) {
        let client = self.client_or_new(&held.framework, &held.role);
        let first = self.edit(index, |agent| agent.claim(client, &held.resources));
        self.contender_mut(client).holds += usize::from(first);
        self.order.charge(client, &held.resources, false);
        self.order.uses(client);
    }

    pub fn policy(&mut self, change: PolicyChange) {
        match change {
            PolicyChange::Weight { role, thousandths } => self.order.set_weight(&role, thousandths),
            PolicyChange::Quotas(quotas) => {
                self.quotas.replace(quotas);
                let agents: Vec<Index> = self.agents.iter().map(|(index, _)| index).collect();
                for index in agents {
                    self.count(index, true);
                    self.touch_all(index);
                }
            }
        }
    }

    fn known(&self, id: &AgentId) -> Result<Index, Misuse> {
        self.agents.index(id).ok_or_else(|| Misuse::UnknownAgent(id.clone()))
    }

    /// Moves something in an agent's books, or says why it cannot be moved.
    fn book(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        movement: impl FnOnce(&mut Agent, Client) -> Booked,
    ) -> Result<(Index, Client), Misuse> {
        let index = self.known(agent)?;
        let client = self.client(framework, role);
        let booked =
            client.and_then(|client| Some((client, self.edit(index, |agent| movement(agent, client))?)));
        let names = || (agent.clone(), framework.clone(), role.clone());
        match booked {
            None => {
                let (agent, framework, role) = names();
                Err(Misuse::NothingHeld { agent, framework, role })
            }
            Some((_, Err(lacking))) => {
                let ((agent, framework, role), lacking) = (names(), Box::new(lacking));
                Err(Misuse::NotHeld { agent, framework, role, lacking })
            }
            Some((client, Ok(()))) => Ok((index, client)),
        }
    }

    /// After a client's holding has become smaller by what is free now.
    fn given_back(&mut self, index: Index, client: Client, resources: &Bag) {
        self.order.discharge(client, resources);
        if self.agents.get(index).holdings.get(client).is_none() {
            self.contender_mut(client).holds -= 1;
            self.forget_if_idle(client);
        }
        self.touch_all(index);
    }

    /// Changes an agent's books, and those of quotas with them.
    fn edit<T>(&mut self, index: Index, change: impl FnOnce(&mut Agent) -> T) -> T {
        if self.quotas.is_idle() {
            return change(self.agents.get_mut(index));
        }
        let before = self.part(index);
        let changed = change(self.agents.get_mut(index));
        let after = self.part(index);
        self.quotas.change(&before, &after);
        changed
    }

    /// Counts a whole agent in the books of quotas, or no longer.
    fn count(&mut self, index: Index, there: bool) {
        if self.quotas.is_idle() {
            return;
        }
        let (part, none) = (self.part(index), Part::default());
        let (before, after) = if there { (&none, &part) } else { (&part, &none) };
        self.quotas.change(before, after);
    }

    fn part(&self, index: Index) -> Part {
        self.quotas.part(self.agents.get(index), |client| &self.contender(client).top)
    }

    fn touch_all(&mut self, index: Index) {
        self.agents.get_mut(index).touch = Touch::All;
        self.queue.dirty.insert(index);
    }

    /// The agent has to be looked at again for one client.
    pub(super) fn touch(&mut self, index: Index, client: Client) {
        match &mut self.agents.get_mut(index).touch {
            Touch::All => {}
            Touch::Some(clients) => clients.push(client),
            nobody @ Touch::Nobody => *nobody = Touch::Some(vec![client]),
        }
        self.queue.dirty.insert(index);
    }
}
