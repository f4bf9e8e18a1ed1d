//! The machines: real cores, with a driver that executes their effects in the simulated world.

pub mod agent;
mod alarm;
pub mod batch;
pub mod caller;
mod campaign;
mod checkpoint;
pub mod citizen;
mod containers;
pub mod framework;
mod instance;
mod lanes;
pub mod listener;
pub mod locker;
pub mod master;
pub mod operator;
pub mod owner;
pub mod sidecar;
mod store;
mod subscription;
pub mod supervisor;
mod tail;
pub mod tenant;
pub mod user;
pub mod watcher;
pub mod writer;

use agent_core::ProbeId;
use haproxy::core::Input as SidecarInput;
use model::id::ContainerId;
use replica::snapshot::Job;
use replica::{Descriptor, NodeId, Output, PeerMessage};

use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host};
use crate::version::Registrar;

/// A machine's own business that has become due.
#[derive(Debug)]
pub enum Due {
    /// The core's deadline, as it was when this was set.
    Wake,
    /// A tick of the replica.
    Tick,
    /// The replica has something to do.
    Turn,
    /// The replica's turn is over, its sync included.
    Outputs(Vec<Output<Registrar>>),
    /// Write a snapshot.
    Build(Box<Job<Registrar>>),
    /// Pull a snapshot.
    Fetch {
        /// Who has it.
        from: NodeId,
        /// What it must be.
        descriptor: Box<Descriptor>,
    },
    /// The system of a peer refuses connections.
    PeerGone(NodeId),
    /// Records up to this number are on disk.
    Synced(u64),
    /// The files of a task are there.
    Fetched(ContainerId),
    /// A container executes its command.
    Started(ContainerId),
    /// No process could be made for a container.
    NotStarted(ContainerId),
    /// A container may have ended.
    Exited(ContainerId),
    /// Nothing is known of a container.
    Lost {
        /// Which.
        container: ContainerId,
        /// It is known that it never started.
        never_started: bool,
    },
    /// Every container of before has been told of.
    Recovered,
    /// The disk was measured.
    Measured,
    /// A container was asked how it is.
    Probed(ProbeId, ContainerId),
    /// The data of a destroyed volume are gone.
    VolumeRemoved(agent_core::Volume),
    /// A client does its next thing.
    Next,
    /// A client tries its call again.
    Again,
    /// A lease may be over.
    Expired,
    /// Streams that were full may have room again.
    Pump,
    /// What a sidecar asked of its surroundings is there.
    Sidecar(Box<SidecarInput>),
    /// The balancer does what it was told last.
    Applied,
    /// A client has waited long enough for this connection.
    Timeout(ConnId),
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// As by SIGKILL: what was written stays, synced or not; what runs beside it goes on.
    Killed,
    /// The machine stops: what was not synced may be lost, and all that ran is gone.
    Power,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It has no room: every write fails.
    Full,
    /// The next write fails (as by EIO), and nothing of it is there.
    Write,
    /// The next sync fails, once; what it was to make safe may be gone, though a later one would succeed.
    Sync,
}

/// What runs on a host.
pub trait Machine {
    /// The process starts with what its disk holds.
    fn start(&mut self, cx: &mut Context);
    /// Something became due.
    fn due(&mut self, what: Due, cx: &mut Context);
    /// A frame arrived. The first on a connection that somebody else opened is an [`crate::frame::Ask`].
    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context);
    /// A message of another master arrived.
    fn peer(&mut self, _: Box<PeerMessage>, _: &mut Context) {}
    /// The process ends at once.
    fn crash(&mut self, how: Crash, cx: &mut Context);
    /// Somebody has set the clock of the machine. Most processes have their own and take no notice until they start anew.
    fn clock_set(&mut self, _: &mut Context) {}
    /// The disk is replaced by an empty one. Only of machines that are down.
    fn wipe(&mut self, _: &mut Context) {}
    /// What is not yet as it should be, when all is well outside; none when all is well inside.
    fn unfinished(&self, cx: &Context) -> Vec<String>;
    /// One line of what it did.
    fn report(&self) -> String;
    /// Whether the process ended by itself and must not be started again.
    fn ended(&self) -> bool {
        false
    }
}

/// A guess at which master leads, as a client has it.
#[derive(Debug, Clone)]
pub(crate) struct Guess {
    masters: Vec<(String, Host)>,
    at: usize,
}

impl Guess {
    pub(crate) fn new(masters: &[(String, Host)]) -> Self {
        Self { masters: masters.to_vec(), at: 0 }
    }

    pub(crate) fn host(&self) -> Host {
        self.masters[self.at].1
    }

    /// The one asked does not answer.
    pub(crate) fn failed(&mut self) {
        self.at = (self.at + 1) % self.masters.len();
    }

    /// The one asked named another; whether it did.
    pub(crate) fn redirected(&mut self, address: &str) -> bool {
        let at = self.masters.iter().position(|(known, _)| known == address);
        let moved = at.is_some_and(|at| at != self.at);
        if moved {
            self.at = at.unwrap_or_default();
        } else {
            self.failed();
        }
        moved
    }
}
