//! Who is where on the network, and which packets are lost between whom.

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::dice::Dice;

/// How long a link that comes and goes stays as it is, at least and at most.
const FLAP_MS: (u64, u64) = (200, 1500);

/// The names and addresses of everything on the bridge.
#[derive(Clone)]
pub(super) struct Plan {
    /// Begins the name of everything made here. Names of links have 15 characters at most.
    pub(super) prefix: String,
    /// The third number of all addresses.
    pub(super) subnet: u8,
    pub(super) nodes: usize,
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

impl Plan {
    pub(super) fn address(&self, node: usize) -> String {
        format!("10.213.{}.{}", self.subnet, node + 11)
    }

    pub(super) fn host(&self) -> String {
        format!("10.213.{}.1", self.subnet)
    }

    pub(super) fn bridge(&self) -> String {
        format!("{}br", self.prefix)
    }

    pub(super) fn space(&self, node: usize) -> String {
        format!("{}n{node}", self.prefix)
    }

    pub(super) fn outer(&self, node: usize) -> String {
        format!("{}v{node}", self.prefix)
    }

    /// The end of the second link, towards the node, while its own is a bad one.
    pub(super) fn near(&self, node: usize) -> String {
        format!("{}p{node}", self.prefix)
    }

    /// The end of the second link that is on the bridge.
    pub(super) fn far(&self, node: usize) -> String {
        format!("{}q{node}", self.prefix)
    }

    pub(super) fn cut(&self, node: usize, cut: Cut) -> Result<(), String> {
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
    pub(super) fn lose(&self, from: usize, to: usize) -> Result<(), String> {
        ip(&["-n", &self.space(from), "route", "replace", "blackhole", &format!("{}/32", self.address(to))])
    }

    pub(super) fn mend(&self, node: usize) {
        for other in (0..self.nodes).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                let address = format!("{}/32", self.address(to));
                // One way may never have been cut.
                let _ = ip(&["-n", &self.space(from), "route", "del", "blackhole", &address]);
            }
        }
    }
}

/// Cuts a node off and lets it back until it is dropped, which leaves it mended or not.
pub(super) struct Flapping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flapping {
    pub(super) fn begin(plan: Plan, node: usize) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(node as u64 + 1000);
            for turn in 0_u64.. {
                if turn % 2 == 1 {
                    plan.mend(node);
                } else if let Err(why) = plan.cut(node, Cut::Both) {
                    eprintln!("faults: {why}");
                }
                let (least, most) = FLAP_MS;
                let pause = Duration::from_millis(least + dice.below(most - least));
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.stop.take();
        // A panic of its own has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(super) fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
