//! Figures about what is wanted, kept up as it changes: to walk over all servers of a big cluster after each event
//! would cost more than the event. Pure.

use std::collections::{BTreeMap, BTreeSet};

use imbl::ordmap::DiffItem;

use crate::service::{Desired, Routed};

/// A backend and a server in it.
pub type Name = (String, String);

#[derive(Debug, Default)]
pub struct Tally {
    last: Desired,
    draining: BTreeMap<Name, String>,
    services: usize,
    servers: usize,
}

impl Tally {
    pub fn update(&mut self, desired: &Desired) {
        let last = std::mem::replace(&mut self.last, desired.clone());
        for item in last.diff(desired) {
            let (old, new) = match item {
                DiffItem::Add(_, new) => (None, Some(new)),
                DiffItem::Update { old, new } => (Some(old.1), Some(new.1)),
                DiffItem::Remove(_, old) => (Some(old), None),
            };
            for routed in old.into_iter().flat_map(|services| services.iter()) {
                self.services -= 1;
                self.servers -= ready(routed);
                for name in draining(routed) {
                    self.draining.remove(&name.0);
                }
            }
            for routed in new.into_iter().flat_map(|services| services.iter()) {
                self.services += 1;
                self.servers += ready(routed);
                self.draining.extend(draining(routed));
            }
        }
    }

    /// The draining servers and their tasks.
    pub fn draining(&self) -> &BTreeMap<Name, String> {
        &self.draining
    }

    pub fn services(&self) -> usize {
        self.services
    }

    /// Servers that take new connections.
    pub fn servers(&self) -> usize {
        self.servers
    }
}

fn ready(routed: &Routed) -> usize {
    routed.servers.values().filter(|server| !server.draining).count()
}

fn draining(routed: &Routed) -> impl Iterator<Item = (Name, String)> {
    let servers = routed.servers.iter().filter(|(_, server)| server.draining);
    servers.map(|(name, server)| ((routed.service.name.clone(), name.clone()), server.task.clone()))
}

/// The apps in which two pictures differ.
pub fn changed(from: &Desired, to: &Desired) -> BTreeSet<String> {
    let key = |item: DiffItem<'_, '_, String, _>| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key.clone(),
        DiffItem::Update { new, .. } => new.0.clone(),
    };
    from.diff(to).map(key).collect()
}
