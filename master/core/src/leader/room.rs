//! Room for one more framework in a registry that is full, most likely of those nobody will come back for: a scheduler
//! that subscribes without an id, breaks off and subscribes again leaves one behind each time, for as long as its
//! failover timeout says.

use std::collections::BTreeSet;

use model::id::FrameworkId;

use super::Turn;
use super::proposals::Proposal;
use super::subscribe::Admission;
use crate::input::StreamId;
use crate::refusal::Refusal;
use crate::registry::{Command, FrameworkCommand};
use crate::snapshot::Framework;

/// How a framework gets into the registry.
pub(super) enum Room {
    /// There is room, or it is there already.
    Free,
    /// Once this one is removed, as if its time to come back were over.
    InPlaceOf(FrameworkId),
}

impl Turn<'_> {
    /// Whether the framework finds room in the registry, or who makes room for it.
    pub(super) fn find_room(&self, newcomer: &FrameworkId) -> Result<Room, Refusal> {
        let coming = self.leader.proposals.subscriptions() as u64;
        if self.view.framework(newcomer).is_some() || self.view.framework_room() > coming {
            return Ok(Room::Free);
        }
        let leaving: BTreeSet<&FrameworkId> = self.leader.proposals.leaving().collect();
        let busy: BTreeSet<&FrameworkId> = self
            .leader
            .tables
            .operations
            .values()
            .filter_map(|operation| operation.framework.as_ref())
            .collect();
        let all = self.leader.tables.frameworks.values();
        let idle = all.filter(|framework| {
            self.may_leave(framework) && !leaving.contains(&framework.id) && !busy.contains(&framework.id)
        });
        // Those that ran something have a past that somebody may come back to, and those from before the election may
        // have one. Among equals the one that has been away longest.
        let first = idle.min_by_key(|framework| {
            (framework.recovered, !framework.completed.is_empty(), framework.away_since, &framework.id)
        });
        let limit = self.view.limits().frameworks;
        first.map(|framework| Room::InPlaceOf(framework.id.clone())).ok_or(Refusal::NoRoom { limit })
    }

    /// Whether nothing would end with it: its scheduler is away and it runs nothing, as far as is known when all agents
    /// that were expected back have told or been given up.
    fn may_leave(&self, framework: &Framework) -> bool {
        let holds_nothing =
            framework.tasks.is_empty() && framework.unreachable.is_empty() && framework.executors.is_empty();
        let known = !framework.recovered || self.leader.tables.recovered.is_empty();
        !framework.connected() && holds_nothing && known && self.view.framework(&framework.id).is_some()
    }

    /// Has one framework removed and the newcomer admitted after it.
    pub(super) fn replace(&mut self, leaves: FrameworkId, stream: StreamId, admission: Box<Admission>) {
        let command = Command::Framework(FrameworkCommand::Remove { id: leaves.clone(), at: self.now });
        self.propose(command, Proposal::Replacement { leaves, stream, admission });
    }

    pub(super) fn replaced(&mut self, leaves: &FrameworkId, stream: StreamId, admission: Box<Admission>) {
        self.leader.counters.count("frameworks_removed_for_room");
        self.framework_removed(leaves);
        let command = self.admit_command(&admission);
        self.propose(command, Proposal::Subscription { stream, admission });
    }
}
