//! What has changed and is not stored yet, and what must not be seen before it is.
//!
//! Changes are written in batches: while one is on its way to the store, everything that happens collects in the
//! next, so the number of writes falls as load rises. Effects that reveal a change, be it an answer, an event, a
//! launch or an acknowledgement, wait for the batch that holds it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use model::id::TaskId;

use super::message::{Call, Commit, Effect, Operation, Published};
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
    flight: Option<Flight>,
    number: u64,
    next_event: u64,
    /// First number, count and bytes of each stored record of events, oldest first.
    window: VecDeque<(u64, usize, usize)>,
    window_events: usize,
    window_bytes: usize,
}

/// A batch on its way: transactions one after the other, then the effects.
#[derive(Debug)]
struct Flight {
    rest: VecDeque<Vec<Operation>>,
    published: Vec<Arc<Published>>,
    view: Arc<State>,
    held: Vec<Effect>,
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

    /// Holds an effect until everything that has happened so far is stored.
    pub(super) fn hold(&mut self, effect: Effect) {
        #[cfg(feature = "mutants")]
        if mutant::planted("effects-are-lost-behind-a-commit") && self.flight.is_some() {
            return;
        }
        self.held.push(effect);
    }

    /// The tasks whose launch waits to be stored.
    pub(super) fn unsent_launches(&self) -> BTreeSet<&TaskId> {
        let in_flight = self.flight.iter().flat_map(|flight| &flight.held);
        let accepts = self.held.iter().chain(in_flight).filter_map(|effect| match effect {
            Effect::Call(Call::Accept { launches, .. }) => Some(launches),
            _ => None,
        });
        accepts.flatten().map(|launch| &launch.task).collect()
    }

    fn is_clean(&self) -> bool {
        self.open.iter().all(|unit| unit.keys.is_empty() && unit.events.is_empty())
    }

    /// Nothing is on its way to the store.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    /// Sends what is open on its way, if nothing else is; readers will see `state` when it has arrived. True when
    /// something was sent.
    pub(super) fn flush(&mut self, state: &State, out: &mut Vec<Effect>) -> bool {
        let clean = self.is_clean();
        if let Some(flight) = &mut self.flight {
            // Nothing new to store: what waits, waits for what is on its way.
            if clean {
                flight.held.append(&mut self.held);
            }
            return false;
        }
        if clean {
            out.append(&mut self.held);
            return false;
        }
        self.dirty.clear();
        let units = std::mem::take(&mut self.open);
        let mut published = Vec::new();
        let rest = self.transactions(state, units, &mut published);
        #[cfg(feature = "mutants")]
        if mutant::planted("supervisor-acts-before-it-stores") {
            out.append(&mut self.held);
            out.push(Effect::Publish(std::mem::take(&mut published)));
        }
        let held = std::mem::take(&mut self.held);
        let flight = Flight { rest, published, view: Arc::new(state.clone()), held };
        self.flight = Some(flight);
        self.send_next(out);
        true
    }

    /// The transaction of this number is stored.
    pub(super) fn committed(&mut self, number: u64, out: &mut Vec<Effect>) {
        if number != self.number || self.flight.is_none() {
            return;
        }
        self.send_next(out);
    }

    fn send_next(&mut self, out: &mut Vec<Effect>) {
        let Some(flight) = &mut self.flight else { return };
        if let Some(operations) = flight.rest.pop_front() {
            self.number += 1;
            out.push(Effect::Commit(Commit { number: self.number, operations }));
            return;
        }
        let Some(flight) = self.flight.take() else { return };
        // Readers who hear of a change find it when they look.
        out.push(Effect::View(flight.view));
        if !flight.published.is_empty() {
            out.push(Effect::Publish(flight.published));
        }
        out.extend(flight.held);
    }

    /// Packs units into transactions, each with the record of its events.
    fn transactions(
        &mut self,
        state: &State,
        units: Vec<Unit>,
        published: &mut Vec<Arc<Published>>,
    ) -> VecDeque<Vec<Operation>> {
        let mut all = VecDeque::new();
        let (mut operations, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
        for unit in units {
            let writes: Vec<Operation> = unit.keys.iter().map(|key| operation(state, key)).collect();
            let size = writes.iter().map(operation_bytes).sum::<usize>()
                + unit.events.iter().map(|(_, payload)| payload.len()).sum::<usize>();
            let full =
                operations.len() + writes.len() > limits::TXN_RECORDS || bytes + size > limits::TXN_BYTES;
            if full && !operations.is_empty() {
                all.push_back(self.seal(
                    std::mem::take(&mut operations),
                    std::mem::take(&mut events),
                    published,
                ));
                bytes = 0;
            }
            operations.extend(writes);
            events.extend(unit.events);
            bytes += size;
        }
        all.push_back(self.seal(operations, events, published));
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
