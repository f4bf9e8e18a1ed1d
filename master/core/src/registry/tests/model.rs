//! The key-value space as one would write it without caring for speed, snapshots or sharing.

use std::collections::BTreeMap;

use super::super::*;

type Name = (Text, Text);

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<Name, Entry>,
    /// Granted, renewals.
    pub(super) leases: BTreeMap<Name, (Index, u64)>,
    pub(super) requests: BTreeMap<Name, (Txn, Index, bool)>,
    /// Revision, key, value or deletion.
    pub(super) events: Vec<(Index, Name, Option<bytes::Bytes>)>,
}

impl Model {
    /// Whether the command was done rather than refused, and for a transaction which branch.
    pub(super) fn apply(&mut self, index: Index, command: &Command) -> Option<bool> {
        match command {
            Command::Txn(txn) => self.txn(index, txn),
            Command::Lease(command) => self.lease(index, command),
            _ => Some(true),
        }
    }

    fn txn(&mut self, index: Index, txn: &Txn) -> Option<bool> {
        let request = txn.request.as_ref().map(|id| (txn.namespace.clone(), id.clone()));
        if let Some((known, _, succeeded)) = request.and_then(|request| self.requests.get(&request)) {
            return (known == txn).then_some(*succeeded);
        }
        let name = |key: &Text| (txn.namespace.clone(), key.clone());
        let holds = txn.compare.iter().all(|compare| {
            let entry = self.entries.get(&name(&compare.key));
            let (found, wanted) = match &compare.target {
                Target::Exists(wanted) => (u64::from(entry.is_some()), u64::from(*wanted)),
                Target::Version(wanted) => (entry.map_or(0, |entry| entry.version), *wanted),
                Target::CreateRevision(wanted) => (entry.map_or(0, |entry| entry.create_revision), *wanted),
                Target::ModRevision(wanted) => (entry.map_or(0, |entry| entry.mod_revision), *wanted),
                Target::Value(wanted) => match entry {
                    Some(entry) => (u64::from(entry.value == *wanted), 1),
                    None => (0, 1),
                },
            };
            match compare.relation {
                Relation::Equal => found == wanted,
                Relation::NotEqual => found != wanted,
                Relation::Less => found < wanted,
                Relation::Greater => found > wanted,
            }
        });
        let mut after = self.clone();
        for operation in if holds { &txn.then } else { &txn.otherwise } {
            match operation {
                Operation::Put { key, value, lease } => {
                    if let Some(lease) = lease {
                        self.leases.get(&name(lease))?;
                    }
                    let old = after.entries.get(&name(key));
                    let entry = Entry {
                        namespace: txn.namespace.clone(),
                        key: key.clone(),
                        value: value.clone(),
                        version: old.map_or(0, |old| old.version) + 1,
                        create_revision: old.map_or(index, |old| old.create_revision),
                        mod_revision: index,
                        lease: lease.clone(),
                    };
                    after.entries.insert(name(key), entry);
                    after.events.push((index, name(key), Some(value.clone())));
                }
                Operation::Delete { key } => after.delete(index, name(key)),
                Operation::Get { .. } | Operation::Range(_) => {}
            }
        }
        if let Some(id) = txn.request.as_ref().filter(|_| !txn.is_read_only()) {
            after.requests.insert((txn.namespace.clone(), id.clone()), (txn.clone(), index, holds));
        }
        *self = after;
        Some(holds)
    }

    fn delete(&mut self, index: Index, name: Name) {
        if self.entries.remove(&name).is_some() {
            self.events.push((index, name, None));
        }
    }

    fn lease(&mut self, index: Index, command: &LeaseCommand) -> Option<bool> {
        match command {
            LeaseCommand::Grant { namespace, lease, .. } => {
                self.leases.entry((namespace.clone(), lease.clone())).or_insert((index, 0));
            }
            LeaseCommand::Renew { namespace, lease } => {
                self.leases.get_mut(&(namespace.clone(), lease.clone()))?.1 += 1;
            }
            LeaseCommand::Revoke { namespace, lease } => self.end(index, namespace, lease),
            LeaseCommand::Expire { namespace, lease, granted, renewals_seen } => {
                let known = self.leases.get(&(namespace.clone(), lease.clone()));
                if known == Some(&(*granted, *renewals_seen)) {
                    self.end(index, namespace, lease);
                }
            }
        }
        Some(true)
    }

    fn end(&mut self, index: Index, namespace: &Text, lease: &Text) {
        self.leases.remove(&(namespace.clone(), lease.clone()));
        let attached = self.entries.values().filter(|entry| entry.namespace == *namespace);
        let attached = attached.filter(|entry| entry.lease.as_ref() == Some(lease));
        let names: Vec<Name> = attached.map(|entry| (namespace.clone(), entry.key.clone())).collect();
        for name in names {
            self.delete(index, name);
        }
    }
}
