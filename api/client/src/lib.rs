//! Clients of the masters' public APIs: the scheduler API and the key-value API.
//!
//! [`session`] is the passive machine behind a subscription: what to do when a master redirects, falls silent or goes. It
//! knows no clock and no socket. [`scheduler`] drives it with HTTP. [`state`] is the client of the key-value API. Both find
//! the leading master by themselves from a list of addresses.

mod body;
pub mod limits;
mod masters;
pub mod scheduler;
pub mod session;
pub mod state;

pub use masters::{Credentials, Masters};
