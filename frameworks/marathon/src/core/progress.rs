//! What an action of a deployment still waits for, in words.
//!
//! It is read off the present instances, as the next steps are: there is no record of it that could be out of date.

use std::fmt;

use model::time::Time;

use super::app::AppDefinition;
use super::instance::{Condition, Instance};
use super::plan::ActionKind;
use super::queue::Waiting;

/// Why an action is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub kind: Kind,
    /// How many instances it concerns.
    pub instances: usize,
    /// Details for a person; may be empty.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Launching is delayed after failures.
    Delayed,
    /// No offer has fitted yet.
    Offers,
    /// Launched and not running yet.
    Starting,
    /// Running, and no check has succeeded yet or the last one failed.
    Unhealthy,
    /// On agents that cannot be reached.
    Unreachable,
    /// Load balancers have not let go of them yet.
    Draining,
    /// Killed and not yet ended.
    Killing,
    /// Of the old version: they go when new ones are healthy.
    Old,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Delayed => "Delayed",
            Self::Offers => "WaitingForOffers",
            Self::Starting => "Starting",
            Self::Unhealthy => "NotHealthy",
            Self::Unreachable => "AgentUnreachable",
            Self::Draining => "Draining",
            Self::Killing => "Killing",
            Self::Old => "OldInstances",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Delayed => "to be launched, later, because others have failed",
            Kind::Offers => "for an offer that fits",
            Kind::Starting => "to run",
            Kind::Unhealthy => "to become healthy",
            Kind::Unreachable => "for the agent to return or to be given up",
            Kind::Draining => "for load balancers to let go before the kill",
            Kind::Killing => "to end after the kill",
            Kind::Old => "to be replaced by new instances",
        };
        let (count, verb) = match self.instances {
            1 => ("1 instance".to_owned(), "waits"),
            n => (format!("{n} instances"), "wait"),
        };
        write!(f, "{count} {verb} {what}")?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// What keeps `action` from its aim at `now`. Empty when only the next step is missing.
pub fn reasons(
    action: ActionKind,
    definition: Option<&AppDefinition>,
    instances: &[&Instance],
    waiting: Option<&Waiting>,
    now: Time,
) -> Vec<Reason> {
    let of = |kind, keep: &dyn Fn(&Instance) -> bool| {
        let kept: Vec<&Instance> =
            instances.iter().copied().filter(|i| !i.is_tombstone() && keep(i)).collect();
        (kind, kept)
    };
    let outdated = |i: &Instance| {
        action == ActionKind::Restart && definition.is_some_and(|app| i.config != app.last_config_change)
    };
    let ending = |i: &Instance| !i.is_wanted() || i.task.as_ref().is_some_and(|task| task.kill_by.is_some());
    let alive = |i: &Instance| !ending(i) && !outdated(i);
    let drains = |i: &Instance| i.task.as_ref().and_then(|task| task.kill_by).is_some_and(|at| at > now);
    let healthy = |i: &Instance| definition.is_some_and(|app| i.is_healthy(app));
    let launching = if waiting.is_some_and(|w| w.delayed_until.is_some_and(|at| at > now)) {
        Kind::Delayed
    } else {
        Kind::Offers
    };
    let groups = [
        of(launching, &|i| alive(i) && i.condition == Condition::Scheduled),
        of(Kind::Starting, &|i| {
            alive(i)
                && matches!(i.condition, Condition::Provisioned | Condition::Staging | Condition::Starting)
        }),
        of(Kind::Unhealthy, &|i| alive(i) && i.condition == Condition::Running && !healthy(i)),
        of(Kind::Unreachable, &|i| i.condition.is_unreachable()),
        of(Kind::Draining, &|i| ending(i) && drains(i) && !i.condition.is_unreachable()),
        of(Kind::Killing, &|i| ending(i) && !drains(i) && !i.condition.is_unreachable()),
        of(Kind::Old, &|i| outdated(i) && !ending(i) && !i.condition.is_unreachable()),
    ];
    groups
        .into_iter()
        .filter(|(_, instances)| !instances.is_empty())
        .map(|(kind, concerned)| Reason {
            kind,
            instances: concerned.len(),
            detail: detail(kind, &concerned, waiting, now),
        })
        .collect()
}

fn detail(kind: Kind, concerned: &[&Instance], waiting: Option<&Waiting>, now: Time) -> String {
    match kind {
        Kind::Delayed => waiting
            .and_then(|waiting| waiting.delayed_until)
            .map_or_else(String::new, |at| format!("in {} s", at.since(now).as_millis().div_ceil(1000))),
        Kind::Offers => waiting.map_or_else(String::new, declined),
        Kind::Unhealthy => concerned
            .iter()
            .find_map(|instance| instance.task.as_ref()?.health.last_failure_cause.clone())
            .unwrap_or_else(|| "no check has succeeded yet".to_owned()),
        _ => String::new(),
    }
}

/// Which tests the last offer of each agent failed first.
fn declined(waiting: &Waiting) -> String {
    let failed: Vec<String> = waiting
        .last_offers()
        .into_iter()
        .filter(|step| step.declined > 0)
        .map(|step| format!("{} of {}", step.misfit.name(), step.declined))
        .collect();
    if failed.is_empty() {
        return "none has come yet".to_owned();
    }
    let agents = waiting.last_unused_offers().count();
    format!("the last offers of {agents} agents did not fit, because of {}", failed.join(", "))
}
