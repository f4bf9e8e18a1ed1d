//! One thing that goes wrong with one node, how it is done, and how it is undone.

use std::fmt;
use std::time::{Duration, Instant};

use super::members;
use super::nodes::Nodes;
use super::plan::Cut;
use super::roles::{self, Role};

/// Clients write all the time, so a master syncs again and again: it has noticed by then that one failed.
const NOTICED: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub node: usize,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `kill -9`; started again at the end.
    Kill,
    /// `kill -9` of every node of its kind at once.
    KillAll,
    /// `SIGSTOP`, then `SIGCONT`.
    Stop,
    Cut(Cut),
    /// It and one other node lose each other, and both keep all the rest.
    Part(usize),
    /// It is cut off and let back again and again.
    Flap,
    /// What it sends and what is sent to it is late, in no order, and some is lost.
    BadLink,
    /// Its wall clock is set by so many seconds, and back at the end. A process that reads the clock when it starts, and
    /// counts on from there, starts anew each time.
    Clock {
        seconds: i64,
        restarts: bool,
    },
    /// It gets no more file descriptors.
    NoFiles,
    /// It is ended as an upgrade does, and comes back as the other version.
    Version,
    /// Only of masters: the others keep nothing that matters, or nothing that a full disk endangers.
    FullDisk,
    /// The next sync of a master's disk fails, once.
    FailedSync,
    /// A bit of a master's disk, at this place, is another one when it starts again.
    Rot(u64),
    /// A master is cut off, and removed from the group by those on the other side; it comes back as a new member.
    Replace,
    /// The kernel gives an agent no more processes.
    NoForks,
    /// An agent's machine loses its power, and all that ran there is gone; with its disk, or without.
    PowerOff {
        wiped: bool,
    },
    /// HAProxy itself is killed: not the sidecar that leads it.
    KillHaproxy,
}

impl Fault {
    /// What becomes of it on this machine: without the means for a fault the node is killed.
    #[must_use]
    pub fn possible(self, nodes: &Nodes) -> Self {
        let can = match self.what {
            What::Clock { .. } => nodes.can_set_clocks(),
            What::FailedSync => nodes.can_fail_syncs(),
            What::NoForks => nodes.can_refuse_forks(),
            _ => true,
        };
        if can { self } else { Self { what: What::Kill, ..self } }
    }

    /// # Errors
    /// The machine cannot do it; a sentence.
    pub async fn begin(&self, nodes: &mut Nodes) -> Result<(), String> {
        let node = self.node;
        match self.what {
            What::Kill => nodes.processes[node].kill(),
            What::KillAll => Role::of(node).nodes().for_each(|each| nodes.processes[each].kill()),
            What::Stop => nodes.processes[node].signal(libc::SIGSTOP),
            What::Cut(cut) => nodes.network.cut(node, cut)?,
            What::Part(other) => nodes.network.part(node, other)?,
            What::Flap => nodes.network.flap(node),
            What::BadLink => nodes.network.spoil(node)?,
            What::Clock { seconds, restarts } => {
                nodes.set_clock(node, seconds)?;
                if restarts {
                    nodes.processes[node].kill();
                    nodes.revive(node);
                }
            }
            What::NoFiles => nodes.no_more_files(node),
            What::Version => nodes.change_version(node),
            What::FullDisk => nodes.fill_disk(node),
            // One that has died of another fault syncs nothing.
            What::FailedSync if nodes.processes[node].exited().is_some() => {}
            What::FailedSync => nodes.fail_sync(node)?,
            What::Rot(place) => {
                nodes.processes[node].kill();
                members::flip_a_bit(&nodes.data(node), place);
            }
            What::Replace => {
                nodes.network.cut(node, Cut::Both)?;
                members::remove(nodes, node).await;
            }
            What::NoForks => nodes.refuse_forks(node)?,
            What::PowerOff { .. } => nodes.power_off()?,
            What::KillHaproxy => nodes.kill_haproxy(),
        }
        Ok(())
    }

    /// Whether it did what it had to do, when it was alone: a master goes on after a failed sync only if it overlooks it.
    ///
    /// # Errors
    /// What went on as if nothing had happened.
    pub async fn struck(&self, nodes: &mut Nodes) -> Result<(), String> {
        let process = &mut nodes.processes[self.node];
        let began = Instant::now();
        while self.what == What::FailedSync && process.exited().is_none() {
            if began.elapsed() > NOTICED {
                return Err(format!("{} goes on after a sync that failed", roles::name(self.node)));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// # Errors
    /// The machine cannot do it; a sentence.
    pub fn end(&self, nodes: &mut Nodes) -> Result<(), String> {
        let node = self.node;
        match self.what {
            What::Stop => nodes.processes[node].signal(libc::SIGCONT),
            What::Cut(_) | What::Part(_) | What::Flap | What::Replace => nodes.network.mend(node),
            What::FullDisk => nodes.free_disk(node),
            What::BadLink => {
                let carried = nodes.network.straighten(node);
                println!("  {} frames were late, {} lost", carried.late, carried.lost);
            }
            What::Clock { restarts, .. } => {
                nodes.set_clock(node, 0)?;
                if restarts {
                    nodes.processes[node].kill();
                }
            }
            What::NoFiles => nodes.files_again(node),
            What::NoForks => nodes.allow_forks(node),
            What::PowerOff { wiped: true } => nodes.wipe(node),
            What::KillAll => Role::of(node).nodes().for_each(|each| nodes.revive(each)),
            What::PowerOff { wiped: false }
            | What::Kill
            | What::Version
            | What::FailedSync
            | What::Rot(_)
            | What::KillHaproxy => {}
        }
        nodes.revive(node);
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = roles::name(self.node);
        let what = match self.what {
            What::KillAll => return write!(f, "all {} are killed", Role::of(self.node).plural()),
            What::Part(other) => return write!(f, "{name} and {} lose each other", roles::name(other)),
            What::Clock { seconds, restarts: false } => {
                return write!(f, "{name} has its clock set by {seconds} s");
            }
            What::Clock { seconds, restarts: true } => {
                return write!(f, "{name} starts again with its clock set by {seconds} s");
            }
            What::Kill => "is killed",
            What::Stop => "is stopped",
            What::Cut(Cut::Both) => "loses its peers",
            What::Cut(Cut::Outgoing) => "is not heard by its peers",
            What::Cut(Cut::Incoming) => "does not hear its peers",
            What::Flap => "loses its peers again and again",
            What::BadLink => "has a bad link",
            What::NoFiles => "gets no more file descriptors",
            What::Version => "comes back as the other version",
            What::FullDisk => "has a full disk",
            What::FailedSync => "has a sync that fails",
            What::Rot(_) => "is killed and has a bit of its disk flipped",
            What::Replace => "loses its peers and is replaced",
            What::NoForks => "gets no more processes",
            What::PowerOff { wiped: false } => "loses its power",
            What::PowerOff { wiped: true } => "loses its power and its disk",
            What::KillHaproxy => "has its HAProxy killed",
        };
        write!(f, "{name} {what}")
    }
}
