//! Who gets what: weighted dominant-resource fairness over a tree of roles (spec mesos-v1, sections 8.4 and 9.3).
//!
//! The allocator is told what happens (events) and gives out what is free (`run`). It is incremental: an event marks
//! what it may have made possible, and `run` looks at nothing else. What keeps that right is one rule, which the
//! tests hold against an allocator that looks at everything: *after a full run no framework could be given anything
//! more*. So an agent only has to be looked at again when
//!
//! * something of it became free, or it became available: then for all frameworks;
//! * a refusal of it ended: then for the one that refused;
//! * a framework in some role began to wait (subscribed, revived): then all agents, for that one;
//! * a quota kept some of it back and there is room for more (`quota`): then for all frameworks.
//!
//! Who is asked first is the subject of `order`.
//!
//! Nothing here depends on time passing by itself, on the order of hash maps or on floating point. A cursor that
//! goes around the agents stands where the original shuffles them.

mod constraint;
mod events;
mod explain;
mod filters;
mod grant;
mod ledger;
mod marks;
mod order;
mod quota;
mod run;
mod share;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::resources::Quantities;
use model::role::Role;
use model::time::Time;

pub use constraint::{Constraint, Constraints, Pattern, Predicate, Trait, Traits};
pub use explain::{Account, Refused, Standing, Tally, View};
pub use grant::{AgentFacts, FrameworkChange, Grant, Held, Minimum, Misuse, PolicyChange, Quota};
pub use why::{Why, WhyAgent};

use filters::Filters;
use ledger::Agents;
use marks::Marks;
use order::{Order, Place};
use quota::Quotas;

use crate::profile::Capabilities;

/// A framework in one of its roles: what competes for resources. A number that is used again after its end.
type Client = u32;

/// See the module.
#[derive(Debug, Default)]
pub struct Allocator {
    agents: Agents,
    filters: Filters,
    order: Order,
    quotas: Quotas,
    frameworks: BTreeMap<FrameworkId, BTreeMap<Role, Client>>,
    clients: Vec<Option<Contender>>,
    spare: Vec<Client>,
    /// What every offer contains at least, unless a framework chose otherwise for a role.
    minimum: Minimum,
    /// How many contenders have a minimum of their own.
    own_minimums: usize,
    queue: Queue,
    /// Contenders that let offers lapse, by when that is forgotten.
    lapsed: BTreeSet<(Time, Client)>,
    /// Room to note who refuses the agent being looked at.
    blocked: Marks,
}

/// A framework in one of its roles.
#[derive(Debug)]
struct Contender {
    framework: FrameworkId,
    role: Role,
    /// The top-level role, whose quota counts.
    top: Role,
    capabilities: Capabilities,
    minimum: Option<Minimum>,
    /// Which agents it wants; all, when absent.
    constraints: Option<Arc<Constraints>>,
    subscribed: bool,
    suppressed: bool,
    /// It let an offer lapse, and comes after those who did not until then.
    behind: Option<Time>,
    /// The moment, counted in such moments, at which it last began to wait for offers.
    fresh: u64,
    tally: Tally,
    /// Agents it holds something of. When there is none and it is not subscribed, it is forgotten.
    holds: usize,
}

impl Contender {
    fn waits(&self) -> bool {
        self.subscribed && !self.suppressed
    }

    fn place(&self) -> Place {
        match self.behind {
            _ if !self.waits() => Place::Away,
            Some(_) => Place::Behind,
            None => Place::Ready,
        }
    }
}

/// What `run` has to look at.
#[derive(Debug, Default)]
struct Queue {
    /// Agents to be looked at whatever else.
    dirty: Marks,
    /// Contenders that began to wait and have not been compared with all agents since.
    fresh: BTreeSet<Client>,
    /// Agents still to be compared with those, from the cursor on.
    sweep: usize,
    /// Where the next look around begins.
    cursor: ledger::Index,
    /// Counts the beginnings of waits.
    epoch: u64,
}

impl Queue {
    /// The contender waits no longer: agents need not be looked at for it.
    fn forget(&mut self, client: Client) {
        self.fresh.remove(&client);
        if self.fresh.is_empty() {
            self.sweep = 0;
        }
    }
}

impl Allocator {
    pub fn new(minimum: Minimum) -> Self {
        Self { minimum, ..Self::default() }
    }

    /// When `run` should be called: a time in the past when there is something to look at now, else the end of the
    /// refusal that ends first, which may have passed as well.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.queue.sweep > 0 || !self.queue.dirty.is_empty() || self.quotas.has_held() {
            Some(Time::ZERO)
        } else {
            self.filters.next_deadline()
        }
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.agents.count()
    }

    fn contender(&self, client: Client) -> &Contender {
        self.clients[client as usize]
            .as_ref()
            .expect("a client's number is given back when nothing refers to it")
    }

    fn contender_mut(&mut self, client: Client) -> &mut Contender {
        self.clients[client as usize]
            .as_mut()
            .expect("a client's number is given back when nothing refers to it")
    }

    fn client(&self, framework: &FrameworkId, role: &Role) -> Option<Client> {
        self.frameworks.get(framework)?.get(role).copied()
    }

    /// The contender's number; a new one neither waits nor holds anything.
    fn client_or_new(&mut self, framework: &FrameworkId, role: &Role) -> Client {
        if let Some(client) = self.client(framework, role) {
            return client;
        }
        let contender = Contender {
            framework: framework.clone(),
            role: role.clone(),
            top: role.top(),
            capabilities: Capabilities::default(),
            minimum: None,
            constraints: None,
            subscribed: false,
            suppressed: false,
            behind: None,
            fresh: 0,
            tally: Tally::default(),
            holds: 0,
        };
        let client = self.spare.pop().unwrap_or_else(|| {
            self.clients.push(None);
            Client::try_from(self.clients.len() - 1).expect("memory ends before the numbers of clients do")
        });
        self.clients[client as usize] = Some(contender);
        self.order.add_client(client, framework, role);
        self.frameworks.entry(framework.clone()).or_default().insert(role.clone(), client);
        client
    }

    /// Forgets a contender that is gone and holds nothing.
    fn forget_if_idle(&mut self, client: Client) {
        let contender = self.contender(client);
        if contender.subscribed || contender.holds > 0 {
            return;
        }
        let contender = self.clients[client as usize].take().expect("looked at above");
        self.own_minimums -= usize::from(contender.minimum.is_some());
        self.filters.drop_client(client);
        self.queue.forget(client);
        if let Some(until) = contender.behind {
            self.lapsed.remove(&(until, client));
        }
        self.order.remove_client(client);
        if let Some(roles) = self.frameworks.get_mut(&contender.framework) {
            roles.remove(&contender.role);
            if roles.is_empty() {
                self.frameworks.remove(&contender.framework);
            }
        }
        self.spare.push(client);
    }

    /// The contender waits from now on and has not been offered any agent yet.
    fn begin_waiting(&mut self, client: Client) {
        self.queue.epoch += 1;
        self.contender_mut(client).fresh = self.queue.epoch;
        self.queue.fresh.insert(client);
        self.queue.sweep = self.agents.slots();
    }

    /// Whether more is promised to roles than is free, so that promises may be kept only once others give something
    /// back.
    pub fn owes_too_much(&self) -> bool {
        self.quotas.owes_too_much()
    }

    /// Whether a role, with all roles of its top-level role, has less than it is promised.
    pub fn is_owed(&self, role: &Role) -> bool {
        self.quotas.lacks(&role.top())
    }

    /// Whether a role, with all roles of its top-level role, has more than its limit.
    pub fn is_over_limit(&self, role: &Role) -> bool {
        self.quotas.is_over(&role.top())
    }

    /// What each top-level role has of what a quota counts, with all roles below it: what is reserved to it, used or
    /// not, and what else it uses. Offers do not count. Looks at every agent.
    pub fn consumption(&self) -> BTreeMap<Role, Quantities> {
        let mut all: BTreeMap<Role, Quantities> = BTreeMap::new();
        for (_, agent) in self.agents.iter() {
            for item in agent.facts.total.iter().filter(|item| !item.value().quantity().is_zero()) {
                if let Some(owner) = item.reserved_to() {
                    all.entry(owner.top()).or_default().add(item.name(), item.value().quantity());
                }
            }
            for (client, holding) in agent.holdings.iter() {
                let used = Quantities::of_bag(&holding.used, quota::is_common);
                *all.entry(self.contender(*client).top.clone()).or_default() += &used;
            }
        }
        all
    }

    /// What of an agent is neither used nor offered.
    pub fn free(&self, agent: &AgentId) -> Option<&model::resources::Bag> {
        Some(&self.agents.get(self.agents.index(agent)?).free)
    }
}

#[cfg(test)]
impl Allocator {
    /// Panics when the books do not add up.
    fn check(&self) {
        let mut holds = vec![0; self.clients.len()];
        for (index, agent) in self.agents.iter() {
            agent.check();
            agent.holdings.iter().for_each(|(client, _)| holds[*client as usize] += 1);
            let clean = matches!(agent.touch, ledger::Touch::Nobody);
            assert_eq!(clean, !self.queue.dirty.contains(index), "{}", agent.id);
        }
        let top = |client| &self.contender(client).top;
        self.quotas.check(self.agents.iter().map(|(_, agent)| agent), top);
        for (holds, contender) in holds.into_iter().zip(&self.clients) {
            assert_eq!(contender.as_ref().map_or(0, |contender| contender.holds), holds);
        }
    }

    /// Whether nothing at all is remembered.
    fn is_blank(&self) -> bool {
        self.frameworks.is_empty()
            && self.clients.iter().all(Option::is_none)
            && self.agents.iter().next().is_none()
            && self.queue.dirty.is_empty()
            && self.lapsed.is_empty()
            && self.own_minimums == 0
    }
}

#[cfg(test)]
mod tests;
