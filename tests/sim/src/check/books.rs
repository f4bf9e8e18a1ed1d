//! The leader's books: what is offered and what is used, against what there is.

use std::collections::BTreeMap;

use master_core::alloc::Allocator;
use master_core::render;
use master_core::snapshot::Snapshot;
use model::id::AgentId;
use model::resources::{Bag, Quantities};

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str = "no agent is offered or used above its total, in the books or in truth";

/// Looks at books.
#[derive(Debug, Default)]
pub struct Books {
    /// How much each agent has, in whatever form: it never changes in this world.
    sizes: BTreeMap<AgentId, Quantities>,
    /// What was seen.
    pub findings: Findings,
}

impl Books {
    /// All that a leader knows, beside what its allocator believes.
    pub fn look(&mut self, master: &str, snapshot: &Snapshot, allocator: &Allocator, now: Micros) {
        for agent in snapshot.tables.agents.values() {
            let size = Quantities::of_bag(&agent.total, |_| true);
            let before = self.sizes.entry(agent.id.clone()).or_insert_with(|| size.clone()).clone();
            self.findings.look(before == size, || {
                format!("{master} at {now} µs: {} has {size}, it had {before}", agent.id)
            });
            let used = render::agent_usage(&snapshot.tables, agent);
            let offered = render::agent_offered(&snapshot.tables, agent);
            let held = (&used + &offered).unallocate();
            self.findings.look(agent.total.contains(&held), || {
                format!(
                    "{master} at {now} µs: {} has {}, of which {used} is used and {offered} offered",
                    agent.id, agent.total
                )
            });
            let free = agent.total.without(&held);
            if let Some(believed) = allocator.free(&agent.id) {
                self.findings.look(*believed == free, || {
                    format!(
                        "{master} at {now} µs: {} has {free} free, the allocator believes {believed}",
                        agent.id
                    )
                });
            }
        }
    }

    /// What really runs on a machine, beside what it has.
    pub fn truth(&mut self, agent: &str, used: &Bag, total: &Bag) {
        self.findings.look(total.contains(used), || format!("{agent} has {total} and runs tasks of {used}"));
    }
}
