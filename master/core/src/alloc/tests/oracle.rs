//! An allocator without any cleverness: it keeps plain lists, looks at everything, and sorts anew for each question.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::limits;
use model::quantity::Quantity;
use model::resources::{Bag, Item, Name, Value};
use model::role::Role;
use model::time::{Span, Time};

use super::super::{AgentFacts, Constraints, Grant, Minimum, Quota};
use crate::profile::Capabilities;

type Who = (FrameworkId, Role);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Offered,
    Used,
}

#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) agent: AgentId,
    pub(super) who: Who,
    pub(super) state: State,
    pub(super) resources: Bag,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) suppressed: bool,
    pub(super) capabilities: Capabilities,
    pub(super) minimum: Minimum,
    pub(super) constraints: Option<Arc<Constraints>>,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) now: Time,
    pub(super) agents: BTreeMap<AgentId, AgentFacts>,
    pub(super) pieces: Vec<Piece>,
    pub(super) subscriptions: BTreeMap<Who, Subscription>,
    pub(super) refusals: Vec<(AgentId, Who, Time, Bag)>,
    pub(super) weights: BTreeMap<String, u64>,
    pub(super) quotas: BTreeMap<Role, Quota>,
    /// Until when those come last who let offers lapse.
    pub(super) behind: BTreeMap<Who, Time>,
    /// Who has used something.
    users: BTreeSet<Who>,
    /// When something was last given to a node, or when it came, counted in such moments.
    turns: BTreeMap<String, u64>,
    turn: u64,
}

/// Unreserved and lasting: what promises and limits are about.
fn common(bag: &Bag, kind: &Name) -> u64 {
    let items = bag.iter().filter(|item| item.name() == kind);
    let counted = items.filter(|item| item.reserved_to().is_none() && !item.is_revocable());
    counted.map(|item| item.value().quantity().thousandths().unsigned_abs()).sum()
}

/// The nodes on the way to a contender: `eng`, `eng/web`, `eng/web/.`, `eng/web/./f1`.
fn path((framework, role): &Who) -> Vec<String> {
    let mut nodes: Vec<String> = role.ancestors().map(|role| role.to_string()).collect();
    nodes.reverse();
    nodes.extend([role.to_string(), format!("{role}/."), format!("{role}/./{framework}")]);
    nodes
}

impl Oracle {
    /// What is free of an agent, from nothing but the pieces.
    pub(super) fn free(&self, agent: &AgentId) -> Bag {
        let held: Bag =
            self.pieces.iter().filter(|piece| piece.agent == *agent).map(|piece| &piece.resources).sum();
        self.agents[agent].total.without(&held)
    }

    /// The ratio taken / total of the dominant kind, of some nodes together.
    fn share(&self, nodes: &[String]) -> (u128, u128) {
        let below = |who: &Who| path(who).iter().any(|own| nodes.contains(own));
        let taken: Vec<&Bag> =
            self.pieces.iter().filter(|piece| below(&piece.who)).map(|piece| &piece.resources).collect();
        let kinds: BTreeSet<&Name> =
            self.agents.values().flat_map(|facts| &facts.total).map(|item| item.name()).collect();
        let mut most = (0, 1);
        for kind in kinds {
            let sum = |bags: &mut dyn Iterator<Item = &Bag>| {
                bags.map(|bag| u128::from(bag.scalar(kind).thousandths().unsigned_abs())).sum::<u128>()
            };
            let total = sum(&mut self.agents.values().map(|facts| &facts.total));
            let share = (sum(&mut taken.iter().copied()), total);
            if total > 0 && share.0 * most.1 > most.0 * share.1 {
                most = share;
            }
        }
        most
    }

    fn compare(&self, a: &Who, b: &Who) -> Ordering {
        let behind = self.behind.contains_key(a);
        if behind != self.behind.contains_key(b) {
            return if behind { Ordering::Greater } else { Ordering::Less };
        }
        let parted = path(a).into_iter().zip(path(b)).find(|(a, b)| a != b);
        let Some((a, b)) = parted else { return Ordering::Equal };
        match (self.is_used(&a), self.is_used(&b)) {
            (true, false) if !behind => self.user_and_newcomers(&a, &b),
            (false, true) if !behind => self.user_and_newcomers(&b, &a).reverse(),
            _ => self
                .by_share((from_ref(&a), self.weight(&a)), (from_ref(&b), self.weight(&b)))
                .then(self.turns[&a].cmp(&self.turns[&b])),
        }
    }

    fn weight(&self, node: &str) -> u128 {
        u128::from(self.weights.get(node).copied().unwrap_or(1000))
    }

    fn by_share(&self, a: (&[String], u128), b: (&[String], u128)) -> Ordering {
        let ((ta, na), (tb, nb)) = (self.share(a.0), self.share(b.0));
        (ta * nb * b.1).cmp(&(tb * na * a.1))
    }

    /// Whether anybody at or below a node has used something.
    fn is_used(&self, node: &str) -> bool {
        self.users.iter().any(|who| path(who).iter().any(|own| own == node))
    }

    /// A node with users, and one without: that one and all its siblings without users count as one.
    fn user_and_newcomers(&self, user: &str, newcomer: &str) -> Ordering {
        let parent = |node: &str| node.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let alike = |node: &&String| parent(node) == parent(newcomer) && !self.is_used(node);
        let newcomers: Vec<String> = self.turns.keys().filter(alike).cloned().collect();
        self.by_share((&[user.to_owned()], self.weight(user)), (&newcomers, 1000)).then(Ordering::Less)
    }

    /// What a top-level role has of a kind, with what is reserved to it; `more` is being given out right now.
    pub(super) fn consumed(&self, top: &Role, kind: &Name, more: &[Grant]) -> u64 {
        let held = self.pieces.iter().map(|piece| (&piece.who.1, &piece.resources));
        let held = held.chain(more.iter().map(|grant| (&grant.role, &grant.resources)));
        let held: u64 = held.filter(|(role, _)| role.top() == *top).map(|(_, bag)| common(bag, kind)).sum();
        let items = self.agents.values().flat_map(|facts| &facts.total).filter(|item| item.name() == kind);
        let reserved = items.filter(|item| item.reserved_to().is_some_and(|owner| owner.top() == *top));
        held + reserved.map(|item| item.value().quantity().thousandths().unsigned_abs()).sum::<u64>()
    }

    /// What is free of a kind for whoever may have it, and what of that is missing from promises.
    pub(super) fn headroom(&self, kind: &Name, more: &[Grant]) -> (u64, u64) {
        let active = self.agents.iter().filter(|(_, facts)| facts.active);
        let free: u64 = active.map(|(id, _)| common(&self.free(id), kind)).sum();
        let owed = self.quotas.keys().map(|top| self.missing(top, kind, more)).sum();
        (free - more.iter().map(|grant| common(&grant.resources, kind)).sum::<u64>(), owed)
    }

    fn missing(&self, top: &Role, kind: &Name, more: &[Grant]) -> u64 {
        let Some(quota) = self.quotas.get(top) else { return 0 };
        let promised = quota.guarantees.of(kind).thousandths().unsigned_abs();
        promised.saturating_sub(self.consumed(top, kind, more))
    }

    /// What of a bag the quotas let a role have, while `more` is being given out.
    fn portion(&self, role: &Role, bag: &Bag, more: &[Grant]) -> Bag {
        let top = role.top();
        let less = |item: &Item| {
            if item.reserved_to().is_some() || item.is_revocable() || item.value().quantity().is_zero() {
                return item.clone();
            }
            let kind = item.name();
            let mut room = item.value().quantity().thousandths().unsigned_abs();
            if let Some(limit) = self.quotas.get(&top).and_then(|quota| quota.limits.get(kind)) {
                let limit = limit.thousandths().unsigned_abs();
                room = room.min(limit.saturating_sub(self.consumed(&top, kind, more)));
            }
            if self.quotas.values().any(|quota| quota.guarantees.get(kind).is_some()) {
                let (free, owed) = self.headroom(kind, more);
                room = room.min(free.saturating_sub(owed) + self.missing(&top, kind, more));
            }
            if *kind == Name::Gpus && room < item.value().quantity().thousandths().unsigned_abs() {
                room -= room % 1000;
            }
            let value = Value::Scalar(Quantity::from_thousandths(room.cast_signed()).unwrap());
            Item::new(kind.clone(), item.tag().cloned().unwrap_or_default(), value)
        };
        bag.iter().map(less).collect()
    }

    fn is_owed_some(&self, role: &Role, bag: &Bag, more: &[Grant]) -> bool {
        bag.iter()
            .any(|item| common(bag, item.name()) > 0 && self.missing(&role.top(), item.name(), more) > 0)
    }

    /// Whom an agent's free resources go to, if it is looked at now: first to those who have less than they are
    /// promised.
    pub(super) fn expected(&self, agent: &AgentId) -> Vec<Grant> {
        let mut rest = self.free(agent);
        let mut waiting: Vec<&Who> =
            self.subscriptions.iter().filter(|(_, own)| !own.suppressed).map(|(who, _)| who).collect();
        waiting.sort_by(|a, b| self.compare(a, b));
        let mut grants: Vec<Grant> = Vec::new();
        for owed_only in [true, false] {
            for who in &waiting {
                if !owed_only || self.is_owed_some(&who.1, &rest, &grants) {
                    self.give(agent, who, &mut rest, &mut grants);
                }
            }
        }
        grants
    }

    fn give(&self, agent: &AgentId, who: &Who, rest: &mut Bag, grants: &mut Vec<Grant>) {
        let facts = &self.agents[agent];
        let Subscription { capabilities: can, minimum, constraints, .. } = &self.subscriptions[who];
        let part = rest.filter(|item| {
            let reserved = item.reserved_to();
            reserved.is_none_or(|owner| *owner == who.1 || owner.is_ancestor_of(&who.1))
                && (can.revocable || !item.is_revocable())
                && (can.refinement || !item.is_refined())
        });
        let part = self.portion(&who.1, &part, grants);
        let refused = self
            .refusals
            .iter()
            .any(|(on, by, until, bag)| on == agent && by == who && *until > self.now && bag.contains(&part));
        let gpus = !facts.total.gpus().is_zero();
        let understood = (can.gpu || !gpus) && (can.region_aware || !facts.remote);
        let wanted = constraints.as_ref().is_none_or(|constraints| constraints.hold(&facts.traits));
        if facts.active && wanted && understood && !refused && !part.is_empty() && minimum.met_by(&part) {
            *rest = rest.checked_sub(&part).unwrap();
            grants.push(Grant {
                framework: who.0.clone(),
                role: who.1.clone(),
                agent: agent.clone(),
                resources: part,
            });
        }
    }

    pub(super) fn granted(&mut self, grant: &Grant) {
        let who = (grant.framework.clone(), grant.role.clone());
        self.turn += 1;
        for node in path(&who) {
            self.turns.insert(node, self.turn);
        }
        let (agent, resources) = (grant.agent.clone(), grant.resources.clone());
        self.pieces.push(Piece { agent, who, state: State::Offered, resources });
    }

    pub(super) fn refuse(&mut self, agent: &AgentId, who: &Who, asked: Span, bag: &Bag) {
        self.refusals.push((agent.clone(), who.clone(), self.now + term(asked), bag.clone()));
    }

    /// A contender competes or holds something from now on; a known one is no news.
    pub(super) fn joined(&mut self, who: &Who) {
        let path = path(who);
        if self.turns.contains_key(&path[path.len() - 1]) {
            return;
        }
        self.turn += 1;
        for node in path {
            self.turns.entry(node).or_insert(self.turn);
        }
    }

    pub(super) fn uses(&mut self, who: &Who) {
        self.users.insert(who.clone());
    }

    pub(super) fn lapse(&mut self, who: &Who, asked: Span) {
        let until = self.now + term(asked);
        let own = self.behind.entry(who.clone()).or_insert(until);
        *own = until.max(*own);
    }

    /// As the clever one, who looks at the clock in a run only.
    pub(super) fn forgive(&mut self) {
        let now = self.now;
        self.behind.retain(|_, until| *until > now);
    }

    /// Forgets those who neither wait nor hold anything.
    pub(super) fn tidy(&mut self) {
        let holders = self.pieces.iter().map(|piece| &piece.who);
        let contenders: BTreeSet<Who> = self.subscriptions.keys().chain(holders).cloned().collect();
        let alive: BTreeSet<String> = contenders.iter().flat_map(path).collect();
        self.turns.retain(|node, _| alive.contains(node));
        self.users.retain(|who| contenders.contains(who));
        self.behind.retain(|who, _| contenders.contains(who));
        let now = self.now;
        self.refusals.retain(|(.., until, _)| *until > now);
    }
}

fn term(asked: Span) -> Span {
    match asked {
        Span::ZERO => limits::REOFFER_PAUSE,
        asked => asked.max(limits::ALLOCATION_INTERVAL),
    }
}
