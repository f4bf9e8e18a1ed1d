//! Giving out what is free.

use std::borrow::Cow;
use std::ops::ControlFlow;

use model::resources::{Bag, Item};
use model::time::Time;

use super::grant::Grant;
use super::ledger::{Agent, Index, Touch};
use super::quota::{Bound, Bounds, Quotas};
use super::why::WhyAgent;
use super::{Allocator, Client};

/// Up to so many clients are sorted on the spot; for more the whole order is walked.
const FEW: usize = 16;

impl Allocator {
    /// Offers free resources of at most `budget` of the agents that have to be looked at, each as a whole: the first
    /// in order who may have something of it gets all it may have. The grants are booked as offered.
    ///
    /// Not more refusals than that are found to have ended either: whoever declines a whole cluster in one moment would
    /// else hold up everybody at another.
    pub fn run(&mut self, now: Time, budget: usize) -> Vec<Grant> {
        for _ in 0..budget {
            let Some((agent, client)) = self.filters.expire(now) else { break };
            self.touch(agent, client);
        }
        self.forgive(now);
        self.order.refresh();
        let mut grants = Vec::new();
        for _ in 0..budget {
            let Some(index) = self.next_agent() else { break };
            self.look_at(now, index, &mut grants);
        }
        grants
    }

    /// The next agent that has to be looked at, going around from the cursor.
    fn next_agent(&mut self) -> Option<Index> {
        let queue = &mut self.queue;
        let slots = self.agents.slots();
        let after = |index: Index| if index as usize + 1 < slots { index + 1 } else { 0 };
        while queue.sweep > 0 {
            let index = queue.cursor;
            queue.cursor = after(index);
            queue.sweep -= 1;
            let Some(agent) = self.agents.at(index) else { continue };
            if queue.dirty.remove(index) || agent.seen < queue.epoch {
                return Some(index);
            }
        }
        queue.fresh.clear();
        let index = match queue.dirty.next_from(queue.cursor) {
            Some(index) => index,
            None => {
                let index = self.quotas.next_held(queue.cursor)?;
                self.agents.get_mut(index).touch = Touch::All;
                index
            }
        };
        queue.dirty.remove(index);
        queue.cursor = after(index);
        Some(index)
    }

    fn look_at(&mut self, now: Time, index: Index, grants: &mut Vec<Grant>) {
        let epoch = self.queue.epoch;
        let agent = self.agents.get_mut(index);
        let touch = std::mem::take(&mut agent.touch);
        let seen = std::mem::replace(&mut agent.seen, epoch);
        let hopeless = self.own_minimums == 0 && !self.minimum.met_by(&agent.free);
        if !agent.facts.active || agent.free.is_empty() || hopeless {
            return;
        }
        // Whose refusals have ended without being found yet is asked as well.
        let all = self.quotas.release(index) || self.filters.has_ended(index, now);
        let touch = if all { Touch::All } else { touch };
        let mut rest = std::mem::take(&mut agent.free);
        let few = self.few_candidates(touch, seen);
        let mut blocked = std::mem::take(&mut self.blocked);
        // One bag for all is the usual case, in which each refusal has to be compared once and not per client.
        let alike = few.is_none() && rest.is_plain();
        blocked.clear();
        if alike {
            self.filters.refusing(index, &rest, now, &mut blocked);
        }
        let mut quotas = std::mem::take(&mut self.quotas);
        // Those who are owed something come first; nobody who was asked then could have more afterwards.
        let rounds: &[bool] = if quotas.owes() { &[true, false] } else { &[false] };
        let agent = self.agents.get(index);
        let mut taken: Vec<(Client, Bag)> = Vec::new();
        let mut ask = |client: Client, owed_only: bool| {
            if alike && blocked.contains(client) {
                return ControlFlow::Continue(());
            }
            let top = &self.contender(client).top;
            if owed_only && !quotas.is_owed(top, &rest) {
                return ControlFlow::Continue(());
            }
            let (part, bounds) = self.judge(now, &quotas, index, agent, client, &rest);
            quotas.hold(index, bounds);
            if let Ok(part) = part {
                let part = match part {
                    Cow::Borrowed(_) => std::mem::take(&mut rest),
                    Cow::Owned(part) => {
                        rest.remove(&part);
                        part
                    }
                };
                if !quotas.is_idle() {
                    quotas.take(top, &part);
                }
                taken.push((client, part));
            }
            if rest.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        for owed_only in rounds {
            match &few {
                // The order does not change meanwhile: what was taken is charged afterwards.
                None => self.order.visit(&mut |client| ask(client, *owed_only)),
                Some(clients) => {
                    // Breaking off is all a flow can say here.
                    let _ = clients.iter().try_for_each(|client| ask(*client, *owed_only));
                }
            }
        }
        self.quotas = quotas;
        self.blocked = blocked;
        self.agents.get_mut(index).free = rest;
        for (client, resources) in taken {
            self.grant(now, index, client, resources, grants);
        }
    }

    /// Those the agent has to be looked at for, in order; `None` for all, or too many to sort.
    fn few_candidates(&self, touch: Touch, seen: u64) -> Option<Vec<Client>> {
        let mut clients = match touch {
            Touch::All => return None,
            Touch::Some(clients) => clients,
            Touch::Nobody => Vec::new(),
        };
        for client in &self.queue.fresh {
            if self.contender(*client).fresh > seen {
                clients.push(*client);
            }
            if clients.len() > FEW {
                return None;
            }
        }
        // A client whose refusal ended may have gone since.
        clients.retain(|client| self.clients[*client as usize].as_ref().is_some_and(super::Contender::waits));
        clients.sort_by(|a, b| self.order.cmp(*a, *b));
        clients.dedup();
        Some(clients)
    }

    /// What of `free` the client may be offered, or why nothing; and of what a quota kept some back.
    pub(super) fn judge<'a>(
        &self,
        now: Time,
        quotas: &Quotas,
        index: Index,
        agent: &Agent,
        client: Client,
        free: &'a Bag,
    ) -> (Result<Cow<'a, Bag>, WhyAgent>, Bounds) {
        let contender = self.contender(client);
        let capabilities = contender.capabilities;
        if !agent.facts.active {
            return (Err(WhyAgent::Inactive), Vec::new());
        }
        if agent.has_gpus() && !capabilities.gpu {
            return (Err(WhyAgent::NeedsGpuCapability), Vec::new());
        }
        if agent.facts.remote && !capabilities.region_aware {
            return (Err(WhyAgent::NeedsRegionCapability), Vec::new());
        }
        if contender.constraints.as_ref().is_some_and(|constraints| !constraints.hold(&agent.facts.traits)) {
            return (Err(WhyAgent::Constrained), Vec::new());
        }
        let theirs = |item: &Item| {
            #[cfg(feature = "mutants")]
            if mutant::planted("reservations-bind-nobody") {
                return true;
            }
            item.is_allocatable_to(&contender.role)
        };
        let offerable = |item: &Item| {
            theirs(item)
                && (capabilities.revocable || !item.is_revocable())
                && (capabilities.shared || !item.is_shared())
                && (capabilities.refinement || !item.is_refined())
        };
        let part = if free.is_plain() { Cow::Borrowed(free) } else { Cow::Owned(free.filter(offerable)) };
        let minimum = contender.minimum.as_ref().unwrap_or(&self.minimum);
        let enough = |bag: &Bag| !bag.is_empty() && minimum.met_by(bag);
        if !enough(&part) {
            return (Err(WhyAgent::TooLittle), Vec::new());
        }
        let (part, bounds) =
            if quotas.is_idle() { (part, Vec::new()) } else { quotas.portion(&contender.top, part) };
        if !enough(&part) {
            let limited = bounds.iter().any(|(_, bound)| *bound == Bound::Limit);
            let why = if limited { WhyAgent::QuotaLimit } else { WhyAgent::KeptForGuarantees };
            return (Err(why), bounds);
        }
        match self.filters.refused_until(index, client, &part, now) {
            Some(until) => (Err(WhyAgent::Refused { until }), bounds),
            None => (Ok(part), bounds),
        }
    }

    fn grant(&mut self, now: Time, index: Index, client: Client, resources: Bag, grants: &mut Vec<Grant>) {
        let agent = self.agents.get_mut(index);
        let first = agent.offer(client, &resources);
        let id = agent.id.clone();
        self.order.charge(client, &resources, true);
        let contender = self.contender_mut(client);
        contender.holds += usize::from(first);
        contender.tally.offered += 1;
        contender.tally.last_offered = Some(now);
        grants.push(Grant {
            framework: contender.framework.clone(),
            role: contender.role.clone(),
            agent: id,
            resources,
        });
    }
}
