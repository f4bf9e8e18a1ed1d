//! What operators promise to roles, and what they allow them.

use std::collections::BTreeMap;
use std::sync::Arc;

use master_core::registry::Quota;
use master_core::render;
use master_core::snapshot::Snapshot;
use model::quantity::Quantity;
use model::resources::{Item, Name, Quantities};

use super::Findings;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str = "no role has more than its limit; what a role is promised and has not got is out of the others' hands, from fifteen seconds after a storm on";

/// After a storm: agents come back, and offers that were made meanwhile end.
const SETTLED: Micros = 15 * SECOND;

/// Looks at who has what.
#[derive(Debug, Default)]
pub struct Quotas {
    healed: Option<Micros>,
    /// What was seen.
    pub findings: Findings,
}

impl Quotas {
    /// All that a leader knows, and the quotas there are.
    pub fn look<'a>(
        &mut self,
        snapshot: &Snapshot,
        quotas: impl Iterator<Item = &'a Arc<Quota>>,
        healed: bool,
        now: Micros,
    ) {
        let mut quotas = quotas.peekable();
        if quotas.peek().is_none() {
            return;
        }
        if healed {
            self.healed.get_or_insert(now);
        }
        let settled = self.healed.is_some_and(|healed| now >= healed + SETTLED);
        let (mut all, mut held) = (Quantities::new(), BTreeMap::<String, Quantities>::new());
        let amount = |item: &Item| (item.name().clone(), item.value().quantity());
        for agent in snapshot.tables.agents.values().filter(|agent| agent.link.is_some()) {
            all += &Quantities::of_bag(&agent.total, |_| true);
            let used = render::agent_usage(&snapshot.tables, agent);
            let offered = render::agent_offered(&snapshot.tables, agent);
            for item in used.iter().chain(&offered) {
                let Some(role) = item.allocated_to() else { continue };
                let (name, amount) = amount(item);
                held.entry(role.to_string()).or_default().add(&name, amount);
            }
        }
        let nothing = Quantities::new();
        for quota in quotas {
            let own = held.get(&*quota.role).unwrap_or(&nothing);
            let beyond = quota.limits.iter().find(|(name, limit)| own.of(name) > *limit);
            self.findings.look(beyond.is_none(), || {
                format!("at {now} µs '{}' has {own}, its limits are {}", quota.role, quota.limits)
            });
            if !settled {
                continue;
            }
            let others = |name: &Name| {
                let others = held.iter().filter(|(role, _)| **role != *quota.role);
                others.fold(Quantity::ZERO, |sum, (_, held)| sum.saturating_add(held.of(name)))
            };
            let short = quota
                .guarantees
                .iter()
                .find(|(name, promised)| all.of(name).saturating_sub(others(name)) < *promised);
            self.findings.look(short.is_none(), || {
                format!(
                    "at {now} µs of {all} {held:?} is in hands, {} is promised to '{}'",
                    quota.guarantees, quota.role
                )
            });
        }
    }
}
