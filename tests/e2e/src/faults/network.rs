//! Nodes as network namespaces on one bridge, and what can go wrong between them.

use std::collections::BTreeMap;
use std::process::Command;

use super::link::{self, BadLink, Carried};

/// The bridge and its namespaces; dropping it removes them.
pub struct Network {
    /// Begins the name of everything made here. Names of links have 15 characters at most.
    prefix: String,
    /// The third number of all addresses.
    subnet: u8,
    nodes: usize,
    /// By node: what carries its frames instead of the bridge.
    bad_links: BTreeMap<usize, BadLink>,
}

/// Which packets of a node are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Both,
    /// What it sends.
    Outgoing,
    /// What is sent to it.
    Incoming,
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
        let network = Self { prefix, subnet, nodes, bad_links: BTreeMap::new() };
        network.build()?;
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        // Of its own: else it takes the lowest of its members', and changes it as they come and go.
        ip(&["link", "set", &bridge, "address", "02:00:00:00:00:01"])?;
        ip(&["addr", "add", &format!("{}/24", self.host()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for node in 0..self.nodes {
            let (space, outer, inner) =
                (self.space(node), self.outer(node), format!("{}i", self.outer(node)));
            ip(&["netns", "add", &space])?;
            ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner])?;
            link::finish_checksums(&inner)?;
            ip(&["link", "set", &inner, "netns", &space])?;
            quiet(&outer)?;
            ip(&["link", "set", &outer, "master", &bridge, "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            ip(&["-n", &space, "addr", "add", &format!("{}/24", self.address(node)), "dev", &inner])?;
            ip(&["-n", &space, "link", "set", &inner, "up"])?;
        }
        Ok(())
    }

    /// The address of a node.
    pub fn address(&self, node: usize) -> String {
        format!("10.213.{}.{}", self.subnet, node + 11)
    }

    /// The address of this machine, where clients are.
    pub fn host(&self) -> String {
        format!("10.213.{}.1", self.subnet)
    }

    /// The words before a command that make it run on a node. The mounts stay those of the machine: agents need them.
    pub fn on(&self, node: usize) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.space(node))]
    }

    /// Loses packets between a node and the other nodes. Clients on the machine itself still reach it: they are to see
    /// what a node answers that has lost its peers.
    pub fn cut(&self, node: usize, cut: Cut) -> Result<(), String> {
        for other in (0..self.nodes).filter(|other| *other != node) {
            if cut != Cut::Incoming {
                self.lose(node, other)?;
            }
            if cut != Cut::Outgoing {
                self.lose(other, node)?;
            }
        }
        Ok(())
    }

    /// Loses what `from` sends to `to`, silently.
    fn lose(&self, from: usize, to: usize) -> Result<(), String> {
        ip(&["-n", &self.space(from), "route", "replace", "blackhole", &format!("{}/32", self.address(to))])
    }

    /// Delivers everything again.
    pub fn mend(&self, node: usize) {
        for other in (0..self.nodes).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                // One way may never have been cut.
                let _ = ip(&[
                    "-n",
                    &self.space(from),
                    "route",
                    "del",
                    "blackhole",
                    &format!("{}/32", self.address(to)),
                ]);
            }
        }
    }

    /// Has what a node sends, and what is sent to it, carried by a [`BadLink`] instead of the bridge.
    ///
    /// # Errors
    /// The command that failed and what it said.
    pub fn spoil(&mut self, node: usize) -> Result<(), String> {
        let (outer, near, far) = (self.outer(node), self.near(node), self.far(node));
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])?;
        quiet(&near)?;
        link::finish_checksums(&far)?;
        let carrier = BadLink::between(&outer, &near, node as u64)?;
        self.bad_links.insert(node, carrier);
        ip(&["link", "set", &near, "up"])?;
        ip(&["link", "set", &outer, "nomaster"])?;
        ip(&["link", "set", &far, "master", &self.bridge(), "up"])
    }

    /// Puts a node back on the bridge, and says what its bad link did.
    pub fn straighten(&mut self, node: usize) -> Carried {
        let Some(mut carrier) = self.bad_links.remove(&node) else { return Carried::default() };
        // They may not have been made, and the rest must be undone.
        let _ = ip(&["link", "del", &self.near(node)]);
        let _ = ip(&["link", "set", &self.outer(node), "master", &self.bridge()]);
        carrier.end()
    }

    fn bridge(&self) -> String {
        format!("{}br", self.prefix)
    }

    fn space(&self, node: usize) -> String {
        format!("{}n{node}", self.prefix)
    }

    fn outer(&self, node: usize) -> String {
        format!("{}v{node}", self.prefix)
    }

    /// The end of the second link, towards the node, while its own is a bad one.
    fn near(&self, node: usize) -> String {
        format!("{}p{node}", self.prefix)
    }

    /// The end of the second link that is on the bridge.
    fn far(&self, node: usize) -> String {
        format!("{}q{node}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be removed, and the rest must be.
        for node in 0..self.nodes {
            self.straighten(node);
            let _ = ip(&["link", "del", &self.outer(node)]);
            let _ = ip(&["netns", "del", &self.space(node)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}

/// Keeps this machine from answering on an interface that only carries frames of others: asked for its own address there
/// it would draw to itself what is to pass through.
fn quiet(interface: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/arp_ignore");
    std::fs::write(&path, "8").map_err(|error| format!("{path}: {error}"))
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
