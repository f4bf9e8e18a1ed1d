//! Passing on what is asked of running containers: orders, limits, probes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{Driver, Note, Phase};
use crate::check::{CommandProbe, ProbeError};
use crate::shim::Order;
use crate::shim::protocol::{ProbeResult, Request};
use crate::{ContainerId, ExitStatus, Limits};

impl Driver {
    pub(super) fn order(&mut self, id: &ContainerId, order: Order, patience: Option<Duration>) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        match &entry.phase {
            Phase::Running(fd) => send(id, order, fd),
            Phase::Launching(_) | Phase::Adopting => entry.orders.push(order),
            Phase::Cleaning | Phase::Ended => return,
        }
        if let Some(patience) = patience {
            let (notes, id) = (self.notes.clone(), id.clone());
            tokio::spawn(async move {
                sleep(patience).await;
                let _ = notes.send(Note::OutOfPatience(id));
            });
        }
    }

    /// A shim that did not end its container in time (stopped, or never asked again by the kernel) goes itself; in a PID namespace
    /// all the rest goes with it.
    pub(super) fn kill_holder(&mut self, id: &ContainerId) {
        if let Some(Phase::Running(fd)) = self.phase(id) {
            tracing::warn!(container = %id, "the container does not end in time; killing the process that holds it");
            let result = rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL);
            if let Err(error) = result {
                tracing::error!(container = %id, %error, "cannot kill the process that holds the container");
            }
        }
    }

    pub(super) fn update(&mut self, id: &ContainerId, limits: Limits) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        let measured = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        match measured {
            Some(measured) => {
                if let Err(error) = measured.cgroup.limit(&limits) {
                    tracing::warn!(container = %id, %error, "cannot change the limits of the container");
                }
            }
            None => entry.limits = Some(limits),
        }
    }

    pub(super) fn probe(
        &mut self,
        probe: CommandProbe,
        timeout: Duration,
        reply: oneshot::Sender<Result<ExitStatus, ProbeError>>,
    ) {
        let serial = self.next_probe;
        self.next_probe += 1;
        let timeout_millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        match (Request::Probe { serial, probe, timeout_millis }).encode() {
            Ok(request) => {
                self.probes.insert(serial, (timeout, reply));
                self.link.send(request.into());
            }
            Err(reason) => drop(reply.send(Err(ProbeError::Launch(reason)))),
        }
    }

    pub(super) fn probed(&mut self, serial: u64, result: ProbeResult) {
        if let Some((timeout, reply)) = self.probes.remove(&serial) {
            let _ = reply.send(match result {
                ProbeResult::Ended(status) => Ok(status),
                ProbeResult::TimedOut => Err(ProbeError::Timeout(timeout)),
                ProbeResult::Failed(reason) => Err(ProbeError::Launch(reason)),
            });
        }
    }
}

pub(super) fn send(id: &ContainerId, order: Order, shim: &OwnedFd) {
    match order.send(shim.as_fd()) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            tracing::error!(container = %id, ?order, %error, "cannot give an order to the container");
        }
        // Sent, or there is nobody any more, which is told by its own event.
        _ => {}
    }
}
