//! Leases: keys that last while their owner keeps saying so.
//!
//! No clock is replicated. The leader watches the time ([`super::Expiry`]) and proposes that a lease has ended,
//! naming the renewals it had seen; when a renewal was committed before that, the proposal is void. So a lease
//! ends in the order of the log and a holder whose keepalive was acknowledged after its time still has it.

use std::sync::Arc;

use model::time::Span;
use wire::registry::{self as wire_registry, Record, record};

use super::history::Event;
use super::kv::{Space, check_namespace};
use super::limits::{Limits, NAME_BYTES};
use super::refusal::{check_room, check_text};
use super::store::Store;
use super::table::Fact;
use super::{Index, Outcome, Refusal, Text};

/// Shorter than this, a keepalive costs more of the log than the lease is worth.
const TTL_MIN: Span = Span::from_millis(500);
const TTL_MAX: Span = Span::from_hours(24);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub namespace: Text,
    /// Chosen at random by its owner.
    pub id: Text,
    /// How long it lasts without a renewal.
    pub ttl: Span,
    /// The index of its grant: higher for every later holder, so it serves as fencing token.
    pub granted: Index,
    pub renewals: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseCommand {
    Grant {
        namespace: Text,
        lease: Text,
        ttl: Span,
    },
    Renew {
        namespace: Text,
        lease: Text,
    },
    Revoke {
        namespace: Text,
        lease: Text,
    },
    /// The leader's timer ran out on the lease granted at `granted` after it had been renewed so many times.
    Expire {
        namespace: Text,
        lease: Text,
        granted: Index,
        renewals_seen: u64,
    },
}

impl LeaseCommand {
    fn names(&self) -> (&Text, &Text) {
        match self {
            Self::Grant { namespace, lease, .. }
            | Self::Renew { namespace, lease }
            | Self::Revoke { namespace, lease }
            | Self::Expire { namespace, lease, .. } => (namespace, lease),
        }
    }
}

impl Store {
    pub(crate) fn check_lease(&self, command: &LeaseCommand, limits: &Limits) -> Result<(), Refusal> {
        let (namespace, lease) = command.names();
        check_namespace("namespace", namespace)?;
        check_text("lease", lease, NAME_BYTES)?;
        let known = self.space(namespace).and_then(|space| space.lease(lease));
        match command {
            LeaseCommand::Grant { ttl, .. } => {
                if !(TTL_MIN..=TTL_MAX).contains(ttl) {
                    let rule = format!("must be from {} to {}", TTL_MIN.as_millis(), TTL_MAX.as_millis());
                    return Err(Refusal::invalid("ttlMillis", rule));
                }
                match known {
                    Some(known) if known.ttl != *ttl => Err(Refusal::LeaseTaken(lease.clone())),
                    Some(_) => Ok(()),
                    None => {
                        self.check_space(namespace, limits)?;
                        let present = self.space(namespace).map_or(0, Space::lease_count);
                        check_room("leases in a namespace", present, limits.leases)
                    }
                }
            }
            LeaseCommand::Renew { .. } if known.is_none() => Err(Refusal::NoSuchLease {
                field: "lease".to_owned(),
                namespace: namespace.clone(),
                lease: lease.clone(),
            }),
            // Ending what has ended is a repetition.
            LeaseCommand::Renew { .. } | LeaseCommand::Revoke { .. } | LeaseCommand::Expire { .. } => Ok(()),
        }
    }

    pub(crate) fn apply_lease(&mut self, index: Index, command: LeaseCommand, limits: &Limits) -> Outcome {
        let (namespace, lease) = command.names();
        let known = self.space(namespace).and_then(|space| space.lease(lease)).cloned();
        match (command, known) {
            (LeaseCommand::Grant { .. }, Some(known)) => Outcome::Lease(known),
            (LeaseCommand::Grant { namespace, lease, ttl }, None) => {
                let fresh = Lease { namespace, id: lease, ttl, granted: index, renewals: 0 };
                Outcome::Lease(self.set_lease(fresh))
            }
            (LeaseCommand::Renew { .. }, Some(known)) => {
                let renewed = Lease { renewals: known.renewals + 1, ..(*known).clone() };
                Outcome::Lease(self.set_lease(renewed))
            }
            (LeaseCommand::Expire { granted, renewals_seen, .. }, Some(known))
                if (known.granted, known.renewals) != (granted, renewals_seen) =>
            {
                Outcome::Unchanged
            }
            (LeaseCommand::Revoke { .. } | LeaseCommand::Expire { .. }, Some(known)) => {
                self.end_lease(index, &known, limits);
                Outcome::Changed
            }
            (_, None) => Outcome::Unchanged,
        }
    }

    fn set_lease(&mut self, lease: Lease) -> Arc<Lease> {
        let lease = Arc::new(lease);
        self.space_mut(&lease.namespace).set_lease(Arc::clone(&lease));
        lease
    }

    fn end_lease(&mut self, index: Index, lease: &Lease, limits: &Limits) {
        let space = self.space_mut(&lease.namespace);
        let keys = space.end_lease(&lease.id);
        let namespace = space.name().clone();
        self.drop_if_empty(&namespace);
        let events =
            keys.into_iter().map(|key| Event::Delete { namespace: namespace.clone(), key }).collect();
        self.record_events(index, events, limits);
    }
}

pub(crate) fn lease_from_wire(lease: wire_registry::Lease) -> Lease {
    Lease {
        namespace: lease.namespace.into(),
        id: lease.id.into(),
        ttl: Span::from_millis(lease.ttl_ms),
        granted: lease.granted,
        renewals: lease.renewals,
    }
}

impl Fact for Lease {
    fn record(&self) -> Record {
        let lease = wire_registry::Lease {
            namespace: String::from(&*self.namespace),
            id: String::from(&*self.id),
            ttl_ms: self.ttl.as_millis(),
            granted: self.granted,
            renewals: self.renewals,
        };
        Record { record: Some(record::Record::Lease(lease)) }
    }
}
