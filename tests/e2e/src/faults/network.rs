//! Nodes as network namespaces on one bridge, and what can go wrong between them.

use std::process::Command;

/// The bridge and its namespaces; dropping it removes them.
pub struct Network {
    /// Begins the name of everything made here. Names of links have 15 characters at most.
    prefix: String,
    /// The third number of all addresses.
    subnet: u8,
    nodes: usize,
    /// Whether this kernel can delay and lose packets.
    pub shapes: bool,
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
        let mut network = Self { prefix: format!("st{}", own % 1_000_000), subnet, nodes, shapes: false };
        network.build()?;
        network.shapes = network.shape(0, &["delay", "1ms"]).is_ok();
        network.straighten(0);
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", self.host()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for node in 0..self.nodes {
            let (space, outer, inner) =
                (self.space(node), self.outer(node), format!("{}i", self.outer(node)));
            ip(&["netns", "add", &space])?;
            ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner])?;
            ip(&["link", "set", &inner, "netns", &space])?;
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

    /// Delays or loses some of what is sent to a node, in the words of `tc netem`.
    ///
    /// # Errors
    /// The kernel lacks it.
    pub fn shape(&self, node: usize, how: &[&str]) -> Result<(), String> {
        let outer = self.outer(node);
        let mut words = vec!["qdisc", "replace", "dev", &outer, "root", "netem"];
        words.extend(how);
        run("tc", &words)
    }

    pub fn straighten(&self, node: usize) {
        // There may be nothing to remove.
        let _ = run("tc", &["qdisc", "del", "dev", &self.outer(node), "root"]);
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
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be removed, and the rest must be.
        for node in 0..self.nodes {
            let _ = ip(&["link", "del", &self.outer(node)]);
            let _ = ip(&["netns", "del", &self.space(node)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    run("ip", words)
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
