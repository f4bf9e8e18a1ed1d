//! One namespace of the key-value space: its keys, its leases and which key is under which.

use std::fmt::Arguments;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use wire::registry::{self as wire_registry, Record, record};

use super::lease::Lease;
use super::limits::{Limits, NAMESPACE_NAME_BYTES};
use super::refusal::check_text;
use super::table::{Fact, Table};
use super::{Index, Refusal, Text};

/// A key as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub namespace: Text,
    pub key: Text,
    pub value: Bytes,
    /// 1 when created, one more with each put since.
    pub version: u64,
    pub create_revision: Index,
    pub mod_revision: Index,
    /// The lease whose end deletes the key.
    pub lease: Option<Text>,
}

impl Entry {
    /// What it counts against quotas and budgets.
    pub(crate) fn bytes(&self) -> u64 {
        (self.key.len() + self.value.len()) as u64
    }
}

/// Which keys a range wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// Empty means every key.
    pub prefix: Text,
    /// Keys up to and including this one are left out.
    pub after: Option<Text>,
    /// 1 to [`wire::state::RANGE_LIMIT`].
    pub limit: u32,
}

impl RangeQuery {
    /// `path` goes before the names of the fields in a refusal.
    pub(crate) fn check(&self, path: Arguments<'_>, limits: &Limits) -> Result<(), Refusal> {
        let most = wire::state::RANGE_LIMIT;
        if !(1..=most).contains(&self.limit) {
            return Err(Refusal::invalid(format!("{path}limit"), format!("must be from 1 to {most}")));
        }
        if !self.prefix.is_empty() {
            check_text(format_args!("{path}prefix"), &self.prefix, limits.key_bytes)?;
        }
        match &self.after {
            Some(after) => check_text(format_args!("{path}after"), after, limits.key_bytes),
            None => Ok(()),
        }
    }
}

/// Keys in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page goes on, when this one left keys out.
    pub next: Option<Text>,
}

pub(crate) fn check_namespace(field: &str, name: &str) -> Result<(), Refusal> {
    check_text(field, name, NAMESPACE_NAME_BYTES)
}

#[derive(Debug, Clone)]
pub(crate) struct Space {
    name: Text,
    entries: Table<Text, Entry>,
    leases: Table<Text, Lease>,
    /// The keys under each lease; follows from the entries.
    attached: OrdMap<Text, OrdSet<Text>>,
    /// The keys' and values' bytes together; follows from the entries.
    bytes: u64,
}

impl Space {
    pub(crate) fn new(name: Text) -> Self {
        Self {
            name,
            entries: Table::default(),
            leases: Table::default(),
            attached: OrdMap::default(),
            bytes: 0,
        }
    }

    /// Without keys and leases a namespace is forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.leases.is_empty()
    }

    pub(crate) fn name(&self) -> &Text {
        &self.name
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    pub(crate) fn lease(&self, id: &str) -> Option<&Arc<Lease>> {
        self.leases.get(id)
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> + use<'_> {
        self.leases.iter()
    }

    pub(crate) fn lease_count(&self) -> u64 {
        self.leases.len()
    }

    /// How many keys end with a lease.
    pub(crate) fn attached_count(&self, lease: &str) -> u64 {
        self.attached.get(lease).map_or(0, |keys| keys.len() as u64)
    }

    pub(crate) fn put(&mut self, index: Index, key: Text, value: Bytes, lease: Option<Text>) -> Arc<Entry> {
        let (version, create_revision) = match self.entries.get(&*key) {
            Some(old) => (old.version + 1, old.create_revision),
            None => (1, index),
        };
        let namespace = self.name.clone();
        let entry =
            Arc::new(Entry { namespace, key, value, version, create_revision, mod_revision: index, lease });
        self.place(Arc::clone(&entry));
        entry
    }

    /// Puts an entry in as it is; hands out the one it replaces.
    fn place(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        self.bytes += entry.bytes();
        if let Some(lease) = &entry.lease {
            self.attached.entry(lease.clone()).or_default().insert(entry.key.clone());
        }
        let lease = entry.lease.clone();
        let old = self.entries.insert(entry.key.clone(), entry)?;
        self.bytes -= old.bytes();
        if old.lease != lease {
            self.detach(&old);
        }
        Some(old)
    }

    pub(crate) fn delete(&mut self, key: &str) -> bool {
        let Some(old) = self.entries.remove(key) else { return false };
        self.bytes -= old.bytes();
        self.detach(&old);
        true
    }

    fn detach(&mut self, entry: &Entry) {
        let Some(lease) = &entry.lease else { return };
        let Some(keys) = self.attached.get_mut(lease) else { return };
        keys.remove(&entry.key);
        if keys.is_empty() {
            self.attached.remove(lease);
        }
    }

    /// Grants, or replaces after a renewal.
    pub(crate) fn set_lease(&mut self, lease: Arc<Lease>) {
        self.leases.insert(lease.id.clone(), lease);
    }

    /// Takes a lease away with its keys, which are handed out in order.
    pub(crate) fn end_lease(&mut self, id: &str) -> Vec<Text> {
        self.leases.remove(id);
        let keys: Vec<Text> = self.attached.get(id).into_iter().flatten().cloned().collect();
        for key in &keys {
            self.delete(key);
        }
        keys
    }

    /// Reads a page, charging it to `budget`. The first entry is given whatever it costs, so that a reader who
    /// goes on from page to page always gets on.
    pub(crate) fn range(&self, query: &RangeQuery, budget: &mut u64) -> Page {
        let from: Bound<&str> = match &query.after {
            Some(after) if **after >= *query.prefix => Bound::Excluded(after),
            _ => Bound::Included(&query.prefix),
        };
        let mut rest = self
            .entries
            .range::<_, str>((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(&*query.prefix));
        let mut page = Page::default();
        for entry in &mut rest {
            let bytes = entry.bytes();
            let full = page.entries.len() >= query.limit as usize || bytes > *budget;
            if let Some(last) = page.entries.last().filter(|_| full) {
                page.next = Some(last.key.clone());
                break;
            }
            *budget = budget.saturating_sub(bytes);
            page.entries.push(Arc::clone(entry));
        }
        page
    }

    pub(crate) fn digest(&self) -> u64 {
        self.entries.digest().wrapping_add(self.leases.digest())
    }

    /// Leases before the entries that name them.
    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.leases.into_records().chain(self.entries.into_records())
    }

    /// Takes an entry from a snapshot; false when it is there already or its lease is not.
    pub(crate) fn restore(&mut self, entry: wire_registry::Entry) -> bool {
        let entry = entry_from_wire(entry);
        let attachable = entry.lease.as_ref().is_none_or(|lease| self.leases.contains(&**lease));
        attachable && self.place(Arc::new(entry)).is_none()
    }

    /// Takes a lease from a snapshot; false when it is there already.
    pub(crate) fn restore_lease(&mut self, lease: Lease) -> bool {
        self.leases.insert(lease.id.clone(), lease).is_none()
    }
}

pub(crate) fn entry_to_wire(entry: &Entry) -> wire_registry::Entry {
    wire_registry::Entry {
        namespace: String::from(&*entry.namespace),
        key: String::from(&*entry.key),
        value: entry.value.clone(),
        version: entry.version,
        create_revision: entry.create_revision,
        mod_revision: entry.mod_revision,
        lease: entry.lease.as_deref().map(String::from),
    }
}

pub(crate) fn entry_from_wire(entry: wire_registry::Entry) -> Entry {
    Entry {
        namespace: entry.namespace.into(),
        key: entry.key.into(),
        value: entry.value,
        version: entry.version,
        create_revision: entry.create_revision,
        mod_revision: entry.mod_revision,
        lease: entry.lease.map(Text::from),
    }
}

impl Fact for Entry {
    fn record(&self) -> Record {
        Record { record: Some(record::Record::Entry(entry_to_wire(self))) }
    }
}
