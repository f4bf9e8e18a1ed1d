//! Whatever happens in whatever order: the clever allocator gives what the plain one would give, leaves nothing it
//! would still give, and its books stay right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::quantity::Quantity;
use model::resources::{Bag, Item, Name, Quantities, Tag, Value};
use model::role::Role;
use model::time::Span;
use proptest::prelude::*;

use super::super::{
    AgentFacts, Allocator, Constraint, Constraints, FrameworkChange, Grant, Held, Minimum, PolicyChange,
    Predicate, Quota, Trait, Traits,
};
use super::oracle::{Oracle, Piece, State, Subscription};
use crate::profile::Capabilities;

#[derive(Debug, Clone)]
enum Step {
    AgentUp { agent: u8, total: u8, remote: bool, used: Vec<(u8, u8, u8)> },
    AgentDown(u8),
    AgentActive(u8, bool),
    AgentTotal(u8, u8),
    Subscribe { framework: u8, roles: u8, suppressed: u8, can: u8, least: u8, wants: u8 },
    Disconnect(u8),
    Suppress(u8, u8),
    Revive(u8, u8),
    Weight(u8, u64),
    Quotas(BTreeMap<u8, (u8, u8)>),
    Return { piece: usize, half: bool, refuse: Option<u64> },
    Lapse { piece: usize, pause: u64 },
    Answer(u8),
    Launch { piece: usize, half: bool },
    Free { piece: usize },
    Pass(u64),
    Run(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (agent, framework, role) = (0u8..4, 0u8..4, 0u8..5);
    let used = proptest::collection::vec((framework.clone(), role.clone(), 0u8..3), 0..3);
    let refuse = proptest::option::of(prop_oneof![Just(0), 1u64..8_000]);
    prop_oneof![
        3 => (agent.clone(), 0u8..6, prop::bool::weighted(0.2), used)
            .prop_map(|(agent, total, remote, used)| Step::AgentUp { agent, total, remote, used }),
        1 => agent.clone().prop_map(Step::AgentDown),
        1 => (agent.clone(), any::<bool>()).prop_map(|(agent, active)| Step::AgentActive(agent, active)),
        1 => (agent, 0u8..6).prop_map(|(agent, total)| Step::AgentTotal(agent, total)),
        3 => (framework.clone(), 1u8..32, 0u8..32, 0u8..8, 0u8..6, 0u8..5).prop_map(
            |(framework, roles, suppressed, can, least, wants)| {
                Step::Subscribe { framework, roles, suppressed, can, least, wants }
            },
        ),
        1 => framework.clone().prop_map(Step::Disconnect),
        1 => (framework.clone(), 0u8..32).prop_map(|(framework, roles)| Step::Suppress(framework, roles)),
        1 => framework.clone().prop_map(Step::Answer),
        2 => (framework, 0u8..32).prop_map(|(framework, roles)| Step::Revive(framework, roles)),
        1 => (role, 1u64..5_000).prop_map(|(role, weight)| Step::Weight(role, weight)),
        1 => proptest::collection::btree_map(0u8..3, (0u8..5, 0u8..5), 0..3).prop_map(Step::Quotas),
        4 => (any::<usize>(), any::<bool>(), refuse).prop_map(|(piece, half, refuse)| Step::Return { piece, half, refuse }),
        2 => (any::<usize>(), 0u64..8_000).prop_map(|(piece, pause)| Step::Lapse { piece, pause }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(piece, half)| Step::Launch { piece, half }),
        2 => any::<usize>().prop_map(|piece| Step::Free { piece }),
        2 => (0u64..4_000).prop_map(Step::Pass),
        6 => prop_oneof![Just(usize::MAX), 1usize..3].prop_map(Step::Run),
    ]
}

fn agent(n: u8) -> AgentId {
    format!("a{n}").into()
}

fn framework(n: u8) -> FrameworkId {
    format!("f{n}").into()
}

const ROLES: [&str; 5] = ["*", "a", "a/x", "a-x", "b"];

fn role(n: u8) -> Role {
    ROLES[usize::from(n)].parse().unwrap()
}

fn roles(bits: u8) -> BTreeSet<Role> {
    (0..5).filter(|n| bits & (1 << n) != 0).map(role).collect()
}

fn total(n: u8) -> Bag {
    let text = [
        "cpus:4;mem:4096;ports:[1-20]",
        "cpus:8;mem:1024;cpus(a):2;mem(a):512;ports(b):[30-40]",
        "cpus:2;mem:100;gpus:1",
        "cpus:1;mem:64;disk:100;cpus(a/x):1;cpus(a):0.5",
        "cpus:0.5;mem:20",
        "cpus:3;mem:3000;bandwidth:7",
    ][usize::from(n)];
    let mut bag = Bag::parse(text).unwrap();
    if n == 5 {
        let tag = Tag { revocable: true, ..Tag::default() };
        bag.insert(Item::new(Name::Cpus, tag, Value::Scalar(Bag::parse("cpus:2").unwrap().cpus())));
    }
    bag
}

fn used(n: u8) -> Bag {
    Bag::parse(["cpus:1;mem:50", "cpus:3;mem:200;disk:7", "mem:2000"][usize::from(n)]).unwrap()
}

fn can(bits: u8) -> Capabilities {
    Capabilities {
        gpu: bits & 1 != 0,
        region_aware: bits & 2 != 0,
        revocable: bits & 4 != 0,
        ..Capabilities::default()
    }
}

/// Mostly the usual one; else any crumb, or two whole cpus.
fn least(n: u8) -> Option<Minimum> {
    match n {
        0 => Some(Minimum(vec![])),
        1 => Some(Minimum(vec![vec![(Name::Cpus, Quantity::from_units(2))]])),
        _ => None,
    }
}

/// Mostly every agent; else two of them by their names, or all but one.
fn wants(n: u8) -> Option<Arc<Constraints>> {
    let hostname = |holds| Constraint { of: Trait::Hostname, holds };
    match n {
        0 => {
            let equals = |name: &str| vec![hostname(Predicate::Equals(name.to_owned()))];
            Some(Arc::new(Constraints(vec![equals("a0"), equals("a2")])))
        }
        1 => Some(Arc::new(Constraints(vec![vec![hostname(Predicate::NotEquals("a1".to_owned()))]]))),
        _ => None,
    }
}

/// A promise and a limit; none is possible, and so is a limit of nothing.
fn quota(promise: u8, limit: u8) -> Quota {
    let amounts = |text: &str| Quantities::of_bag(&Bag::parse(text).unwrap(), |_| true);
    let promises = ["", "cpus:2", "cpus:5;mem:900", "mem:64;gpus:1", "cpus:100"];
    let limits = ["", "cpus:0.9", "cpus:6;mem:3000", "mem:80;disk:50;gpus:1", "bandwidth:1"];
    let mut limits = amounts(limits[usize::from(limit)]);
    if limit == 4 {
        limits.set(Name::Cpus, Quantity::ZERO);
    }
    Quota { guarantees: amounts(promises[usize::from(promise)]), limits }
}

/// About half of each amount, and never nothing.
fn half(bag: &Bag) -> Bag {
    let halved = |item: &Item| match item.value() {
        Value::Scalar(quantity) if quantity.thousandths() > 1 => {
            let tag = item.tag().cloned().unwrap_or_default();
            let less = Quantity::from_thousandths(quantity.thousandths() / 2).unwrap();
            Item::new(item.name().clone(), tag, Value::Scalar(less))
        }
        _ => item.clone(),
    };
    bag.iter().map(halved).collect()
}

#[derive(Default)]
struct Pair {
    clever: Allocator,
    plain: Oracle,
}

impl Pair {
    fn take(&mut self, step: Step) {
        match step {
            Step::AgentUp { agent: n, total: t, remote, used: pieces } => {
                self.agent_up(n, t, remote, &pieces)
            }
            Step::AgentDown(n) => {
                self.clever.agent_down(&agent(n));
                self.lose(&agent(n));
            }
            Step::AgentActive(n, active) => {
                let known = self.plain.agents.get_mut(&agent(n)).map(|facts| facts.active = active);
                assert_eq!(self.clever.agent_active(&agent(n), active).is_ok(), known.is_some());
            }
            Step::AgentTotal(n, t) => {
                let known = self.plain.agents.get_mut(&agent(n)).map(|facts| facts.total = total(t));
                assert_eq!(self.clever.agent_total(&agent(n), total(t)).is_ok(), known.is_some());
            }
            Step::Subscribe {
                framework: n,
                roles: bits,
                suppressed,
                can: able,
                least: minimum,
                wants: wanted,
            } => {
                self.subscribe(
                    &framework(n),
                    roles(bits),
                    roles(suppressed & bits),
                    can(able),
                    least(minimum),
                    wants(wanted),
                );
            }
            Step::Disconnect(n) => {
                self.clever.framework(&framework(n), FrameworkChange::Disconnected);
                self.leave(&framework(n), &BTreeSet::new());
            }
            Step::Suppress(n, bits) => {
                self.clever.framework(&framework(n), FrameworkChange::Suppress(roles(bits)));
                self.set_suppressed(&framework(n), bits, true);
            }
            Step::Revive(n, bits) => {
                self.clever.framework(&framework(n), FrameworkChange::Revive(roles(bits)));
                self.set_suppressed(&framework(n), bits, false);
                let named = |own: &Role| bits == 0 || roles(bits).contains(own);
                self.plain.refusals.retain(|(_, who, ..)| who.0 != framework(n) || !named(&who.1));
            }
            Step::Weight(n, thousandths) => {
                self.clever.policy(PolicyChange::Weight { role: role(n), thousandths });
                self.plain.weights.insert(role(n).to_string(), thousandths);
            }
            Step::Quotas(all) => {
                let top = |n: u8| ["a", "a-x", "b"][usize::from(n)].parse::<Role>().unwrap();
                let all = all.into_iter().map(|(n, (promise, limit))| (top(n), quota(promise, limit)));
                self.plain.quotas = all.collect();
                self.clever.policy(PolicyChange::Quotas(self.plain.quotas.clone()));
            }
            Step::Return { piece, half, refuse } => self.give_back(piece, half, refuse),
            Step::Lapse { piece, pause } => self.lapse(piece, pause),
            Step::Answer(n) => {
                self.clever.framework(&framework(n), FrameworkChange::Answered);
                self.plain.behind.retain(|who, _| who.0 != framework(n));
            }
            Step::Launch { piece, half } => self.launch(piece, half),
            Step::Free { piece } => self.free(piece),
            Step::Pass(millis) => self.plain.now += Span::from_millis(millis),
            Step::Run(budget) => self.run(budget),
        }
        self.plain.tidy();
        self.clever.check();
        for id in self.plain.agents.keys() {
            assert_eq!(self.clever.free(id), Some(&self.plain.free(id)), "{id}");
        }
    }

    fn lose(&mut self, id: &AgentId) {
        self.plain.agents.remove(id);
        self.plain.pieces.retain(|piece| piece.agent != *id);
        self.plain.refusals.retain(|(on, ..)| on != id);
    }

    fn agent_up(&mut self, n: u8, t: u8, remote: bool, pieces: &[(u8, u8, u8)]) {
        let traits = Traits { hostname: agent(n).to_string(), ..Traits::default() };
        let (id, facts) = (agent(n), AgentFacts { total: total(t), active: true, remote, traits });
        self.lose(&id);
        self.plain.tidy();
        let held: Vec<Held> = pieces
            .iter()
            .map(|(f, r, u)| Held { framework: framework(*f), role: role(*r), resources: used(*u) })
            .collect();
        self.plain.agents.insert(id.clone(), facts.clone());
        for Held { framework, role, resources } in held.iter().cloned() {
            let who = (framework, role);
            self.plain.joined(&who);
            self.plain.uses(&who);
            self.plain.pieces.push(Piece { agent: id.clone(), who, state: State::Used, resources });
        }
        self.clever.agent_up(id, facts, held);
    }

    fn leave(&mut self, id: &FrameworkId, keep: &BTreeSet<Role>) {
        self.plain.subscriptions.retain(|who, _| who.0 != *id || keep.contains(&who.1));
        self.plain.refusals.retain(|(_, who, ..)| who.0 != *id || keep.contains(&who.1));
    }

    fn subscribe(
        &mut self,
        id: &FrameworkId,
        roles: BTreeSet<Role>,
        suppressed: BTreeSet<Role>,
        can: Capabilities,
        minimum: Option<Minimum>,
        wanted: Option<Arc<Constraints>>,
    ) {
        self.leave(id, &roles);
        self.plain.tidy();
        let (mut minimums, mut constraints) = (BTreeMap::new(), BTreeMap::new());
        for role in &roles {
            let subscription = Subscription {
                suppressed: suppressed.contains(role),
                capabilities: can,
                minimum: minimum.clone().unwrap_or_default(),
                constraints: wanted.clone(),
            };
            self.plain.joined(&(id.clone(), role.clone()));
            self.plain.subscriptions.insert((id.clone(), role.clone()), subscription);
            constraints.extend(wanted.clone().map(|wanted| (role.clone(), wanted)));
            minimums.extend(minimum.clone().map(|minimum| (role.clone(), minimum)));
        }
        let change =
            FrameworkChange::Subscribed { roles, suppressed, capabilities: can, minimums, constraints };
        self.clever.framework(id, change);
    }

    fn set_suppressed(&mut self, id: &FrameworkId, bits: u8, suppressed: bool) {
        for (who, subscription) in &mut self.plain.subscriptions {
            if who.0 == *id && (bits == 0 || roles(bits).contains(&who.1)) {
                subscription.suppressed = suppressed;
            }
        }
    }

    /// One of the pieces in this state, by whatever number.
    fn pick(&self, number: usize, state: State) -> Option<usize> {
        let all = self.plain.pieces.iter().enumerate();
        let fit: Vec<usize> = all.filter(|(_, piece)| piece.state == state).map(|(at, _)| at).collect();
        (!fit.is_empty()).then(|| fit[number % fit.len()])
    }

    fn give_back(&mut self, number: usize, in_half: bool, refuse: Option<u64>) {
        let Some(at) = self.pick(number, State::Offered) else { return };
        let Piece { agent, who, resources, .. } = self.plain.pieces[at].clone();
        let part = if in_half { half(&resources) } else { resources.clone() };
        let refuse = refuse.map(Span::from_millis);
        self.clever.returned(self.plain.now, &agent, &who.0, &who.1, &part, refuse).unwrap();
        self.plain.pieces[at].resources = resources.checked_sub(&part).unwrap();
        self.plain.pieces.retain(|piece| !piece.resources.is_empty());
        if let Some(asked) = refuse.filter(|_| self.plain.subscriptions.contains_key(&who)) {
            self.plain.refuse(&agent, &who, asked, &part);
        }
    }

    /// Nobody answered an offer.
    fn lapse(&mut self, number: usize, pause: u64) {
        let Some(at) = self.pick(number, State::Offered) else { return };
        let Piece { agent, who, resources, .. } = self.plain.pieces.remove(at);
        let pause = Span::from_millis(pause);
        self.clever.lapsed(self.plain.now, &agent, &who.0, &who.1, &resources, pause).unwrap();
        if self.plain.subscriptions.contains_key(&who) {
            self.plain.refuse(&agent, &who, pause, &resources);
            self.plain.lapse(&who, pause);
        }
    }

    fn launch(&mut self, number: usize, in_half: bool) {
        let Some(at) = self.pick(number, State::Offered) else { return };
        let Piece { agent, who, resources, .. } = self.plain.pieces[at].clone();
        let part = if in_half { half(&resources) } else { resources.clone() };
        self.clever.launched(&agent, &who.0, &who.1, &part).unwrap();
        self.plain.pieces[at].resources = resources.checked_sub(&part).unwrap();
        self.plain.pieces.retain(|piece| !piece.resources.is_empty());
        self.plain.uses(&who);
        self.plain.pieces.push(Piece { agent, who, state: State::Used, resources: part });
    }

    fn free(&mut self, number: usize) {
        let Some(at) = self.pick(number, State::Used) else { return };
        let Piece { agent, who, resources, .. } = self.plain.pieces.remove(at);
        self.clever.freed(&agent, &who.0, &who.1, &resources).unwrap();
    }

    /// What is given takes nobody over a limit, and nothing from what is promised to others.
    fn keeps_quotas(&self, grant: &Grant) {
        let top = grant.role.top();
        for item in grant.resources.iter().filter(|item| item.reserved_to().is_none() && !item.is_revocable())
        {
            let (kind, given) = (item.name(), item.value().quantity().thousandths().unsigned_abs());
            let limit = self.plain.quotas.get(&top).and_then(|quota| quota.limits.get(kind));
            if let Some(limit) = limit.filter(|_| given > 0) {
                let has = self.plain.consumed(&top, kind, &[]);
                assert!(has + given <= limit.thousandths().unsigned_abs(), "{top} has {has} of {kind}");
            }
            let (free, owed) = self.plain.headroom(kind, &[]);
            let (free_then, owed_then) = self.plain.headroom(kind, std::slice::from_ref(grant));
            assert!(free_then >= owed_then || (owed - owed_then == free - free_then), "{kind} was promised");
        }
    }

    fn run(&mut self, budget: usize) {
        self.plain.forgive();
        let grants = self.clever.run(self.plain.now, budget);
        for of_one_agent in grants.chunk_by(|a, b| a.agent == b.agent) {
            assert_eq!(of_one_agent, self.plain.expected(&of_one_agent[0].agent));
            for grant in of_one_agent {
                self.keeps_quotas(grant);
                self.plain.granted(grant);
            }
        }
        let looked_at: BTreeSet<&AgentId> = grants.iter().map(|grant| &grant.agent).collect();
        assert!(looked_at.len() <= budget);
        if self.clever.next_deadline().is_some_and(|at| at <= self.plain.now) {
            assert!(budget < usize::MAX, "a run without bounds leaves nothing to do");
            return;
        }
        for id in self.plain.agents.keys() {
            assert_eq!(self.plain.expected(id), [], "{id} was overlooked");
        }
        let ends = self.plain.refusals.iter().map(|(.., until, _)| *until).min();
        if let Some(deadline) = self.clever.next_deadline() {
            assert!(ends.is_some_and(|first| deadline >= first));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn gives_what_the_plain_one_gives(steps in proptest::collection::vec(step(), 1..80)) {
        let mut pair = Pair::default();
        for step in steps {
            pair.take(step);
        }
        pair.run(usize::MAX);
    }

    /// When all have left there is nothing to remember, whatever came before.
    #[test]
    fn forgets_those_who_left(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pair = Pair::default();
        for step in steps {
            pair.take(step);
        }
        pair.take(Step::Quotas(BTreeMap::new()));
        for n in 0..4 {
            pair.take(Step::Disconnect(n));
            pair.take(Step::AgentDown(n));
        }
        prop_assert!(pair.clever.is_blank());
        prop_assert_eq!(pair.clever.next_deadline(), None);
    }
}
