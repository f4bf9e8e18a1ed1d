//! The nouns everybody shares: ids, resources, roles, task states, time
//!
//! Nothing here reads a clock, draws a random number or does IO. Wire messages are read into these types once, at
//! the edge; behind it no function has to ask whether a field is there.

pub mod attributes;
mod convert;
pub mod domain;
pub mod id;
pub mod limits;
pub mod quantity;
pub mod ranges;
pub mod resources;
pub mod role;
pub mod task;
pub mod time;
