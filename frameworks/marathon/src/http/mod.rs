//! The Marathon v2 REST API over HTTP: documents in, commands to the supervisor, views out.
//!
//! Handlers read the newest view, which costs a reference count, and send commands; they hold no state of their own. What
//! only a leader can answer is proxied to it by a standby.

mod api;
mod body;
mod events;
mod metrics;
mod proxy;
mod query;
mod reply;
mod routes;
mod selector;
mod serve;
mod view;

pub(crate) use api::{Api, Surroundings};
