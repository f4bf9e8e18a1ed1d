//! Queues with weights: what each has running, and who is next.

use std::sync::Arc;

use model::resources::Bag;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::limits;

/// What an operator says of a queue. One that nobody named has weight 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(default)]
    pub name: Arc<str>,
    #[serde(default = "one")]
    pub weight: u32,
    /// The highest priority that jobs in it have, whatever they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<i32>,
}

fn one() -> u32 {
    1
}

impl Rule {
    /// # Errors
    /// The field that breaks a rule.
    pub fn check(&self) -> Result<(), Refusal> {
        let plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if !plain(&self.name) || self.name.len() > limits::NAME_BYTES {
            let rule = format!("must be 1 to {} bytes without control characters", limits::NAME_BYTES);
            return Err(Refusal::field("name", rule));
        }
        if !(1..=limits::WEIGHT).contains(&self.weight) {
            return Err(Refusal::field("weight", format!("must be 1 to {}", limits::WEIGHT)));
        }
        Ok(())
    }
}

/// What a task of such a need weighs: the largest of its parts, in thousandths of a CPU. Memory and GPUs count as the CPUs
/// that machines usually have with them: who takes all memory of a machine leaves its CPUs to nobody.
pub fn cost(need: &Bag) -> u64 {
    let amount = |quantity: model::quantity::Quantity| u64::try_from(quantity.thousandths()).unwrap_or(0);
    let memory = amount(need.mem()) / limits::MEM_PER_CPU;
    let gpus = amount(need.gpus()).saturating_mul(limits::CPUS_PER_GPU);
    amount(need.cpus()).max(memory).max(gpus).max(1)
}

/// By which queues are compared: what runs, for the weight. Fine enough that no two that differ are the same.
pub fn share(running: u64, weight: u32) -> u128 {
    (u128::from(running) << 32) / u128::from(weight.max(1))
}
