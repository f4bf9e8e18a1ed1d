//! Transactions that named themselves, remembered so that a repetition does not apply twice.
//!
//! A client whose request timed out does not know whether it was done. Guarding each write with a compare makes a
//! blind repetition harmless but leaves the client guessing who won; naming the transaction answers that too.

use std::sync::Arc;

use imbl::OrdMap;
use wire::registry::{self as wire_registry, Record, record};

use super::limits::Limits;
use super::table::{Fact, Table};
use super::txn::{Txn, TxnOutcome};
use super::{Index, Refusal, Text, codec, digest};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    namespace: Text,
    id: Text,
    index: Index,
    /// The fingerprint of the transaction: an id used again for something else is a client's mistake.
    content: u64,
    succeeded: bool,
}

impl Request {
    fn key(&self) -> (Text, Text) {
        (self.namespace.clone(), self.id.clone())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    table: Table<(Text, Text), Request>,
    /// By age; follows from the table.
    order: OrdMap<Index, Arc<Request>>,
}

impl Requests {
    /// The outcome of an earlier transaction of the same id, if there was one.
    pub(crate) fn replay(&self, txn: &Txn) -> Result<Option<TxnOutcome>, Refusal> {
        let Some(id) = &txn.request else { return Ok(None) };
        #[cfg(feature = "mutants")]
        if mutant::planted("repetitions-are-done-again") {
            return Ok(None);
        }
        let Some(known) = self.find(&txn.namespace, id) else { return Ok(None) };
        if known.content != content(txn) {
            return Err(Refusal::RequestReused(id.clone()));
        }
        Ok(Some(TxnOutcome {
            revision: known.index,
            succeeded: known.succeeded,
            replayed: true,
            results: Vec::new(),
        }))
    }

    fn find(&self, namespace: &Text, id: &Text) -> Option<&Arc<Request>> {
        self.table.get(&(namespace.clone(), id.clone()))
    }

    /// Remembers a transaction that may have written. Reading twice does no harm and needs no memory.
    pub(crate) fn remember(&mut self, index: Index, txn: &Txn, succeeded: bool, limits: &Limits) {
        let Some(id) = &txn.request else { return };
        if txn.is_read_only() {
            return;
        }
        let request = Request {
            namespace: txn.namespace.clone(),
            id: id.clone(),
            index,
            content: content(txn),
            succeeded,
        };
        self.insert(request);
        while self.table.len() > limits.requests {
            let Some((index, oldest)) = self.order.get_min().cloned() else { break };
            self.order.remove(&index);
            self.table.remove(&oldest.key());
        }
    }

    fn insert(&mut self, request: Request) -> bool {
        let request = Arc::new(request);
        self.order.insert(request.index, Arc::clone(&request)).is_none()
            && self.table.insert(request.key(), request).is_none()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.table.digest()
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records()
    }

    /// Takes a request from a snapshot; false when its id or index is there already.
    pub(crate) fn restore(&mut self, request: wire_registry::Request) -> bool {
        self.insert(Request {
            namespace: request.namespace.into(),
            id: request.id.into(),
            index: request.index,
            content: request.content,
            succeeded: request.succeeded,
        })
    }
}

fn content(txn: &Txn) -> u64 {
    digest::bytes(&codec::txn_bytes(txn))
}

impl Fact for Request {
    fn record(&self) -> Record {
        let request = wire_registry::Request {
            namespace: String::from(&*self.namespace),
            id: String::from(&*self.id),
            index: self.index,
            content: self.content,
            succeeded: self.succeeded,
        };
        Record { record: Some(record::Record::Request(request)) }
    }
}
