//! What breaks when: drawn from a seed, so that a run can be had again with the same faults in the same order.

use std::fmt;

use super::dice::Dice;
use super::network::Cut;
use super::nodes::{MASTERS, NODES, Nodes};

/// What goes wrong at one time, for a while: one thing, or two with different nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub faults: Vec<Fault>,
    pub seconds: u64,
    /// Quiet afterwards.
    pub pause: u64,
}

/// One thing that goes wrong with one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub node: usize,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `kill -9`; started again at the end.
    Kill,
    /// `SIGSTOP`, then `SIGCONT`.
    Stop,
    Cut(Cut),
    /// Only of masters: the others keep nothing that matters, or nothing that a full disk endangers.
    FullDisk,
    /// What it sends and what is sent to it is late, in no order, and some is lost.
    BadLink,
}

/// Of so many steps one has two faults.
const DOUBLE: u64 = 4;

/// Steps that together last about `seconds`.
pub fn draw(seed: u64, seconds: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let (mut steps, mut taken) = (Vec::new(), 0);
    while taken < seconds {
        let mut faults = vec![fault(&mut dice)];
        if dice.below(DOUBLE) == 0 {
            faults.extend(Some(fault(&mut dice)).filter(|other| other.node != faults[0].node));
        }
        let step = Step { faults, seconds: 3 + dice.below(8), pause: 1 + dice.below(4) };
        taken += step.seconds + step.pause;
        steps.push(step);
    }
    steps
}

fn fault(dice: &mut Dice) -> Fault {
    let node = usize::try_from(dice.below(NODES as u64)).unwrap_or(0);
    let what = match dice.below(8) {
        0 | 1 => What::Kill,
        2 => What::Stop,
        3 => What::Cut(Cut::Both),
        4 => What::Cut(Cut::Outgoing),
        5 => What::Cut(Cut::Incoming),
        6 if node < MASTERS => What::FullDisk,
        6 => What::Kill,
        _ => What::BadLink,
    };
    Fault { node, what }
}

impl Fault {
    /// # Errors
    /// The machine cannot do it; a sentence.
    pub fn begin(&self, nodes: &mut Nodes) -> Result<(), String> {
        let node = self.node;
        match self.what {
            What::Kill => nodes.processes[node].kill(),
            What::Stop => nodes.processes[node].signal(libc::SIGSTOP),
            What::Cut(cut) => nodes.network.cut(node, cut)?,
            What::FullDisk => nodes.fill_disk(node),
            What::BadLink => nodes.network.spoil(node)?,
        }
        Ok(())
    }

    pub fn end(&self, nodes: &mut Nodes) {
        let node = self.node;
        match self.what {
            What::Kill => {}
            What::Stop => nodes.processes[node].signal(libc::SIGCONT),
            What::Cut(_) => nodes.network.mend(node),
            What::FullDisk => nodes.free_disk(node),
            What::BadLink => {
                let carried = nodes.network.straighten(node);
                println!("  {} frames were late, {} lost", carried.late, carried.lost);
            }
        }
        nodes.revive(node);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Kill => "is killed",
            What::Stop => "is stopped",
            What::Cut(Cut::Both) => "loses its peers",
            What::Cut(Cut::Outgoing) => "is not heard by its peers",
            What::Cut(Cut::Incoming) => "does not hear its peers",
            What::FullDisk => "has a full disk",
            What::BadLink => "has a bad link",
        };
        write!(f, "{} {what}", Nodes::name(self.node))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        write!(f, "{}, for {} s", faults.join(" and "), self.seconds)
    }
}
