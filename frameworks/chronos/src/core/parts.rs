//! The parts of a run: indexes of an array, or steps of a workflow. Which have begun, which are over, which is next.

use serde::{Deserialize, Serialize};

use super::indexes::Indexes;
use super::step::{On, StepWork};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// How many there are.
    pub size: u32,
    /// Those that were launched at least once.
    #[serde(default, skip_serializing_if = "Indexes::is_empty")]
    pub begun: Indexes,
    #[serde(default, skip_serializing_if = "Indexes::is_empty")]
    pub succeeded: Indexes,
    #[serde(default, skip_serializing_if = "Indexes::is_empty")]
    pub failed: Indexes,
    /// Steps that what they need cannot let begin any more.
    #[serde(default, skip_serializing_if = "Indexes::is_empty")]
    pub skipped: Indexes,
}

impl Parts {
    pub fn of(size: u32) -> Self {
        Self { size, ..Self::default() }
    }

    pub fn is_over(&self, part: u32) -> bool {
        self.succeeded.contains(part) || self.failed.contains(part) || self.skipped.contains(part)
    }

    /// All of them are over.
    pub fn are_over(&self) -> bool {
        self.succeeded.len() + self.failed.len() + self.skipped.len() >= self.size
    }

    /// How many have begun and are not over.
    pub fn active(&self) -> u32 {
        self.begun.len().saturating_sub(self.succeeded.len() + self.failed.len())
    }

    /// The next that may begin. An array, which has no steps, goes by its indexes.
    pub fn next(&self, steps: &[StepWork]) -> Option<u32> {
        if steps.is_empty() {
            return Some(self.begun.first_absent()).filter(|index| *index < self.size);
        }
        let ready = |(at, step): (u32, &StepWork)| {
            let waits = !self.begun.contains(at) && !self.skipped.contains(at);
            (waits && step.needs.iter().all(|(need, on)| self.is_met(*need, *on))).then_some(at)
        };
        (0u32..).zip(steps).find_map(ready)
    }

    fn is_met(&self, need: u32, on: On) -> bool {
        match on {
            On::Success => self.succeeded.contains(need),
            On::Failure => self.failed.contains(need),
            On::Completion => self.is_over(need),
        }
    }

    /// What has not succeeded begins anew.
    pub fn begin_again(&mut self) {
        self.begun = self.succeeded.clone();
        self.failed = Indexes::default();
        self.skipped = Indexes::default();
    }

    /// Nothing more of it will begin.
    pub fn skip_rest(&mut self) {
        for part in 0..self.size {
            if !self.begun.contains(part) {
                self.skipped.insert(part);
            }
        }
    }

    /// Skips the steps that can begin no more, and those that waited for them.
    pub fn skip(&mut self, steps: &[StepWork]) {
        loop {
            let hopeless = |(at, step): (u32, &StepWork)| {
                let waits = !self.begun.contains(at) && !self.skipped.contains(at);
                let never = |(need, on): &(u32, On)| self.is_over(*need) && !self.is_met(*need, *on);
                (waits && step.needs.iter().any(never)).then_some(at)
            };
            let Some(at) = (0u32..).zip(steps).find_map(hopeless) else { return };
            self.skipped.insert(at);
        }
    }
}
