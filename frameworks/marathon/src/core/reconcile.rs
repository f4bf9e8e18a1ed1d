//! What is wanted against what is there: the difference, as steps.

use std::collections::BTreeSet;

use super::app::AppDefinition;
use super::id::InstanceId;
use super::instance::Instance;
use super::{upgrade, victims};

/// What to do about the instances of one app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// How many new instances to make.
    pub schedule: u32,
    /// Instances to end and forget.
    pub decommission: Vec<InstanceId>,
    /// Nothing is left to do and everything is as wanted.
    pub done: bool,
}

/// How to come from what is there to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode<'a> {
    /// The right number of instances, whichever configuration they have; these ones go first.
    Scale { victims: &'a BTreeSet<InstanceId> },
    /// All instances of the present configuration, replaced a few at a time.
    Restart,
    /// No instances.
    Stop,
}

/// The next steps for one app. `instances` are all of its records.
pub fn reconcile(definition: &AppDefinition, mode: &Mode<'_>, instances: &[&Instance]) -> Steps {
    match mode {
        Mode::Scale { victims } => scale(definition, victims, instances),
        Mode::Restart => upgrade::upgrade(definition, instances),
        Mode::Stop => stop(instances),
    }
}

fn scale(definition: &AppDefinition, asked_for: &BTreeSet<InstanceId>, instances: &[&Instance]) -> Steps {
    let (asked, others): (Vec<&Instance>, Vec<&Instance>) =
        instances.iter().copied().filter(|i| i.counts()).partition(|i| asked_for.contains(&i.id));
    let wanted = definition.instances as usize;
    #[cfg(feature = "mutants")]
    let wanted = if mutant::planted("one-instance-is-left-out") { wanted.saturating_sub(1) } else { wanted };
    let mut steps = Steps { decommission: asked.iter().map(|i| i.id.clone()).collect(), ..Steps::default() };
    if others.len() > wanted {
        steps.decommission.extend(victims::evening_out(definition, &others, others.len() - wanted));
    }
    let ending = instances.iter().any(|i| !i.is_wanted() && !i.is_tombstone());
    // Two of a kind that may only exist once must not overlap; others are replaced without waiting for an end
    // that may take long.
    if !(definition.is_single_instance() && ending) {
        steps.schedule = u32::try_from(wanted.saturating_sub(others.len())).unwrap_or(u32::MAX);
    }
    steps.done = steps.decommission.is_empty()
        && !ending
        && others.len() == wanted
        && others.iter().all(|i| i.is_healthy(definition));
    steps
}

/// Ends everything.
pub fn stop(instances: &[&Instance]) -> Steps {
    let wanted = instances.iter().filter(|i| i.is_wanted());
    let decommission: Vec<InstanceId> = wanted.map(|i| i.id.clone()).collect();
    let done = decommission.is_empty() && instances.iter().all(|i| i.is_tombstone());
    Steps { schedule: 0, decommission, done }
}
