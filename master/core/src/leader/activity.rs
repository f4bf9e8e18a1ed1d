//! What each framework does and is told, counted under the names that dashboards of Mesos know (with
//! `master/frameworks/<name>/<id>/` before them).

use std::collections::BTreeMap;

use model::id::FrameworkId;
use model::task::TaskState;

use super::Turn;
use crate::call::{ChangeKind, OperationKind, Verb};
use crate::effect::SchedulerEvent;
use crate::limits;

/// One framework's counters, since it subscribed to this leader.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// The framework's own name.
    pub name: String,
    named: BTreeMap<&'static str, u64>,
    ended: BTreeMap<TaskState, u64>,
}

impl Activity {
    /// How often the thing of this name happened: `calls/accept`, `events/update`, `offers/sent`, `operations/launch`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.named.get(name).copied().unwrap_or_default()
    }

    /// How many of its tasks have ended in this state.
    #[must_use]
    pub fn ended(&self, state: TaskState) -> u64 {
        self.ended.get(&state).copied().unwrap_or_default()
    }
}

/// The counters of so many frameworks as somebody may want to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Activities {
    pub(super) table: BTreeMap<FrameworkId, Activity>,
    /// Frameworks that came when there was no room.
    pub(super) refused: u64,
}

impl Activities {
    /// Counts for a framework from now on. When there is no room, one that has `gone` is forgotten; else the newcomer is
    /// not counted.
    fn meet(&mut self, id: &FrameworkId, name: &str, gone: impl Fn(&FrameworkId) -> bool) {
        if let Some(known) = self.table.get_mut(id) {
            name.clone_into(&mut known.name);
            return;
        }
        if self.table.len() >= limits::FRAMEWORK_METRICS {
            let Some(first) = self.table.keys().find(|id| gone(id)).cloned() else {
                self.refused += 1;
                return;
            };
            self.table.remove(&first);
        }
        self.table.insert(id.clone(), Activity { name: name.to_owned(), ..Activity::default() });
    }
}

impl Turn<'_> {
    /// The framework has subscribed.
    pub(super) fn meet(&mut self, id: &FrameworkId) {
        let Some(name) = self.framework(id).map(|framework| framework.info.name.clone()) else { return };
        let frameworks = &self.leader.tables.frameworks;
        self.leader.counters.frameworks.meet(id, &name, |id| !frameworks.contains_key(id));
        self.tally(id, "calls/subscribe", 1);
    }

    pub(super) fn tally(&mut self, id: &FrameworkId, name: &'static str, more: u64) {
        if let Some(activity) = self.leader.counters.frameworks.table.get_mut(id) {
            *activity.named.entry(name).or_default() += more;
        }
    }

    /// One of its tasks has come to an end, unless it has not.
    pub(super) fn tally_state(&mut self, id: &FrameworkId, state: TaskState) {
        if state.is_terminal()
            && let Some(activity) = self.leader.counters.frameworks.table.get_mut(id)
        {
            *activity.ended.entry(state).or_default() += 1;
        }
    }
}

/// The name a call is counted under.
pub(super) const fn call(verb: &Verb) -> Option<&'static str> {
    Some(match verb {
        Verb::Teardown => "calls/teardown",
        Verb::Accept(_) => "calls/accept",
        Verb::Decline { .. } => "calls/decline",
        Verb::Revive { .. } => "calls/revive",
        Verb::Suppress { .. } => "calls/suppress",
        Verb::Kill { .. } => "calls/kill",
        Verb::Shutdown { .. } => "calls/shutdown",
        Verb::Acknowledge { .. } => "calls/acknowledge",
        Verb::Reconcile { .. } => "calls/reconcile",
        Verb::Message { .. } => "calls/message",
        Verb::Request => "calls/request",
        Verb::AnswerInverseOffers { accepted: true, .. } => "calls/accept_inverse_offers",
        Verb::AnswerInverseOffers { accepted: false, .. } => "calls/decline_inverse_offers",
        Verb::AcknowledgeOperation { .. } => "calls/acknowledge_operation_status",
        Verb::ReconcileOperations { .. } => "calls/reconcile_operations",
        Verb::UpdateFramework(_) => "calls/update_framework",
        Verb::Unknown => return None,
    })
}

pub(super) const fn event(event: &SchedulerEvent) -> &'static str {
    match event {
        SchedulerEvent::Subscribed { .. } => "events/subscribed",
        SchedulerEvent::Heartbeat => "events/heartbeat",
        SchedulerEvent::Offers(_) => "events/offers",
        SchedulerEvent::Rescind(_) => "events/rescind",
        SchedulerEvent::InverseOffers(_) => "events/inverse_offers",
        SchedulerEvent::RescindInverse(_) => "events/rescind_inverse_offer",
        SchedulerEvent::Update(_) => "events/update",
        SchedulerEvent::Operation(_) => "events/update_operation_status",
        SchedulerEvent::Message { .. } => "events/message",
        SchedulerEvent::Failure { .. } => "events/failure",
        SchedulerEvent::Error(_) => "events/error",
    }
}

/// Operations that this master does not do have no name.
pub(super) const fn operation(kind: &OperationKind) -> Option<&'static str> {
    Some(match kind {
        OperationKind::Launch(_) => "operations/launch",
        OperationKind::LaunchGroup(_) => "operations/launch_group",
        OperationKind::Change(change) => match change.kind {
            ChangeKind::Reserve => "operations/reserve",
            ChangeKind::Unreserve => "operations/unreserve",
            ChangeKind::Create => "operations/create",
            ChangeKind::Destroy => "operations/destroy",
        },
        OperationKind::Other(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_replace_those_who_have_gone_and_nobody_else() {
        let mut all = Activities::default();
        let id = |n: usize| FrameworkId::from(format!("f{n:05}"));
        for n in 0..limits::FRAMEWORK_METRICS {
            all.meet(&id(n), "one", |_| panic!("there is room"));
        }
        all.meet(&id(99_998), "late", |_| false);
        assert_eq!((all.table.len(), all.refused), (limits::FRAMEWORK_METRICS, 1));
        all.meet(&id(99_999), "later", |one| *one == id(7));
        assert_eq!((all.table.len(), all.refused), (limits::FRAMEWORK_METRICS, 1));
        assert!(all.table.contains_key(&id(99_999)) && !all.table.contains_key(&id(7)));
        all.meet(&id(8), "renamed", |_| panic!("it is known"));
        assert_eq!(all.table[&id(8)].name, "renamed");
    }
}
