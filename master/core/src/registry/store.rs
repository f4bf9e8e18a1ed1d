//! The key-value space: namespaces, the history of their changes and the requests already done.

use std::sync::Arc;

use imbl::OrdMap;
use wire::registry::{self as wire_registry, Record};

use super::history::{Event, History, revision_from_wire};
use super::kv::Space;
use super::lease::{Lease, lease_from_wire};
use super::limits::Limits;
use super::refusal::check_room;
use super::request::Requests;
use super::txn::{Txn, TxnOutcome};
use super::{Index, Refusal, Text};

#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    /// None of them empty.
    spaces: OrdMap<Text, Space>,
    history: History,
    requests: Requests,
}

impl Store {
    pub(crate) fn space(&self, name: &str) -> Option<&Space> {
        self.spaces.get(name)
    }

    /// The namespace, made if need be; whoever asks puts something in.
    pub(crate) fn space_mut(&mut self, name: &Text) -> &mut Space {
        self.spaces.entry(name.clone()).or_insert_with(|| Space::new(name.clone()))
    }

    /// Refuses a namespace that is not there when there is no room for one more.
    pub(crate) fn check_space(&self, name: &str, limits: &Limits) -> Result<(), Refusal> {
        if self.spaces.contains_key(name) {
            return Ok(());
        }
        check_room("namespaces", self.spaces.len() as u64, limits.namespaces)
    }

    pub(crate) fn replace_space(&mut self, space: Space) {
        if space.is_empty() {
            self.spaces.remove(&**space.name());
        } else {
            self.spaces.insert(space.name().clone(), space);
        }
    }

    pub(crate) fn drop_if_empty(&mut self, name: &str) {
        if self.spaces.get(name).is_some_and(Space::is_empty) {
            self.spaces.remove(name);
        }
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> {
        self.spaces.values().flat_map(Space::leases)
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn record_events(&mut self, index: Index, events: Vec<Event>, limits: &Limits) {
        self.history.push(index, events, limits);
    }

    pub(crate) fn replay(&self, txn: &Txn) -> Result<Option<TxnOutcome>, Refusal> {
        self.requests.replay(txn)
    }

    pub(crate) fn remember(&mut self, index: Index, txn: &Txn, succeeded: bool, limits: &Limits) {
        self.requests.remember(index, txn, succeeded, limits);
    }

    pub(crate) fn digest(&self) -> u64 {
        let spaces = self.spaces.values().map(Space::digest).fold(0, u64::wrapping_add);
        spaces.wrapping_add(self.history.digest()).wrapping_add(self.requests.digest())
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        let spaces = self.spaces.into_iter().flat_map(|(_, space)| space.into_records());
        spaces.chain(self.requests.into_records()).chain(self.history.into_records())
    }

    pub(crate) fn restore_compacted(&mut self, compacted: Index) {
        self.history.restore_compacted(compacted);
    }

    /// Takes an entry from a snapshot; false when it cannot be there.
    pub(crate) fn restore_entry(&mut self, entry: wire_registry::Entry) -> bool {
        self.space_mut(&Text::from(&*entry.namespace)).restore(entry)
    }

    /// Takes a lease from a snapshot; false when it cannot be there.
    pub(crate) fn restore_lease(&mut self, lease: wire_registry::Lease) -> bool {
        let lease = lease_from_wire(lease);
        self.space_mut(&lease.namespace.clone()).restore_lease(lease)
    }

    /// Takes a request from a snapshot; false when it cannot be there.
    pub(crate) fn restore_request(&mut self, request: wire_registry::Request) -> bool {
        self.requests.restore(request)
    }

    /// Takes a revision from a snapshot; false when it cannot be there. Events that put what still stands share
    /// the entry, as they did before the snapshot.
    pub(crate) fn restore_history(&mut self, history: wire_registry::History) -> bool {
        let Some(mut revision) = revision_from_wire(history) else { return false };
        for event in &mut revision.events {
            if let Event::Put(entry) = event {
                let standing = self.space(&entry.namespace).and_then(|space| space.entry(&entry.key));
                if let Some(standing) = standing.filter(|standing| *standing == entry) {
                    *entry = Arc::clone(standing);
                }
            }
        }
        self.history.restore(revision)
    }
}
