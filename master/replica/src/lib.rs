//! A replicated state machine: raft over RocksDB, generic over the machine.
//!
//! [`Replica`] is passive: it reads no clock, opens no socket and draws no random number of its own. Somebody feeds
//! it ticks, peer messages and proposals, calls [`Replica::turn`] and executes what it puts out. In a server that
//! somebody is [`thread::spawn`], one operating-system thread that batches whatever arrived while the last
//! batch was being synced; in a simulation it is a loop over a heap of events.
//!
//! | file | its one subject |
//! |---|---|
//! | `machine.rs` | what can be replicated |
//! | `node.rs` | the replica: propose, step, tick, turn |
//! | `batch.rs` | one write, one sync, and messages that cannot leave before it |
//! | `log.rs` | raft's view of the log over any [`Disk`] |
//! | `disk/` | RocksDB, and memory that crashes like a disk |
//! | `snapshot.rs` | files of the machine's state: write, check, thaw |
//! | `member.rs`, `form.rs` | who belongs to the group, and how the first members agree on that |
//! | `ticket.rs` | callers waiting for a commit or for a linearizable read |
//! | `wire.rs` | peer messages as bytes, with limits |
//! | `identity.rs` | which node and which group a data directory belongs to, and its lock |
//! | `thread.rs` | the dedicated thread |
//!
//! Types of the consensus library stay inside; none appears in the public interface.

mod batch;
pub mod disk;
mod error;
pub mod form;
mod identity;
pub mod limits;
mod log;
mod logger;
mod machine;
mod member;
mod node;
mod pack;
pub mod snapshot;
pub mod thread;
mod ticket;
mod types;
pub mod wire;

pub use disk::{Disk, Files};
pub use error::{Corrupt, DiskError, Fatal, NotNow, Stranger};
pub use identity::{DataDir, DirError};
pub use machine::{Chunks, Machine};
pub use member::{Change, Member, Members, Standing};
pub use node::{Fingerprint, Options, Outbox, Output, Replica, Role, Status, found, stored};
pub use snapshot::{Descriptor, SnapshotId};
pub use ticket::{Barrier, Ticket};
pub use types::{ClusterId, Index, NodeId, Term};
pub use wire::PeerMessage;
