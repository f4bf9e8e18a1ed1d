//! Quotas of roles: the operator's word on who may count on how much, and who gets no more than so much.

use std::sync::Arc;

use model::resources::{Name, Quantities};
use wire::registry::{self as wire_registry, Record, record};

use super::limits::{LABEL_BYTES, Limits};
use super::refusal::check_text;
use super::table::{Fact, Table};
use super::{Outcome, Refusal, Text};

/// Kinds of resources that one quota names. Part of the format.
const KINDS: usize = 64;

/// What a role and all roles below it are promised, and may have at most. Whether it makes sense (a role at top
/// level, no more promised than allowed) is judged by the leader, who can say it better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub role: Text,
    pub guarantees: Quantities,
    /// A kind that is not named is not limited.
    pub limits: Quantities,
}

impl Quota {
    /// Promises and limits nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}

/// Sets all of these, or none. One that says nothing takes the role's quota away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaCommand {
    pub set: Vec<Quota>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    table: Table<Text, Quota>,
}

fn check_kinds(field: &str, amounts: &Quantities) -> Result<(), Refusal> {
    if amounts.iter().count() > KINDS {
        return Err(Refusal::invalid(field, format!("names more than {KINDS} kinds of resources")));
    }
    amounts.iter().try_for_each(|(name, _)| check_text(field, name.as_str(), LABEL_BYTES))
}

impl Quotas {
    /// There may be as many quotas as weights.
    pub(crate) fn check(&self, command: &QuotaCommand, limits: &Limits) -> Result<(), Refusal> {
        let mut fresh = 0;
        for (at, quota) in command.set.iter().enumerate() {
            check_text(format_args!("set[{at}].role"), &quota.role, LABEL_BYTES)?;
            check_kinds(&format!("set[{at}].guarantees"), &quota.guarantees)?;
            check_kinds(&format!("set[{at}].limits"), &quota.limits)?;
            fresh += u64::from(!quota.is_none() && !self.table.contains(&*quota.role));
        }
        if self.table.len() + fresh > limits.weights {
            return Err(Refusal::Full { what: "roles with a quota", limit: limits.weights });
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, command: QuotaCommand) -> Outcome {
        let mut outcome = Outcome::Unchanged;
        for quota in command.set {
            let known = self.table.get(&*quota.role);
            if quota.is_none() {
                if known.is_some() {
                    self.table.remove(&*quota.role);
                    outcome = Outcome::Changed;
                }
            } else if known.is_none_or(|known| **known != quota) {
                self.table.insert(quota.role.clone(), quota);
                outcome = Outcome::Changed;
            }
        }
        outcome
    }

    pub(crate) fn get(&self, role: &str) -> Option<&Arc<Quota>> {
        self.table.get(role)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Quota>> {
        self.table.iter()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.table.digest()
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records()
    }

    /// Takes a quota from a snapshot; false when the role has one already, or it cannot be read.
    pub(crate) fn restore(&mut self, quota: wire_registry::Quota) -> bool {
        let Some(quota) = from_wire(quota) else { return false };
        self.table.insert(quota.role.clone(), quota).is_none()
    }
}

impl Fact for Quota {
    fn record(&self) -> Record {
        Record { record: Some(record::Record::Quota(to_wire(self))) }
    }
}

pub(crate) fn to_wire(quota: &Quota) -> wire_registry::Quota {
    let amounts = |all: &Quantities| {
        let amount = |(name, amount): (&Name, model::quantity::Quantity)| wire_registry::Amount {
            name: name.to_string(),
            thousandths: amount.thousandths().unsigned_abs(),
        };
        all.iter().map(amount).collect()
    };
    wire_registry::Quota {
        role: quota.role.to_string(),
        guarantees: amounts(&quota.guarantees),
        limits: amounts(&quota.limits),
    }
}

/// `None` for an amount no version of this program writes.
pub(crate) fn from_wire(quota: wire_registry::Quota) -> Option<Quota> {
    let amounts = |all: Vec<wire_registry::Amount>| -> Option<Quantities> {
        all.into_iter()
            .map(|amount| {
                let thousandths = i64::try_from(amount.thousandths).ok()?;
                let quantity = model::quantity::Quantity::from_thousandths(thousandths)?;
                Some((Name::from(amount.name.as_str()), quantity))
            })
            .collect()
    };
    Some(Quota {
        role: quota.role.into(),
        guarantees: amounts(quota.guarantees)?,
        limits: amounts(quota.limits)?,
    })
}
