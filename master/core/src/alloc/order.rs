//! Who is next: the tree of roles, with the frameworks of a role below it, each level sorted by share.
//!
//! Shares alone would put those first for ever who take offers and use nothing, for they hold nothing. So
//!
//! * whoever let an offer lapse comes after all who did not, in whatever role, for as long as it is not offered the like;
//! * siblings that have used nothing yet compete as one with those that have: however many of them come, together they
//!   hold up no more than one that uses what it gets. The first thing it uses gives a newcomer a place of its own;
//! * among equals the one comes first that was given something longest ago, or has waited longest for the first.
//!
//! The sorted sets are kept up to date, since one grant changes one path of the tree; sorting all roles and frameworks
//! anew for each agent is what makes an allocator slow.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use model::id::FrameworkId;
use model::resources::{Bag, Name};
use model::role::Role;

use super::Client;
use super::share::{Amounts, Kinds, Share};

type NodeId = u32;

const ROOT: NodeId = 0;

/// The weight of a role nobody set, in thousandths.
const WEIGHT_ONE: u64 = 1000;

/// Below each role node a leaf of this name stands for the role itself, beside the roles within it: the frameworks of
/// `eng` compete with `eng/web` as a whole.
const SELF: &str = ".";

/// Whether a client is asked, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It does not wait.
    Away,
    Ready,
    /// After all who are ready.
    Behind,
}

#[derive(Debug)]
struct Node {
    /// Among the children of its parent.
    name: Arc<str>,
    parent: NodeId,
    client: Option<Client>,
    /// What it and all below it hold, offers included.
    taken: Amounts,
    /// Clients at or below it that are ready. Only where there are some does a node stand among those of its parent.
    ready: usize,
    /// The same of clients that are behind.
    behind: usize,
    /// Clients at or below it that have used something, whether they wait or not.
    users: usize,
    rank: Rank,
    below: Below,
    children: BTreeMap<Arc<str>, NodeId>,
}

/// The children of a node that wait, and what those of them hold together that count as one.
#[derive(Debug, Default)]
struct Below {
    users: BTreeSet<Rank>,
    newcomers: BTreeSet<Rank>,
    /// Those with clients that are behind; a node may stand here and in one of the others.
    behind: BTreeSet<Rank>,
    /// What all children without users hold.
    held: Amounts,
    share: Share,
}

impl Below {
    fn insert(&mut self, node: &Node, total: &Amounts) {
        if node.ready > 0 {
            let queue = if node.users > 0 { &mut self.users } else { &mut self.newcomers };
            queue.insert(node.rank);
        }
        if node.behind > 0 {
            self.behind.insert(node.rank);
        }
        if node.users == 0 {
            self.held.add_all(&node.taken);
            self.share = Share::dominant(&self.held, total);
        }
    }

    fn remove(&mut self, node: &Node, total: &Amounts) {
        if node.ready > 0 {
            let queue = if node.users > 0 { &mut self.users } else { &mut self.newcomers };
            queue.remove(&node.rank);
        }
        if node.behind > 0 {
            self.behind.remove(&node.rank);
        }
        if node.users == 0 {
            self.held.subtract_all(&node.taken);
            self.share = Share::dominant(&self.held, total);
        }
    }

    /// Whether the newcomers, who count as one of the usual weight, come before this user of offers.
    fn newcomers_precede(&self, user: &Rank) -> bool {
        self.share.cmp_weighted(WEIGHT_ONE, user.share, user.weight).is_lt()
    }

    /// Those that are ready, in turn. The first of them are often all that is asked for, so nobody is counted.
    fn ready(&self) -> impl Iterator<Item = &Rank> {
        let (mut users, mut newcomers) = (self.users.iter().peekable(), self.newcomers.iter());
        std::iter::from_fn(move || {
            let user = users.next_if(|user| !self.newcomers_precede(user));
            user.or_else(|| newcomers.next()).or_else(|| users.next())
        })
    }
}

/// A node's place among its siblings: the smallest share first, then who was given something longest ago.
///
/// No two siblings have the same turn: a grant and an arrival concern one of them.
#[derive(Debug, Clone, Copy)]
struct Rank {
    share: Share,
    weight: u64,
    /// The last grant to it or below it, counted in grants and arrivals; before there was one, its arrival.
    turn: u64,
    node: NodeId,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.share
            .cmp_weighted(self.weight, other.share, other.weight)
            .then(self.turn.cmp(&other.turn))
            .then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

#[derive(Debug)]
pub(super) struct Order {
    nodes: Vec<Option<Node>>,
    spare: Vec<NodeId>,
    /// By client.
    leaves: Vec<Option<NodeId>>,
    weights: BTreeMap<Role, u64>,
    kinds: Kinds,
    /// What all agents have together.
    total: Amounts,
    /// The total changed, and with it every share.
    stale: bool,
    /// Counts grants and arrivals of clients.
    turn: u64,
    /// Room to list amounts in.
    parts: Vec<(usize, u64)>,
}

impl Node {
    fn new(parent: NodeId, node: NodeId, name: Arc<str>, weight: u64, turn: u64) -> Self {
        Self {
            name,
            parent,
            client: None,
            taken: Amounts::default(),
            ready: 0,
            behind: 0,
            users: 0,
            rank: Rank { share: Share::NONE, weight, turn, node },
            below: Below::default(),
            children: BTreeMap::new(),
        }
    }
}

impl Default for Order {
    fn default() -> Self {
        Self {
            nodes: vec![Some(Node::new(ROOT, ROOT, "".into(), WEIGHT_ONE, 0))],
            spare: Vec::new(),
            leaves: Vec::new(),
            weights: BTreeMap::new(),
            kinds: Kinds::default(),
            total: Amounts::default(),
            stale: false,
            turn: 0,
            parts: Vec::new(),
        }
    }
}

impl Order {
    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id as usize].as_ref().expect("a node outlives its children")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id as usize].as_mut().expect("a node outlives its children")
    }

    pub(super) fn add_client(&mut self, client: Client, framework: &FrameworkId, role: &Role) {
        let mut path: Vec<Role> = role.ancestors().collect();
        path.reverse();
        path.push(role.clone());
        self.turn += 1;
        let mut at = ROOT;
        for role in path {
            let weight = self.weights.get(&role).copied().unwrap_or(WEIGHT_ONE);
            let name = role.components().last().unwrap_or_default();
            at = self.child(at, name, weight);
        }
        at = self.child(at, SELF, WEIGHT_ONE);
        let leaf = self.child(at, framework.as_str(), WEIGHT_ONE);
        self.node_mut(leaf).client = Some(client);
        let slot = client as usize;
        if self.leaves.len() <= slot {
            self.leaves.resize(slot + 1, None);
        }
        self.leaves[slot] = Some(leaf);
    }

    fn child(&mut self, parent: NodeId, name: &str, weight: u64) -> NodeId {
        if let Some(known) = self.node(parent).children.get(name) {
            return *known;
        }
        let id = self.spare.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            NodeId::try_from(self.nodes.len() - 1).expect("memory ends before the numbers of nodes do")
        });
        let name: Arc<str> = name.into();
        self.nodes[id as usize] = Some(Node::new(parent, id, Arc::clone(&name), weight, self.turn));
        self.node_mut(parent).children.insert(name, id);
        id
    }

    /// The client must hold nothing. Nodes left without children go with it.
    pub(super) fn remove_client(&mut self, client: Client) {
        self.set_place(client, Place::Away);
        let Some(mut at) = self.leaves.get_mut(client as usize).and_then(Option::take) else { return };
        if self.node(at).users > 0 {
            self.climb(at, |node| node.users -= 1);
        }
        while at != ROOT && self.node(at).children.is_empty() {
            let gone = self.nodes[at as usize].take().expect("looked at above");
            self.node_mut(gone.parent).children.remove(&gone.name);
            self.spare.push(at);
            at = gone.parent;
        }
    }

    /// Puts a client where it is asked, or takes it out.
    pub(super) fn set_place(&mut self, client: Client, place: Place) {
        let Some(leaf) = self.leaf(client) else { return };
        let before = self.place(leaf);
        if before == place {
            return;
        }
        self.climb(leaf, |node| {
            match before {
                Place::Away => {}
                Place::Ready => node.ready -= 1,
                Place::Behind => node.behind -= 1,
            }
            match place {
                Place::Away => {}
                Place::Ready => node.ready += 1,
                Place::Behind => node.behind += 1,
            }
        });
    }

    fn place(&self, leaf: NodeId) -> Place {
        match self.node(leaf) {
            Node { ready: 1.., .. } => Place::Ready,
            Node { behind: 1.., .. } => Place::Behind,
            _ => Place::Away,
        }
    }

    /// The client has used something of what it was offered, and competes for itself from now on.
    pub(super) fn uses(&mut self, client: Client) {
        let Some(leaf) = self.leaf(client) else { return };
        if self.node(leaf).users == 0 {
            self.climb(leaf, |node| node.users += 1);
        }
    }

    /// Whether it has.
    pub(super) fn is_user(&self, client: Client) -> bool {
        self.leaf(client).is_some_and(|leaf| self.node(leaf).users > 0)
    }

    fn leaf(&self, client: Client) -> Option<NodeId> {
        self.leaves.get(client as usize).copied().flatten()
    }

    /// Books what a client holds in addition. With `granted` it was its turn.
    pub(super) fn charge(&mut self, client: Client, bag: &Bag, granted: bool) {
        self.turn += u64::from(granted);
        let turn = self.turn;
        self.change_path(client, bag, |node, parts| {
            node.taken.add(parts);
            if granted {
                node.rank.turn = turn;
            }
        });
    }

    /// Books what a client no longer holds.
    pub(super) fn discharge(&mut self, client: Client, bag: &Bag) {
        self.change_path(client, bag, |node, parts| node.taken.subtract(parts));
    }

    fn change_path(&mut self, client: Client, bag: &Bag, change: impl Fn(&mut Node, &[(usize, u64)])) {
        let Some(leaf) = self.leaf(client) else { return };
        let mut parts = std::mem::take(&mut self.parts);
        self.kinds.list(bag, &mut parts);
        self.climb(leaf, |node| change(node, &parts));
        self.parts = parts;
    }

    /// Changes a node and all above it.
    fn climb(&mut self, from: NodeId, change: impl Fn(&mut Node)) {
        let mut at = from;
        while at != ROOT {
            at = self.amend(at, &change);
        }
    }

    /// Changes a node and puts it where it belongs among its siblings. Returns its parent.
    fn amend(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) -> NodeId {
        let parent = self.node(id).parent;
        let pair = self.nodes.get_disjoint_mut([id as usize, parent as usize]);
        let Ok([Some(node), Some(Node { below, .. })]) = pair else {
            unreachable!("a node outlives its children")
        };
        below.remove(node, &self.total);
        change(node);
        node.rank.share = Share::dominant(&node.taken, &self.total);
        below.insert(node, &self.total);
        parent
    }

    pub(super) fn set_weight(&mut self, role: &Role, thousandths: u64) {
        let weight = thousandths.max(1);
        self.weights.insert(role.clone(), weight);
        let mut at = ROOT;
        for name in role.components() {
            match self.node(at).children.get(name) {
                Some(child) => at = *child,
                None => return,
            }
        }
        self.amend(at, |node| node.rank.weight = weight);
    }

    /// The pool grew. Shares are found anew before they are next looked at.
    pub(super) fn add_total(&mut self, bag: &Bag) {
        self.kinds.list(bag, &mut self.parts);
        self.total.add(&self.parts);
        self.stale = true;
    }

    pub(super) fn subtract_total(&mut self, bag: &Bag) {
        self.kinds.list(bag, &mut self.parts);
        self.total.subtract(&self.parts);
        self.stale = true;
    }

    /// Finds all shares anew if the total has changed.
    pub(super) fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        for node in self.nodes.iter_mut().flatten() {
            node.below = Below::default();
            node.rank.share = Share::dominant(&node.taken, &self.total);
        }
        for id in 1..self.nodes.len() {
            let Some(node) = self.nodes[id].take() else { continue };
            let parent = self.nodes[node.parent as usize].as_mut().expect("a node outlives its children");
            parent.below.insert(&node, &self.total);
            self.nodes[id] = Some(node);
        }
    }

    /// Asks the waiting clients in turn, until one breaks off.
    pub(super) fn visit(&self, ask: &mut impl FnMut(Client) -> ControlFlow<()>) {
        if self.descend(ROOT, ask).is_continue() {
            // Breaking off is all a flow can say here.
            let _ = self.descend_behind(ROOT, ask);
        }
    }

    fn descend(&self, id: NodeId, ask: &mut impl FnMut(Client) -> ControlFlow<()>) -> ControlFlow<()> {
        for rank in self.node(id).below.ready() {
            match self.node(rank.node).client {
                Some(client) => ask(client)?,
                None => self.descend(rank.node, ask)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn descend_behind(&self, id: NodeId, ask: &mut impl FnMut(Client) -> ControlFlow<()>) -> ControlFlow<()> {
        for rank in &self.node(id).below.behind {
            match self.node(rank.node).client {
                Some(client) => ask(client)?,
                None => self.descend_behind(rank.node, ask)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// How many of the waiting are asked before each of them.
    pub(super) fn places(&self) -> BTreeMap<Client, usize> {
        let mut places = BTreeMap::new();
        self.visit(&mut |client| {
            places.insert(client, places.len());
            ControlFlow::Continue(())
        });
        places
    }

    /// A client's own dominant share in millionths, and its kind.
    pub(super) fn share_of(&self, client: Client) -> (u64, Option<Name>) {
        let Some(leaf) = self.leaf(client) else { return (0, None) };
        let (share, kind) = Share::dominant_kind(&self.node(leaf).taken, &self.total);
        (share.millionths(), kind.map(|kind| self.kinds.name(kind).clone()))
    }

    /// In thousandths.
    pub(super) fn weight_of(&self, role: &Role) -> u64 {
        self.weights.get(role).copied().unwrap_or(WEIGHT_ONE)
    }

    /// Who of two waiting clients is asked first, without asking all.
    pub(super) fn cmp(&self, a: Client, b: Client) -> Ordering {
        let is_behind = |client| self.leaf(client).is_some_and(|leaf| self.place(leaf) == Place::Behind);
        let behind = (is_behind(a), is_behind(b));
        let (a, b) = (self.path(a), self.path(b));
        let parted = a.iter().rev().zip(b.iter().rev()).find(|(a, b)| a != b);
        behind.0.cmp(&behind.1).then_with(|| {
            let Some((a, b)) = parted else { return Ordering::Equal };
            let (a, b) = (self.node(*a), self.node(*b));
            let siblings = &self.node(a.parent).below;
            match (a.users > 0, b.users > 0) {
                _ if behind.0 => a.rank.cmp(&b.rank),
                (true, false) if siblings.newcomers_precede(&a.rank) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, true) if siblings.newcomers_precede(&b.rank) => Ordering::Less,
                (false, true) => Ordering::Greater,
                _ => a.rank.cmp(&b.rank),
            }
        })
    }

    /// Nodes from the client's up to below the root.
    fn path(&self, client: Client) -> Vec<NodeId> {
        let leaf = self.leaf(client);
        std::iter::successors(leaf, |at| Some(self.node(*at).parent).filter(|parent| *parent != ROOT))
            .collect()
    }
}

#[cfg(test)]
mod tests;
