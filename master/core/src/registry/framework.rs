//! Frameworks: who may hold resources, and who never again.
//!
//! The original keeps these in the leader's memory, so that after a double failure a removed framework could
//! return under its old id and find its tasks killed or another's. Here the id, its owner and its removal are
//! facts.

use std::sync::Arc;

use imbl::OrdMap;
use model::id::FrameworkId;
use model::time::{Span, Time};
use wire::registry::{self as wire_registry, Record, record};
use wire::v1::FrameworkInfo;

use super::limits::{ID_BYTES, LABEL_BYTES, Limits};
use super::refusal::{check_info, check_room, check_text};
use super::table::{Fact, Table};
use super::{Index, Outcome, Refusal, Text};

/// A framework that was admitted and not removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Framework {
    pub id: FrameworkId,
    /// As it last subscribed; relayed, not interpreted here.
    pub info: Arc<FrameworkInfo>,
    /// Who owns the id. Another principal cannot take it over.
    pub principal: Option<Text>,
    /// How long it may be away before it is removed with all its tasks.
    pub failover_timeout: Span,
    /// When it was first admitted.
    pub admitted_at: Time,
}

/// What remains of a removed framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    pub id: FrameworkId,
    pub removed_at: Time,
    /// The index of its removal: the order in which tombstones are forgotten.
    pub index: Index,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FrameworkCommand {
    /// A framework subscribed for the first time, or again with other information.
    Admit(Framework),
    /// Torn down, or away for longer than its failover timeout. An unknown id gets a tombstone too, so that a
    /// teardown that overtakes an admission still holds.
    Remove { id: FrameworkId, at: Time },
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Frameworks {
    table: Table<FrameworkId, Framework>,
    tombstones: Table<FrameworkId, Tombstone>,
    /// The tombstones by age.
    buried: OrdMap<Index, FrameworkId>,
}

impl Frameworks {
    pub(crate) fn check(&self, command: &FrameworkCommand, limits: &Limits) -> Result<(), Refusal> {
        match command {
            FrameworkCommand::Admit(framework) => {
                check_text("id", framework.id.as_str(), ID_BYTES)?;
                check_info(&*framework.info)?;
                if let Some(principal) = &framework.principal {
                    check_text("principal", principal, LABEL_BYTES)?;
                }
                if self.tombstones.contains(&framework.id) {
                    return Err(Refusal::FrameworkRemoved(framework.id.clone()));
                }
                match self.table.get(&framework.id) {
                    None => check_room("frameworks", self.table.len(), limits.frameworks),
                    Some(known) => match &known.principal {
                        Some(owner) if known.principal != framework.principal => {
                            Err(Refusal::NotOwner { id: framework.id.clone(), owner: owner.clone() })
                        }
                        _ => Ok(()),
                    },
                }
            }
            FrameworkCommand::Remove { id, .. } => check_text("id", id.as_str(), ID_BYTES),
        }
    }

    pub(crate) fn apply(&mut self, index: Index, command: FrameworkCommand, limits: &Limits) -> Outcome {
        match command {
            FrameworkCommand::Admit(framework) => self.admit(framework),
            FrameworkCommand::Remove { id, at } => self.remove(index, id, at, limits),
        }
    }

    fn admit(&mut self, mut framework: Framework) -> Outcome {
        if let Some(known) = self.table.get(&framework.id) {
            framework.admitted_at = known.admitted_at;
            if **known == framework {
                return Outcome::Unchanged;
            }
        }
        self.table.insert(framework.id.clone(), framework);
        Outcome::Changed
    }

    fn remove(&mut self, index: Index, id: FrameworkId, at: Time, limits: &Limits) -> Outcome {
        if self.tombstones.contains(&id) {
            return Outcome::Unchanged;
        }
        self.table.remove(&id);
        self.buried.insert(index, id.clone());
        self.tombstones.insert(id.clone(), Tombstone { id, removed_at: at, index });
        while self.tombstones.len() > limits.tombstones {
            let Some((oldest, id)) = self.buried.get_min().cloned() else { break };
            self.buried.remove(&oldest);
            self.tombstones.remove(&id);
        }
        Outcome::Changed
    }

    pub(crate) fn get(&self, id: &FrameworkId) -> Option<&Arc<Framework>> {
        self.table.get(id)
    }

    pub(crate) fn len(&self) -> u64 {
        self.table.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Framework>> {
        self.table.iter()
    }

    pub(crate) fn tombstone(&self, id: &FrameworkId) -> Option<&Arc<Tombstone>> {
        self.tombstones.get(id)
    }

    pub(crate) fn tombstones(&self) -> impl Iterator<Item = &Arc<Tombstone>> {
        self.tombstones.iter()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.table.digest().wrapping_add(self.tombstones.digest())
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records().chain(self.tombstones.into_records())
    }

    /// Takes a framework from a snapshot; false when it is there already.
    pub(crate) fn restore(&mut self, framework: wire_registry::Framework) -> bool {
        let framework = framework_from_wire(framework);
        self.table.insert(framework.id.clone(), framework).is_none()
    }

    /// Takes a tombstone from a snapshot; false when its id or index is there already.
    pub(crate) fn restore_tombstone(&mut self, tombstone: wire_registry::Tombstone) -> bool {
        let id = FrameworkId::from(tombstone.id);
        let removed_at = Time::from_millis(tombstone.removed_at_ms);
        let index = tombstone.index;
        self.buried.insert(index, id.clone()).is_none()
            && self.tombstones.insert(id.clone(), Tombstone { id, removed_at, index }).is_none()
    }
}

pub(crate) fn framework_to_wire(framework: &Framework) -> wire_registry::Framework {
    wire_registry::Framework {
        id: framework.id.to_string(),
        info: (*framework.info).clone(),
        principal: framework.principal.as_deref().map(str::to_owned),
        failover_timeout_ms: framework.failover_timeout.as_millis(),
        admitted_at_ms: framework.admitted_at.as_millis(),
    }
}

pub(crate) fn framework_from_wire(framework: wire_registry::Framework) -> Framework {
    Framework {
        id: framework.id.into(),
        info: framework.info.into(),
        principal: framework.principal.map(Text::from),
        failover_timeout: Span::from_millis(framework.failover_timeout_ms),
        admitted_at: Time::from_millis(framework.admitted_at_ms),
    }
}

impl Fact for Framework {
    fn record(&self) -> Record {
        Record { record: Some(record::Record::Framework(framework_to_wire(self))) }
    }
}

impl Fact for Tombstone {
    fn record(&self) -> Record {
        let tombstone = wire_registry::Tombstone {
            id: self.id.to_string(),
            removed_at_ms: self.removed_at.as_millis(),
            index: self.index,
        };
        Record { record: Some(record::Record::Tombstone(tombstone)) }
    }
}
