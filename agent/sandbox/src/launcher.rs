//! The one interface to container technologies.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::check::CommandRunner;
use crate::{ContainerEvent, ContainerId, ContainerSpec, Features, Limits, Signal, Usage};

/// Everything an agent may ask of a container technology. Calls return at once; results come back as events from `poll`.
///
/// Calls about an id that the launcher does not hold do nothing: the container may have ended a moment ago.
pub trait Launcher: Send {
    /// What works on this machine.
    fn features(&self) -> &Features;

    /// Called once, before any launch: finds the containers of an earlier agent process. Each of `known` gets its events
    /// (also those that ended in between, with their exit status), then comes [`ContainerEvent::Recovered`]. Containers found that
    /// are not in `known` are destroyed.
    fn recover(&mut self, known: &[ContainerId]);

    /// Starts a container. An id must not be used again before [`Launcher::forget`].
    fn launch(&mut self, spec: ContainerSpec);

    /// Sends a signal to the command alone, not to what it started.
    fn signal(&mut self, id: &ContainerId, signal: Signal);

    /// SIGTERM to every process of the container now, SIGKILL after `grace`, whether or not this agent lives to see it. Repeating it
    /// can only bring the end nearer, never delay it.
    fn kill(&mut self, id: &ContainerId, grace: Duration);

    /// Changes the limits of a running container.
    fn update(&mut self, id: &ContainerId, limits: Limits);

    /// SIGKILL to every process of the container.
    fn destroy(&mut self, id: &ContainerId);

    /// Drops what is kept of an ended container. Until this is called, its last event is repeated by `recover`; so call it once
    /// that event is stored. The sandbox directory stays.
    fn forget(&mut self, id: &ContainerId);

    /// What the container uses now; `None` when it does not run.
    fn usage(&self, id: &ContainerId) -> Option<Usage>;

    /// The address of a container that has one of its own; `None` when it has that of the machine.
    fn address(&self, _id: &ContainerId) -> Option<IpAddr> {
        None
    }

    /// Runs commands inside containers, for [`crate::check`].
    fn runner(&self) -> Arc<dyn CommandRunner>;

    /// The next event. Must be called inside the runtime the launcher was made in.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ContainerEvent>;
}

impl dyn Launcher + '_ {
    /// The next event, as a future. Dropping the future loses nothing.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is awaited, so nobody takes it for that of an iterator"
    )]
    pub fn next(&mut self) -> impl Future<Output = ContainerEvent> + Send + '_ {
        std::future::poll_fn(|cx| self.poll(cx))
    }
}
