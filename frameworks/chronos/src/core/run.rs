//! A run: what became of one due time. Its name is the job and the due time, so that there can be one only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::id::TaskId;
use model::time::{Span, Time};
use serde::{Deserialize, Serialize};

use super::millis;
use super::parts::Parts;
use crate::limits;

/// The job and the due time; with a number, one part of that run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId {
    pub job: Arc<str>,
    pub due: Time,
    /// An index of an array, or the place of a step in its workflow.
    pub part: Option<u32>,
}

/// `job@milliseconds`, of a part `job@milliseconds.number`.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.job, self.due.as_millis())?;
        self.part.map_or(Ok(()), |part| write!(f, ".{part}"))
    }
}

impl RunId {
    pub fn new(job: impl Into<Arc<str>>, due: Time) -> Self {
        Self { job: job.into(), due, part: None }
    }

    /// One part of this run.
    pub fn part(&self, part: u32) -> Self {
        Self { part: Some(part), ..self.clone() }
    }

    /// The run that this is, or is a part of.
    pub fn whole(&self) -> Self {
        Self { part: None, ..self.clone() }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (job, rest) = text.rsplit_once('@')?;
        let (due, part) = split(rest)?;
        Some(Self { job: job.into(), due: Time::from_millis(due), part })
    }
}

/// `number` or `number.part`.
fn split(text: &str) -> Option<(u64, Option<u32>)> {
    match text.split_once('.') {
        Some((number, part)) => Some((number.parse().ok()?, Some(part.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub job: Arc<str>,
    #[serde(with = "millis")]
    pub due: Time,
    /// Its number, if it is a part of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// What it consists of, if that is more than one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Box<Parts>>,
    /// For what was skipped in one go: the last of `count` due times.
    #[serde(with = "millis::optional", default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Time>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    pub trigger: Trigger,
    /// In place of the job's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// More variables of its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// By which a repeated request for it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The runs of its parents that started it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    pub state: State,
    /// Why it is in this state, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Tasks launched so far, less one.
    pub attempt: u32,
    /// Attempts that failed by the job's own fault.
    #[serde(default)]
    pub failures: u32,
    /// Launches that came to nothing, in a row.
    #[serde(default)]
    pub losses: u32,
    /// How often it had to make room for others.
    #[serde(default, skip_serializing_if = "is_none")]
    pub preemptions: u32,
    /// Until when it is to be finished.
    #[serde(with = "millis::optional", default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// Its owner was told that it will not be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// The next attempt is not made before.
    #[serde(with = "millis::optional", default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    #[serde(with = "millis")]
    pub created: Time,
    #[serde(with = "millis::optional", default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    #[serde(with = "millis::optional", default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// The task of the present attempt, or of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The attempts before that, the latest of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
    /// Since when the agent of its task cannot be reached.
    #[serde(with = "millis::optional", default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<Time>,
    /// Its task was asked to end, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Its job was deleted; it is kept until its task has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub orphan: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the job itself has reported as processed.
    #[serde(default)]
    pub processed: u64,
}

fn one() -> u64 {
    1
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

fn no_queue() -> Arc<str> {
    Arc::from("")
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The queue it was launched from, and what it weighs there.
    #[serde(default = "no_queue")]
    pub queue: Arc<str>,
    #[serde(default)]
    pub cost: u64,
    pub id: String,
    pub agent: String,
    pub host: String,
    pub offer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

/// A task that was given up because its agent could not be reached. It may go on all the same, unseen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// It took one of the job's retries.
    #[serde(default)]
    pub counted: bool,
    /// How it ended, once it was heard of again, as `TASK_KILLED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// An attempt that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    #[serde(rename = "taskId")]
    pub task: String,
    #[serde(rename = "agentId")]
    pub agent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it was not the last, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// The parents ended.
    Parents,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For resources, for its turn, or for the time of its next attempt.
    Waiting,
    /// Recorded, then asked of the master; nobody has said more.
    Launched,
    Running,
    Unreachable,
    Succeeded,
    Failed,
    Killed,
    /// Not run, for the reason that is recorded.
    Skipped,
}

/// Why a task is to end before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Somebody wants it, or a newer run takes its place.
    Killed,
    /// Its run takes too long.
    Expired,
    /// Too many of its parts have failed.
    Failed,
    /// Another run needs its room.
    Preempted,
}

impl State {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Killed | Self::Skipped)
    }

    /// It has a task that is not over.
    pub fn has_task(self) -> bool {
        matches!(self, Self::Launched | Self::Running | Self::Unreachable)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Launched => "launched",
            Self::Running => "running",
            Self::Unreachable => "unreachable",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Skipped => "skipped",
        }
    }
}

impl Run {
    pub fn new(now: Time, id: RunId, trigger: Trigger) -> Self {
        Self {
            job: id.job,
            due: id.due,
            part: id.part,
            parts: None,
            up_to: None,
            count: 1,
            trigger,
            arguments: None,
            parameters: BTreeMap::new(),
            token: String::new(),
            parents: Vec::new(),
            state: State::Waiting,
            reason: String::new(),
            attempt: 0,
            failures: 0,
            losses: 0,
            preemptions: 0,
            deadline: None,
            late: false,
            not_before: None,
            unreachable_since: None,
            created: now,
            started: None,
            finished: None,
            task: None,
            earlier: Vec::new(),
            ending: None,
            orphan: false,
            exit_code: None,
            processed: 0,
        }
    }

    pub fn id(&self) -> RunId {
        RunId { job: Arc::clone(&self.job), due: self.due, part: self.part }
    }

    /// Its task is to be followed by another: what became of it is kept.
    pub fn begin_attempt(&mut self) {
        let Some(task) = self.task.take() else { return };
        self.attempt += 1;
        let reason = std::mem::take(&mut self.reason);
        self.earlier.push(Attempt {
            task: task.id,
            agent: task.agent,
            exit_code: self.exit_code.take(),
            reason,
            lost: task.lost,
        });
        let surplus = self.earlier.len().saturating_sub(limits::ATTEMPTS_KEPT);
        self.earlier.drain(..surplus);
    }

    /// Tasks that were given up as lost and have not been heard of since, with their agents.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let open = |lost: &Option<Lost>| lost.as_ref().is_some_and(|lost| lost.ended.is_none());
        let earlier = self.earlier.iter().filter(move |attempt| open(&attempt.lost));
        let last = self.task.iter().filter(move |task| open(&task.lost));
        let earlier = earlier.map(|attempt| (attempt.task.as_str(), attempt.agent.as_str()));
        earlier.chain(last.map(|task| (task.id.as_str(), task.agent.as_str())))
    }

    /// A task that was given up as lost has ended.
    pub fn found(&mut self, id: &str, ended: &str, exit_code: Option<i32>) {
        let (lost, code) = match self.task.as_mut().filter(|task| task.id == id) {
            Some(task) => (&mut task.lost, &mut self.exit_code),
            None => match self.earlier.iter_mut().find(|attempt| attempt.task == id) {
                Some(attempt) => (&mut attempt.lost, &mut attempt.exit_code),
                None => return,
            },
        };
        lost.get_or_insert_default().ended = Some(ended.to_owned());
        *code = exit_code;
    }

    /// It waits for the time of another attempt.
    pub fn is_between_attempts(&self) -> bool {
        self.state == State::Waiting && self.task.is_some()
    }

    /// From due to done: what the statistics of Chronos call the run time.
    pub fn took(&self) -> Option<Span> {
        self.finished.map(|finished| finished - self.due)
    }
}

/// `ct:DUE:ATTEMPT:JOB:ARGUMENTS`, as scripts in the field expect it, of a part `ct:DUE:ATTEMPT.PART:JOB:ARGUMENTS`; what a
/// path cannot hold is escaped.
pub fn task_id(run: &Run, arguments: &str) -> TaskId {
    let part = run.part.map(|part| format!(".{part}")).unwrap_or_default();
    let mut text = format!("ct:{}:{}{part}:{}:", run.due.as_millis(), run.attempt, run.job);
    for character in arguments.chars().filter(|character| *character != ';') {
        if text.len() >= limits::TASK_ID_BYTES {
            break;
        }
        if character.is_ascii_alphanumeric() || "._-=:+,@".contains(character) {
            text.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    TaskId::from(text)
}

/// The run a task is of, and its attempt; `None` for ids of another make.
pub fn of_task(id: &str) -> Option<(RunId, u32)> {
    let mut parts = id.strip_prefix("ct:")?.splitn(4, ':');
    let due = Time::from_millis(parts.next()?.parse().ok()?);
    let (attempt, part) = split(parts.next()?)?;
    Some((RunId { job: parts.next()?.into(), due, part }, u32::try_from(attempt).ok()?))
}
