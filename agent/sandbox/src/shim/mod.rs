//! The processes that hold containers.
//!
//! ```text
//! agent ──requests──▶ launcher (one, small, single-threaded: forks cheaply; ends with the agent)
//!   ▲  ◀──reports───     └─▶ shim (one per container, outlives both) ─▶ command
//!   └─ pidfd, record file ──────┘
//! ```
//!
//! The agent starts its own program again as the *launcher* ([`main`]). For each container the launcher forks a *shim*, without
//! executing anything, so a container costs two forks and the command's own `execve`. The shim is the first process of the
//! container's PID namespace, so that the kernel lets nothing outlive it; where namespaces are refused it is a subreaper and
//! finds its descendants by itself. It writes what happens into the container's *record* file and holds a lock on it; so whoever
//! comes later knows from the lock whether the shim lives (and its process id, safe from reuse), and from the record the rest.
//! Orders reach it as one real-time signal with a value: it has no socket, no thread and no allocation to speak of.

mod fork;
mod launcher;
mod order;
mod probe;
pub(crate) mod protocol;
pub(crate) mod record;
mod setup;
mod supervise;
mod task;
pub(crate) mod tree;

/// In the runtime directory; the dot keeps it apart from the records.
pub(crate) const LOCK: &str = ".launcher";

pub use launcher::main;
pub(crate) use order::Order;
