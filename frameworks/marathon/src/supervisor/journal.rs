//! What an input has changed, as records to be stored; and the window of events, which is stored too.
//!
//! Effects that reveal a change, be it an event or a launch, come behind the records that hold it. That they wait until
//! those are stored is the kit's doing, as is that answers and acknowledgements do.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::message::{Effect, Operation, Published};
use super::record::{EventsRecord, Key, encode, events_key};
use super::state::State;
use crate::limits;

/// Changes that belong together: they are stored at once or not at all.
#[derive(Debug, Default)]
struct Unit {
    keys: BTreeSet<Key>,
    /// Type and payload.
    events: Vec<(&'static str, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    open: Vec<Unit>,
    /// Keys in `open`: a record changed twice is stored once, as it is at last.
    dirty: BTreeSet<Key>,
    held: Vec<Effect>,
    next_event: u64,
    /// First number, count and bytes of each stored record of events, oldest first.
    window: VecDeque<(u64, usize, usize)>,
    window_events: usize,
    window_bytes: usize,
}

impl Journal {
    /// Continues the numbering of stored events.
    pub(super) fn with_window(records: &[EventsRecord]) -> Self {
        let mut journal = Self { next_event: 1, ..Self::default() };
        for record in records {
            let bytes = record.events.iter().map(|(_, payload)| payload.len()).sum();
            journal.remember(record.first, record.events.len(), bytes);
            journal.next_event = record.first + record.events.len() as u64;
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("events-are-numbered-anew") {
            journal.next_event = 1;
        }
        journal
    }

    /// What follows belongs together.
    pub(super) fn begin(&mut self) {
        if self.open.last().is_none_or(|unit| !unit.keys.is_empty() || !unit.events.is_empty()) {
            self.open.push(Unit::default());
        }
    }

    /// This record has changed, or is gone.
    pub(super) fn touch(&mut self, key: Key) {
        if self.dirty.insert(key.clone()) {
            self.unit().keys.insert(key);
        }
    }

    pub(super) fn event(&mut self, kind: &'static str, payload: String) {
        self.unit().events.push((kind, payload));
    }

    fn unit(&mut self) -> &mut Unit {
        if self.open.is_empty() {
            self.open.push(Unit::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Puts an effect behind everything that has changed so far.
    pub(super) fn hold(&mut self, effect: Effect) {
        self.held.push(effect);
    }

    fn is_clean(&self) -> bool {
        self.open.iter().all(|unit| unit.keys.is_empty() && unit.events.is_empty())
    }

    /// Says what is to be stored, and what is done then; readers will see `state`. True when there is something to store.
    pub(super) fn flush(&mut self, state: &State, out: &mut Vec<Effect>) -> bool {
        let changed = !self.is_clean();
        if changed {
            self.dirty.clear();
            let units = std::mem::take(&mut self.open);
            let mut published = Vec::new();
            out.extend(self.transactions(state, units, &mut published).into_iter().map(Effect::Store));
            // Readers who hear of a change find it when they look.
            out.push(Effect::View(Arc::new(state.clone())));
            if !published.is_empty() {
                out.push(Effect::Publish(published));
            }
        }
        out.append(&mut self.held);
        changed
    }

    /// Packs units into transactions, each with the record of its events.
    fn transactions(
        &mut self,
        state: &State,
        units: Vec<Unit>,
        published: &mut Vec<Arc<Published>>,
    ) -> Vec<Vec<Operation>> {
        let mut all = Vec::new();
        let (mut operations, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
        for unit in units {
            let writes: Vec<Operation> = unit.keys.iter().map(|key| operation(state, key)).collect();
            let size = writes.iter().map(operation_bytes).sum::<usize>()
                + unit.events.iter().map(|(_, payload)| payload.len()).sum::<usize>();
            let full =
                operations.len() + writes.len() > limits::TXN_RECORDS || bytes + size > limits::TXN_BYTES;
            if full && !operations.is_empty() {
                all.push(self.seal(std::mem::take(&mut operations), std::mem::take(&mut events), published));
                bytes = 0;
            }
            operations.extend(writes);
            events.extend(unit.events);
            bytes += size;
        }
        all.push(self.seal(operations, events, published));
        all
    }

    fn seal(
        &mut self,
        mut operations: Vec<Operation>,
        events: Vec<(&'static str, String)>,
        published: &mut Vec<Arc<Published>>,
    ) -> Vec<Operation> {
        if events.is_empty() {
            return operations;
        }
        let first = self.next_event;
        self.next_event += events.len() as u64;
        for (number, (kind, payload)) in (first..).zip(&events) {
            published.push(Arc::new(Published { number, kind, payload: payload.clone() }));
        }
        let bytes = events.iter().map(|(_, payload)| payload.len()).sum();
        self.remember(first, events.len(), bytes);
        let events = events.into_iter().map(|(kind, payload)| (kind.to_owned(), payload)).collect();
        let record = EventsRecord { first, events };
        let value = serde_json::to_vec(&record).unwrap_or_default();
        operations.push(Operation::Put { key: events_key(first), value });
        for _ in 0..limits::EVENT_TRIM {
            if self.window_events <= limits::EVENT_WINDOW && self.window_bytes <= limits::EVENT_WINDOW_BYTES {
                break;
            }
            let Some((first, count, bytes)) = self.window.pop_front() else { break };
            self.window_events -= count;
            self.window_bytes -= bytes;
            operations.push(Operation::Delete { key: events_key(first) });
        }
        operations
    }

    fn remember(&mut self, first: u64, count: usize, bytes: usize) {
        self.window.push_back((first, count, bytes));
        self.window_events += count;
        self.window_bytes += bytes;
    }
}

fn operation(state: &State, key: &Key) -> Operation {
    match encode(state, key) {
        Some(value) => Operation::Put { key: key.text(), value },
        None => Operation::Delete { key: key.text() },
    }
}

fn operation_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value } => key.len() + value.len(),
        Operation::Delete { key } => key.len(),
    }
}
