//! Offers: made of what the allocator grants, and where their resources go when they end. Nothing else speaks to the
//! allocator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId, OfferId};
use model::resources::Bag;
use model::role::Role;
use model::time::Span;
use wire::v1::{AgentInfo, DomainInfo};

use super::timers::Timer;
use super::{Standing, Turn};
use crate::alloc::{AgentFacts, FrameworkChange, Grant, Held, Misuse, PolicyChange};
use crate::constraints;
use crate::effect::{Observation, SchedulerEvent};
use crate::limits::{self, IGNORED_GROWTH, IGNORED_PAUSE};
use crate::registry::Text;
use crate::snapshot::Offer;

impl Turn<'_> {
    // --- offers begin

    /// Lets the allocator give away what is free, and offers it: the offers of a framework in as few events as may be.
    pub(super) fn allocate(&mut self) {
        let due = self.allocator.next_deadline().is_some_and(|at| at <= self.now);
        if !due || self.leader.holds_offers(self.view) {
            return;
        }
        self.leader.counters.allocation_runs += 1;
        let grants = self.allocator.run(self.now, self.leader.settings.allocation_budget);
        let mut events: BTreeMap<FrameworkId, Vec<Arc<Offer>>> = BTreeMap::new();
        for grant in grants {
            let framework = grant.framework.clone();
            if let Some(offer) = self.offer(grant) {
                events.entry(framework).or_default().push(offer);
            }
        }
        for (framework, offers) in events {
            self.leader.counters.add("offers_sent", offers.len() as u64);
            self.tally(&framework, "offers/sent", offers.len() as u64);
            for some in offers.chunks(limits::OFFERS_IN_EVENT) {
                self.event(&framework, SchedulerEvent::Offers(some.to_vec()));
            }
        }
    }

    fn offer(&mut self, grant: Grant) -> Option<Arc<Offer>> {
        let Grant { framework, role, agent, resources } = grant;
        let id = self.next_offer_id();
        let there = self.agent(&agent)?;
        let (info, ip, unavailability) =
            (Arc::clone(&there.info), Arc::clone(&there.ip), there.unavailability);
        let made_at = self.now;
        let record = self.framework_mut(&framework)?;
        let executors = record
            .executors
            .keys()
            .filter(|(at, _)| *at == agent)
            .map(|(_, executor)| executor.clone())
            .collect();
        let offer = Arc::new(Offer {
            id: id.clone(),
            framework,
            agent: agent.clone(),
            role,
            resources,
            info,
            ip,
            unavailability,
            executors,
            form: record.profile.form(),
            made_at,
        });
        record.offers.insert(id.clone(), Arc::clone(&offer));
        self.leader.tables.offers.insert(id.clone(), Arc::clone(&offer));
        self.agent_mut(&agent)?.offers.insert(id.clone());
        if unavailability.is_some() {
            self.ask_about(&agent);
        }
        if let Some(timeout) = self.leader.settings.offer_timeout {
            self.leader.timers.set(Timer::Offer(id), self.now + timeout);
        }
        Some(offer)
    }

    /// Of offers and inverse offers.
    pub(super) fn next_offer_id(&mut self) -> OfferId {
        let id = OfferId::from(format!("{}-O{}", self.uuid(), self.leader.serial.offer));
        self.leader.serial.offer += 1;
        id
    }

    // --- offers end

    /// Takes an offer out of the tables. Its resources stay with the framework until they are used or returned.
    pub(super) fn take_offer(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let offer = self.leader.tables.offers.remove(id)?;
        self.leader.timers.cancel(&Timer::Offer(id.clone()));
        if let Some(framework) = self.framework_mut(&offer.framework) {
            framework.offers.remove(id);
        }
        if let Some(agent) = self.agent_mut(&offer.agent) {
            agent.offers.remove(id);
        }
        Some(offer)
    }

    /// Ends an offer without a word to its framework; with `refuse` the framework does not want the like for so long.
    pub(super) fn release_offer(&mut self, id: &OfferId, refuse: Option<Span>) {
        if let Some(offer) = self.take_offer(id) {
            self.return_offered(&offer.framework, &offer.role, &offer.agent, &offer.resources, refuse);
        }
    }

    /// Withdraws an offer. Nothing is held against the framework, which did not refuse it.
    pub(super) fn rescind(&mut self, id: &OfferId) {
        if let Some(offer) = self.withdraw(id) {
            self.return_offered(&offer.framework, &offer.role, &offer.agent, &offer.resources, None);
        }
    }

    /// Ends an offer and tells its framework so. Its resources stay with the framework until they are returned.
    fn withdraw(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let offer = self.take_offer(id)?;
        self.leader.counters.count("offers_rescinded");
        self.tally(&offer.framework, "offers/rescinded", 1);
        self.event(&offer.framework, SchedulerEvent::Rescind(id.clone()));
        Some(offer)
    }

    /// All offers of a framework are void, without a word.
    pub(super) fn discard_offers(&mut self, framework: &FrameworkId) {
        let Some(record) = self.framework(framework) else { return };
        let offers: Vec<OfferId> = record.offers.keys().cloned().collect();
        for id in offers {
            self.release_offer(&id, None);
        }
        self.discard_inverse_offers(framework);
    }

    /// A framework has left roles: offers to it in those are withdrawn.
    pub(super) fn rescind_foreign_offers(&mut self, framework: &FrameworkId, roles: &BTreeSet<Role>) {
        let Some(record) = self.framework(framework) else { return };
        let foreign = record.offers.values().filter(|offer| !roles.contains(&offer.role));
        let offers: Vec<OfferId> = foreign.map(|offer| offer.id.clone()).collect();
        for id in offers {
            self.rescind(&id);
        }
    }

    pub(super) fn rescind_agent_offers(&mut self, agent: &AgentId) {
        let Some(record) = self.agent(agent) else { return };
        let mut offers: Vec<(FrameworkId, OfferId)> = record
            .offers
            .iter()
            .filter_map(|id| Some((self.leader.tables.offers.get(id)?.framework.clone(), id.clone())))
            .collect();
        offers.sort();
        for (_, id) in offers {
            self.rescind(&id);
        }
    }

    /// Nobody answered. Without a pause the same framework, which holds the least now, would be the first to get the
    /// same resources again, and whoever sits on offers would keep them from all others for ever; the pause grows with
    /// each offer that is let go by, and as long as it lasts those who answer come first for everything else too.
    pub(super) fn offer_timed_out(&mut self, id: &OfferId) {
        let holder = self.leader.tables.offers.get(id).map(|offer| offer.framework.clone());
        let Some(record) = holder.and_then(|holder| self.framework_mut(&holder)) else { return };
        let times = IGNORED_GROWTH.saturating_pow(record.ignored);
        record.ignored = record.ignored.saturating_add(1);
        let timeout = self.leader.settings.offer_timeout.unwrap_or_default();
        let pause = timeout.saturating_mul(times).min(IGNORED_PAUSE.max(timeout));
        self.leader.counters.count("offers_timed_out");
        if let Some(offer) = self.withdraw(id)
            && !offer.resources.is_empty()
        {
            let Offer { framework, role, agent, resources, .. } = &*offer;
            let booked = self.allocator.lapsed(self.now, agent, framework, role, resources, pause);
            self.audit(booked);
        }
    }

    /// Somebody answers the offers of this framework.
    pub(super) fn answers_offers(&mut self, framework: &FrameworkId) {
        if self.framework(framework).is_some_and(|record| record.ignored > 0)
            && let Some(record) = self.framework_mut(framework)
        {
            record.ignored = 0;
            self.allocator.framework(framework, FrameworkChange::Answered);
        }
    }

    // --- what the allocator is told

    /// The leader and the allocator keep the same books. Should they ever differ, the cluster goes on with the
    /// allocator's, and somebody is told.
    fn audit(&mut self, result: Result<(), Misuse>) {
        if let Err(misuse) = result {
            self.observe(Observation::Misbooked(misuse.to_string()));
        }
    }

    /// Offered resources that their framework uses from now on.
    pub(super) fn use_offered(&mut self, framework: &FrameworkId, role: &Role, agent: &AgentId, used: &Bag) {
        if !used.is_empty() {
            let booked = self.allocator.launched(agent, framework, role, used);
            self.audit(booked);
        }
    }

    /// Offered resources that are free again.
    pub(super) fn return_offered(
        &mut self,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
        rest: &Bag,
        refuse: Option<Span>,
    ) {
        if !rest.is_empty() {
            let booked = self.allocator.returned(self.now, agent, framework, role, rest, refuse);
            self.audit(booked);
        }
    }

    /// Resources of an agent have become others: what `holder` was offered, or without one what was free.
    pub(super) fn convert(
        &mut self,
        agent: &AgentId,
        holder: Option<(&FrameworkId, &Role)>,
        given: &Bag,
        taken: &Bag,
    ) {
        if let Some(record) = self.agent_mut(agent) {
            record.total = record.total.without(given) + taken;
        }
        let booked = self.allocator.converted(agent, holder, given, taken);
        self.audit(booked);
    }

    /// Used resources that are free again.
    pub(super) fn free(&mut self, framework: &FrameworkId, role: &Role, agent: &AgentId, resources: &Bag) {
        if !resources.is_empty() {
            let booked = self.allocator.freed(agent, framework, role, resources);
            self.audit(booked);
        }
    }

    /// A scheduler listens, or describes itself anew: it may be offered to.
    pub(super) fn activate(&mut self, id: &FrameworkId) {
        let Some(record) = self.framework(id).filter(|record| record.connected()) else { return };
        let change = FrameworkChange::Subscribed {
            roles: record.profile.roles.clone(),
            suppressed: record.suppressed.clone(),
            capabilities: record.profile.capabilities,
            minimums: record.profile.minimums.clone(),
            constraints: record.constraints.by_role.clone(),
        };
        self.allocator.framework(id, change);
        self.ask_framework(id);
    }

    /// Nobody listens. What the framework uses stays its own.
    pub(super) fn deactivate(&mut self, id: &FrameworkId) {
        self.allocator.framework(id, FrameworkChange::Disconnected);
    }

    pub(super) fn want_offers(&mut self, framework: &FrameworkId, roles: BTreeSet<Role>) {
        self.allocator.framework(framework, FrameworkChange::Revive(roles));
    }

    pub(super) fn want_no_offers(&mut self, framework: &FrameworkId, roles: BTreeSet<Role>) {
        self.allocator.framework(framework, FrameworkChange::Suppress(roles));
    }

    /// What an agent has, and what is used of it: after each registration. Nothing of it may be offered now.
    pub(super) fn account_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agent(id) else { return };
        let facts = AgentFacts {
            total: agent.total.clone(),
            active: agent.link.is_some() && !agent.deactivated,
            remote: self.is_remote(&agent.info),
            traits: constraints::traits(&agent.info),
        };
        let used = self.usage(id).into_iter().map(|((framework, role), resources)| Held {
            framework,
            role,
            resources,
        });
        let used: Vec<Held> = used.collect();
        self.allocator.agent_up(id.clone(), facts, used);
    }

    /// Whether an agent is in another region than this master. Without a region on either side it is not.
    fn is_remote(&self, info: &AgentInfo) -> bool {
        let (ours, theirs) = (self.own_region(), region(info.domain.as_ref()));
        ours.is_some() && theirs.is_some() && ours != theirs
    }

    /// Whether an agent says where it is to a master that does not know where itself is. It may be in another region: to
    /// offer it to everybody would break what frameworks without REGION_AWARE are promised.
    pub(super) fn is_placeless(&self, info: &AgentInfo) -> bool {
        region(info.domain.as_ref()).is_some() && self.own_region().is_none()
    }

    fn own_region(&self) -> Option<&str> {
        match &self.leader.standing {
            Standing::Leading(reign) => region(reign.master.domain.as_ref()),
            Standing::Idle { .. } => None,
        }
    }

    /// What each framework uses on an agent, by role.
    fn usage(&self, id: &AgentId) -> BTreeMap<(FrameworkId, Role), Bag> {
        let mut usage: BTreeMap<(FrameworkId, Role), Bag> = BTreeMap::new();
        let Some(agent) = self.agent(id) else { return usage };
        for (framework, task) in &agent.tasks {
            let Some(task) = self.task(framework, task).filter(|task| task.state.holds_resources()) else {
                continue;
            };
            *usage.entry((framework.clone(), task.role.clone())).or_default() += &task.resources;
        }
        for (framework, executor) in &agent.executors {
            let key = (id.clone(), executor.clone());
            let Some(executor) = self.framework(framework).and_then(|record| record.executors.get(&key))
            else {
                continue;
            };
            *usage.entry((framework.clone(), executor.role.clone())).or_default() += &executor.resources;
        }
        usage
    }

    /// An agent has other totals. What is offered of the old ones is withdrawn.
    pub(super) fn totals_changed(&mut self, id: &AgentId, total: Bag) {
        self.leader.counters.count("messages_update_slave");
        // With operations under way the master's totals are ahead of the agent's; how those end is reported by itself.
        let known = self.agent(id).is_some_and(|agent| agent.total == total);
        if known || self.changes_wait(id) {
            return;
        }
        self.replace_total(id, total);
    }

    pub(super) fn replace_total(&mut self, id: &AgentId, total: Bag) {
        self.rescind_agent_offers(id);
        if let Some(agent) = self.agent_mut(id) {
            agent.total = total.clone();
        }
        let booked = self.allocator.agent_total(id, total);
        self.audit(booked);
    }

    /// Whether an agent may be offered of has changed.
    pub(super) fn offer_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agent(id) else { return };
        let active = agent.link.is_some() && !agent.deactivated;
        let booked = self.allocator.agent_active(id, active);
        self.audit(booked);
    }

    pub(super) fn forget_agent(&mut self, id: &AgentId) {
        self.allocator.agent_down(id);
    }

    pub(super) fn apply_weights(&mut self) {
        for weight in self.view.weights() {
            // The leader let no other names in; what another version let in, this one does not weigh.
            let Ok(role) = weight.role.parse() else { continue };
            self.allocator.policy(PolicyChange::Weight { role, thousandths: weight.thousandths });
        }
    }

    /// Where somebody has one of these roles, or one below, shares have changed: what is offered under the old ones is
    /// withdrawn, to whomever, so that the new ones count soon.
    pub(super) fn weights_updated(&mut self, roles: &[Text]) {
        self.apply_weights();
        let roles: Vec<Role> = roles.iter().filter_map(|role| role.parse().ok()).collect();
        let concerned = |own: &Role| roles.iter().any(|role| role == own || role.is_ancestor_of(own));
        let mut frameworks = self.leader.tables.frameworks.values();
        if !frameworks.any(|framework| framework.profile.roles.iter().any(concerned)) {
            return;
        }
        let offers: Vec<OfferId> = self.leader.tables.offers.keys().cloned().collect();
        for id in offers {
            self.rescind(&id);
        }
    }
}

fn region(domain: Option<&DomainInfo>) -> Option<&str> {
    domain.and_then(|domain| domain.fault_domain.as_ref()).map(|domain| domain.region.name.as_str())
}
