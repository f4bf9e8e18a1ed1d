//! The steps of a workflow: what each runs, and which ends of others it waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::definition::Definition;
use super::job::{Work, check_name};
use super::refusal::Refusal;
use crate::limits;

/// A step as it is written: its name, what it needs, and fields in which it differs from its workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// `[extract, check]`, or `{extract: success, check: failure}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "must be a list of steps, or steps with success, failure or completion")]
pub enum Needs {
    Successes(BTreeSet<String>),
    Ends(BTreeMap<String, On>),
}

impl Default for Needs {
    fn default() -> Self {
        Self::Successes(BTreeSet::new())
    }
}

impl Needs {
    fn is_empty(&self) -> bool {
        match self {
            Self::Successes(names) => names.is_empty(),
            Self::Ends(ends) => ends.is_empty(),
        }
    }

    fn iter(&self) -> Vec<(&str, On)> {
        match self {
            Self::Successes(names) => names.iter().map(|name| (name.as_str(), On::Success)).collect(),
            Self::Ends(ends) => ends.iter().map(|(name, on)| (name.as_str(), *on)).collect(),
        }
    }
}

/// Which end of a step another waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    Success,
    Failure,
    /// Any, also that it was skipped.
    Completion,
}

/// A step that was accepted.
#[derive(Debug, Clone)]
pub struct StepWork {
    pub name: String,
    /// Steps by their place in the list.
    pub needs: Vec<(u32, On)>,
    pub work: Work,
}

/// What a step may say for itself; the rest is said of the whole.
const OWN: [&str; 24] = [
    "command",
    "shell",
    "arguments",
    "retries",
    "retryPolicy",
    "softError",
    "maxCompletionTime",
    "executor",
    "executorFlags",
    "taskInfoData",
    "description",
    "cpus",
    "mem",
    "disk",
    "gpus",
    "uris",
    "fetch",
    "environmentVariables",
    "runAsUser",
    "constraints",
    "container",
    "dataProcessingJobType",
    "labels",
    "preemptible",
];

/// Checks and completes the steps of a workflow.
///
/// # Errors
/// The field of the step that breaks a rule.
pub fn admit(definition: &Definition) -> Result<Vec<StepWork>, Refusal> {
    let steps = &definition.steps;
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    if steps.len() > limits::STEPS {
        return Err(Refusal::field("steps", format!("must be at most {}", limits::STEPS)));
    }
    let mut places: BTreeMap<&str, u32> = BTreeMap::new();
    for (at, step) in (0u32..).zip(steps) {
        check_name(&step.name).map_err(|refusal| refusal.within(&format!("steps[{at}]")))?;
        if places.insert(&step.name, at).is_some() {
            let rule = format!("'{}' is the name of another step, too", step.name);
            return Err(Refusal::field(&format!("steps[{at}].name"), rule));
        }
    }
    // What all steps have in common; a record of the whole without what only the whole can have.
    let mut common = serde_json::to_value(definition).unwrap_or_default();
    if let Some(fields) = common.as_object_mut() {
        // That the whole may fail softly does not make its steps unimportant.
        let common = |name: &str| name != "softError" && OWN.contains(&name);
        fields.retain(|name, _| name == "name" || name == "owner" || common(name));
    }
    let admit = |(at, step): (usize, &Step)| {
        let within = format!("steps[{at}]");
        let mut needs = Vec::new();
        for (name, on) in step.needs.iter() {
            let Some(place) = places.get(name) else {
                return Err(Refusal::field(
                    &format!("{within}.needs"),
                    format!("name '{name}', which is no step"),
                ));
            };
            needs.push((*place, on));
        }
        let work = own_definition(&common, step).and_then(Work::admit);
        let work = work.map_err(|refusal| refusal.within(&within))?;
        Ok(StepWork { name: step.name.clone(), needs, work })
    };
    let steps = steps.iter().enumerate().map(admit).collect::<Result<Vec<_>, _>>()?;
    match circle(&steps) {
        None => Ok(steps),
        Some(names) => Err(Refusal::field("steps", format!("wait for each other: {}", names.join(", ")))),
    }
}

/// The definition that the task of a step is launched from.
fn own_definition(common: &Value, step: &Step) -> Result<Definition, Refusal> {
    let mut document = common.clone();
    for (field, value) in &step.fields {
        if !OWN.contains(&field.as_str()) {
            return Err(Refusal::field(field, "cannot be said of one step"));
        }
        document[field] = match field.as_str() {
            "environmentVariables" => merged(&common[field], value),
            _ => value.clone(),
        };
    }
    let definition = Definition::read(document)?;
    if definition.command.is_empty() && definition.container.is_none() && definition.executor.is_empty() {
        return Err(Refusal::field("command", "must be there, in the step or in the workflow"));
    }
    Ok(definition)
}

/// Variables of the workflow that the step does not set itself, then the step's.
fn merged(common: &Value, own: &Value) -> Value {
    let Some(own) = own.as_array() else { return own.clone() };
    let hidden = |variable: &&Value| own.iter().any(|other| other["name"] == variable["name"]);
    let kept = common.as_array().into_iter().flatten().filter(|variable| !hidden(variable));
    json!(kept.chain(own).collect::<Vec<_>>())
}

/// Steps that can never begin because they wait for each other.
fn circle(steps: &[StepWork]) -> Option<Vec<&str>> {
    let mut open: Vec<usize> = steps.iter().map(|step| step.needs.len()).collect();
    let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (at, step) in steps.iter().enumerate() {
        for (need, _) in &step.needs {
            dependants[*need as usize].push(at);
        }
    }
    let mut free: Vec<usize> = (0..steps.len()).filter(|at| open[*at] == 0).collect();
    while let Some(at) = free.pop() {
        for dependant in &dependants[at] {
            open[*dependant] -= 1;
            if open[*dependant] == 0 {
                free.push(*dependant);
            }
        }
    }
    let stuck: Vec<&str> =
        steps.iter().zip(&open).filter(|(_, open)| **open > 0).map(|(step, _)| step.name.as_str()).collect();
    if stuck.is_empty() { None } else { Some(stuck.into_iter().take(limits::CYCLE_TOLD).collect()) }
}
