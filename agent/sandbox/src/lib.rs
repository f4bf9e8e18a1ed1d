//! Containers: launching, limiting, watching, fetching, probing.
//!
//! The agent asks for containers through [`Launcher`] and hears of them through [`ContainerEvent`]s. [`native::Native`] runs them
//! as processes of this machine, each held by a tiny *shim* process ([`shim`]) that outlives the agent and keeps the exit
//! status; [`docker::Docker`] has Docker make those that want an image; [`fake::Fake`] runs them in memory. [`fetch`] fills a sandbox directory before the launch and [`check`] asks a
//! running container how it is. Nothing here knows of masters, frameworks or the wire.

pub mod cgroup;
pub mod check;
pub mod directory;
pub mod docker;
mod event;
pub mod fake;
mod features;
pub mod fetch;
mod id;
mod launcher;
pub mod limits;
pub mod native;
pub mod shim;
mod signal;
mod spec;
pub mod volume;

pub use event::{ContainerEvent, Exit, ExitStatus, LaunchError, Limitation, Lost, Step, Usage};
pub use features::{Features, Support};
pub use id::{BadId, ContainerId};
pub use launcher::Launcher;
pub use signal::{BadSignal, Signal};
pub use spec::{Command, ContainerSpec, DEFAULT_GRACE, Limits, Namespaces, Resource, Rlimit};
