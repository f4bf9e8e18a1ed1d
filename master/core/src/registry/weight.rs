//! Weights of roles: the operator's word on who gets more of what is left.

use std::sync::Arc;

use wire::registry::{self as wire_registry, Record, record};

use super::limits::{LABEL_BYTES, Limits};
use super::refusal::check_text;
use super::table::{Fact, Table};
use super::{Outcome, Refusal, Text};

/// The weight of a role nobody set, in thousandths.
pub const WEIGHT_ONE: u64 = 1_000;
/// A million to one is as good as everything.
const WEIGHT_MAX: u64 = 1_000_000 * WEIGHT_ONE;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    pub role: Text,
    /// Thousandths, more than zero: shares are compared as ratios of integers.
    pub thousandths: u64,
}

/// Sets all of these, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightCommand {
    pub set: Vec<Weight>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Weights {
    table: Table<Text, Weight>,
}

impl Weights {
    pub(crate) fn check(&self, command: &WeightCommand, limits: &Limits) -> Result<(), Refusal> {
        let mut fresh = 0;
        for (at, weight) in command.set.iter().enumerate() {
            check_text(format_args!("set[{at}].role"), &weight.role, LABEL_BYTES)?;
            if !(1..=WEIGHT_MAX).contains(&weight.thousandths) {
                return Err(Refusal::invalid(
                    format!("set[{at}].thousandths"),
                    format!("must be from 1 to {WEIGHT_MAX}"),
                ));
            }
            fresh += u64::from(!self.table.contains(&*weight.role));
        }
        if self.table.len() + fresh > limits.weights {
            return Err(Refusal::Full { what: "roles with a weight", limit: limits.weights });
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, command: WeightCommand) -> Outcome {
        let mut outcome = Outcome::Unchanged;
        for weight in command.set {
            if self.table.get(&*weight.role).is_none_or(|known| **known != weight) {
                self.table.insert(weight.role.clone(), weight);
                outcome = Outcome::Changed;
            }
        }
        outcome
    }

    pub(crate) fn get(&self, role: &str) -> u64 {
        self.table.get(role).map_or(WEIGHT_ONE, |weight| weight.thousandths)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Weight>> {
        self.table.iter()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.table.digest()
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records()
    }

    /// Takes a weight from a snapshot; false when the role has one already.
    pub(crate) fn restore(&mut self, weight: wire_registry::Weight) -> bool {
        let weight = Weight { role: weight.role.into(), thousandths: weight.thousandths };
        self.table.insert(weight.role.clone(), weight).is_none()
    }
}

impl Fact for Weight {
    fn record(&self) -> Record {
        let weight = wire_registry::Weight { role: self.role.to_string(), thousandths: self.thousandths };
        Record { record: Some(record::Record::Weight(weight)) }
    }
}
