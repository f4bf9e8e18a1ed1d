//! Who is next: the tree of roles, with the frameworks of a role below it, each level sorted by share.
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

#[derive(Debug)]
struct Node {
    parent: NodeId,
    client: Option<Client>,
    /// What it and all below it hold, offers included.
    taken: Amounts,
    /// Waiting clients at or below it. Only where there are some does a node stand in its parent's queue.
    waiting: usize,
    rank: Rank,
    queue: BTreeSet<Rank>,
    children: BTreeMap<Arc<str>, NodeId>,
}

/// A node's place among its siblings: the smallest share first, then who was given less often, then by name.
#[derive(Debug, Clone)]
struct Rank {
    share: Share,
    weight: u64,
    /// Grants so far, to it or below it.
    given: u64,
    name: Arc<str>,
    node: NodeId,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.share
            .cmp_weighted(self.weight, other.share, other.weight)
            .then(self.given.cmp(&other.given))
            .then_with(|| self.name.cmp(&other.name))
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
    /// Room to list amounts in.
    parts: Vec<(usize, u64)>,
}

impl Default for Order {
    fn default() -> Self {
        let root = Node {
            parent: ROOT,
            client: None,
            taken: Amounts::default(),
            waiting: 0,
            rank: Rank { share: Share::NONE, weight: WEIGHT_ONE, given: 0, name: "".into(), node: ROOT },
            queue: BTreeSet::new(),
            children: BTreeMap::new(),
        };
        Self {
            nodes: vec![Some(root)],
            spare: Vec::new(),
            leaves: Vec::new(),
            weights: BTreeMap::new(),
            kinds: Kinds::default(),
            total: Amounts::default(),
            stale: false,
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
        self.nodes[id as usize] = Some(Node {
            parent,
            client: None,
            taken: Amounts::default(),
            waiting: 0,
            rank: Rank { share: Share::NONE, weight, given: 0, name: Arc::clone(&name), node: id },
            queue: BTreeSet::new(),
            children: BTreeMap::new(),
        });
        self.node_mut(parent).children.insert(name, id);
        id
    }

    /// The client must hold nothing. Nodes left without children go with it.
    pub(super) fn remove_client(&mut self, client: Client) {
        self.set_waiting(client, false);
        let Some(mut at) = self.leaves.get_mut(client as usize).and_then(Option::take) else { return };
        while at != ROOT && self.node(at).children.is_empty() {
            let gone = self.nodes[at as usize].take().expect("looked at above");
            self.node_mut(gone.parent).children.remove(&gone.rank.name);
            self.spare.push(at);
            at = gone.parent;
        }
    }

    /// Puts a client among those who are asked, or takes it out.
    pub(super) fn set_waiting(&mut self, client: Client, waits: bool) {
        let Some(leaf) = self.leaf(client) else { return };
        if (self.node(leaf).waiting > 0) == waits {
            return;
        }
        let mut at = leaf;
        while at != ROOT {
            let node = self.node_mut(at);
            let parent = node.parent;
            let rank = node.rank.clone();
            if waits {
                node.waiting += 1;
                if node.waiting == 1 {
                    self.node_mut(parent).queue.insert(rank);
                }
            } else {
                node.waiting -= 1;
                if node.waiting == 0 {
                    self.node_mut(parent).queue.remove(&rank);
                }
            }
            at = parent;
        }
    }

    fn leaf(&self, client: Client) -> Option<NodeId> {
        self.leaves.get(client as usize).copied().flatten()
    }

    /// Books what a client holds in addition. `granted` counts it among what it was given.
    pub(super) fn charge(&mut self, client: Client, bag: &Bag, granted: bool) {
        self.change_path(client, bag, |node, parts| {
            node.taken.add(parts);
            node.rank.given += u64::from(granted);
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
        let mut at = leaf;
        while at != ROOT {
            at = self.rerank(at, |node| change(node, &parts));
        }
        self.parts = parts;
    }

    /// Changes a node and puts it where it belongs among its siblings. Returns its parent.
    fn rerank(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) -> NodeId {
        let parent = self.node(id).parent;
        // The siblings' queue is taken out meanwhile, for both nodes are changed at once.
        let mut queue = std::mem::take(&mut self.node_mut(parent).queue);
        let node = self.nodes[id as usize].as_mut().expect("a node outlives its children");
        if node.waiting > 0 {
            queue.remove(&node.rank);
        }
        change(node);
        node.rank.share = Share::dominant(&node.taken, &self.total);
        if node.waiting > 0 {
            queue.insert(node.rank.clone());
        }
        self.node_mut(parent).queue = queue;
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
        self.rerank(at, |node| node.rank.weight = weight);
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
        let mut queued: Vec<(NodeId, Rank)> = Vec::new();
        for node in self.nodes.iter_mut().flatten() {
            node.queue.clear();
            node.rank.share = Share::dominant(&node.taken, &self.total);
            if node.waiting > 0 && node.rank.node != ROOT {
                queued.push((node.parent, node.rank.clone()));
            }
        }
        for (parent, rank) in queued {
            self.node_mut(parent).queue.insert(rank);
        }
    }

    /// Asks the waiting clients in turn, until one breaks off.
    pub(super) fn visit(&self, ask: &mut impl FnMut(Client) -> ControlFlow<()>) {
        // Breaking off is all a flow can say here.
        let _ = self.descend(ROOT, ask);
    }

    fn descend(&self, id: NodeId, ask: &mut impl FnMut(Client) -> ControlFlow<()>) -> ControlFlow<()> {
        for rank in &self.node(id).queue {
            match self.node(rank.node).client {
                Some(client) => ask(client)?,
                None => self.descend(rank.node, ask)?,
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

    /// Who of two clients is asked first, without asking all.
    pub(super) fn cmp(&self, a: Client, b: Client) -> Ordering {
        let (a, b) = (self.path(a), self.path(b));
        let parted = a.iter().rev().zip(b.iter().rev()).find(|(a, b)| a != b);
        parted.map_or(Ordering::Equal, |(a, b)| self.node(*a).rank.cmp(&self.node(*b).rank))
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
