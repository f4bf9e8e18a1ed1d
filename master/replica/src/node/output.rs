//! What a replica tells its driver.

use std::collections::BTreeMap;
use std::fmt;

use crate::machine::Machine;
use crate::member::Members;
use crate::snapshot::{Descriptor, Job};
use crate::ticket::{Barrier, Ticket};
use crate::types::{Index, NodeId, Term};
use crate::wire::PeerMessage;

/// What this node is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads, and everything acknowledged by former leaders is applied.
    Leading {
        /// Its term.
        term: Term,
    },
    /// It follows a known leader.
    Following {
        /// Whom.
        leader: NodeId,
        /// The leader's term.
        term: Term,
    },
    /// Nobody is known to lead.
    Electing {
        /// The highest term seen.
        term: Term,
    },
}

/// What somebody has to do for the replica.
pub enum Output<M: Machine> {
    /// Send to the peer. May be lost or overtaken, never altered.
    Send(PeerMessage),
    /// A command was committed and applied.
    Applied {
        /// Its index.
        index: Index,
        /// The term it was proposed in.
        term: Term,
        /// The proposer's ticket, if this node proposed it since it was started and has not given up on it.
        ticket: Option<Ticket>,
        /// What the machine said.
        outcome: M::Outcome,
        /// The state right after it.
        view: M::Frozen,
    },
    /// The state was replaced by a snapshot of the leader's.
    Installed {
        /// Its index.
        index: Index,
        /// The state.
        view: M::Frozen,
    },
    /// A change of membership was applied.
    Members {
        /// Its index.
        index: Index,
        /// As in `Applied`.
        ticket: Option<Ticket>,
        /// The members from here on.
        members: Members,
    },
    /// Leadership was lost while this proposal was under way: it may have been committed, or may yet be, or not.
    Lost(Ticket),
    /// Everything acknowledged before the barrier was asked for is applied, and this node led at some moment since.
    Passed(Barrier),
    /// The barrier cannot be passed: leadership was lost.
    Failed(Barrier),
    /// The role changed. `Leading` comes after the `Applied` of everything former leaders had acknowledged.
    Role(Role),
    /// Write this snapshot in the background and report to [`crate::Replica::built`].
    Build(Job<M>),
    /// Pull this snapshot's file from the peer, thaw it with [`crate::snapshot::load`] and report to [`crate::Replica::fetched`].
    Fetch {
        /// Who has it.
        from: NodeId,
        /// What it must be.
        descriptor: Descriptor,
    },
}

/// Takes outputs while a turn goes on. A leader's messages come before its own sync and are worth sending at once: the
/// followers then sync at the same time.
pub trait Outbox<M: Machine> {
    /// Takes one.
    fn put(&mut self, output: Output<M>);
}

impl<M: Machine> Outbox<M> for Vec<Output<M>> {
    fn put(&mut self, output: Output<M>) {
        self.push(output);
    }
}

/// A look at a node, for metrics and operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its role.
    pub role: Role,
    /// Highest term seen.
    pub term: Term,
    /// Last index on the disk or on its way there.
    pub last: Index,
    /// Last index known committed.
    pub committed: Index,
    /// Last index applied.
    pub applied: Index,
    /// The state at the last index that all members look at; none before this process has come to one.
    pub fingerprint: Option<Fingerprint>,
    /// First index still in the log.
    pub first: Index,
    /// Index of the newest snapshot.
    pub snapshot: Index,
    /// Proposals under way.
    pub open_tickets: usize,
    /// On the leader: the last index each member is known to hold.
    pub matched: BTreeMap<NodeId, Index>,
}

/// What the state was at an index: the same in all members, or one of them has gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// A multiple of [`FINGERPRINT_EVERY`](crate::limits::FINGERPRINT_EVERY).
    pub index: Index,
    /// Hash of the state after it was applied.
    pub digest: u64,
}

impl<M: Machine> fmt::Debug for Output<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(message) => write!(f, "Send({} -> {})", message.from, message.to),
            Self::Applied { index, ticket, .. } => write!(f, "Applied({index}, {ticket:?})"),
            Self::Installed { index, .. } => write!(f, "Installed({index})"),
            Self::Members { index, members, .. } => write!(f, "Members({index}, {members:?})"),
            Self::Lost(ticket) => write!(f, "Lost({ticket:?})"),
            Self::Passed(barrier) => write!(f, "Passed({barrier:?})"),
            Self::Failed(barrier) => write!(f, "Failed({barrier:?})"),
            Self::Role(role) => write!(f, "Role({role:?})"),
            Self::Build(job) => write!(f, "Build({job:?})"),
            Self::Fetch { from, descriptor } => write!(f, "Fetch({from}, {})", descriptor.id),
        }
    }
}
