//! Which instances go first when there are too many.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use model::time::Time;

use super::app::{AppDefinition, KillSelection};
use super::constraint::Operator;
use super::id::InstanceId;
use super::instance::{Condition, Instance};

/// The `count` instances to go first: by how little they serve, then by age as the app chose.
pub fn least_useful(definition: &AppDefinition, from: &[&Instance], count: usize) -> Vec<InstanceId> {
    sorted(definition, from).into_iter().take(count).map(|instance| instance.id.clone()).collect()
}

/// As [`least_useful`], but those go first whose absence evens out a GROUP_BY spread.
pub fn evening_out(definition: &AppDefinition, from: &[&Instance], count: usize) -> Vec<InstanceId> {
    let mut left = sorted(definition, from);
    let fields: Vec<&str> = definition
        .constraints
        .iter()
        .filter(|constraint| matches!(constraint.operator, Operator::GroupBy(_)))
        .map(|constraint| constraint.field.as_str())
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let at = crowded(&left, &fields).unwrap_or(0);
        chosen.push(left.remove(at).id.clone());
    }
    chosen
}

/// The first instance, in order, on a value of a grouped field that has more instances than another value.
fn crowded(left: &[&Instance], fields: &[&str]) -> Option<usize> {
    let value = |instance: &Instance, field: &str| {
        let task = instance.task.as_ref()?;
        task.fields.get(if field == "@hostname" { "hostname" } else { field }).cloned()
    };
    fields.iter().find_map(|field| {
        let mut counts = BTreeMap::new();
        for instance in left {
            if let Some(value) = value(instance, field) {
                *counts.entry(value).or_insert(0_u32) += 1;
            }
        }
        let (least, most) = (counts.values().min()?, counts.values().max()?);
        if least == most {
            return None;
        }
        left.iter().position(|instance| value(instance, field).is_some_and(|value| counts[&value] == *most))
    })
}

fn sorted<'a>(definition: &AppDefinition, from: &[&'a Instance]) -> Vec<&'a Instance> {
    let mut sorted = from.to_vec();
    sorted.sort_by_cached_key(|instance| rank(definition, instance));
    sorted
}

fn rank(definition: &AppDefinition, instance: &Instance) -> (u8, Age, InstanceId) {
    // What is being killed already costs nothing more, whatever it was killed for.
    let killed = instance.task.as_ref().is_some_and(|task| task.kill_by.is_some());
    let condition = match instance.condition {
        Condition::Scheduled => 0,
        Condition::Unreachable | Condition::UnreachableInactive => 2,
        _ if killed => 1,
        Condition::Killing => 1,
        Condition::Provisioned | Condition::Staging => 3,
        Condition::Starting => 4,
        Condition::Running if !instance.is_healthy(definition) => 5,
        Condition::Running => 6,
        _ => 7,
    };
    let age = match definition.kill_selection {
        KillSelection::YoungestFirst => Age::Youngest(Reverse(instance.born())),
        KillSelection::OldestFirst => Age::Oldest(instance.born()),
    };
    (condition, age, instance.id.clone())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Youngest(Reverse<Time>),
    Oldest(Time),
}
