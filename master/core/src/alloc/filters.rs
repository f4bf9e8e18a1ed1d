//! Refusals: what a framework declined on an agent, and until when it is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use model::limits;
use model::resources::Bag;
use model::time::{Span, Time};

use super::Client;
use super::ledger::Index;
use super::marks::Marks;

#[derive(Debug)]
struct Refusal {
    client: Client,
    until: Time,
    /// Shared among those who refused the same, so that the same question is not asked twice.
    resources: Arc<Bag>,
}

/// The refusals of one agent, by client: in one piece of memory, since all of them are read whenever the agent is
/// offered.
#[derive(Debug, Default)]
struct OnAgent {
    refusals: Vec<Refusal>,
    /// What was refused last; the next to be asked will mostly refuse the same.
    latest: Option<Arc<Bag>>,
    /// None of them ends before; those that did may still be here.
    earliest: Option<Time>,
}

impl OnAgent {
    fn of(&self, client: Client) -> Range<usize> {
        let start = self.refusals.partition_point(|refusal| refusal.client < client);
        let count = self.refusals[start..].iter().take_while(|refusal| refusal.client == client).count();
        start..start + count
    }

    fn share(&mut self, resources: &Bag) -> Arc<Bag> {
        match &self.latest {
            Some(latest) if **latest == *resources => Arc::clone(latest),
            _ => Arc::clone(self.latest.insert(Arc::new(resources.clone()))),
        }
    }

    /// Takes out those of the client that `gone` names.
    fn remove(&mut self, client: Client, gone: impl Fn(&Refusal) -> bool) -> Vec<Refusal> {
        let removed = self.refusals.extract_if(self.of(client), |refusal| gone(refusal)).collect();
        if self.refusals.is_empty() {
            (self.latest, self.earliest) = (None, None);
        }
        removed
    }
}

/// Three views of the same refusals, so that each question costs no search: by agent when it is offered, by client
/// when it revives, by time when they end.
#[derive(Debug, Default)]
pub(super) struct Filters {
    by_agent: Vec<OnAgent>,
    by_client: BTreeMap<Client, BTreeSet<Index>>,
    by_time: BTreeSet<(Time, Index, Client)>,
}

/// How long a refusal for `asked` lasts.
pub(super) fn term(asked: Span) -> Span {
    if asked.is_zero() {
        return limits::REOFFER_PAUSE;
    }
    asked.clamp(limits::ALLOCATION_INTERVAL, limits::REFUSE_MAX)
}

impl Filters {
    pub(super) fn refuse(&mut self, agent: Index, client: Client, until: Time, resources: &Bag) {
        #[cfg(feature = "mutants")]
        let until = if mutant::planted("refusals-never-end") { Time::MAX } else { until };
        let slot = agent as usize;
        if self.by_agent.len() <= slot {
            self.by_agent.resize_with(slot + 1, OnAgent::default);
        }
        let on = &mut self.by_agent[slot];
        let resources = on.share(resources);
        // One that ends no later and says no more is said by the new one too.
        let said = |old: &Refusal| old.until <= until && resources.contains(&old.resources);
        let mut superseded = on.remove(client, said);
        let own = on.of(client);
        if own.len() >= limits::FILTERS_PER_AGENT
            && let Some(first) = own.clone().min_by_key(|at| on.refusals[*at].until)
        {
            superseded.push(on.refusals.remove(first));
        }
        on.refusals.insert(own.start, Refusal { client, until, resources });
        on.earliest = Some(on.earliest.map_or(until, |first| first.min(until)));
        for old in superseded {
            if !on.refusals[on.of(client)].iter().any(|refusal| refusal.until == old.until) {
                self.by_time.remove(&(old.until, agent, client));
            }
        }
        self.by_time.insert((until, agent, client));
        self.by_client.entry(client).or_default().insert(agent);
    }

    /// When the last refusal of all of these resources ends that stands at `now`; `None` when the client would take them.
    pub(super) fn refused_until(
        &self,
        agent: Index,
        client: Client,
        resources: &Bag,
        now: Time,
    ) -> Option<Time> {
        let on = self.by_agent.get(agent as usize)?;
        let own = on.refusals[on.of(client)].iter();
        let standing = own.filter(|refusal| refusal.until > now && refusal.resources.contains(resources));
        standing.map(|refusal| refusal.until).max()
    }

    /// Marks all clients that refuse all of these resources at `now`.
    pub(super) fn refusing(&self, agent: Index, resources: &Bag, now: Time, clients: &mut Marks) {
        let Some(on) = self.by_agent.get(agent as usize) else { return };
        let mut asked: Option<(&Arc<Bag>, bool)> = None;
        for refusal in &on.refusals {
            let refused = match asked {
                Some((bag, refused)) if Arc::ptr_eq(bag, &refusal.resources) => refused,
                _ => refusal.resources.contains(resources),
            };
            asked = Some((&refusal.resources, refused));
            if refused && refusal.until > now {
                clients.insert(refusal.client);
            }
        }
    }

    /// Whether a refusal of the agent may have ended that `expire` has not told of.
    pub(super) fn has_ended(&self, agent: Index, now: Time) -> bool {
        let on = self.by_agent.get(agent as usize);
        on.and_then(|on| on.earliest).is_some_and(|earliest| earliest <= now)
    }

    /// On how many agents the client refuses something.
    pub(super) fn count(&self, client: Client) -> usize {
        self.by_client.get(&client).map_or(0, BTreeSet::len)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.by_time.first().map(|(time, ..)| *time)
    }

    /// Ends one refusal whose time has come, and says whose it was.
    pub(super) fn expire(&mut self, now: Time) -> Option<(Index, Client)> {
        let (until, agent, client) = self.by_time.first().copied().filter(|(until, ..)| *until <= now)?;
        self.by_time.pop_first();
        let on = &mut self.by_agent[agent as usize];
        on.remove(client, |refusal| refusal.until <= until);
        on.earliest = on.refusals.iter().map(|refusal| refusal.until).min();
        if on.of(client).is_empty() {
            self.unlink(agent, client);
        }
        Some((agent, client))
    }

    fn unlink(&mut self, agent: Index, client: Client) {
        if let Some(agents) = self.by_client.get_mut(&client) {
            agents.remove(&agent);
            if agents.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    pub(super) fn drop_client(&mut self, client: Client) {
        for agent in self.by_client.remove(&client).unwrap_or_default() {
            for refusal in self.by_agent[agent as usize].remove(client, |_| true) {
                self.by_time.remove(&(refusal.until, agent, client));
            }
        }
    }

    pub(super) fn drop_agent(&mut self, agent: Index) {
        let Some(on) = self.by_agent.get_mut(agent as usize) else { return };
        for Refusal { client, until, .. } in std::mem::take(on).refusals {
            self.by_time.remove(&(until, agent, client));
            self.unlink(agent, client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(text: &str) -> Bag {
        Bag::parse(text).unwrap()
    }

    fn refused(filters: &Filters, agent: Index, client: Client, text: &str) -> bool {
        filters.refused_until(agent, client, &bag(text), Time::ZERO).is_some()
    }

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    #[test]
    fn refuses_what_is_no_more() {
        let mut filters = Filters::default();
        filters.refuse(3, 1, at(5), &bag("cpus:2;mem:100"));
        assert!(refused(&filters, 3, 1, "cpus:2"));
        assert!(!refused(&filters, 3, 1, "cpus:2.1"));
        assert!(!refused(&filters, 3, 2, "cpus:1"));
        assert!(!refused(&filters, 4, 1, "cpus:1"));
    }

    #[test]
    fn ends_in_time_and_leaves_nothing() {
        let mut filters = Filters::default();
        filters.refuse(3, 1, at(5), &bag("cpus:2"));
        filters.refuse(3, 1, at(7), &bag("mem:2"));
        assert_eq!(filters.expire(at(4)), None);
        assert_eq!(filters.expire(at(5)), Some((3, 1)));
        assert_eq!(filters.expire(at(5)), None);
        assert!(refused(&filters, 3, 1, "mem:1"));
        assert_eq!(filters.next_deadline(), Some(at(7)));
        assert_eq!(filters.expire(at(8)), Some((3, 1)));
        assert!(filters.by_time.is_empty() && filters.by_client.is_empty());
        assert!(
            filters
                .by_agent
                .iter()
                .all(|on| on.refusals.is_empty() && on.latest.is_none() && on.earliest.is_none())
        );
    }

    #[test]
    fn a_wider_refusal_replaces_a_narrower_one() {
        let mut filters = Filters::default();
        filters.refuse(0, 0, at(5), &bag("cpus:2"));
        filters.refuse(0, 0, at(6), &bag("cpus:3"));
        assert_eq!(filters.next_deadline(), Some(at(6)));
        filters.refuse(0, 0, at(4), &bag("cpus:4"));
        assert_eq!(filters.refused_until(0, 0, &bag("cpus:3"), Time::ZERO), Some(at(6)));
        assert_eq!(filters.refused_until(0, 0, &bag("cpus:4"), Time::ZERO), Some(at(4)));
    }

    #[test]
    fn the_number_of_refusals_is_bounded() {
        let mut filters = Filters::default();
        for n in 0..100u64 {
            // Growing in one resource and shrinking in the other: none says what another says.
            filters.refuse(0, 0, at(n + 1), &bag(&format!("cpus:{};mem:{}", n + 1, 100 - n)));
        }
        assert_eq!(filters.by_agent[0].refusals.len(), limits::FILTERS_PER_AGENT);
        assert_eq!(filters.by_time.len(), limits::FILTERS_PER_AGENT);
    }

    #[test]
    fn dropping_forgets_one_side_only() {
        let mut filters = Filters::default();
        for agent in 0..3 {
            for client in 0..3 {
                filters.refuse(agent, client, at(5), &bag("cpus:1"));
            }
        }
        filters.drop_client(1);
        filters.drop_agent(2);
        for agent in 0..3 {
            for client in 0..3 {
                assert_eq!(refused(&filters, agent, client, "cpus:1"), client != 1 && agent != 2);
            }
        }
        assert_eq!(filters.by_time.len(), 4);
    }

    #[test]
    fn what_has_ended_stands_no_more_before_it_is_told() {
        let mut filters = Filters::default();
        filters.refuse(0, 0, at(5), &bag("cpus:2"));
        filters.refuse(0, 1, at(6), &bag("cpus:2"));
        assert!(!filters.has_ended(0, at(4)) && filters.has_ended(0, at(5)));
        let mut refusing = Marks::default();
        filters.refusing(0, &bag("cpus:1"), at(5), &mut refusing);
        assert!(!refusing.contains(0) && refusing.contains(1));
        assert_eq!(filters.refused_until(0, 0, &bag("cpus:1"), at(5)), None);
        assert_eq!(filters.expire(at(5)), Some((0, 0)));
        assert!(!filters.has_ended(0, at(5)), "the other lasts longer");
    }

    #[test]
    fn terms() {
        assert_eq!(term(Span::ZERO), limits::REOFFER_PAUSE);
        assert_eq!(term(Span::from_millis(1)), limits::ALLOCATION_INTERVAL);
        assert_eq!(term(Span::from_secs(5)), Span::from_secs(5));
        assert_eq!(term(Span::MAX), limits::REFUSE_MAX);
    }
}
