//! Why the replica refuses, and why it stops.

use crate::types::{Index, NodeId};

/// Bytes that do not decode: a torn or foreign file, or a command of a newer program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Corrupt {
    /// The thing being decoded.
    pub what: &'static str,
    /// What was wrong with it.
    pub why: String,
}

impl Corrupt {
    /// A decoding failure of `what`.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

/// The disk refused: full, read-only, broken. Never retried: after a failed sync nobody knows what is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing}: {why}")]
pub struct DiskError {
    /// What was being done, with the path.
    pub doing: String,
    /// The system's or RocksDB's words.
    pub why: String,
}

impl DiskError {
    /// A failure of `doing`.
    pub fn new(doing: impl Into<String>, why: impl ToString) -> Self {
        Self { doing: doing.into(), why: why.to_string() }
    }
}

/// A reason to stop the node. Each is a sentence for the operator; none can be repaired by going on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The disk refused; nothing that depended on the write was sent or acknowledged.
    #[error("{0}; this node stops before it acknowledges anything more")]
    Disk(#[from] DiskError),
    /// What was on the disk, or a committed command, does not decode.
    #[error("cannot read {0}")]
    Corrupt(#[from] Corrupt),
    /// The leader knows this node to have held entries that are not on its disk any more.
    #[error(
        "the log of this node ends at index {last}, but it had acknowledged entries up to {acknowledged}: its disk \
         has lost data that others rely on. Remove this member from the group and let it join again with an \
         empty data directory"
    )]
    Forgot {
        /// Last index on this disk.
        last: Index,
        /// Index the leader was told this disk holds.
        acknowledged: Index,
    },
    /// The group has removed this node.
    #[error("node {0} has been removed from the group")]
    Removed(NodeId),
    /// The consensus library found an inconsistency it cannot go on with.
    #[error("consensus stopped: {0}")]
    Consensus(String),
}

/// A proposal or read that was not even tried. Unlike a lost ticket, its outcome is known: nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// Only the leader proposes. The library would forward silently and nobody could tell what became of it.
    #[error("this member does not lead the group")]
    NotLeader {
        /// The leader as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Too much is under way.
    #[error("too many changes are under way; try again shortly")]
    Busy,
    /// The command is larger than an entry may be.
    #[error("a change of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Encoded size.
        size: usize,
        /// [`crate::limits::COMMAND_BYTES`].
        limit: usize,
    },
    /// A change of membership is not possible in this state.
    #[error("the members cannot be changed so: {0}")]
    Membership(String),
}

/// A peer message that is dropped without being looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// Addressed to another node: the sender believes an old member lives here.
    #[error("message for node {0}, which is not this one")]
    NotForUs(NodeId),
    /// The sender was removed from the group.
    #[error("node {0} was removed from the group")]
    Removed(NodeId),
    /// A kind of message that no peer of ours sends.
    #[error("message of a kind that peers do not send")]
    Kind,
    /// The body makes no sense.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}
