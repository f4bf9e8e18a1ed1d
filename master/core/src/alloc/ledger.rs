//! What each agent has, and who holds how much of it.

use std::collections::BTreeMap;

use model::id::AgentId;
use model::resources::{Bag, Lacking};

use super::Client;
use super::grant::AgentFacts;

/// An agent's place; used again after its end.
pub(super) type Index = u32;

/// What a client holds of one agent.
#[derive(Debug, Default)]
pub(super) struct Holding {
    pub(super) used: Bag,
    pub(super) offered: Bag,
}

impl Holding {
    fn is_empty(&self) -> bool {
        self.used.is_empty() && self.offered.is_empty()
    }
}

/// Who holds what of one agent. Most agents have one to five holders, for which a sorted vector is a fifth of a tree.
#[derive(Debug, Default)]
pub(super) struct Holdings(Vec<(Client, Holding)>);

impl Holdings {
    fn place(&self, client: Client) -> Result<usize, usize> {
        self.0.binary_search_by_key(&client, |(own, _)| *own)
    }

    pub(super) fn get(&self, client: Client) -> Option<&Holding> {
        self.place(client).ok().map(|at| &self.0[at].1)
    }

    fn get_mut(&mut self, client: Client) -> Option<&mut Holding> {
        self.place(client).ok().map(|at| &mut self.0[at].1)
    }

    /// The client's holding, made if there is none, and whether it was.
    fn open(&mut self, client: Client) -> (&mut Holding, bool) {
        let (at, new) = match self.place(client) {
            Ok(at) => (at, false),
            Err(at) => {
                self.0.insert(at, (client, Holding::default()));
                (at, true)
            }
        };
        (&mut self.0[at].1, new)
    }

    fn close_if_empty(&mut self, client: Client) {
        if let Ok(at) = self.place(client)
            && self.0[at].1.is_empty()
        {
            self.0.remove(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Client, Holding)> {
        self.0.iter()
    }
}

impl IntoIterator for Holdings {
    type Item = (Client, Holding);
    type IntoIter = std::vec::IntoIter<(Client, Holding)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// For whom an agent has to be looked at.
#[derive(Debug, Default)]
pub(super) enum Touch {
    #[default]
    Nobody,
    Some(Vec<Client>),
    All,
}

/// The books of one agent. `offered + used <= total`, unless it came back with less than its tasks already use.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) facts: AgentFacts,
    pub(super) free: Bag,
    pub(super) holdings: Holdings,
    /// More is held than there is; free amounts cannot be kept by adding and taking then.
    overbooked: bool,
    pub(super) touch: Touch,
    /// The beginning of a wait this agent has last been compared with.
    pub(super) seen: u64,
}

impl Agent {
    fn new(id: AgentId, facts: AgentFacts) -> Self {
        let free = facts.total.clone();
        Self {
            id,
            facts,
            free,
            holdings: Holdings::default(),
            overbooked: false,
            touch: Touch::Nobody,
            seen: 0,
        }
    }

    pub(super) fn has_gpus(&self) -> bool {
        !self.facts.total.gpus().is_zero()
    }

    /// Books what a client is found to use, whether or not it is there. Says whether it held nothing before.
    pub(super) fn claim(&mut self, client: Client, bag: &Bag) -> bool {
        let (holding, new) = self.holdings.open(client);
        holding.used += bag;
        self.settle();
        new
    }

    /// Books resources, which the caller has taken out of `free`, as offered to a client. Says whether it held
    /// nothing before.
    pub(super) fn offer(&mut self, client: Client, bag: &Bag) -> bool {
        let (holding, new) = self.holdings.open(client);
        holding.offered += bag;
        new
    }

    /// `None` when the client holds nothing here.
    pub(super) fn launch(&mut self, client: Client, bag: &Bag) -> Option<Result<(), Lacking>> {
        let holding = self.holdings.get_mut(client)?;
        Some(holding.offered.checked_sub(bag).map(|rest| {
            holding.offered = rest;
            holding.used += bag;
        }))
    }

    /// As [`Self::launch`].
    pub(super) fn release_offered(&mut self, client: Client, bag: &Bag) -> Option<Result<(), Lacking>> {
        let holding = self.holdings.get_mut(client)?;
        let rest = holding.offered.checked_sub(bag).map(|rest| holding.offered = rest);
        Some(rest.map(|()| self.released(client, bag)))
    }

    /// As [`Self::launch`].
    pub(super) fn release_used(&mut self, client: Client, bag: &Bag) -> Option<Result<(), Lacking>> {
        let holding = self.holdings.get_mut(client)?;
        let rest = holding.used.checked_sub(bag).map(|rest| holding.used = rest);
        Some(rest.map(|()| self.released(client, bag)))
    }

    fn released(&mut self, client: Client, bag: &Bag) {
        self.holdings.close_if_empty(client);
        if self.overbooked {
            self.settle();
        } else {
            self.free += bag;
        }
    }

    pub(super) fn set_total(&mut self, total: Bag) {
        self.facts.total = total;
        self.settle();
    }

    /// What a client is offered, or without one what is free, becomes something else of the same amounts. `None` when
    /// the client holds nothing here.
    pub(super) fn convert(
        &mut self,
        client: Option<Client>,
        given: &Bag,
        taken: &Bag,
    ) -> Option<Result<(), Lacking>> {
        let have = match client {
            Some(client) => &mut self.holdings.get_mut(client)?.offered,
            None => &mut self.free,
        };
        match have.checked_sub(given) {
            Ok(rest) => *have = rest + taken,
            Err(lacking) => return Some(Err(lacking)),
        }
        let total = self.facts.total.without(given) + taken;
        self.set_total(total);
        Some(Ok(()))
    }

    /// Finds what is free from the rest of the books.
    fn settle(&mut self) {
        let held: Bag = self.holdings.iter().map(|(_, holding)| &holding.used + &holding.offered).sum();
        self.overbooked = !self.facts.total.contains(&held);
        self.free = self.facts.total.without(&held);
    }

    /// What is held here cannot be more than there is, and the rest is free.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut held = Bag::new();
        for (_, holding) in self.holdings.iter() {
            assert!(!holding.is_empty(), "{}: an empty holding", self.id);
            for item in holding.used.iter().chain(&holding.offered) {
                assert!(
                    held.try_insert(item.clone()).is_ok() || self.overbooked,
                    "{}: {item} held twice",
                    self.id
                );
            }
        }
        if !self.overbooked {
            assert!(self.facts.total.contains(&held), "{}: {held} of {}", self.id, self.facts.total);
            assert_eq!(&self.free + &held, self.facts.total, "{}", self.id);
        }
    }
}

/// All agents, by place and by id.
#[derive(Debug, Default)]
pub(super) struct Agents {
    by_id: BTreeMap<AgentId, Index>,
    slots: Vec<Option<Agent>>,
    spare: Vec<Index>,
}

impl Agents {
    /// Places, taken or not.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn index(&self, id: &AgentId) -> Option<Index> {
        self.by_id.get(id).copied()
    }

    pub(super) fn at(&self, index: Index) -> Option<&Agent> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get(&self, index: Index) -> &Agent {
        self.at(index).expect("an agent's place is given back when nothing refers to it")
    }

    pub(super) fn get_mut(&mut self, index: Index) -> &mut Agent {
        self.slots[index as usize].as_mut().expect("an agent's place is given back when nothing refers to it")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Index, &Agent)> {
        self.by_id.values().map(|index| (*index, self.get(*index)))
    }

    pub(super) fn insert(&mut self, id: AgentId, facts: AgentFacts) -> Index {
        let index = self.spare.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Index::try_from(self.slots.len() - 1).expect("memory ends before the numbers of agents do")
        });
        self.by_id.insert(id.clone(), index);
        self.slots[index as usize] = Some(Agent::new(id, facts));
        index
    }

    pub(super) fn remove(&mut self, index: Index) -> Agent {
        let agent = self.slots[index as usize].take().expect("an agent is removed once");
        self.by_id.remove(&agent.id);
        self.spare.push(index);
        agent
    }
}
