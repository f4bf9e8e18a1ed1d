//! A job as its user describes it: every field of the Chronos job object, of both generations, and what batch users expect
//! besides.

use std::collections::{BTreeMap, BTreeSet};

use model::quantity::Quantity;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};

use super::container::Container;
use super::hook::Channel;
use super::refusal::Refusal;
use super::retry::RetryPolicy;
use super::step::Step;
use super::unreachable::Unreachable;

/// Absent fields have Chronos's defaults; unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    pub name: String,
    pub command: String,
    pub shell: bool,
    pub arguments: Vec<String>,
    /// An interval or a cron line; exactly one of this and `parents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<BTreeSet<String>>,
    /// How late a run may begin, as an ISO 8601 duration; absent: however late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<String>,
    /// Accepted and given back; every run ends when its command does.
    #[serde(rename = "async", skip_serializing_if = "Option::is_none")]
    pub asynchronous: Option<bool>,
    /// Attempts after the first.
    pub retries: u32,
    /// A run that fails for good counts as a success to dependent jobs.
    pub soft_error: bool,
    pub disabled: bool,
    /// Runs may overlap.
    pub concurrent: bool,
    pub high_priority: bool,
    /// Seconds after which the agent ends a run; 0: never.
    pub max_completion_time: u64,
    pub executor: String,
    pub executor_flags: String,
    pub task_info_data: String,
    pub owner: String,
    pub owner_name: String,
    pub description: String,
    pub cpus: Amount,
    pub mem: Amount,
    pub disk: Amount,
    #[serde(skip_serializing_if = "Amount::is_zero")]
    pub gpus: Amount,
    pub uris: Vec<String>,
    pub fetch: Vec<Fetch>,
    pub environment_variables: Vec<Variable>,
    pub run_as_user: String,
    pub constraints: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    pub data_processing_job_type: bool,
    /// What to do with occurrences missed in an outage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catchup: Option<CatchUp>,
    /// As `epsilon`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<u64>,
    /// What to do when a run is due while another goes on; absent: as `concurrent` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// How long an agent that cannot be reached is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Unreachable>,
    /// Which ends of its parents start a dependent job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_rule: Option<TriggerRule>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Nothing of it is launched; what waits keeps its place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Seconds from the first start of a run to its end, all its attempts together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<u64>,
    /// Seconds for which a job is kept whose last run is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<u64>,
    /// Runs that are over, kept of this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<usize>,
    /// Seconds for which they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_seconds: Option<u64>,
    /// It is suspended whenever so many runs in a row have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_after_failures: Option<u64>,
    /// Tasks of a run, each with an index; absent: one task, without.
    #[serde(alias = "count", skip_serializing_if = "Option::is_none")]
    pub completions: Option<u32>,
    /// Tasks of a run that run at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Indexes that may fail without failing the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failed_indexes: Option<u32>,
    /// Steps of a run, each a task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Whose turn is whose; absent: the owner's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queue: String,
    /// Higher goes first; absent: as `highPriority` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Tasks of lower priority are ended when a run finds no room.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preempts: bool,
    /// Its tasks may be ended to make room.
    #[serde(skip_serializing_if = "is_true")]
    pub preemptible: bool,
    /// Until when a run is to be finished: a duration from its due time, or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// By what a run's first start is told; absent: by nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_start: Option<Vec<Channel>>,
    /// By what a run's success is told; absent: by nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Vec<Channel>>,
    /// By what a run's failure is told, its retries being exhausted; absent: by all channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Vec<Channel>>,
    /// By what is told that a run is late or was missed; absent: by all channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_late: Option<Vec<Channel>>,
}

fn is_true(flag: &bool) -> bool {
    *flag
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            name: String::new(),
            command: String::new(),
            shell: true,
            arguments: Vec::new(),
            schedule: None,
            schedule_time_zone: None,
            parents: None,
            epsilon: None,
            asynchronous: None,
            retries: 2,
            soft_error: false,
            disabled: false,
            concurrent: false,
            high_priority: false,
            max_completion_time: 0,
            executor: String::new(),
            executor_flags: String::new(),
            task_info_data: String::new(),
            owner: String::new(),
            owner_name: String::new(),
            description: String::new(),
            cpus: Amount::default(),
            mem: Amount::default(),
            disk: Amount::default(),
            gpus: Amount::default(),
            uris: Vec::new(),
            fetch: Vec::new(),
            environment_variables: Vec::new(),
            run_as_user: String::new(),
            constraints: Vec::new(),
            container: None,
            data_processing_job_type: false,
            catchup: None,
            starting_deadline_seconds: None,
            concurrency_policy: None,
            retry_policy: None,
            unreachable: None,
            trigger_rule: None,
            labels: BTreeMap::new(),
            suspend: false,
            active_deadline_seconds: None,
            ttl_seconds_after_finished: None,
            history_limit: None,
            history_seconds: None,
            pause_after_failures: None,
            completions: None,
            parallelism: None,
            max_failed_indexes: None,
            steps: Vec::new(),
            queue: String::new(),
            priority: None,
            preempts: false,
            preemptible: true,
            deadline: None,
            on_start: None,
            on_success: None,
            on_failure: None,
            on_late: None,
        }
    }
}

impl Definition {
    /// Reads a posted document.
    ///
    /// # Errors
    /// The field that is of a wrong type, and what it must be.
    pub fn read(mut document: Value) -> Result<Self, Refusal> {
        if !document.is_object() {
            return Err(Refusal::field("body", "must be a JSON object"));
        }
        drop_nulls(&mut document);
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            Refusal::field(if path == "." { "body" } else { &path }, error.inner().to_string())
        })
    }
}

impl Definition {
    /// That there is something to run: a command, arguments that make one, or what brings its own. Asked of what clients
    /// post; jobs of old are kept.
    ///
    /// # Errors
    /// Every run would end as an error.
    pub fn check_command(&self) -> Result<(), Refusal> {
        let own = self.container.is_some() || !self.executor.is_empty() || !self.steps.is_empty();
        if self.command.is_empty() && self.arguments.is_empty() && !own {
            return Err(Refusal::field("command", "must be present"));
        }
        Ok(())
    }
}

/// An explicit null means what an absent field means. (Chronos reads it as the text "null".)
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// An amount of a resource, kept as it was written so that clients which compare find what they sent; numeric text is
/// understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Amount(Number);

impl Default for Amount {
    fn default() -> Self {
        Self(Number::from(0))
    }
}

impl Amount {
    /// # Errors
    /// It is negative or too large.
    pub fn quantity(&self) -> Result<Quantity, String> {
        Quantity::from_f64(self.0.as_f64().unwrap_or(f64::NAN)).map_err(|error| error.to_string())
    }

    pub fn is_zero(&self) -> bool {
        self.0.as_f64() == Some(0.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(number) => Ok(Self(number)),
            Value::String(text) => text
                .trim()
                .parse::<Number>()
                .map(Self)
                .map_err(|_| serde::de::Error::custom(format!("'{text}' must be a number"))),
            other => Err(serde::de::Error::custom(format!("{other} must be a number"))),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    pub uri: String,
    #[serde(default)]
    pub executable: bool,
    #[serde(default)]
    pub cache: bool,
    #[serde(default = "yes")]
    pub extract: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output_file: String,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    #[serde(default)]
    pub value: String,
}

/// What becomes of the occurrences of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// Each runs, one after the other.
    All,
    /// The latest runs, the others are skipped.
    #[default]
    Latest,
    /// None runs that is more than a minute late.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConcurrencyPolicy {
    /// Runs overlap.
    Allow,
    /// The new run is skipped.
    Forbid,
    /// The old run is killed.
    Replace,
    /// The new run waits.
    Queue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TriggerRule {
    #[default]
    #[serde(rename = "all_success")]
    AllSuccess,
    #[serde(rename = "all_failed")]
    AllFailed,
    #[serde(rename = "all_done")]
    AllDone,
    #[serde(rename = "one_success")]
    OneSuccess,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_has_something_to_run() {
        let check = |document: Value| Definition::read(document).and_then(|job| job.check_command());
        for brings in [
            json!({"command": "true"}),
            json!({"arguments": ["true"]}),
            json!({"executor": "/bin/own"}),
            json!({"container": {"image": "busybox"}}),
            json!({"steps": [{"name": "one", "command": "true"}]}),
        ] {
            assert_eq!(check(brings.clone()), Ok(()), "{brings}");
        }
        let refused = check(json!({"name": "empty", "command": null})).expect_err("nothing to run");
        assert_eq!(refused.to_string(), "command must be present");
    }
}
