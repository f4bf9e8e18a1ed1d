//! Refusals: what a framework declined on an agent, and until when it is not asked again.

use std::collections::{BTreeMap, BTreeSet};

use model::limits;
use model::resources::Bag;
use model::time::{Span, Time};

use super::Client;
use super::ledger::Index;

#[derive(Debug)]
struct Refusal {
    until: Time,
    resources: Bag,
}

/// Three views of the same refusals, so that each question costs no search: by agent when it is offered, by client
/// when it revives, by time when they end.
#[derive(Debug, Default)]
pub(super) struct Filters {
    by_agent: Vec<BTreeMap<Client, Vec<Refusal>>>,
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
    pub(super) fn refuse(&mut self, agent: Index, client: Client, until: Time, resources: Bag) {
        let slot = agent as usize;
        if self.by_agent.len() <= slot {
            self.by_agent.resize_with(slot + 1, BTreeMap::new);
        }
        let refusals = self.by_agent[slot].entry(client).or_default();
        let time = &mut self.by_time;
        // One that ends no later and says no more is said by the new one too.
        let mut superseded: Vec<Time> = Vec::new();
        refusals.retain(|old| {
            let keep = old.until > until || !resources.contains(&old.resources);
            if !keep {
                superseded.push(old.until);
            }
            keep
        });
        if refusals.len() >= limits::FILTERS_PER_AGENT
            && let Some(first) = (0..refusals.len()).min_by_key(|at| refusals[*at].until)
        {
            superseded.push(refusals.swap_remove(first).until);
        }
        refusals.push(Refusal { until, resources });
        for ended in superseded {
            if !refusals.iter().any(|refusal| refusal.until == ended) {
                time.remove(&(ended, agent, client));
            }
        }
        time.insert((until, agent, client));
        self.by_client.entry(client).or_default().insert(agent);
    }

    fn refusals(&self, agent: Index, client: Client) -> &[Refusal] {
        let clients = self.by_agent.get(agent as usize);
        clients.and_then(|clients| clients.get(&client)).map(Vec::as_slice).unwrap_or_default()
    }

    /// When the last refusal of all of these resources ends; `None` when the client would take them.
    pub(super) fn refused_until(&self, agent: Index, client: Client, resources: &Bag) -> Option<Time> {
        let refusals = self.refusals(agent, client).iter();
        refusals.filter(|refusal| refusal.resources.contains(resources)).map(|refusal| refusal.until).max()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.by_time.first().map(|(time, ..)| *time)
    }

    /// Ends one refusal whose time has come, and says whose it was.
    pub(super) fn expire(&mut self, now: Time) -> Option<(Index, Client)> {
        let (until, agent, client) = self.by_time.first().copied().filter(|(until, ..)| *until <= now)?;
        self.by_time.pop_first();
        let clients = &mut self.by_agent[agent as usize];
        if let Some(refusals) = clients.get_mut(&client) {
            refusals.retain(|refusal| refusal.until > until);
            if refusals.is_empty() {
                clients.remove(&client);
                self.unlink(agent, client);
            }
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
            for refusal in self.by_agent[agent as usize].remove(&client).unwrap_or_default() {
                self.by_time.remove(&(refusal.until, agent, client));
            }
        }
    }

    pub(super) fn drop_agent(&mut self, agent: Index) {
        let Some(clients) = self.by_agent.get_mut(agent as usize) else { return };
        for (client, refusals) in std::mem::take(clients) {
            for refusal in refusals {
                self.by_time.remove(&(refusal.until, agent, client));
            }
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
        filters.refused_until(agent, client, &bag(text)).is_some()
    }

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    #[test]
    fn refuses_what_is_no_more() {
        let mut filters = Filters::default();
        filters.refuse(3, 1, at(5), bag("cpus:2;mem:100"));
        assert!(refused(&filters, 3, 1, "cpus:2"));
        assert!(!refused(&filters, 3, 1, "cpus:2.1"));
        assert!(!refused(&filters, 3, 2, "cpus:1"));
        assert!(!refused(&filters, 4, 1, "cpus:1"));
    }

    #[test]
    fn ends_in_time_and_leaves_nothing() {
        let mut filters = Filters::default();
        filters.refuse(3, 1, at(5), bag("cpus:2"));
        filters.refuse(3, 1, at(7), bag("mem:2"));
        assert_eq!(filters.expire(at(4)), None);
        assert_eq!(filters.expire(at(5)), Some((3, 1)));
        assert_eq!(filters.expire(at(5)), None);
        assert!(refused(&filters, 3, 1, "mem:1"));
        assert_eq!(filters.next_deadline(), Some(at(7)));
        assert_eq!(filters.expire(at(8)), Some((3, 1)));
        assert!(filters.by_time.is_empty() && filters.by_client.is_empty());
        assert!(filters.by_agent.iter().all(BTreeMap::is_empty));
    }

    #[test]
    fn a_wider_refusal_replaces_a_narrower_one() {
        let mut filters = Filters::default();
        filters.refuse(0, 0, at(5), bag("cpus:2"));
        filters.refuse(0, 0, at(6), bag("cpus:3"));
        assert_eq!(filters.next_deadline(), Some(at(6)));
        filters.refuse(0, 0, at(4), bag("cpus:4"));
        assert_eq!(filters.refused_until(0, 0, &bag("cpus:3")), Some(at(6)));
        assert_eq!(filters.refused_until(0, 0, &bag("cpus:4")), Some(at(4)));
    }

    #[test]
    fn the_number_of_refusals_is_bounded() {
        let mut filters = Filters::default();
        for n in 0..100u64 {
            // Growing in one resource and shrinking in the other: none says what another says.
            filters.refuse(0, 0, at(n + 1), bag(&format!("cpus:{};mem:{}", n + 1, 100 - n)));
        }
        assert_eq!(filters.by_agent[0][&0].len(), limits::FILTERS_PER_AGENT);
        assert_eq!(filters.by_time.len(), limits::FILTERS_PER_AGENT);
    }

    #[test]
    fn dropping_forgets_one_side_only() {
        let mut filters = Filters::default();
        for agent in 0..3 {
            for client in 0..3 {
                filters.refuse(agent, client, at(5), bag("cpus:1"));
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
    fn terms() {
        assert_eq!(term(Span::ZERO), limits::REOFFER_PAUSE);
        assert_eq!(term(Span::from_millis(1)), limits::ALLOCATION_INTERVAL);
        assert_eq!(term(Span::from_secs(5)), Span::from_secs(5));
        assert_eq!(term(Span::MAX), limits::REFUSE_MAX);
    }
}
