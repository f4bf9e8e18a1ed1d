//! A cluster whose nodes have addresses of their own, broken by a schedule drawn from a seed while clients write; then
//! the promises, checked from what the clients were told and from what the kernel runs.

pub mod batch;
pub mod books;
pub mod clients;
mod dice;
pub mod events;
pub mod fault;
pub mod fingerprints;
mod framework;
pub mod launches;
pub mod link;
pub mod locks;
pub mod members;
pub mod network;
pub mod nodes;
mod plan;
mod preload;
pub mod promises;
pub mod registers;
pub mod roles;
pub mod routes;
pub mod schedule;
pub mod servers;
mod starve;
pub mod terms;
pub mod watches;
