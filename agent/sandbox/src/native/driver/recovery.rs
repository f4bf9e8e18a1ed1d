//! Going on after the death of an agent or of the launcher process.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::super::link::Link;
use super::{Driver, Entry, Phase, RESTART_PAUSE};
use crate::check::ProbeError;
use crate::limits::KILL_PATIENCE;
use crate::shim::Order;
use crate::shim::record::{self, Record};
use crate::{ContainerEvent, ContainerId};

impl Driver {
    pub(super) fn recover(&mut self, known: Vec<ContainerId>) {
        let found = record::list(&self.setup.runtime).unwrap_or_else(|error| {
            tracing::error!(%error, runtime = %self.setup.runtime.display(), "cannot list the records of containers");
            Vec::new()
        });
        let known: BTreeSet<ContainerId> = known.into_iter().collect();
        self.recovering =
            Some(known.iter().filter(|id| !self.containers.contains_key(id)).cloned().collect());
        for id in &known {
            if !self.containers.contains_key(id) {
                self.containers.insert(id.clone(), Entry { recovered: true, ..Entry::new(Phase::Adopting) });
                self.take_hold(id);
            }
        }
        for id in found {
            if !self.containers.contains_key(&id) {
                tracing::warn!(container = %id, "destroying a container that the agent does not know");
                self.containers.insert(id.clone(), Entry { orphan: true, ..Entry::new(Phase::Adopting) });
                self.order(&id, Order::Kill { grace: Duration::ZERO }, Some(KILL_PATIENCE));
                self.take_hold(&id);
            }
        }
        self.recovery_done();
    }

    /// A known container has had its first event.
    pub(super) fn recovery_step(&mut self, id: &ContainerId) {
        if let Some(waiting) = &mut self.recovering
            && waiting.remove(id)
        {
            self.recovery_done();
        }
    }

    fn recovery_done(&mut self) {
        if self.recovering.as_ref().is_some_and(BTreeSet::is_empty) {
            self.recovering = None;
            let _ = self.events.send(ContainerEvent::Recovered);
        }
    }

    /// The launcher process has died: starts another one, and finds out how far the launches in flight had come.
    pub(super) async fn restart(&mut self) {
        tracing::error!("the launcher process died; starting another one");
        for (_, (_, reply)) in std::mem::take(&mut self.probes) {
            let _ = reply.send(Err(ProbeError::Launch("the launcher process died".into())));
        }
        loop {
            match Link::start(&self.config, &self.setup).await {
                Ok((link, _)) => {
                    self.link = link;
                    break;
                }
                Err(error) => tracing::error!(%error, "no launcher process; trying again"),
            }
            sleep(RESTART_PAUSE).await;
        }
        let launching: Vec<(ContainerId, Bytes)> = self
            .containers
            .iter()
            .filter_map(|(id, entry)| match &entry.phase {
                Phase::Launching(request) => Some((id.clone(), request.clone())),
                _ => None,
            })
            .collect();
        for (id, request) in launching {
            // The new process has waited until every shim of the old one had made its record; so where there is none, there is no shim.
            match Record::open(&self.setup.runtime, &id) {
                Ok(None) => self.link.send(request),
                _ => self.look(&id),
            }
        }
    }
}
