//! A job that was accepted: its definition, read once, and what has become of it so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::quantity::Quantity;
use model::resources::{Bag, Item, Name, Value};
use model::time::{Span, Time};
use serde::{Deserialize, Serialize};

use super::constraint::Constraint;
use super::container::Container;
use super::definition::{CatchUp, ConcurrencyPolicy, Definition, TriggerRule};
use super::fair::Rule;
use super::millis;
use super::parts::Parts;
use super::refusal::Refusal;
use super::retry::RetryPolicy;
use super::schedule::{Period, Schedule, parse_time};
use super::step::{self, StepWork};
use super::unreachable::Unreachable;
use crate::limits;

#[derive(Debug, Clone)]
pub struct Job {
    pub definition: Arc<Definition>,
    /// The schedule as it was posted: what is posted again leaves the anchor where it is.
    pub posted: Option<String>,
    /// `None` for dependent jobs.
    pub schedule: Option<Arc<Schedule>>,
    pub constraints: Arc<Vec<Constraint>>,
    pub need: Arc<Bag>,
    /// See [`Work::shape`].
    pub shape: Arc<str>,
    /// Of a workflow.
    pub steps: Arc<Vec<StepWork>>,
    /// How late a run may begin.
    pub tolerance: Option<Span>,
    pub deadline: Option<Deadline>,
    pub status: Status,
}

/// What changes as a job runs; a record of its own, as it is written at each run and the definition is not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Every due time up to here has its outcome recorded.
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub through: Option<Time>,
    pub success_count: u64,
    pub error_count: u64,
    pub errors_since_last_success: u64,
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Time>,
    /// Parents that have ended as the trigger rule wants it since the last run, with the run they did it in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ready: BTreeMap<String, String>,
    /// Since when it is disabled.
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub disabled_since: Option<Time>,
    /// Since when it is suspended, or was the last time.
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Time>,
    /// When that ended.
    #[serde(with = "millis::optional", skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Time>,
}

impl Status {
    /// Why nobody started what was due between these times.
    pub fn absence(&self, first: Time, last: Time) -> &'static str {
        let suspended = self.suspended.is_some_and(|from| from <= first)
            && self.resumed.is_some_and(|until| last <= until);
        if suspended { "the job was suspended" } else { "no scheduler ran" }
    }
}

/// A definition as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub definition: Definition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posted: Option<String>,
}

/// Until when a run is to be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// So long after its due time.
    After(Span),
    At(Time),
}

impl Deadline {
    pub fn of(self, due: Time) -> Time {
        match self {
            Self::After(span) => due + span,
            Self::At(time) => time,
        }
    }
}

/// What a task is launched from.
#[derive(Debug, Clone)]
pub struct Work {
    pub definition: Arc<Definition>,
    pub need: Arc<Bag>,
    pub constraints: Arc<Vec<Constraint>>,
    /// What it needs and of which agents, as text: what has no room for the one has none for another of the same shape.
    pub shape: Arc<str>,
}

impl Work {
    /// # Errors
    /// The first field that breaks a rule.
    pub fn admit(definition: Definition) -> Result<Self, Refusal> {
        check_texts(&definition)?;
        let mut constraints = Vec::new();
        for (at, words) in definition.constraints.iter().enumerate() {
            let constraint = Constraint::parse(words);
            constraints.push(constraint.map_err(|rule| Refusal::field(&format!("constraints[{at}]"), rule))?);
        }
        let need = need(&definition)?;
        let mut shape = need.to_string();
        for words in &definition.constraints {
            // With their lengths, as a word may hold anything.
            words.iter().for_each(|word| shape.push_str(&format!(" {}:{word}", word.len())));
            shape.push(';');
        }
        Ok(Self {
            need: Arc::new(need),
            shape: shape.into(),
            constraints: Arc::new(constraints),
            definition: Arc::new(definition),
        })
    }
}

impl Job {
    /// Checks and completes a definition. The schedule of the result is anchored: `now` stands in for an empty start.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn admit(now: Time, mut definition: Definition) -> Result<Self, Refusal> {
        check_name(&definition.name)?;
        if definition.parents.is_none() && definition.schedule.is_none() {
            // Neither: once, at once.
            definition.schedule = Some("R1//PT24H".to_owned());
        }
        let posted = definition.schedule.clone();
        let schedule = match (&definition.schedule, &definition.parents) {
            (Some(_), Some(_)) => {
                return Err(Refusal::field("parents", "and schedule exclude each other"));
            }
            (None, Some(parents)) if parents.is_empty() => {
                return Err(Refusal::field("parents", "must name at least one job"));
            }
            (Some(text), None) => {
                let zone = definition.schedule_time_zone.clone().unwrap_or_default();
                let schedule = Schedule::parse(text, &zone, now)?;
                definition.schedule = Some(schedule.to_string());
                Some(Arc::new(schedule))
            }
            _ => None,
        };
        check_bounds(&definition, schedule.as_deref())?;
        let steps = Arc::new(step::admit(&definition)?);
        let tolerance = tolerance(&definition)?;
        let deadline = deadline(&definition, schedule.as_deref())?;
        let work = Work::admit(definition)?;
        Ok(Self {
            need: work.need,
            shape: work.shape,
            tolerance,
            deadline,
            constraints: work.constraints,
            definition: work.definition,
            steps,
            posted,
            schedule,
            status: Status::default(),
        })
    }

    /// # Errors
    /// The record is of another version, or damaged.
    pub fn from_record(record: JobRecord) -> Result<Self, Refusal> {
        let mut job = Self::admit(Time::from_secs(1), record.definition)?;
        job.posted = record.posted;
        Ok(job)
    }

    pub fn record(&self) -> JobRecord {
        JobRecord { definition: (*self.definition).clone(), posted: self.posted.clone() }
    }

    pub fn name(&self) -> &str {
        &self.definition.name
    }

    pub fn parents(&self) -> impl Iterator<Item = &String> {
        self.definition.parents.iter().flatten()
    }

    /// When it is due next by its schedule.
    pub fn next_due(&self) -> Option<Time> {
        let rests = self.definition.disabled || self.definition.suspend;
        self.schedule.as_ref().filter(|_| !rests)?.next_after(self.status.through)
    }

    /// The last of its due times has its outcome.
    pub fn is_exhausted(&self) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.next_after(self.status.through).is_none())
    }

    /// The schedule as clients read it: from the next occurrence on.
    pub fn shown_schedule(&self) -> Option<String> {
        self.schedule.as_ref().map(|schedule| schedule.advanced(self.status.through))
    }

    /// Whether this text in this zone is the schedule it has: as posted, as anchored, or as it was shown.
    pub fn has_schedule(&self, text: Option<&str>, zone: Option<&str>) -> bool {
        let Some(text) = text else { return false };
        let same = self.posted.as_deref() == Some(text)
            || self.definition.schedule.as_deref() == Some(text)
            || self.shown_schedule().as_deref() == Some(text);
        same && zone.unwrap_or_default() == self.definition.schedule_time_zone.as_deref().unwrap_or_default()
    }

    pub fn catch_up(&self) -> CatchUp {
        self.definition.catchup.unwrap_or_default()
    }

    pub fn concurrency(&self) -> ConcurrencyPolicy {
        let legacy =
            if self.definition.concurrent { ConcurrencyPolicy::Allow } else { ConcurrencyPolicy::Forbid };
        self.definition.concurrency_policy.unwrap_or(legacy)
    }

    /// What a task of it is launched from: the whole job, an index of it, or a step.
    pub fn work(&self, part: Option<u32>) -> Work {
        let step = part.and_then(|part| self.steps.get(part as usize));
        step.map_or_else(
            || Work {
                definition: Arc::clone(&self.definition),
                need: Arc::clone(&self.need),
                constraints: Arc::clone(&self.constraints),
                shape: Arc::clone(&self.shape),
            },
            |step| step.work.clone(),
        )
    }

    /// What a new run of it consists of, if that is more than one task.
    pub fn parts(&self) -> Option<Box<Parts>> {
        let steps = u32::try_from(self.steps.len()).ok().filter(|steps| *steps > 0);
        steps.or(self.definition.completions).map(|size| Box::new(Parts::of(size)))
    }

    /// The queue it stands in: its own, its owner's, or the one for all who say nothing.
    pub fn queue(&self) -> &str {
        let names = [self.definition.queue.as_str(), self.definition.owner.as_str()];
        names.into_iter().find(|name| !name.is_empty()).unwrap_or("default")
    }

    /// How long a run of it may take, all attempts together.
    pub fn run_limit(&self) -> Option<Span> {
        self.definition.active_deadline_seconds.map(Span::from_secs)
    }

    /// How long an agent that cannot be reached is waited for.
    pub fn unreachable(&self) -> Unreachable {
        self.definition.unreachable.unwrap_or_default()
    }

    pub fn history_limit(&self) -> usize {
        self.definition.history_limit.unwrap_or(limits::HISTORY)
    }

    pub fn trigger_rule(&self) -> TriggerRule {
        self.definition.trigger_rule.unwrap_or_default()
    }
}

/// # Errors
/// It is not made of letters, digits, `_`, `.` and `-`, or too long.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || !name.bytes().all(fine) {
        return Err(Refusal::field("name", format!("'{name}' must be letters, digits, '_', '.' or '-'")));
    }
    if name.len() > limits::NAME_BYTES {
        return Err(Refusal::field("name", format!("must have at most {} bytes", limits::NAME_BYTES)));
    }
    Ok(())
}

fn check_bounds(definition: &Definition, schedule: Option<&Schedule>) -> Result<(), Refusal> {
    for (field, number) in [
        ("activeDeadlineSeconds", definition.active_deadline_seconds),
        ("historySeconds", definition.history_seconds),
        ("pauseAfterFailures", definition.pause_after_failures),
    ] {
        if number == Some(0) {
            return Err(Refusal::field(field, "must be at least 1"));
        }
    }
    if definition.history_limit.is_some_and(|limit| !(1..=limits::HISTORY_LONGEST).contains(&limit)) {
        return Err(Refusal::field("historyLimit", format!("must be 1 to {}", limits::HISTORY_LONGEST)));
    }
    let ends = schedule.is_some_and(|schedule| schedule.remaining(None).is_some());
    if definition.ttl_seconds_after_finished.is_some() && !ends {
        return Err(Refusal::field("ttlSecondsAfterFinished", "is for jobs whose schedule has a last run"));
    }
    if definition.priority.is_some_and(|priority| !(-limits::PRIORITY..=limits::PRIORITY).contains(&priority))
    {
        return Err(Refusal::field(
            "priority",
            format!("must be {} to {}", -limits::PRIORITY, limits::PRIORITY),
        ));
    }
    if !definition.queue.is_empty() {
        Rule { name: definition.queue.as_str().into(), weight: 1, max_priority: None }.check().map_err(
            |_| {
                Refusal::field(
                    "queue",
                    format!("must be 1 to {} bytes without control characters", limits::NAME_BYTES),
                )
            },
        )?;
    }
    check_parts(definition)
}

fn deadline(definition: &Definition, schedule: Option<&Schedule>) -> Result<Option<Deadline>, Refusal> {
    let Some(text) = definition.deadline.as_deref() else { return Ok(None) };
    if let Ok(period) = Period::parse(text) {
        return Ok(Some(Deadline::After(period.nominal())));
    }
    let Some(time) = parse_time(text) else {
        let rule = "must be a duration like PT1H or a time like 2026-11-21T06:30:00Z";
        return Err(Refusal::field("deadline", rule));
    };
    if !schedule.is_some_and(Schedule::is_once) {
        return Err(Refusal::field("deadline", "must be a duration, for a job that runs more than once"));
    }
    Ok(Some(Deadline::At(time)))
}

fn check_parts(definition: &Definition) -> Result<(), Refusal> {
    if definition.completions.is_some_and(|count| !(1..=limits::COMPLETIONS).contains(&count)) {
        return Err(Refusal::field("completions", format!("must be 1 to {}", limits::COMPLETIONS)));
    }
    if definition.completions.is_some() && !definition.steps.is_empty() {
        return Err(Refusal::field("completions", "and steps exclude each other"));
    }
    if definition.parallelism == Some(0) {
        return Err(Refusal::field("parallelism", "must be at least 1"));
    }
    if definition.parallelism.is_some() && definition.completions.is_none() && definition.steps.is_empty() {
        return Err(Refusal::field("parallelism", "is for jobs with completions or steps"));
    }
    if definition.max_failed_indexes.is_some() && definition.completions.is_none() {
        return Err(Refusal::field("maxFailedIndexes", "is for jobs with completions"));
    }
    Ok(())
}

fn check_texts(definition: &Definition) -> Result<(), Refusal> {
    definition.retry_policy.as_ref().map_or(Ok(()), RetryPolicy::check)?;
    if !definition.uris.is_empty() && !definition.fetch.is_empty() {
        return Err(Refusal::field("uris", "and fetch exclude each other"));
    }
    if definition.retries > limits::RETRIES {
        return Err(Refusal::field("retries", format!("must be at most {}", limits::RETRIES)));
    }
    let mut names = BTreeSet::new();
    for (at, variable) in definition.environment_variables.iter().enumerate() {
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) || !names.insert(&variable.name) {
            let field = format!("environmentVariables[{at}].name");
            return Err(Refusal::field(&field, "must be a name, without '=', that is there once"));
        }
    }
    definition.container.as_ref().map_or(Ok(()), Container::check)
}

/// 0 means Chronos's default.
fn need(definition: &Definition) -> Result<Bag, Refusal> {
    let amount = |field: &str, amount: &super::definition::Amount, default: i64| {
        let quantity = amount.quantity().map_err(|rule| Refusal::field(field, rule))?;
        let default = Quantity::from_thousandths(default).unwrap_or_default();
        Ok::<_, Refusal>(if quantity == Quantity::ZERO { default } else { quantity })
    };
    let parts = [
        (Name::Cpus, amount("cpus", &definition.cpus, limits::CPUS)?),
        (Name::Mem, amount("mem", &definition.mem, limits::MEM)?),
        (Name::Disk, amount("disk", &definition.disk, limits::DISK)?),
        (Name::Gpus, amount("gpus", &definition.gpus, 0)?),
    ];
    let wanted = parts.into_iter().filter(|(_, quantity)| *quantity > Quantity::ZERO);
    Ok(wanted.map(|(name, quantity)| Item::plain(name, Value::Scalar(quantity))).collect())
}

fn tolerance(definition: &Definition) -> Result<Option<Span>, Refusal> {
    if let Some(seconds) = definition.starting_deadline_seconds {
        return Ok(Some(Span::from_secs(seconds)));
    }
    match definition.epsilon.as_deref() {
        None | Some("") => Ok((definition.catchup == Some(CatchUp::None)).then_some(limits::ON_TIME)),
        Some(text) => match Period::parse(text) {
            Ok(period) => Ok(Some(period.nominal())),
            Err(error) => Err(Refusal::field("epsilon", error.to_string())),
        },
    }
}
