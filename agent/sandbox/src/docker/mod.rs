//! Containers made by Docker.
//!
//! Docker makes the container, and the launcher below runs `docker start --attach`, which carries its output into the
//! sandbox, hands signals to it and ends with its exit status. So a container outlives the agent, and the process that
//! holds it keeps its status, as with any other. When that process has ended, however it did, the container is removed
//! before anybody is told: an event that says that a container has ended must not come before its end.

mod client;
mod create;
mod launcher;
mod runner;
mod spec;

pub use client::{DockerError, pull};
pub use create::SANDBOX;
pub use launcher::Docker;
pub use spec::{DockerSpec, Mount, MountSource, Network, PortMapping};
