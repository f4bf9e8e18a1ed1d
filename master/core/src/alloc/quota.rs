//! Quota: what top-level roles are promised and what they may have at most, each with all roles below it.
//!
//! A role has consumed what is reserved to it, taken or not, and what it holds (offers included) of lasting,
//! unreserved amounts. What is missing from promises is kept back from everybody else: of the lasting, unreserved
//! amounts that are free, others are given the *surplus* only. All of it counts amounts, not places: a promise of ten
//! cpus may be kept as ten agents with one each.
//!
//! An agent of which somebody got less for this reason is remembered, and looked at again when there is room for more:
//! looking at all agents again whenever anything ends would cost as much as a whole pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use model::quantity::Quantity;
use model::resources::{Bag, Item, Name, Quantities, Value};
use model::role::Role;

use super::Client;
use super::grant::Quota;
use super::ledger::{Agent, Index};
use super::marks::Marks;

#[derive(Debug, Default)]
pub(super) struct Quotas {
    books: BTreeMap<Role, Book>,
    /// Free, unreserved and lasting, of all active agents.
    available: Quantities,
    /// What is missing from all promises together.
    owed: Quantities,
    /// Agents of which somebody got less than there was.
    held: Held,
    /// Those of them that are being looked at again.
    due: Held,
    /// Of what there has come to be more room since the last such round began, and before it.
    grown: BTreeSet<Name>,
    grown_before: BTreeSet<Name>,
}

#[derive(Debug, Default)]
struct Book {
    quota: Quota,
    consumed: Quantities,
}

#[derive(Debug, Default)]
struct Held {
    agents: Marks,
    /// What they got less of.
    kinds: BTreeSet<Name>,
}

/// What kept an amount back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Limit,
    Guarantees,
}

/// Of what something was kept back, and by what.
pub(super) type Bounds = Vec<(Name, Bound)>;

/// What one agent adds to the books.
#[derive(Debug, Default)]
pub(super) struct Part {
    available: Quantities,
    consumed: Vec<(Role, Quantities)>,
}

/// Of what a promise is made and a limit counts: reserved amounts have an owner already, and revocable ones may go at
/// any time.
pub(super) fn is_common(item: &Item) -> bool {
    item.reserved_to().is_none() && !item.is_revocable()
}

impl Book {
    fn missing(&self, name: &Name) -> Quantity {
        self.quota.guarantees.of(name).saturating_sub(self.consumed.of(name))
    }
}

impl Quotas {
    /// Without any quota nothing is counted.
    pub(super) fn is_idle(&self) -> bool {
        self.books.is_empty()
    }

    /// Sets all quotas. Everything has to be counted anew afterwards, and every agent looked at.
    pub(super) fn replace(&mut self, quotas: BTreeMap<Role, Quota>) {
        let books = quotas.into_iter().map(|(role, quota)| (role, Book { quota, ..Book::default() }));
        *self = Self { books: books.collect(), ..Self::default() };
        for book in self.books.values() {
            self.owed += &book.quota.guarantees;
        }
    }

    pub(super) fn get(&self, top: &Role) -> Option<&Quota> {
        self.books.get(top).map(|book| &book.quota)
    }

    /// What an agent adds to the books; `top` names the top-level role of a client.
    pub(super) fn part<'a>(&self, agent: &Agent, top: impl Fn(Client) -> &'a Role) -> Part {
        let mut part = Part::default();
        if agent.facts.active {
            part.available = Quantities::of_bag(&agent.free, is_common);
        }
        for item in agent.facts.total.iter() {
            let Some(owner) = item.reserved_to() else { continue };
            let amount = item.value().quantity();
            if let Some(role) = self.books.get_key_value(&owner.top()).map(|(role, _)| role) {
                part.consumed.push((role.clone(), Quantities::from_iter([(item.name().clone(), amount)])));
            }
        }
        for (client, holding) in agent.holdings.iter() {
            let role = top(*client);
            if self.books.contains_key(role) {
                let mut held = Quantities::of_bag(&holding.used, is_common);
                held += &Quantities::of_bag(&holding.offered, is_common);
                part.consumed.push((role.clone(), held));
            }
        }
        part
    }

    /// An agent's part of the books has changed. More room is noted, for `next_held`.
    pub(super) fn change(&mut self, before: &Part, after: &Part) {
        let watched = !self.held.agents.is_empty() || !self.due.agents.is_empty();
        let surplus = watched.then(|| self.surplus());
        let consumed = watched.then(|| self.consumption(before));
        self.available -= &before.available;
        before
            .consumed
            .iter()
            .for_each(|(role, amounts)| self.consume(role, amounts, Quantity::saturating_sub));
        self.available += &after.available;
        after
            .consumed
            .iter()
            .for_each(|(role, amounts)| self.consume(role, amounts, Quantity::saturating_add));
        let (Some(surplus), Some(consumed)) = (surplus, consumed) else { return };
        let more = self.surplus();
        self.grown
            .extend(more.iter().filter(|(name, now)| *now > surplus.of(name)).map(|(name, _)| name.clone()));
        for (role, was) in consumed {
            let Some(book) = self.books.get(&role) else { continue };
            let fewer = was.iter().filter(|(name, was)| book.consumed.of(name) < *was);
            self.grown.extend(fewer.map(|(name, _)| name.clone()));
        }
    }

    fn consumption(&self, part: &Part) -> Vec<(Role, Quantities)> {
        let roles = part.consumed.iter().map(|(role, _)| role);
        roles.filter_map(|role| Some((role.clone(), self.books.get(role)?.consumed.clone()))).collect()
    }

    fn consume(
        &mut self,
        role: &Role,
        amounts: &Quantities,
        change: impl Fn(Quantity, Quantity) -> Quantity,
    ) {
        let Some(book) = self.books.get_mut(role) else { return };
        for (name, amount) in amounts.iter() {
            let missing = book.missing(name);
            book.consumed.set(name.clone(), change(book.consumed.of(name), amount));
            let owed = self.owed.of(name).saturating_sub(missing).saturating_add(book.missing(name));
            if !(owed.is_zero() && self.owed.get(name).is_none()) {
                self.owed.set(name.clone(), owed);
            }
        }
    }

    /// Of each kind that is promised to somebody: what is free beyond what is owed.
    fn surplus(&self) -> Quantities {
        let left = |name: &Name, owed| self.available.of(name).saturating_sub(owed);
        self.owed.iter().map(|(name, owed)| (name.clone(), left(name, owed))).collect()
    }

    /// What a role may be given of a kind, and what sets the bound; `None` when nothing does.
    fn room(&self, top: &Role, name: &Name) -> Option<(Quantity, Bound)> {
        let book = self.books.get(top);
        #[cfg(feature = "mutants")]
        if mutant::planted("quotas-bind-nobody") {
            return None;
        }
        let limit = book.and_then(|book| {
            let limit = book.quota.limits.get(name)?;
            Some((limit.saturating_sub(book.consumed.of(name)), Bound::Limit))
        });
        let kept = self.owed.get(name).map(|owed| {
            let surplus = self.available.of(name).saturating_sub(owed);
            let promised = book.map_or(Quantity::ZERO, |book| book.missing(name));
            (surplus.saturating_add(promised), Bound::Guarantees)
        });
        match (limit, kept) {
            (Some(limit), Some(kept)) => Some(if kept.0 < limit.0 { kept } else { limit }),
            (limit, kept) => limit.or(kept),
        }
    }

    /// Whether the role is promised some of this that it has not got.
    pub(super) fn is_owed(&self, top: &Role, bag: &Bag) -> bool {
        let Some(book) = self.books.get(top) else { return false };
        bag.iter().any(|item| {
            is_common(item) && !item.value().quantity().is_zero() && !book.missing(item.name()).is_zero()
        })
    }

    /// Whether anybody is promised something that is missing.
    pub(super) fn owes(&self) -> bool {
        self.owed.iter().any(|(_, owed)| !owed.is_zero())
    }

    /// Whether more is promised than could be given now.
    pub(super) fn owes_too_much(&self) -> bool {
        self.available.exceeded_by(&self.owed).is_some()
    }

    /// Whether the role is promised something it has not got.
    pub(super) fn lacks(&self, top: &Role) -> bool {
        let Some(book) = self.books.get(top) else { return false };
        book.consumed.exceeded_by(&book.quota.guarantees).is_some()
    }

    /// Whether the role has more than its limit.
    pub(super) fn is_over(&self, top: &Role) -> bool {
        let Some(book) = self.books.get(top) else { return false };
        book.quota.limits.iter().any(|(name, limit)| book.consumed.of(name) > limit)
    }

    /// What of a bag a role may be given, and what kept the rest back.
    pub(super) fn portion<'a>(&self, top: &Role, bag: Cow<'a, Bag>) -> (Cow<'a, Bag>, Bounds) {
        let mut bounds = Vec::new();
        let mut cuts: Vec<(usize, Quantity)> = Vec::new();
        let mut used = Quantities::new();
        for (at, item) in bag.iter().enumerate().filter(|(_, item)| is_common(item)) {
            let amount = item.value().quantity();
            if amount.is_zero() {
                continue;
            }
            let Some((room, bound)) = self.room(top, item.name()) else { continue };
            let room = room.saturating_sub(used.of(item.name()));
            let kept = if amount <= room { amount } else { divide(item, room) };
            if kept < amount {
                bounds.push((item.name().clone(), bound));
                cuts.push((at, kept));
            }
            used.add(item.name(), kept);
        }
        if cuts.is_empty() {
            return (bag, bounds);
        }
        let cut = |at: usize| cuts.iter().find(|(cut, _)| *cut == at).map(|(_, kept)| *kept);
        let less = bag.iter().enumerate().map(|(at, item)| match cut(at) {
            None => item.clone(),
            Some(kept) => {
                let tag = item.tag().cloned().unwrap_or_default();
                Item::new(item.name().clone(), tag, Value::Scalar(kept))
            }
        });
        (Cow::Owned(less.filter(|item| !item.value().is_empty()).collect()), bounds)
    }

    /// A client in this role takes a part of what was free.
    pub(super) fn take(&mut self, top: &Role, part: &Bag) {
        let taken = Quantities::of_bag(part, is_common);
        self.available -= &taken;
        self.consume(top, &taken, Quantity::saturating_add);
    }

    // --- what has to be looked at again

    /// Somebody got less of an agent than there was.
    pub(super) fn hold(&mut self, agent: Index, bounds: Bounds) {
        if !bounds.is_empty() {
            self.held.agents.insert(agent);
            self.held.kinds.extend(bounds.into_iter().map(|(name, _)| name));
        }
    }

    /// The agent is looked at, or gone. Whether somebody got less of it before: then everybody has to be asked, in
    /// order, for there may be room for more than the one it is looked at for.
    pub(super) fn release(&mut self, agent: Index) -> bool {
        let (held, due) = (self.held.agents.remove(agent), self.due.agents.remove(agent));
        held || due
    }

    /// Whether `next_held` has one.
    pub(super) fn has_held(&self) -> bool {
        let round = !self.due.agents.is_empty() && self.has_room(&self.due.kinds, &self.grown_before);
        let next = !self.held.agents.is_empty() || !self.due.agents.is_empty();
        round || (next && !self.grown.is_empty() && self.has_room_after_round())
    }

    fn has_room_after_round(&self) -> bool {
        self.has_room(&self.held.kinds, &self.grown) || self.has_room(&self.due.kinds, &self.grown)
    }

    /// Whether anybody could be given more of a kind in both sets. Whom nothing bounds got all there was before.
    fn has_room(&self, kinds: &BTreeSet<Name>, grown: &BTreeSet<Name>) -> bool {
        let free = |role: &Role, name: &Name| self.room(role, name).is_some_and(|(room, _)| !room.is_zero());
        kinds
            .intersection(grown)
            .any(|name| free(&Role::any(), name) || self.books.keys().any(|role| free(role, name)))
    }

    /// The next agent that was not given away whole and may be now, from a place on.
    pub(super) fn next_held(&mut self, start: Index) -> Option<Index> {
        if self.due.agents.is_empty() || !self.has_room(&self.due.kinds, &self.grown_before) {
            // The round is over. Those it did not come to are held as before: there is no room for them.
            let rest = std::mem::take(&mut self.due);
            self.held.agents.extend(&rest.agents);
            self.held.kinds.extend(rest.kinds);
            self.grown_before = std::mem::take(&mut self.grown);
            if !self.has_room(&self.held.kinds, &self.grown_before) {
                return None;
            }
            self.due = std::mem::take(&mut self.held);
        }
        let index = self.due.agents.next_from(start)?;
        self.due.agents.remove(index);
        Some(index)
    }
}

/// The most of an item that fits into some room: none of what is whole, and whole GPUs.
fn divide(item: &Item, room: Quantity) -> Quantity {
    match (item.value(), item.name()) {
        (Value::Whole { .. }, _) => Quantity::ZERO,
        (_, Name::Gpus) => Quantity::from_thousandths(room.thousandths() / 1000 * 1000).unwrap_or_default(),
        _ => room,
    }
}

#[cfg(test)]
impl Quotas {
    /// The books as they would be if they were opened now.
    pub(super) fn check<'a>(
        &self,
        agents: impl Iterator<Item = &'a Agent>,
        top: impl Fn(Client) -> &'a Role,
    ) {
        let quotas = self.books.iter().map(|(role, book)| (role.clone(), book.quota.clone())).collect();
        let mut again = Self::default();
        again.replace(quotas);
        for agent in agents {
            again.change(&Part::default(), &again.part(agent, &top));
        }
        if !self.is_idle() {
            let exact = |amounts: &Quantities| amounts.clone().without_zeros();
            assert_eq!(exact(&self.available), exact(&again.available), "what is available");
            assert_eq!(exact(&self.owed), exact(&again.owed), "what is owed");
            for (role, book) in &self.books {
                assert_eq!(exact(&book.consumed), exact(&again.books[role].consumed), "what {role} consumed");
            }
        }
    }
}
