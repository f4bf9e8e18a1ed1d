//! For authors of schedulers: what every framework needs besides its own logic.
//!
//! - [`leadership`]: one of several instances leads, by a lease in the masters' key-value space, and every write it makes
//!   carries a fence, so that an instance that has not noticed its deposition can do no harm.
//! - [`store`]: durable records in that space, written in fenced transactions that are safe to send again.
//! - [`table`]: records of one type that several writers change by compare-and-swap.
//! - [`mirror`]: all records under a prefix, kept up to date in memory.
//! - [`update`]: which status updates are acknowledged, and how.
//! - [`hub`]: an event stream for many readers, numbered and resumable, in which a slow reader loses its stream and never
//!   the framework's memory.
//!
//! The subscription itself is [`client::scheduler`].

pub mod hub;
pub mod leadership;
pub mod limits;
pub mod mirror;
pub mod ring;
pub mod store;
pub mod table;
pub mod update;

pub use client::scheduler::{CallError, Caller, Notice, subscribe};
pub use client::state::{State, StateError};
pub use client::{Masters, session};
