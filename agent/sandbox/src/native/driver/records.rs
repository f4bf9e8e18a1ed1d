//! Finding out from its record how a container is, and how it ended.

use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::super::Measured;
use super::orders::send;
use super::{Driver, LOOK_AGAIN, Note, Phase};
use crate::limits::KILL_PATIENCE;
use crate::shim::record::{self, Record, Summary};
use crate::{ContainerEvent, ContainerId, LaunchError, Lost, Step};

impl Driver {
    /// Something happened to a container's shim, or may have.
    pub(super) fn look(&mut self, id: &ContainerId) {
        if self.phase(id).is_some_and(|phase| !matches!(phase, Phase::Ended | Phase::Cleaning)) {
            self.take_hold(id);
        }
    }

    /// Brings the entry up to what the record and its lock say.
    pub(super) fn take_hold(&mut self, id: &ContainerId) {
        let seen = Record::open(&self.setup.runtime, id).and_then(|record| {
            let Some(record) = record else { return Ok(None) };
            // In this order: what an ended shim wrote is complete.
            let holder = record.holder()?;
            Ok(Some((holder, record.summary()?)))
        });
        match seen {
            Ok(None) => self.end_unrecorded(id),
            Ok(Some((None, summary))) => self.end_recorded(id, summary),
            Ok(Some((Some((shim, fd)), summary))) => match summary.started {
                Some(pid) => {
                    self.announce(id, pid);
                    self.watch(id, shim, fd, &summary);
                }
                None => self.look_later(id),
            },
            Err(error) => {
                tracing::error!(container = %id, %error, "cannot look at the container; trying again");
                self.look_later(id);
            }
        }
    }

    fn look_later(&mut self, id: &ContainerId) {
        self.set(id, Phase::Adopting);
        let (notes, id, runtime) = (self.notes.clone(), id.clone(), self.setup.runtime.clone());
        tokio::spawn(async move {
            let (mut pause, longest) = LOOK_AGAIN;
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
                let Ok(Some(record)) = Record::open(&runtime, &id) else { break };
                let starting = matches!(record.holder(), Ok(Some(_)))
                    && matches!(record.summary(), Ok(Summary { started: None, .. }));
                if !starting {
                    break;
                }
            }
            let _ = notes.send(Note::LookAgain(id));
        });
    }

    fn watch(&mut self, id: &ContainerId, shim: i32, fd: OwnedFd, summary: &Summary) {
        let fd = Arc::new(fd);
        let Some(entry) = self.containers.get_mut(id) else { return };
        entry.phase = Phase::Running(Arc::clone(&fd));
        let (orders, limits) = (std::mem::take(&mut entry.orders), entry.limits.take());
        let measured = Measured { shim, cgroup: summary.about.cgroup.clone() };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), measured);
        for order in orders {
            send(id, order, &fd);
        }
        if let Some(limits) = limits {
            self.update(id, limits);
        }
        let (notes, id) = (self.notes.clone(), id.clone());
        self.recovery_step(&id);
        tokio::spawn(async move {
            // SAFETY: the descriptor is owned by the `Arc` and never replaced, so it stays the same open file while registered.
            match unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) } {
                Ok(fd) => drop(fd.readable().await),
                // Out of descriptors for the poller, say: look from time to time instead.
                Err(error) => {
                    tracing::error!(container = %id, %error, "cannot watch the container's process");
                    sleep(KILL_PATIENCE).await;
                }
            }
            let _ = notes.send(Note::ShimEnded(id));
        });
    }

    /// There is no record: the shim did not come so far as to make one.
    fn end_unrecorded(&mut self, id: &ContainerId) {
        let recovered = self.containers.get(id).is_some_and(|entry| entry.recovered);
        let event = if recovered {
            ContainerEvent::Lost { id: id.clone(), why: Lost::NeverStarted }
        } else {
            let message = format!("the process starting container {id} was killed");
            ContainerEvent::Failed {
                id: id.clone(),
                error: LaunchError { step: Step::Fork, errno: 0, message },
            }
        };
        self.end(id, event);
    }

    /// The shim is gone; its record says the rest.
    fn end_recorded(&mut self, id: &ContainerId, summary: Summary) {
        if let Some(exit) = summary.exited {
            self.end(id, ContainerEvent::Exited { id: id.clone(), exit });
        } else if let Some(error) = summary.failed {
            self.end(id, ContainerEvent::Failed { id: id.clone(), error });
        } else {
            self.set(id, Phase::Cleaning);
            let (notes, id) = (self.notes.clone(), id.clone());
            tokio::task::spawn_blocking(move || {
                let group = summary.about.cgroup;
                if !group.kill(KILL_PATIENCE) {
                    tracing::error!(container = %id, "processes of a lost container cannot be killed");
                }
                let _ = group.remove();
                let _ = notes.send(Note::Cleaned(id));
            });
        }
    }

    pub(super) fn end(&mut self, id: &ContainerId, event: ContainerEvent) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.set(id, Phase::Ended);
        self.tell(id, event);
        self.recovery_step(id);
        if self.containers.get(id).is_some_and(|entry| entry.orphan) {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: &ContainerId) {
        if !matches!(self.phase(id), Some(Phase::Ended)) {
            return;
        }
        self.containers.remove(id);
        // The shim has usually removed the group; then this costs one failing call.
        if let Err(error) = self.setup.cgroups.container(id).remove() {
            tracing::warn!(container = %id, %error, "the control group of an ended container cannot be removed");
        }
        match std::fs::remove_file(record::path(&self.setup.runtime, id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(container = %id, %error, "the record of an ended container cannot be removed");
            }
            _ => {}
        }
    }
}
