//! The registry: what the masters must agree on, and nothing else.
//!
//! A fact is here when losing it, or two masters differing about it, would do harm: who the members are, which
//! frameworks and agents exist and which never may again, weights, quotas, and the key-value space frameworks keep their
//! state in. Offers, tasks and usage are not: agents report them again.
//!
//! The registry is a passive machine. [`Registry::check`] says whether a command would be refused, and
//! [`Registry::apply`] does it; both look at nothing but the registry and the command, so that every master that
//! has applied the same log is in the same state. Cloning costs a few counters, because every table is a
//! persistent map of shared records: a view taken at each commit is cheap and stays as it was.

mod agent;
mod codec;
mod digest;
mod expiry;
mod framework;
mod history;
mod kv;
mod lease;
mod level;
mod limits;
mod maintenance;
mod member;
mod quota;
mod refusal;
mod request;
mod snapshot;
mod state;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod txn;
mod watch;
mod weight;

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};

pub use agent::{Agent, AgentCommand, Away, Drain, Holder, Presence};
pub use codec::Malformed;
pub use expiry::Expiry;
pub use framework::{Framework, FrameworkCommand, Tombstone};
pub use history::Event;
pub use kv::{Entry, Page, RangeQuery};
pub use lease::{Lease, LeaseCommand};
pub use level::{LEVEL, LevelCommand};
pub use limits::{Limits, LimitsCommand};
pub use maintenance::{Machine, MaintenanceCommand, Scheduled, Unavailability, Window};
pub use member::{Member, MemberCommand};
pub use quota::{Quota, QuotaCommand};
pub use refusal::Refusal;
pub use snapshot::{CHUNK_MAX, CHUNK_TARGET, Corrupt, Export, Import};
pub use state::{Read, StateCall, WatchFrom, Write};
pub use txn::{Compare, Operation, OperationOutcome, Relation, Target, Txn, TxnOutcome};
pub use watch::{Batch, Compacted, Watcher};
pub use weight::{WEIGHT_ONE, Weight, WeightCommand};

use agent::Agents;
use framework::Frameworks;
use level::Level;
use maintenance::Maintenance;
use member::Members;
use quota::Quotas;
use store::Store;
use weight::Weights;

/// The index of a command in the replicated log. Also the revision of what the command changed.
pub type Index = u64;

/// A name or key: shared, so that records, indexes and events can hold the same one.
pub type Text = Arc<str>;

/// Everything that can be asked of the registry, by family.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Framework(FrameworkCommand),
    Agent(AgentCommand),
    Weight(WeightCommand),
    Quota(QuotaCommand),
    Maintenance(MaintenanceCommand),
    Txn(Txn),
    Lease(LeaseCommand),
    Member(MemberCommand),
    Limits(LimitsCommand),
    Level(LevelCommand),
}

/// What a command did.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Changed,
    /// The registry already was as the command wants it: a repetition, or a race that another command won.
    Unchanged,
    Txn(TxnOutcome),
    /// The lease after a grant or a renewal.
    Lease(Arc<Lease>),
    /// Nothing was done.
    Refused(Refusal),
}

/// The replicated facts after some prefix of the log.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    index: Index,
    level: Level,
    limits: Limits,
    members: Members,
    frameworks: Frameworks,
    agents: Agents,
    weights: Weights,
    quotas: Quotas,
    maintenance: Maintenance,
    store: Store,
}

impl Registry {
    /// Whether `apply` would refuse this command now. The leader asks before proposing; earlier entries of the
    /// log may still change the answer.
    ///
    /// # Errors
    /// The refusal `apply` would answer.
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Framework(command) => self.frameworks.check(command, &self.limits),
            Command::Agent(command) => self.agents.check(command, &self.limits),
            Command::Weight(command) => self.weights.check(command, &self.limits),
            Command::Quota(command) => self.quotas.check(command, &self.limits),
            Command::Maintenance(command) => self.maintenance.check(command, &self.limits),
            Command::Txn(txn) => self.evaluate(txn).map(drop),
            Command::Lease(command) => self.store.check_lease(command, &self.limits),
            Command::Member(command) => self.members.check(command, &self.limits),
            Command::Limits(command) => command.check(),
            Command::Level(_) => Ok(()),
        }
    }

    /// Does a committed command. Indexes are given in order; a refused command leaves everything but the index.
    pub fn apply(&mut self, index: Index, command: Command) -> Outcome {
        self.index = index;
        #[cfg(feature = "mutants")]
        if let (true, Command::Txn(txn)) = (mutant::planted("commands-are-applied-twice"), &command) {
            let _ = self.store.transact(index, &Txn { request: None, ..txn.clone() }, &self.limits);
        }
        if let Command::Txn(txn) = command {
            // A transaction is checked by doing it on a clone, so it is not checked twice.
            return match self.store.transact(index, &txn, &self.limits) {
                Ok(outcome) => Outcome::Txn(outcome),
                Err(refusal) => Outcome::Refused(refusal),
            };
        }
        if let Err(refusal) = self.check(&command) {
            return Outcome::Refused(refusal);
        }
        match command {
            Command::Framework(command) => self.frameworks.apply(index, command, &self.limits),
            Command::Agent(command) => self.agents.apply(command),
            Command::Weight(command) => self.weights.apply(command),
            Command::Quota(command) => self.quotas.apply(command),
            Command::Maintenance(command) => self.maintenance.apply(command),
            Command::Lease(command) => self.store.apply_lease(index, command, &self.limits),
            Command::Member(command) => self.members.apply(command),
            Command::Limits(command) => limits::apply(&mut self.limits, command),
            Command::Level(command) => self.level.apply(command),
            Command::Txn(_) => unreachable!("transactions returned above"),
        }
    }

    /// The index of the last command applied; the revision at which a read of this view is true.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Equal on every master at an equal index, however it came there. Costs a few additions: each table keeps
    /// the sum of its records' fingerprints.
    pub fn digest(&self) -> u64 {
        [
            self.level.digest(),
            digest::of(&self.limits),
            self.members.digest(),
            self.frameworks.digest(),
            self.agents.digest(),
            self.weights.digest(),
            self.quotas.digest(),
            self.maintenance.digest(),
            self.store.digest(),
        ]
        .into_iter()
        .fold(0, u64::wrapping_add)
    }

    /// What the log may hold by now: every master of the group reads it.
    pub fn level(&self) -> u32 {
        self.level.0
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The name of the cluster, once it is formed.
    pub fn cluster(&self) -> Option<&str> {
        self.members.cluster()
    }

    /// The members in order of their node ids.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter()
    }

    pub fn member(&self, node: u64) -> Option<&Arc<Member>> {
        self.members.get(node)
    }

    pub fn framework(&self, id: &FrameworkId) -> Option<&Arc<Framework>> {
        self.frameworks.get(id)
    }

    /// How many more frameworks may be admitted.
    pub fn framework_room(&self) -> u64 {
        self.limits.frameworks.saturating_sub(self.frameworks.len())
    }

    pub fn frameworks(&self) -> impl Iterator<Item = &Arc<Framework>> {
        self.frameworks.iter()
    }

    /// The mark left by a removed framework, while it is remembered.
    pub fn tombstone(&self, id: &FrameworkId) -> Option<&Arc<Tombstone>> {
        self.frameworks.tombstone(id)
    }

    pub fn tombstones(&self) -> impl Iterator<Item = &Arc<Tombstone>> {
        self.frameworks.tombstones()
    }

    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }

    pub fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents.iter()
    }

    /// The weight of a role in thousandths; [`WEIGHT_ONE`] unless it was set.
    pub fn weight(&self, role: &str) -> u64 {
        self.weights.get(role)
    }

    /// The weights that were set.
    pub fn weights(&self) -> impl Iterator<Item = &Arc<Weight>> {
        self.weights.iter()
    }

    /// The quota of a role, if it has one.
    pub fn quota(&self, role: &str) -> Option<&Arc<Quota>> {
        self.quotas.get(role)
    }

    /// All quotas, in order of their roles.
    pub fn quotas(&self) -> impl Iterator<Item = &Arc<Quota>> {
        self.quotas.iter()
    }

    /// The maintenance schedule, in the operator's order.
    pub fn maintenance_windows(&self) -> Vec<Window> {
        self.maintenance.windows()
    }

    /// The machines of the maintenance schedule.
    pub fn scheduled_machines(&self) -> impl Iterator<Item = &Arc<Scheduled>> {
        self.maintenance.iter()
    }

    /// What is planned for the machine of this name and address.
    pub fn scheduled(&self, hostname: &str, ip: &str) -> Option<&Arc<Scheduled>> {
        self.maintenance.of(hostname, ip)
    }

    /// One key as it stands.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&Arc<Entry>> {
        self.store.space(namespace)?.entry(key)
    }

    /// A page of the keys under a prefix.
    ///
    /// # Errors
    /// A limit out of bounds or a name too long.
    pub fn range(&self, namespace: &str, query: &RangeQuery) -> Result<Page, Refusal> {
        kv::check_namespace("namespace", namespace)?;
        query.check(format_args!(""), &self.limits)?;
        let Some(space) = self.store.space(namespace) else { return Ok(Page::default()) };
        let mut budget = self.limits.answer_bytes;
        Ok(space.range(query, &mut budget))
    }

    /// What a transaction would answer now: the dry run behind `check`, and all a transaction without writes needs.
    ///
    /// # Errors
    /// The refusal `apply` would answer.
    pub fn evaluate(&self, txn: &Txn) -> Result<TxnOutcome, Refusal> {
        self.store.attempt(self.index, txn, &self.limits).map(|(outcome, _)| outcome)
    }

    pub fn lease(&self, namespace: &str, lease: &str) -> Option<&Arc<Lease>> {
        self.store.space(namespace)?.lease(lease)
    }

    /// Every lease of every namespace.
    pub fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> {
        self.store.leases()
    }

    /// The namespaces in which something changed after a revision; `None` when some of those changes are no longer
    /// kept.
    pub fn touched(&self, after: Index) -> Option<BTreeSet<&Text>> {
        let history = self.store.history();
        if after < history.compacted() {
            return None;
        }
        let events = history.since(after.saturating_add(1)).flat_map(|revision| &revision.events);
        Some(events.map(Event::namespace).collect())
    }

    /// The newest revision whose events are no longer kept; 0 while none were dropped.
    pub fn compacted(&self) -> Index {
        self.store.history().compacted()
    }
}
