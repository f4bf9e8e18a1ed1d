//! The network: ordered streams that take time, stall and break, and walls between machines.
//!
//! What travels is typed (bytes are other tests' subject), but it travels as on TCP: in order, late, and after a fault
//! not at all, while one end or both believe for a while that the connection stands. Only the masters among themselves
//! speak in messages that may be lost, doubled and overtaken, which is what their protocol allows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::frame::Frame;

/// True time since the beginning of the world.
pub type Micros = u64;

/// A thousand of them.
pub const MS: Micros = 1_000;
/// A million of them.
pub const SECOND: Micros = 1_000_000;

/// How long a connection attempt into the void takes to fail.
pub const CONNECT_TIMEOUT: Micros = 2 * SECOND;
/// How long bytes may stay unacknowledged before a system gives the connection up.
pub const USER_TIMEOUT: Micros = 15 * SECOND;
/// How long a reader may wait for an end that went without a word: its system asks for it after three seconds of silence, and
/// every two seconds three times more (`front::probe`, `client::limits`).
pub const PROBED: Micros = 9 * SECOND;

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u32);

/// A connection, from its dial to its end; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// An end of a connection: whoever dialled is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Dialled.
    Client,
    /// Was dialled.
    Server,
}

impl Side {
    /// The opposite end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Nothing may arrive before this, or it would overtake.
    pub(crate) ready: Micros,
    /// Stopped at a wall, or before a machine without power.
    pub(crate) held: VecDeque<Frame>,
    /// Counts the times frames began to be held, so that a late timeout is recognised.
    pub(crate) stops: u64,
    /// Sent and not yet taken.
    pub(crate) under_way: usize,
}

#[derive(Debug)]
pub(crate) struct Conn {
    hosts: [Host; 2],
    /// Whether the owner of each end still has it.
    open: [bool; 2],
    /// By the end they lead to.
    pipes: [Pipe; 2],
    /// Something of the client has arrived.
    pub(crate) reached: bool,
}

impl Conn {
    pub(crate) fn host(&self, side: Side) -> Host {
        self.hosts[side as usize]
    }

    pub(crate) fn is_open(&self, side: Side) -> bool {
        self.open[side as usize]
    }

    pub(crate) fn shut(&mut self, side: Side) {
        self.open[side as usize] = false;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.open == [false; 2]
    }

    /// The direction that ends at `side`.
    pub(crate) fn pipe(&mut self, side: Side) -> &mut Pipe {
        &mut self.pipes[side as usize]
    }

    /// The side at which `host` sits.
    pub(crate) fn side_of(&self, host: Host) -> Side {
        if self.hosts[0] == host { Side::Client } else { Side::Server }
    }

    pub(crate) fn holds(&self) -> bool {
        self.pipes.iter().any(|pipe| !pipe.held.is_empty())
    }
}

/// A wall: nothing of the first gets to the second.
#[derive(Debug, Clone)]
pub struct Wall {
    /// Senders.
    pub from: BTreeSet<Host>,
    /// Those who do not hear them.
    pub to: BTreeSet<Host>,
}

/// Connections and walls. Time passes in [`crate::context::Context`], which moves the frames.
#[derive(Debug, Default)]
pub struct Net {
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) walls: BTreeMap<u64, Wall>,
    next: u64,
}

impl Net {
    /// Whether a wall stands between them, in this direction.
    pub fn blocked(&self, from: Host, to: Host) -> bool {
        self.walls.values().any(|wall| wall.from.contains(&from) && wall.to.contains(&to))
    }

    pub(crate) fn dial(&mut self, client: Host, server: Host) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        let conn = Conn {
            hosts: [client, server],
            open: [true, true],
            pipes: [Pipe::default(), Pipe::default()],
            reached: false,
        };
        self.conns.insert(id, conn);
        id
    }
}
