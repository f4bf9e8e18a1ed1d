//! What is counted, under the names that dashboards of Mesos know (with `master/` before them).

use std::collections::BTreeMap;

use model::task::TaskState;
use wire::v1::TaskStatus;

use crate::call::Verb;

/// Only ever goes up. Kept while the program runs, also between leaderships.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    named: BTreeMap<&'static str, u64>,
    /// By state, source and reason as the wire numbers them.
    causes: BTreeMap<(TaskState, Option<i32>, Option<i32>), u64>,
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

    /// How often tasks entered a state, with source and reason of the status that said so.
    pub fn task_states(&self) -> impl Iterator<Item = (TaskState, Option<i32>, Option<i32>, u64)> + '_ {
        self.causes.iter().map(|((state, source, reason), count)| (*state, *source, *reason, *count))
    }
}
