//! The newest changes of keys, kept so that a watcher who was away a while misses none.

use std::sync::Arc;

use wire::registry::{self as wire_registry, Record, event, record};

use super::kv::{Entry, entry_from_wire, entry_to_wire};
use super::limits::Limits;
use super::table::{Fact, Table};
use super::{Index, Text};

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Put(Arc<Entry>),
    Delete { namespace: Text, key: Text },
}

impl Event {
    pub fn namespace(&self) -> &Text {
        match self {
            Self::Put(entry) => &entry.namespace,
            Self::Delete { namespace, .. } => namespace,
        }
    }

    pub fn key(&self) -> &Text {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Put(entry) => entry.bytes(),
            Self::Delete { key, .. } => key.len() as u64,
        }
    }
}

/// What one command changed, in the order it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) revision: Index,
    pub(crate) events: Vec<Event>,
}

impl Revision {
    fn bytes(&self) -> u64 {
        self.events.iter().map(Event::bytes).sum()
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    table: Table<Index, Revision>,
    events: u64,
    bytes: u64,
    compacted: Index,
}

impl History {
    /// Adds what a command changed; drops the oldest revisions, whole, until the limits hold again.
    pub(crate) fn push(&mut self, revision: Index, events: Vec<Event>, limits: &Limits) {
        if events.is_empty() {
            return;
        }
        self.restore(Revision { revision, events });
        while self.events > limits.history_events || self.bytes > limits.history_bytes {
            let Some((&oldest, dropped)) = self.table.first() else { break };
            self.events -= dropped.events.len() as u64;
            self.bytes -= dropped.bytes();
            self.table.remove(&oldest);
            self.compacted = oldest;
        }
    }

    /// The newest revision dropped; 0 when none was.
    pub(crate) fn compacted(&self) -> Index {
        self.compacted
    }

    pub(crate) fn since(&self, first: Index) -> impl Iterator<Item = &Arc<Revision>> {
        self.table.range(first..).map(|(_, revision)| revision)
    }

    pub(crate) fn digest(&self) -> u64 {
        // Masters that kept different histories would answer watchers differently.
        self.table.digest().wrapping_add(self.compacted)
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records()
    }

    pub(crate) fn restore_compacted(&mut self, compacted: Index) {
        self.compacted = compacted;
    }

    /// Takes a revision as it is; false when it is there already.
    pub(crate) fn restore(&mut self, revision: Revision) -> bool {
        self.events += revision.events.len() as u64;
        self.bytes += revision.bytes();
        self.table.insert(revision.revision, revision).is_none()
    }
}

/// `None` when an event is of no kind we know.
pub(crate) fn revision_from_wire(history: wire_registry::History) -> Option<Revision> {
    let events = history.events.into_iter().map(event_from_wire).collect::<Option<_>>()?;
    Some(Revision { revision: history.revision, events })
}

fn event_from_wire(event: wire_registry::Event) -> Option<Event> {
    Some(match event.change? {
        event::Change::Put(entry) => Event::Put(Arc::new(entry_from_wire(entry))),
        event::Change::Deleted(deleted) => {
            Event::Delete { namespace: deleted.namespace.into(), key: deleted.key.into() }
        }
    })
}

fn event_to_wire(event: &Event) -> wire_registry::Event {
    let change = match event {
        Event::Put(entry) => event::Change::Put(entry_to_wire(entry)),
        Event::Delete { namespace, key } => event::Change::Deleted(wire_registry::Deleted {
            namespace: String::from(&**namespace),
            key: String::from(&**key),
        }),
    };
    wire_registry::Event { change: Some(change) }
}

impl Fact for Revision {
    fn record(&self) -> Record {
        let events = self.events.iter().map(event_to_wire).collect();
        let history = wire_registry::History { revision: self.revision, events };
        Record { record: Some(record::Record::History(history)) }
    }
}
