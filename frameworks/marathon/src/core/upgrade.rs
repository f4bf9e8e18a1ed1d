//! Replacing the instances of an app by ones of a new configuration, a few at a time.

use super::app::AppDefinition;
use super::id::InstanceId;
use super::instance::{Condition, Instance};
use super::reconcile::Steps;
use super::victims;

/// The bounds an upgrade keeps, derived from the wanted number and the strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Healthy instances never fall below this by our own doing.
    pub min_healthy: u32,
    /// Instances never exceed this by our own doing.
    pub max_capacity: u32,
}

impl Bounds {
    /// `healthy` counts instances of either configuration.
    pub fn of(definition: &AppDefinition, healthy: u32) -> Self {
        let wanted = definition.instances;
        let min_healthy = definition.upgrade.minimum_health.ceil_of(wanted);
        #[cfg(feature = "mutants")]
        let min_healthy = if mutant::planted("upgrades-know-no-minimum")
            || mutant::planted("killed-instances-are-forgotten")
        {
            0
        } else {
            min_healthy
        };
        let mut max_capacity = wanted.saturating_add(definition.upgrade.maximum_over.floor_of(wanted));
        // Neither less nor more than wanted: something has to give, or nothing would ever move.
        if min_healthy == max_capacity && max_capacity <= healthy {
            max_capacity += 1;
        }
        Self { min_healthy, max_capacity }
    }
}

/// What to do next on the way to `definition`. It is derived from the present instances alone, with no memory of the
/// steps so far, so that a new leader continues where the old one stopped.
///
/// An old instance is killed for each healthy one above the minimum, and for each new one that is ready; the unhealthy
/// ones first. As this compares numbers instead of counting moments, a new instance that flaps between healthy and not
/// cannot eat up the old ones, as it could if every recovery bought a kill.
pub fn upgrade(definition: &AppDefinition, instances: &[&Instance]) -> Steps {
    let wanted = definition.instances;
    if wanted == 0 {
        return super::reconcile::stop(instances);
    }
    let is_new = |instance: &Instance| instance.config == definition.last_config_change;
    let present: Vec<&Instance> =
        instances.iter().copied().filter(|instance| !instance.is_tombstone()).collect();
    let new: Vec<&Instance> = present.iter().copied().filter(|i| is_new(i) && i.counts()).collect();
    let old: Vec<&Instance> = present.iter().copied().filter(|i| !is_new(i) && i.is_wanted()).collect();
    // Old ones on their way out still take room; new ones do too, when too many of them were made.
    let occupied = present.len();

    let healthy = |instance: &&Instance| instance.serves(definition);
    let healthy_total =
        count(new.iter().filter(|i| healthy(i)).count() + old.iter().filter(|i| healthy(i)).count());
    let bounds = Bounds::of(definition, healthy_total);

    let mut steps = Steps::default();
    steps.decommission.extend(surplus_old(definition, &old, &new, healthy_total, occupied, bounds));
    if new.len() > wanted as usize {
        steps.decommission.extend(victims::least_useful(definition, &new, new.len() - wanted as usize));
    }
    // Instances that never ran take no room: they may make place for new ones at once.
    let gone = old.iter().filter(|i| i.condition == Condition::Scheduled).count();
    let room = bounds.max_capacity.saturating_sub(count(occupied - gone));
    steps.schedule = wanted.saturating_sub(count(new.len())).min(room);
    let ready = new.len() == wanted as usize && new.iter().all(healthy);
    steps.done = ready && old.is_empty() && present.iter().all(|i| i.is_wanted());
    steps
}

/// Old instances that may go now.
fn surplus_old(
    definition: &AppDefinition,
    old: &[&Instance],
    new: &[&Instance],
    healthy_total: u32,
    occupied: usize,
    bounds: Bounds,
) -> Vec<InstanceId> {
    let ready = new.iter().filter(|instance| instance.serves(definition)).count();
    let (waiting, running): (Vec<&Instance>, Vec<&Instance>) =
        old.iter().copied().partition(|instance| instance.condition == Condition::Scheduled);
    let unhealthy = running.iter().filter(|instance| !instance.serves(definition)).count();
    let above_minimum = healthy_total.saturating_sub(bounds.min_healthy) as usize;
    // Each ready new one replaces an old one. When this takes healthy ones, no unhealthy is left, and those that stay
    // make up the wanted number together with the new.
    let still_needed = (definition.instances as usize).saturating_sub(ready);
    let replaced = running.len().saturating_sub(still_needed);
    // No room for a new one, and old ones that serve nobody: they make room.
    let blocked = new.len() < definition.instances as usize && occupied >= bounds.max_capacity as usize;
    let making_room = if blocked && above_minimum == 0 { unhealthy.min(1) } else { 0 };
    let mut chosen: Vec<InstanceId> = waiting.iter().map(|instance| instance.id.clone()).collect();
    let most = above_minimum.max(replaced).max(making_room);
    chosen.extend(victims::least_useful(definition, &running, most));
    chosen
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
