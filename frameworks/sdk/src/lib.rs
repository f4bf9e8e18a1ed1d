//! For authors of schedulers: a scheduler is a small trait, and one call runs it.
//!
//! Begin with [`scheduler`]. What it is made of can be used by itself, by frameworks that drive a machine of their own:
//!
//! - [`terms`] and [`leadership`]: one of several instances leads, by a lease in the masters' key-value space, and every
//!   write it makes carries a fence, so that an instance that has not noticed its deposition can do no harm.
//! - [`subscription`] and [`lanes`]: what the master says, over all failovers, and the calls to it.
//! - [`offer`], [`task`], [`update`], [`call`]: the messages, in the nouns of the model.
//! - [`engine`]: a scheduler at work without IO, to be driven by other means than the network.
//! - [`reconcile`]: asking how tasks stand until each is known.
//! - [`timers`]: deadlines as data.
//! - [`store`]: durable records in that space, written in fenced transactions that are safe to send again.
//! - [`table`]: records of one type that several writers change by compare-and-swap.
//! - [`mirror`]: all records under a prefix, kept up to date in memory.
//! - [`hub`] and [`ring`]: an event stream for many readers, none of which can hold up the writer or grow without bound in
//!   the framework's memory.

pub mod call;
pub mod clock;
pub mod engine;
pub mod hub;
mod journal;
pub mod lanes;
mod leader;
pub mod leadership;
pub mod limits;
pub mod mirror;
pub mod offer;
pub mod reconcile;
pub mod ring;
pub mod scheduler;
pub mod step;
pub mod store;
pub mod subscription;
pub mod table;
pub mod task;
pub mod terms;
pub mod timers;
pub mod update;

pub use client::scheduler::{CallError, Caller, Notice, subscribe};
pub use client::state::{State, StateError};
pub use client::{Credentials, Masters, session};
pub use model::id::{AgentId, FrameworkId, OfferId, TaskId};
pub use model::task::TaskState;
pub use model::time::{Span, Time};
pub use scheduler::Failure;
/// The messages of the protocol, for what the kit has no words of its own.
pub use wire;
