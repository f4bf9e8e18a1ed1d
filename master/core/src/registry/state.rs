//! Between the shapes of the key-value API and the registry.

use wire::state as api;

use super::kv::check_namespace;
use super::{
    Batch, Command, Compacted, Compare, Entry, Event, Index, LeaseCommand, Operation, OperationOutcome,
    Outcome, Page, RangeQuery, Refusal, Registry, Relation, Target, Text, Txn, TxnOutcome, Watcher,
};

/// A call of the key-value API, sorted by what it takes to answer it.
#[derive(Debug, Clone, PartialEq)]
pub enum StateCall {
    /// Answered from a view that is proved current.
    Read(Read),
    /// Answered when its command was applied.
    Write(Write),
    /// Answered by a stream.
    Watch(WatchFrom),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    Get {
        namespace: Text,
        key: Text,
    },
    Range {
        namespace: Text,
        query: RangeQuery,
    },
    /// One without writes in either branch.
    Txn(Txn),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Txn(Txn),
    Grant(LeaseCommand),
    Keepalive(LeaseCommand),
    Revoke(LeaseCommand),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchFrom {
    namespace: Text,
    prefix: Text,
    /// `None`: from the present on.
    from: Option<Index>,
}

impl StateCall {
    /// Sorts a call.
    ///
    /// # Errors
    /// A compare with no target or several; everything else is checked where the command is.
    pub fn from_wire(call: api::Call) -> Result<Self, Refusal> {
        let lease = |call: api::LeaseName| (Text::from(call.namespace), Text::from(call.lease));
        Ok(match call {
            api::Call::Get(get) => {
                Self::Read(Read::Get { namespace: get.namespace.into(), key: get.key.into() })
            }
            api::Call::Range(range) => Self::Read(Read::Range {
                namespace: range.namespace.into(),
                query: query(range.prefix, range.after, range.limit),
            }),
            api::Call::Txn(txn) => {
                let txn = txn_from_wire(txn)?;
                if txn.is_read_only() { Self::Read(Read::Txn(txn)) } else { Self::Write(Write::Txn(txn)) }
            }
            api::Call::Watch(watch) => {
                check_namespace("namespace", &watch.namespace)?;
                Self::Watch(WatchFrom {
                    namespace: watch.namespace.into(),
                    prefix: watch.prefix.into(),
                    from: watch.from,
                })
            }
            api::Call::LeaseGrant(grant) => Self::Write(Write::Grant(LeaseCommand::Grant {
                namespace: grant.namespace.into(),
                lease: grant.lease.into(),
                ttl: model::time::Span::from_millis(grant.ttl_millis),
            })),
            api::Call::LeaseKeepalive(call) => {
                let (namespace, lease) = lease(call);
                Self::Write(Write::Keepalive(LeaseCommand::Renew { namespace, lease }))
            }
            api::Call::LeaseRevoke(call) => {
                let (namespace, lease) = lease(call);
                Self::Write(Write::Revoke(LeaseCommand::Revoke { namespace, lease }))
            }
        })
    }
}

impl Read {
    /// Answers from a view.
    ///
    /// # Errors
    /// What the registry refuses to read.
    pub fn answer(&self, view: &Registry) -> Result<api::Answer, Refusal> {
        let revision = view.index();
        Ok(match self {
            Self::Get { namespace, key } => {
                check_namespace("namespace", namespace)?;
                let entry = view.get(namespace, key).map(|entry| entry_to_wire(entry));
                api::Answer::Get(api::GetAnswer { revision, entry })
            }
            Self::Range { namespace, query } => {
                let (entries, next) = page_to_wire(view.range(namespace, query)?);
                api::Answer::Range(api::RangeAnswer { revision, entries, next })
            }
            Self::Txn(txn) => api::Answer::Txn(txn_to_wire(view.evaluate(txn)?)),
        })
    }
}

impl Write {
    /// What to propose.
    pub fn command(&self) -> Command {
        match self {
            Self::Txn(txn) => Command::Txn(txn.clone()),
            Self::Grant(command) | Self::Keepalive(command) | Self::Revoke(command) => {
                Command::Lease(command.clone())
            }
        }
    }

    /// Answers with what the command did at `revision`.
    ///
    /// # Errors
    /// Its refusal.
    pub fn answer(&self, revision: Index, outcome: Outcome) -> Result<api::Answer, Refusal> {
        let lease = match outcome {
            Outcome::Refused(refusal) => return Err(refusal),
            Outcome::Txn(outcome) => return Ok(api::Answer::Txn(txn_to_wire(outcome))),
            // Only a revocation has one of these two outcomes.
            Outcome::Changed | Outcome::Unchanged => {
                let existed = outcome == Outcome::Changed;
                return Ok(api::Answer::LeaseRevoke(api::RevokeAnswer { revision, existed }));
            }
            Outcome::Lease(lease) => lease,
        };
        let answer = api::LeaseAnswer {
            revision,
            lease: String::from(&*lease.id),
            ttl_millis: lease.ttl.as_millis(),
            token: lease.granted,
            renewals: lease.renewals,
        };
        Ok(match self {
            Self::Keepalive(_) => api::Answer::LeaseKeepalive(answer),
            _ => api::Answer::LeaseGrant(answer),
        })
    }
}

impl WatchFrom {
    /// The watcher, and the record that opens its stream.
    pub fn start(self, view: &Registry) -> (Watcher, api::WatchRecord) {
        let from = self.from.unwrap_or(view.index().saturating_add(1));
        let watcher = Watcher::new(self.namespace, self.prefix, from);
        let started = api::WatchRecord::Started { revision: watcher.next() };
        (watcher, started)
    }
}

impl From<Batch> for api::WatchRecord {
    fn from(batch: Batch) -> Self {
        if batch.events.is_empty() {
            return Self::Progress { revision: batch.through };
        }
        let events = batch.events.into_iter().map(|(revision, event)| match event {
            Event::Put(entry) => api::Event::Put { entry: entry_to_wire(&entry) },
            Event::Delete { key, .. } => api::Event::Delete { key: String::from(&*key), revision },
        });
        Self::Events { revision: batch.through, events: events.collect() }
    }
}

impl From<Compacted> for api::WatchRecord {
    fn from(compacted: Compacted) -> Self {
        Self::Compacted { revision: compacted.revision }
    }
}

impl From<&Refusal> for api::Failure {
    fn from(refusal: &Refusal) -> Self {
        Self { error: refusal.to_string(), field: refusal.field().map(str::to_owned) }
    }
}

fn query(prefix: String, after: Option<String>, limit: Option<u32>) -> RangeQuery {
    RangeQuery {
        prefix: prefix.into(),
        after: after.map(Text::from),
        limit: limit.unwrap_or(api::RANGE_LIMIT),
    }
}

fn txn_from_wire(txn: api::Txn) -> Result<Txn, Refusal> {
    let compare = txn.compare.into_iter().enumerate();
    Ok(Txn {
        namespace: txn.namespace.into(),
        request: txn.request.map(Text::from),
        compare: compare.map(|(at, compare)| compare_from_wire(at, compare)).collect::<Result<_, _>>()?,
        then: txn.then.into_iter().map(operation_from_wire).collect(),
        otherwise: txn.otherwise.into_iter().map(operation_from_wire).collect(),
    })
}

fn compare_from_wire(at: usize, compare: api::Compare) -> Result<Compare, Refusal> {
    let mut targets = [
        compare.exists.map(Target::Exists),
        compare.value.map(|value| Target::Value(value.0)),
        compare.version.map(Target::Version),
        compare.create_revision.map(Target::CreateRevision),
        compare.mod_revision.map(Target::ModRevision),
    ]
    .into_iter()
    .flatten();
    let (Some(target), None) = (targets.next(), targets.next()) else {
        return Err(Refusal::invalid(
            format!("compare[{at}]"),
            "must have exactly one of exists, value, version, createRevision, modRevision",
        ));
    };
    let relation = match compare.is {
        api::Relation::Equal => Relation::Equal,
        api::Relation::NotEqual => Relation::NotEqual,
        api::Relation::Less => Relation::Less,
        api::Relation::Greater => Relation::Greater,
    };
    Ok(Compare { key: compare.key.into(), relation, target })
}

fn operation_from_wire(operation: api::Operation) -> Operation {
    match operation {
        api::Operation::Put(put) => {
            Operation::Put { key: put.key.into(), value: put.value.0, lease: put.lease.map(Text::from) }
        }
        api::Operation::Delete(key) => Operation::Delete { key: key.key.into() },
        api::Operation::Get(key) => Operation::Get { key: key.key.into() },
        api::Operation::Range(page) => Operation::Range(query(page.prefix, page.after, page.limit)),
    }
}

fn txn_to_wire(outcome: TxnOutcome) -> api::TxnAnswer {
    let results = outcome.results.into_iter().map(|result| match result {
        OperationOutcome::Put => api::OperationAnswer::Put {},
        OperationOutcome::Delete { existed } => api::OperationAnswer::Delete { existed },
        OperationOutcome::Get(entry) => {
            api::OperationAnswer::Get { entry: entry.map(|entry| entry_to_wire(&entry)) }
        }
        OperationOutcome::Range(page) => {
            let (entries, next) = page_to_wire(page);
            api::OperationAnswer::Range { entries, next }
        }
    });
    api::TxnAnswer {
        revision: outcome.revision,
        succeeded: outcome.succeeded,
        replayed: outcome.replayed,
        results: results.collect(),
    }
}

fn page_to_wire(page: Page) -> (Vec<api::Entry>, Option<String>) {
    let entries = page.entries.iter().map(|entry| entry_to_wire(entry)).collect();
    (entries, page.next.map(|next| next.to_string()))
}

fn entry_to_wire(entry: &Entry) -> api::Entry {
    api::Entry {
        key: String::from(&*entry.key),
        value: api::Base64(entry.value.clone()),
        version: entry.version,
        create_revision: entry.create_revision,
        mod_revision: entry.mod_revision,
        lease: entry.lease.as_deref().map(str::to_owned),
    }
}
