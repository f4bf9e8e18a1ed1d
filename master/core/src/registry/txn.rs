//! Transactions: compare, then do all of one branch or all of the other, at one revision.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Arguments;
use std::sync::Arc;

use bytes::Bytes;

use super::history::Event;
use super::kv::{Entry, Page, RangeQuery, Space, check_namespace};
use super::limits::{Limits, NAME_BYTES};
use super::refusal::{check_room, check_text};
use super::store::Store;
use super::{Index, Refusal, Text};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    pub namespace: Text,
    /// A repetition with the same id is answered with the first outcome and changes nothing.
    pub request: Option<Text>,
    /// All must hold for `then`.
    pub compare: Vec<Compare>,
    pub then: Vec<Operation>,
    pub otherwise: Vec<Operation>,
}

/// A condition on one key. A key that does not exist has version and revisions 0 and differs from every value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    pub key: Text,
    /// How the key's property stands to the target's.
    pub relation: Relation,
    pub target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    Greater,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Exists(bool),
    /// Compared byte by byte.
    Value(Bytes),
    Version(u64),
    CreateRevision(Index),
    ModRevision(Index),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Put { key: Text, value: Bytes, lease: Option<Text> },
    Delete { key: Text },
    Get { key: Text },
    Range(RangeQuery),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Where the writes took effect; for a repetition, where they first did.
    pub revision: Index,
    /// Whether `then` was done.
    pub succeeded: bool,
    /// Nothing was done this time, and `results` is empty.
    pub replayed: bool,
    /// One for each operation of the branch.
    pub results: Vec<OperationOutcome>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationOutcome {
    Put,
    Delete { existed: bool },
    Get(Option<Arc<Entry>>),
    Range(Page),
}

impl Txn {
    /// Whether neither branch writes: such a transaction needs no entry in the log.
    pub fn is_read_only(&self) -> bool {
        self.then.iter().chain(&self.otherwise).all(|operation| operation.written().is_none())
    }

    /// The rules that hold whatever the store contains.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        check_namespace("namespace", &self.namespace)?;
        if let Some(request) = &self.request {
            check_text("request", request, NAME_BYTES)?;
        }
        let mut bytes = 0;
        check_count("compare", self.compare.len(), limits)?;
        for (at, compare) in self.compare.iter().enumerate() {
            compare.check(at, limits)?;
            bytes += compare.bytes();
        }
        for (name, branch) in [("then", &self.then), ("else", &self.otherwise)] {
            check_count(name, branch.len(), limits)?;
            let mut written = BTreeSet::new();
            for (at, operation) in branch.iter().enumerate() {
                operation.check(format_args!("{name}[{at}]."), limits)?;
                bytes += operation.bytes();
                // Two changes of a key at one revision would leave its version and its event ambiguous.
                if operation.written().is_some_and(|key| !written.insert(key)) {
                    return Err(Refusal::invalid(
                        format!("{name}[{at}].{}", operation.key_field()),
                        "is written twice in this branch",
                    ));
                }
            }
        }
        if bytes > limits.txn_bytes {
            let rule =
                format!("has {bytes} bytes of keys and values, at most {} are allowed", limits.txn_bytes);
            return Err(Refusal::invalid("txn", rule));
        }
        Ok(())
    }
}

fn check_count(name: &str, count: usize, limits: &Limits) -> Result<(), Refusal> {
    if count as u64 > limits.txn_operations {
        let rule = format!("has {count} items, at most {} are allowed", limits.txn_operations);
        return Err(Refusal::invalid(name, rule));
    }
    Ok(())
}

impl Compare {
    fn bytes(&self) -> u64 {
        let value = if let Target::Value(value) = &self.target { value.len() } else { 0 };
        (self.key.len() + value) as u64
    }

    fn check(&self, at: usize, limits: &Limits) -> Result<(), Refusal> {
        check_text(format_args!("compare[{at}].key"), &self.key, limits.key_bytes)?;
        let ordered = matches!(self.relation, Relation::Less | Relation::Greater);
        if matches!(self.target, Target::Exists(_)) && ordered {
            return Err(Refusal::invalid(
                format!("compare[{at}].is"),
                "must be EQUAL or NOT_EQUAL where `exists` is compared",
            ));
        }
        Ok(())
    }

    fn holds(&self, entry: Option<&Entry>) -> bool {
        let number = |property: fn(&Entry) -> u64, target: &u64| entry.map_or(0, property).cmp(target);
        let order = match &self.target {
            Target::Exists(exists) => entry.is_some().cmp(exists),
            Target::Version(version) => number(|entry| entry.version, version),
            Target::CreateRevision(revision) => number(|entry| entry.create_revision, revision),
            Target::ModRevision(revision) => number(|entry| entry.mod_revision, revision),
            Target::Value(value) => match entry {
                Some(entry) => entry.value.cmp(value),
                None => return self.relation == Relation::NotEqual,
            },
        };
        match self.relation {
            Relation::Equal => order == Ordering::Equal,
            Relation::NotEqual => order != Ordering::Equal,
            Relation::Less => order == Ordering::Less,
            Relation::Greater => order == Ordering::Greater,
        }
    }
}

impl Operation {
    /// The key it changes, if it changes one.
    fn written(&self) -> Option<&Text> {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => Some(key),
            Self::Get { .. } | Self::Range(_) => None,
        }
    }

    fn key_field(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put.key",
            Self::Delete { .. } => "delete.key",
            Self::Get { .. } => "get.key",
            Self::Range(_) => "range.prefix",
        }
    }

    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } | Self::Get { key } => key.len(),
            Self::Range(query) => query.prefix.len(),
        };
        bytes as u64
    }

    /// `path` goes before the names of the fields in a refusal, and is only written out for one.
    fn check(&self, path: Arguments<'_>, limits: &Limits) -> Result<(), Refusal> {
        let check_key = |key| check_text(format_args!("{path}{}", self.key_field()), key, limits.key_bytes);
        match self {
            Self::Put { key, value, lease } => {
                check_key(key)?;
                if value.len() as u64 > limits.value_bytes {
                    let rule =
                        format!("has {} bytes, at most {} are allowed", value.len(), limits.value_bytes);
                    return Err(Refusal::invalid(format!("{path}put.value"), rule));
                }
                match lease {
                    Some(lease) => check_text(format_args!("{path}put.lease"), lease, NAME_BYTES),
                    None => Ok(()),
                }
            }
            Self::Delete { key } | Self::Get { key } => check_key(key),
            Self::Range(query) => query.check(format_args!("{path}range."), limits),
        }
    }
}

/// A branch being done on a copy of its namespace.
struct Run<'a> {
    space: Space,
    index: Index,
    limits: &'a Limits,
    events: Vec<Event>,
    /// What reads may still return.
    budget: u64,
}

impl Run<'_> {
    fn step(&mut self, path: Arguments<'_>, operation: &Operation) -> Result<OperationOutcome, Refusal> {
        match operation {
            Operation::Put { key, value, lease } => {
                if let Some(lease) = lease {
                    self.check_attach(path, key, lease)?;
                }
                let entry = self.space.put(self.index, key.clone(), value.clone(), lease.clone());
                self.events.push(Event::Put(entry));
                Ok(OperationOutcome::Put)
            }
            Operation::Delete { key } => {
                let existed = self.space.delete(key);
                if existed {
                    let namespace = self.space.name().clone();
                    self.events.push(Event::Delete { namespace, key: key.clone() });
                }
                Ok(OperationOutcome::Delete { existed })
            }
            Operation::Get { key } => {
                self.check_budget(path)?;
                let entry = self.space.entry(key).cloned();
                let bytes = entry.as_ref().map_or(0, |entry| entry.bytes());
                self.budget = self.budget.saturating_sub(bytes);
                Ok(OperationOutcome::Get(entry))
            }
            Operation::Range(query) => {
                self.check_budget(path)?;
                Ok(OperationOutcome::Range(self.space.range(query, &mut self.budget)))
            }
        }
    }

    fn check_budget(&self, path: Arguments<'_>) -> Result<(), Refusal> {
        if self.budget == 0 {
            let limit = self.limits.answer_bytes;
            return Err(Refusal::AnswerTooLarge { field: path.to_string(), limit });
        }
        Ok(())
    }

    fn check_attach(&self, path: Arguments<'_>, key: &str, lease: &Text) -> Result<(), Refusal> {
        if self.space.lease(lease).is_none() {
            return Err(Refusal::NoSuchLease {
                field: format!("{path}.put.lease"),
                namespace: self.space.name().clone(),
                lease: lease.clone(),
            });
        }
        let already = self.space.entry(key).is_some_and(|entry| entry.lease.as_ref() == Some(lease));
        if already {
            return Ok(());
        }
        check_room("keys under a lease", self.space.attached_count(lease), self.limits.lease_keys)
    }
}

/// What a transaction makes of its namespace.
pub(crate) struct Change {
    space: Space,
    events: Vec<Event>,
}

impl Store {
    /// Does a transaction, or refuses it and changes nothing.
    pub(crate) fn transact(
        &mut self,
        index: Index,
        txn: &Txn,
        limits: &Limits,
    ) -> Result<TxnOutcome, Refusal> {
        let (outcome, change) = self.attempt(index, txn, limits)?;
        if let Some(Change { space, events }) = change {
            self.replace_space(space);
            self.record_events(index, events, limits);
        }
        if !outcome.replayed {
            self.remember(index, txn, outcome.succeeded, limits);
        }
        Ok(outcome)
    }

    /// What a transaction answers, and what it changes: nothing of it is done yet. It works on a copy of its namespace
    /// alone, since a leader asks before each proposal, and neither history nor requests can refuse.
    pub(crate) fn attempt(
        &self,
        index: Index,
        txn: &Txn,
        limits: &Limits,
    ) -> Result<(TxnOutcome, Option<Change>), Refusal> {
        txn.check(limits)?;
        if let Some(outcome) = self.replay(txn)? {
            return Ok((outcome, None));
        }
        let space = self.space(&txn.namespace).cloned().unwrap_or_else(|| Space::new(txn.namespace.clone()));
        let bytes_before = space.bytes();
        let succeeded =
            txn.compare.iter().all(|compare| compare.holds(space.entry(&compare.key).map(|entry| &**entry)));
        #[cfg(feature = "mutants")]
        let succeeded = succeeded || mutant::planted("compares-are-ignored");
        let (name, branch) = if succeeded { ("then", &txn.then) } else { ("else", &txn.otherwise) };
        let mut run = Run { space, index, limits, events: Vec::new(), budget: limits.answer_bytes };
        let mut results = Vec::with_capacity(branch.len());
        for (at, operation) in branch.iter().enumerate() {
            results.push(run.step(format_args!("{name}[{at}]"), operation)?);
        }
        let Run { space, events, .. } = run;
        if space.bytes() > bytes_before && space.bytes() > limits.namespace_bytes {
            let limit = limits.namespace_bytes;
            return Err(Refusal::Quota { namespace: txn.namespace.clone(), limit });
        }
        let outcome = TxnOutcome { revision: index, succeeded, replayed: false, results };
        if events.is_empty() {
            return Ok((outcome, None));
        }
        self.check_space(&txn.namespace, limits)?;
        Ok((outcome, Some(Change { space, events })))
    }
}
