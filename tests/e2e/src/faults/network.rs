//! Nodes as network namespaces on one bridge, and what can go wrong between them.

use std::collections::BTreeMap;

use super::link::{self, BadLink, Carried};
use super::plan::{Cut, Flapping, Plan, ip};

/// The bridge and its namespaces; dropping it removes them.
pub struct Network {
    plan: Plan,
    /// By node: what carries its frames instead of the bridge.
    bad_links: BTreeMap<usize, BadLink>,
    /// By node: what cuts it off again and again.
    flapping: BTreeMap<usize, Flapping>,
}

impl Network {
    /// Makes the bridge with `nodes` namespaces.
    ///
    /// # Errors
    /// The command that failed and what it said; nothing is left behind.
    pub fn create(nodes: usize) -> Result<Self, String> {
        let own = std::process::id();
        let subnet = u8::try_from(own % 200).unwrap_or(0) + 20;
        let prefix = format!("st{}", own % 1_000_000);
        let plan = Plan { prefix, subnet, nodes };
        let network = Self { plan, bad_links: BTreeMap::new(), flapping: BTreeMap::new() };
        network.build()?;
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let bridge = self.plan.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        // Of its own: else it takes the lowest of its members', and changes it as they come and go.
        ip(&["link", "set", &bridge, "address", "02:00:00:00:00:01"])?;
        ip(&["addr", "add", &format!("{}/24", self.plan.host()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for node in 0..self.plan.nodes {
            let (space, outer, inner) =
                (self.plan.space(node), self.plan.outer(node), format!("{}i", self.plan.outer(node)));
            ip(&["netns", "add", &space])?;
            ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner])?;
            link::finish_checksums(&inner)?;
            ip(&["link", "set", &inner, "netns", &space])?;
            quiet(&outer)?;
            ip(&["link", "set", &outer, "master", &bridge, "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            ip(&["-n", &space, "addr", "add", &format!("{}/24", self.plan.address(node)), "dev", &inner])?;
            ip(&["-n", &space, "link", "set", &inner, "up"])?;
        }
        Ok(())
    }

    /// The address of a node.
    pub fn address(&self, node: usize) -> String {
        self.plan.address(node)
    }

    /// The address of this machine, where clients are.
    pub fn host(&self) -> String {
        self.plan.host()
    }

    /// The words before a command that make it run on a node. The mounts stay those of the machine: agents need them.
    pub fn on(&self, node: usize) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.plan.space(node))]
    }

    /// Loses packets between a node and the other nodes. Clients on the machine itself still reach it: they are to see
    /// what a node answers that has lost its peers.
    ///
    /// # Errors
    /// The command that failed and what it said.
    pub fn cut(&self, node: usize, cut: Cut) -> Result<(), String> {
        self.plan.cut(node, cut)
    }

    /// Loses packets between two nodes, which both go on with all others.
    ///
    /// # Errors
    /// The command that failed and what it said.
    pub fn part(&self, one: usize, other: usize) -> Result<(), String> {
        self.plan.lose(one, other)?;
        self.plan.lose(other, one)
    }

    /// Cuts a node off and lets it back again and again, until it is mended.
    pub fn flap(&mut self, node: usize) {
        let flapping = Flapping::begin(self.plan.clone(), node);
        self.flapping.insert(node, flapping);
    }

    /// Delivers everything of a node again.
    pub fn mend(&mut self, node: usize) {
        self.flapping.remove(&node);
        self.plan.mend(node);
    }

    /// Has what a node sends, and what is sent to it, carried by a [`BadLink`] instead of the bridge.
    ///
    /// # Errors
    /// The command that failed and what it said.
    pub fn spoil(&mut self, node: usize) -> Result<(), String> {
        let (outer, near, far) = (self.plan.outer(node), self.plan.near(node), self.plan.far(node));
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])?;
        quiet(&near)?;
        link::finish_checksums(&far)?;
        let carrier = BadLink::between(&outer, &near, node as u64)?;
        self.bad_links.insert(node, carrier);
        ip(&["link", "set", &near, "up"])?;
        ip(&["link", "set", &outer, "nomaster"])?;
        ip(&["link", "set", &far, "master", &self.plan.bridge(), "up"])
    }

    /// Puts a node back on the bridge, and says what its bad link did.
    pub fn straighten(&mut self, node: usize) -> Carried {
        let Some(mut carrier) = self.bad_links.remove(&node) else { return Carried::default() };
        // They may not have been made, and the rest must be undone.
        let _ = ip(&["link", "del", &self.plan.near(node)]);
        let _ = ip(&["link", "set", &self.plan.outer(node), "master", &self.plan.bridge()]);
        carrier.end()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.flapping.clear();
        // What was not made cannot be removed, and the rest must be.
        for node in 0..self.plan.nodes {
            self.straighten(node);
            let _ = ip(&["link", "del", &self.plan.outer(node)]);
            let _ = ip(&["netns", "del", &self.plan.space(node)]);
        }
        let _ = ip(&["link", "del", &self.plan.bridge()]);
    }
}

/// Keeps this machine from answering on an interface that only carries frames of others: asked for its own address there
/// it would draw to itself what is to pass through.
fn quiet(interface: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/arp_ignore");
    std::fs::write(&path, "8").map_err(|error| format!("{path}: {error}"))
}
