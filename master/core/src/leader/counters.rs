//! What is counted, under the names that dashboards of Mesos know (with `master/` before them).

use std::collections::BTreeMap;

use model::id::FrameworkId;
use model::task::TaskState;
use wire::v1::{OperationState, TaskStatus};

use super::activity::{Activities, Activity};
use crate::call::Verb;

/// Only ever goes up. Kept while the program runs, also between leaderships.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    named: BTreeMap<&'static str, u64>,
    /// By state, source and reason as the wire numbers them.
    causes: BTreeMap<(TaskState, Option<i32>, Option<i32>), u64>,
    /// Operations that have come to an end, by kind.
    operations: BTreeMap<(&'static str, OperationState), u64>,
    pub(super) allocation_runs: u64,
    pub(super) frameworks: Activities,
}

impl Counters {
    pub(crate) fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    pub(crate) fn add(&mut self, name: &'static str, more: u64) {
        *self.named.entry(name).or_default() += more;
    }

    pub(crate) fn task(&mut self, state: TaskState, status: &TaskStatus) {
        *self.causes.entry((state, status.source, status.reason)).or_default() += 1;
    }

    /// `kind` is the name on the wire.
    pub(crate) fn operation(&mut self, kind: &'static str, state: OperationState) {
        *self.operations.entry((kind, state)).or_default() += 1;
    }

    pub(crate) fn call(&mut self, verb: &Verb) {
        let name = match verb {
            Verb::Accept(_) => "messages_launch_tasks",
            Verb::Decline { .. } => "messages_decline_offers",
            Verb::AnswerInverseOffers { accepted: true, .. } => "messages_accept_inverse_offers",
            Verb::AnswerInverseOffers { accepted: false, .. } => "messages_decline_inverse_offers",
            Verb::Revive { .. } => "messages_revive_offers",
            Verb::Suppress { .. } => "messages_suppress_offers",
            Verb::Kill { .. } => "messages_kill_task",
            Verb::Acknowledge { .. } => "messages_status_update_acknowledgement",
            Verb::Reconcile { .. } => "messages_reconcile_tasks",
            Verb::Message { .. } => "messages_framework_to_executor",
            Verb::Request => "messages_resource_request",
            Verb::AcknowledgeOperation { .. } => "messages_operation_status_update_acknowledgement",
            Verb::ReconcileOperations { .. } => "messages_reconcile_operations",
            Verb::Teardown | Verb::Shutdown { .. } | Verb::UpdateFramework(_) | Verb::Unknown => return,
        };
        self.count(name);
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.named.iter().map(|(name, value)| (*name, *value))
    }

    /// How often the allocator has looked for something to give away.
    #[must_use]
    pub const fn allocation_runs(&self) -> u64 {
        self.allocation_runs
    }

    /// How often operations of a kind ended in a state, as the wire names the kind.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, OperationState, u64)> + '_ {
        self.operations.iter().map(|((kind, state), count)| (*kind, *state, *count))
    }

    /// Of at most [`FRAMEWORK_METRICS`](crate::limits::FRAMEWORK_METRICS) frameworks, what they did.
    pub fn frameworks(&self) -> impl Iterator<Item = (&FrameworkId, &Activity)> + '_ {
        self.frameworks.table.iter()
    }

    /// How often a framework came that is not among those for want of room.
    #[must_use]
    pub const fn frameworks_uncounted(&self) -> u64 {
        self.frameworks.refused
    }

    /// How often tasks entered a state, with source and reason of the status that said so.
    pub fn task_states(&self) -> impl Iterator<Item = (TaskState, Option<i32>, Option<i32>, u64)> + '_ {
        self.causes.iter().map(|((state, source, reason), count)| (*state, *source, *reason, *count))
    }
}
